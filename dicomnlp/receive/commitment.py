"""Storage Commitment Push Model as an SCP (PS3.4 Annex J): senders ask that what they sent be kept, and are told.

What a C-STORE was answered 0x0000 for is safe already, so a request is decided at once. It is kept with its answer
before the N-ACTION is answered; the N-EVENT-REPORT follows on the same association, or, where [[pacs]] says at which
address the requestor listens, over an association of the dispatcher's (PS3.4 J.3.3 leaves the choice to the SCP).
"""

import contextlib
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import build_context, build_role
from pynetdicom.dsutils import encode

from dicomnlp.config import Settings
from dicomnlp.errors import SUCCESS, DatabaseError, ObjectError, PacsError
from dicomnlp.export.pacs import associate
from dicomnlp.extract.elements import DataSet, scan
from dicomnlp.logs import Event, log
from dicomnlp.model import is_uid
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.receive.contexts import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    STORAGE_COMMITMENT_SOP_CLASS,
    STORAGE_COMMITMENT_SOP_INSTANCE,
)
from dicomnlp.receive.dimse import CommandField, Element, Message, elements_of, encode_command
from dicomnlp.receive.negotiation import AcceptedContext
from dicomnlp.store.commitment import Commitment, CommittedInstance, commit_storage, note_reported
from dicomnlp.store.database import Database

MAXIMUM_REFERENCES: Final = 50_000
"""Of one request; more are refused (0213)."""

PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_SOP_INSTANCE: Final = 0x0112
INVALID_ARGUMENT_VALUE: Final = 0x0115
NO_SUCH_SOP_CLASS: Final = 0x0118
NO_SUCH_ACTION_TYPE: Final = 0x0123
RESOURCE_LIMITATION: Final = 0x0213
"""Statuses of an N-ACTION (PS3.7 10.1.4.1.10)."""
STATUSES: Final[dict[int, str]] = {
    SUCCESS: "the request and its answer are kept; the report follows",
    PROCESSING_FAILURE: "the data set can't be read",
    NO_SUCH_SOP_INSTANCE: "another instance than the well-known one",
    INVALID_ARGUMENT_VALUE: "no Transaction UID, no instances, or one without its UIDs",
    NO_SUCH_SOP_CLASS: "another SOP class",
    NO_SUCH_ACTION_TYPE: "another Action Type ID than 1",
    RESOURCE_LIMITATION: f"more than {MAXIMUM_REFERENCES:,} instances, or the database can't be written: ask again",
}
"""When each is answered."""

_REQUEST: Final = 1
"""Action Type ID (PS3.4 Table J.3-1)."""
_COMPLETE, _FAILURES_EXIST = 1, 2
"""Event Type IDs (PS3.4 Table J.3-2)."""
_TRANSACTION_UID: Final = 0x00081195
_REFERENCED_SOP_SEQUENCE: Final = 0x00081199
_REFERENCED_SOP_CLASS_UID: Final = 0x00081150
_REFERENCED_SOP_INSTANCE_UID: Final = 0x00081155


class Commitments:
    """What the associations of a process ask to be committed.

    Parameters
    ----------
    database
        Open.
    settings
        Whose [[pacs]] says where requestors listen.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.addresses = frozenset(pacs.ae_title.strip() for pacs in settings.pacs)

    def on_association(self, calling_ae_title: str, called_ae_title: str) -> "AssociationCommitments":
        """Those of one association."""
        return AssociationCommitments(self, calling_ae_title, called_ae_title)


class AssociationCommitments:
    """What is asked for, and reported, on one association; for its thread.

    Parameters
    ----------
    commitments
        Of the process.
    calling, called
        AE titles.
    """

    def __init__(self, commitments: Commitments, calling: str, called: str) -> None:
        self._database = commitments.database
        self._calling = calling
        self._called = called
        self._is_told_elsewhere = calling in commitments.addresses
        self._message_id = 0
        self._reports: dict[int, Commitment] = {}
        """Those sent and not answered yet, by their message ID."""

    def act(self, command_set: bytes, data_set: bytes, context: AcceptedContext) -> tuple[int, Commitment | None]:
        """Carry out an N-ACTION: the status to answer, and what is to be reported on this association."""
        status, commitment = self._act(command_set, data_set, context)
        log(
            Event.STORAGE_COMMITMENT,
            calling_ae_title=self._calling,
            status=status,
            count=commitment.failures if commitment else None,
        )
        return status, None if self._is_told_elsewhere else commitment

    def _act(self, command_set: bytes, data_set: bytes, context: AcceptedContext) -> tuple[int, Commitment | None]:
        elements = elements_of(command_set)
        if _text(elements.get(Element.REQUESTED_SOP_CLASS_UID)) != STORAGE_COMMITMENT_SOP_CLASS:
            return NO_SUCH_SOP_CLASS, None
        if _text(elements.get(Element.REQUESTED_SOP_INSTANCE_UID)) != STORAGE_COMMITMENT_SOP_INSTANCE:
            return NO_SUCH_SOP_INSTANCE, None
        if int.from_bytes(elements.get(Element.ACTION_TYPE_ID, b""), "little") != _REQUEST:
            return NO_SUCH_ACTION_TYPE, None
        try:
            found = scan(data_set, context.transfer_syntax_uid).elements
        except ObjectError:
            return PROCESSING_FAILURE, None
        transaction_uid, references = _uid(found, _TRANSACTION_UID), _references(found)
        if not transaction_uid or not references:
            return INVALID_ARGUMENT_VALUE, None
        if len(references) > MAXIMUM_REFERENCES:
            return RESOURCE_LIMITATION, None
        try:
            return SUCCESS, commit_storage(
                self._database,
                transaction_uid,
                self._calling,
                self._called,
                references,
                reports_by_itself=self._is_told_elsewhere,
            )
        except DatabaseError:
            # nothing was promised: the requestor asks again
            return RESOURCE_LIMITATION, None

    def report(self, commitment: Commitment, context: AcceptedContext) -> tuple[bytes, bytes]:
        """Command set and data set of the N-EVENT-REPORT-RQ; `takes` knows its answer."""
        self._message_id = self._message_id % 0xFFFF + 1
        self._reports[self._message_id] = commitment
        return encode_event(commitment, self._message_id, context.transfer_syntax_uid)

    def takes(self, message: Message) -> bool:
        """Whether an N-EVENT-REPORT-RSP answers what was reported here; that it was taken is kept."""
        assert message.command is not None
        commitment = self._reports.pop(message.command.message_id, None)
        if commitment is None:
            return False
        status = elements_of(bytes(message.command_set)).get(Element.STATUS, b"")
        if status == SUCCESS.to_bytes(2, "little"):
            # the requestor knows all there is to know even where this isn't kept
            with contextlib.suppress(DatabaseError):
                note_reported(self._database, commitment.id)
        return True


def _references(found: DataSet) -> list[tuple[str, str]] | None:
    """(SOP Class UID, SOP Instance UID) of each instance; None where one of them is none."""
    sequence = found.get(_REFERENCED_SOP_SEQUENCE)
    items = (sequence.items if sequence is not None else None) or []
    references = [(_uid(i, _REFERENCED_SOP_CLASS_UID), _uid(i, _REFERENCED_SOP_INSTANCE_UID)) for i in items]
    return references if all(sop_class and instance for sop_class, instance in references) else None


def _uid(elements: DataSet, tag: int) -> str:
    text = _text(elements[tag].value) if tag in elements else ""
    return text if is_uid(text) else ""


def _text(value: bytes | None) -> str:
    return (value or b"").decode("ascii", "replace").rstrip("\0 ")


# --- the report


def event_type(commitment: Commitment) -> int:
    """Event Type ID of the N-EVENT-REPORT."""
    return _FAILURES_EXIST if commitment.failures else _COMPLETE


def event_information(commitment: Commitment) -> Dataset:
    """What the N-EVENT-REPORT says (PS3.4 Table J.3-2)."""
    report = Dataset()
    report.TransactionUID = commitment.transaction_uid
    kept = [_item(each) for each in commitment.instances if not each.failure_reason]
    failed = [_item(each) for each in commitment.instances if each.failure_reason]
    if kept:
        report.ReferencedSOPSequence = kept
    if failed:
        report.FailedSOPSequence = failed
    return report


def _item(instance: CommittedInstance) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = instance.sop_class_uid
    item.ReferencedSOPInstanceUID = instance.sop_instance_uid
    if instance.failure_reason:
        item.FailureReason = instance.failure_reason
    return item


def encode_event(commitment: Commitment, message_id: int, transfer_syntax_uid: str) -> tuple[bytes, bytes]:
    """Command set and data set of the N-EVENT-REPORT-RQ (PS3.7 10.3.1.1)."""
    encoded = encode(
        event_information(commitment),
        is_implicit_vr=transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN,
        is_little_endian=transfer_syntax_uid != EXPLICIT_VR_BIG_ENDIAN,
        deflated=transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    )
    assert encoded is not None
    command = encode_command(
        {
            Element.AFFECTED_SOP_CLASS_UID: STORAGE_COMMITMENT_SOP_CLASS,
            Element.COMMAND_FIELD: CommandField.N_EVENT_REPORT_RQ,
            Element.MESSAGE_ID: message_id,
            Element.COMMAND_DATA_SET_TYPE: 1,
            Element.AFFECTED_SOP_INSTANCE_UID: STORAGE_COMMITMENT_SOP_INSTANCE,
            Element.EVENT_TYPE_ID: event_type(commitment),
        }
    )
    return command, encoded


def report_to(settings: Settings, pacs: PacsSettings, commitment: Commitment) -> None:
    """Send the N-EVENT-REPORT over an association of its own, in the role of the SCP (PS3.4 J.3.3.1).

    Raises
    ------
    PacsError
        The requestor hasn't taken it.
    ConfigurationError
        What the configuration says of it can't be used.
    """
    uid = STORAGE_COMMITMENT_SOP_CLASS
    context = build_context(uid, [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN])
    with associate(settings, pacs, [context], roles=[build_role(uid, scp_role=True)]) as association:
        if not association.accepted_contexts[0].as_scp:
            message = f"{pacs.name} doesn't let this service be the SCP of storage commitment"
            raise PacsError(message, reason_code="pacs_context")
        status, _ = association.send_n_event_report(
            event_information(commitment), event_type(commitment), uid, STORAGE_COMMITMENT_SOP_INSTANCE
        )
        code: Any = status.get("Status")
        if code != SUCCESS:
            answer = "no answer" if code is None else f"status {code:04X}"
            message = f"{pacs.name} doesn't take the result of a storage commitment: {answer}"
            raise PacsError(message, reason_code="pacs_failed")
