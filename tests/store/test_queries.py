"""What is held of a study, and that finding it never reads a whole table."""

import datetime as dt

import pytest
import sqlalchemy as sa
from support import lives
from support.records import STUDY, instance_uid, make_finding, make_processed, make_record

from dicomnlp.config import Settings
from dicomnlp.errors import NotFoundError
from dicomnlp.model import Assertion, Processed, State
from dicomnlp.store import changes, drift_counting, merges, patients, quarantine, queries, queue, reprocess, status
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.worklist import WorklistFilters, read_worklist
from dicomnlp.work import drifting

OTHER_STUDY = "1.2.826.0.1.3680043.10.1511.1.2"


@pytest.fixture
def filled(database):
    """Two reports of one study, analysed, a pending one of another, and one in quarantine."""
    receipts = record_arrivals(
        database, [make_record(1), make_record(2), make_record(3, study=OTHER_STUDY), make_record(4, study="")]
    )
    findings = [
        make_finding("effusion", start=30, assertion=Assertion.ABSENT),
        make_finding("pulmonary_nodule", start=5),
    ]
    queue.save_processed(database, [make_processed(r.object_id, findings=findings) for r in receipts[:2]])
    return database


def test_findings_come_report_by_report_in_the_order_of_the_text(filled):
    """And of the study that was asked for only."""
    found = queries.findings_of_study(filled, STUDY)
    assert [(f.sop_instance_uid, f.finding.start) for f in found] == [
        (instance_uid(1), 5),
        (instance_uid(1), 30),
        (instance_uid(2), 5),
        (instance_uid(2), 30),
    ]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"assertion": Assertion.ABSENT}, 2),
        ({"concept": "pulmonary_nodule"}, 2),
        ({"assertion": Assertion.ABSENT, "concept": "pulmonary_nodule"}, 0),  # held, but nothing fits: not an error
        ({"concept": "' OR 1=1 --"}, 0),
        ({"concept": "%"}, 0),
        ({"concept": "a\x00b"}, 0),  # PostgreSQL refuses NUL in a parameter, too
    ],
)
def test_findings_are_filtered(filled, filters, count):
    """Both filters hold at the same time, and are values, never SQL."""
    assert len(queries.findings_of_study(filled, STUDY, **filters)) == count


def test_study_without_findings_is_held(filled):
    """Pending: an empty answer, as against a study that is not known."""
    assert queries.findings_of_study(filled, OTHER_STUDY) == []
    [report] = queries.reports_of_study(filled, OTHER_STUDY)
    assert (report.state, report.report, report.analysis, report.analysed_at) == (State.PENDING, None, None, None)
    assert report.to_json()["text"] is None


@pytest.mark.parametrize("ask", [queries.findings_of_study, queries.reports_of_study, queries.reports_of_instance])
@pytest.mark.parametrize("uid", ["1.2.3", "", "no uid <script>", "1.2\x00", "\ud800"])
def test_unknown_uid_is_not_found_and_echoed_only_when_it_is_one(filled, ask, uid):
    """Whatever was typed instead of a UID goes nowhere."""
    with pytest.raises(NotFoundError) as caught:
        ask(filled, uid)
    assert ("1.2.3" in str(caught.value)) == (uid == "1.2.3")
    assert "script" not in str(caught.value)


def test_reports_are_those_current_unless_all_versions_are_asked_for(filled):
    """All versions: each analysis of each, so that every finding has the text that its offsets are of."""
    [new] = record_arrivals(filled, [make_record(1, b"corrected")])
    queue.save_processed(filled, [make_processed(new.object_id, "en-1"), make_processed(new.object_id, "en-2")])
    queue.save_processed(filled, [make_processed(new.object_id, "en-1")])
    [current] = queries.reports_of_instance(filled, instance_uid(1))
    assert (current.version, current.analysis.pipeline) == (2, "en-1")
    assert {r.sop_instance_uid for r in queries.reports_of_study(filled, STUDY)} == {instance_uid(1), instance_uid(2)}
    every = queries.reports_of_instance(filled, instance_uid(1), all_versions=True)
    assert [(r.version, r.analysis.pipeline, r.is_current) for r in every] == [
        (1, "en-1", False),
        (2, "en-2", False),
        (2, "en-1", True),
    ]


def test_failed_report_tells_why(filled):
    """Its state and reason are in the answer."""
    [receipt] = record_arrivals(filled, [make_record(9)])
    queue.save_processed(filled, [Processed(receipt.object_id, State.FAILED, "en-1", reason_code="unreadable")])
    [report] = queries.reports_of_instance(filled, instance_uid(9))
    assert (report.state, report.reason_code, report.report) == (State.FAILED, "unreadable", None)


def plans(database, work):
    """The plans of all statements that `work` executes."""
    statements = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        statements.append((statement, parameters[0] if isinstance(parameters, list) else parameters))

    sa.event.listen(database.engine, "before_cursor_execute", note)
    work()
    sa.event.remove(database.engine, "before_cursor_execute", note)
    prefix = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    found = []
    with database.read() as connection:
        if not database.is_sqlite:
            # a small table is read whole whatever its indexes; this shows whether it could be otherwise
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for statement, parameters in statements:
            if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
                found += [" ".join(map(str, r)) for r in connection.exec_driver_sql(prefix + statement, parameters)]
    return found


def _assign_and_undo(database):
    quarantine.assign_study(database, instance_uid(4), STUDY)
    quarantine.undo_assignment(database, instance_uid(4))


def _save_chain(database):
    """All that can have to do with each other: every way in which one report leads to another is taken."""
    lives.arrive(
        database,
        lives.Document(21, preliminary_flag="PRELIMINARY", accession_numbers=("A-7",)),
        lives.Document(22, preliminary_flag="FINAL", identical_documents=(1,), content_date="2", content_time="2"),
        lives.Document(23, title=lives.ADDENDUM, predecessors=(22,)),
        lives.Document(24, title=lives.REJECTED_FOR_QUALITY, rejects=(22,)),
    )


def _count_and_go_on(database):
    for _ in range(2):
        batch = drift_counting.next_countable(database, 1)
        counted = [drifting.count(report, Settings()) for report in batch.reports]
        assert counted
        drift_counting.save_counted(database, batch, counted, "words", ("known", "unknown"))


WORK = {
    "findings_of_study": lambda d: queries.findings_of_study(d, STUDY, assertion=Assertion.PRESENT),
    "findings_of_study, all": lambda d: queries.findings_of_study(d, STUDY, all_versions=True),
    "findings_of_study, none": lambda d: queries.findings_of_study(d, OTHER_STUDY),
    "reports_of_study": lambda d: queries.reports_of_study(d, STUDY),
    "reports_of_study, all": lambda d: queries.reports_of_study(d, STUDY, all_versions=True),
    "findings_of_study, past": lambda d: queries.findings_of_study(d, STUDY, as_of=dt.datetime.now(dt.UTC)),
    "reports_of_study, past": lambda d: queries.reports_of_study(d, STUDY, as_of=dt.datetime.now(dt.UTC)),
    "findings_of_instance": lambda d: queries.findings_of_instance(d, instance_uid(1)),
    "changes_of_report": lambda d: changes.changes_of_report(d, instance_uid(1)),
    "read_quarantine": lambda d: quarantine.read_quarantine(d, 10),
    "assign_study": lambda d: quarantine.assign_study(d, instance_uid(4), STUDY),
    "assign_study, undone": _assign_and_undo,
    "merge_patients": lambda d: merges.merge_patients(d, "T-1", "T-2"),
    "read_patient": lambda d: patients.read_patient(d, "T-1"),
    "state_character_set": lambda d: reprocess.state_character_set(d, [STUDY, instance_uid(1)], "cp1250"),
    "save_processed, chain": _save_chain,
    "reports_of_instance": lambda d: queries.reports_of_instance(d, instance_uid(1), all_versions=True),
    "take_pending": lambda d: queue.take_pending(d, maximum_objects=5, maximum_bytes=10**6, exclude=(1, 2)),
    "save_processed": lambda d: queue.save_processed(d, [make_processed(1)]),
    "record_lost": lambda d: queue.record_lost(d, [1, 2], "worker_lost", 3),
    "record_arrivals": lambda d: record_arrivals(d, [make_record(1), make_record(2, b"new"), make_record(50)]),
    "read_failures": lambda d: status.read_failures(d, 10),
    "count_pending": lambda d: queue.count_pending(d, 1),
    "drift, first": lambda d: drift_counting.next_countable(d, 10),
    "drift, counted": _count_and_go_on,
}


@pytest.mark.parametrize("name", WORK)
def test_everyday_statements_read_no_whole_table(filled, name):
    """By index only: what is quick with ten reports is quick with a hundred million."""
    found = plans(filled, lambda: WORK[name](filled))
    assert any("SEARCH" in p or "Index" in p for p in found)
    # scanning a covering index in its order up to a limit would be fine, but none of these needs it
    assert [p for p in found if ("SCAN" in p and "CONSTANT ROW" not in p) or "Seq Scan" in p] == []
    assert [p for p in found if OF_ALL in p] == []


OF_ALL = "(is_current=?)"
"""Of SQLite's plans: an index is read for everything that is current, one object after another."""


def test_lists_find_the_analysis_of_each_report_by_its_object(filled):
    """A page of fifty else costs fifty times the store; that a condition can be written so that it does is shown."""
    assert [p for p in plans(filled, lambda: read_worklist(filled, WorklistFilters())) if OF_ALL in p] == []

    def work():
        with filled.read() as connection:
            connection.execute(sa.text("SELECT id FROM analysis WHERE is_current = true"))

    assert any(OF_ALL in p for p in plans(filled, work)) == filled.is_sqlite


def test_plans_are_seen(filled):
    """The check above can fail: a search by a column without index is a scan."""

    def work():
        with filled.read() as connection:
            connection.execute(sa.text("SELECT id FROM finding WHERE sentence = 'x'"))

    assert any("SCAN" in p or "Seq Scan" in p for p in plans(filled, work))


def test_pending_are_taken_in_the_order_of_the_index(filled):
    """Without sorting the backlog each time."""
    found = plans(filled, lambda: queue.take_pending(filled, maximum_objects=5, maximum_bytes=10, exclude=()))
    assert [p for p in found if "TEMP B-TREE" in p] == []


def test_reading_goes_on_while_somebody_writes(ready_settings):
    """A query neither waits for a writer nor sees what is not committed."""
    database = Database.open(ready_settings)
    record_arrivals(database, [make_record(1)])
    with database.write() as connection:
        connection.execute(sa.text("DELETE FROM ledger"))
        connection.execute(sa.text("DELETE FROM sop_instance"))
        assert len(queries.reports_of_study(database, STUDY)) == 1
    with pytest.raises(NotFoundError):
        queries.reports_of_study(database, STUDY)
    database.close()
