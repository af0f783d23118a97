"""Rows of annotations as records, and what each reader has done."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dicomnlp.model import Assertion, Laterality
from dicomnlp.store.annotation_records import Annotation, Answer, Progress, Verdict, latest
from dicomnlp.store.batches import batches
from dicomnlp.store.database import Database
from dicomnlp.store.schema import sop_instance
from dicomnlp.store.schema_annotations import annotated_text, annotation, annotation_reading
from dicomnlp.store.scope import scope_of, visible

IN_FORCE = sa.text("annotation_reading.reopened_at IS NULL")
"""Of readings that are done; as their partial index says it."""


def annotations_of(connection: Connection, object_ids: Sequence[int] | None) -> list[Annotation]:
    """What was annotated of these objects and not taken back, in the order in which it was; None: of all."""
    columns, held, texts = annotation.c, sop_instance.c, annotated_text.c
    query = (
        sa.select(
            annotation,
            held.study_instance_uid,
            held.sop_instance_uid,
            sa.func.substr(texts.narrative, columns.start_offset + 1, columns.end_offset - columns.start_offset).label(
                "words"
            ),
        )
        .join_from(annotation, sop_instance, held.id == columns.object_id)
        .join(annotated_text, (texts.object_id == columns.object_id) & (texts.text_sha256 == columns.text_sha256))
        .where(columns.undone_at.is_(None), *visible(scope_of(connection)))
        .order_by(columns.id)
    )
    if object_ids is None:
        return [_annotation(row) for row in connection.execute(query)]
    rows = [
        row for batch in batches(object_ids) for row in connection.execute(query.where(columns.object_id.in_(batch)))
    ]
    return [_annotation(row) for row in rows]


def done_readings(connection: Connection) -> dict[tuple[int, str], dict[str, dt.datetime]]:
    """Of each object and text that was marked as read: by whom, and when; of those that the scope shows."""
    columns = annotation_reading.c
    query = (
        sa.select(columns.object_id, columns.text_sha256, columns.reader, columns.done_at)
        .join_from(annotation_reading, sop_instance, sop_instance.c.id == columns.object_id)
        .where(IN_FORCE, *visible(scope_of(connection)))
        .order_by(columns.object_id, columns.id)
    )
    found: dict[tuple[int, str], dict[str, dt.datetime]] = {}
    for row in connection.execute(query):
        found.setdefault((row.object_id, row.text_sha256), {})[row.reader] = row.done_at
    return found


def by_object(annotations: Sequence[Annotation]) -> dict[int, list[Annotation]]:
    """Annotations by the object that they are of."""
    found: dict[int, list[Annotation]] = {}
    for one in annotations:
        found.setdefault(one.object_id, []).append(one)
    return found


def _annotation(row: Row[Any]) -> Annotation:
    return Annotation(
        id=row.id,
        object_id=row.object_id,
        study_instance_uid=row.study_instance_uid,
        sop_instance_uid=row.sop_instance_uid,
        text_sha256=row.text_sha256,
        verdict=Verdict(row.verdict),
        start=row.start_offset,
        end=row.end_offset,
        text=row.words,
        finding_concept=row.finding_concept_id,
        answer=Answer(
            row.concept_id,
            Assertion(row.assertion) if row.assertion else None,
            Laterality(row.laterality) if row.laterality else None,
        ),
        annotated_by=row.annotated_by,
        annotated_at=row.annotated_at,
        pipeline=row.pipeline,
        adjudicates=bool(row.adjudicates),
    )


def progress(database: Database) -> list[Progress]:
    """What each reader has done, by name; of reports that the database's scope shows."""
    with database.read() as connection:
        held = annotations_of(connection, None)
        dones = done_readings(connection)
    counting = [a for group in by_object(held).values() for a in latest(group) if not a.adjudicates]
    ranks: Counter[tuple[str, int]] = Counter()
    last: dict[str, dt.datetime] = {}
    for readers in dones.values():
        for rank, (reader, at) in enumerate(sorted(readers.items(), key=lambda r: r[1])):
            ranks[reader, min(rank, 1)] += 1
            last[reader] = max(at, last.get(reader, at))
    verdicts: dict[str, Counter[str]] = {}
    for a in counting:
        verdicts.setdefault(a.annotated_by, Counter())[a.verdict.value] += 1
        last[a.annotated_by] = max(a.annotated_at, last.get(a.annotated_by, a.annotated_at))
    return [
        Progress(
            reader,
            ranks[reader, 0] + ranks[reader, 1],
            ranks[reader, 0],
            ranks[reader, 1],
            {verdict.value: verdicts.get(reader, Counter())[verdict.value] for verdict in Verdict},
            last[reader],
        )
        for reader in sorted(last)
    ]
