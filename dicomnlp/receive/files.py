"""One file, from whatever door it comes, to intake: reports whole, images as a stream of which the header is kept."""

from typing import BinaryIO, Final

from dicomnlp.errors import ObjectError
from dicomnlp.extract.file import FileContent, read_file
from dicomnlp.model import Arrival, Door, Receipt
from dicomnlp.receive.images import IMAGE_SOP_CLASSES, IMAGE_TRANSFER_SYNTAXES, ImageStream
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.reasons import Reason

MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR (PS3.10 8.6)."""

_HEAD_BYTES: Final = 262144
"""File meta information is within these."""
_STEP_BYTES: Final = 1048576


def take_file(intake: Intake, file: BinaryIO, door: Door, *, sop_instance_uid: str = "") -> Receipt:
    """Hand a DICOM file to `intake`.

    Parameters
    ----------
    intake
        Open.
    file
        At its beginning; what is read of it is bounded, images excepted.
    door
        For the ledger.
    sop_instance_uid
        Of whom the file is said to be by what names it; "" when nothing is said.

    Raises
    ------
    OSError
        The file can't be read.
    """
    head = file.read(_HEAD_BYTES)
    limit = intake.maximum_object_bytes
    try:
        content = read_file(head)
        if content.sop_class_uid not in IMAGE_SOP_CLASSES:
            # preamble and file meta information come on top of the data set
            rest = file.read(limit) if len(head) == _HEAD_BYTES else b""
            if len(rest) >= limit:
                return refuse(intake, door, Reason.OBJECT_TOO_LARGE, sop_instance_uid)
            content = read_file(head + rest)
    except ObjectError as error:
        return intake.refuse(_arrival(door, sop_instance_uid), error.dimse_status, error.reason_code)
    if sop_instance_uid and content.sop_instance_uid not in {"", sop_instance_uid}:
        return refuse(intake, door, Reason.IDENTITY_MISMATCH, sop_instance_uid)
    arrival = Arrival(
        data=content.data,
        transfer_syntax_uid=content.transfer_syntax_uid,
        sop_class_uid=content.sop_class_uid,
        sop_instance_uid=content.sop_instance_uid or sop_instance_uid,
        door=door,
    )
    if content.sop_class_uid in IMAGE_SOP_CLASSES:
        return _index(intake, arrival, content, file)
    return intake.accept(arrival)


def _index(intake: Intake, arrival: Arrival, content: FileContent, file: BinaryIO) -> Receipt:
    bare = _arrival(arrival.door, arrival.sop_instance_uid, arrival.sop_class_uid, arrival.transfer_syntax_uid)
    if arrival.transfer_syntax_uid not in IMAGE_TRANSFER_SYNTAXES:
        return intake.refuse(bare, *Reason.TRANSFER_SYNTAX_NOT_SUPPORTED.answer)
    stream = ImageStream(arrival.transfer_syntax_uid, maximum_header_bytes=intake.maximum_object_bytes)
    stream.feed(content.data)
    while part := file.read(_STEP_BYTES):
        stream.feed(part)
    return intake.index(bare, stream)


def refuse(intake: Intake, door: Door, reason: Reason, sop_instance_uid: str = "") -> Receipt:
    """Leave a ledger row of a file that isn't looked into."""
    return intake.refuse(_arrival(door, sop_instance_uid), *reason.answer)


def _arrival(door: Door, sop_instance_uid: str = "", sop_class_uid: str = "", transfer_syntax_uid: str = "") -> Arrival:
    return Arrival(
        data=b"",
        transfer_syntax_uid=transfer_syntax_uid,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        door=door,
    )


def is_media_directory(head: bytes) -> bool:
    """Whether a file that begins with `head` is a DICOMDIR."""
    try:
        return read_file(head).sop_class_uid == MEDIA_STORAGE_DIRECTORY
    except ObjectError:
        return False
