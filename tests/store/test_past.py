"""What was known at a time."""

import dataclasses
import datetime as dt

import pytest
from support.lives import ADDENDUM, REJECTED_FOR_QUALITY, Document, arrive
from support.records import STUDY

from dicomnlp.errors import NotFoundError
from dicomnlp.model import State
from dicomnlp.store import merges, quarantine, queries, queue, reprocess
from dicomnlp.store.intake import record_arrivals

OTHER_STUDY = "1.2.826.0.1.3680043.10.1511.1.2"
PRELIMINARY = Document(1, preliminary_flag="PRELIMINARY", concepts=("pneumothorax",))
FINAL = Document(2, preliminary_flag="FINAL")
ADDED = Document(3, title=ADDENDUM, predecessors=(2,), concepts=("rib_fracture",))
NOTE = Document(5, title=REJECTED_FOR_QUALITY, rejects=(2,))


def now():
    """A moment later than all before it and earlier than all after it."""
    return dt.datetime.now(dt.UTC)


def known(database, as_of, study=STUDY):
    """Concepts known of the study at that moment."""
    return sorted(f.finding.concept.id for f in queries.findings_of_study(database, study, as_of=as_of))


def test_each_stage_of_a_chain_is_known_as_it_was(database):
    """Whatever came later; the last moment is what is current now."""
    before, moments = now(), []
    for document in (PRELIMINARY, FINAL, ADDED, NOTE):
        arrive(database, document)
        moments.append(now())
    assert [known(database, m) for m in moments] == [
        ["pneumothorax"],
        ["pulmonary_nodule"],
        ["pulmonary_nodule", "rib_fracture"],
        ["pneumothorax", "rib_fracture"],
    ]
    assert known(database, moments[-1]) == sorted(
        f.finding.concept.id for f in queries.findings_of_study(database, STUDY)
    )
    with pytest.raises(NotFoundError):
        known(database, before)
    [report] = queries.reports_of_study(database, STUDY, as_of=moments[1])
    assert report.sop_instance_uid == FINAL.uid
    # withdrawn now, not then
    assert (report.standing.status, report.standing.superseded_by, report.is_current) == ("prevailing", None, True)
    [found] = queries.findings_of_study(database, STUDY, as_of=moments[1])
    assert found.standing.status == "prevailing"


def test_filters_hold_in_the_past_too(database):
    """By concept."""
    arrive(database, FINAL, ADDED)
    found = queries.findings_of_study(database, STUDY, as_of=now(), concept="rib_fracture")
    assert [f.sop_instance_uid for f in found] == [ADDED.uid]


def test_received_is_held_but_known_only_when_analysed(database):
    """Between arrival and analysis: held, and nothing known."""
    [receipt] = record_arrivals(database, [FINAL.record])
    received = now()
    queue.save_processed(database, [FINAL.processed(receipt.object_id)])
    assert known(database, received) == []
    [report] = queries.reports_of_study(database, STUDY, as_of=received)
    assert (report.state, report.report, report.standing.status, report.analysed_at) == ("pending", None, None, None)
    assert known(database, now()) == ["pulmonary_nodule"]
    [report] = queries.reports_of_study(database, STUDY, as_of=now())
    assert (report.state, report.standing.status) == ("analysed", "prevailing")


def test_failure_is_known_from_when_it_failed(database):
    """Before that it waited; what is read at last doesn't change what was known."""
    [receipt] = record_arrivals(database, [FINAL.record])
    waited = now()
    read = FINAL.processed(receipt.object_id)
    queue.save_processed(
        database, [dataclasses.replace(read, state=State.FAILED, analysis=None, report=None, reason_code="cut_short")]
    )
    failed = now()
    for moment, expected in ((waited, ("pending", None)), (failed, ("failed", "cut_short"))):
        [report] = queries.reports_of_study(database, STUDY, as_of=moment)
        assert (report.state, report.reason_code) == expected


def test_report_that_is_processed_again_is_told_as_it_was(database):
    """Waiting now, analysed then."""
    arrive(database, FINAL)
    before = now()
    reprocess.start_run(database, reprocess.Selection(uids=(FINAL.uid,)))
    [report] = queries.reports_of_study(database, STUDY, as_of=before)
    assert (report.state, report.standing.status) == ("analysed", "prevailing")
    assert report.analysed_at is not None


def test_version_that_was_replaced_is_listed_in_its_time(database):
    """The newer one waits: between the two, one report each time."""
    arrive(database, FINAL)
    before = now()
    corrected = dataclasses.replace(FINAL, data=b"corrected")
    record_arrivals(database, [dataclasses.replace(corrected.record, received_at=now())])
    listed = [queries.reports_of_study(database, STUDY, as_of=m) for m in (before, now())]
    assert [[(r.version, r.state) for r in reports] for reports in listed] == [[(1, "analysed")], [(2, "pending")]]


def test_link_by_accession_number_is_known_from_when_a_study_had_it(database):
    """Before the other study came, the report was of its own study alone; the links that are shown say so too."""
    arrive(database, Document(1, accession_numbers=("A-1", "A-2")))
    alone = now()
    arrive(database, Document(2, study=OTHER_STUDY, accession_number="A-2", concepts=("mass",)))
    both = now()
    with pytest.raises(NotFoundError):
        known(database, alone, OTHER_STUDY)
    assert known(database, both, OTHER_STUDY) == ["mass", "pulmonary_nodule"]
    for moment, kinds in ((alone, ["own"]), (both, ["own", "accession"])):
        [report] = queries.reports_of_study(database, STUDY, as_of=moment)
        assert [link.kind for link in report.studies] == kinds


def test_link_by_accession_number_goes_by_the_patients_of_then(database):
    """Linked while the two were one patient, and not before or after."""
    arrive(database, Document(1, accession_numbers=("A-2",)))
    arrive(database, Document(2, study=OTHER_STUDY, accession_number="A-2", patient_id="T-2", concepts=("mass",)))
    moments = [now()]
    merges.merge_patients(database, "T-2", "T-1")
    moments.append(now())
    merges.unmerge_patients(database, "T-2", "T-1")
    moments.append(now())
    assert [known(database, m, OTHER_STUDY) for m in moments] == [["mass"], ["mass", "pulmonary_nodule"], ["mass"]]


def test_assigned_object_was_of_its_study_while_assigned(database):
    """In quarantine before and after, in the study between."""
    lost = Document(1, study="", accession_number="")
    [receipt] = record_arrivals(database, [lost.record])
    moments = [now()]
    quarantine.assign_study(database, lost.uid, STUDY)
    queue.save_processed(database, [lost.processed(receipt.object_id)])
    moments.append(now())
    quarantine.undo_assignment(database, lost.uid)
    moments.append(now())
    for moment in (moments[0], moments[2]):
        with pytest.raises(NotFoundError):
            known(database, moment)
    assert known(database, moments[1]) == ["pulmonary_nodule"]


def test_earlier_pipeline_and_version_are_known_as_they_were(database):
    """An analysis by another pipeline, the same again, then other bytes."""
    [object_id] = arrive(database, FINAL)
    moments = [now()]
    better = dataclasses.replace(FINAL, concepts=("mass",))
    queue.save_processed(database, [better.processed(object_id, "en-2")])
    moments.append(now())
    queue.save_processed(database, [better.processed(object_id, "en-2")])
    moments.append(now())
    corrected = dataclasses.replace(FINAL, data=b"corrected", concepts=("cyst",))
    [receipt] = record_arrivals(database, [dataclasses.replace(corrected.record, received_at=now())])
    waiting = now()
    queue.save_processed(database, [corrected.processed(receipt.object_id, "en-2")])
    moments.append(now())
    assert [known(database, m) for m in moments] == [["pulmonary_nodule"], ["mass"], ["mass"], ["cyst"]]
    assert known(database, waiting) == []


def test_copy_in_another_study_is_known_there(database):
    """And from when it stood for itself."""
    arrive(database, Document(9, study=OTHER_STUDY, identical_documents=(2,)))
    alone = now()
    arrive(database, FINAL)
    assert known(database, alone, OTHER_STUDY) == known(database, now(), OTHER_STUDY) == ["pulmonary_nodule"]
    with pytest.raises(NotFoundError):
        queries.findings_of_study(database, STUDY, as_of=alone - dt.timedelta(hours=1))


def test_what_was_read_by_another_character_set_is_known_as_it_was(database):
    """There and back again: each reading in its time, and the analysis current now is the last."""
    [object_id] = arrive(database, FINAL)
    moments = [now()]
    for character_set, concept in (("cp1250", "mass"), ("", "pulmonary_nodule"), ("cp1250", "mass")):
        reprocess.state_character_set(database, [FINAL.uid], character_set)
        reprocess.start_run(database, reprocess.Selection(uids=(FINAL.uid,)))
        [stored] = queue.take_pending(database, maximum_objects=5, maximum_bytes=10**6, exclude=())
        assert stored.character_set_override == character_set
        read = dataclasses.replace(FINAL, concepts=(concept,))
        assert queue.save_processed(database, [read.processed(object_id, character_set=character_set)]) == 1
        moments.append(now())
    assert [known(database, m) for m in moments] == [["pulmonary_nodule"], ["mass"], ["pulmonary_nodule"], ["mass"]]
    [report] = queries.reports_of_study(database, STUDY)
    assert report.analysis.pipeline == "en-1"
    assert report.to_json()["character_set_override"] == "cp1250"
    names = {r.analysis.pipeline for r in queries.reports_of_instance(database, FINAL.uid, all_versions=True)}
    assert names == {"en-1", "en-1/declared", "en-1/cp1250"}


def test_result_of_the_former_character_set_is_dropped(database):
    """It was in a worker when the other was stated: the object stays pending and is read anew."""
    [receipt] = record_arrivals(database, [FINAL.record])
    reprocess.state_character_set(database, [STUDY], "cp1250")
    assert queue.save_processed(database, [FINAL.processed(receipt.object_id)]) == 0
    assert queue.count_pending(database) == 1
    assert queue.save_processed(database, [FINAL.processed(receipt.object_id, character_set="cp1250")]) == 1


def test_failure_by_the_character_set_now_stated_ends_what_was_read_by_another(database):
    """By the same one, the last good analysis stays; what was read wrongly does not, but was known until then."""
    [object_id] = arrive(database, FINAL)
    failed = dataclasses.replace(
        FINAL.processed(object_id), state=State.FAILED, analysis=None, reason_code="language_not_supported"
    )
    queue.save_processed(database, [failed])
    assert known(database, now()) == ["pulmonary_nodule"]
    before = now()
    reprocess.state_character_set(database, [FINAL.uid], "cp1250")
    queue.save_processed(database, [dataclasses.replace(failed, character_set_override="cp1250")])
    assert queries.findings_of_study(database, STUDY) == []
    assert known(database, now()) == []
    assert known(database, before) == ["pulmonary_nodule"]


def test_character_set_of_nothing_held_is_told(database):
    """Nothing is changed then, of others named with it neither."""
    arrive(database, FINAL)
    with pytest.raises(NotFoundError):
        reprocess.state_character_set(database, [STUDY, "1.2.3"], "cp1250")
    [report] = queries.reports_of_study(database, STUDY)
    assert report.character_set_override == ""
