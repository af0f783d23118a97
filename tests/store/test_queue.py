"""Taking what is pending, saving what came of it, counting what was lost."""

import hashlib
import os

import pytest
import sqlalchemy as sa
from support.records import STUDY, instance_uid, make_finding, make_processed, make_record, make_report

from dicomnlp.model import Processed, State
from dicomnlp.store import originals, queries, queue, reprocess
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.schema import analysis, finding, sop_instance


@pytest.fixture
def ids(database):
    """Rows of ten pending objects of 100 bytes."""
    return [r.object_id for r in record_arrivals(database, [make_record(n, bytes([n]) * 100) for n in range(10)])]


def take(database, maximum_objects=100, maximum_bytes=10**6, exclude=()):
    """Rows of what is taken."""
    taken = queue.take_pending(database, maximum_objects=maximum_objects, maximum_bytes=maximum_bytes, exclude=exclude)
    return [t.object_id for t in taken]


def state_of(database, object_id):
    """State, reason code and attempts of an object."""
    c = sop_instance.c
    with database.read() as connection:
        return tuple(connection.execute(sa.select(c.state, c.reason_code, c.attempts).where(c.id == object_id)).one())


def test_oldest_is_taken_first_within_both_limits(database, ids):
    """Objects and bytes are limits; what is taken is not marked, so it is taken again unless excluded."""
    assert take(database, maximum_objects=3) == ids[:3]
    assert take(database, maximum_bytes=450) == ids[:4]
    assert take(database, maximum_objects=3, exclude=ids[1:5]) == [ids[0], *ids[5:7]]
    assert take(database, exclude=ids) == []


def test_object_larger_than_the_limit_is_taken_alone(database, ids):
    """Else it would never be."""
    assert take(database, maximum_bytes=1) == ids[:1]


def test_worker_gets_the_bytes_and_what_is_needed_to_read_them(database, ids):
    """And nothing of the identity."""
    [first] = queue.take_pending(database, maximum_objects=1, maximum_bytes=1000, exclude=())
    assert (first.data, first.sop_instance_uid, first.calling_ae_title) == (b"\x00" * 100, instance_uid(0), "PACS")
    assert (first.attempts, first.transfer_syntax_uid) == (0, "1.2.840.10008.1.2.1")


def test_many_objects_in_hand_are_no_obstacle(database, ids):
    """More than a statement can hold parameters."""
    assert take(database, exclude=[*ids[:9], *range(100000, 200000)]) == ids[9:]


def test_new_arrivals_come_before_reprocessing(database, ids):
    """However long the archive that is reprocessed."""
    queue.save_processed(database, [make_processed(i) for i in ids])
    reprocess.start_run(database, reprocess.Selection(everything=True))
    [new] = record_arrivals(database, [make_record(11)])
    assert take(database) == [new.object_id, *ids]


@pytest.mark.parametrize(("harm", "reason_code"), [(None, "original_missing"), (b"x" * 9000, "original_damaged")])
def test_unusable_large_original_fails_and_blocks_nothing(database, ids, harm, reason_code):
    """It is put aside with its reason, also when it is all that a batch would hold."""
    data = os.urandom(9000)
    [large, after] = record_arrivals(database, [make_record(20, data), make_record(21)])
    file = originals.path_of(database.large_object_directory, hashlib.sha256(data).hexdigest())
    file.unlink()
    if harm:
        file.write_bytes(harm)
    assert take(database, maximum_objects=1, exclude=ids) == [after.object_id]
    assert state_of(database, large.object_id) == (State.FAILED, reason_code, 1)


def test_saved_result_is_found_as_it_was_given(database, ids):
    """Every field of report, analysis and finding comes back equal."""
    given = make_processed(ids[0])
    assert queue.save_processed(database, [given]) == 1
    [stored] = queries.findings_of_study(database, STUDY)
    assert stored.finding == given.analysis.findings[0]
    assert (stored.pipeline, stored.sop_instance_uid) == ("en-1", instance_uid(0))
    [report] = queries.reports_of_instance(database, instance_uid(0))
    assert report.report.identity.patient_id == "T-1"
    for name in (
        "narrative",
        "title",
        "document_code",
        "items",
        "measurements",
        "evidence",
        "predecessors",
        "warnings",
    ):
        assert getattr(report.report, name) == getattr(given.report, name)
    for name in ("completion_flag", "verification_flag", "preliminary_flag", "language", "character_set", "state"):
        assert getattr(report.report, name) == getattr(given.report, name)
    for name in ("language", "pipeline", "sections", "measurements", "labels", "warnings"):
        assert getattr(report.analysis, name) == getattr(given.analysis, name)
    assert (report.state, report.version, report.is_current) == (State.ANALYSED, 1, True)
    assert report.analysed_at == stored.analysed_at
    assert state_of(database, ids[0]) == (State.ANALYSED, None, 1)


def test_saving_again_by_the_same_pipeline_replaces(database, ids):
    """A batch that is done twice, after a crash, doubles nothing."""
    for findings in ([make_finding(), make_finding()], [make_finding("effusion")]):
        queue.save_processed(database, [make_processed(ids[0], findings=findings)])
    assert [f.finding.concept.id for f in queries.findings_of_study(database, STUDY, all_versions=True)] == ["effusion"]
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(analysis)) == 1


def test_analysis_by_another_pipeline_is_kept_and_not_current(database, ids):
    """The newest is current, whichever pipeline it is by; a step back is a step to an older pipeline."""
    for pipeline in ("en-1", "en-2", "en-1"):
        queue.save_processed(database, [make_processed(ids[0], pipeline)])
        assert [f.pipeline for f in queries.findings_of_study(database, STUDY)] == [pipeline]
    every = queries.findings_of_study(database, STUDY, all_versions=True)
    assert sorted(f.pipeline for f in every) == ["en-1", "en-2"]
    assert [r.analysis.pipeline for r in queries.reports_of_instance(database, instance_uid(0))] == ["en-1"]


def test_same_object_twice_in_a_batch_counts_once(database, ids):
    """The last result holds."""
    results = [make_processed(ids[0]), make_processed(ids[0], findings=[])]
    assert queue.save_processed(database, results) == 1
    assert queries.findings_of_study(database, STUDY) == []


def test_result_for_an_object_that_is_gone_is_dropped(database, ids):
    """It was deleted while a worker had it; the others of its batch are saved."""
    with database.write() as connection:
        connection.execute(sa.delete(sop_instance).where(sop_instance.c.id == ids[-1]))
    # its number is not given to another
    [new] = record_arrivals(database, [make_record(30)])
    assert new.object_id > ids[-1]
    assert queue.save_processed(database, [make_processed(ids[-1]), make_processed(ids[0])]) == 1
    assert queue.save_processed(database, [make_processed(ids[-1])]) == 0
    assert queue.save_processed(database, []) == 0


def test_deleting_an_object_deletes_all_that_was_made_of_it(database, ids):
    """Analyses and findings go; the ledger stays."""
    queue.save_processed(database, [make_processed(ids[0])])
    with database.write() as connection:
        connection.execute(sa.delete(sop_instance).where(sop_instance.c.id == ids[0]))
    with database.read() as connection:
        for table in (analysis, finding):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0


def test_failure_is_kept_with_its_reason_and_the_earlier_analysis_stays(database, ids):
    """What an older pipeline had found is not lost because a newer one fails."""
    queue.save_processed(database, [make_processed(ids[0], "en-1")])
    queue.save_processed(database, [Processed(ids[0], State.FAILED, "en-2", reason_code="unreadable")])
    assert state_of(database, ids[0]) == (State.FAILED, "unreadable", 2)
    assert [f.pipeline for f in queries.findings_of_study(database, STUDY)] == ["en-1"]


def test_object_without_text_keeps_what_was_read(database, ids):
    """Its report has items and no analysis."""
    queue.save_processed(database, [Processed(ids[0], State.NO_TEXT, "en-1", make_report(""))])
    [report] = queries.reports_of_instance(database, instance_uid(0))
    assert (report.state, report.analysis, report.report.state) == (State.NO_TEXT, None, State.NO_TEXT)
    assert len(report.report.items) == 3


def test_offsets_hold_for_text_that_a_database_refuses(database, ids):
    """NUL and surrogates become one character each in text and findings alike; a written-out escape is left alone."""
    text = r"a \u0000 b " + "\x00\ud800 nodule\x00"
    start = text.index("nodule")
    found = make_finding(text="nodule\x00", start=start)
    queue.save_processed(database, [make_processed(ids[0], findings=[found], text=text)])
    [report] = queries.reports_of_instance(database, instance_uid(0))
    [stored] = queries.findings_of_study(database, STUDY)
    assert report.report.narrative.text == text.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert report.report.narrative.text[stored.finding.start : stored.finding.end] == stored.finding.text


def test_lost_workers_count_and_the_last_attempt_fails(database, ids):
    """Only pending objects count: what was saved meanwhile is not lost."""
    queue.save_processed(database, [make_processed(ids[2])])
    assert queue.record_lost(database, ids[:3], "worker_lost", 2) == []
    assert state_of(database, ids[0]) == (State.PENDING, None, 1)
    assert queue.record_lost(database, [ids[0], ids[2]], "worker_lost", 2) == [ids[0]]
    assert state_of(database, ids[0]) == (State.FAILED, "worker_lost", 2)
    assert state_of(database, ids[2]) == (State.ANALYSED, None, 1)
    assert queue.record_lost(database, [], "worker_lost", 2) == []


def test_pending_are_counted_also_by_run(database, ids):
    """A run counts its own."""
    queue.save_processed(database, [make_processed(i) for i in ids])
    run = reprocess.start_run(database, reprocess.Selection(uids=(instance_uid(1),)))
    assert queue.count_pending(database) == queue.count_pending(database, run.id) == 1
    assert queue.count_pending(database, run.id + 1) == 0
