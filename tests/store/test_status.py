"""Counts and failures."""

import datetime as dt
import json

import pytest
from support.records import STUDY, instance_uid, make_processed, make_record

from dicomnlp.model import Processed, State
from dicomnlp.store import queue, schema
from dicomnlp.store.deliveries import NewDelivery, add_deliveries, due_deliveries, note_failed, note_sent
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.status import read_failures, read_status, retry_failed


def test_empty_database_has_a_status(database):
    """Every state and outcome is named, with none in it."""
    status = read_status(database)
    assert set(status.objects) == {s.value for s in State}
    assert not any(status.objects.values())
    assert not any(status.ledger.values())
    assert (status.oldest_pending_seconds, status.original_bytes, status.pipelines) == (None, 0, {})
    assert status.schema_revision == schema.REVISION
    assert status.database_bytes > 10000
    assert json.loads(json.dumps(status.to_json()))["objects"]["pending"] == 0


@pytest.fixture
def filled(database):
    """Two hours ago: 1 analysed, 2 pending, 3 failed, 4 in quarantine, 5 refused; now: 6 pending, 1 again."""
    before = dt.datetime.now(dt.UTC) - dt.timedelta(hours=2)
    receipts = record_arrivals(
        database,
        [
            make_record(1, bytes(10), received_at=before),
            make_record(2, bytes(20), received_at=before),
            make_record(3, bytes(30), received_at=before),
            make_record(4, bytes(40), received_at=before, study="no uid"),
            make_record(5, received_at=before, keep=False, reason_code="unreadable", status=0xC000),
        ],
    )
    queue.save_processed(
        database,
        [
            make_processed(receipts[0].object_id),
            Processed(receipts[2].object_id, State.FAILED, "en-1", reason_code="extract_failed"),
        ],
    )
    record_arrivals(database, [make_record(6, bytes(60)), make_record(1, bytes(10))])
    return database


def test_status_counts(filled):
    """By state, outcome, reason and time."""
    status = read_status(filled)
    assert {k: v for k, v in status.objects.items() if v} == {
        "pending": 2,
        "analysed": 1,
        "failed": 1,
        "quarantined": 1,
    }
    assert {k: v for k, v in status.ledger.items() if v} == {
        "stored": 4,
        "quarantined": 1,
        "refused": 1,
        "duplicate": 1,
    }
    assert status.reason_codes == {"study_instance_uid_missing": 1, "unreadable": 1}
    assert status.failure_reason_codes == {"extract_failed": 1}
    assert 7190 < status.oldest_pending_seconds < 7300
    assert (status.received_last_minute, status.received_last_hour, status.received_last_day) == (2, 2, 7)
    assert (status.analysed_last_hour, status.pipelines) == (1, {"en-1": 1})
    assert status.original_bytes == 160


def test_deliveries_that_wait_or_were_given_up_are_counted(filled):
    """Not those that were taken, of which there are more and more."""
    assert read_status(filled).deliveries == {"waiting": 0, "dead": 0}
    add_deliveries(filled, "ward", [NewDelivery("report", f"k{n}", 1, "1.2.3", "1.2.3.4") for n in range(4)])
    lost, taken, again, _ = due_deliveries(filled, "ward", 10)
    note_failed(filled, lost, "http_410", is_final=True)
    note_failed(filled, again, "http_503", is_final=False)
    note_sent(filled, taken.id)
    assert read_status(filled).deliveries == {"waiting": 2, "dead": 1}


def test_clock_that_was_set_back_makes_no_negative_age(database):
    """An arrival from the future waits for no time."""
    record_arrivals(database, [make_record(1, received_at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))])
    assert read_status(database).oldest_pending_seconds == 0.0


def test_failures_tell_what_where_and_why(filled):
    """The latest first; malformed UIDs are left out."""
    failures = read_failures(filled, 10)
    assert [(f.kind, f.reason_code, f.attempts) for f in failures if f.kind == "failed"] == [
        ("failed", "extract_failed", 1)
    ]
    assert failures[0].kind == "failed"
    by_kind = {f.kind: f for f in failures}
    assert set(by_kind) == {"failed", "quarantined", "refused"}
    assert by_kind["quarantined"].study_instance_uid == ""
    assert by_kind["failed"].study_instance_uid == STUDY
    assert by_kind["refused"].sop_instance_uid == instance_uid(5)
    assert by_kind["refused"].calling_ae_title == "PACS"
    assert json.loads(json.dumps(failures[0].to_json()))["kind"] == "failed"
    assert len(read_failures(filled, 2)) == 2


def test_retry_makes_failed_objects_pending_again(filled):
    """Their attempts are forgotten; quarantine stays."""
    assert retry_failed(filled) == 1
    status = read_status(filled)
    assert (status.objects["failed"], status.objects["pending"], status.objects["quarantined"]) == (0, 3, 1)
    assert retry_failed(filled) == 0
    taken = queue.take_pending(filled, maximum_objects=10, maximum_bytes=10**6, exclude=())
    assert [t.attempts for t in taken] == [0, 0, 0]
