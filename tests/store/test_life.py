"""The life of a report in the database: whatever the order of arrival, the same prevails."""

import dataclasses
import itertools

import pytest
import sqlalchemy as sa
from support.lives import ADDENDUM, REJECTED_FOR_QUALITY, Document, arrive
from support.records import STUDY, instance_uid

from dicomnlp.errors import NotFoundError
from dicomnlp.store import queries, queue
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.schema import sop_instance

OTHER_STUDY = "1.2.826.0.1.3680043.10.1511.1.2"
THIRD_STUDY = "1.2.826.0.1.3680043.10.1511.1.3"

PRELIMINARY = Document(1, preliminary_flag="PRELIMINARY", concepts=("pneumothorax",))
FINAL = Document(2, preliminary_flag="FINAL", concepts=("pulmonary_nodule",))
ADDED = Document(3, title=ADDENDUM, predecessors=(2,), concepts=("rib_fracture",))
REJECTED = Document(4, concepts=("cardiomegaly",))
NOTE = Document(5, title=REJECTED_FOR_QUALITY, rejects=(4,))
NOTE_ON_FINAL = Document(6, title=REJECTED_FOR_QUALITY, rejects=(2,))


def current(database, study=STUDY):
    """(number of the report, concept) of all current findings."""
    found = queries.findings_of_study(database, study)
    return sorted((int(f.sop_instance_uid.rpartition(".")[2]), f.finding.concept.id) for f in found)


def standings(database, study=STUDY):
    """Number -> (status, by what, why) of the reports of a study and its notes."""
    reports = queries.reports_of_study(database, study, all_versions=True)
    return {
        int(r.sop_instance_uid.rpartition(".")[2]): (
            r.standing.status.value,
            r.standing.superseded_by and int(r.standing.superseded_by.rpartition(".")[2]),
            r.standing.reason_code,
        )
        for r in reports
    }


@pytest.fixture
def empty(database):
    """A function that empties the database: quicker than a new one for each order."""

    def do():
        with database.write() as connection:
            connection.execute(sa.delete(sop_instance))
        return database

    return do


@pytest.mark.parametrize(
    ("chain", "found", "stands"),
    [
        (
            # the final report is rejected: the preliminary one is what is left, and the addendum was not rejected
            (PRELIMINARY, FINAL, ADDED, NOTE_ON_FINAL),
            [(1, "pneumothorax"), (3, "rib_fracture")],
            {1: ("prevailing", None, None), 2: ("withdrawn", 6, "rejected_for_quality_reasons")},
        ),
    ],
)
def test_chain_ends_the_same_in_all_24_orders(empty, chain, found, stands):
    """Preliminary, final, addendum, rejection note: the same current findings and the same standings."""
    for order in itertools.permutations(chain):
        database = empty()
        arrive(database, *order)
        assert current(database) == found, [d.number for d in order]
        told = standings(database)
        assert {n: told[n] for n in stands} == stands, [d.number for d in order]
        assert len(told) == 4


CHEST = "Infiltrate in the right lower lobe with a small effusion."
ABDOMEN = "Gallstones without cholecystitis, pancreas unremarkable."


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_draft_of_another_procedure_is_not_superseded(empty, order):
    """Two drafts under one accession number and title, and the final of one: told apart by their words."""
    documents = (
        dataclasses.replace(PRELIMINARY, text=CHEST),
        Document(7, preliminary_flag="PRELIMINARY", concepts=("cholelithiasis",), text=ABDOMEN),
        dataclasses.replace(FINAL, text=CHEST),
    )
    database = empty()
    arrive(database, *(documents[i] for i in order))
    assert current(database) == [(2, "pulmonary_nodule"), (7, "cholelithiasis")]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_rejected_rejection_gives_the_report_back(empty, order):
    """The note was wrong, and another note says so."""
    documents = (FINAL, NOTE_ON_FINAL, Document(7, title=REJECTED_FOR_QUALITY, rejects=(6,)))
    database = empty()
    arrive(database, *(documents[i] for i in order))
    assert current(database) == [(2, "pulmonary_nodule")]
    assert standings(database)[6] == ("withdrawn", 7, "rejected_for_quality_reasons")


def test_note_whose_new_version_names_another_report_gives_the_first_back(database):
    """Other bytes under the note's UID: what counts is what they say."""
    arrive(database, FINAL, REJECTED, NOTE_ON_FINAL)
    assert current(database) == [(4, "cardiomegaly")]
    arrive(database, dataclasses.replace(NOTE_ON_FINAL, rejects=(4,), data=b"another"))
    assert current(database) == [(2, "pulmonary_nodule")]


def test_chain_that_comes_at_once_ends_the_same(database):
    """In one transaction each for arrival and analysis."""
    chain = (ADDED, NOTE_ON_FINAL, FINAL, PRELIMINARY)
    receipts = record_arrivals(database, [d.record for d in chain])
    queue.save_processed(database, [d.processed(r.object_id) for d, r in zip(chain, receipts, strict=True)])
    assert current(database) == [(1, "pneumothorax"), (3, "rib_fracture")]


def test_analysing_again_changes_nothing(database):
    """By the same pipeline and by another, in any order."""
    chain = (PRELIMINARY, FINAL, ADDED, NOTE_ON_FINAL)
    ids = arrive(database, *chain)
    expected = standings(database)
    for pipeline in ("en-1", "en-2"):
        for document, object_id in reversed(list(zip(chain, ids, strict=True))):
            queue.save_processed(database, [document.processed(object_id, pipeline)])
            assert current(database) == [(1, "pneumothorax"), (3, "rib_fracture")]
            assert standings(database) == expected


def test_superseded_report_is_kept_and_told(database):
    """Of the study only what prevails; with all versions everything; by its own UID always."""
    arrive(database, PRELIMINARY, FINAL)
    assert [r.sop_instance_uid for r in queries.reports_of_study(database, STUDY)] == [FINAL.uid]
    [report] = queries.reports_of_instance(database, PRELIMINARY.uid)
    assert not report.is_current
    assert report.to_json()["status"] == "superseded"
    assert report.to_json()["superseded_by"] == FINAL.uid
    assert report.to_json()["status_reason"] == "finalised"
    every = queries.findings_of_study(database, STUDY, all_versions=True)
    assert [(f.to_json()["status"], f.to_json()["superseded_by"]) for f in every] == [
        ("superseded", FINAL.uid),
        ("prevailing", None),
    ]
    assert [f.finding.concept.id for f in queries.findings_of_instance(database, PRELIMINARY.uid)] == ["pneumothorax"]


def test_new_version_of_a_final_report_keeps_the_preliminary_superseded_meanwhile(database):
    """While the new bytes wait for analysis neither the old final's findings nor the preliminary's are current."""
    arrive(database, PRELIMINARY, FINAL)
    corrected = dataclasses.replace(FINAL, data=b"corrected", concepts=("mass",))
    [receipt] = record_arrivals(database, [corrected.record])
    arrive(database, Document(9, study=OTHER_STUDY), ADDED)
    assert current(database) == [(3, "rib_fracture")]
    queue.save_processed(database, [corrected.processed(receipt.object_id)])
    assert current(database) == [(2, "mass"), (3, "rib_fracture")]
    old, new = queries.reports_of_instance(database, FINAL.uid, all_versions=True)
    assert (old.standing.status, old.standing.reason_code) == ("superseded", "new_version")
    assert new.is_current


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ADDENDUM: A rib fracture.", [(1, "pulmonary_nodule"), (2, "rib_fracture")]),
        # the whole report again with the addendum below it: counted beside the first, each finding would be there twice
        ("FINDINGS: A nodule,  right.\nADDENDUM: A rib fracture.", [(2, "rib_fracture")]),
    ],
)
def test_addendum_stands_beside_its_report_unless_it_repeats_it(database, text, found):
    """Whatever spaces and line ends differ."""
    first = Document(1, text="Findings: a nodule, right.")
    second = Document(2, predecessors=(1,), text=text, addendum_section=True, concepts=("rib_fracture",))
    arrive(database, second, first)
    assert current(database) == found


def test_report_belongs_to_the_studies_of_its_evidence_and_requests_but_not_to_those_compared_with(database):
    """And says so itself; a study that is only compared with is not held."""
    evidence = ((OTHER_STUDY, "current"), (OTHER_STUDY, "pertinent"), (THIRD_STUDY, "pertinent"), ("1.2.99", "request"))
    arrive(database, Document(1, evidence=evidence))
    for study in (STUDY, OTHER_STUDY, "1.2.99"):
        assert current(database, study) == [(1, "pulmonary_nodule")]
        [report] = queries.reports_of_study(database, study)
        assert report.study_instance_uid == STUDY
    with pytest.raises(NotFoundError):
        queries.findings_of_study(database, THIRD_STUDY)
    expected = [
        {"study_instance_uid": STUDY, "kind": "own"},
        {"study_instance_uid": OTHER_STUDY, "kind": "evidence"},
        {"study_instance_uid": "1.2.99", "kind": "request"},
        {"study_instance_uid": THIRD_STUDY, "kind": "comparison"},
    ]
    assert report.to_json()["studies"] == expected
    [finding] = queries.findings_of_study(database, OTHER_STUDY)
    assert finding.to_json()["studies"] == expected


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_study_is_also_found_by_the_accession_number_of_a_request(empty, order):
    """Of the same patient only, whichever of the two comes first."""
    database = empty()
    of_request = Document(1, accession_numbers=("A-1", "A-2"))
    other = Document(2, study=OTHER_STUDY, accession_number="A-2", concepts=("mass",))
    stranger = Document(3, study=THIRD_STUDY, accession_number="A-2", patient_id="T-2", concepts=("mass",))
    arrive(database, *((of_request, other)[i] for i in order), stranger)
    assert current(database, OTHER_STUDY) == [(1, "pulmonary_nodule"), (2, "mass")]
    assert current(database, THIRD_STUDY) == [(3, "mass")]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_identical_documents_are_one_in_all_their_studies(empty, order):
    """One set of findings, found from each study, once where the evidence names both; the last copy wins nothing."""
    database = empty()
    evidence = ((STUDY, "current"), (OTHER_STUDY, "current"))
    copies = (
        Document(1, identical_documents=(2,), evidence=evidence),
        Document(2, study=OTHER_STUDY, identical_documents=(1, 3), evidence=evidence),
        Document(3, study=THIRD_STUDY),  # named by another, says nothing itself
    )
    arrive(database, *(copies[i] for i in order))
    for study in (STUDY, OTHER_STUDY, THIRD_STUDY):
        assert current(database, study) == [(1, "pulmonary_nodule")]
    [report] = queries.reports_of_study(database, THIRD_STUDY)
    assert [(s.study_instance_uid, s.kind) for s in report.studies] == [
        (STUDY, "own"),
        (OTHER_STUDY, "evidence"),
        (THIRD_STUDY, "identical"),
    ]
    assert standings(database, THIRD_STUDY)[3] == ("identical", 1, "identical_document")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_amending_one_copy_amends_all(empty, order):
    """The amendment names one of two identical documents as its predecessor."""
    database = empty()
    documents = (
        Document(1, identical_documents=(2,)),
        Document(2, study=OTHER_STUDY, identical_documents=(1,)),
        Document(3, predecessors=(1,), evidence=((OTHER_STUDY, "current"),), concepts=("mass",)),
    )
    arrive(database, *(documents[i] for i in order))
    assert current(database) == current(database, OTHER_STUDY) == [(3, "mass")]


SAME = Document(1, text="Nodule.", content_date="20261122", content_time="0810", verification_flag="UNVERIFIED")


@pytest.mark.parametrize(
    ("other", "counted"),
    [
        ({"verification_flag": "VERIFIED"}, [2]),  # the verified copy of an unverified one stands for both
        ({"text": " Nodule.\n"}, [1]),
        ({"content_time": "0811"}, [1, 2]),  # two reports that say "normal" of two examinations
        ({"content_time": ""}, [1, 2]),
        ({"patient_id": "T-2"}, [1, 2]),
        ({"text": "A nodule."}, [1, 2]),
        ({"study": OTHER_STUDY}, [1]),
    ],
)
def test_copies_that_do_not_say_so_are_counted_once(database, other, counted):
    """Same study, patient, moment and content under two SOP Instance UIDs."""
    arrive(database, SAME, dataclasses.replace(SAME, number=2, **other))
    assert [n for n, _ in current(database)] == counted


def test_rejection_note_waits_for_what_it_rejects(database):
    """Row 57: unknown when the note comes, withdrawn when it comes itself; other objects named are of no account."""
    note = Document(5, title=REJECTED_FOR_QUALITY, rejects=(4, 77))
    arrive(database, note)
    assert current(database) == []
    arrive(database, REJECTED)
    assert current(database) == []
    assert standings(database)[4] == ("withdrawn", 5, "rejected_for_quality_reasons")
    [report] = queries.reports_of_instance(database, REJECTED.uid)
    assert report.analysis is not None


def test_reports_of_one_study_that_have_nothing_to_do_with_each_other_all_prevail(database):
    """Two final reports, and one that says nothing of its state."""
    arrive(database, FINAL, Document(7), Document(8, completion_flag="PARTIAL", verification_flag="UNVERIFIED"))
    assert [n for n, _ in current(database)] == [2, 7, 8]


def test_standings_are_the_same_after_opening_anew(ready_settings):
    """Nothing of it is in memory."""
    database = Database.open(ready_settings)
    arrive(database, PRELIMINARY)
    database.close()
    database = Database.open(ready_settings)
    arrive(database, FINAL)
    assert [f.sop_instance_uid for f in queries.findings_of_study(database, STUDY)] == [instance_uid(2)]
    database.close()
