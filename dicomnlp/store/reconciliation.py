"""Days of archives as they compare with what was received, and the report objects that were found wanting."""

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import to_json
from dicomnlp.store.batches import batches
from dicomnlp.store.cursors import check_page, decode, place_after
from dicomnlp.store.database import Database
from dicomnlp.store.schema_archives import reconciliation, reconciliation_item

MAXIMUM_PAGE: Final = 1000


class Gap(enum.StrEnum):
    """What is wanting of a report object that an archive holds."""

    NEVER_RECEIVED = "never_received"
    FAILED = "failed"
    """It came, and was refused at the door, is in quarantine, or could not be analysed."""
    OUTDATED = "outdated"
    """It was analysed by another pipeline than today's."""


class ComparisonState(enum.StrEnum):
    """How far the comparison of a day is."""

    REQUESTED = "requested"
    DONE = "done"
    PARTIAL = "partial"
    """The archive didn't tell all; what it told is compared."""
    FAILED = "failed"
    """It told nothing."""


class FetchState(enum.StrEnum):
    """How far the fetching of an object is."""

    WANTED = "wanted"
    FETCHED = "fetched"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ArchivedObject:
    """A report object that an archive holds."""

    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    """"" where the archive doesn't say."""


@dataclass(slots=True)
class Listing:
    """The report objects that an archive holds of the studies of a day, as far as it tells."""

    objects: dict[str, ArchivedObject] = field(default_factory=dict)
    """By SOP Instance UID."""
    studies: int = 0
    """Studies of the day, those without reports included."""
    unread_studies: int = 0
    """Of these, whose reports the archive didn't tell."""
    reason_code: str | None = None
    """Why objects may be missing here; None when these are all."""


@dataclass(frozen=True, slots=True)
class Wanting:
    """A report object that is missing, failed or out of date."""

    id: int
    object: ArchivedObject
    kind: Gap
    reason_code: str | None
    pipeline: str | None
    fetch_state: FetchState | None = None
    fetch_reason_code: str | None = None
    fetched_at: dt.datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """The object in the public form."""
        values: dict[str, Any] = to_json(self)
        return {"id": values.pop("id"), **values.pop("object"), **values}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A day of an archive."""

    id: int
    pacs: str
    study_date: str
    """YYYYMMDD."""
    state: ComparisonState
    requested_by: str
    requested_at: dt.datetime
    compared_at: dt.datetime | None
    reason_code: str | None
    studies: int
    unread_studies: int
    objects: int
    waiting: int
    """Objects that were received and wait for their analysis."""
    gaps: Mapping[Gap, int]
    fetches: Mapping[FetchState, int]

    def to_json(self) -> dict[str, Any]:
        """The comparison in the public form."""
        values: dict[str, Any] = to_json(self)
        gaps, fetches = values.pop("gaps"), values.pop("fetches")
        return {
            **values,
            "study_date": dt.date.fromisoformat(self.study_date).isoformat(),
            **{kind.value: gaps.get(kind, 0) for kind in Gap},
            "fetch": {state.value: fetches.get(state, 0) for state in FetchState},
        }


# --- reading


@dataclass(frozen=True, slots=True)
class ComparisonPage:
    """Some comparisons."""

    comparisons: list[Comparison]
    next: str | None


def read_comparisons(
    database: Database,
    *,
    pacs: str | None = None,
    date_from: dt.date | None = None,
    date_to: dt.date | None = None,
    after: str | None = None,
    limit: int = 100,
) -> ComparisonPage:
    """Days of archives, the latest first.

    Raises
    ------
    UsageError
        `after` is none of ours, or `limit` isn't within its bounds.
    """
    check_page(limit, MAXIMUM_PAGE, "comparisons")
    columns = reconciliation.c
    query = sa.select(reconciliation).order_by(columns.study_date.desc(), columns.id.desc()).limit(limit + 1)
    if pacs is not None:
        query = query.where(columns.pacs == pacs)
    if date_from is not None:
        query = query.where(columns.study_date >= f"{date_from:%Y%m%d}")
    if date_to is not None:
        query = query.where(columns.study_date <= f"{date_to:%Y%m%d}")
    if after is not None:
        day, number = decode(after, "date", "number")
        query = query.where(
            sa.tuple_(columns.study_date, columns.id) < sa.tuple_(sa.literal(day), sa.literal(int(number)))
        )
    with database.read() as connection:
        rows = connection.execute(query).mappings().all()
        found = _counted(connection, rows[:limit])
    return ComparisonPage(found, place_after(rows, limit, "study_date", "id"))


def read_comparison(database: Database, number: int) -> Comparison | None:
    """One of them; None: there is no such."""
    with database.read() as connection:
        rows = connection.execute(sa.select(reconciliation).where(reconciliation.c.id == number)).mappings().all()
        return next(iter(_counted(connection, rows)), None)


@dataclass(frozen=True, slots=True)
class WantingPage:
    """Some objects of a comparison."""

    objects: list[Wanting]
    next: str | None


def read_wanting(
    database: Database, number: int, *, kind: Gap | None = None, after: str | None = None, limit: int = 100
) -> WantingPage:
    """What is wanting of a day.

    Raises
    ------
    UsageError
        `after` is none of ours, or `limit` isn't within its bounds.
    """
    check_page(limit, MAXIMUM_PAGE, "objects")
    columns = reconciliation_item.c
    query = sa.select(reconciliation_item).where(columns.reconciliation_id == number)
    if kind is not None:
        query = query.where(columns.kind == kind.value)
    if after is not None:
        query = query.where(columns.id > int(decode(after, "number")[0]))
    with database.read() as connection:
        rows = connection.execute(query.order_by(columns.id).limit(limit + 1)).mappings().all()
    return WantingPage([wanting_of(row) for row in rows[:limit]], place_after(rows, limit, "id"))


def _counted(connection: Connection, rows: Sequence[Any]) -> list[Comparison]:
    columns = reconciliation_item.c
    counts: dict[int, tuple[dict[Gap, int], dict[FetchState, int]]] = {row["id"]: ({}, {}) for row in rows}
    for batch in batches(counts):
        grouped = (
            sa.select(columns.reconciliation_id, columns.kind, columns.fetch_state, sa.func.count())
            .where(columns.reconciliation_id.in_(batch))
            .group_by(columns.reconciliation_id, columns.kind, columns.fetch_state)
        )
        for number, kind, fetch, count in connection.execute(grouped):
            gaps, fetches = counts[number]
            gaps[Gap(kind)] = gaps.get(Gap(kind), 0) + count
            if fetch is not None:
                fetches[FetchState(fetch)] = fetches.get(FetchState(fetch), 0) + count
    return [
        Comparison(
            id=row["id"],
            pacs=row["pacs"],
            study_date=row["study_date"],
            state=ComparisonState(row["state"]),
            requested_by=row["requested_by"],
            requested_at=row["requested_at"],
            compared_at=row["compared_at"],
            reason_code=row["reason_code"],
            studies=row["studies"],
            unread_studies=row["unread_studies"],
            objects=row["objects"],
            waiting=row["waiting"],
            gaps=counts[row["id"]][0],
            fetches=counts[row["id"]][1],
        )
        for row in rows
    ]


def wanting_of(row: Any) -> Wanting:
    """The record of a row of `reconciliation_item`."""
    return Wanting(
        id=row["id"],
        object=ArchivedObject(
            row["sop_instance_uid"], row["study_instance_uid"], row["series_instance_uid"], row["sop_class_uid"]
        ),
        kind=Gap(row["kind"]),
        reason_code=row["reason_code"],
        pipeline=row["pipeline"],
        fetch_state=None if row["fetch_state"] is None else FetchState(row["fetch_state"]),
        fetch_reason_code=row["fetch_reason_code"],
        fetched_at=row["fetched_at"],
    )
