"""`dicomnlp extract` for people: a document with headings, coded statements and warnings, and nothing that steers."""

import subprocess
import sys

import pydicom
import pytest
from support.service import make_report

from dicomnlp.cli import document
from dicomnlp.cli.context import out
from dicomnlp.model import (
    Code,
    CodedFinding,
    CodedMeasurement,
    Evidence,
    Identity,
    Narrative,
    Report,
    Section,
    SectionName,
    State,
    Temporality,
)

SITE = Code("363698007", "SCT", "Finding Site")
LIVER = Code("10200004", "SCT", "Liver")


def shown(report):
    """What is printed of it."""
    with out.capture() as captured:
        document.print_report(report, "report.dcm")
    return captured.get()


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setattr(out, "width", 160)


def test_a_report_reads_as_a_document():
    """Facts, text under its headings, findings, measurements, references and warnings, in this order."""
    report = Report(
        Identity(sop_instance_uid="1.2.3", study_instance_uid="1.2", patient_id="P1", content_date="20261122"),
        Narrative("Findings:\nNo effusion.", (Section(SectionName.FINDINGS, "Findings", 0, 22, 10),)),
        State.PENDING,
        title="CT Chest",
        completion_flag="COMPLETE",
        verification_flag="VERIFIED",
        accession_numbers=("A1", "A2"),
        coded_findings=(CodedFinding("1.1", Code("1", "99", "Finding"), LIVER, (), "fetus 2", "device"),),
        measurements=(
            CodedMeasurement(
                "1.2", Code("2", "99", "Length"), (12.3456789, 4.0), Code("mm", "UCUM", "millimeter"), None,
                ((SITE, LIVER),), temporality=Temporality.PRIOR,
            ),
            CodedMeasurement("1.3", Code("3", "99", "Ratio"), (), Code("1", "UCUM", "no units"), Code("4", "", "NaN")),
        ),
        evidence=(
            Evidence("1.2", "1.2.4", "", "1.2.5", "current"),
            Evidence("1.2", "1.2.4", "", "1.2.6", "current"),
            Evidence("1.9", "", "", "", "pertinent"),
        ),
        warnings=("missing_value_type at 1.4",),
    )  # fmt: skip
    text = shown(report)
    words = [
        "report.dcm", "title: CT Chest", "study: 1.2", "patient: P1", "date: 2026-11-22", "accession numbers: A1, A2",
        "COMPLETE VERIFIED", "ascii",
        "Findings:", "No effusion.", "Coded findings", "Liver", "fetus 2, by device",
        "Coded measurements", "12.3456789 x 4", "mm", "Finding Site: Liver", "prior", "NaN",
        "evidence in study 1.2: 2 objects", "comparison in study 1.9", "warning: missing_value_type at 1.4",
    ]  # fmt: skip
    places = [text.find(word) for word in words]
    assert -1 not in places, words[places.index(-1)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("state", "words"), [(State.NO_TEXT, "holds no narrative text"), (State.NEEDS_OCR, "made of images")]
)
def test_an_object_without_text_says_so(state, words):
    """Rather than printing nothing."""
    assert words in shown(Report(Identity(), Narrative(""), state))


def test_text_of_a_report_neither_steers_the_terminal_nor_is_markup():
    """Escape sequences are replaced, and square brackets are what they are, in the text and in tables."""
    hostile = "[/red] [bold]x\x1b[2Jy"
    code = Code("1", "99", hostile)
    text = shown(
        Report(
            Identity(), Narrative(hostile), State.PENDING, title=hostile,
            coded_findings=(CodedFinding("1.1", code, code, ((code, code),), hostile),),
            measurements=(CodedMeasurement("1.2", code, (1.0,), code),),
        )
    )  # fmt: skip
    assert "\x1b[2J" not in text
    assert text.count("[/red]") == 8


def test_a_stated_character_set_can_be_tried_on_a_file(tmp_path):
    """Before objects are reprocessed with it."""
    dataset = make_report(1, "FINDINGS: XXX.")
    dataset.pop("SpecificCharacterSet", None)
    file = tmp_path / "report.dcm"
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    file.write_bytes(file.read_bytes().replace(b"XXX", "żćł".encode("cp1250")))
    command = [sys.executable, "-m", "dicomnlp", "extract", str(file), "--character-set"]
    done = subprocess.run([*command, "cp1250"], capture_output=True, text=True, check=True)
    assert "FINDINGS: żćł." in done.stdout
    assert "cp1250, 1.00 sure" in done.stdout
    done = subprocess.run([*command, "klingon"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "neither a defined term" in done.stderr
