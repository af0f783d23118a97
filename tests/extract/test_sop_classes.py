"""Every SOP class that is taken: what of it is narrative, what is a coded measurement, and what has no words."""

import pytest

from dicomnlp.extract import extract
from dicomnlp.extract.narrative import MACHINE_SOP_CLASSES
from dicomnlp.model import State
from dicomnlp.receive.contexts import OTHER_REPORT_SOP_CLASSES, STRUCTURED_REPORT_SOP_CLASSES

WITH_PROSE = sorted(set(STRUCTURED_REPORT_SOP_CLASSES) - MACHINE_SOP_CLASSES)
OPHTHALMIC = ["1.2.840.10008.5.1.4.1.1.78.7", "1.2.840.10008.5.1.4.1.1.78.8", "1.2.840.10008.5.1.4.1.1.79.1"]
MODELS = [f"1.2.840.10008.5.1.4.1.1.104.{number}" for number in (3, 4, 5)]
LENGTH = ("410668003", "SCT", "Length")


def content(sr):
    """A heading with a text, a code and a number, and a comment."""
    items = [
        sr.item("TEXT", sr.FINDING, "No pneumothorax."),
        sr.item("CODE", sr.FINDING, ("36118008", "SCT", "Pneumothorax")),
        sr.item("NUM", LENGTH, "6", unit=("mm", "UCUM", "millimeter")),
    ]
    comment = sr.item("TEXT", ("121106", "DCM", "Comment"), "Repeated after motion.")
    return [sr.item("CONTAINER", sr.FINDINGS, children=items), comment]


@pytest.mark.parametrize("sop_class_uid", WITH_PROSE)
def test_classes_of_reports_give_their_text_codes_and_numbers(sr, sop_class_uid):
    """Whatever the class allows by the standard: what is there is read."""
    report = sr.read(sr.document(content(sr), sop_class_uid=sop_class_uid))
    assert report.state is State.PENDING
    assert "No pneumothorax." in report.narrative.text
    assert "Repeated after motion." in report.narrative.text
    assert [item.value_type for item in report.items] == ["CONTAINER", "CONTAINER", "TEXT", "CODE", "NUM", "TEXT"]
    assert [m.values for m in report.measurements] == [(6.0,)]
    assert report.identity.sop_class_uid == sop_class_uid


@pytest.mark.parametrize("sop_class_uid", sorted(MACHINE_SOP_CLASSES))
def test_classes_of_machines_give_their_numbers_and_comments(sr, sop_class_uid):
    """Dose, acquisition and agents: every item is listed, comments alone are narrative."""
    report = sr.read(sr.document(content(sr), sop_class_uid=sop_class_uid))
    assert "Repeated after motion." in report.narrative.text
    assert "No pneumothorax." not in report.narrative.text
    assert len(report.items) == 6
    assert [m.values for m in report.measurements] == [(6.0,)]
    without = sr.read(sr.document(content(sr)[:1], sop_class_uid=sop_class_uid))
    assert (without.state, without.narrative.text) == (State.NO_TEXT, "")


@pytest.mark.parametrize("sop_class_uid", OPHTHALMIC)
def test_ophthalmic_measurements_give_their_header(sr, small_report, sop_class_uid):
    """Their values stand in elements of their own rather than in a content tree: identity only, and no text."""
    small_report.SOPClassUID = sop_class_uid
    for keyword in ("ContentSequence", "ValueType", "ConceptNameCodeSequence", "ContinuityOfContent"):
        delattr(small_report, keyword)
    report = sr.read(small_report)
    assert (report.state, report.items, report.narrative.text) == (State.NO_TEXT, (), "")
    assert report.identity.study_instance_uid == sr.STUDY


@pytest.mark.parametrize("sop_class_uid", MODELS)
def test_models_give_their_header_and_title(sr, sop_class_uid):
    """A shape has no words; its study and its title are known."""
    data = sr.element(0x00080016, "UI", sop_class_uid.encode()) + sr.element(0x00080018, "UI", b"1.2.3")
    data += sr.element(0x0020000D, "UI", sr.STUDY.encode()) + sr.element(0x00420010, "ST", b"Hip")
    report = extract(sr.stored(data + sr.element(0x00420011, "OB", b"solid part\nendsolid")))
    assert (report.state, report.title, report.narrative.text) == (State.NO_TEXT, "Hip", "")


def test_no_class_that_is_taken_is_left_out_here():
    """PDF and CDA have a module of their own."""
    documents = {f"1.2.840.10008.5.1.4.1.1.104.{number}" for number in (1, 2)}
    assert documents | {*OPHTHALMIC, *MODELS} == set(OTHER_REPORT_SOP_CLASSES)
    assert set(WITH_PROSE) | MACHINE_SOP_CLASSES == set(STRUCTURED_REPORT_SOP_CLASSES)
