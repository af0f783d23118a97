"""What reports recommend, over all studies: the list of what is to be followed up."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from dicomnlp.model import Recommendation, RecommendationKind, to_json
from dicomnlp.store.cursors import check_page, decode, place_after
from dicomnlp.store.database import Database
from dicomnlp.store.patients import is_patient
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.records import from_json
from dicomnlp.store.schema import recommendation, report_standing, sop_instance
from dicomnlp.store.scope import scope_of, visible

MAXIMUM_PAGE = 1000


@dataclass(frozen=True, slots=True)
class FollowUpFilters:
    """What a recommendation must be; all fields given must fit."""

    modality: str | None = None
    """DICOM modality of the imaging that is recommended."""
    anatomy: tuple[str, ...] = ()
    """Ids of sites, parts included by who asks."""
    kind: RecommendationKind | None = None
    conditional: bool | None = None
    due_from: dt.date | None = None
    """Due on this day or later: the latest time named, counted from the study's date. What names no time fits not."""
    due_to: dt.date | None = None
    date_from: dt.date | None = None
    """Of the study; both ends belong to the range."""
    date_to: dt.date | None = None
    patient_id: str | None = None


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A recommendation of a prevailing report."""

    id: int
    study_instance_uid: str
    sop_instance_uid: str
    study_date: str
    """YYYYMMDD, "" when the report tells none."""
    due_from: str | None
    """Study date and the earliest time named, YYYYMMDD; None without either."""
    due_to: str | None
    recommendation: Recommendation

    def to_json(self) -> dict[str, Any]:
        """The recommendation in the public form."""
        return {
            "id": self.id,
            "study_instance_uid": self.study_instance_uid,
            "sop_instance_uid": self.sop_instance_uid,
            "study_date": _iso(self.study_date),
            "due_from": _iso(self.due_from),
            "due_to": _iso(self.due_to),
            **to_json(self.recommendation),
        }


@dataclass(frozen=True, slots=True)
class FollowUpPage:
    """A part of the list."""

    recommendations: list[FollowUp]
    next: str | None
    """What the next page is asked for with; None when this is the last."""


def follow_up(
    database: Database, filters: FollowUpFilters, *, after: str | None = None, limit: int = 100
) -> FollowUpPage:
    """One page of the recommendations of prevailing reports that fit, newest study first.

    Parameters
    ----------
    after
        `FollowUpPage.next` of the page before.
    limit
        1 to `MAXIMUM_PAGE`.

    Raises
    ------
    UsageError
        `after` is none of ours, or `limit` isn't within its bounds.
    """
    check_page(limit, MAXIMUM_PAGE, "recommendations")
    columns, held, standing = recommendation.c, sop_instance.c, report_standing.c
    query = (
        sa.select(recommendation, held.study_instance_uid, held.sop_instance_uid)
        .join_from(recommendation, sop_instance, held.id == columns.object_id)
        .join(report_standing, standing.object_id == columns.object_id)
        .where(held.is_current, standing.status == ReportStatus.PREVAILING.value)
        .order_by(columns.study_date.desc(), columns.id.desc())
        .limit(limit + 1)
    )
    if after is not None:
        date, number = decode(after, "date", "number")
        query = query.where(sa.tuple_(columns.study_date, columns.id) < sa.tuple_(sa.literal(date), int(number)))
    with database.read() as connection:
        rows = connection.execute(query.where(*_conditions(connection, filters))).mappings().all()
    return FollowUpPage([_follow_up(row) for row in rows[:limit]], place_after(rows, limit, "study_date", "id"))


def _conditions(connection: Connection, filters: FollowUpFilters) -> Iterator[sa.ColumnElement[bool]]:
    columns = recommendation.c
    yield from visible(scope_of(connection))
    if filters.modality is not None:
        yield columns.modality == filters.modality
    if filters.anatomy:
        yield columns.anatomy_id.in_(sorted(set(filters.anatomy)))
    if filters.kind is not None:
        yield columns.kind == filters.kind.value
    if filters.conditional is not None:
        yield columns.conditional.is_(filters.conditional)
    for column, first, last in (
        (columns.due_to, filters.due_from, filters.due_to),
        (columns.study_date, filters.date_from, filters.date_to),
    ):
        if first is not None:
            yield column >= f"{first:%Y%m%d}"
        if last is not None:
            yield column <= f"{last:%Y%m%d}"
            yield column > ""
    if filters.patient_id is not None:
        yield is_patient(connection, filters.patient_id)


def _follow_up(row: RowMapping) -> FollowUp:
    return FollowUp(
        id=row["id"],
        study_instance_uid=row["study_instance_uid"],
        sop_instance_uid=row["sop_instance_uid"],
        study_date=row["study_date"],
        due_from=row["due_from"],
        due_to=row["due_to"],
        recommendation=from_json(Recommendation, row["statement"]),
    )


def _iso(date: str | None) -> str | None:
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if date else None
