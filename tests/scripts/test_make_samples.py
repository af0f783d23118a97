"""The sample reports are sound SR objects: what a strict reader asks of one, they have."""

import io
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset
from pydicom.sr._concepts_dict import concepts

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
KNOWN_CODES = {(scheme, code) for scheme, entries in concepts.items() for entry in entries.values() for code in entry}
NOT_IN_PYDICOM = {
    # headings retired in 2018 that systems still send
    *(("DCM", f"1210{n}") for n in (60, 62, 64, 70, 72, 74, 76)),
    ("DCM", "121109"),
    ("DCM", "121110"),
    ("RFC5646", "en"),
    # UCUM writes units of counts in braces; context group 3083 has this one for heart rates
    ("UCUM", "{H.B.}/min"),
}
# Type 1 and 2 attributes of the Patient, General Study, SR Document Series, General Equipment, SR Document General,
# SR Document Content and SOP Common modules (PS3.3 A.35.1)
WITH_VALUE = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "Modality",
    "InstanceNumber",
    "CompletionFlag",
    "VerificationFlag",
    "PreliminaryFlag",
    "ContentDate",
    "ContentTime",
    "ValueType",
    "ConceptNameCodeSequence",
    "ContinuityOfContent",
    "ContentSequence",
    "SpecificCharacterSet",
]
MAYBE_EMPTY = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "Manufacturer",
    "PerformedProcedureCodeSequence",
    "ReferencedPerformedProcedureStepSequence",
]


@pytest.fixture(scope="module")
def files(make_samples: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The samples on disk."""
    return make_samples.write_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def objects(files: list[Path]) -> list[FileDataset]:
    """The samples as read back from disk, not as they were built."""
    return [pydicom.dcmread(path) for path in files]


def walk(dataset: Dataset) -> Iterator[Dataset]:
    """Every content item, the root first."""
    yield dataset
    for child in dataset.get("ContentSequence", []):
        yield from walk(child)


def test_there_are_enough_samples_of_many_modalities_and_styles(
    make_samples: ModuleType, objects: list[FileDataset]
) -> None:
    """What the demonstration promises: reports of many modalities in all three SR classes and both encodings."""
    modalities = {sample["modality"] for sample in make_samples.read_samples().values()}
    assert len(objects) >= 14
    assert modalities >= {"CR", "DX", "CT", "MR", "US", "MG", "NM", "PT", "RF"}
    assert {o.SOPClassUID for o in objects} == {
        uid.BasicTextSRStorage,
        uid.EnhancedSRStorage,
        uid.ComprehensiveSRStorage,
    }
    assert {o.file_meta.TransferSyntaxUID for o in objects} == {uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian}
    assert {o.PreliminaryFlag for o in objects} == {"PRELIMINARY", "FINAL"}
    assert "CONTINUOUS" in {item.get("ContinuityOfContent") for o in objects for item in walk(o)}


def test_required_attributes_are_there(objects: list[FileDataset]) -> None:
    """Type 1 attributes have a value, type 2 attributes are present."""
    for dataset in objects:
        assert [keyword for keyword in WITH_VALUE if not dataset.get(keyword)] == []
        assert [keyword for keyword in MAYBE_EMPTY if keyword not in dataset] == []


def test_verified_documents_name_who_verified_them(objects: list[FileDataset]) -> None:
    """Verifying Observer Sequence is there exactly when the document is verified, and only complete ones are."""
    for dataset in objects:
        verified = dataset.VerificationFlag == "VERIFIED"
        assert verified == ("VerifyingObserverSequence" in dataset)
        assert verified <= (dataset.CompletionFlag == "COMPLETE")


def test_every_item_is_whole(objects: list[FileDataset]) -> None:
    """Each content item has a relationship, one concept name, and the value that its value type asks for."""
    values = {
        "TEXT": "TextValue",
        "NUM": "MeasuredValueSequence",
        "CODE": "ConceptCodeSequence",
        "PNAME": "PersonName",
        "CONTAINER": "ContentSequence",
    }
    for dataset in objects:
        for item in walk(dataset):
            assert item is dataset or item.RelationshipType in {"CONTAINS", "HAS CONCEPT MOD", "HAS OBS CONTEXT"}
            assert len(item.ConceptNameCodeSequence) == 1
            assert item[values[item.ValueType]].value


def test_every_code_is_one_that_the_standard_knows(objects: list[FileDataset]) -> None:
    """Codes are facts: each is in pydicom's tables of PS3.16, or in the short list of those that are left out there."""
    used = set()
    for dataset in objects:
        for element in dataset.iterall():
            if element.keyword.endswith("CodeSequence"):
                for entry in element.value:
                    assert 0 < len(entry.CodeValue) <= 16
                    assert 0 < len(entry.CodeMeaning) <= 64
                    used.add((entry.CodingSchemeDesignator, entry.CodeValue))
    assert used - KNOWN_CODES - NOT_IN_PYDICOM == set()


def test_basic_text_objects_have_no_numbers(objects: list[FileDataset]) -> None:
    """NUM items are allowed from Enhanced SR on only (PS3.3 table A.35.1-2)."""
    for dataset in objects:
        if dataset.SOPClassUID == uid.BasicTextSRStorage:
            assert "NUM" not in {item.ValueType for item in walk(dataset)}


def test_every_report_is_as_long_as_a_dictated_one(objects: list[FileDataset]) -> None:
    """Between 6 and 30 sentences: no toy, no book."""
    for dataset in objects:
        text = " ".join(item.TextValue for item in walk(dataset) if item.ValueType == "TEXT")
        without_numbering = re.sub(r"(?:^|\s)[0-9][.] ", " ", text)
        sentences = re.findall(r"[A-Za-z0-9)][.?](?=\s|$)", without_numbering)
        assert 6 <= len(sentences) <= 30, dataset.StudyDescription


def test_patients_are_plainly_invented(objects: list[FileDataset]) -> None:
    """No name or identifier could be taken for somebody's."""
    for dataset in objects:
        assert str(dataset.PatientName).startswith("DEMO^")
        assert dataset.PatientID.startswith("DEMO-")
        assert dataset.AccessionNumber.startswith("DEMO-")


def test_identifiers_are_unique_and_reports_of_a_study_agree(objects: list[FileDataset]) -> None:
    """Each report its own instance and series; same study, same patient and order; one study has two reports."""
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert max(Counter(o[keyword].value for o in objects).values()) == 1
    of_study: dict[str, set[tuple[str, ...]]] = {}
    for o in objects:
        assert uid.UID(o.SOPInstanceUID).is_valid
        of_study.setdefault(o.StudyInstanceUID, set()).add((o.PatientID, str(o.PatientName), o.AccessionNumber))
    assert all(len(same) == 1 for same in of_study.values())
    assert sorted(Counter(o.StudyInstanceUID for o in objects).values())[-2:] == [1, 2]
    of_patient = {(o.PatientID, str(o.PatientName), o.PatientBirthDate, o.PatientSex) for o in objects}
    assert len(of_patient) == len({o.PatientID for o in objects})


def test_addendum_names_the_report_it_continues(make_samples: ModuleType, objects: list[FileDataset]) -> None:
    """The predecessor is another sample, of the same study, and is named by its real place."""
    by_instance = {o.SOPInstanceUID: o for o in objects}
    found = 0
    for o in objects:
        for study in o.get("PredecessorDocumentsSequence", []):
            series = study.ReferencedSeriesSequence[0]
            predecessor = by_instance[series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID]
            assert predecessor.StudyInstanceUID == study.StudyInstanceUID == o.StudyInstanceUID
            assert predecessor.SeriesInstanceUID == series.SeriesInstanceUID
            assert predecessor.SOPClassUID == series.ReferencedSOPSequence[0].ReferencedSOPClassUID
            found += 1
    assert found == 1


def test_the_same_samples_give_the_same_bytes(make_samples: ModuleType, files: list[Path], tmp_path: Path) -> None:
    """A second run in a fresh process writes identical files: sent again, nothing changes at the receiver."""
    done = subprocess.run(
        [sys.executable, SCRIPTS / "make_samples.py", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {p.name: p.read_bytes() for p in files}


def test_bytes_do_not_name_the_version_of_a_library(files: list[Path]) -> None:
    """What pydicom would put into the meta information changes with its version, and the bytes with it."""
    for path in files:
        assert b"PYDICOM" not in path.read_bytes()


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="needs DCMTK's dsrdump")
def test_a_strict_reader_accepts_every_sample(files: list[Path]) -> None:
    """DCMTK checks relationships and value types against the IOD; it must neither fail nor complain."""
    done = subprocess.run(["dsrdump", "+Pf", "+Pl", *files], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if line[:2] in {"E:", "W:"} and "VR checker" not in line]
    assert done.returncode == 0, done.stderr
    assert complaints == []


SOUND = """
sop_class = "BasicTextSRStorage"
title = "11528-7 LN Radiology Report"
study = "s"
study_date = "20260101"
study_time = "120000"
study_description = "CHEST"
accession_number = "DEMO-1"
modality = "DX"
patient = { name = "DEMO^X", id = "DEMO-1", birth_date = "19700101", sex = "O" }
items = [{ text = "No effusion.", concept = "121071 DCM Finding" }]
"""


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('study = "s"', "", "lacks study"),
        ('study = "s"', 'study = "s"\nstudies = "t"', "unknown keys: studies"),
        ('study = "s"', 'study = "s"\npredecessor = "b"', "predecessor names 'b'"),
        ('study = "s"', "study = s", "one.toml"),  # not TOML: the parser's own words follow
        ('"DX"', '"XX"', "modality must be one of"),
        ("BasicTextSRStorage", "CTImageStorage", "sop_class must be one of"),
        ("121071 DCM Finding", "121071", "value scheme meaning"),
        ('text = "No effusion.", ', "", "none of text, number, code, items"),
        ('text = "No effusion."', 'number = "1"', "lacks unit"),
        (', sex = "O"', "", "patient lacks sex"),
    ],
)
def test_a_malformed_sample_is_refused_by_name(
    make_samples: ModuleType, tmp_path: Path, before: str, after: str, message: str
) -> None:
    """The one who writes a sample is told which file and what in it."""
    assert before in SOUND
    (tmp_path / "one.toml").write_text(SOUND.replace(before, after), encoding="utf-8")
    with pytest.raises(make_samples.SampleError, match=re.escape(message)) as caught:
        make_samples.build_samples(tmp_path)
    assert "one" in str(caught.value)


def test_a_sound_sample_is_built(make_samples: ModuleType, tmp_path: Path) -> None:
    """The text of the table above is refused for what was changed, not for what it is."""
    (tmp_path / "one.toml").write_text(SOUND, encoding="utf-8")
    buffer = io.BytesIO()
    make_samples.build_samples(tmp_path)["one"].save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    assert pydicom.dcmread(buffer).ContentSequence[-1].TextValue == "No effusion."


def test_an_empty_folder_of_samples_is_an_error(make_samples: ModuleType, tmp_path: Path) -> None:
    """Nothing to send is not a demonstration."""
    with pytest.raises(make_samples.SampleError, match="no sample reports"):
        make_samples.build_samples(tmp_path)


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    """Exit code 1 and one line, no traceback."""
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, SCRIPTS / "make_samples.py", tmp_path / "file"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("make_samples: ")
    assert "Traceback" not in done.stderr
