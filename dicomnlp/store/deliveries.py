"""What is to be told to others, and what became of it: nothing is told twice, and nothing is lost by a crash.

A thing is told at least once: it is marked as sent after its receiver took it. What can't be sent is tried again later
and later, and after `LIFETIME` lies dead until somebody has it tried again.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from dicomnlp.errors import NotFoundError
from dicomnlp.model import utc_text
from dicomnlp.store.batches import batches
from dicomnlp.store.cursors import check_page, decode, place_after
from dicomnlp.store.database import Database
from dicomnlp.store.schema import analysis, sop_instance
from dicomnlp.store.schema_delivery import delivery, destination
from dicomnlp.store.scope import scope_of, visible_objects

FIRST_PAUSE: Final = dt.timedelta(seconds=5)
LONGEST_PAUSE: Final = dt.timedelta(hours=1)
LIFETIME: Final = dt.timedelta(days=3)
"""Since it was to be told first: what isn't taken by then is given up."""
MAXIMUM_PAGE: Final = 500

CRITICAL_RESULT: Final = "critical_result"
FINDINGS: Final = "findings"


class DeliveryState(StrEnum):
    """What became of it."""

    WAITING = "waiting"
    """To be sent, or to be tried again."""
    SENT = "sent"
    DEAD = "dead"
    """Given up: the receiver refused it, or wasn't there for too long."""
    DROPPED = "dropped"
    """No longer true when it was to be sent."""


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """Something to be told."""

    topic: str
    key: str
    """By which it is known again, beside the destination's name."""
    object_id: int
    study_instance_uid: str
    sop_instance_uid: str
    concept_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something that was, is or was to be told."""

    id: int
    destination: str
    topic: str
    object_id: int
    study_instance_uid: str
    sop_instance_uid: str
    concept_ids: tuple[str, ...]
    state: DeliveryState
    attempts: int
    created_at: dt.datetime
    due_at: dt.datetime | None
    changed_at: dt.datetime
    reason_code: str | None

    def to_json(self) -> dict[str, Any]:
        """In the public form."""
        return {
            "id": self.id,
            "destination": self.destination,
            "topic": self.topic,
            "study_instance_uid": self.study_instance_uid,
            "sop_instance_uid": self.sop_instance_uid,
            "concepts": list(self.concept_ids),
            "state": self.state.value,
            "attempts": self.attempts,
            "created_at": utc_text(self.created_at),
            "due_at": utc_text(self.due_at) if self.due_at else None,
            "changed_at": utc_text(self.changed_at),
            "reason_code": self.reason_code,
        }


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """A part of the list."""

    deliveries: list[Delivery]
    next: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a destination was told."""

    from_object_id: int
    """Nothing is told of objects up to this one: they were held before the destination was."""
    analysis_id: int


def progress_of(database: Database, name: str) -> Progress:
    """How far a destination was told; one that is new begins with what comes from now on."""
    columns = destination.c

    def work(connection: Connection) -> Progress:
        row = connection.execute(sa.select(destination).where(columns.name == name)).one_or_none()
        if row is not None:
            return Progress(row.from_object_id, row.analysis_id)
        begin = Progress(
            connection.scalar(sa.select(sa.func.max(sop_instance.c.id))) or 0,
            connection.scalar(sa.select(sa.func.max(analysis.c.id))) or 0,
        )
        values = {"name": name, "from_object_id": begin.from_object_id, "analysis_id": begin.analysis_id}
        connection.execute(sa.insert(destination).values(**values))
        return begin

    return database.transact(work)


def new_analyses(database: Database, after: int, limit: int) -> list[tuple[int, int]]:
    """(analysis, object) of the next analyses that were made, in their order; those that count no more too."""
    query = sa.select(analysis.c.id, analysis.c.object_id).where(analysis.c.id > after)
    with database.read() as connection:
        return [(row.id, row.object_id) for row in connection.execute(query.order_by(analysis.c.id).limit(limit))]


def objects_since(database: Database, moment: dt.datetime, after: int, limit: int) -> list[int]:
    """Analysed objects that came since a moment, by number, the next after one."""
    columns = sop_instance.c
    query = sa.select(columns.id).where(columns.id > after, columns.received_at >= moment, columns.is_current)
    with database.read() as connection:
        return list(connection.scalars(query.order_by(columns.id).limit(limit)))


def told_concepts(database: Database, name: str, sop_instance_uids: Collection[str]) -> dict[str, set[str]]:
    """SOP Instance UID -> concepts of which the destination was told, or is to be."""
    columns = delivery.c
    found: dict[str, set[str]] = {}
    with database.read() as connection:
        for batch in batches(sorted(sop_instance_uids)):
            query = sa.select(columns.sop_instance_uid, columns.concept_id).where(
                columns.destination == name, columns.sop_instance_uid.in_(batch)
            )
            for row in connection.execute(query):
                found.setdefault(row.sop_instance_uid, set()).update((row.concept_id or "").split())
    return found


def delivered_keys(database: Database, name: str, sop_instance_uid: str) -> list[str]:
    """The keys of what the destination was told of a report, or is to be, in their order."""
    columns = delivery.c
    query = sa.select(columns.key).where(columns.destination == name, columns.sop_instance_uid == sop_instance_uid)
    with database.read() as connection:
        return list(connection.scalars(query.order_by(columns.id)))


def add_deliveries(
    database: Database, name: str, deliveries: Sequence[NewDelivery], *, analysis_id: int | None = None
) -> int:
    """Keep what is to be told; what is known already stays as it is.

    Parameters
    ----------
    analysis_id
        If given, all analyses up to this one were looked at: kept in the same transaction.

    Returns
    -------
    int
        How many are new.
    """
    columns = delivery.c

    def work(connection: Connection) -> int:
        now = dt.datetime.now(dt.UTC)
        held: set[str] = set()
        for batch in batches([d.key for d in deliveries]):
            known = sa.select(columns.key).where(columns.destination == name, columns.key.in_(batch))
            held |= set(connection.scalars(known))
        rows = {
            d.key: {
                "destination": name,
                "topic": d.topic,
                "key": d.key,
                "object_id": d.object_id,
                "study_instance_uid": d.study_instance_uid,
                "sop_instance_uid": d.sop_instance_uid,
                "concept_id": " ".join(d.concept_ids) or None,
                "state": DeliveryState.WAITING.value,
                "attempts": 0,
                "created_at": now,
                "due_at": now,
                "changed_at": now,
            }
            for d in deliveries
            if d.key not in held
        }
        if rows:
            connection.execute(sa.insert(delivery), list(rows.values()))
        if analysis_id is not None:
            connection.execute(sa.update(destination).where(destination.c.name == name).values(analysis_id=analysis_id))
        return len(rows)

    return database.transact(work)


def due_deliveries(database: Database, name: str, limit: int) -> list[Delivery]:
    """What is to be sent now, what waits longest first."""
    columns = delivery.c
    query = (
        sa.select(delivery)
        .where(
            columns.state == DeliveryState.WAITING.value,
            columns.due_at <= dt.datetime.now(dt.UTC),
            columns.destination == name,
        )
        .order_by(columns.due_at, columns.id)
        .limit(limit)
    )
    with database.read() as connection:
        return [_delivery(row) for row in connection.execute(query).mappings()]


def note_sent(database: Database, delivery_id: int) -> None:
    """It was taken."""
    _settle(database, delivery_id, DeliveryState.SENT, None)


def note_dropped(database: Database, delivery_id: int, reason_code: str) -> None:
    """It isn't true any more, and is not told."""
    _settle(database, delivery_id, DeliveryState.DROPPED, reason_code)


def note_failed(database: Database, failed: Delivery, reason_code: str, *, is_final: bool) -> DeliveryState:
    """It wasn't taken: it is tried again after a while, or given up; which of the two."""
    now = dt.datetime.now(dt.UTC)
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failed.attempts, 20))
    is_dead = is_final or now + pause > failed.created_at + LIFETIME
    state = DeliveryState.DEAD if is_dead else DeliveryState.WAITING
    values = {
        "state": state.value,
        "attempts": failed.attempts + 1,
        "due_at": None if is_dead else now + pause,
        "changed_at": now,
        "reason_code": reason_code,
    }
    with database.write() as connection:
        connection.execute(sa.update(delivery).where(delivery.c.id == failed.id).values(**values))
    return state


def _settle(database: Database, delivery_id: int, state: DeliveryState, reason_code: str | None) -> None:
    values = {
        "state": state.value,
        "due_at": None,
        "changed_at": dt.datetime.now(dt.UTC),
        "reason_code": reason_code,
    }
    with database.write() as connection:
        connection.execute(sa.update(delivery).where(delivery.c.id == delivery_id).values(**values))


def list_deliveries(
    database: Database,
    *,
    state: DeliveryState | None = None,
    name: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> DeliveryPage:
    """One page, the latest first.

    Raises
    ------
    UsageError
        `after` is none of ours, or `limit` isn't within its bounds.
    """
    check_page(limit, MAXIMUM_PAGE, "deliveries")
    columns = delivery.c
    query = sa.select(delivery).order_by(columns.id.desc()).limit(limit + 1)
    if state is not None:
        query = query.where(columns.state == state.value)
    if name is not None:
        query = query.where(columns.destination == name)
    if after is not None:
        query = query.where(columns.id < int(decode(after, "number")[0]))
    with database.read() as connection:
        query = query.where(*visible_objects(scope_of(connection), columns.object_id))
        rows = connection.execute(query).mappings().all()
    return DeliveryPage([_delivery(row) for row in rows[:limit]], place_after(rows, limit, "id"))


def count_deliveries(database: Database) -> dict[str, int]:
    """By state; every state is named."""
    columns = delivery.c
    query = sa.select(columns.state, sa.func.count()).where(*visible_objects(database.scope, columns.object_id))
    with database.read() as connection:
        found = {state: int(number) for state, number in connection.execute(query.group_by(columns.state))}
    return {state.value: found.get(state.value, 0) for state in DeliveryState}


def retry_deliveries(database: Database, delivery_ids: Collection[int] | None = None) -> int:
    """Have dead ones tried again, all or these, with a life of their own; how many.

    Raises
    ------
    NotFoundError
        None of these is dead.
    """
    now = dt.datetime.now(dt.UTC)
    columns = delivery.c
    query = (
        sa.update(delivery)
        .where(columns.state == DeliveryState.DEAD.value, *visible_objects(database.scope, columns.object_id))
        .values(state=DeliveryState.WAITING.value, due_at=now, created_at=now, attempts=0, changed_at=now)
    )
    if delivery_ids is not None:
        query = query.where(columns.id.in_(sorted(delivery_ids)))
    with database.write() as connection:
        count = int(connection.execute(query).rowcount)
    if delivery_ids is not None and not count:
        raise NotFoundError("no dead delivery has this number")
    return count


def _delivery(row: RowMapping) -> Delivery:
    return Delivery(
        id=row["id"],
        destination=row["destination"],
        topic=row["topic"],
        object_id=row["object_id"],
        study_instance_uid=row["study_instance_uid"],
        sop_instance_uid=row["sop_instance_uid"],
        concept_ids=tuple((row["concept_id"] or "").split()),
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        created_at=row["created_at"],
        due_at=row["due_at"],
        changed_at=row["changed_at"],
        reason_code=row["reason_code"],
    )
