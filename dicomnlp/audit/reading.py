"""Reading the trail: what is in it, and whether it is whole."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Row

from dicomnlp.audit.anchor import Anchor, Place
from dicomnlp.audit.events import Kind, Outcome
from dicomnlp.audit.trail import GENESIS, hash_of
from dicomnlp.model import utc_text
from dicomnlp.store.database import Database
from dicomnlp.store.schema_access import audit_cursor, audit_event, audit_head

_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row of the trail."""

    id: int
    at: dt.datetime
    kind: Kind
    action: str
    principal: str
    role: str
    address: str
    outcome: Outcome
    study_instance_uid: str | None
    query: dict[str, str] | None
    count: int | None
    hash: str

    def to_json(self) -> dict[str, Any]:
        """The row in the public form."""
        return {
            "id": self.id,
            "at": utc_text(self.at),
            "kind": self.kind.value,
            "action": self.action,
            "principal": self.principal,
            "role": self.role,
            "address": self.address,
            "outcome": self.outcome.value,
            "study_instance_uid": self.study_instance_uid,
            "query": self.query,
            "count": self.count,
            "hash": self.hash,
        }


@dataclass(frozen=True, slots=True)
class TrailFilters:
    """What a row must be; all that is given must fit."""

    kind: Kind | None = None
    principal: str | None = None
    address: str | None = None
    outcome: Outcome | None = None
    study_instance_uid: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether the trail is whole."""

    rows: int
    """Read, from the first on."""
    head: Place
    """Where the trail ends."""
    breaks: tuple[str, ...]
    """Each says at which row something is wrong and what; none where the trail is whole."""


def read_trail(database: Database, filters: TrailFilters, limit: int) -> list[Recorded]:
    """The newest `limit` rows that fit, the oldest of them first."""
    columns = audit_event.c
    equal = {
        columns.kind: filters.kind,
        columns.principal: filters.principal,
        columns.address: filters.address,
        columns.outcome: filters.outcome,
        columns.study_instance_uid: filters.study_instance_uid,
    }
    conditions = [column == value for column, value in equal.items() if value is not None]
    if filters.since is not None:
        conditions.append(columns.at >= filters.since)
    if filters.until is not None:
        conditions.append(columns.at < filters.until)
    query = sa.select(audit_event).where(*conditions).order_by(columns.id.desc()).limit(limit)
    with database.read() as connection:
        return [_recorded(row) for row in reversed(connection.execute(query).all())]


def rows_after(database: Database, event_id: int, limit: int) -> list[Recorded]:
    """The rows that follow the one with this number."""
    query = sa.select(audit_event).where(audit_event.c.id > event_id).order_by(audit_event.c.id).limit(limit)
    with database.read() as connection:
        return [_recorded(row) for row in connection.execute(query)]


def verify(database: Database, expected: Place | None = None) -> Verification:
    """Read the trail from its first row and compare every hash; then its end with whoever else knows of it.

    The first break is enough: what follows a row that was changed can't be trusted. The end is held against the head
    kept in the database, the anchor file of this host, what was last forwarded, and `expected`.

    Parameters
    ----------
    expected
        A row and its hash that somebody wrote down, such as the last that the collector has.
    """
    anchor = Anchor.of(database).read()
    with database.read() as connection:
        if not database.is_sqlite:
            # one moment for the head and all rows, however many are added meanwhile; SQLite knows nothing else
            connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        head = connection.execute(sa.select(audit_head)).one_or_none()
        cursor = connection.execute(sa.select(audit_cursor)).one_or_none()
        known: list[tuple[str, Place | None]] = [
            ("the head kept in the database", Place(head.event_id, head.hash) if head is not None else None),
            ("the anchor file", anchor),
            ("the row last forwarded", Place(cursor.event_id, cursor.hash) if cursor is not None else None),
            ("the row expected", expected),
        ]
        places = {place.event_id: "" for _, place in known if place is not None}
        place = Place(0, GENESIS)
        places[0] = GENESIS
        broken = None
        for row in _rows(connection):
            broken = _break_at(row, place)
            if broken is not None:
                break
            place = Place(row["id"], row["hash"])
            if place.event_id in places:
                places[place.event_id] = place.hash
    if broken is not None:
        return Verification(place.event_id, place, (broken,))
    breaks = [fault for name, told in known for fault in _compare(name, told, place, places)]
    return Verification(place.event_id, place, tuple(breaks))


def _rows(connection: sa.Connection) -> Iterator[sa.RowMapping]:
    after: int | None = None
    while True:
        query = sa.select(audit_event).order_by(audit_event.c.id).limit(_AT_ONCE)
        rows = connection.execute(query if after is None else query.where(audit_event.c.id > after)).mappings().all()
        yield from rows
        if len(rows) < _AT_ONCE:
            return
        after = rows[-1]["id"]


def _break_at(row: sa.RowMapping, before: Place) -> str | None:
    number = before.event_id + 1
    if row["id"] != number:
        return f"row {number} is missing: row {row['id']} comes after row {before.event_id}"
    if row["previous_hash"] != before.hash:
        return f"row {number} doesn't follow row {before.event_id}: one of them was put there, or changed"
    if hash_of(row, before.hash) != row["hash"]:
        return f"row {number} was changed: its hash is not that of what it says"
    return None


def _compare(name: str, told: Place | None, end: Place, places: dict[int, str]) -> Iterator[str]:
    if told is None:
        # there is no anchor before this host has written, and nothing expected unless asked for
        if name == "the head kept in the database":
            yield "the head kept in the database is missing"
        return
    if told.event_id > end.event_id:
        yield f"rows {end.event_id + 1} to {told.event_id} are missing at the end: {name} knows of them"
    elif places[told.event_id] != told.hash:
        yield f"row {told.event_id} is another than {name} knows: the trail was written anew"
    elif name == "the head kept in the database" and told != end:
        yield f"the head kept in the database is row {told.event_id}, but the trail ends with row {end.event_id}"


def _recorded(row: Row[Any]) -> Recorded:
    return Recorded(
        row.id,
        row.at,
        Kind(row.kind),
        row.action,
        row.principal,
        row.role,
        row.address,
        Outcome(row.outcome),
        row.study_instance_uid,
        row.query,
        row._mapping["count"],  # noqa: SLF001  a row is a tuple, which has a count of its own
        row.hash,
    )
