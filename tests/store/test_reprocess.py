"""Reprocess runs: what they select, how they go on."""

import pytest
import sqlalchemy as sa
from support.records import STUDY, instance_uid, make_processed, make_record

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import Processed, State
from dicomnlp.store import admin, queue, reprocess
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.reprocess import Selection, read_run, start_run
from dicomnlp.store.schema import LANE_ARRIVAL, sop_instance

OTHER_STUDY = "1.2.826.0.1.3680043.10.1511.1.2"


@pytest.fixture
def ids(database):
    """1, 2: analysed by en-1. 3: by en-2, another study. 4: failed. 5: superseded by 6, by en-1. 7: quarantined."""
    receipts = record_arrivals(
        database,
        [
            make_record(1),
            make_record(2),
            make_record(3, study=OTHER_STUDY),
            make_record(4),
            make_record(5, b"old"),
            make_record(5, b"new"),
            make_record(7, study=""),
        ],
    )
    ids = {n: r.object_id for n, r in enumerate(receipts, 1)}
    pipelines = {1: "en-1", 2: "en-1", 3: "en-2", 5: "en-1", 6: "en-1"}
    queue.save_processed(database, [make_processed(ids[n], p) for n, p in pipelines.items()])
    queue.save_processed(database, [Processed(ids[4], State.FAILED, "en-1", reason_code="unreadable")])
    return ids


def pending(database):
    """Rows of what waits."""
    taken = queue.take_pending(database, maximum_objects=1000, maximum_bytes=10**9, exclude=())
    return [t.object_id for t in taken]


@pytest.mark.parametrize(
    ("selection", "selected"),
    [
        (Selection(everything=True), [1, 2, 3, 4, 6]),  # not what is superseded, nor in quarantine
        (Selection(failed=True), [4]),
        (Selection(uids=(STUDY,)), [1, 2, 4, 6]),
        (Selection(uids=(instance_uid(5),)), [6]),
        (Selection(uids=(instance_uid(1), OTHER_STUDY)), [1, 3]),
        (Selection(outdated_pipelines=("en-2",)), [1, 2, 6]),
        (Selection(outdated_pipelines=("en-1", "en-2")), []),
        (Selection(uids=(instance_uid(7),)), []),  # nothing to do about quarantine
        (Selection(failed=True, uids=(instance_uid(1),)), [1, 4]),
    ],
)
def test_run_marks_what_is_selected(database, ids, selection, selected):
    """And counts it."""
    run = start_run(database, selection)
    assert (run.total, run.done, run.resumed) == (len(selected), 0, False)
    assert pending(database) == [ids[n] for n in selected]
    assert queue.count_pending(database, run.id) == len(selected)


def test_report_read_by_several_packs_is_outdated_by_any_of_them(database):
    """Names that are part of others are others."""
    receipts = record_arrivals(database, [make_record(n) for n in range(1, 6)])
    pipelines = ["en-1&zh-1", "en-1&zh-2", "en-10&zh-2", "zh-2", "de-1&en-1&zh-2"]
    results = [make_processed(r.object_id, p) for r, p in zip(receipts, pipelines, strict=True)]
    queue.save_processed(database, results)
    start_run(database, Selection(outdated_pipelines=("en-1", "zh-2")))
    assert pending(database) == [receipts[n].object_id for n in (0, 2, 4)]


def test_marked_objects_begin_with_no_attempts(database, ids):
    """And without the reason of their failure."""
    start_run(database, Selection(failed=True))
    columns = sop_instance.c
    query = sa.select(columns.attempts, columns.reason_code).where(columns.id == ids[4])
    with database.read() as connection:
        assert tuple(connection.execute(query).one()) == (0, None)


@pytest.mark.parametrize("uid", ["1.2.3", "no uid", ""])
def test_unknown_uid_marks_nothing(database, ids, uid):
    """Also when others of the selection are known."""
    with pytest.raises(NotFoundError):
        start_run(database, Selection(uids=(instance_uid(1), uid)))
    assert pending(database) == []


def test_nothing_selected_is_a_mistake(database):
    """Rather than everything or nothing."""
    with pytest.raises(UsageError):
        start_run(database, Selection())


def test_unfinished_run_of_the_same_selection_is_resumed(database, ids):
    """What it has done stays done; once finished, the same selection is a new run."""
    first = start_run(database, Selection(everything=True))
    queue.save_processed(database, [make_processed(ids[1], "en-3"), make_processed(ids[2], "en-3")])
    again = start_run(database, Selection(everything=True))
    assert (again.id, again.total, again.done, again.resumed) == (first.id, 5, 2, True)
    other = start_run(database, Selection(uids=(instance_uid(1),)))
    assert (other.id == first.id, other.resumed) == (False, False)
    queue.save_processed(database, [make_processed(i, "en-3") for i in ids.values()])
    assert read_run(database, first.id) == reprocess.Run(first.id, 5, 5, 0, resumed=False)
    anew = start_run(database, Selection(everything=True))
    assert (anew.id == first.id, anew.resumed, anew.done) == (False, False, 0)


def test_order_of_uids_is_of_no_account(database, ids):
    """The same selection said otherwise."""
    first = start_run(database, Selection(uids=(instance_uid(1), instance_uid(2))))
    assert start_run(database, Selection(uids=(instance_uid(2), instance_uid(1), instance_uid(1)))).id == first.id


def test_interrupted_marking_is_continued(database, ids, monkeypatch):
    """Marking is done in parts; a crash between two of them costs nothing, and no object is counted twice."""
    monkeypatch.setattr(reprocess, "_MARKED_AT_ONCE", 2)
    real, calls = reprocess._mark_some, []

    def crash_at_third(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(reprocess, "_mark_some", crash_at_third)
    with pytest.raises(KeyboardInterrupt):
        start_run(database, Selection(everything=True))
    assert len(pending(database)) == 2
    queue.save_processed(database, [make_processed(i, "en-3") for i in pending(database)])
    run = start_run(database, Selection(everything=True))
    assert (run.total, run.done, run.resumed) == (5, 2, True)
    assert len(pending(database)) == 3


def test_pending_arrivals_keep_their_place(database, ids):
    """Reprocessing everything does not put a new report behind the archive, and counts it as part of the run."""
    [new] = record_arrivals(database, [make_record(8)])
    run = start_run(database, Selection(everything=True))
    assert run.total == 6
    assert pending(database)[0] == new.object_id
    with database.read() as connection:
        lane = connection.scalar(sa.select(sop_instance.c.lane).where(sop_instance.c.id == new.object_id))
    assert lane == LANE_ARRIVAL


def test_unknown_run_is_not_found(database):
    """Its number is told."""
    with pytest.raises(NotFoundError, match="77"):
        read_run(database, 77)


def test_marking_of_an_archive_lets_others_write_between_its_pieces(sqlite_settings, monkeypatch):
    """A listener waits for one piece at the most, not for a million objects."""
    admin.upgrade(sqlite_settings)
    marking, other = Database.open(sqlite_settings), Database.open(sqlite_settings)
    record_arrivals(marking, [make_record(n) for n in range(10)])
    marked = []

    def write_meanwhile(seconds):
        assert seconds > 0.1  # as long as SQLite's own longest pause between two looks
        record_arrivals(other, [make_record(100 + len(marked))])
        marked.append(seconds)

    monkeypatch.setattr(reprocess, "_MARKED_AT_ONCE", 3)
    monkeypatch.setattr(reprocess.time, "sleep", write_meanwhile)
    assert start_run(marking, Selection(everything=True)).total == 10
    assert len(marked) == 3
    marking.close()
    other.close()
