"""DICOM files (PS3.10): what stands around the data set, when anything does."""

from pathlib import Path
from typing import NamedTuple

from dicomnlp.errors import UnreadableObjectError
from dicomnlp.extract.encodings import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    encoding_of_first_element,
)

_SOP_CLASS = 0x0002
_SOP_INSTANCE = 0x0003
_TRANSFER_SYNTAX = 0x0010
_LONG_VRS = (b"OB", b"UN", b"OW", b"SQ", b"UT", b"UC", b"UR")


class FileContent(NamedTuple):
    """A file taken apart: the encoded data set and what the file meta information says of it ("" if nothing)."""

    data: bytes
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str


def read_file(source: Path | str | bytes) -> FileContent:
    """Take a DICOM file apart (PS3.10 7.1): with preamble, without it, or with no file meta information at all.

    Parameters
    ----------
    source
        The file's path, or its bytes.

    Raises
    ------
    UnreadableObjectError
        ``empty``, ``not_dicom``, or ``truncated`` when the file meta information is cut short.
    OSError
        The file can't be read.
    """
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    if not data:
        raise UnreadableObjectError("The file is empty.", reason_code="empty")
    position = 0
    if data[128:132] == b"DICM":
        position = 132
    elif data[:4] == b"DICM":
        position = 4
    meta, position = _read_file_meta(data, position)
    data_set = data[position:]
    if not data_set:
        if not meta:
            raise UnreadableObjectError("The file is not a DICOM file.", reason_code="not_dicom")
        raise UnreadableObjectError("The file ends before its data set.", reason_code="truncated")
    transfer_syntax_uid = meta.get(_TRANSFER_SYNTAX, "")
    if not transfer_syntax_uid:
        encoding = encoding_of_first_element(data_set)
        if encoding is None:
            raise UnreadableObjectError("The file is not a DICOM file.", reason_code="not_dicom")
        if not encoding.explicit:
            transfer_syntax_uid = IMPLICIT_VR_LITTLE_ENDIAN
        else:
            transfer_syntax_uid = EXPLICIT_VR_BIG_ENDIAN if encoding.big_endian else EXPLICIT_VR_LITTLE_ENDIAN
    return FileContent(data_set, transfer_syntax_uid, meta.get(_SOP_CLASS, ""), meta.get(_SOP_INSTANCE, ""))


def _read_file_meta(data: bytes, position: int) -> tuple[dict[int, str], int]:
    """The UIDs of group 0002, which is always explicit little endian, and the position after the group.

    The group length is not relied on, because it is often wrong; the group ends where another group starts.
    """
    meta: dict[int, str] = {}
    while data[position : position + 2] == b"\x02\x00":
        vr = data[position + 4 : position + 6]
        if not (vr.isalpha() and vr.isupper()):
            break
        number = int.from_bytes(data[position + 2 : position + 4], "little")
        if vr in _LONG_VRS:
            length = int.from_bytes(data[position + 8 : position + 12], "little")
            start = position + 12
        else:
            length = int.from_bytes(data[position + 6 : position + 8], "little")
            start = position + 8
        if start + length > len(data):
            raise UnreadableObjectError("The file ends within its meta information.", reason_code="truncated")
        if vr == b"UI":
            meta[number] = data[start : start + length].decode("ascii", "replace").strip("\0 ")
        position = start + length
    return meta, position
