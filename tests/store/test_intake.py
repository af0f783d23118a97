"""Arrivals: once each, versioned, all or none, whoever else writes."""

import collections
import datetime as dt
import hashlib
import multiprocessing
import os
import threading

import pytest
import sqlalchemy as sa
from support.records import STUDY, instance_uid, make_processed, make_record
from support.writers import arrive, work_off

from dicomnlp.errors import DatabaseError
from dicomnlp.model import Outcome, State
from dicomnlp.store import originals, queries, queue
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.schema import ledger, original, sop_instance

OTHER_STUDY = "1.2.826.0.1.3680043.10.1511.1.2"


def rows(database, table, *conditions):
    """Rows of a table in the order of their number."""
    with database.read() as connection:
        return connection.execute(sa.select(table).where(*conditions).order_by(*table.primary_key)).all()


def test_new_object_is_stored_pending_with_a_ledger_row(database):
    """What came in is there, byte by byte, with where it came from."""
    record = make_record(1, b"\x00\xff" * 100)
    [receipt] = record_arrivals(database, [record])
    assert (receipt.outcome, receipt.status, receipt.reason_code) == (Outcome.STORED, 0, None)
    assert (receipt.sop_instance_uid, receipt.study_instance_uid) == (instance_uid(1), STUDY)
    [row] = rows(database, sop_instance)
    assert (row.id, row.version, row.is_current, row.state) == (receipt.object_id, 1, True, State.PENDING)
    assert (row.patient_id, row.accession_number, row.size, row.calling_ae_title) == ("T-1", "A-1", 200, "PACS")
    assert row.received_at == record.received_at
    assert [r.data for r in rows(database, original)] == [b"\x00\xff" * 100]
    [entry] = rows(database, ledger)
    assert (entry.outcome, entry.object_id, entry.sha256) == (Outcome.STORED, row.id, record.sha256)
    assert (entry.peer_address, entry.called_ae_title, entry.door) == ("127.0.0.1", "DICOMNLP", "c_store")


def test_nothing_to_record_is_no_transaction(database):
    """An empty group is answered with nothing."""
    assert record_arrivals(database, []) == []


def test_same_bytes_again_change_nothing_but_the_count(database):
    """A duplicate keeps its row and state, also when it comes twice in one group; each sighting is in the ledger."""
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
    first, twin = record_arrivals(database, [make_record(1), make_record(1)])
    queue.save_processed(database, [make_processed(first.object_id)])
    [again] = record_arrivals(database, [make_record(1, received_at=later)])
    assert [r.outcome for r in (first, twin, again)] == [Outcome.STORED, Outcome.DUPLICATE, Outcome.DUPLICATE]
    assert first.object_id == twin.object_id == again.object_id
    [row] = rows(database, sop_instance)
    assert (row.seen_count, row.last_seen_at, row.state) == (3, later, State.ANALYSED)
    assert len(rows(database, ledger)) == 3


def test_other_bytes_under_a_known_uid_are_a_new_version(database):
    """Both are kept; the last that came is current; versions count up, within a group too."""
    [first] = record_arrivals(database, [make_record(1, b"a")])
    receipts = record_arrivals(database, [make_record(1, b"b"), make_record(2), make_record(1, b"c")])
    assert [r.outcome for r in receipts] == [Outcome.NEW_VERSION, Outcome.STORED, Outcome.NEW_VERSION]
    versions = rows(database, sop_instance, sop_instance.c.sop_instance_uid == instance_uid(1))
    assert [(r.version, r.is_current) for r in versions] == [(1, False), (2, False), (3, True)]
    assert [r.id for r in versions] == [first.object_id, receipts[0].object_id, receipts[2].object_id]


def test_superseded_bytes_sent_again_do_not_become_current(database):
    """A late copy of the first version is a duplicate, not a correction of the correction."""
    record_arrivals(database, [make_record(1, b"a"), make_record(1, b"b")])
    [receipt] = record_arrivals(database, [make_record(1, b"a")])
    assert receipt.outcome is Outcome.DUPLICATE
    assert [r.is_current for r in rows(database, sop_instance)] == [False, True]


def test_findings_of_a_superseded_version_are_no_longer_current(database):
    """They are held for all_versions; until the new version is analysed, the study has no current ones."""
    [old] = record_arrivals(database, [make_record(1, b"a")])
    queue.save_processed(database, [make_processed(old.object_id)])
    assert len(queries.findings_of_study(database, STUDY)) == 1
    [new] = record_arrivals(database, [make_record(1, b"b")])
    assert queries.findings_of_study(database, STUDY) == []
    assert len(queries.findings_of_study(database, STUDY, all_versions=True)) == 1
    queue.save_processed(database, [make_processed(new.object_id)])
    assert len(queries.findings_of_study(database, STUDY)) == 1


def test_late_result_of_a_superseded_version_is_not_current(database):
    """A worker that had the old version in hand does not bring it back."""
    [old] = record_arrivals(database, [make_record(1, b"a")])
    record_arrivals(database, [make_record(1, b"b")])
    assert queue.save_processed(database, [make_processed(old.object_id)]) == 1
    assert queries.findings_of_study(database, STUDY) == []
    assert len(queries.findings_of_study(database, STUDY, all_versions=True)) == 1


def test_refused_object_leaves_a_ledger_row_only(database):
    """Its status and reason are kept; its malformed UIDs are not."""
    refused = make_record("1.2\n3", reason_code="unreadable", keep=False, status=0xC000, study="../../etc")
    [receipt] = record_arrivals(database, [refused])
    assert (receipt.outcome, receipt.status, receipt.object_id) == (Outcome.REFUSED, 0xC000, None)
    assert rows(database, sop_instance) == []
    [entry] = rows(database, ledger)
    assert (entry.status, entry.reason_code, entry.object_id) == (0xC000, "unreadable", None)
    assert (entry.sop_instance_uid, entry.study_instance_uid) == (None, None)


@pytest.mark.parametrize("study", ["", "not a UID", "1.2.03", "1." + "2" * 70, "1.2\x00"])
def test_object_without_a_study_is_quarantined(database, study):
    """It is kept, is not analysed, and is answered with a failure, each time that it comes."""
    record = make_record(1, study=study)
    for _ in range(2):
        [receipt] = record_arrivals(database, [record])
        assert (receipt.outcome, receipt.status) == (Outcome.QUARANTINED, 0xC000)
        assert receipt.reason_code == "study_instance_uid_missing"
    [row] = rows(database, sop_instance)
    assert (row.state, row.is_current, row.seen_count) == (State.QUARANTINED, True, 2)
    assert queue.count_pending(database) == 0


def test_reason_and_status_of_intake_hold_for_a_quarantined_object(database):
    """Intake may know better why."""
    [receipt] = record_arrivals(database, [make_record(1, study="", reason_code="no_study", status=0xA900)])
    assert (receipt.outcome, receipt.status, receipt.reason_code) == (Outcome.QUARANTINED, 0xA900, "no_study")


def test_good_object_takes_the_place_of_a_quarantined_one(database):
    """The sender mended it; what is in quarantine stays, not current."""
    record_arrivals(database, [make_record(1, b"bad", study="")])
    [receipt] = record_arrivals(database, [make_record(1, b"good")])
    assert (receipt.outcome, receipt.status) == (Outcome.NEW_VERSION, 0)
    assert [(r.state, r.is_current) for r in rows(database, sop_instance)] == [
        (State.QUARANTINED, False),
        (State.PENDING, True),
    ]


def test_uid_held_for_another_study_is_quarantined_and_replaces_nothing(database):
    """Otherwise a wrong object for one patient would take away the report of another."""
    [good] = record_arrivals(database, [make_record(1, b"good")])
    queue.save_processed(database, [make_processed(good.object_id)])
    for _ in range(2):
        [receipt] = record_arrivals(database, [make_record(1, b"other", study=OTHER_STUDY)])
        assert (receipt.outcome, receipt.status) == (Outcome.QUARANTINED, 0xA900)
        assert receipt.reason_code == "study_conflict"
    assert len(queries.findings_of_study(database, STUDY)) == 1
    [report] = queries.reports_of_instance(database, instance_uid(1))
    assert report.object_id == good.object_id


def test_text_that_a_database_refuses_is_stored_one_character_for_another(database):
    """NUL and lone surrogates: PostgreSQL refuses the first, UTF-8 has no second."""
    record_arrivals(database, [make_record(1, patient_id="A\x00B\ud800C", calling_ae_title="P\x00")])
    [row] = rows(database, sop_instance)
    assert (row.patient_id, row.calling_ae_title) == ("A\ufffdB\ufffdC", "P\ufffd")


def test_large_original_is_a_file_named_by_its_hash(database):
    """Above large_object_bytes the bytes are on disk before the row is, and come back the same."""
    data = os.urandom(10000)
    [receipt] = record_arrivals(database, [make_record(1, data)])
    assert rows(database, original) == []
    file = originals.path_of(database.large_object_directory, hashlib.sha256(data).hexdigest())
    assert file.read_bytes() == data
    assert [p.name for p in database.large_object_directory.rglob("*") if p.is_file()] == [file.name]
    [stored] = queue.take_pending(database, maximum_objects=10, maximum_bytes=1, exclude=())
    assert (stored.object_id, stored.data) == (receipt.object_id, data)


def test_sending_again_mends_a_damaged_file(database):
    """The bytes that come in again are those that the row speaks of."""
    data = os.urandom(10000)
    record_arrivals(database, [make_record(1, data)])
    file = originals.path_of(database.large_object_directory, hashlib.sha256(data).hexdigest())
    file.write_bytes(b"damaged")
    record_arrivals(database, [make_record(1, data)])
    assert originals.read_original(database.large_object_directory, file.name) == data


def test_large_original_that_can_not_be_written_leaves_no_row(database):
    """A failure of the disk is an error before anything is recorded, and no unfinished file remains."""
    database.large_object_directory.write_bytes(b"a file where the folder should be")
    with pytest.raises(DatabaseError) as caught:
        record_arrivals(database, [make_record(1, bytes(10000))])
    assert caught.value.reason_code == "database_failed"
    assert rows(database, ledger) == []


def test_disk_full_while_writing_a_large_original(database, monkeypatch):
    """It is told as database_full, and nothing is left behind."""

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(originals.os, "fsync", full)
    database.large_object_directory.joinpath("00").mkdir(parents=True)
    with pytest.raises(DatabaseError) as caught:
        originals.write_original(database.large_object_directory, "0000" + "1" * 60, bytes(10000))
    monkeypatch.undo()
    assert caught.value.reason_code == "database_full"
    assert [p for p in database.large_object_directory.rglob("*") if p.is_file()] == []


def test_group_is_recorded_wholly_or_not_at_all(database):
    """One record that the database can't take (a time without zone) fails all; intake then tries them one by one."""
    bad = make_record(2, received_at=dt.datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(DatabaseError):
        record_arrivals(database, [make_record(1), bad])
    assert rows(database, sop_instance) == []
    assert rows(database, ledger) == []


def run_threads(count, work):
    """Run `work(number)` in threads that begin together; errors are raised here."""
    barrier = threading.Barrier(count)
    errors = []

    def run(number):
        barrier.wait()
        try:
            work(number)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_listeners_that_take_the_same_instance_at_once_agree(ready_settings):
    """Eight at a time, each with its own database object: versions count up without gap, one is current."""
    groups = 6

    def listen(number):
        database = Database.open(ready_settings)
        for group in range(groups):
            # the same bytes from all, bytes of each its own, and instances in another order for each
            records = [make_record(n, f"{n} {group}".encode()) for n in range(4)]
            records += [make_record(n, f"{n} {group} {number}".encode()) for n in range(4)]
            record_arrivals(database, records if number % 2 else records[::-1])
        database.close()

    run_threads(8, listen)
    database = Database.open(ready_settings)
    held = rows(database, sop_instance)
    assert len(held) == 4 * groups * (1 + 8)
    for n in range(4):
        versions = [r for r in held if r.sop_instance_uid == instance_uid(n)]
        assert sorted(r.version for r in versions) == list(range(1, len(versions) + 1))
        current = [r for r in versions if r.is_current]
        assert [r.version for r in current] == [len(versions)]
        assert sum(r.seen_count for r in versions) == 8 * groups * 2
    outcomes = collections.Counter(r.outcome for r in rows(database, ledger))
    assert outcomes == {"stored": 4, "new_version": len(held) - 4, "duplicate": 8 * groups * 8 - len(held)}
    database.close()


def test_saving_results_while_corrections_come_in_leaves_no_stale_finding(ready_settings):
    """Whatever the order of the two, findings are current only of the version that is."""

    def correct(number):
        database = Database.open(ready_settings)
        for group in range(10):
            receipts = record_arrivals(
                database, [make_record(n, f"{n} {group} {number}".encode()) for n in range(5)][:: 1 if number else -1]
            )
            queue.save_processed(database, [make_processed(r.object_id) for r in receipts])
        database.close()

    run_threads(4, correct)
    database = Database.open(ready_settings)
    current = {r.id for r in rows(database, sop_instance, sop_instance.c.is_current)}
    reports = queries.reports_of_study(database, STUDY)
    found = queries.findings_of_study(database, STUDY)
    assert {r.object_id for r in reports} == current
    assert len(current) == len(found) == 5
    database.close()


def test_processes_write_side_by_side(ready_settings):
    """Two listeners and a dispatcher on one database: none fails, nothing is lost or done twice."""
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=arrive, args=(ready_settings, n, 40)) for n in range(2)]
    processes.append(context.Process(target=work_off, args=(ready_settings, 80)))
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    database = Database.open(ready_settings)
    assert len(queries.findings_of_study(database, STUDY)) == 80
    assert all(r.attempts == 1 for r in rows(database, sop_instance))
    database.close()
