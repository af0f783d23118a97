"""STOW-RS (PS3.18 10.5): objects taken over HTTP, by the same intake as those from the DICOM network."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from dicomnlp.config import Settings
from dicomnlp.errors import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, SUCCESS, ObjectError
from dicomnlp.extract.dicom_json import JsonDataSet
from dicomnlp.extract.file import FileContent, read_file
from dicomnlp.model import Arrival, Door, Outcome, Receipt, is_uid
from dicomnlp.receive.images import IMAGE_SOP_CLASSES
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.reasons import Reason
from dicomnlp.serve.dicomweb_results import ROOT
from dicomnlp.serve.multipart import MultipartError, Part, PartReader, read_media_type, read_parts
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store.database import Database

MAXIMUM_STORE_BYTES: Final = 1 << 30
"""Of the body of one request; each object in it has the listener's own limit."""
MAXIMUM_OBJECTS: Final = 10_000
"""In one request."""
AT_A_TIME: Final = 4
"""Requests whose objects are in memory; further ones wait, and with them their senders."""
_FILE_HEAD_BYTES = 65536
"""Preamble and file meta information, on top of an object's data set."""
_LASTING = frozenset({"object_too_large", "deflate_bomb", "too_many_elements"})
"""Refusals for want of resources that the same object meets again."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one object of a request."""

    receipt: Receipt
    sop_class_uid: str
    """"" when it isn't known."""


class StoreDoor:
    """Takes objects over HTTP, on a connection to the database of its own, which the first object opens.

    Parameters
    ----------
    settings
        For the limits of objects.
    open_database
        Called once; raises DatabaseError.
    """

    def __init__(self, settings: Settings, open_database: Callable[[], Database]) -> None:
        self._settings = settings
        self._open_database = open_database
        self._lock = threading.Lock()
        self._opened: tuple[Intake, Database] | None = None
        self._turns = asyncio.Semaphore(AT_A_TIME)
        self._maximum_part_bytes = settings.listener.maximum_object_bytes + _FILE_HEAD_BYTES

    async def take(self, request: Request, of_study: str) -> list[Stored]:
        """Store the objects of a request's body as they come in; each is durable, or refused in the ledger.

        Parameters
        ----------
        of_study
            The only study of which they may be; "" when any is right.

        Raises
        ------
        ProblemError
            The body can't be read, and nothing of it was stored.
        DatabaseError
            The database can't be opened.
        """
        address = request.client.host if request.client else ""
        stored: list[Stored] = []
        async with self._turns:
            try:
                async for part in _parts(request, self._maximum_part_bytes):
                    # kept as they come: what went before an error is told too
                    stored += [await run_in_threadpool(self._take, part, of_study, address)]
            except ProblemError as error:
                if not any(each.receipt.status == SUCCESS for each in stored):
                    raise
                # what was stored is told, and that the rest couldn't be read
                too_large = error.reason_code == "body_too_large"
                stored.append(_unread(OUT_OF_RESOURCES if too_large else CANNOT_UNDERSTAND, error.reason_code))
        if not stored:
            raise ProblemError("bad_request", "The body has no part.")
        return stored

    def _take(self, part: Part, of_study: str, address: str) -> Stored:
        intake = self._intake()
        try:
            content = read_file(part.content)
        except ObjectError as error:
            arrival = _arrival(address, FileContent(b"", "", "", ""))
            return Stored(intake.refuse(arrival, error.dimse_status, error.reason_code), "")
        bare = _arrival(address, content._replace(data=b""))
        if part.is_cut or len(content.data) > intake.maximum_object_bytes:
            receipt = intake.refuse(bare, *Reason.OBJECT_TOO_LARGE.answer)
        elif content.sop_class_uid in IMAGE_SOP_CLASSES:
            # its sender would take it for archived, and only the header would be kept
            receipt = intake.refuse(bare, *Reason.SOP_CLASS_NOT_SUPPORTED.answer)
        else:
            receipt = intake.accept(_arrival(address, content), of_study=of_study)
        return Stored(receipt, content.sop_class_uid)

    def _intake(self) -> Intake:
        with self._lock:
            if self._opened is None:
                database = self._open_database()
                self._opened = Intake(self._settings, database), database
            return self._opened[0]

    def close(self) -> None:
        """Commit what waits, and close the connection."""
        with self._lock:
            if self._opened is not None:
                intake, database = self._opened
                intake.close()
                database.close()
                self._opened = None


def _arrival(address: str, content: FileContent) -> Arrival:
    return Arrival(
        data=content.data,
        transfer_syntax_uid=content.transfer_syntax_uid,
        sop_class_uid=content.sop_class_uid,
        sop_instance_uid=content.sop_instance_uid,
        door=Door.STOW,
        peer_address=address,
    )


def _unread(status: int, reason_code: str) -> Stored:
    return Stored(Receipt(Outcome.REFUSED, status, reason_code, "", "", None), "")


async def _parts(request: Request, maximum_part_bytes: int) -> AsyncIterator[Part]:
    media_type = read_media_type(request.headers.get("content-type", ""))
    of_parts = media_type.parameters.get("type", "").lower()
    if media_type.name != "multipart/related" or of_parts not in {"application/dicom", ""}:
        raise ProblemError(
            "unsupported_media_type", 'Send DICOM files as multipart/related; type="application/dicom"; boundary=…'
        )
    try:
        reader = PartReader(media_type.parameters.get("boundary", ""), maximum_part_bytes=maximum_part_bytes)
        number = 0
        async for part in read_parts(reader, _bounded(request)):
            number += 1
            if number > MAXIMUM_OBJECTS:
                raise ProblemError("body_too_large", f"A request holds at most {MAXIMUM_OBJECTS} objects.")
            named = read_media_type(part.headers.get("content-type", "application/dicom")).name
            if named != "application/dicom":
                raise ProblemError("unsupported_media_type", "Each part is a DICOM file, application/dicom.")
            yield part
    except MultipartError as error:
        raise ProblemError("bad_request", f"{str(error)[0].upper()}{str(error)[1:]}.") from None


async def _bounded(request: Request) -> AsyncIterator[bytes]:
    """The body, whose length isn't known beforehand when it comes in chunks."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAXIMUM_STORE_BYTES:
            raise ProblemError("body_too_large", f"A request holds at most {MAXIMUM_STORE_BYTES >> 20} MiB.")
        yield chunk


def answer_of(stored: list[Stored], base: str) -> tuple[int, JsonDataSet]:
    """Status and Store Instances Response Module (PS3.18 I.1).

    Returns
    -------
    tuple
        200 when all are stored, 202 when some are, 409 when none is; 503 when none is for want of resources, which
        may be there later.
    """
    referenced, failed, others = [], [], []
    for each in stored:
        receipt = each.receipt
        is_known = is_uid(each.sop_class_uid) and is_uid(receipt.sop_instance_uid)
        reference = {
            "00081150": {"vr": "UI", "Value": [each.sop_class_uid]} if each.sop_class_uid else {"vr": "UI"},
            "00081155": {"vr": "UI", "Value": [receipt.sop_instance_uid]},
        }
        if receipt.status == SUCCESS:
            address = f"{base}{ROOT}/studies/{receipt.study_instance_uid}"
            referenced.append({**reference, "00081190": {"vr": "UR", "Value": [address]}})
        elif is_known:
            failed.append({**reference, "00081197": {"vr": "US", "Value": [receipt.status]}})
        else:
            others.append({"00081197": {"vr": "US", "Value": [receipt.status]}})
    studies = {each.receipt.study_instance_uid for each in stored if each.receipt.status == SUCCESS}
    module: dict[str, Any] = {"00081190": {"vr": "UR"}}
    if len(studies) == 1:
        module["00081190"]["Value"] = [f"{base}{ROOT}/studies/{studies.pop()}"]
    if failed:
        module["00081198"] = {"vr": "SQ", "Value": failed}
    if referenced:
        module["00081199"] = {"vr": "SQ", "Value": referenced}
    if others:
        module["0008119A"] = {"vr": "SQ", "Value": others}
    if not failed and not others:
        return 200, module
    if referenced:
        return 202, module
    passing = all(s.receipt.status == OUT_OF_RESOURCES and s.receipt.reason_code not in _LASTING for s in stored)
    return 503 if passing else 409, module
