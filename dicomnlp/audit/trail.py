"""The audit trail: rows that are only added, each with a hash over itself and the hash of the row before it.

One chain for all processes that work on a database. Whoever adds rows holds the head of the chain until they are
committed, so that no two rows follow the same one. `verify` finds a row that was changed, removed, put elsewhere, or
cut off at the end.
"""

import datetime as dt
import hashlib
import json
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.audit.anchor import Anchor, Place
from dicomnlp.audit.events import AuditEvent, shortened
from dicomnlp.errors import DatabaseError
from dicomnlp.logs import Event, log
from dicomnlp.model import is_uid
from dicomnlp.store import faults
from dicomnlp.store.database import Database
from dicomnlp.store.rows import Inserter
from dicomnlp.store.schema_access import audit_event, audit_head

GENESIS: Final = "0" * 64
"""What stands for the hash before the first row."""
_AT_ONCE: Final = 500
_HASHED: Final = (
    "id",
    "at",
    "kind",
    "action",
    "principal",
    "role",
    "address",
    "outcome",
    "study_instance_uid",
    "query",
    "count",
)


# made once: this happens with every request, while its answer waits
_READ_HEAD = sa.select(audit_head.c.event_id, audit_head.c.hash).where(audit_head.c.id == 1).with_for_update()
_MOVE_HEAD = (
    sa.update(audit_head)
    .where(audit_head.c.id == 1)
    .values(event_id=sa.bindparam("new_event_id"), hash=sa.bindparam("new_hash"))
)
_ROWS = Inserter(audit_event)


def record(database: Database, *events: AuditEvent) -> None:
    """Add `events` to the trail; they are durable when this returns.

    Raises
    ------
    DatabaseError
        They could not be written; none of them was.
    """
    if not events:
        return
    head, place = _append(database, events)
    if not Anchor.of(database).advance(head, place, lambda number: _hash_at(database, number)):
        log(Event.AUDIT_TRAIL_BROKEN)


def _hash_at(database: Database, number: int) -> str | None:
    with database.read() as connection:
        return connection.scalar(sa.select(audit_event.c.hash).where(audit_event.c.id == number))


def _append(database: Database, events: Sequence[AuditEvent]) -> tuple[Place, Place]:
    """Where the trail ended before, and where it ends now."""

    def work(connection: Connection) -> tuple[Place, Place]:
        # PostgreSQL: others wait here for the commit, and then read what it left; SQLite has one writer anyway
        held = connection.execute(_READ_HEAD).one()
        head = place = Place(held.event_id, held.hash)
        rows: list[dict[str, Any]] = []
        for event in events:
            row = _row(event, place.event_id + 1)
            place = Place(place.event_id + 1, hash_of(row, place.hash))
            rows.append({**row, "previous_hash": rows[-1]["hash"] if rows else head.hash, "hash": place.hash})
        _ROWS.insert(connection, rows)
        connection.execute(_MOVE_HEAD, {"new_event_id": place.event_id, "new_hash": place.hash})
        return head, place

    return database.transact(work)


def _row(event: AuditEvent, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "at": dt.datetime.now(dt.UTC),
        "kind": event.kind.value,
        "action": shortened(event.action),
        "principal": shortened(event.principal),
        "role": event.role,
        "address": shortened(event.address),
        "outcome": event.outcome.value,
        "study_instance_uid": event.study_instance_uid if is_uid(event.study_instance_uid or "") else None,
        "query": event.query,
        "count": event.count,
    }


def hash_of(row: Any, previous_hash: str) -> str:
    """SHA-256 over the canonical JSON of a row and the hash of the row before it, as hexadecimal digits.

    Canonical: keys in order, no blanks, ASCII only, times in UTC with microseconds.
    """
    values = {name: row[name] for name in _HASHED}
    values["at"] = f"{row['at'].astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    canonical = json.dumps({**values, "previous_hash": previous_hash}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


@dataclass(slots=True)
class _Waiting:
    event: AuditEvent
    done: Future[None]


class Recorder:
    """Adds events from a thread of its own, those that wait in one commit.

    Parameters
    ----------
    get_database
        Called for each commit; raises DatabaseError while the database is away.
    """

    def __init__(self, get_database: Callable[[], Database]) -> None:
        self._get_database = get_database
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, event: AuditEvent) -> Future[None]:
        """Add `event`; the future is done when it is durable, and raises DatabaseError when it can't be made so."""
        waiting = _Waiting(event, Future())
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()
            self._queue.put(waiting)
        return waiting.done

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._queue.put(None)
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            waiting = [self._queue.get()]
            while len(waiting) < _AT_ONCE and waiting[-1] is not None:
                try:
                    waiting.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            self._write([each for each in waiting if each is not None])
            if waiting[-1] is None:
                return

    def _write(self, waiting: list[_Waiting]) -> None:
        if not waiting:
            return
        try:
            record(self._get_database(), *(each.event for each in waiting))
        except DatabaseError as error:
            for each in waiting:
                each.done.set_exception(error)
        except Exception as error:  # noqa: BLE001  whoever waits must be told, whatever it was
            failure = faults.translate(error)
            for each in waiting:
                each.done.set_exception(failure)
        else:
            for each in waiting:
                each.done.set_result(None)
