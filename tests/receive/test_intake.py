"""Group commit: objects share transactions, and one that can't be committed harms nobody else."""

import contextlib
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
import structlog.testing

from dicomnlp import errors
from dicomnlp.model import Arrival, Door, Outcome
from dicomnlp.receive import backlog as backlog_module
from dicomnlp.receive import intake as intake_module
from dicomnlp.receive.intake import Intake
from dicomnlp.store.database import Database

SR, EXPLICIT = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.1.2.1"


@pytest.fixture
def intake(settings):
    """On a database of its own."""
    chosen = settings()
    database = Database.open(chosen)
    intake = Intake(chosen, database)
    yield intake
    intake.close()
    database.close()


@pytest.fixture
def arrivals(objects):
    """Makes arrivals of distinct objects."""

    def make(count):
        made = []
        for _ in range(count):
            data_set = objects.data_set()
            uid = data_set.SOPInstanceUID
            made.append(Arrival(objects.encode(data_set), EXPLICIT, SR, uid, Door.C_STORE))
        return made

    return make


@pytest.fixture
def commits(monkeypatch):
    """What the writer hands to the store, group by group; the first commit waits until `release` is set."""

    class Commits:
        def __init__(self):
            self.groups, self.release, self.poison = [], threading.Event(), {}
            self.poison_rows = None

    commits = Commits()
    real = intake_module.record_arrivals

    def record(database, records):
        commits.release.wait(10)
        commits.groups.append([r.arrival.sop_instance_uid for r in records])
        if commits.poison_rows is not None:
            raise commits.poison_rows
        for r in records:
            if r.keep and r.arrival.sop_instance_uid in commits.poison:
                raise commits.poison[r.arrival.sop_instance_uid]
        return real(database, records)

    monkeypatch.setattr(intake_module, "record_arrivals", record)
    return commits


def _accept_together(intake, arrivals, commits, eventually):
    """All receipts, the first object being in its commit while the others queue up."""
    with ThreadPoolExecutor(len(arrivals)) as threads:
        receipts = [threads.submit(intake.accept, arrivals[0])]
        eventually(lambda: not intake._waiting)
        receipts += [threads.submit(intake.accept, a) for a in arrivals[1:]]
        eventually(lambda: len(intake._waiting) >= len(arrivals) - 1)
        commits.release.set()
        return [r.result(10) for r in receipts]


def test_objects_that_wait_are_committed_together(intake, arrivals, commits, eventually):
    """Sixteen senders: one commit for the first, one for the fifteen that came meanwhile."""
    receipts = _accept_together(intake, arrivals(16), commits, eventually)
    assert [r.outcome for r in receipts] == [Outcome.STORED] * 16
    assert [len(g) for g in commits.groups] in ([1, 15], [16])


def test_each_sender_gets_the_receipt_of_its_own_object(intake, arrivals, commits, eventually):
    """Receipts don't get mixed up within a group."""
    made = arrivals(8)
    receipts = _accept_together(intake, made, commits, eventually)
    assert [r.sop_instance_uid for r in receipts] == [a.sop_instance_uid for a in made]
    assert len({r.object_id for r in receipts}) == 8


@pytest.mark.parametrize(
    ("error", "status", "reason_code"),
    [
        (errors.DatabaseError("bad", reason_code="database_failed"), 0xA700, "database_failed"),
        (OSError(28, "full"), 0xA700, "storage_failed"),
        (ValueError("a bug"), 0x0110, "processing_failed"),
    ],
)
def test_one_record_that_fails_harms_nobody_else(intake, arrivals, commits, eventually, error, status, reason_code):
    """The group falls apart into single commits; the poisoned one alone is refused, with a ledger row."""
    made = arrivals(6)
    commits.poison[made[3].sop_instance_uid] = error
    receipts = _accept_together(intake, made, commits, eventually)
    assert [r.outcome for r in receipts] == [Outcome.STORED] * 3 + [Outcome.REFUSED] + [Outcome.STORED] * 2
    assert (receipts[3].status, receipts[3].reason_code) == (status, reason_code)
    with intake._database.read() as connection:
        rows = connection.execute(sa.text("SELECT outcome, status, reason_code FROM ledger ORDER BY id")).all()
    assert sorted(tuple(r) for r in rows) == sorted([("stored", 0, None)] * 5 + [("refused", status, reason_code)])


def test_locked_database_refuses_the_whole_group_after_one_wait(intake, arrivals, commits, eventually):
    """Trying each by itself would make sixteen senders wait sixteen times."""
    made = arrivals(6)
    for arrival in made[1:]:
        commits.poison[arrival.sop_instance_uid] = errors.DatabaseError("locked", reason_code="database_locked")
    receipts = _accept_together(intake, made, commits, eventually)
    assert [r.status for r in receipts] == [0] + [0xA700] * 5
    assert len(commits.groups) == 2


def test_really_locked_database_is_answered_a700_and_recovers(intake, arrivals):
    """Another process holds the write lock for longer than lock_timeout_seconds."""
    first, second = arrivals(2)
    with intake._database.write():
        receipt = intake.accept(first)
    assert (receipt.status, receipt.reason_code) == (0xA700, "database_locked")
    assert intake.accept(first).outcome is Outcome.STORED
    assert intake.accept(second).outcome is Outcome.STORED


@contextlib.contextmanager
def _locked(intake):
    """Another process's write transaction on the database, as far as SQLite can tell."""
    other = sqlite3.connect(intake._database.engine.url.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def _ledger(intake):
    with intake._database.read() as connection:
        rows = connection.execute(
            sa.text("SELECT sop_instance_uid, outcome, status, reason_code FROM ledger ORDER BY id")
        )
        return [tuple(row) for row in rows]


def _refused(arrival):
    return (arrival.sop_instance_uid, "refused", 0xA700, "database_locked")


def test_objects_refused_by_a_locked_database_are_in_the_ledger_once_it_is_free(intake, arrivals, eventually):
    """Their rows come with the next commit, whole: who, what, when, and why it was refused."""
    made = arrivals(3)
    with _locked(intake):
        assert [intake.accept(a).status for a in made[:2]] == [0xA700] * 2
    assert _ledger(intake) == []
    assert intake.accept(made[2]).outcome is Outcome.STORED
    eventually(lambda: len(_ledger(intake)) == 3)
    assert _ledger(intake) == [(made[2].sop_instance_uid, "stored", 0, None), *map(_refused, made[:2])]
    with intake._database.read() as connection:
        ledger = connection.execute(sa.text("SELECT sha256, study_instance_uid, received_at FROM ledger")).all()
    assert all(sha256 and study for sha256, study, _ in ledger)
    assert ledger[1].received_at < ledger[2].received_at < ledger[0].received_at


def test_rows_owed_are_written_without_another_arrival(intake, arrivals, eventually, monkeypatch):
    """A night without reports must not keep them in memory."""
    monkeypatch.setattr(backlog_module, "PAUSE_SECONDS", 0.1)
    (arrival,) = arrivals(1)
    with _locked(intake):
        assert intake.accept(arrival).status == 0xA700
    eventually(lambda: _ledger(intake) == [_refused(arrival)])


def test_rows_owed_are_written_at_the_end(intake, arrivals):
    """A listener that stops leaves nothing unsaid that it can say."""
    (arrival,) = arrivals(1)
    with _locked(intake):
        assert intake.accept(arrival).status == 0xA700
    intake.close()
    assert _ledger(intake) == [_refused(arrival)]


def test_rows_beyond_the_bound_are_counted_and_logged(intake, arrivals, eventually, monkeypatch):
    """The first refusals are kept: the later ones are mostly the same objects again."""
    monkeypatch.setattr(backlog_module, "MAXIMUM_ROWS", 2)
    made = arrivals(5)
    with structlog.testing.capture_logs() as lines:
        with _locked(intake):
            assert {intake.accept(a).status for a in made[:4]} == {0xA700}
        assert intake.accept(made[4]).status == 0
        eventually(lambda: len(_ledger(intake)) == 3)
        eventually(lambda: any(x["event"] == "ledger_rows_lost" for x in lines))
    assert _ledger(intake)[1:] == [_refused(a) for a in made[:2]]
    told = [(x["event"], x["count"], x.get("reason_code")) for x in lines if x["event"].startswith("ledger")]
    assert told == [
        ("ledger_backlog_full", 2, None),
        ("ledger_rows_recovered", 2, None),
        ("ledger_rows_lost", 2, "ledger_backlog_full"),
    ]


def test_rows_that_can_not_be_written_before_the_end_are_counted_in_the_log(intake, arrivals):
    """The database is still locked when the listener stops."""
    made = arrivals(2)
    with structlog.testing.capture_logs() as lines, _locked(intake):
        assert {intake.accept(a).status for a in made} == {0xA700}
        intake.close()
    assert [(x["count"], x["reason_code"]) for x in lines if x["event"] == "ledger_rows_lost"] == [
        (2, "service_stopping")
    ]


def test_row_that_can_not_be_written_is_not_in_the_way_of_others(intake, arrivals, eventually, monkeypatch):
    """What fails by itself is lost, and said to be; the rest is written."""
    made = arrivals(4)
    real = intake_module.record_arrivals

    def record(database, records):
        if any(r.arrival.sop_instance_uid == made[0].sop_instance_uid and not r.keep for r in records):
            raise errors.DatabaseError("bad", reason_code="database_failed")
        return real(database, records)

    monkeypatch.setattr(intake_module, "record_arrivals", record)
    with structlog.testing.capture_logs() as lines:
        with _locked(intake):
            assert {intake.accept(a).status for a in made[:3]} == {0xA700}
        assert intake.accept(made[3]).status == 0
        eventually(lambda: any(x["event"] == "ledger_rows_lost" for x in lines))
    assert _ledger(intake) == [(made[3].sop_instance_uid, "stored", 0, None), *map(_refused, made[1:3])]
    assert [x["count"] for x in lines if x["event"] == "ledger_rows_lost"] == [1]


def test_full_disk_leaves_the_row_for_later(intake, arrivals, commits, eventually):
    """Not even the row of the refusal can be written then."""
    made = arrivals(2)
    commits.release.set()
    full = errors.DatabaseError("full", reason_code="database_full")
    commits.poison_rows = full
    assert intake.accept(made[0]).reason_code == "database_full"
    commits.poison_rows = None
    assert intake.accept(made[1]).status == 0
    eventually(lambda: len(_ledger(intake)) == 2)
    assert _ledger(intake)[1] == (made[0].sop_instance_uid, "refused", 0xA700, "database_full")


def test_failures_of_one_cause_within_a_second_are_one_line(intake, arrivals, eventually, monkeypatch):
    """With the reason; what was folded is said, with its count, when the database works again."""
    monkeypatch.setattr(backlog_module, "FOLD_SECONDS", 60.0)
    made = arrivals(4)
    with structlog.testing.capture_logs() as lines:
        with _locked(intake):
            assert {intake.accept(a).status for a in made[:3]} == {0xA700}
        assert intake.accept(made[3]).status == 0
        eventually(lambda: len(_ledger(intake)) == 4)
    failures = [x for x in lines if x["event"] == "intake_failed"]
    assert [(x["count"], x["reason_code"]) for x in failures] == [(1, "database_locked"), (2, "database_locked")]


def test_close_commits_what_waits_and_refuses_what_comes_later(intake, arrivals):
    """Nothing hangs after the end."""
    first, second = arrivals(2)
    assert intake.accept(first).status == 0
    intake.close()
    receipt = intake.accept(second)
    assert (receipt.outcome, receipt.status, receipt.reason_code) == (Outcome.REFUSED, 0xA700, "service_stopping")


def test_groups_are_bounded(intake, arrivals, commits, eventually, monkeypatch):
    """A flood is committed in portions, and a large object never waits for ever."""
    monkeypatch.setattr(intake_module, "MAXIMUM_GROUP_OBJECTS", 4)
    receipts = _accept_together(intake, arrivals(9), commits, eventually)
    assert {r.outcome for r in receipts} == {Outcome.STORED}
    assert max(len(g) for g in commits.groups) == 4
    commits.groups.clear()
    monkeypatch.setattr(intake_module, "MAXIMUM_GROUP_BYTES", 10)
    assert {intake.accept(a).outcome for a in arrivals(3)} == {Outcome.STORED}
    assert max(len(g) for g in commits.groups) == 1


def test_log_holds_identifiers_and_codes_only(intake, objects):
    """Every object is logged with its UIDs and outcome, and with nothing of its patient."""
    data_set = objects.data_set(PatientID="CANARYBIRD", PatientName="CANARY^BIRD", StudyDescription="CANARYSTUDY")
    data, uid = objects.encode(data_set), data_set.SOPInstanceUID
    with structlog.testing.capture_logs() as lines:
        intake.accept(Arrival(data, EXPLICIT, SR, uid, Door.C_STORE, calling_ae_title="PACS"))
        intake.accept(Arrival(data, EXPLICIT, SR, "2.25.404", Door.C_STORE, calling_ae_title="PACS"))
        intake.refuse(Arrival(b"", EXPLICIT, SR, "CANARYUID", Door.C_STORE), 0x0117, "invalid_sop_instance_uid")
    assert [(x["event"], x["sop_instance_uid"], x["status"], x["reason_code"]) for x in lines] == [
        ("object_received", uid, 0, None),
        ("object_refused", "2.25.404", 0xA900, "identity_mismatch"),
        ("object_refused", None, 0x0117, "invalid_sop_instance_uid"),
    ]
    assert "CANARY" not in repr(lines)
