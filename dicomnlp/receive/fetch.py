"""Fetching report objects from an archive: by WADO-RS, C-GET or C-MOVE, as [[pacs]] says.

What comes by WADO-RS or C-GET is handed to intake here; by C-MOVE the archive sends it to the listener, which may be
another process. Either way an object counts as fetched only once it is held.
"""

import email.message
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import httpx
from pydicom.dataset import Dataset
from pynetdicom import build_context, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicomnlp.config import Settings
from dicomnlp.errors import ObjectError, PacsError
from dicomnlp.export.pacs import associate, calling_ae_title, read_bounded, web_client
from dicomnlp.extract.file import read_file
from dicomnlp.model import Arrival, Door, Outcome, Receipt
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.receive.contexts import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    STORAGE_SOP_CLASSES,
    TRANSFER_SYNTAXES,
)
from dicomnlp.receive.intake import Intake
from dicomnlp.store.database import Database
from dicomnlp.store.reconciliation import ArchivedObject
from dicomnlp.store.reconciling import held_among

MODELS: Final = (
    str(StudyRootQueryRetrieveInformationModelMove),
    str(StudyRootQueryRetrieveInformationModelGet),
)
AT_ONCE: Final = 200
"""Instances that one C-MOVE or C-GET names: their UIDs stay within what archives take."""
NOT_SENT: Final = "pacs_not_sent"
"""The archive says that it has sent the object, or says nothing of it, and it isn't held."""
_ENVELOPE_BYTES: Final = 1048576
"""What an answer by WADO-RS may have around the object."""

_PENDING: Final = frozenset({0xFF00, 0xFF01})
_WARNING: Final = 0xB000
"""Some sub-operations failed (PS3.4 Table C.4-2): which, is seen by what is held."""
_DESTINATION_UNKNOWN: Final = 0xA801

OnFetched = Callable[[ArchivedObject, str | None], None]
"""Told of each object, and of why it couldn't be fetched, None where it was."""


def fetches_itself(pacs: PacsSettings) -> bool:
    """Whether objects come in here, rather than at the listener."""
    return bool(pacs.wado_url) or pacs.retrieve == "get"


def fetch(
    settings: Settings,
    database: Database,
    pacs: PacsSettings,
    objects: Sequence[ArchivedObject],
    *,
    intake: Intake | None,
    on_fetched: OnFetched,
) -> None:
    """Fetch objects from an archive; those of a series should stand together.

    Parameters
    ----------
    intake
        What takes them where `fetches_itself`; else None.
    on_fetched
        Called for each object in turn, but for those at which an error ends it.

    Raises
    ------
    PacsError
        It can't be asked any further.
    ConfigurationError
        What the configuration says of it can't be used.
    """
    if pacs.wado_url:
        assert intake is not None
        _by_wado(settings, pacs, objects, intake, on_fetched)
    elif pacs.retrieve == "get":
        assert intake is not None
        _by_get(settings, pacs, objects, intake, on_fetched)
    else:
        _by_move(settings, database, pacs, objects, on_fetched)


def _series(objects: Sequence[ArchivedObject]) -> Iterator[list[ArchivedObject]]:
    """Objects of one series each, `AT_ONCE` at the most."""
    for _, group in itertools.groupby(objects, lambda each: (each.study_instance_uid, each.series_instance_uid)):
        every = list(group)
        yield from (every[start : start + AT_ONCE] for start in range(0, len(every), AT_ONCE))


def _identifier(group: Sequence[ArchivedObject]) -> Dataset:
    """What names the objects of a series (PS3.4 C.4.2.1.4.1, C.4.3.1.3.1)."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = group[0].study_instance_uid
    identifier.SeriesInstanceUID = group[0].series_instance_uid
    identifier.SOPInstanceUID = [each.sop_instance_uid for each in group]
    return identifier


def _why_not(receipt: Receipt) -> str | None:
    if receipt.outcome in {Outcome.REFUSED, Outcome.QUARANTINED}:
        return receipt.reason_code or receipt.outcome.value
    return None


# --- C-MOVE


def _by_move(
    settings: Settings, database: Database, pacs: PacsSettings, objects: Sequence[ArchivedObject], on_fetched: OnFetched
) -> None:
    """PS3.4 C.4.2: the archive sends them to the listener by C-STORE."""
    model = StudyRootQueryRetrieveInformationModelMove
    context = build_context(model, [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN])
    with associate(settings, pacs, [context]) as association:
        for group in _series(objects):
            _require(association, pacs)
            responses = association.send_c_move(_identifier(group), settings.listener.ae_title, model)
            failure = _failure(responses, pacs, settings.listener.ae_title)
            held = held_among(database, [each.sop_instance_uid for each in group])
            for each in group:
                on_fetched(each, None if each.sop_instance_uid in held else failure or NOT_SENT)


def _require(association: Any, pacs: PacsSettings) -> None:
    if not association.is_established:
        raise PacsError(f"{pacs.name} ended the association", reason_code="pacs_aborted")


def _failure(responses: Any, pacs: PacsSettings, destination: str) -> str | None:
    """Why the archive couldn't do all of it, as a reason code; None where it says that it did.

    Raises
    ------
    PacsError
        It would say the same of every other object.
    """
    for status, _ in responses:
        code: int | None = status.get("Status")
        if code is None:
            raise PacsError(f"{pacs.name} stopped answering, or aborted the association", reason_code="pacs_timeout")
        if code in _PENDING:
            continue
        if code == _DESTINATION_UNKNOWN:
            message = f"{pacs.name} doesn't know where {destination} is: make its address and port known there"
            raise PacsError(message, reason_code="pacs_destination")
        return None if code in {0, _WARNING} else "pacs_failed"
    return None


# --- C-GET


def _by_get(
    settings: Settings, pacs: PacsSettings, objects: Sequence[ArchivedObject], intake: Intake, on_fetched: OnFetched
) -> None:
    """PS3.4 C.4.3: the archive sends them by C-STORE on the association that asks for them."""
    model = StudyRootQueryRetrieveInformationModelGet
    classes = [*STORAGE_SOP_CLASSES, *settings.listener.private_sop_classes]
    contexts = [
        build_context(model, [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN]),
        *(build_context(uid, list(TRANSFER_SYNTAXES)) for uid in classes),
    ]
    roles = [build_role(uid, scp_role=True) for uid in classes]
    reasons: dict[str, str | None] = {}

    def store(event: evt.Event) -> int:
        request: Any = event.request
        receipt = intake.accept(
            Arrival(
                data=event.encoded_dataset(include_meta=False),
                transfer_syntax_uid=str(event.context.transfer_syntax),
                sop_class_uid=str(request.AffectedSOPClassUID),
                sop_instance_uid=str(request.AffectedSOPInstanceUID),
                door=Door.RETRIEVED,
                calling_ae_title=pacs.ae_title,
                called_ae_title=calling_ae_title(settings, pacs),
                peer_address=pacs.host,
            )
        )
        reasons[str(request.AffectedSOPInstanceUID)] = _why_not(receipt)
        return receipt.status

    with associate(settings, pacs, contexts, roles=roles, handlers=[(evt.EVT_C_STORE, store)]) as association:
        if not any(context.abstract_syntax == model for context in association.accepted_contexts):
            message = f'{pacs.name} doesn\'t offer C-GET; set retrieve = "move" in [[pacs]]'
            raise PacsError(message, reason_code="pacs_context")
        for group in _series(objects):
            _require(association, pacs)
            failure = _failure(association.send_c_get(_identifier(group), model), pacs, "")
            for each in group:
                on_fetched(each, reasons.get(each.sop_instance_uid, failure or NOT_SENT))


# --- WADO-RS


def _by_wado(
    settings: Settings, pacs: PacsSettings, objects: Sequence[ArchivedObject], intake: Intake, on_fetched: OnFetched
) -> None:
    """PS3.18 10.4: one after the other, as it is stored there."""
    with web_client(settings, pacs) as client:
        for each in objects:
            on_fetched(each, _retrieve(client, pacs, each, intake))


def _retrieve(client: httpx.Client, pacs: PacsSettings, wanted: ArchivedObject, intake: Intake) -> str | None:
    url = (
        f"{pacs.wado_url}/studies/{wanted.study_instance_uid}/series/{wanted.series_instance_uid}"
        f"/instances/{wanted.sop_instance_uid}"
    )
    headers = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    limit = intake.maximum_object_bytes + _ENVELOPE_BYTES
    try:
        response = read_bounded(client, pacs, url, headers=headers, maximum_bytes=limit)
    except PacsError as error:
        if error.reason_code in {"pacs_gone", "pacs_failed"}:
            return error.reason_code  # others may be there
        raise
    part = _first_part(response)
    if part is None:
        return "pacs_answer"
    try:
        content = read_file(part)
    except ObjectError as error:
        return error.reason_code
    if content.sop_instance_uid != wanted.sop_instance_uid:
        return "pacs_answer"
    receipt = intake.accept(
        Arrival(
            data=content.data,
            transfer_syntax_uid=content.transfer_syntax_uid,
            sop_class_uid=content.sop_class_uid,
            sop_instance_uid=content.sop_instance_uid,
            door=Door.RETRIEVED,
            calling_ae_title=pacs.ae_title,
            peer_address=httpx.URL(pacs.wado_url).host,
        )
    )
    return _why_not(receipt)


def _first_part(response: httpx.Response) -> bytes | None:
    """The body of the first part of a multipart answer (RFC 2046 5.1.1), or a whole answer that is one object."""
    header = email.message.Message()
    header["Content-Type"] = response.headers.get("content-type", "")
    if header.get_content_type() == "application/dicom":
        return response.content
    boundary = header.get_param("boundary")
    if header.get_content_maintype() != "multipart" or not isinstance(boundary, str):
        return None
    delimiter = b"--" + boundary.encode("latin-1", "replace")
    begin = response.content.find(delimiter)
    head = response.content.find(b"\r\n\r\n", begin)
    end = response.content.find(b"\r\n" + delimiter, head)
    return response.content[head + 4 : end] if 0 <= begin < head < end else None
