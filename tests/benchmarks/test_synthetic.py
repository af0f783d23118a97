"""Synthetic reports: the same each time, readable, repetitive as real ones are, and about something."""

import collections
import importlib.util
import sys
from pathlib import Path

import pytest

from dicomnlp.extract import extract
from dicomnlp.model import StoredObject
from dicomnlp.work.process import process

FILE = Path(__file__).resolve().parents[2] / "benchmarks/synthetic.py"


@pytest.fixture(scope="module")
def synthetic():
    """The generator's module."""
    spec = importlib.util.spec_from_file_location("synthetic", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["synthetic"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["synthetic"]


@pytest.fixture(scope="module")
def reports(synthetic):
    """Three hundred of them."""
    generator = synthetic.Generator(3)
    return [generator.report(number) for number in range(300)]


def stored(synthetic, report):
    """A report as workers get it."""
    arrival = report.arrival()
    return StoredObject(
        report.number,
        report.sop_instance_uid,
        arrival.sop_class_uid,
        arrival.transfer_syntax_uid,
        arrival.data,
    )


def test_report_is_a_function_of_number_and_seed(synthetic, reports):
    """Byte for byte, whichever were made before; and another one for another seed."""
    assert synthetic.Generator(3).report(271).data_set() == reports[271].data_set()
    assert synthetic.Generator(4).report(271).text != reports[271].text


def test_objects_are_read_as_the_text_they_were_made_of(synthetic, reports):
    """In both languages, section by section, without a warning."""
    for report in reports[:100]:
        read = extract(stored(synthetic, report))
        assert read.warnings == ()
        assert read.identity.study_instance_uid == report.study_instance_uid
        position = 0
        for _, _, text in report.sections:
            position = read.narrative.text.index(text, position)


def test_files_are_dicom_files_that_pydicom_reads(synthetic, reports, tmp_path):
    """With file meta information, and nothing but explicit VR little endian."""
    from pydicom import config, dcmread

    for report in (reports[0], next(r for r in reports if r.language == "zh")):
        synthetic.write_file(report, tmp_path / "one.dcm")
        with config.strict_reading():
            data_set = dcmread(tmp_path / "one.dcm")
        assert [item.TextValue for item in data_set.ContentSequence] == [text for _, _, text in report.sections]
        assert data_set.file_meta.MediaStorageSOPInstanceUID == report.sop_instance_uid


def test_modalities_languages_and_shared_studies_all_occur(reports):
    """English and Chinese, six modalities; a second report is of its study's patient and day."""
    assert {r.language for r in reports} == {"en", "zh"}
    assert {r.modality for r in reports} >= {"DX", "CT", "MR", "MG", "US"}
    second = reports[7]
    assert second.study_instance_uid == reports[6].study_instance_uid
    assert (second.patient_number, second.date) == (reports[6].patient_number, reports[6].date)


def test_sentences_repeat_as_in_an_archive(reports):
    """More than half of all have been written before, and more than a fifth of the distinct ones only once."""
    seen = collections.Counter(s for r in reports for _, _, text in r.sections for s in text.split(". "))
    total = sum(seen.values())
    assert len(seen) < total / 2
    assert sum(count == 1 for count in seen.values()) > len(seen) / 5


def test_most_reports_have_findings_and_none_fails(synthetic, reports):
    """What the generator writes is what the pipeline reads."""
    results = process([stored(synthetic, r) for r in reports[:60]], ("gb18030",), "en")
    assert {r.reason_code for r in results} == {None}
    assert sum(bool(r.analysis.findings) for r in results) > 55
    assert {r.analysis.language for r in results} == {"en", "zh"}
