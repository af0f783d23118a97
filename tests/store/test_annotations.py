"""Annotations on both databases: who said what of which place, who sees it when, and what is asked for next."""

import dataclasses

import pytest
import sqlalchemy as sa
from support.patients import Visit, come, study_uid
from support.records import instance_uid

from dicomnlp.analyse.pack import UNLISTED
from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import Assertion, Laterality
from dicomnlp.store import annotation_queue, queue
from dicomnlp.store.annotation_queue import Reason, next_for, read_queue
from dicomnlp.store.annotation_records import Mark, Verdict, digest, key_of
from dicomnlp.store.annotation_rows import progress
from dicomnlp.store.annotations import (
    MAXIMUM_SPAN,
    adjudicate,
    annotate,
    confirm_rest,
    mark_done,
    read_reading,
    reopen,
    undo,
)
from dicomnlp.store.schema_annotations import annotation
from dicomnlp.store.scope import Scope

TEXT = "FINDINGS: Left pleural effusion. No pneumothorax. Ground glass halo on the right."
UID = instance_uid(1)
HALO = TEXT.index("halo")
ADD = Mark(Verdict.ADD, HALO, HALO + 4, concept="halo_sign", assertion=Assertion.POSSIBLE, laterality=Laterality.RIGHT)


@pytest.fixture
def held(database):
    """A report with several findings."""
    come(database, Visit(1, "20260105", "CT CHEST", text=TEXT, ae_title="NORTH"))
    return database


def finding(database, concept, reader="anna"):
    """The finding of a concept, as the pipeline says it."""
    return next(f for f in read_reading(database, UID, reader).findings if f.finding.concept.id == concept)


def mark(database, concept, verdict, **said):
    """A mark on that finding."""
    start, end, of = key_of(finding(database, concept))
    return Mark(verdict, start, end, of, **said)


def test_what_is_said_is_kept_with_who_when_and_pipeline(held):
    """What is left out is as the finding has it."""
    kept = annotate(held, UID, "anna", mark(held, "pleural_effusion", Verdict.CONFIRM))
    assert (kept.concept, kept.assertion, kept.laterality) == ("pleural_effusion", "present", "left")
    assert (kept.annotated_by, kept.pipeline, kept.text) == ("anna", "en-1", "pleural effusion")
    changed = annotate(held, UID, "anna", mark(held, "pneumothorax", Verdict.RELABEL, assertion=Assertion.POSSIBLE))
    assert (changed.verdict, changed.concept, changed.assertion) == ("relabel", "pneumothorax", "possible")
    none = annotate(held, UID, "anna", mark(held, "pleural_effusion", Verdict.RELABEL, laterality=None))
    assert (none.assertion, none.laterality) == ("present", None)
    added = annotate(held, UID, "anna", ADD)
    assert (added.text, added.finding_concept, added.laterality) == ("halo", "", "right")
    rejected = annotate(held, UID, "anna", mark(held, "pneumothorax", Verdict.REJECT))
    assert (rejected.concept, rejected.assertion) == ("pneumothorax", None)
    reading = read_reading(held, UID, "anna")
    assert [a.id for a in reading.own] == [none.id, rejected.id, added.id]
    assert (reading.state, reading.text_sha256) == ("in_work", digest(TEXT))
    assert reading.own[0].study_instance_uid == study_uid(1)


def test_an_earlier_answer_stays_and_counts_again_when_the_later_is_taken_back(held):
    """Rows are only added; undo goes back act by act, or takes a certain one back."""
    first = annotate(held, UID, "anna", mark(held, "pneumothorax", Verdict.CONFIRM))
    second = annotate(held, UID, "anna", mark(held, "pneumothorax", Verdict.REJECT))
    added = annotate(held, UID, "anna", ADD)
    annotate(held, UID, "ben", mark(held, "pneumothorax", Verdict.CONFIRM))
    assert [a.id for a in read_reading(held, UID, "anna").own] == [second.id, added.id]
    assert undo(held, UID, "anna").id == added.id
    assert undo(held, UID, "anna", second.id).id == second.id
    assert [a.id for a in read_reading(held, UID, "anna").own] == [first.id]
    undo(held, UID, "anna")
    with pytest.raises(UsageError):
        undo(held, UID, "anna")
    with held.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(annotation)) == 4
    assert len(read_reading(held, UID, "ben").own) == 1


def test_an_answer_that_agrees_is_of_the_finding_it_agrees_with(held):
    """A relabel to what is there confirms; an added finding that the pipeline has is about the pipeline's."""
    there = finding(held, "pleural_effusion").finding
    kept = annotate(held, UID, "anna", mark(held, "pleural_effusion", Verdict.RELABEL, assertion=Assertion.PRESENT))
    assert kept.verdict is Verdict.CONFIRM
    added = Mark(Verdict.ADD, there.start, there.end, concept="pleural_effusion", assertion=Assertion.ABSENT)
    kept = annotate(held, UID, "anna", added)
    assert (kept.verdict, kept.finding_concept, kept.assertion) == ("relabel", "pleural_effusion", "absent")
    assert len(read_reading(held, UID, "anna").own) == 1


WRONG = {
    "no finding there": Mark(Verdict.CONFIRM, 0, 8, "pneumothorax"),
    "nothing added there": Mark(Verdict.REJECT, 0, 8),
    "empty": dataclasses.replace(ADD, end=HALO),
    "outside": dataclasses.replace(ADD, end=len(TEXT) + 1),
    "before": dataclasses.replace(ADD, start=-1),
    "only blanks": dataclasses.replace(ADD, start=TEXT.index(" "), end=TEXT.index(" ") + 1),
    "no concept": dataclasses.replace(ADD, concept=None),
    "no assertion": dataclasses.replace(ADD, assertion=None),
    "of a finding": dataclasses.replace(ADD, finding_concept="pneumothorax"),
    "concept too long": dataclasses.replace(ADD, concept="x" * 65),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_makes_no_sense_is_refused(held, name):
    """And nothing is kept."""
    with pytest.raises(UsageError):
        annotate(held, UID, "anna", WRONG[name])
    assert read_reading(held, UID, "anna").state == "not_begun"


def test_reports_that_cannot_be_annotated_are_told(held):
    """Unknown, out of scope, not analysed, of another text, and a span that is a page."""
    with pytest.raises(NotFoundError):
        read_reading(held, instance_uid(99), "anna")
    with pytest.raises(NotFoundError):
        mark_done(held.within(Scope(frozenset({"SOUTH"}))), UID, "anna")
    assert read_reading(held.within(Scope(frozenset({"NORTH"}))), UID, "anna").state == "not_begun"
    come(held, Visit(2, "20260105", "CT CHEST", text="x " * MAXIMUM_SPAN))
    with pytest.raises(UsageError):
        annotate(held, instance_uid(2), "anna", dataclasses.replace(ADD, start=0, end=MAXIMUM_SPAN + 1))
    with pytest.raises(UsageError):
        annotate(held, UID, "anna", ADD, text_sha256=digest("another"))
    assert annotate(held, UID, "anna", ADD, text_sha256=digest(TEXT)).text == "halo"


def test_the_rest_is_confirmed_only_when_asked_for(held):
    """Each undecided finding once; what is decided stays."""
    annotate(held, UID, "anna", mark(held, "pneumothorax", Verdict.REJECT))
    undecided = {key_of(f) for f in read_reading(held, UID, "anna").undecided}
    assert confirm_rest(held, UID, "anna") == len(undecided) > 0
    reading = read_reading(held, UID, "anna")
    assert reading.undecided == []
    assert {a.key for a in reading.own if a.verdict is Verdict.CONFIRM} == undecided
    assert confirm_rest(held, UID, "anna") == 0


def test_a_reader_sees_others_only_when_done_and_then_stays_by_their_answers(held):
    """The second reader is blind to what the first says, and that there is a first."""
    annotate(held, UID, "anna", mark(held, "pneumothorax", Verdict.REJECT))
    assert mark_done(held, UID, "anna").others_shown
    blind = read_reading(held, UID, "ben")
    assert (blind.others, blind.others_done, blind.others_shown, blind.own) == ([], [], False, [])
    annotate(held, UID, "ben", mark(held, "pneumothorax", Verdict.CONFIRM))
    seeing = mark_done(held, UID, "ben")
    assert [(a.annotated_by, a.verdict) for a in seeing.others] == [("anna", "reject")]
    assert seeing.others_done == ["anna"]
    assert mark_done(held, UID, "ben").done_at == seeing.done_at
    for act in (
        lambda: annotate(held, UID, "ben", ADD),
        lambda: undo(held, UID, "ben"),
        lambda: confirm_rest(held, UID, "ben"),
        lambda: reopen(held, UID, "ben"),
        lambda: reopen(held, UID, "carl"),
    ):
        with pytest.raises(UsageError):
            act()


def test_a_report_is_opened_again_while_nobody_else_has_annotated_it(held):
    """A key pressed too early."""
    mark_done(held, UID, "anna")
    assert reopen(held, UID, "anna").state == "not_begun"
    assert annotate(held, UID, "anna", ADD).verdict is Verdict.ADD


def test_readers_are_decided_between_by_a_third_or_an_operator(held):
    """Once two are done; the newest decision counts, and who still reads is told of none."""
    place = mark(held, "pneumothorax", Verdict.CONFIRM)
    annotate(held, UID, "anna", place)
    annotate(held, UID, "ben", dataclasses.replace(place, verdict=Verdict.REJECT))
    mark_done(held, UID, "anna")
    with pytest.raises(UsageError):
        adjudicate(held, UID, "carl", place, is_operator=False)
    mark_done(held, UID, "ben")
    with pytest.raises(UsageError):
        adjudicate(held, UID, "anna", place, is_operator=False)
    adjudicate(held, UID, "carl", place, is_operator=False)
    newest = adjudicate(
        held,
        UID,
        "anna",
        dataclasses.replace(place, verdict=Verdict.RELABEL, assertion=Assertion.POSSIBLE),
        is_operator=True,
    )
    seen = read_reading(held, UID, "ben")
    assert [a.id for a in seen.adjudications] == [newest.id]
    assert [a.annotated_by for a in seen.others] == ["anna"]
    assert read_reading(held, UID, "dora").adjudications == []
    annotate(held, UID, "dora", ADD)
    with pytest.raises(UsageError):
        adjudicate(held, UID, "dora", place, is_operator=True)


def test_annotations_of_another_text_are_kept_apart(held):
    """A pipeline that reads the object differently moves every offset."""
    annotate(held, UID, "anna", ADD)
    visit = Visit(1, "20260105", "CT CHEST", text=f"EXAM: CT. {TEXT}", ae_title="NORTH")
    object_id = read_reading(held, UID, "anna").report.object_id
    queue.save_processed(held, [visit.processed(object_id, pipeline="en-2")])
    reading = read_reading(held, UID, "anna")
    assert (reading.own, reading.outdated, reading.state) == ([], 1, "not_begun")


def test_progress_is_told_by_reader(held):
    """Who was first, who second, and what they said."""
    assert progress(held) == []
    annotate(held, UID, "anna", mark(held, "pneumothorax", Verdict.REJECT))
    annotate(held, UID, "anna", mark(held, "pneumothorax", Verdict.CONFIRM))
    mark_done(held, UID, "anna")
    mark_done(held, UID, "ben")
    annotate(held, UID, "carl", ADD)
    told = [(p.reader, p.reports_done, p.first_readings, p.second_readings) for p in progress(held)]
    assert told == [("anna", 1, 1, 0), ("ben", 1, 0, 1), ("carl", 0, 0, 0)]
    assert progress(held)[0].verdicts == {"confirm": 1, "reject": 0, "relabel": 0, "add": 0}
    assert progress(held.within(Scope(frozenset({"SOUTH"})))) == []


# --- the queue ------------------------------------------------------------------------------------------------------


def with_model(visit, object_id, **said):
    """A result whose findings a model had its say in."""
    processed = visit.processed(object_id, "en-2")
    findings = tuple(dataclasses.replace(f, **said) for f in processed.analysis.findings)
    return dataclasses.replace(processed, analysis=dataclasses.replace(processed.analysis, findings=findings))


@pytest.fixture
def archive(database):
    """Reports for each reason, between many that there is nothing to say of."""
    effusion = "FINDINGS: Left pleural effusion."
    visits = [Visit(n, f"202601{n:02}", "CT CHEST", text=effusion) for n in range(1, 10)]
    visits += [
        Visit(20, "20260120", "CT CHEST", text="FINDINGS: Right pleural effusion. IMPRESSION: Left pleural effusion."),
        Visit(21, "20260121", "CT CHEST", text="FINDINGS: Tension pneumothorax on the left.", ae_title="SOUTH"),
    ]
    ids = dict(zip((v.number for v in visits), come(database, *visits), strict=True))
    by_number = {v.number: v for v in visits}
    overruled = {"assertion": Assertion.ABSENT, "rules_assertion": Assertion.PRESENT, "model_probability": 0.95}
    unsure = {"rules_assertion": Assertion.PRESENT, "model_probability": 0.51}
    sure = {"rules_assertion": Assertion.PRESENT, "model_probability": 0.97}
    unlisted = visits[4].processed(ids[5], "en-2")
    strange = tuple(
        dataclasses.replace(f, concept=dataclasses.replace(f.concept, id=UNLISTED)) for f in unlisted.analysis.findings
    )
    queue.save_processed(
        database,
        [
            with_model(by_number[2], ids[2], **overruled),
            with_model(by_number[3], ids[3], **unsure),
            with_model(by_number[4], ids[4], **sure),
            dataclasses.replace(unlisted, analysis=dataclasses.replace(unlisted.analysis, findings=strange)),
        ],
    )
    return database


def asked(items):
    """Number of the report -> its reasons."""
    return {int(i.sop_instance_uid.rpartition(".")[2]): {w.reason for w in i.why} - {Reason.UNREAD} for i in items}


def test_queue_asks_first_for_what_teaches_most(archive):
    """Each with why; the same each time."""
    items = read_queue(archive, "anna", limit=100)
    why = asked(items)
    assert list(why)[:2] == [2, 5]
    assert Reason.MODELS_DISAGREE in why[2]
    assert Reason.UNCERTAIN in why[3]
    assert why[4] == set()
    assert Reason.UNKNOWN_WORDING in why[5]
    assert Reason.CONTRADICTION in why[20]
    assert why[21] == {Reason.RARE_CONCEPT}
    assert why[1] == set()
    assert [i.score for i in items] == sorted((i.score for i in items), reverse=True)
    [reason] = [w for w in items[0].why if w.reason is Reason.MODELS_DISAGREE]
    assert (reason.concept, reason.assertion, reason.rules_assertion, reason.probability) == (
        "pleural_effusion",
        "absent",
        "present",
        0.95,
    )
    assert read_queue(archive, "anna", limit=100) == items
    assert read_queue(archive, "anna", limit=3) == items[:3]
    assert UNLISTED == annotation_queue.UNLISTED


def test_queue_goes_on_with_what_is_begun_and_never_asks_for_what_is_done(archive):
    """Another reader is asked for a second reading of it; a third isn't."""
    text = read_reading(archive, instance_uid(1), "anna").findings[0]
    annotate(archive, instance_uid(1), "anna", Mark(Verdict.CONFIRM, *key_of(text)))
    assert next_for(archive, "anna").sop_instance_uid == instance_uid(1)
    mark_done(archive, instance_uid(1), "anna")
    assert 1 not in asked(read_queue(archive, "anna", limit=100))
    assert next_for(archive, "anna").sop_instance_uid == instance_uid(2)
    assert next_for(archive, "anna", besides=instance_uid(2)).sop_instance_uid == instance_uid(5)
    second = read_queue(archive, "ben", limit=100)
    assert Reason.SECOND_READING in asked(second)[1]
    assert [i.round for i in second if i.sop_instance_uid == instance_uid(1)] == [2]
    mark_done(archive, instance_uid(1), "ben")
    assert asked(read_queue(archive, "carl", limit=100))[1] == set()


def test_queue_stays_within_the_scope(archive):
    """Of who sees one sender's reports."""
    assert list(asked(read_queue(archive.within(Scope(frozenset({"SOUTH"}))), "anna"))) == [21]
    with pytest.raises(UsageError):
        read_queue(archive, "anna", limit=0)


def plans(database, work):
    """The lines of the plans of all that `work` asks the database."""
    seen = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        seen.append((statement, parameters))

    sa.event.listen(database.engine, "before_cursor_execute", note)
    work()
    sa.event.remove(database.engine, "before_cursor_execute", note)
    told = []
    with database.read() as connection:
        if not database.is_sqlite:
            # a small table is read whole whatever its indexes; this shows whether it could be otherwise
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for statement, parameters in seen:
            if statement.lstrip().startswith(("SELECT", "WITH")):
                prefix = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
                told += [str(row[-1]) for row in connection.exec_driver_sql(prefix + statement, parameters)]
    return told


IN_ORDER = ("ix_finding_by_overruled", "ix_finding_by_doubt", "ix_discrepancy_study_date_id")
"""Read in the order of the answer up to its limit; nearly every row of them is one of the answer."""
FEW = ("CONSTANT ROW", "held", "counted", "capped", "annotation_reading", "other")
"""Names of concepts, one by one; and what people have written."""


def test_queue_reads_no_whole_table(archive):
    """Each query follows an index, and ends at its limit."""
    found = plans(archive, lambda: read_queue(archive, "anna", limit=100))
    assert any("ix_finding_by_concept" in line for line in found)
    whole = [line for line in found if "SCAN" in line or "Seq Scan" in line]
    assert [line for line in whole if not any(name in line for name in (*IN_ORDER, *FEW))] == [], found
