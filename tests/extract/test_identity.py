"""The quick look at an object's header."""

import time

import pytest

from dicomnlp.extract import extract, identity_of_damaged, read_identity


@pytest.mark.parametrize("syntax", ["EXPLICIT", "IMPLICIT", "BIG", "DEFLATED"])
def test_identity_is_what_the_header_says(sr, small_report, syntax):
    """In every transfer syntax, and the same as the full reading finds."""
    small_report.IssuerOfPatientID, small_report.PatientBirthDate, small_report.PatientSex = "H", "19500101", "F"
    small_report.InstitutionName, small_report.StudyDescription = "Städtisches Klinikum", "CT Thorax"
    uid = getattr(sr, syntax)
    data = sr.encode(small_report, uid)
    identity = read_identity(data, uid)
    assert identity.study_instance_uid == sr.STUDY
    assert identity.sop_class_uid == sr.BASIC_TEXT_SR
    assert identity.sop_instance_uid == small_report.SOPInstanceUID
    assert (identity.patient_id, identity.issuer_of_patient_id, identity.patient_sex) == ("P1", "H", "F")
    assert (identity.accession_number, identity.modality, identity.study_date) == ("A1", "SR", "20261101")
    assert identity.institution_name == "Städtisches Klinikum"
    assert identity == extract(sr.stored(data, uid)).identity


def test_missing_elements_are_empty(sr):
    """Nothing is invented, and nothing fails."""
    identity = read_identity(sr.element(0x00080016, "UI", b"1.2.3"), sr.EXPLICIT)
    assert identity.sop_class_uid == "1.2.3"
    assert identity.study_instance_uid == identity.patient_id == ""


def test_values_are_single_and_clean(sr):
    """Of several values the first counts; padding and control characters are no part of it."""
    data = sr.element(0x00080016, "UI", b"1.2.3") + sr.element(0x00080050, "SH", b" A1\\B2 ")
    data += sr.element(0x00100020, "LO", b"P\x001\r\n2")
    identity = read_identity(data, sr.EXPLICIT)
    assert (identity.accession_number, identity.patient_id) == ("A1", "P12")


def test_what_stands_before_the_damage_can_still_be_named(sr, small_report):
    """An error message may name the object by its UIDs."""
    data = sr.encode(small_report)[:-5]
    assert identity_of_damaged(data, sr.EXPLICIT).study_instance_uid == sr.STUDY
    assert identity_of_damaged(b"noise" * 50, sr.EXPLICIT).study_instance_uid == ""
    packed = sr.encode(small_report, sr.DEFLATED)[:-5]
    assert identity_of_damaged(packed, sr.DEFLATED).study_instance_uid == ""


def test_items_of_sequences_are_not_looked_at(sr):
    """The header of a report with 800 items costs no more than that of a small one."""
    report = sr.document([sr.item("TEXT", sr.FINDING, "No effusion.") for _ in range(800)])
    data = sr.encode(report)
    start = time.process_time()
    for _ in range(20):
        read_identity(data, sr.EXPLICIT)
    assert (time.process_time() - start) / 20 < 0.005
