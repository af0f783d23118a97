"""What archives hold against what was received, on both databases."""

import datetime as dt

import pytest
import sqlalchemy as sa
from support.records import make_processed, make_record

from dicomnlp.errors import UsageError
from dicomnlp.store.commitment import GIVEN_UP_AFTER, commit_storage, next_unreported, note_reported, note_unreported
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.queue import save_processed
from dicomnlp.store.reconciliation import (
    ArchivedObject,
    ComparisonState,
    FetchState,
    Gap,
    Listing,
    read_comparison,
    read_comparisons,
    read_wanting,
)
from dicomnlp.store.reconciling import (
    compare,
    compared_since,
    fail_comparison,
    held_among,
    next_requested,
    note_fetched,
    note_hindrance,
    request_comparison,
    want_missing,
    wanted,
)
from dicomnlp.store.schema_archives import storage_commitment

DAY = dt.date(2026, 1, 2)
SR = "1.2.840.10008.5.1.4.1.1.88.11"


def listing(*uids, **values):
    """A day with these objects."""
    objects = {uid: ArchivedObject(uid, "2.25.1", "2.25.2", SR) for uid in uids}
    return Listing(objects=objects, studies=len(uids), **values)


def received(database, *numbers, **values):
    """Reports that came: their SOP Instance UIDs, and their numbers here."""
    receipts = record_arrivals(database, [make_record(n, **values) for n in numbers])
    return [r.sop_instance_uid for r in receipts], [r.object_id for r in receipts]


def found(database, number):
    """(SOP Instance UID, kind, reason, pipeline) of what is wanting."""
    page = read_wanting(database, number, limit=1000)
    return [(o.object.sop_instance_uid, o.kind, o.reason_code, o.pipeline) for o in page.objects]


def test_what_never_came_failed_or_is_out_of_date_is_told_apart(database):
    """What is analysed by today's pipeline is fine, what waits is counted."""
    uids, ids = received(database, 1, 2, 3, 4)
    save_processed(database, [make_processed(ids[0], "en-1"), make_processed(ids[1], "en-0")])
    from dicomnlp.model import Processed, State

    save_processed(database, [Processed(ids[2], State.FAILED, "en-1", reason_code="unreadable")])
    number = compare(database, "a", DAY, listing(*uids, "2.25.404"), pipelines=["en-1", "zh-1"])
    assert sorted(found(database, number)) == sorted(
        [
            ("2.25.404", Gap.NEVER_RECEIVED, None, None),
            (uids[2], Gap.FAILED, "unreadable", None),
            (uids[1], Gap.OUTDATED, None, "en-0"),
        ]
    )
    comparison = read_comparison(database, number)
    assert (comparison.objects, comparison.waiting, comparison.state) == (5, 1, ComparisonState.DONE)


def test_what_was_refused_or_is_in_quarantine_has_failed(database):
    """With the reason of the last refusal; what is in quarantine is held, so that it isn't fetched again."""
    refused = make_record(1, keep=False, status=0xA700, reason_code="object_too_large")
    quarantined = make_record(2, status=0xC000, reason_code="no_study_instance_uid")
    receipts = record_arrivals(database, [refused, quarantined])
    uids = [r.sop_instance_uid for r in receipts]
    number = compare(database, "a", DAY, listing(*uids), pipelines=["en-1"], fetches=True)
    assert sorted(found(database, number)) == sorted(
        [
            (uids[0], Gap.FAILED, "object_too_large", None),
            (uids[1], Gap.FAILED, "no_study_instance_uid", None),
        ]
    )
    assert [o.object.sop_instance_uid for o in wanted(database, "a", 10)] == [uids[0]]
    assert held_among(database, uids) == {uids[1]}


def test_what_this_service_wrote_is_not_missed(database):
    """An archive that holds findings that were written back doesn't forward them."""
    from dicomnlp.store.schema_write_back import written_document

    values = {c.name: "" for c in written_document.c if c.name != "id"}
    values |= {
        "document_uid": "2.25.7",
        "object_id": None,
        "series_instance_uid": None,
        "is_withdrawal": False,
        "is_latest": True,
        "predecessors": [],
        "left_out": [],
        "data": b"",
        "written_at": dt.datetime.now(dt.UTC),
    }
    with database.write() as connection:
        connection.execute(sa.insert(written_document).values(**values))
    number = compare(database, "a", DAY, listing("2.25.7", "2.25.8"), pipelines=["en-1"])
    assert [uid for uid, *_ in found(database, number)] == ["2.25.8"]
    assert read_comparison(database, number).objects == 1


def test_a_day_is_compared_in_place_of_what_was_known(database):
    """Its number stays, and so does who asked."""
    first = compare(database, "a", DAY, listing("2.25.1", "2.25.2"), pipelines=["en-1"], requested_by="me")
    second = compare(database, "a", DAY, listing("2.25.3"), pipelines=["en-1"])
    other = compare(database, "b", DAY, listing("2.25.4"), pipelines=["en-1"])
    assert (first == second, other != first) == (True, True)
    assert [uid for uid, *_ in found(database, first)] == ["2.25.3"]


def test_a_request_waits_until_it_is_done(database):
    """In the order of asking, of one archive; then who asked, and whether to fetch, still holds."""
    later = DAY + dt.timedelta(days=1)
    number = request_comparison(database, "a", later, requested_by="me", fetches=True)
    request_comparison(database, "a", DAY, requested_by="you", fetches=False)
    assert (next_requested(database, "a"), next_requested(database, "b")) == (later, None)
    assert compare(database, "a", later, listing("2.25.1"), pipelines=["en-1"]) == number
    comparison = read_comparison(database, number)
    assert (comparison.requested_by, comparison.fetches) == ("me", {FetchState.WANTED: 1})
    assert next_requested(database, "a") == DAY
    fail_comparison(database, "a", DAY, "pacs_unreachable")
    assert next_requested(database, "a") is None


def test_only_what_was_told_counts_as_compared(database):
    """A night on which the archive was away is made up for."""
    days = [DAY, DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=2)]
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    compare(database, "a", days[0], listing(), pipelines=["en-1"])
    compare(database, "a", days[1], listing(unread_studies=1, reason_code="pacs_failed"), pipelines=["en-1"])
    fail_comparison(database, "a", days[2], "pacs_unreachable")
    assert compared_since(database, "a", days, before) == {days[0], days[1]}
    assert compared_since(database, "b", days, before) == set()
    assert compared_since(database, "a", days, dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)) == set()
    assert read_comparisons(database, date_from=days[1], date_to=days[1]).comparisons[0].state == "partial"


def test_what_came_of_fetching_is_kept(database):
    """What failed can be wanted again, what was fetched is not."""
    number = compare(database, "a", DAY, listing("2.25.1", "2.25.2", "2.25.3"), pipelines=["en-1"])
    assert wanted(database, "a", 10) == []
    assert want_missing(database, number) == 3
    note_hindrance(database, "a", "pacs_busy")
    objects = wanted(database, "a", 2)
    assert [o.fetch_reason_code for o in objects] == ["pacs_busy"] * 2
    note_fetched(database, {objects[0].id: None, objects[1].id: "pacs_gone"})
    assert len(wanted(database, "a", 10, number=number)) == 1
    assert read_comparison(database, number).fetches == {
        FetchState.WANTED: 1,
        FetchState.FETCHED: 1,
        FetchState.FAILED: 1,
    }


def test_pages_hold_all_of_it_once(database):
    """Days the latest first, objects in their order."""
    for n in range(5):
        compare(database, "a", DAY + dt.timedelta(days=n), listing(), pipelines=["en-1"])
    number = compare(database, "a", DAY, listing(*(f"2.25.{n + 10}" for n in range(7))), pipelines=["en-1"])
    days, after = [], None
    while True:
        page = read_comparisons(database, pacs="a", after=after, limit=2)
        days += [each.study_date for each in page.comparisons]
        after = page.next
        if after is None:
            break
    assert days == sorted(days, reverse=True)
    assert len(days) == 5
    first = read_wanting(database, number, kind=Gap.NEVER_RECEIVED, limit=4)
    second = read_wanting(database, number, kind=Gap.NEVER_RECEIVED, limit=4, after=first.next)
    assert (len(first.objects), len(second.objects), second.next) == (4, 3, None)
    assert read_wanting(database, number, kind=Gap.OUTDATED).objects == []
    for wrong in ({"after": "x"}, {"limit": 0}):
        with pytest.raises(UsageError):
            read_wanting(database, number, **wrong)


def test_what_is_held_is_committed_and_what_is_not_is_said(database):
    """The same transaction again takes the place of its answer."""
    [uid], _ = received(database, 1)
    held_class = make_record(1).identity.sop_class_uid
    first = commit_storage(
        database, "2.25.9", "CT1", "NLP", [(held_class, uid), (SR, "2.25.404")], reports_by_itself=True
    )
    assert [each.failure_reason for each in first.instances] == [0, 0x0112]
    again = commit_storage(database, "2.25.9", "CT1", "NLP", [(held_class, uid)], reports_by_itself=True)
    other = commit_storage(database, "2.25.9", "CT2", "NLP", [(held_class, uid)], reports_by_itself=False)
    assert (first.id == again.id, other.id != first.id, again.failures) == (True, True, 0)
    assert next_unreported(database) == again
    note_reported(database, again.id)
    assert next_unreported(database) is None


def test_a_report_that_cannot_be_sent_is_tried_again_and_given_up_in_the_end(database):
    """After a pause that grows; after a week not any more."""
    commitment = commit_storage(database, "2.25.9", "CT1", "NLP", [(SR, "2.25.404")], reports_by_itself=True)
    pauses = []
    columns = storage_commitment.c
    for _ in range(3):
        note_unreported(database, commitment.id, "pacs_unreachable")
        with database.read() as connection:
            pauses.append(connection.scalar(sa.select(columns.next_attempt_at)) - dt.datetime.now(dt.UTC))
    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[0] + dt.timedelta(seconds=10)
    past = dt.datetime.now(dt.UTC) - GIVEN_UP_AFTER - dt.timedelta(hours=1)
    with database.write() as connection:
        connection.execute(sa.update(storage_commitment).values(requested_at=past))
    note_unreported(database, commitment.id, "pacs_unreachable")
    with database.read() as connection:
        assert connection.execute(sa.select(columns.next_attempt_at, columns.attempts)).one() == (None, 4)
