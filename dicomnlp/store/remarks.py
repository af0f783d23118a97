"""What a second reader would remark: written with each analysis, listed where its report counts."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from dicomnlp.model import to_json
from dicomnlp.remarks import Discrepancy, DiscrepancyKind, Guidance, GuidanceOutcome, Remarks
from dicomnlp.store.columns import json_text
from dicomnlp.store.cursors import check_page, decode, place_after
from dicomnlp.store.database import Database
from dicomnlp.store.patients import is_patient
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.records import from_json
from dicomnlp.store.rows import Loader
from dicomnlp.store.schema import CURRENT_ANALYSIS, analysis, report_standing, sop_instance
from dicomnlp.store.schema_remarks import discrepancy, guidance, quality_measure
from dicomnlp.store.scope import scope_of, visible

MAXIMUM_PAGE = 1000
_DISCREPANCIES = Loader(
    discrepancy, "kind", "rule", "confidence", "statement", "analysis_id", "study_date", "other_object_id"
)
_GUIDANCE = Loader(guidance, "guideline", "outcome", "statement", "analysis_id", "study_date")
_MEASURES = Loader(quality_measure, "measure", "met", "statement", "analysis_id", "study_date")


@dataclass(frozen=True, slots=True)
class RemarkRows:
    """Remarks as values of rows, without what is only known when they are written."""

    discrepancies: tuple[tuple[Any, ...], ...] = ()
    guidance: tuple[tuple[Any, ...], ...] = ()
    quality_measures: tuple[tuple[Any, ...], ...] = ()


NO_REMARKS = RemarkRows()


def remark_rows(remarks: Remarks | None) -> RemarkRows:
    """The values of rows for `remarks`."""
    if remarks is None:
        return NO_REMARKS
    return RemarkRows(
        tuple(discrepancy_row(d) for d in remarks.discrepancies),
        tuple((g.guideline, g.outcome.value, json_text(to_json(g))) for g in remarks.guidance),
        tuple((m.measure, m.met, json_text(to_json(m.because) or {})) for m in remarks.quality_measures),
    )


def discrepancy_row(found: Discrepancy) -> tuple[Any, ...]:
    """The values of a row for it."""
    statement = {"first": to_json(found.first), "second": to_json(found.second), "facts": dict(found.facts)}
    return found.kind.value, found.rule, found.confidence, json_text(statement)


def write_remarks(connection: Connection, written: Sequence[tuple[RemarkRows, int, str]]) -> None:
    """Insert remarks on new analyses.

    Parameters
    ----------
    written
        Remarks, the analysis that they are on, and the date of its study.
    """
    for loader, of in (
        (_DISCREPANCIES, [(*row, key, date, None) for rows, key, date in written for row in rows.discrepancies]),
        (_GUIDANCE, [(*row, key, date) for rows, key, date in written for row in rows.guidance]),
        (_MEASURES, [(*row, key, date) for rows, key, date in written for row in rows.quality_measures]),
    ):
        if of:
            loader.load(connection, of)


def load_discrepancies(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert discrepancies between two reports: values of `discrepancy_row`, analysis, study date, other object."""
    if rows:
        _DISCREPANCIES.load(connection, rows)


# --- lists ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RemarkFilters:
    """What a remark must be; all fields given must fit."""

    kind: DiscrepancyKind | None = None
    minimum_confidence: float | None = None
    guideline: str | None = None
    outcome: GuidanceOutcome | None = None
    study_instance_uid: str | None = None
    date_from: dt.date | None = None
    """Of the study; both ends belong to the range."""
    date_to: dt.date | None = None
    patient_id: str | None = None


@dataclass(frozen=True, slots=True)
class Remarked:
    """A remark on a prevailing report, in the public form of what it is."""

    id: int
    study_instance_uid: str
    sop_instance_uid: str
    study_date: str
    study_description: str
    statement: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The remark in the public form."""
        date = f"{self.study_date[:4]}-{self.study_date[4:6]}-{self.study_date[6:]}" if self.study_date else None
        return {
            "id": self.id,
            "study_instance_uid": self.study_instance_uid,
            "sop_instance_uid": self.sop_instance_uid,
            "study_date": date,
            **self.statement,
        }


@dataclass(frozen=True, slots=True)
class RemarkPage:
    """A part of a list."""

    remarks: list[Remarked]
    next: str | None
    """What the next page is asked for with; None when this is the last."""


def list_discrepancies(
    database: Database, filters: RemarkFilters, *, after: str | None = None, limit: int = 100
) -> RemarkPage:
    """One page of the discrepancies of prevailing reports that fit, newest study first.

    Parameters
    ----------
    after
        `RemarkPage.next` of the page before.
    limit
        1 to `MAXIMUM_PAGE`.

    Raises
    ------
    UsageError
        `after` is none of ours, or `limit` isn't within its bounds.
    """
    return _page(database, discrepancy, filters, after, limit, _discrepancy)


def list_guidance(
    database: Database, filters: RemarkFilters, *, after: str | None = None, limit: int = 100
) -> RemarkPage:
    """As `list_discrepancies`, of guidance."""
    return _page(database, guidance, filters, after, limit, _guidance)


def _page(
    database: Database,
    table: sa.Table,
    filters: RemarkFilters,
    after: str | None,
    limit: int,
    statement: Any,
) -> RemarkPage:
    check_page(limit, MAXIMUM_PAGE, "remarks")
    columns, held = table.c, sop_instance.c
    query = (
        sa.select(table, held.study_instance_uid, held.sop_instance_uid, held.study_description)
        .order_by(columns.study_date.desc(), columns.id.desc())
        .limit(limit + 1)
    )
    if after is not None:
        date, number = decode(after, "date", "number")
        query = query.where(sa.tuple_(columns.study_date, columns.id) < sa.tuple_(sa.literal(date), int(number)))
    with database.read() as connection:
        rows = connection.execute(_counting(connection, query, table, filters)).mappings().all()
    found = [
        Remarked(
            row["id"],
            row["study_instance_uid"],
            row["sop_instance_uid"],
            row["study_date"],
            row["study_description"],
            statement(row),
        )
        for row in rows[:limit]
    ]
    return RemarkPage(found, place_after(rows, limit, "study_date", "id"))


def _counting(connection: Connection, query: sa.Select[Any], table: sa.Table, filters: RemarkFilters) -> Any:
    """`query` over remarks on current analyses of prevailing reports that fit."""
    return (
        query.select_from(table)
        .join(analysis, analysis.c.id == table.c.analysis_id)
        .join(sop_instance, sop_instance.c.id == analysis.c.object_id)
        .join(report_standing, report_standing.c.object_id == analysis.c.object_id)
        .where(
            CURRENT_ANALYSIS,
            sop_instance.c.is_current,
            report_standing.c.status == ReportStatus.PREVAILING.value,
            *_conditions(connection, table, filters),
        )
    )


def _conditions(connection: Connection, table: sa.Table, filters: RemarkFilters) -> Iterator[sa.ColumnElement[bool]]:
    columns = table.c
    yield from visible(scope_of(connection))
    if filters.kind is not None:
        yield columns.kind == filters.kind.value
    if filters.minimum_confidence is not None:
        yield columns.confidence >= filters.minimum_confidence
    if filters.guideline is not None:
        yield columns.guideline == filters.guideline
    if filters.outcome is not None:
        yield columns.outcome == filters.outcome.value
    if filters.study_instance_uid is not None:
        yield sop_instance.c.study_instance_uid == filters.study_instance_uid
    if filters.date_from is not None:
        yield columns.study_date >= f"{filters.date_from:%Y%m%d}"
    if filters.date_to is not None:
        yield columns.study_date <= f"{filters.date_to:%Y%m%d}"
        yield columns.study_date > ""
    if filters.patient_id is not None:
        yield is_patient(connection, filters.patient_id)


def _discrepancy(row: RowMapping) -> dict[str, Any]:
    return {"kind": row["kind"], "rule": row["rule"], "confidence": row["confidence"], **row["statement"]}


def _guidance(row: RowMapping) -> dict[str, Any]:
    found = from_json(Guidance, row["statement"])
    return {**to_json(found), "known": dict(found.known)}


@dataclass(frozen=True, slots=True)
class MeasureCount:
    """How many reports a measure of quality is for, and how many have what it counts."""

    measure: str
    reports: int
    met: int


def count_measures(database: Database, filters: RemarkFilters) -> list[MeasureCount]:
    """Measures of quality over prevailing reports that fit, by name; those that are for none are left out."""
    columns = quality_measure.c
    query = (
        sa.select(columns.measure, sa.func.count(), sa.func.sum(sa.case((columns.met, 1), else_=0)))
        .group_by(columns.measure)
        .order_by(columns.measure)
    )
    with database.read() as connection:
        rows = connection.execute(_counting(connection, query, quality_measure, filters)).all()
    return [MeasureCount(measure, int(reports), int(met)) for measure, reports, met in rows]
