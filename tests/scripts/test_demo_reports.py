"""The demonstration's hundred studies: always the same, in two languages, with all that pages are to show."""

from collections import Counter
from types import ModuleType

import pytest
from pydicom.filewriter import dcmwrite

from dicomnlp.model import is_uid


@pytest.fixture(scope="module")
def reports(demo_reports: ModuleType) -> dict:
    """As written."""
    return demo_reports.read_reports()


def test_there_are_a_hundred_studies_in_two_languages(reports: dict) -> None:
    """About sixty in English and forty in Chinese, of several modalities."""
    languages = {sample["study"]: sample.get("language", "en")[:2] for sample in reports.values()}
    assert Counter(languages.values()) == {"en": 60, "zh": 40}
    assert {sample["modality"] for sample in reports.values()} >= {"CT", "DX", "MG", "MR", "US"}


def test_some_patients_come_again_and_reports_follow_each_other(reports: dict) -> None:
    """Priors by patient, comparisons with them, and in each language a preliminary report, a final and an addendum."""
    studies: dict[str, set[str]] = {}
    for sample in reports.values():
        studies.setdefault(sample["patient"]["id"], set()).add(sample["study"])
    assert sum(len(s) > 1 for s in studies.values()) >= 10
    for language in ("en", "zh"):
        own = {name: s for name, s in reports.items() if name.startswith(language)}
        assert sum("compared_with" in s for s in own.values()) >= 2
        (preliminary,) = [n for n, s in own.items() if s.get("preliminary_flag") == "PRELIMINARY"]
        (final,) = [n for n, s in own.items() if s.get("predecessor") == preliminary]
        (addendum,) = [n for n, s in own.items() if s.get("predecessor") == final]
        assert own[preliminary]["study"] == own[final]["study"] == own[addendum]["study"]


def test_nothing_is_left_to_be_filled_in(reports: dict) -> None:
    """No place of a template, and no sentence that begins in lower case."""
    for name, sample in reports.items():
        for item in sample["items"]:
            for part in item.get("items", []):
                assert not set(part.get("text", "")) & set("{}"), name
                assert not (name.startswith(("en_", "zh_")) and part["text"][0].islower()), name


def test_the_same_objects_come_out_each_time(demo_reports: ModuleType, tmp_path) -> None:
    """Byte for byte, so that sending them again is recognised as a repetition; each under a UID of its own."""
    made = [demo_reports.build_reports() for _ in range(2)]
    assert len({d.SOPInstanceUID for d in made[0].values()}) == len(made[0])
    for name in ("en_002", "zh_002"):
        written = []
        for number, objects in enumerate(made):
            path = tmp_path / f"{name}-{number}.dcm"
            dcmwrite(path, objects[name], enforce_file_format=True)
            written.append(path.read_bytes())
        assert written[0] == written[1]


def test_faults_are_what_they_are_called(demo_reports: ModuleType) -> None:
    """Of one the UID is none, one has no study, of one the document is cut off; all are of nobody else."""
    faults = demo_reports.build_faults()
    assert not is_uid(faults["refused"].SOPInstanceUID)
    assert "StudyInstanceUID" not in faults["quarantined"]
    assert faults["failed"].EncapsulatedDocument.startswith(b"<ClinicalDocument")
    assert {f.PatientID for f in faults.values()} == {"DEMO-9999"}
    assert len({f.SOPInstanceUID for f in faults.values()}) == 3
