"""Ledger rows that the database wouldn't take when their objects were refused: kept here until it takes them.

Every object leaves a row in the ledger, and so must one that is refused because the database is locked, full or away.
"""

import dataclasses
import time
from collections import deque
from typing import Final

from dicomnlp.errors import DicomnlpError
from dicomnlp.logs import Event, describe, log
from dicomnlp.model import Identity, IntakeRecord
from dicomnlp.receive.reasons import Reason

MAXIMUM_ROWS: Final = 10000
"""About a kilobyte each."""
PAUSE_SECONDS: Final = 10.0
"""From a failed commit until the rows are tried without any arrival to go before them."""
_FULL: Final = "ledger_backlog_full"
FOLD_SECONDS: Final = 1.0
"""Failures of one cause within this are one line of the log."""


def bare(record: IntakeRecord, status: int, reason_code: str) -> IntakeRecord:
    """A record that leaves only a ledger row: who sent what, and why it was refused; neither bytes nor patient."""
    return IntakeRecord(
        arrival=dataclasses.replace(record.arrival, data=b""),
        identity=Identity(
            sop_class_uid=record.identity.sop_class_uid,
            sop_instance_uid=record.identity.sop_instance_uid,
            study_instance_uid=record.identity.study_instance_uid,
        ),
        sha256=record.sha256,
        received_at=record.received_at,
        status=status,
        reason_code=reason_code,
        keep=False,
    )


class Backlog:
    """Bare records in the order in which they came; for the use of one thread.

    When it is full what comes is left out: in a long outage that is what senders try again and again.
    """

    def __init__(self) -> None:
        self._rows: deque[IntakeRecord] = deque()
        self._left_out = 0
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def seconds_until_due(self) -> float | None:
        """How long to wait before the rows are tried; None: there are none."""
        return max(0.0, self._due - time.monotonic()) if self._rows else None

    def add(self, record: IntakeRecord) -> None:
        """Keep a bare record, or count it when there is no room."""
        if len(self._rows) < MAXIMUM_ROWS:
            self._rows.append(record)
            return
        if self._left_out == 0:
            log(Event.LEDGER_BACKLOG_FULL, count=len(self._rows))
        self._left_out += 1

    def first(self, count: int) -> list[IntakeRecord]:
        """The oldest `count`, or as many as there are."""
        return [self._rows[n] for n in range(min(count, len(self._rows)))]

    def written(self, count: int, lost: int) -> None:
        """The oldest `count` are in the ledger, but for `lost` that can't be written."""
        for _ in range(count):
            self._rows.popleft()
        log(Event.LEDGER_ROWS_RECOVERED, count=count - lost)
        if lost:
            log(Event.LEDGER_ROWS_LOST, count=lost, reason_code=Reason.PROCESSING_FAILED.answer[1])
        if self._left_out:
            log(Event.LEDGER_ROWS_LOST, count=self._left_out, reason_code=_FULL)
        self._left_out = 0

    def database_works(self) -> None:
        """A commit succeeded: the rows are due."""
        self._due = 0.0

    def database_fails(self) -> None:
        """A commit failed: the rows are due after a pause."""
        self._due = time.monotonic() + PAUSE_SECONDS

    def give_up(self) -> None:
        """The process ends: say how many rows are lost."""
        lost = len(self._rows) + self._left_out
        if lost:
            log(Event.LEDGER_ROWS_LOST, count=lost, reason_code=Reason.SERVICE_STOPPING.answer[1])
        self._rows.clear()
        self._left_out = 0


class FailureLog:
    """Lines `intake_failed`, one a second for each cause in a row; for the use of one thread."""

    def __init__(self) -> None:
        self._cause: dict[str, str] = {}
        self._count = 0
        self._logged_at = 0.0

    def report(self, count: int, error: Exception) -> None:
        """A commit of `count` objects failed with `error`."""
        cause = {"reason_code": status_and_reason(error)[1], **describe(error)}
        if cause == self._cause and time.monotonic() < self._logged_at + FOLD_SECONDS:
            self._count += count
            return
        self.flush()
        self._cause, self._logged_at = cause, time.monotonic()
        log(Event.INTAKE_FAILED, count=count, **cause)

    def flush(self) -> None:
        """Log what was folded and not said yet."""
        if self._count:
            log(Event.INTAKE_FAILED, count=self._count, **self._cause)
        self._count = 0
        self._cause = {}


def status_and_reason(error: Exception) -> tuple[int, str]:
    """What the sender of an object is answered whose commit failed."""
    if isinstance(error, DicomnlpError):
        return error.dimse_status, error.reason_code
    if isinstance(error, OSError):  # a large original couldn't be written: disk full, for the most part
        return Reason.STORAGE_FAILED.answer
    return Reason.PROCESSING_FAILED.answer
