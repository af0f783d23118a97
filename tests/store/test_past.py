"""What was known at a time."""

import dataclasses
import datetime as dt

import pytest
from support.lives import ADDENDUM, REJECTED_FOR_QUALITY, Document, arrive
from support.records import STUDY

from dicomnlp.errors import NotFoundError
from dicomnlp.model import State
from dicomnlp.store import queries, queue, reprocess
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
    # known then, but what it is now is told
    assert report.standing.status == "withdrawn"


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
    assert known(database, now()) == ["pulmonary_nodule"]


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
