"""Merging patients and undoing it."""

import pytest
from support.lives import Document, arrive
from support.records import STUDY

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.store import queries
from dicomnlp.store.merges import merge_patients, unmerge_patients
from dicomnlp.store.patients import current_patients, read_patient

OTHER_STUDY = "1.2.826.0.1.3680043.10.1511.1.2"


def test_patient_is_found_by_either_identifier_and_headers_stay(database):
    """Through a chain of merges; each with its record."""
    arrive(database, Document(1, patient_id="T-1"), Document(2, study=OTHER_STUDY, patient_id="T-2"))
    merge_patients(database, "T-1", "T-2")
    merge_patients(database, "T-2", "T-3")
    for asked in ("T-1", "T-2", "T-3"):
        found = read_patient(database, asked)
        assert (found.patient_id, found.other_patient_ids) == ("T-3", ("T-1", "T-2"))
        assert found.studies == (STUDY, OTHER_STUDY)
        assert [(m.old_patient_id, m.new_patient_id) for m in found.merges] == [("T-1", "T-2"), ("T-2", "T-3")]
    [report] = queries.reports_of_study(database, STUDY)
    assert report.report.identity.patient_id == "T-1"


def test_unmerge_restores_what_was(database):
    """And keeps the record, with both times."""
    arrive(database, Document(1, patient_id="T-1"), Document(2, study=OTHER_STUDY, patient_id="T-2"))
    merge_patients(database, "T-1", "T-2")
    unmerge_patients(database, "T-1", "T-2")
    found = read_patient(database, "T-1")
    assert (found.patient_id, found.other_patient_ids, found.studies) == ("T-1", (), (STUDY,))
    [merge] = found.merges
    assert merge.unmerged_at >= merge.merged_at
    merge_patients(database, "T-1", "T-2")
    assert len(read_patient(database, "T-1").merges) == 2


def test_merge_decides_what_is_one_report_and_unmerge_undoes_it(database):
    """The preliminary report came under the number of the emergency room, the final one under the patient's own."""
    arrive(
        database,
        Document(1, preliminary_flag="PRELIMINARY", patient_id="ER-1"),
        Document(2, preliminary_flag="FINAL", patient_id="T-1"),
    )

    def current():
        return [f.sop_instance_uid.rpartition(".")[2] for f in queries.findings_of_study(database, STUDY)]

    assert current() == ["1", "2"]
    merge_patients(database, "ER-1", "T-1")
    assert current() == ["2"]
    unmerge_patients(database, "ER-1", "T-1")
    assert current() == ["1", "2"]


def test_merge_links_the_study_of_a_request(database):
    """By accession number, once the patient is known to be the same."""
    arrive(
        database,
        Document(1, accession_numbers=("A-2",), patient_id="ER-1"),
        Document(2, study=OTHER_STUDY, accession_number="A-2", patient_id="T-1"),
    )
    assert len(queries.findings_of_study(database, OTHER_STUDY)) == 1
    merge_patients(database, "ER-1", "T-1")
    assert len(queries.findings_of_study(database, OTHER_STUDY)) == 2
    unmerge_patients(database, "ER-1", "T-1")
    assert len(queries.findings_of_study(database, OTHER_STUDY)) == 1


def test_issuer_is_part_of_the_identifier(database):
    """The same number of another issuer is another patient."""
    merge_patients(database, "T-1", "T-2", "HERE")
    with database.read() as connection:
        found = current_patients(connection, {("T-1", "HERE"), ("T-1", "THERE"), ("", "HERE")})
    assert found == {("T-1", "HERE"): ("T-2", "HERE"), ("T-1", "THERE"): ("T-1", "THERE"), ("", "HERE"): ("", "HERE")}


def test_merge_that_makes_no_sense_is_refused_without_a_name(database):
    """Rings, a second merge of the same, and what was never merged; the identifiers are not repeated."""
    merge_patients(database, "T-1", "T-2")
    merge_patients(database, "T-2", "T-3")
    for old, new in (("T-1", "T-9"), ("T-3", "T-1"), ("T-1", "T-1"), ("", "T-1"), ("T-1", "")):
        with pytest.raises(UsageError) as caught:
            merge_patients(database, old, new)
        assert "T-" not in str(caught.value)
    for old, new in (("T-1", "T-3"), ("T-2", "T-1"), ("T-8", "T-9")):
        with pytest.raises(NotFoundError) as missing:
            unmerge_patients(database, old, new)
        assert "T-" not in str(missing.value)
    with pytest.raises(NotFoundError):
        read_patient(database, "T-99")
