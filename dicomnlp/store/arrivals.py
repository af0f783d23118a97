"""The ledger as people read it: everything that was received or refused, the latest first, page by page."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

from dicomnlp.model import Outcome, is_uid
from dicomnlp.store.cursors import check_page, decode, place_after
from dicomnlp.store.database import Database
from dicomnlp.store.schema import IS_REFUSED, ledger
from dicomnlp.store.scope import visible_ledger

MAXIMUM_PAGE = 500


@dataclass(frozen=True, slots=True)
class LedgerFilters:
    """What an arrival must be; all fields given must fit."""

    outcome: Outcome | None = None
    reason_code: str | None = None
    calling_ae_title: str | None = None
    date_from: dt.date | None = None
    """Day of arrival (UTC); both ends belong to the range."""
    date_to: dt.date | None = None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """An arrival, and what was decided about it."""

    id: int
    received_at: dt.datetime
    door: str
    calling_ae_title: str
    peer_address: str
    sop_class_uid: str
    """"" where it is not well-formed, like the other UIDs."""
    sop_instance_uid: str
    study_instance_uid: str
    size: int
    outcome: Outcome
    status: int
    """The DIMSE status that was answered (PS3.7 C)."""
    reason_code: str | None


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """A part of the ledger."""

    entries: list[LedgerEntry]
    next: str | None
    """What the next page is asked for with; None when this is the last."""


def read_ledger(
    database: Database, filters: LedgerFilters, *, after: str | None = None, limit: int = 100
) -> LedgerPage:
    """One page of the arrivals that fit, the latest first.

    Parameters
    ----------
    after
        `LedgerPage.next` of the page before.
    limit
        1 to `MAXIMUM_PAGE`.

    Raises
    ------
    UsageError
        `after` is none of ours, or `limit` isn't within its bounds.
    """
    check_page(limit, MAXIMUM_PAGE, "entries")
    query = sa.select(ledger).where(*_conditions(filters), *visible_ledger(database.scope))
    if after is not None:
        query = query.where(ledger.c.id < int(decode(after, "number")[0]))
    with database.read() as connection:
        rows = connection.execute(query.order_by(ledger.c.id.desc()).limit(limit + 1)).mappings().all()
    return LedgerPage([_entry(row) for row in rows[:limit]], place_after(rows, limit, "id"))


def _conditions(filters: LedgerFilters) -> Iterator[sa.ColumnElement[bool] | sa.TextClause]:
    columns = ledger.c
    if filters.outcome is Outcome.REFUSED:
        yield sa.text(IS_REFUSED)
    if filters.outcome is not None:
        yield columns.outcome == filters.outcome.value
    if filters.reason_code is not None:
        yield columns.reason_code == filters.reason_code
    if filters.calling_ae_title is not None:
        yield columns.calling_ae_title == filters.calling_ae_title
    if filters.date_from is not None:
        yield columns.received_at >= _midnight(filters.date_from)
    if filters.date_to is not None:
        # the last day that there is has none after it
        yield columns.received_at <= dt.datetime.combine(filters.date_to, dt.time.max, dt.UTC)


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _entry(row: RowMapping) -> LedgerEntry:
    return LedgerEntry(
        id=row["id"],
        received_at=row["received_at"],
        door=row["door"],
        calling_ae_title=row["calling_ae_title"],
        peer_address=row["peer_address"],
        sop_class_uid=_shown(row["sop_class_uid"]),
        sop_instance_uid=_shown(row["sop_instance_uid"]),
        study_instance_uid=_shown(row["study_instance_uid"]),
        size=row["size"],
        outcome=Outcome(row["outcome"]),
        status=row["status"],
        reason_code=row["reason_code"],
    )


def _shown(uid: str | None) -> str:
    return uid if uid is not None and is_uid(uid) else ""
