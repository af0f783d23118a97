"""What is held as resources that are searched by their own parameters: reports, findings, studies, patients.

Answers are keys in the order of rows, newest first; a page begins after the last key of the one before.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import Assertion
from dicomnlp.store.batches import batches
from dicomnlp.store.database import Database
from dicomnlp.store.documents import BELONGS
from dicomnlp.store.patients import Patient, any_merged, current_patients, family_of
from dicomnlp.store.schema import CURRENT_ANALYSIS, analysis, finding, report_accession, report_study
from dicomnlp.store.scope import Scope, visible
from dicomnlp.store.search_conditions import CURRENT, REPORT, F, P, S, select_reports, unindexed
from dicomnlp.store.search_filters import Filters

A = analysis.c


@dataclass(frozen=True, slots=True)
class DateBound:
    """A comparison of a date of eight digits: "ge" and "le", "gt" and "lt"."""

    comparison: str
    date: str


@dataclass(frozen=True, slots=True)
class MomentBound:
    """A comparison of a moment, likewise."""

    comparison: str
    moment: dt.datetime


@dataclass(frozen=True, slots=True)
class CodedFinding:
    """A finding by its concept, and how it must be judged for this to fit."""

    assertion: Assertion
    concept_id: str | None = None
    scheme: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class ResourceQuery:
    """What a resource must be: all fields that are given must fit, of a field with several values one."""

    uids: tuple[str, ...] | None = None
    """SOP Instance UIDs of reports."""
    numbers: tuple[int, ...] | None = None
    """Ids of findings."""
    identifiers: tuple[str, ...] | None = None
    """Reports: their own UID, that of a study they belong to, or an accession number. Studies: UID or accession number.
    Patients: Patient ID."""
    patients: tuple[int, ...] | None = None
    """Numbers of patients, see `patient_numbers`."""
    studies: tuple[str, ...] | None = None
    dates: tuple[DateBound, ...] = ()
    """Of the study."""
    updated: tuple[MomentBound, ...] = ()
    """When it was analysed."""
    document_codes: tuple[tuple[str | None, str], ...] | None = None
    """Scheme, if it matters, and value of the document title; the default is LN 18748-4."""
    findings: tuple[CodedFinding, ...] | None = None
    assertions: tuple[Assertion, ...] | None = None
    statuses: tuple[str, ...] | None = None
    """As `status_of`."""
    modalities: tuple[str, ...] | None = None


_COMPARE = {
    "ge": lambda column, value: column >= value,
    "gt": lambda column, value: column > value,
    "le": lambda column, value: column <= value,
    "lt": lambda column, value: column < value,
}


def status_of() -> sa.ColumnElement[str]:
    """The state of a report by its flags (PS3.3 C.17.2), as FHIR names it: what `export.fhir.report_status` says."""
    return sa.case(
        (A.preliminary_flag == "PRELIMINARY", "preliminary"),
        (A.completion_flag == "PARTIAL", "partial"),
        ((A.verification_flag == "VERIFIED") & (sa.cast(A.predecessors, sa.Text) != "[]"), "amended"),
        (A.verification_flag == "VERIFIED", "final"),
        (A.verification_flag == "UNVERIFIED", "preliminary"),
        else_="unknown",
    )


def find_reports(database: Database, query: ResourceQuery, after: int | None, limit: int) -> list[int]:
    """Objects of analysed reports that prevail and fit, the newest first."""
    with database.read() as connection:
        wanted = _reports(connection, database.scope, query, REPORT)
        if after is not None:
            wanted = wanted.where(after > REPORT)
        return list(connection.scalars(wanted.order_by(REPORT.desc()).limit(limit)))


def find_findings(database: Database, query: ResourceQuery, after: int | None, limit: int) -> list[tuple[int, int]]:
    """Ids and objects of findings of prevailing reports that fit, the newest first."""
    with database.read() as connection:
        reports = _reports(connection, database.scope, query, F.id, F.object_id)
        # where nothing says which reports, through the findings in order; else SQLite would sort those of all reports
        few = query.studies is not None or query.patients is not None
        key = F.object_id if few else unindexed(connection, F.object_id)
        wanted = reports.join(finding, key == P.object_id).where(CURRENT, *_of_findings(query))
        if after is not None:
            wanted = wanted.where(F.id < after)
        rows = connection.execute(wanted.order_by(F.id.desc()).limit(limit))
        return [(row[0], row[1]) for row in rows]


def find_studies(database: Database, query: ResourceQuery, after: int | None, limit: int) -> list[int]:
    """For each study with a prevailing report that fits the newest of these, the newest first."""
    with database.read() as connection:
        newest = sa.func.max(P.object_id).label("newest")
        wanted = _reports(connection, database.scope, query, newest).group_by(S.study_instance_uid)
        if after is not None:
            wanted = wanted.having(newest < after)
        return list(connection.scalars(wanted.order_by(newest.desc()).limit(limit)))


def find_patients(database: Database, query: ResourceQuery, after: int | None, limit: int) -> list[int]:
    """Numbers of patients with an identifier, see `patient_numbers`, the newest first."""
    with database.read() as connection:
        number = sa.func.min(S.id).label("number")
        wanted = (
            sa.select(number, S.patient_id, S.issuer_of_patient_id)
            .where(S.patient_id != "", *visible(database.scope))
            .group_by(S.patient_id, S.issuer_of_patient_id)
            .order_by(number.desc())
        )
        if query.identifiers is not None:
            wanted = wanted.where(S.patient_id.in_(query.identifiers))
        if query.patients is not None:
            wanted = wanted.where(_of_patients(connection, database.scope, query.patients))
        found: list[int] = []
        while len(found) < limit:
            page = wanted if after is None else wanted.having(number < after)
            rows = connection.execute(page.limit(limit)).all()
            if not rows:
                break
            after = rows[-1].number
            numbers = _numbers(connection, database.scope, {(r.patient_id, r.issuer_of_patient_id) for r in rows})
            # of identifiers that are merged one stands for all
            found += [r.number for r in rows if numbers[r.patient_id, r.issuer_of_patient_id] == r.number]
        return found[:limit]


def patient_numbers(database: Database, patients: Collection[Patient]) -> dict[Patient, int]:
    """For each patient the number of the first object under its identifier or one merged with it: the same each time.

    Patients without an object that may be seen are left out.
    """
    with database.read() as connection:
        return _numbers(connection, database.scope, patients)


def objects_of_patients(database: Database, numbers: Sequence[int]) -> list[int]:
    """The newest object of each of these patients."""
    with database.read() as connection:
        families = _families(connection, database.scope, numbers)
        members = {member for family in families.values() for member in family}
        newest = _objects(connection, members, sa.func.max(S.id), S.is_current, *visible(database.scope))
    of_number = {number: [newest[m] for m in family if m in newest] for number, family in families.items()}
    return [max(of_number[number]) for number in numbers if of_number.get(number)]


def _numbers(connection: Connection, scope: Scope, patients: Collection[Patient]) -> dict[Patient, int]:
    families = _families_of(connection, [p for p in patients if p[0]])
    return _first_objects(connection, scope, families)


def _families_of(connection: Connection, patients: Collection[Patient]) -> dict[Patient, set[Patient]]:
    """For each of `patients` all identifiers that are merged with it, itself included."""
    merged = any_merged(connection)
    holding = current_patients(connection, patients)
    families = {holds: family_of(connection, holds) if merged else {holds} for holds in set(holding.values())}
    return {patient: families[holds] for patient, holds in holding.items()}


def _first_objects(
    connection: Connection, scope: Scope, families: Mapping[Patient, set[Patient]]
) -> dict[Patient, int]:
    members = {member for family in families.values() for member in family}
    first = _objects(connection, members, sa.func.min(S.id), *visible(scope))
    numbers = {patient: [first[m] for m in family if m in first] for patient, family in families.items()}
    return {patient: min(of_family) for patient, of_family in numbers.items() if of_family}


def _objects(
    connection: Connection,
    patients: Collection[Patient],
    which: sa.ColumnElement[int],
    *conditions: sa.ColumnElement[bool],
) -> dict[Patient, int]:
    """For each of `patients` one of its objects; grouped, since SQLite walks the whole table for a lone minimum."""
    found: dict[Patient, int] = {}
    for batch in batches(sorted({patient_id for patient_id, _ in patients})):
        query = sa.select(S.patient_id, S.issuer_of_patient_id, which.label("chosen"))
        query = query.where(S.patient_id.in_(batch), *conditions).group_by(S.patient_id, S.issuer_of_patient_id)
        found |= {(r.patient_id, r.issuer_of_patient_id): r.chosen for r in connection.execute(query)}
    return found


def _families(connection: Connection, scope: Scope, numbers: Sequence[int]) -> dict[int, set[Patient]]:
    """The identifiers of each of these patients; another object's number is nobody's."""
    rows: list[Any] = []
    for batch in batches(numbers):
        query = sa.select(S.id, S.patient_id, S.issuer_of_patient_id)
        rows += connection.execute(query.where(S.id.in_(batch), S.patient_id != "", *visible(scope))).all()
    patients = {r.id: (r.patient_id, r.issuer_of_patient_id) for r in rows}
    families = _families_of(connection, set(patients.values()))
    known = _first_objects(connection, scope, families)
    return {number: families[patient] for number, patient in patients.items() if known.get(patient) == number}


def _of_patients(connection: Connection, scope: Scope, numbers: Sequence[int]) -> sa.ColumnElement[bool]:
    """Whether a row of `sop_instance` is of one of these patients."""
    families = _families(connection, scope, numbers)
    members = sorted({member for family in families.values() for member in family})
    if not members:
        return sa.false()
    return sa.or_(*(sa.and_(S.patient_id == p, S.issuer_of_patient_id == issuer) for p, issuer in members))


def _reports(connection: Connection, scope: Scope, query: ResourceQuery, *columns: Any) -> sa.Select[Any]:
    wanted = select_reports(connection, scope, Filters(), *columns)
    conditions: list[sa.ColumnElement[bool]] = []
    if query.uids is not None:
        conditions.append(S.sop_instance_uid.in_(query.uids))
    if query.identifiers is not None:
        conditions.append(_identified(query.identifiers))
    if query.patients is not None:
        conditions.append(_of_patients(connection, scope, query.patients))
    if query.studies is not None:
        conditions.append(S.study_instance_uid.in_(query.studies))
    conditions += [_COMPARE[b.comparison](P.study_date, b.date) for b in query.dates]
    if query.dates:
        conditions.append(P.study_date != "")
    if query.modalities is not None:
        padded = "\\" + P.modality + "\\"
        conditions.append(sa.or_(sa.false(), *(padded.contains(f"\\{m}\\", autoescape=True) for m in query.modalities)))
    of_analysis: list[sa.ColumnElement[bool]] = [_COMPARE[b.comparison](A.analysed_at, b.moment) for b in query.updated]
    if query.document_codes is not None:
        of_analysis.append(sa.or_(sa.false(), *(_titled(*code) for code in query.document_codes)))
    if query.statuses is not None:
        of_analysis.append(status_of().in_(query.statuses))
    if of_analysis:
        current = sa.select(sa.literal(1)).select_from(analysis).where(A.object_id == REPORT, CURRENT_ANALYSIS)
        conditions.append(sa.exists(current.where(*of_analysis)))
    return wanted.where(*conditions)


def _identified(identifiers: Sequence[str]) -> sa.ColumnElement[bool]:
    links, numbers = report_study.c, report_accession.c
    of_study = sa.select(links.object_id).where(links.study_instance_uid.in_(identifiers), links.kind.in_(BELONGS))
    of_number = sa.select(numbers.object_id).where(numbers.accession_number.in_(identifiers))
    own = sa.or_(S.sop_instance_uid.in_(identifiers), S.accession_number.in_(identifiers))
    return sa.or_(own, S.id.in_(of_study), S.id.in_(of_number))


_DEFAULT_CODE = ("LN", "18748-4")


def _titled(scheme: str | None, value: str) -> sa.ColumnElement[bool]:
    """Whether the document title, which is JSON as `model.Code` has its fields, is this code."""
    text = sa.cast(A.document_code, sa.Text)
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    begin = f'{{"value":"{quoted}","scheme":"' + (f'{scheme}"' if scheme is not None else "")
    same: sa.ColumnElement[bool] = text.startswith(begin, autoescape=True)
    if value == _DEFAULT_CODE[1] and scheme in {None, _DEFAULT_CODE[0]}:
        same = sa.or_(same, A.document_code.is_(None))
    return same


def _of_findings(query: ResourceQuery) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if query.numbers is not None:
        conditions.append(F.id.in_(query.numbers))
    if query.assertions is not None:
        conditions.append(F.assertion.in_([a.value for a in query.assertions]))
    if query.findings is not None:
        conditions.append(sa.or_(sa.false(), *map(_coded, query.findings)))
    return conditions


def _coded(wanted: CodedFinding) -> sa.ColumnElement[bool]:
    conditions: list[sa.ColumnElement[bool]] = [F.assertion == wanted.assertion.value]
    if wanted.concept_id is not None:
        conditions.append(F.concept_id == wanted.concept_id)
    if wanted.code is not None:
        conditions.append(F.concept_code == wanted.code)
    if wanted.scheme is not None:
        conditions.append(F.concept_scheme == wanted.scheme)
    return sa.and_(*conditions)
