"""Intake: every door hands its objects to `Intake.accept`, which returns only when the decision about one is durable.

Many threads call; one at a time commits: the caller itself when no commit is under way, else the next objects gather,
and the writer takes all that wait in one transaction. Sixteen senders share the price of a commit, one alone waits for
nobody.
"""

import dataclasses
import datetime as dt
import hashlib
import threading
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final

from dicomnlp.config import Settings
from dicomnlp.errors import OUT_OF_RESOURCES, SUCCESS, DatabaseError, ObjectError
from dicomnlp.extract.identity import read_identity
from dicomnlp.logs import Event, is_logged, log
from dicomnlp.model import Arrival, Identity, ImageHeader, IntakeRecord, Outcome, Receipt, is_uid
from dicomnlp.receive.backlog import Backlog, FailureLog, bare, status_and_reason
from dicomnlp.receive.contexts import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES
from dicomnlp.receive.images import IMAGE_SOP_CLASSES, ImageStream
from dicomnlp.receive.pressure import Pressure
from dicomnlp.receive.reasons import Reason
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.pressure import read_hindrance
from dicomnlp.terms import HL7_MESSAGE_STORAGE

MAXIMUM_GROUP_OBJECTS: Final = 256
MAXIMUM_GROUP_BYTES: Final = 67108864
"""A group ends before it grows above either; a larger object is committed alone."""

ANSWER_SECONDS: Final = 2.0
"""Longer than it may wait for a lock a database server may not take to answer."""

_HOPELESS: Final = frozenset(
    {
        "database_unreachable",
        "database_locked",
        "database_missing",
        "database_outdated",
        "database_too_new",
        "store_read_only",
    }
)
"""Database failures that every record of a group would meet again."""


class _Ticket:
    """A record on its way to the writer, and the receipt on its way back."""

    __slots__ = ("_open", "receipt", "record")

    def __init__(self, record: IntakeRecord) -> None:
        self.record = record
        self.receipt: Receipt | None = None
        # a lock that is let go of once is a threading.Event at a tenth of the price
        self._open = threading.Lock()
        self._open.acquire()

    def settle(self, receipt: Receipt) -> None:
        self.receipt = receipt
        self._open.release()

    def wait(self) -> Receipt:
        """The receipt, when it is there; for one thread."""
        if self.receipt is None:
            self._open.acquire()
        assert self.receipt is not None
        return self.receipt


class Intake:
    """Checks objects, and commits them with their ledger rows.

    Parameters
    ----------
    settings
        For the object size limit, and private SOP classes.
    database
        Open; it stays the caller's to close, after `close`.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self.maximum_object_bytes = settings.listener.maximum_object_bytes
        """Larger objects are refused."""
        private = {HL7_MESSAGE_STORAGE, *settings.listener.private_sop_classes}
        self._sop_classes = STORAGE_SOP_CLASSES.keys() | private
        self._database = database
        self._waiting: deque[_Ticket] = deque()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._closed = False
        self._inflating = threading.Lock()
        self._writing = threading.Lock()
        """Held by the thread that is in a commit."""
        self._backlog = Backlog()
        self._failures = FailureLog()
        database.fence.prepare()
        database.limit_waits(settings.database.lock_timeout_seconds + ANSWER_SECONDS)
        self._pressure = Pressure(partial(read_hindrance, database, settings))
        self._writer = threading.Thread(target=self._write, name="intake-writer", daemon=True)
        self._writer.start()

    @property
    def hindrance(self) -> str | None:
        """Why nothing can be taken for the time being, as a reason code; None: nothing is in the way."""
        return self._pressure.hindrance

    def accept(self, arrival: Arrival, *, of_study: str = "") -> Receipt:
        """Decide about an object, and return when the decision is committed.

        Never raises for what the object holds or for what the database does: both end in a receipt with the DIMSE
        status to answer.

        The object is kept with 0x0000 (stored, a new version, or known already), and with 0xC000 or 0xA900 when the
        outcome is quarantined; else it is not. `reasons.Reason` lists why.

        Parameters
        ----------
        of_study
            The only study of which it may be; "" when any is right.
        """
        hindrance = self.hindrance
        if hindrance is not None:
            return self.refuse(arrival, OUT_OF_RESOURCES, hindrance)
        identity = self._check(arrival)
        if isinstance(identity, tuple):
            return self.refuse(arrival, *identity)
        if of_study and identity.study_instance_uid != of_study:
            return self.refuse(arrival, *Reason.STUDY_MISMATCH.answer)
        status: int = SUCCESS
        reason_code: str | None = None
        sha256 = hashlib.sha256(arrival.data).hexdigest()
        if not is_uid(identity.study_instance_uid):
            identity = dataclasses.replace(identity, study_instance_uid="")
            status, reason_code = Reason.NO_STUDY_INSTANCE_UID.answer
        if not is_uid(identity.sop_instance_uid):
            identity = dataclasses.replace(identity, sop_instance_uid=_stand_in_uid(arrival, sha256))
            status, reason_code = Reason.NO_SOP_INSTANCE_UID.answer
        if not is_uid(identity.series_instance_uid):
            identity = dataclasses.replace(identity, series_instance_uid="")
        return self._record(
            IntakeRecord(
                arrival=_as_it_is(arrival, identity),
                identity=identity,
                sha256=sha256,
                received_at=dt.datetime.now(dt.UTC),
                status=status,
                reason_code=reason_code,
            )
        )

    def index(self, arrival: Arrival, stream: ImageStream) -> Receipt:
        """Keep the header of an image, and return when that is committed; like `accept` otherwise.

        Parameters
        ----------
        arrival
            Without data.
        stream
            Has been fed the whole data set.
        """
        hindrance = self.hindrance
        if hindrance is not None:
            return self.refuse(arrival, OUT_OF_RESOURCES, hindrance, image=stream)
        try:
            header = stream.header()
        except ObjectError as error:
            return self.refuse(arrival, error.dimse_status, error.reason_code, image=stream)
        identity = header.identity
        refusal = _mismatch(arrival, identity)
        if refusal is None and identity.sop_class_uid not in IMAGE_SOP_CLASSES:
            refusal = Reason.SOP_CLASS_NOT_SUPPORTED.answer
        # an image without study or instance is of no use to anybody: there is nothing to be kept in quarantine
        if refusal is None and not is_uid(identity.sop_instance_uid):
            refusal = Reason.NO_SOP_INSTANCE_UID.answer
        if refusal is None and not is_uid(identity.study_instance_uid):
            refusal = Reason.NO_STUDY_INSTANCE_UID.answer
        if refusal is not None:
            return self.refuse(arrival, *refusal, image=stream)
        if not is_uid(identity.series_instance_uid):
            identity = dataclasses.replace(identity, series_instance_uid="")
        return self._record(
            IntakeRecord(
                arrival=_as_it_is(arrival, identity),
                identity=identity,
                sha256=header.sha256,
                received_at=dt.datetime.now(dt.UTC),
                status=SUCCESS,
                image=header,
            )
        )

    def refuse(self, arrival: Arrival, status: int, reason_code: str, *, image: ImageStream | None = None) -> Receipt:
        """Record in the ledger that an object is not taken, and why; its bytes are not kept.

        While the database takes nothing the row waits in memory, and is written as soon as it does.

        Parameters
        ----------
        arrival
            Announced UIDs that aren't well-formed are left out of the ledger.
        status
            The DIMSE status to answer, if the refusal can be recorded.
        reason_code
            In snake_case.
        image
            When it is one that has passed by: for the ledger's hash and size.
        """
        arrival = dataclasses.replace(
            arrival,
            sop_class_uid=arrival.sop_class_uid if is_uid(arrival.sop_class_uid) else "",
            sop_instance_uid=arrival.sop_instance_uid if is_uid(arrival.sop_instance_uid) else "",
        )
        identity = Identity(sop_class_uid=arrival.sop_class_uid, sop_instance_uid=arrival.sop_instance_uid)
        return self._record(
            IntakeRecord(
                arrival=arrival,
                identity=identity,
                sha256=image.sha256 if image else hashlib.sha256(arrival.data).hexdigest(),
                received_at=dt.datetime.now(dt.UTC),
                status=status,
                reason_code=reason_code,
                keep=False,
                image=ImageHeader(identity, image.sha256, image.size) if image else None,
            )
        )

    def close(self) -> None:
        """Commit what waits, and end the writer; objects handed in from now on are refused."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._writer.join()
        self._pressure.close()

    # --- checks

    def _check(self, arrival: Arrival) -> Identity | tuple[int, str]:
        """The object's identity if it can be kept as what was announced; else status and reason code to answer.

        Study, series and SOP instance may be missing in it.
        """
        if len(arrival.data) > self.maximum_object_bytes:
            return Reason.OBJECT_TOO_LARGE.answer
        if arrival.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            return Reason.TRANSFER_SYNTAX_NOT_SUPPORTED.answer
        try:
            identity = self._read_identity(arrival)
        except ObjectError as error:
            return error.dimse_status, error.reason_code
        refusal = _mismatch(arrival, identity)
        if refusal is not None:
            return refusal
        if identity.sop_class_uid not in self._sop_classes:
            return Reason.SOP_CLASS_NOT_SUPPORTED.answer
        return identity

    def _read_identity(self, arrival: Arrival) -> Identity:
        limit = self.maximum_object_bytes
        if arrival.transfer_syntax_uid != DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            return read_identity(arrival.data, arrival.transfer_syntax_uid, max_inflated=limit)
        # little can become much: one at a time has the memory for it
        with self._inflating:
            return read_identity(arrival.data, arrival.transfer_syntax_uid, max_inflated=limit)

    # --- group commit

    def _record(self, record: IntakeRecord) -> Receipt:
        """Have `record` committed, and wait for it."""
        ticket = _Ticket(record)
        with self._lock:
            if self._closed:
                return _failed(record, *Reason.SERVICE_STOPPING.answer)
            self._waiting.append(ticket)
        # where nobody is in a commit this thread makes it: to hand it to another one costs as much as the commit
        if self._writing.acquire(blocking=False):
            try:
                self._write_group()
            finally:
                self._writing.release()
            with self._lock:
                if self._waiting or self._backlog:
                    self._changed.notify()
        receipt = ticket.wait()
        _log_receipt(record, receipt)
        return receipt

    def _write(self) -> None:
        while self._await_work():
            with self._writing:
                self._write_group()
        with self._writing:
            while self._backlog and self._write_backlog():
                pass
            self._backlog.give_up()
            self._failures.flush()

    def _write_group(self) -> None:
        """Commit what waits, and rows of the backlog that are due; with `_writing` held."""
        group = self._next_group()
        try:
            self._commit(group)
        except Exception as error:  # noqa: BLE001 - whatever happens, senders get an answer and others are served
            self._failures.report(len(group), error)
        for ticket in group:
            if ticket.receipt is None:
                ticket.settle(_failed(ticket.record, *Reason.PROCESSING_FAILED.answer))
        if self._backlog.seconds_until_due == 0.0:
            self._write_backlog()

    def _await_work(self) -> bool:
        """Wait until objects do, or rows of the backlog are due; False when closed and no object waits."""
        with self._changed:
            while not self._waiting and not self._closed:
                seconds = self._backlog.seconds_until_due
                if seconds == 0.0:
                    break
                self._changed.wait(seconds)
            return bool(self._waiting) or not self._closed

    def _next_group(self) -> list[_Ticket]:
        """All that wait, within the bounds of a group; none when only the backlog is due."""
        with self._lock:
            group: list[_Ticket] = []
            size = 0
            while self._waiting and len(group) < MAXIMUM_GROUP_OBJECTS:
                size += len(self._waiting[0].record.arrival.data)
                if group and size > MAXIMUM_GROUP_BYTES:
                    break
                group.append(self._waiting.popleft())
            return group

    def _commit(self, group: Sequence[_Ticket]) -> None:
        """Commit a group in one transaction; if that fails, each record by itself, so that one harms nobody else."""
        error = self._try(group)
        if error is None:
            return
        if len(group) > 1 and not _is_hopeless(error):
            for ticket in group:
                self._commit([ticket])
            return
        status, reason_code = status_and_reason(error)
        for ticket in group:
            self._backlog.add(bare(ticket.record, status, reason_code))
        if not _is_hopeless(error):
            self._write_backlog()
        for ticket in group:
            ticket.settle(_failed(ticket.record, status, reason_code))

    def _try(self, group: Sequence[_Ticket]) -> Exception | None:
        if not group:
            return None
        try:
            receipts = record_arrivals(self._database, [ticket.record for ticket in group])
        except Exception as error:  # noqa: BLE001 - answered with a status by the caller
            self._failures.report(len(group), error)
            if _is_hopeless(error):
                self._backlog.database_fails()
            return error
        self._database_works()
        for ticket, receipt in zip(group, receipts, strict=True):
            ticket.settle(receipt)
        return None

    def _write_backlog(self) -> bool:
        """Commit as many ledger rows that are owed as a group may have; whether the database took them."""
        rows = self._backlog.first(MAXIMUM_GROUP_OBJECTS)
        lost = 0
        error = self._write_rows(rows)
        if error is not None:
            # when some can be written it isn't the database's fault that others can't, and they mustn't be in the way
            one_by_one = len(rows) > 1 and not _is_hopeless(error)
            lost = sum(self._write_rows([row]) is not None for row in rows) if one_by_one else len(rows)
        if rows and lost == len(rows):
            self._backlog.database_fails()
            return False
        self._backlog.written(len(rows), lost)
        self._database_works()
        return True

    def _write_rows(self, rows: Sequence[IntakeRecord]) -> Exception | None:
        try:
            record_arrivals(self._database, rows)
        except Exception as error:  # noqa: BLE001 - the senders are told in any case; the caller tries again
            self._failures.report(len(rows), error)
            return error
        return None

    def _database_works(self) -> None:
        self._backlog.database_works()
        self._failures.flush()


def _mismatch(arrival: Arrival, identity: Identity) -> tuple[int, str] | None:
    """Why what came is not what was announced; a file without meta information announces nothing."""
    if not is_uid(identity.sop_class_uid):
        return Reason.NO_SOP_CLASS_UID.answer
    if arrival.sop_class_uid not in {"", identity.sop_class_uid}:
        return Reason.IDENTITY_MISMATCH.answer
    if is_uid(identity.sop_instance_uid) and arrival.sop_instance_uid not in {"", identity.sop_instance_uid}:
        return Reason.IDENTITY_MISMATCH.answer
    return None


def _as_it_is(arrival: Arrival, identity: Identity) -> Arrival:
    """The arrival under the UIDs that the object has, which are those that were announced as a rule."""
    if (arrival.sop_class_uid, arrival.sop_instance_uid) == (identity.sop_class_uid, identity.sop_instance_uid):
        return arrival
    return dataclasses.replace(
        arrival, sop_class_uid=identity.sop_class_uid, sop_instance_uid=identity.sop_instance_uid
    )


def _stand_in_uid(arrival: Arrival, sha256: str) -> str:
    """The UID under which an object is kept that has none itself: the announced one, or one made of its bytes.

    The latter is the same whenever the object comes again; its form is that of a UID derived from a UUID (PS3.5 B.2).
    """
    if is_uid(arrival.sop_instance_uid):
        return arrival.sop_instance_uid
    return f"2.25.{int(sha256[:32], 16)}"


def _is_hopeless(error: Exception) -> bool:
    return isinstance(error, DatabaseError) and error.reason_code in _HOPELESS


def _failed(record: IntakeRecord, status: int, reason_code: str) -> Receipt:
    return Receipt(
        outcome=Outcome.REFUSED,
        status=status,
        reason_code=reason_code,
        sop_instance_uid=record.identity.sop_instance_uid,
        study_instance_uid=record.identity.study_instance_uid,
        object_id=None,
    )


def _log_receipt(record: IntakeRecord, receipt: Receipt) -> None:
    if receipt.outcome is Outcome.REFUSED:
        log(
            Event.OBJECT_REFUSED,
            sop_instance_uid=receipt.sop_instance_uid or None,
            calling_ae_title=record.arrival.calling_ae_title,
            status=receipt.status,
            reason_code=receipt.reason_code,
        )
    elif is_logged(Event.OBJECT_RECEIVED):
        log(
            Event.OBJECT_RECEIVED,
            sop_instance_uid=receipt.sop_instance_uid,
            study_instance_uid=receipt.study_instance_uid or None,
            calling_ae_title=record.arrival.calling_ae_title,
            outcome=receipt.outcome.value,
            status=receipt.status,
            reason_code=receipt.reason_code,
        )
