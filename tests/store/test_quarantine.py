"""Quarantine: what is listed, and what an assignment does and undoes."""

import dataclasses

import pytest
import sqlalchemy as sa
from support.lives import Document, arrive
from support.records import STUDY

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import Outcome, State
from dicomnlp.store import queries, queue
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.quarantine import assign_study, read_quarantine, undo_assignment
from dicomnlp.store.schema import study_assignment

OTHER_STUDY = "1.2.826.0.1.3680043.10.1511.1.2"
HOMELESS = Document(1, study="")
HELD = Document(2)


def concepts(database, study):
    """(version, concept) of the study's current findings."""
    versions = {r.sop_instance_uid: r.version for r in queries.reports_of_study(database, study)}
    return [(versions[f.sop_instance_uid], f.finding.concept.id) for f in queries.findings_of_study(database, study)]


def test_quarantine_tells_where_an_object_may_belong(database):
    """By accession number and patient; another patient's study of the same number is none."""
    arrive(database, HELD, Document(3, study=OTHER_STUDY, patient_id="T-2"))
    record_arrivals(database, [HOMELESS.record])
    [found] = read_quarantine(database, 10)
    assert (found.sop_instance_uid, found.reason_code) == (HOMELESS.uid, "study_instance_uid_missing")
    assert (found.study_instance_uid, found.accession_number, found.candidate_studies) == ("", "A-1", (STUDY,))
    assert found.to_json()["candidate_studies"] == [STUDY]


def test_assigned_object_is_processed_and_belongs_to_the_study(database):
    """As if it had come so; its bytes come again as a duplicate."""
    [receipt] = record_arrivals(database, [HOMELESS.record])
    assert queue.count_pending(database) == 0
    assert assign_study(database, HOMELESS.uid, STUDY) == receipt.object_id
    assert read_quarantine(database, 10) == []
    [stored] = queue.take_pending(database, maximum_objects=5, maximum_bytes=10**6, exclude=())
    queue.save_processed(database, [HOMELESS.processed(stored.object_id)])
    assert concepts(database, STUDY) == [(1, "pulmonary_nodule")]
    [again] = record_arrivals(database, [HOMELESS.record])
    assert again.outcome is Outcome.DUPLICATE


def test_assignment_is_undone_and_recorded(database):
    """Back in quarantine with its own header's study; and it can be assigned again."""
    [receipt] = record_arrivals(database, [HOMELESS.record])
    assign_study(database, HOMELESS.uid, STUDY)
    queue.save_processed(database, [HOMELESS.processed(receipt.object_id)])
    undo_assignment(database, HOMELESS.uid)
    with pytest.raises(NotFoundError):
        queries.findings_of_study(database, STUDY)
    [found] = read_quarantine(database, 10)
    assert (found.study_instance_uid, found.reason_code) == ("", "study_instance_uid_missing")
    # a worker had it still
    assert queue.save_processed(database, [HOMELESS.processed(receipt.object_id)]) == 0
    assign_study(database, HOMELESS.uid, OTHER_STUDY)
    queue.save_processed(database, [HOMELESS.processed(receipt.object_id)])
    assert concepts(database, OTHER_STUDY) == [(1, "pulmonary_nodule")]
    with database.read() as connection:
        rows = connection.execute(sa.select(study_assignment).order_by(study_assignment.c.id)).all()
    assert [(r.study_instance_uid, r.undone_at is None) for r in rows] == [(STUDY, False), (OTHER_STUDY, True)]


@pytest.mark.parametrize("study", [STUDY, OTHER_STUDY])
def test_object_that_claims_a_held_sop_instance_takes_its_place_until_undone(database, study):
    """Assigned to the same study, or to the one that it names: a version like others, and back."""
    arrive(database, HELD)
    conflicting = dataclasses.replace(HELD, study=OTHER_STUDY, data=b"other", concepts=("mass",))
    [receipt] = record_arrivals(database, [conflicting.record])
    [found] = read_quarantine(database, 10)
    assert (found.reason_code, found.held_study_instance_uid) == ("study_conflict", STUDY)
    assert concepts(database, STUDY) == [(1, "pulmonary_nodule")]
    assign_study(database, HELD.uid, study)
    queue.save_processed(database, [conflicting.processed(receipt.object_id)])
    assert concepts(database, study) == [(2, "mass")]
    if study != STUDY:
        assert concepts(database, STUDY) == []
    undo_assignment(database, HELD.uid)
    assert concepts(database, STUDY) == [(1, "pulmonary_nodule")]
    [report] = queries.reports_of_instance(database, HELD.uid)
    assert (report.version, report.state, report.is_current) == (1, State.ANALYSED, True)


def test_undoing_lets_stand_what_the_object_had_superseded(database):
    """A final report that was assigned to the wrong study."""
    arrive(database, Document(5, preliminary_flag="PRELIMINARY", concepts=("mass",)))
    final = dataclasses.replace(HOMELESS, preliminary_flag="FINAL")
    [receipt] = record_arrivals(database, [final.record])
    assign_study(database, final.uid, STUDY)
    queue.save_processed(database, [final.processed(receipt.object_id)])
    assert concepts(database, STUDY) == [(1, "pulmonary_nodule")]
    undo_assignment(database, final.uid)
    assert concepts(database, STUDY) == [(1, "mass")]


def test_what_can_not_be_assigned_is_told(database):
    """Not in quarantine, not held, no UID; nothing assigned to undo."""
    arrive(database, HELD)
    for uid in (HELD.uid, "1.2.3"):
        with pytest.raises(NotFoundError):
            assign_study(database, uid, STUDY)
        with pytest.raises(NotFoundError):
            undo_assignment(database, uid)
    with pytest.raises(UsageError):
        assign_study(database, HELD.uid, "Doe^John")
