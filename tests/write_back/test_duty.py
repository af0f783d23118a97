"""What the duty writes of reports, to whom it sends it, and what it doesn't."""

import datetime as dt
import io

import pytest
import sqlalchemy as sa
from pydicom import dcmread
from support.service import make_report

from dicomnlp.export import write_back
from dicomnlp.store.reprocess import Selection, start_run
from dicomnlp.store.schema import analysis, finding, sop_instance
from dicomnlp.store.schema_access import audit_event
from dicomnlp.store.schema_delivery import delivery
from dicomnlp.store.schema_write_back import written_document
from dicomnlp.work import writing_back
from dicomnlp.work.writing_back import WritingBack

from .conftest import both, note

OTHER_TEXT = "FINDINGS: A 9 mm nodule in the left lower lobe."


@pytest.fixture
def begun(hospital, archive):
    """The duty of a hospital whose archive gets findings from now on."""
    hospital.connect(archive.table())
    duty = WritingBack(hospital.settings, hospital.database)
    duty.run()
    return duty


def settle(duty):
    """Run until there is nothing more to do."""
    while duty.run():
        pass


def deliveries(hospital):
    """(state, attempts, reason) of each, in order."""
    columns = delivery.c
    with hospital.database.read() as connection:
        rows = connection.execute(sa.select(columns.state, columns.attempts, columns.reason_code).order_by(columns.id))
        return [tuple(row) for row in rows]


def make_due(hospital):
    """As if the pause after a failure were over."""
    now = dt.datetime.now(dt.UTC)
    with hospital.database.write() as connection:
        connection.execute(sa.update(delivery).where(delivery.c.state == "waiting").values(due_at=now))


def findings_of(dataset):
    """The codes of the Findings in a document, in order."""
    groups = dataset.ContentSequence[-1].ContentSequence
    return [
        item.ConceptCodeSequence[0].CodeMeaning
        for group in groups
        for item in group.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Finding"
    ]


def predecessors_of(dataset):
    """SOP Instance UIDs."""
    return [
        instance.ReferencedSOPInstanceUID
        for study in dataset.get("PredecessorDocumentsSequence", [])
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]


@both
def test_what_is_found_in_a_new_report_is_sent_once(hospital, begun, archive):
    """However often the duty runs, and whoever runs it next."""
    hospital.report(1)
    settle(begun)
    settle(WritingBack(hospital.settings, hospital.database))
    [sent] = archive.objects
    assert (sent.StudyInstanceUID, sent.VerificationFlag) == ("1.2.826.0.1.3680043.10.1511.1.1", "UNVERIFIED")
    assert findings_of(sent) == ["Pulmonary nodule"]
    assert deliveries(hospital) == [("sent", 0, None)]


def test_what_is_held_when_it_begins_is_not_sent(hospital, archive):
    """Nor when it is processed again: an archive of years isn't to be flooded."""
    hospital.report(1)
    hospital.connect(archive.table())
    duty = WritingBack(hospital.settings, hospital.database)
    settle(duty)
    start_run(hospital.database, Selection(everything=True))
    hospital.analyse()
    settle(duty)
    assert archive.objects == []


def test_what_is_kept_is_what_was_sent(hospital, begun, archive):
    """Element by element, with what it leaves out."""
    hospital.report(1, "FINDINGS: A 6 mm nodule in the right upper lobe. History of breast cancer.")
    settle(begun)
    with hospital.database.read() as connection:
        [row] = connection.execute(sa.select(written_document)).mappings()
    [sent] = archive.objects
    assert row["document_uid"] == sent.SOPInstanceUID
    assert dcmread(io.BytesIO(row["data"])) == sent
    assert row["left_out"] == {"historical": 1}


def test_a_report_without_findings_is_not_written(hospital, begun, archive):
    """There is nothing to say."""
    hospital.report(1, "FINDINGS: Comparison is made.")
    settle(begun)
    assert archive.objects == []


def test_another_analysis_that_says_the_same_is_not_sent(hospital, begun, archive):
    """Processed again by the same pipeline."""
    hospital.report(1)
    settle(begun)
    start_run(hospital.database, Selection(everything=True))
    hospital.analyse()
    settle(begun)
    assert len(archive.objects) == 1


@both
def test_a_corrected_report_is_written_anew_and_names_what_it_replaces(hospital, begun, archive):
    """A new SOP instance with the report as its predecessor, and a new version of that."""
    hospital.report(1)
    settle(begun)
    hospital.report(2, OTHER_TEXT, study=1, predecessors=[make_report(1, "")])
    settle(begun)
    hospital.report(2, OTHER_TEXT.replace("9", "8"), study=1, predecessors=[make_report(1, "")])
    settle(begun)
    first, second, third = archive.objects
    assert predecessors_of(first) == []
    assert predecessors_of(second) == [first.SOPInstanceUID]
    assert predecessors_of(third) == [second.SOPInstanceUID]
    assert len({sent.SeriesInstanceUID for sent in archive.objects}) == 1
    assert len({sent.SOPInstanceUID for sent in archive.objects}) == 3


def test_a_correction_that_states_nothing_takes_back_what_was_stated(hospital, begun, archive):
    """Else the archive would keep findings that nobody stands for."""
    hospital.report(1)
    settle(begun)
    hospital.report(2, "FINDINGS: Comparison is made.", study=1, predecessors=[make_report(1, "")])
    settle(begun)
    first, second = archive.objects
    assert predecessors_of(second) == [first.SOPInstanceUID]
    assert findings_of(second) == []
    assert "States nothing that is written here" in str(second)


@both
def test_a_withdrawn_report_is_said_to_be_withdrawn(hospital, begun, archive):
    """By a document that takes the place of what was said of it; and once only."""
    hospital.report(1)
    settle(begun)
    hospital.receive(note(make_report(1, "")))
    settle(begun)
    first, second = archive.objects
    assert predecessors_of(second) == [first.SOPInstanceUID]
    assert findings_of(second) == []
    assert "Withdrawn" in str(second)


# pynetdicom leaves the socket to the garbage collector when nobody listens
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_archive_that_is_away_gets_it_when_it_is_back(hospital, begun, archive):
    """After a pause that grows; what is waiting for it is visible."""
    archive.stop()
    hospital.report(1)
    settle(begun)
    [(state, attempts, reason)] = deliveries(hospital)
    assert (state, attempts, reason) == ("waiting", 1, "pacs_unreachable")
    archive.start()
    settle(begun)
    assert archive.objects == []
    make_due(hospital)
    settle(begun)
    assert len(archive.objects) == 1
    assert deliveries(hospital) == [("sent", 1, None)]


def test_what_was_taken_without_a_word_is_sent_under_the_same_uid(hospital, begun, archive, monkeypatch):
    """The service ends between the archive's answer and the note of it."""

    def die(*arguments):
        raise KeyboardInterrupt

    hospital.report(1)
    with monkeypatch.context() as patched:
        patched.setattr(write_back, "note_sent", die)
        with pytest.raises(KeyboardInterrupt):
            begun.run()
    settle(WritingBack(hospital.settings, hospital.database))
    first, second = archive.objects
    assert first == second


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (0x0000, "sent"),
        (0xB007, "sent"),  # a warning: it is stored
        (0xA700, "waiting"),
        (0xA900, "waiting"),
        (0xC000, "waiting"),
    ],
)
def test_each_answer_of_an_archive_counts_as_what_it_means(hospital, begun, archive, status, state):
    """PS3.4 B.2.3."""
    archive.statuses = [status]
    hospital.report(1)
    settle(begun)
    [(found, _, reason)] = deliveries(hospital)
    assert (found, reason) == (state, None if state == "sent" else f"status_{status:04x}")


def test_a_document_that_is_refused_again_and_again_is_given_up(hospital, begun, archive):
    """An archive that has no room is waited for, one that can't use the object isn't."""
    hospital.report(1)
    archive.statuses = [0xA700] * 6 + [0xC000] * 9
    begun.run()
    for _ in range(5):
        make_due(hospital)
        begun.run()
    assert deliveries(hospital) == [("waiting", 6, "status_a700")]
    make_due(hospital)
    begun.run()
    assert deliveries(hospital) == [("dead", 7, "status_c000")]
    assert len(archive.statuses) == 8


@both
def test_what_nobody_has_yet_is_overtaken_by_what_is_true_now(hospital, begun, archive):
    """It is dropped, and the new one names what the archive has: the document before."""
    hospital.report(1)
    settle(begun)
    write = begun._write
    hospital.report(2, OTHER_TEXT, study=1, predecessors=[make_report(1, "")])
    while write():
        pass
    hospital.report(3, OTHER_TEXT.replace("9", "8"), study=1, predecessors=[make_report(2, "", study=1)])
    settle(begun)
    first, last = archive.objects
    assert predecessors_of(last) == [first.SOPInstanceUID]
    assert deliveries(hospital) == [("sent", 0, None), ("dropped", 0, "overtaken"), ("sent", 0, None)]


@both
def test_what_another_pipeline_says_is_noticed_without_an_analysis(hospital, begun, archive):
    """A promotion makes another analysis current; a sweep finds the documents that it makes untrue."""
    hospital.report(1)
    settle(begun)
    with hospital.database.write() as connection:
        connection.execute(sa.update(analysis).values(pipeline="en-other"))
        connection.execute(sa.update(finding).values(pipeline="en-other", laterality="left"))
    settle(begun)
    assert len(archive.objects) == 1
    begun._swept -= 10_000
    settle(begun)
    first, second = archive.objects
    assert predecessors_of(second) == [first.SOPInstanceUID]


def test_a_promotion_over_many_reports_is_followed_in_one_sweep(hospital, begun, archive, monkeypatch):
    """However many it takes at once, and whichever can't be written."""
    monkeypatch.setattr(writing_back, "ANALYSES_AT_ONCE", 2)
    for number in range(1, 6):
        hospital.report(number)
    settle(begun)
    with hospital.database.write() as connection:
        connection.execute(sa.update(analysis).values(pipeline="en-other"))
        connection.execute(sa.update(finding).values(pipeline="en-other", laterality="left"))
        connection.execute(sa.update(sop_instance).where(sop_instance.c.id == 2).values(patient_id="X" * 65))
    begun._swept -= 10_000
    settle(begun)
    assert len(archive.objects) == 5 + 4
    assert begun.run() is False


@both
def test_only_one_process_sends(hospital, begun, archive):
    """Another one finds the role taken, and leaves it."""
    hospital.report(1)
    with hospital.database.hold(write_back.ROLE):
        settle(begun)
        assert archive.objects == []
    settle(begun)
    assert len(archive.objects) == 1


def test_what_is_sent_is_in_the_audit_trail(hospital, begun, archive):
    """To whom, of which study, and how it ended; no name and no word of the report."""
    archive.statuses = [0xC000]
    hospital.report(1)
    settle(begun)
    make_due(hospital)
    settle(begun)
    with hospital.database.read() as connection:
        rows = connection.execute(sa.select(audit_event).order_by(audit_event.c.id)).mappings().all()
    [sent] = archive.objects
    assert [(r["kind"], r["action"], r["outcome"], r["principal"]) for r in rows] == [
        ("export", "write-back", "failed", "service"),
        ("export", "write-back", "success", "service"),
    ]
    assert rows[1]["study_instance_uid"] == sent.StudyInstanceUID
    assert rows[1]["query"] == {"destination": "archive", "document": sent.SOPInstanceUID}
