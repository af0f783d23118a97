"""What an ORU^R01 message reports: whose, of which study, and its words."""

import base64

import pytest
from support.hl7_messages import obr, obx, oru, pid, study_uid

from dicomnlp.extract.hl7 import parse_message
from dicomnlp.extract.hl7_report import read_report, reports_of
from dicomnlp.model import SectionName, State


def reports(*segments, **header):
    """The reports of a message of these segments."""
    return reports_of(parse_message(oru(*segments, **header).encode()))


def words(*segments):
    """The narrative of the only report, its state and warnings."""
    [report] = reports(pid(), *segments)
    warnings = []
    narrative, state = read_report(report, warnings)
    return narrative, state, warnings


def test_lines_of_observations_are_one_text_under_their_headings():
    """An empty one is an empty line; the suffix of the identifier says which part of the report it is."""
    narrative, state, warnings = words(
        obr(),
        obx(1, "Heart size is normal. No"),
        obx(2, "pneumothorax."),
        obx(3, ""),
        obx(4, "Small effusion.~Otherwise clear."),
        obx(5, "Effusion.", identifier="&IMP^Impression"),
        obx(6, "Follow-up in 3 months.", identifier="71020&REC^Recommendation"),
    )
    assert narrative.text == (
        "Findings:\nHeart size is normal. No\npneumothorax.\n\nSmall effusion.\nOtherwise clear.\n\n"
        "Impression:\nEffusion.\n\nRecommendation:\nFollow-up in 3 months."
    )
    assert [s.name for s in narrative.sections] == [
        SectionName.FINDINGS,
        SectionName.IMPRESSION,
        SectionName.RECOMMENDATION,
    ]
    assert {s.path for s in narrative.segments} >= {"OBX 1", "OBX 2", "OBX 4", "OBX 5", "OBX 6"}
    for segment in narrative.segments:
        assert narrative.text[segment.start : segment.end]
    assert (state, warnings) == (State.PENDING, [])


@pytest.mark.parametrize(
    ("identifier", "section"),
    [
        ("19005-8^Radiology Imaging study [Impression]^LN", SectionName.IMPRESSION),
        ("59776-5^Procedure findings^LN", SectionName.FINDINGS),
        ("X1^IMPRESSION^L", SectionName.IMPRESSION),
        ("IMP^影像诊断^L", SectionName.IMPRESSION),
        ("ADT^Addendum", SectionName.ADDENDUM),
        ("18748-4^Diagnostic imaging report^LN", None),  # the whole report: its own headings count
        ("71020^Chest radiograph^L", None),
    ],
)
def test_identifier_says_which_part_it_is(identifier, section):
    """By suffix, by LOINC code, or by words."""
    narrative, _, _ = words(obr(), obx(1, "Nodule.", identifier=identifier))
    assert [s.name for s in narrative.sections] == ([section] if section else [])


def test_a_heading_that_the_text_has_itself_is_not_written_twice():
    """As systems send them that split a text by its headings."""
    narrative, _, _ = words(obr(), obx(1, "IMPRESSION: Nodule.", identifier="&IMP^Impression"))
    assert narrative.text == "IMPRESSION: Nodule."
    assert narrative.sections[0].name is SectionName.IMPRESSION


@pytest.mark.parametrize("status", ["D", "W", "X", "N"])
def test_what_was_taken_back_is_not_read(status):
    """OBX-11: deleted, wrong, not to be had, not asked for."""
    narrative, _, _ = words(obr(), obx(1, "Pneumothorax.", status=status), obx(2, "Normal."))
    assert narrative.text == "Findings:\nNormal."


def test_a_document_is_read_where_there_is_no_text():
    """Base64 of a plain text, and of HTML; one in a wrong encoding is told."""
    encoded = base64.b64encode(b"Kein Pneumothorax.").decode()
    narrative, state, _ = words(obr(), f"OBX|1|ED|a||RIS^TEXT^PLAIN^Base64^{encoded}||||||F")
    assert (narrative.text, state) == ("Kein Pneumothorax.", State.PENDING)
    html = base64.b64encode(b"<html><body><p>No <b>pneumothorax</b>.</p></body></html>").decode()
    narrative, _, _ = words(obr(), f"OBX|1|ED|a||RIS^Application^HTML^Base64^{html}||||||F")
    assert narrative.text == "No pneumothorax."
    narrative, state, warnings = words(obr(), "OBX|1|ED|a||RIS^Application^PDF^Base64^%%%||||||F")
    assert (narrative.text, state, warnings) == ("", State.NO_TEXT, ["hl7_bad_encoding"])


def test_a_document_beside_text_is_not_read():
    """Many systems send the same words as text and as PDF: each finding would count twice."""
    encoded = base64.b64encode(b"Pneumothorax.").decode()
    narrative, _, _ = words(obr(), obx(1, "Pneumothorax."), f"OBX|2|ED|a||RIS^TEXT^PLAIN^Base64^{encoded}||||||F")
    assert narrative.text.count("Pneumothorax") == 1


def test_notes_are_read_where_there_is_nothing_else():
    """And not beside observations, where they are remarks."""
    narrative, _, _ = words(obr(), "NTE|1||No pneumothorax.")
    assert narrative.text == "No pneumothorax."
    narrative, _, _ = words(obr(), obx(1, "Normal."), "NTE|1||Called the ward.")
    assert narrative.text == "Findings:\nNormal."


def test_what_is_not_read_is_told():
    """References and coded values."""
    _, state, warnings = words(obr(), "OBX|1|RP|a||http://ris/1.pdf||||||F", "OBX|2|CWE|a||R91.1^Nodule^I10||||||F")
    assert (state, warnings) == (State.NO_TEXT, ["hl7_reference_not_read", "hl7_coded_not_read"])


def test_each_order_with_words_is_a_report_and_one_without_shares_it():
    """Two examinations read together, and a third one by itself."""
    found = reports(
        pid(),
        "ORC|RE|PL1",
        obr(1, filler="F1", accession="A1"),
        obx(1, "Chest and abdomen are normal."),
        "ORC|RE|PL2",
        obr(2, filler="F2", accession="A2"),
        "ORC|RE|PL3",
        obr(3, filler="F3", accession="A3", status="P"),
        obx(1, "Nodule."),
    )
    assert [r.accession_numbers() for r in found] == [("A1", "A2"), ("A3",)]
    assert [(r.number, r.status, r.is_preliminary) for r in found] == [(1, "F", False), (2, "P", True)]


def test_an_order_before_its_words_belongs_to_them():
    """And several patients of one message stay apart."""
    found = reports(
        pid("P1"), obr(1, accession="A1"), obr(2, accession="A2"), obx(1, "Normal."),
        pid("P2"), obr(1, accession="B1"), obx(1, "Nodule."),
    )  # fmt: skip
    assert [r.accession_numbers() for r in found] == [("A1", "A2"), ("B1",)]
    assert [r.orders[0].patient.component(3) for r in found] == ["P1", "P2"]


def test_orders_without_words_are_one_report_without_any():
    """A cancelled order."""
    [report] = reports(pid(), obr(status="X"))
    assert report.status == "X"
    assert read_report(report, []) == (read_report(report, [])[0], State.NO_TEXT)
    assert read_report(report, [])[0].text == ""


@pytest.mark.parametrize(
    ("segments", "uid"),
    [
        ([obr(), study_uid(1, "1.2.3")], "1.2.3"),
        ([obr(), "OBX|1|ST|0020000D^Study Instance UID^DICOM||1.2.4||||||F"], "1.2.4"),
        ([obr(), "OBX|1|ST|StudyInstanceUID||1.2.5||||||F"], "1.2.5"),
        ([obr(), "ZDS|1.2.6^RIS^Application^DICOM"], "1.2.6"),
        (["IPC|A1|RP1|1.2.7|SPS1", obr()], ""),  # of no order yet
        ([obr(), "IPC|A1|RP1|1.2.7|SPS1"], "1.2.7"),
        ([obr(), study_uid(1, "../../etc")], ""),
        ([obr()], ""),
    ],
)
def test_study_instance_uid(segments, uid):
    """Where systems put it; only a UID is one."""
    [report] = reports(pid(), *segments)
    assert report.study_instance_uid == uid


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        (("OBR-18", "OBR-3"), ("A1",)),
        (("OBR-3",), ("F1",)),
        (("OBR-2.1",), ("PLF1",)),
        (("ZAC-1", "OBR-18"), ("A1",)),
        (("ZAC-1",), ()),
    ],
)
def test_accession_number_is_looked_for_where_the_site_says(fields, numbers):
    """The first field that holds one."""
    [report] = reports(pid(), obr(), obx(1, "Normal."))
    assert report.accession_numbers(fields) == numbers


def test_an_addendum_by_itself_is_known():
    """All its words are called one."""
    [report] = reports(pid(), obr(), obx(1, "The nodule is larger.", identifier="&ADT^Addendum"))
    assert report.is_addendum
    [report] = reports(pid(), obr(), obx(1, "Nodule."), obx(2, "It is larger.", identifier="&ADT^Addendum"))
    assert not report.is_addendum
