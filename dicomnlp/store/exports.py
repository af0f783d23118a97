"""What leaves in bulk: reports that fit filters, page by page, with what their headers say and their originals."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from dicomnlp.errors import UsageError
from dicomnlp.model import Identity, StoredObject
from dicomnlp.store.answers import StoredFinding, StoredReport
from dicomnlp.store.batches import batches
from dicomnlp.store.database import Database
from dicomnlp.store.originals import read_original
from dicomnlp.store.patients import Patient, current_patients
from dicomnlp.store.queries import findings_by_id, findings_of_objects, reports_by_id
from dicomnlp.store.schema import IDENTITY_COLUMNS, analysis, original, report_profile, sop_instance
from dicomnlp.store.search_conditions import REPORT, F, P, S, select_findings, select_reports
from dicomnlp.store.search_filters import Filters

PAGE = 200
"""Reports that are read at once: with narratives and content items they are some hundred kilobytes each at worst."""


@dataclass(frozen=True, slots=True)
class ReportHeader:
    """What is known of a report beside its content."""

    object_id: int
    identity: Identity
    patient: Patient
    """Identifier and issuer that hold now, after merges."""
    modalities: tuple[str, ...]
    """Of the study."""
    study_date: str
    """Of the study, else of the content; YYYYMMDD or ""."""
    patient_age: int | None
    """Whole years at that date."""
    calling_ae_title: str


@dataclass(frozen=True, slots=True)
class ExportedReport:
    """A report with its findings."""

    header: ReportHeader
    report: StoredReport
    findings: tuple[StoredFinding, ...]


def count_reports(database: Database, filters: Filters) -> int:
    """How many reports fit, see `iterate_reports`; raises as it."""
    _require_counting(filters)
    with database.read() as connection:
        return int(connection.scalar(select_reports(connection, database.scope, filters, sa.func.count())) or 0)


def iterate_reports(database: Database, filters: Filters, after: int = 0) -> Iterator[list[ExportedReport]]:
    """Analysed reports that prevail and fit, in the order in which they came, each page read by itself.

    Parameters
    ----------
    filters
        As `Filters.expanded` gives them; of those that are of findings one finding must fit all.
    after
        `ReportHeader.object_id` of the last report of the page before.

    Raises
    ------
    UsageError
        A pipeline is asked for: what leaves is what counts.
    """
    _require_counting(filters)
    while True:
        with database.read() as connection:
            query = select_reports(connection, database.scope, filters, REPORT)
            ids = list(connection.scalars(query.where(after < REPORT).order_by(REPORT).limit(PAGE)))
            page = _exported(connection, ids)
        if not ids:
            return
        yield page
        after = ids[-1]


def _require_counting(filters: Filters) -> None:
    if filters.pipeline is not None:
        raise UsageError("what leaves is what counts: no pipeline can be asked for here")


def report_ids(database: Database, filters: Filters) -> Iterator[int]:
    """The objects of all reports that fit, as `iterate_reports`, read in one go; raises as it."""
    _require_counting(filters)
    with database.read() as connection:
        query = select_reports(connection, database.scope, filters, P.object_id)
        yield from connection.execution_options(yield_per=10_000).scalars(query)


def findings_that_fit(database: Database, filters: Filters, object_ids: Sequence[int]) -> list[list[StoredFinding]]:
    """Of each of these objects, whose reports are known to fit, the findings that fit, in the order of the text."""
    with database.read() as connection:
        ids: list[int] = []
        for batch in batches(object_ids):
            ids += connection.scalars(select_findings(connection, filters, batch, F.id))
        found: dict[str, list[StoredFinding]] = {}
        for stored in findings_by_id(connection, sorted(ids)):
            found.setdefault(stored.sop_instance_uid, []).append(stored)
        headers = {h.object_id: h.identity.sop_instance_uid for h in _headers(connection, S.id, object_ids)}
    each = [found.get(headers.get(object_id, ""), []) for object_id in object_ids]
    return [sorted(of_report, key=lambda f: (f.finding.start, f.id)) for of_report in each]


def exported_reports(database: Database, object_ids: Sequence[int]) -> list[ExportedReport]:
    """These objects with their findings, in this order; those that are gone are left out."""
    with database.read() as connection:
        return _exported(connection, object_ids)


def _exported(connection: Connection, object_ids: Sequence[int]) -> list[ExportedReport]:
    headers = {h.object_id: h for h in _headers(connection, S.id, object_ids)}
    findings: dict[str, list[StoredFinding]] = {}
    for found in findings_of_objects(connection, object_ids):
        findings.setdefault(found.sop_instance_uid, []).append(found)
    return [
        ExportedReport(headers[r.object_id], r, tuple(findings.get(r.sop_instance_uid, ())))
        for r in reports_by_id(connection, object_ids)
        if r.object_id in headers
    ]


def headers_of(database: Database, sop_instance_uids: Collection[str]) -> dict[str, ReportHeader]:
    """The headers of the current versions of these SOP instances."""
    with database.read() as connection:
        return {
            h.identity.sop_instance_uid: h for h in _headers(connection, S.sop_instance_uid, set(sop_instance_uids))
        }


def narratives_of(database: Database, object_ids: Collection[int]) -> dict[int, str]:
    """The current narratives of these objects."""
    columns = analysis.c
    found: dict[int, str] = {}
    with database.read() as connection:
        for batch in batches(sorted(object_ids)):
            query = sa.select(columns.object_id, columns.narrative).where(
                columns.object_id.in_(batch), columns.is_current
            )
            found.update((row.object_id, row.narrative) for row in connection.execute(query))
    return found


def _headers(
    connection: Connection,
    key: sa.ColumnElement[int] | sa.ColumnElement[str],
    values: Collection[int] | Collection[str],
) -> list[ReportHeader]:
    rows: list[RowMapping] = []
    profile = (P.modality.label("modalities"), P.study_date.label("date"), P.patient_age)
    for batch in batches(sorted(values)):
        query = (
            sa.select(sop_instance, *profile)
            .outerjoin_from(sop_instance, report_profile, P.object_id == S.id)
            .where(key.in_(batch), S.is_current)
        )
        rows += connection.execute(query).mappings()
    patients = current_patients(connection, {(r["patient_id"], r["issuer_of_patient_id"]) for r in rows})
    return [
        ReportHeader(
            object_id=row["id"],
            identity=Identity(
                sop_class_uid=row["sop_class_uid"],
                sop_instance_uid=row["sop_instance_uid"],
                study_instance_uid=row["study_instance_uid"],
                **{name: row[name] for name in IDENTITY_COLUMNS},
            ),
            patient=patients[row["patient_id"], row["issuer_of_patient_id"]],
            modalities=tuple(m for m in (row["modalities"] or "").split("\\") if m),
            study_date=row["date"] or "",
            patient_age=row["patient_age"],
            calling_ae_title=row["calling_ae_title"],
        )
        for row in rows
    ]


def read_objects(database: Database, object_ids: Collection[int]) -> Iterator[StoredObject]:
    """The originals of these objects, one after the other.

    Raises
    ------
    OriginalMissingError, OriginalDamagedError
        The file of a large one isn't what it was.
    """
    columns = (
        S.id,
        S.sop_instance_uid,
        S.sop_class_uid,
        S.transfer_syntax_uid,
        S.sha256,
        S.calling_ae_title,
        S.character_set_override,
    )
    for object_id in sorted(object_ids):
        query = (
            sa.select(*columns, original.c.data)
            .outerjoin_from(sop_instance, original, original.c.object_id == S.id)
            .where(S.id == object_id)
        )
        with database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            continue
        yield StoredObject(
            object_id=row.id,
            sop_instance_uid=row.sop_instance_uid,
            sop_class_uid=row.sop_class_uid,
            transfer_syntax_uid=row.transfer_syntax_uid,
            data=row.data if row.data is not None else read_original(database.large_object_directory, row.sha256),
            calling_ae_title=row.calling_ae_title,
            character_set_override=row.character_set_override,
        )
