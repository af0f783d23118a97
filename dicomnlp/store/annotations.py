"""What readers say of findings: written, taken back, and read by the rule that a reader sees others' answers last.

Two readers of a report answer independently. Until one has marked it as read, they see their own annotations only; from
then on they see the others', and their own answers stay as they were. So agreement is over answers that were given
blind. What isn't decided when a report is marked as read counts as not looked at.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import Assertion, Laterality, is_uid
from dicomnlp.store.annotation_records import (
    UNSAID,
    Annotation,
    Answer,
    Key,
    Mark,
    Reading,
    Verdict,
    digest,
    latest,
)
from dicomnlp.store.annotation_rows import IN_FORCE, annotations_of
from dicomnlp.store.database import Database
from dicomnlp.store.queries import findings_of_objects, reports_by_id
from dicomnlp.store.schema import CURRENT_ANALYSIS, analysis, finding, sop_instance
from dicomnlp.store.schema_annotations import annotated_text, annotation, annotation_reading
from dicomnlp.store.scope import scope_of, visible

MAXIMUM_SPAN = 500
"""Characters of a span that a reader adds: a finding is some words, not a page."""
MAXIMUM_CONCEPT = 64

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Read:
    """A report as it stands, whose row is locked where something is written."""

    object_id: int
    study_instance_uid: str
    sop_instance_uid: str
    analysis_id: int
    text: str
    text_sha256: str
    language: str
    pipeline: str


def read_reading(database: Database, sop_instance_uid: str, reader: str) -> Reading:
    """A report as `reader` sees it.

    Raises
    ------
    NotFoundError
        Nothing is held under this SOP Instance UID.
    UsageError
        There is no text that could be annotated.
    """
    with database.read() as connection:
        return _reading(connection, _report(connection, sop_instance_uid, is_written=False), reader)


def annotate(
    database: Database, sop_instance_uid: str, reader: str, mark: Mark, *, text_sha256: str | None = None
) -> Annotation:
    """Record what a reader says of a place; an earlier answer of the same reader there counts no longer.

    Parameters
    ----------
    text_sha256
        Of the text that the reader saw, which must still be the report's; None: not said.

    Raises
    ------
    NotFoundError
        As `read_reading`.
    UsageError
        As `read_reading`; the reader has marked the report as read; the text is another by now; there is no finding at
        the place; or what is said isn't enough.
    """

    def work(connection: Connection, report: _Read) -> Annotation:
        _check_open(connection, report, reader)
        return _write(connection, report, reader, [_settled(connection, report, mark, reader)])[0]

    return _on_report(database, sop_instance_uid, text_sha256, work)


def confirm_rest(database: Database, sop_instance_uid: str, reader: str, *, text_sha256: str | None = None) -> int:
    """Confirm each finding that the reader hasn't judged; how many these are. Raises as `annotate`."""

    def work(connection: Connection, report: _Read) -> int:
        _check_open(connection, report, reader)
        undecided = _reading(connection, report, reader).undecided
        marks = [Mark(Verdict.CONFIRM, f.finding.start, f.finding.end, f.finding.concept.id) for f in undecided]
        if marks:
            _write(connection, report, reader, [_settled(connection, report, mark, reader) for mark in marks])
        return len(marks)

    return _on_report(database, sop_instance_uid, text_sha256, work)


def undo(database: Database, sop_instance_uid: str, reader: str, annotation_id: int | None = None) -> Annotation:
    """Take back the reader's last annotation of a report, or that one: what the reader said before counts again.

    Returns
    -------
    Annotation
        What was taken back.

    Raises
    ------
    NotFoundError
        As `read_reading`.
    UsageError
        There is nothing to take back, or the reader has marked the report as read.
    """

    def work(connection: Connection, report: _Read) -> Annotation:
        _check_open(connection, report, reader)
        own = [
            a
            for a in annotations_of(connection, [report.object_id])
            if a.annotated_by == reader and a.text_sha256 == report.text_sha256 and not a.adjudicates
        ]
        found = [a for a in own if annotation_id in (None, a.id)]
        if not found:
            raise UsageError("there is nothing to take back")
        connection.execute(
            sa.update(annotation).where(annotation.c.id == found[-1].id).values(undone_at=dt.datetime.now(dt.UTC))
        )
        return found[-1]

    return _on_report(database, sop_instance_uid, None, work)


def mark_done(database: Database, sop_instance_uid: str, reader: str) -> Reading:
    """Mark a report as read: from now on the reader sees what others say. Doing so again changes nothing.

    Raises as `read_reading`.
    """

    def work(connection: Connection, report: _Read) -> Reading:
        if _done_at(connection, report).get(reader) is None:
            _keep_text(connection, report)
            now = dt.datetime.now(dt.UTC)
            connection.execute(
                sa.insert(annotation_reading).values(
                    object_id=report.object_id, text_sha256=report.text_sha256, reader=reader, done_at=now
                )
            )
        return _reading(connection, report, reader)

    return _on_report(database, sop_instance_uid, None, work)


def reopen(database: Database, sop_instance_uid: str, reader: str) -> Reading:
    """Take back that a report was marked as read.

    Raises
    ------
    NotFoundError
        As `read_reading`.
    UsageError
        It isn't marked, or others have annotated it, whose answers the reader may have seen.
    """

    def work(connection: Connection, report: _Read) -> Reading:
        if _done_at(connection, report).get(reader) is None:
            raise UsageError("this report isn't marked as read")
        if any(a.annotated_by != reader for a in _of_text(connection, report)):
            raise UsageError("others have annotated this report, and their answers are shown already")
        connection.execute(
            sa.update(annotation_reading)
            .where(
                annotation_reading.c.object_id == report.object_id,
                annotation_reading.c.text_sha256 == report.text_sha256,
                annotation_reading.c.reader == reader,
                IN_FORCE,
            )
            .values(reopened_at=dt.datetime.now(dt.UTC))
        )
        return _reading(connection, report, reader)

    return _on_report(database, sop_instance_uid, None, work)


def adjudicate(
    database: Database,
    sop_instance_uid: str,
    by: str,
    mark: Mark,
    *,
    is_operator: bool,
    text_sha256: str | None = None,
) -> Annotation:
    """Decide a place that two readers have answered; the newest decision counts.

    Parameters
    ----------
    is_operator
        Whether `by` is one who also decides on places that they judged as a reader.
    text_sha256
        As of `annotate`.

    Raises
    ------
    NotFoundError
        As `read_reading`.
    UsageError
        Fewer than two readers have marked the report as read; or `by` is reading it; or, as a mere reader, has judged
        the place; or as `annotate`.
    """

    def work(connection: Connection, report: _Read) -> Annotation:
        done = _done_at(connection, report)
        if len(done) < 2:
            raise UsageError("two readers must have marked a report as read before anything in it is decided")
        own = [a for a in _of_text(connection, report) if a.annotated_by == by and not a.adjudicates]
        if own and by not in done:
            raise UsageError("mark the report as read first: what is decided here is seen by nobody who still reads it")
        if not is_operator and any(a.key == mark.key for a in own):
            raise UsageError("who has judged a place doesn't decide it, unless as an operator")
        return _write(connection, report, by, [_settled(connection, report, mark, None)], adjudicates=True)[0]

    return _on_report(database, sop_instance_uid, text_sha256, work)


# --- rows -----------------------------------------------------------------------------------------------------------


def _on_report(
    database: Database, sop_instance_uid: str, text_sha256: str | None, work: Callable[[Connection, _Read], T]
) -> T:
    """Do `work` on a report in one transaction, while nobody else changes what is annotated of it."""

    def on_report(connection: Connection) -> T:
        report = _report(connection, sop_instance_uid, is_written=True)
        if text_sha256 is not None and text_sha256 != report.text_sha256:
            raise UsageError("the text of this report is another by now; load it again")
        return work(connection, report)

    return database.transact(on_report)


def _report(connection: Connection, sop_instance_uid: str, *, is_written: bool) -> _Read:
    held, read = sop_instance.c, analysis.c
    query = (
        sa.select(
            held.id,
            held.study_instance_uid,
            read.id.label("analysis_id"),
            read.narrative,
            read.language,
            read.pipeline,
        )
        .outerjoin_from(sop_instance, analysis, (read.object_id == held.id) & CURRENT_ANALYSIS)
        .where(held.sop_instance_uid == sop_instance_uid, held.is_current, *visible(scope_of(connection)))
    )
    if is_written:
        query = query.with_for_update(of=sop_instance)
    row = connection.execute(query).first() if is_uid(sop_instance_uid) else None
    if row is None:
        raise NotFoundError("nothing is held under this SOP Instance UID")
    if not row.narrative or row.language is None:
        raise UsageError("this report has no text that was analysed")
    return _Read(
        row.id,
        row.study_instance_uid,
        sop_instance_uid,
        row.analysis_id,
        row.narrative,
        digest(row.narrative),
        row.language,
        row.pipeline,
    )


def _reading(connection: Connection, report: _Read, reader: str) -> Reading:
    done = _done_at(connection, report)
    every = annotations_of(connection, [report.object_id])
    counting = latest(a for a in every if a.text_sha256 == report.text_sha256)
    shown = counting if reader in done else []
    outdated = latest(a for a in every if a.text_sha256 != report.text_sha256)
    return Reading(
        report=reports_by_id(connection, [report.object_id])[0],
        findings=findings_of_objects(connection, [report.object_id]),
        text_sha256=report.text_sha256,
        own=[a for a in counting if a.annotated_by == reader and not a.adjudicates],
        others=[a for a in shown if a.annotated_by != reader and not a.adjudicates],
        adjudications=[a for a in shown if a.adjudicates],
        done_at=done.get(reader),
        others_done=sorted(done.keys() - {reader}) if reader in done else [],
        outdated=sum(a.annotated_by == reader and not a.adjudicates for a in outdated),
    )


def _of_text(connection: Connection, report: _Read) -> list[Annotation]:
    return latest(a for a in annotations_of(connection, [report.object_id]) if a.text_sha256 == report.text_sha256)


def _done_at(connection: Connection, report: _Read) -> dict[str, dt.datetime]:
    columns = annotation_reading.c
    query = sa.select(columns.reader, columns.done_at).where(
        columns.object_id == report.object_id, columns.text_sha256 == report.text_sha256, IN_FORCE
    )
    return {row.reader: row.done_at for row in connection.execute(query)}


def _check_open(connection: Connection, report: _Read, reader: str) -> None:
    if reader in _done_at(connection, report):
        raise UsageError("you have marked this report as read; reopen it, or have the place decided")


def _settled(connection: Connection, report: _Read, mark: Mark, reader: str | None) -> tuple[Mark, Answer, str]:
    """The mark, what it says in full, and the pipeline that it is about; of `reader`, or of who decides (None)."""
    if mark.verdict is Verdict.ADD:
        added = _added(report, mark)
        mark = replace(mark, finding_concept=added.concept)
        if _found(connection, report, mark.key) is None:
            return replace(mark, finding_concept=""), added, report.pipeline
        # the pipeline has it already: what another reader says of that is then about the same
        mark = replace(mark, verdict=Verdict.RELABEL)
    at, pipeline = _at(connection, report, mark.key, reader)
    if mark.verdict is Verdict.CONFIRM:
        return mark, at, pipeline
    if mark.verdict is Verdict.REJECT:
        return mark, Answer(at.concept, None, at.laterality), pipeline
    said = Answer(
        _checked_concept(mark.concept or at.concept),
        mark.assertion or at.assertion,
        at.laterality if mark.laterality is UNSAID else mark.laterality,
    )
    if said.assertion is None:
        raise UsageError("the place was rejected before: say which assertion it has")
    if said == at and mark.finding_concept:
        mark = replace(mark, verdict=Verdict.CONFIRM)
    return mark, said, pipeline


def _at(connection: Connection, report: _Read, key: Key, reader: str | None) -> tuple[Answer, str]:
    """What is at a place: the pipeline's finding, or what was added there."""
    if not key[2]:
        added = [
            a
            for a in _of_text(connection, report)
            if a.key == key and not a.adjudicates and reader in (None, a.annotated_by)
        ]
        if not added:
            raise UsageError("nothing was added at this place")
        return added[-1].answer, report.pipeline
    found = _found(connection, report, key)
    if found is None:
        raise UsageError("there is no finding of this concept at this place")
    return found


def _found(connection: Connection, report: _Read, key: Key) -> tuple[Answer, str] | None:
    """What the pipeline finds at a place, and which pipeline."""
    start, end, concept = key
    columns = finding.c
    query = sa.select(columns.assertion, columns.laterality, columns.pipeline).where(
        columns.analysis_id == report.analysis_id,
        columns.start_offset == start,
        columns.end_offset == end,
        columns.concept_id == concept,
    )
    row = connection.execute(query.order_by(columns.id)).first()
    if row is None:
        return None
    said = Answer(concept, Assertion(row.assertion), Laterality(row.laterality) if row.laterality else None)
    return said, row.pipeline


def _added(report: _Read, mark: Mark) -> Answer:
    if mark.finding_concept:
        raise UsageError("what is added is of no finding")
    if not 0 <= mark.start < mark.end <= len(report.text) or not report.text[mark.start : mark.end].strip():
        raise UsageError("a span is empty or outside the text")
    if mark.end - mark.start > MAXIMUM_SPAN:
        raise UsageError(f"a span has at most {MAXIMUM_SPAN} characters")
    if mark.concept is None or mark.assertion is None:
        raise UsageError("say which concept is added, and its assertion")
    return Answer(
        _checked_concept(mark.concept), mark.assertion, None if mark.laterality is UNSAID else mark.laterality
    )


def _checked_concept(concept: str) -> str:
    if not concept or len(concept) > MAXIMUM_CONCEPT:
        raise UsageError(f"the id of a concept has 1 to {MAXIMUM_CONCEPT} characters")
    return concept


def _keep_text(connection: Connection, report: _Read) -> None:
    columns = annotated_text.c
    held = sa.exists().where(columns.object_id == report.object_id, columns.text_sha256 == report.text_sha256)
    if not connection.scalar(sa.select(held)):
        connection.execute(
            sa.insert(annotated_text).values(
                object_id=report.object_id,
                text_sha256=report.text_sha256,
                narrative=report.text,
                language=report.language,
            )
        )


def _write(
    connection: Connection,
    report: _Read,
    by: str,
    settled: Sequence[tuple[Mark, Answer, str]],
    *,
    adjudicates: bool = False,
) -> list[Annotation]:
    _keep_text(connection, report)
    now = dt.datetime.now(dt.UTC)
    written = []
    for mark, answer, pipeline in settled:
        inserted = connection.execute(
            sa.insert(annotation).values(
                object_id=report.object_id,
                text_sha256=report.text_sha256,
                start_offset=mark.start,
                end_offset=mark.end,
                finding_concept_id=mark.finding_concept,
                verdict=mark.verdict,
                concept_id=answer.concept,
                assertion=answer.assertion,
                laterality=answer.laterality,
                pipeline=pipeline,
                adjudicates=adjudicates,
                annotated_at=now,
                annotated_by=by,
            )
        )
        [number] = inserted.inserted_primary_key or (0,)
        written.append(number)
    held = {a.id: a for a in annotations_of(connection, [report.object_id])}
    return [held[number] for number in written]
