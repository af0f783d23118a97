"""The newest reports with what they state in short, page by page: what a reader's list shows."""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from dicomnlp.model import Assertion, State
from dicomnlp.store.batches import batches
from dicomnlp.store.cursors import check_page, decode, place_after
from dicomnlp.store.database import Database
from dicomnlp.store.patients import is_patient
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.schema import (
    CURRENT_ANALYSIS,
    IS_FAILURE,
    analysis,
    finding,
    ledger,
    report_accession,
    report_profile,
    report_standing,
    sop_instance,
)
from dicomnlp.store.schema_pipelines import promotion
from dicomnlp.store.scope import visible
from dicomnlp.store.search_conditions import unindexed

MAXIMUM_PAGE = 200
_STATED = (Assertion.PRESENT, Assertion.POSSIBLE)
_WEIGHT = {"impression": 0, "addendum": 1, "findings": 2}
"""Sections in the order in which what they state is worth telling; all others come after."""


@dataclass(frozen=True, slots=True)
class WorklistFilters:
    """What a report must be; all fields given must fit."""

    state: State | None = None
    modality: str | None = None
    """Of the study, as far as an analysis told it."""
    calling_ae_title: str | None = None
    critical: bool = False
    """States a finding that is to be told at once."""
    find: str | None = None
    """Patient ID (merged ones included), accession number, Study or SOP Instance UID."""
    patients: bool = True
    """Whether `find` looks for patients and accession numbers too: not for who may not know them."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A finding in short."""

    concept_id: str
    meaning: str
    assertion: Assertion
    laterality: str | None
    critical: bool


@dataclass(frozen=True, slots=True)
class WorklistReport:
    """A report as a list shows it."""

    object_id: int
    study_instance_uid: str
    sop_instance_uid: str
    patient_id: str
    patient_sex: str
    patient_age: int | None
    """At the date of the study; None until it is analysed."""
    accession_number: str
    study_date: str
    study_description: str
    modality: str
    """Of the study, "" where nothing tells it."""
    calling_ae_title: str
    received_at: dt.datetime
    state: State
    reason_code: str | None
    status: ReportStatus | None
    """None: not analysed yet."""
    preliminary: bool
    language: str
    stated: tuple[Statement, ...] = ()
    """What is present or possible, each once: what is critical first, then as the report weighs it."""
    assertions: dict[str, int] = field(default_factory=dict)
    """How many findings by assertion."""


@dataclass(frozen=True, slots=True)
class WorklistPage:
    """A part of the list."""

    reports: list[WorklistReport]
    next: str | None
    """What the next page is asked for with; None when this is the last."""


def read_worklist(
    database: Database, filters: WorklistFilters, *, after: str | None = None, limit: int = 50
) -> WorklistPage:
    """One page of the reports that fit, the latest received first; replaced versions of an object are left out.

    Parameters
    ----------
    after
        `WorklistPage.next` of the page before.
    limit
        1 to `MAXIMUM_PAGE`.

    Raises
    ------
    UsageError
        `after` is none of ours, or `limit` isn't within its bounds.
    """
    check_page(limit, MAXIMUM_PAGE, "reports")
    columns = sop_instance.c
    query = _reports(database).order_by(columns.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(columns.id < int(decode(after, "number")[0]))
    with database.read() as connection:
        rows = connection.execute(query.where(*_conditions(connection, filters))).mappings().all()
        stated, assertions = _findings(connection, [row["id"] for row in rows[:limit]])
    reports = [_report(row, stated[row["id"]], assertions[row["id"]]) for row in rows[:limit]]
    return WorklistPage(reports, place_after(rows, limit, "id"))


def reports_by_uid(database: Database, sop_instance_uids: Sequence[str]) -> dict[str, WorklistReport]:
    """The current versions of the reports with these SOP Instance UIDs, without what they state."""
    with database.read() as connection:
        rows = [
            row
            for batch in batches(sorted(set(sop_instance_uids)))
            for row in connection.execute(
                _reports(database).where(sop_instance.c.sop_instance_uid.in_(batch))
            ).mappings()
        ]
    return {row["sop_instance_uid"]: _report(row, (), {}) for row in rows}


def _reports(database: Database) -> sa.Select[Any]:
    columns = sop_instance.c
    return (
        sa.select(
            sop_instance,
            report_profile.c.modality.label("modality_of_study"),
            report_profile.c.patient_age,
            report_standing.c.status,
            report_standing.c.is_preliminary,
            analysis.c.language,
        )
        .outerjoin_from(sop_instance, report_profile, report_profile.c.object_id == columns.id)
        .outerjoin(report_standing, report_standing.c.object_id == columns.id)
        .outerjoin(analysis, (analysis.c.object_id == columns.id) & CURRENT_ANALYSIS)
        .where(columns.is_current, *visible(database.scope))
    )


def _conditions(connection: Connection, filters: WorklistFilters) -> Iterator[sa.ColumnElement[bool]]:
    columns = sop_instance.c
    if filters.state is not None:
        # nearly all are analysed, and are met soon enough in the order of the answer; the others are few
        column = unindexed(connection, columns.state) if filters.state is State.ANALYSED else columns.state
        yield column == filters.state.value
    if filters.modality is not None:
        named = "\\" + report_profile.c.modality + "\\"
        yield named.contains(f"\\{filters.modality}\\", autoescape=True)
    if filters.calling_ae_title is not None:
        yield columns.calling_ae_title == filters.calling_ae_title
    if filters.critical:
        # as the partial index says it
        of_critical = sa.text("finding.is_current AND finding.critical")
        stated = finding.c.assertion.in_([a.value for a in _STATED])
        yield columns.id.in_(sa.select(finding.c.object_id).where(of_critical, stated))
    if filters.find is not None:
        yield columns.id.in_(sa.union(*_found(connection, filters)).scalar_subquery())


def _found(connection: Connection, filters: WorklistFilters) -> Iterator[sa.Select[tuple[int]]]:
    """Objects by each of the identifiers that are looked for; each has its index."""
    columns, find = sop_instance.c, filters.find
    ids = sa.select(columns.id)
    yield ids.where(columns.study_instance_uid == find)
    yield ids.where(columns.sop_instance_uid == find)
    if filters.patients:
        assert find is not None
        yield ids.where(is_patient(connection, find))
        yield ids.where(columns.accession_number == find)
        yield sa.select(report_accession.c.object_id).where(report_accession.c.accession_number == find)


def _findings(
    connection: Connection, object_ids: Sequence[int]
) -> tuple[defaultdict[int, tuple[Statement, ...]], defaultdict[int, dict[str, int]]]:
    """What each object states, and how many findings it has by assertion; of those that prevail."""
    columns = finding.c
    by_object: defaultdict[int, list[RowMapping]] = defaultdict(list)
    for batch in batches(object_ids):
        rows = connection.execute(
            sa.select(
                columns.object_id,
                columns.concept_id,
                columns.concept_meaning,
                columns.assertion,
                columns.laterality,
                columns.critical,
                columns.section,
                columns.start_offset,
            ).where(columns.object_id.in_(batch), columns.is_current)
        )
        for row in rows.mappings():
            by_object[row["object_id"]].append(row)
    stated: defaultdict[int, tuple[Statement, ...]] = defaultdict(tuple)
    assertions: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for object_id, found in by_object.items():
        assertions[object_id] = dict(Counter(row["assertion"] for row in found))
        stated[object_id] = summary(found)
    return stated, assertions


def summary(rows: Sequence[RowMapping]) -> tuple[Statement, ...]:
    """What is present or possible among rows of `finding`, each concept once, the weightiest mention of it."""
    wanted = [row for row in rows if row["assertion"] in _STATED]
    wanted.sort(key=lambda row: (not row["critical"], _WEIGHT.get(row["section"], 3), row["start_offset"]))
    found: dict[str, Statement] = {}
    for row in wanted:
        statement = Statement(
            row["concept_id"],
            row["concept_meaning"],
            Assertion(row["assertion"]),
            row["laterality"],
            row["critical"],
        )
        found.setdefault(row["concept_id"], statement)
    return tuple(found.values())


def _report(row: RowMapping, stated: tuple[Statement, ...], assertions: dict[str, int]) -> WorklistReport:
    return WorklistReport(
        object_id=row["id"],
        study_instance_uid=row["study_instance_uid"],
        sop_instance_uid=row["sop_instance_uid"],
        patient_id=row["patient_id"],
        patient_sex=row["patient_sex"],
        patient_age=row["patient_age"],
        accession_number=row["accession_number"],
        study_date=row["study_date"],
        study_description=row["study_description"],
        modality=(row["modality_of_study"] or "").replace("\\", " "),
        calling_ae_title=row["calling_ae_title"],
        received_at=row["received_at"],
        state=State(row["state"]),
        reason_code=row["reason_code"],
        status=ReportStatus(row["status"]) if row["status"] else None,
        preliminary=bool(row["is_preliminary"]),
        language=row["language"] or "",
        stated=stated,
        assertions=assertions,
    )


def count_states(database: Database) -> dict[str, int]:
    """Objects by state; every state is named."""
    columns = sop_instance.c
    query = sa.select(columns.state, sa.func.count()).where(*visible(database.scope)).group_by(columns.state)
    with database.read() as connection:
        found = {state: int(number) for state, number in connection.execute(query)}
    return {state.value: found.get(state.value, 0) for state in State}


def read_change(database: Database) -> str:
    """A text that is another one after anything has come in, was analysed, or failed; it costs next to nothing."""
    queries = (
        sa.select(sa.func.max(ledger.c.id)),
        sa.select(sa.func.max(analysis.c.analysed_at)),
        # reports that change to another analysis, which is not a new one
        sa.select(sa.func.sum(promotion.c.switched)),
        sa.select(sa.func.max(sop_instance.c.state_changed_at)).where(
            sa.text(IS_FAILURE), sop_instance.c.state == State.FAILED.value
        ),
    )
    with database.read() as connection:
        found = [connection.scalar(query) for query in queries]
    return "-".join(
        f"{value.timestamp():.6f}" if isinstance(value, dt.datetime) else str(value or 0) for value in found
    )
