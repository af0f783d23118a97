"""DICOM files in the transfer syntaxes that senders use, and bodies of STOW-RS with them."""

import io
import warnings
import zlib

from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from support.service import make_report

SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
}


def to_file(dataset, syntax="explicit"):
    """`dataset` as the bytes of a DICOM file."""
    uid = SYNTAXES[syntax]
    dataset.file_meta.TransferSyntaxUID = uid
    # pydicom 3 says that its own attributes for this are to go
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.is_little_endian, dataset.is_implicit_VR = uid.is_little_endian, uid.is_implicit_VR
        file = io.BytesIO()
        dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def data_of(file):
    """The data set of a DICOM file, without what stands before it."""
    length = int.from_bytes(file[140:144], "little")
    return file[144 + length :]


def deflated_bomb(size):
    """A file whose data set inflates to `size` zeros."""
    head = to_file(make_report(1, "x"), "deflated")
    packer = zlib.compressobj(wbits=-15)
    body = packer.compress(bytes(size)) + packer.flush()
    return head[: len(head) - len(data_of(head))] + body


def body_of(*files, boundary="part", content_type="application/dicom"):
    """A STOW-RS body of these files, and its Content-Type."""
    parts = b"".join(
        f"--{boundary}\r\nContent-Type: {content_type}\r\n\r\n".encode() + file + b"\r\n" for file in files
    )
    header = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return parts + f"--{boundary}--\r\n".encode(), {"Content-Type": header}
