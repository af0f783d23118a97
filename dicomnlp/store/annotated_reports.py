"""Annotated reports, with all that counts of what was said of them: for agreement, decisions, export and import."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from dicomnlp.model import is_uid
from dicomnlp.store.annotation_records import Annotation, Answer, Key, Verdict, digest, latest
from dicomnlp.store.annotation_rows import IN_FORCE, annotations_of, by_object
from dicomnlp.store.batches import batches
from dicomnlp.store.database import Database
from dicomnlp.store.patients import Patient, current_patients
from dicomnlp.store.schema import CURRENT_ANALYSIS, analysis, finding, report_profile, sop_instance
from dicomnlp.store.schema_annotations import annotated_text, annotation, annotation_reading
from dicomnlp.store.scope import scope_of, visible

PAGE = 200
"""Reports that are read at once."""


@dataclass(frozen=True, slots=True)
class AnnotatedReport:
    """A text of a report, as it was annotated."""

    object_id: int
    study_instance_uid: str
    sop_instance_uid: str
    text_sha256: str
    text: str
    language: str
    patient: Patient
    """Identifier and issuer that hold now, after merges."""
    study_date: str
    """YYYYMMDD or ""."""
    modality: str
    body_part_examined: str
    station_name: str
    annotations: tuple[Annotation, ...]
    """Those that count of each reader, and adjudications, in the order of the text."""
    done: dict[str, dt.datetime]
    """Readers who have marked it as read, and when, in this order."""
    found: frozenset[Key] | None
    """What the pipeline finds there; None where it reads another text now."""

    @property
    def by_reader(self) -> dict[str, dict[Key, Annotation]]:
        """What counts of each reader."""
        found: dict[str, dict[Key, Annotation]] = {}
        for one in self.annotations:
            if not one.adjudicates:
                found.setdefault(one.annotated_by, {})[one.key] = one
        return found

    @property
    def decided(self) -> dict[Key, Annotation]:
        """What was decided between readers."""
        return {a.key: a for a in self.annotations if a.adjudicates}


def annotated_reports(database: Database, *, shared: bool = False, after: int = 0) -> Iterator[AnnotatedReport]:
    """Annotated texts that the scope shows, in the order in which their objects came, page by page.

    Parameters
    ----------
    shared
        Only those that two readers have marked as read.
    after
        Only those of objects with a higher number.
    """
    while True:
        with database.read() as connection:
            page = _page(connection, after, shared=shared)
            found = list(_read(connection, page))
        yield from found
        if len(page) < PAGE:
            return
        after = page[-1]


def _page(connection: Connection, after: int, *, shared: bool) -> list[int]:
    table = annotation_reading if shared else annotated_text
    columns = table.c
    query = (
        sa.select(columns.object_id)
        .join_from(table, sop_instance, sop_instance.c.id == columns.object_id)
        .where(columns.object_id > after, *visible(scope_of(connection)))
        .group_by(columns.object_id)
        .order_by(columns.object_id)
        .limit(PAGE)
    )
    if shared:
        query = query.where(IN_FORCE).having(sa.func.count() > 1)
    return list(connection.scalars(query))


def _read(connection: Connection, object_ids: Sequence[int]) -> Iterator[AnnotatedReport]:
    rows: list[RowMapping] = []
    done: dict[tuple[int, str], dict[str, dt.datetime]] = {}
    found: dict[int, set[Key]] = {}
    now: dict[int, str] = {}
    held, profile, texts, columns = sop_instance.c, report_profile.c, annotated_text.c, finding.c
    for batch in batches(object_ids):
        query: sa.Select[Any] = (
            sa.select(
                annotated_text,
                held.study_instance_uid,
                held.sop_instance_uid,
                held.patient_id,
                held.issuer_of_patient_id,
                held.study_date,
                profile.modality,
                profile.body_part_examined,
                profile.station_name,
            )
            .join_from(annotated_text, sop_instance, held.id == texts.object_id)
            .outerjoin(report_profile, profile.object_id == texts.object_id)
            .where(texts.object_id.in_(batch))
            .order_by(texts.object_id, texts.text_sha256)
        )
        rows += connection.execute(query).mappings()
        query = sa.select(annotation_reading).where(annotation_reading.c.object_id.in_(batch), IN_FORCE)
        for read in connection.execute(query.order_by(annotation_reading.c.id)):
            done.setdefault((read.object_id, read.text_sha256), {})[read.reader] = read.done_at
        query = sa.select(analysis.c.object_id, analysis.c.narrative).where(
            analysis.c.object_id.in_(batch), CURRENT_ANALYSIS
        )
        now |= {read.object_id: digest(read.narrative) for read in connection.execute(query)}
        query = sa.select(columns.object_id, columns.start_offset, columns.end_offset, columns.concept_id).where(
            columns.object_id.in_(batch), columns.is_current
        )
        for read in connection.execute(query):
            found.setdefault(read.object_id, set()).add((read.start_offset, read.end_offset, read.concept_id))
    said = by_object(annotations_of(connection, object_ids))
    patients = current_patients(connection, {(row["patient_id"], row["issuer_of_patient_id"]) for row in rows})
    for row in rows:
        number, sha256 = row["object_id"], row["text_sha256"]
        yield AnnotatedReport(
            number,
            row["study_instance_uid"],
            row["sop_instance_uid"],
            sha256,
            row["narrative"],
            row["language"],
            patients[row["patient_id"], row["issuer_of_patient_id"]],
            row["study_date"],
            (row["modality"] or "").replace("\\", " "),
            row["body_part_examined"] or "",
            row["station_name"] or "",
            tuple(latest(a for a in said.get(number, ()) if a.text_sha256 == sha256)),
            done.get((number, sha256), {}),
            frozenset(found.get(number, ())) if now.get(number) == sha256 else None,
        )


# --- import ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Restored:
    """An annotation as it was made elsewhere, with who and when."""

    verdict: Verdict
    start: int
    end: int
    finding_concept: str
    answer: Answer
    annotated_by: str
    annotated_at: dt.datetime
    pipeline: str
    adjudicates: bool


def restore(
    database: Database,
    sop_instance_uid: str,
    text: str,
    language: str,
    annotations: Sequence[Restored],
    done: dict[str, dt.datetime],
) -> int | None:
    """Take over annotations of a report that were made elsewhere; how many are new, None where no such report is held.

    What is held already isn't written again, nor what its reader has answered anew since, or taken back. The report
    need not have this text now.
    """
    sha256 = digest(text)

    def work(connection: Connection) -> int | None:
        columns = sop_instance.c
        query = sa.select(columns.id).where(
            columns.sop_instance_uid == sop_instance_uid, columns.is_current, *visible(scope_of(connection))
        )
        object_id = connection.scalar(query.with_for_update()) if is_uid(sop_instance_uid) else None
        if object_id is None:
            return None
        _keep(
            connection,
            annotated_text,
            ("object_id", "text_sha256"),
            {
                "object_id": object_id,
                "text_sha256": sha256,
                "narrative": text,
                "language": language,
            },
        )
        place = {"object_id": object_id, "text_sha256": sha256}
        for reader, at in done.items():
            _keep(
                connection,
                annotation_reading,
                ("object_id", "text_sha256", "reader"),
                {**place, "reader": reader, "done_at": at},
            )
        return sum(
            _keep(
                connection,
                annotation,
                (
                    "object_id",
                    "text_sha256",
                    "start_offset",
                    "end_offset",
                    "finding_concept_id",
                    "annotated_by",
                    "adjudicates",
                ),
                {
                    **place,
                    "start_offset": one.start,
                    "end_offset": one.end,
                    "finding_concept_id": one.finding_concept,
                    "verdict": one.verdict,
                    "concept_id": one.answer.concept,
                    "assertion": one.answer.assertion,
                    "laterality": one.answer.laterality,
                    "pipeline": one.pipeline,
                    "adjudicates": one.adjudicates,
                    "annotated_at": one.annotated_at,
                    "annotated_by": one.annotated_by,
                },
                annotation.c.annotated_at >= one.annotated_at,
            )
            for one in sorted(annotations, key=lambda a: a.annotated_at)
        )

    return database.transact(work)


def _keep(connection: Connection, table: sa.Table, key: Sequence[str], values: dict[str, Any], *also: Any) -> bool:
    """Insert a row unless there is one with the same `key` for which `also` holds; whether it was inserted."""
    if connection.scalar(sa.select(sa.exists().where(*(table.c[name] == values[name] for name in key), *also))):
        return False
    connection.execute(sa.insert(table).values(**values))
    return True
