"""Makes the demonstration's DICOM files: real SR objects from the reports in ``samples/``.

    python scripts/make_samples.py FOLDER

The reports were written for this project; patients, identifiers and readers in them are invented. The same sample gives
the same bytes on every run and every machine, so sending it again is recognised as a repetition.
"""

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any

from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

SAMPLES = Path(__file__).resolve().parent / "samples"

IMAGE_STORAGE = {
    "CR": uid.ComputedRadiographyImageStorage,
    "CT": uid.CTImageStorage,
    "DX": uid.DigitalXRayImageStorageForPresentation,
    "MG": uid.DigitalMammographyXRayImageStorageForPresentation,
    "MR": uid.MRImageStorage,
    "NM": uid.NuclearMedicineImageStorage,
    "PT": uid.PositronEmissionTomographyImageStorage,
    "RF": uid.XRayRadiofluoroscopicImageStorage,
    "US": uid.UltrasoundImageStorage,
}
SOP_CLASSES = {
    "BasicTextSRStorage": uid.BasicTextSRStorage,
    "ComprehensiveSRStorage": uid.ComprehensiveSRStorage,
    "EnhancedSRStorage": uid.EnhancedSRStorage,
}
TRANSFER_SYNTAXES = {
    "ExplicitVRLittleEndian": uid.ExplicitVRLittleEndian,
    "ImplicitVRLittleEndian": uid.ImplicitVRLittleEndian,
}
REQUIRED_KEYS = frozenset(
    {
        "sop_class",
        "title",
        "study",
        "study_date",
        "study_time",
        "study_description",
        "accession_number",
        "modality",
        "patient",
        "items",
    }
)
OPTIONAL_KEYS = frozenset(
    {
        "transfer_syntax",
        "content_date",
        "content_time",
        "completion_flag",
        "verification_flag",
        "preliminary_flag",
        "predecessor",
        "compared_with",
        "language",
        "institution",
    }
)
PATIENT_KEYS = frozenset({"name", "id", "birth_date", "sex"})
ITEM_KEYS = frozenset({"concept", "relationship", "continuity", "text", "number", "unit", "code", "items"})


class SampleError(ValueError):
    """A sample file can't be made into an object; the message names the file and what is wrong in it."""


def read_samples(folder: Path = SAMPLES) -> dict[str, dict[str, Any]]:
    """The reports as written, by name of their file, in order of the names.

    Raises
    ------
    SampleError
        When there is none, or one lacks a key, has an unknown one, or names a sample that isn't there.
    """
    samples: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            samples[path.stem] = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SampleError(f"{path.name}: {error}") from error
    if not samples:
        raise SampleError(f"no sample reports (*.toml) in {folder}")
    for name, sample in samples.items():
        _check_keys(name, "the report", sample, REQUIRED_KEYS, OPTIONAL_KEYS)
        _check_keys(name, "patient", sample["patient"], PATIENT_KEYS)
        for key, known in (("sop_class", SOP_CLASSES), ("modality", IMAGE_STORAGE)):
            if sample[key] not in known:
                raise SampleError(f"{name}: {key} must be one of {', '.join(sorted(known))}")
        if sample.get("transfer_syntax", "ExplicitVRLittleEndian") not in TRANSFER_SYNTAXES:
            raise SampleError(f"{name}: transfer_syntax must be one of {', '.join(sorted(TRANSFER_SYNTAXES))}")
        for key in ("predecessor", "compared_with"):
            if key in sample and sample[key] not in samples:
                raise SampleError(f"{name}: {key} names {sample[key]!r}, which is not a sample")
    return samples


def build_samples(folder: Path = SAMPLES) -> dict[str, FileDataset]:
    """The reports as SR objects with file meta information, by name of their file.

    Raises
    ------
    SampleError
        When a sample file is malformed.
    """
    return build(read_samples(folder))


def build(samples: dict[str, dict[str, Any]]) -> dict[str, FileDataset]:
    """The reports of `samples`, as `read_samples` gives them, as SR objects; raises as `build_samples`."""
    return {name: _build(name, samples) for name in samples}


def write_samples(target: Path, folder: Path = SAMPLES) -> list[Path]:
    """Write the SR objects as DICOM files (PS3.10) into `target`, which is made when it isn't there.

    Returns
    -------
    list of Path
        The files, in order.
    """
    objects = build_samples(folder)
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, dataset in objects.items():
        path = target / f"{name}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def study_instance_uid(study: str) -> str:
    """StudyInstanceUID of the samples that name this study."""
    return _uid("study", study)


def sop_instance_uid(name: str) -> str:
    """SOPInstanceUID of the sample with this name."""
    return _uid("report", name)


def _uid(kind: str, name: str) -> uid.UID:
    return uid.generate_uid(entropy_srcs=["dicomnlp demonstration", kind, name])


def _check_keys(
    name: str,
    place: str,
    table: dict[str, Any],
    required: frozenset[str],
    optional: frozenset[str] = frozenset(),
) -> None:
    if missing := required - table.keys():
        raise SampleError(f"{name}: {place} lacks {', '.join(sorted(missing))}")
    if unknown := table.keys() - required - optional:
        raise SampleError(f"{name}: {place} has unknown keys: {', '.join(sorted(unknown))}")


def _build(name: str, samples: dict[str, dict[str, Any]]) -> FileDataset:
    """One Basic Text, Enhanced or Comprehensive SR object (PS3.3 A.35.1 to A.35.3)."""
    sample = samples[name]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SOP_CLASSES[sample["sop_class"]]
    meta.MediaStorageSOPInstanceUID = _uid("report", name)
    meta.TransferSyntaxUID = TRANSFER_SYNTAXES[sample.get("transfer_syntax", "ExplicitVRLittleEndian")]
    # pydicom would write its own version here, and the bytes would change with it
    meta.ImplementationClassUID = _uid("implementation", "make_samples")
    meta.ImplementationVersionName = "DICOMNLP_DEMO"

    implicit = meta.TransferSyntaxUID.is_implicit_VR
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128, is_implicit_VR=implicit)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    _add_patient_and_study(dataset, sample)
    _add_series(dataset, name, sample)
    _add_document(dataset, sample)
    _add_references(dataset, sample, samples)
    _add_content(dataset, name, sample)
    return dataset


def _add_patient_and_study(dataset: Dataset, sample: dict[str, Any]) -> None:
    """Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1)."""
    patient = sample["patient"]
    dataset.PatientName = patient["name"]
    dataset.PatientID = patient["id"]
    dataset.IssuerOfPatientID = "DICOMNLP DEMO"
    dataset.PatientBirthDate = patient["birth_date"]
    dataset.PatientSex = patient["sex"]
    dataset.StudyInstanceUID = study_instance_uid(sample["study"])
    dataset.StudyID = sample["accession_number"]
    dataset.StudyDate = sample["study_date"]
    dataset.StudyTime = sample["study_time"]
    dataset.StudyDescription = sample["study_description"]
    dataset.AccessionNumber = sample["accession_number"]
    dataset.ReferringPhysicianName = "DEMO^REFERRER"


def _add_series(dataset: Dataset, name: str, sample: dict[str, Any]) -> None:
    """SR Document Series and General Equipment modules (PS3.3 C.17.1, C.7.5.1)."""
    dataset.Modality = "SR"
    dataset.SeriesInstanceUID = _uid("series", name)
    dataset.SeriesNumber = 900
    dataset.SeriesDescription = "Radiology report"
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.Manufacturer = "dicomnlp"
    dataset.ManufacturerModelName = "make_samples"
    dataset.InstitutionName = sample.get("institution", "DEMO HOSPITAL")


def _add_document(dataset: Dataset, sample: dict[str, Any]) -> None:
    """State and origin of the document: SR Document General module (PS3.3 C.17.2)."""
    dataset.InstanceNumber = 1
    dataset.CompletionFlag = sample.get("completion_flag", "COMPLETE")
    dataset.VerificationFlag = sample.get("verification_flag", "VERIFIED")
    dataset.PreliminaryFlag = sample.get("preliminary_flag", "FINAL")
    dataset.ContentDate = sample.get("content_date", sample["study_date"])
    dataset.ContentTime = sample.get("content_time", sample["study_time"])
    if dataset.VerificationFlag == "VERIFIED":
        observer = Dataset()
        observer.VerifyingOrganization = "DEMO HOSPITAL"
        observer.VerificationDateTime = dataset.ContentDate + dataset.ContentTime
        observer.VerifyingObserverName = "DEMO^READER"
        observer.VerifyingObserverIdentificationCodeSequence = []
        dataset.VerifyingObserverSequence = [observer]
    dataset.PerformedProcedureCodeSequence = []

    request = Dataset()
    request.StudyInstanceUID = dataset.StudyInstanceUID
    request.ReferencedStudySequence = []
    request.AccessionNumber = sample["accession_number"]
    request.PlacerOrderNumberImagingServiceRequest = ""
    request.FillerOrderNumberImagingServiceRequest = ""
    request.RequestedProcedureID = sample["accession_number"]
    request.RequestedProcedureDescription = sample["study_description"]
    request.RequestedProcedureCodeSequence = []
    dataset.ReferencedRequestSequence = [request]


def _add_references(dataset: Dataset, sample: dict[str, Any], samples: dict[str, dict[str, Any]]) -> None:
    """What the report is about, what it was compared with and what it continues (PS3.3 C.17.2)."""
    study = sample["study"]
    image = (IMAGE_STORAGE[sample["modality"]], _uid("image", study))
    dataset.CurrentRequestedProcedureEvidenceSequence = [_hierarchy(study, _uid("image series", study), image)]
    for key, keyword in (
        ("compared_with", "PertinentOtherEvidenceSequence"),
        ("predecessor", "PredecessorDocumentsSequence"),
    ):
        if key in sample:
            other = sample[key]
            report = (SOP_CLASSES[samples[other]["sop_class"]], sop_instance_uid(other))
            setattr(dataset, keyword, [_hierarchy(samples[other]["study"], _uid("series", other), report)])


def _hierarchy(study: str, series_instance_uid: str, instance: tuple[str, str]) -> Dataset:
    """Hierarchical SOP Instance Reference macro (PS3.3 C.17.2.1)."""
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = instance
    series = Dataset()
    series.SeriesInstanceUID = series_instance_uid
    series.ReferencedSOPSequence = [reference]
    item = Dataset()
    item.StudyInstanceUID = study_instance_uid(study)
    item.ReferencedSeriesSequence = [series]
    return item


def _add_content(dataset: Dataset, name: str, sample: dict[str, Any]) -> None:
    """The content tree (PS3.3 C.17.3): language and observer, then what the report says."""
    dataset.ValueType = "CONTAINER"
    dataset.ConceptNameCodeSequence = [_code(name, sample["title"])]
    dataset.ContinuityOfContent = "SEPARATE"
    if all("items" in item for item in sample["items"]):
        template = Dataset()
        template.MappingResource = "DCMR"
        template.TemplateIdentifier = "2000"
        dataset.ContentTemplateSequence = [template]

    language = _item(
        name,
        {
            "relationship": "HAS CONCEPT MOD",
            "concept": "121049 DCM Language of Content Item and Descendants",
            "code": sample.get("language", "en RFC5646 English"),
        },
    )
    observer_type = _item(
        name,
        {
            "relationship": "HAS OBS CONTEXT",
            "concept": "121005 DCM Observer Type",
            "code": "121006 DCM Person",
        },
    )
    observer = Dataset()
    observer.RelationshipType = "HAS OBS CONTEXT"
    observer.ValueType = "PNAME"
    observer.ConceptNameCodeSequence = [_code(name, "121008 DCM Person Observer Name")]
    observer.PersonName = "DEMO^READER"
    items = [_item(name, item) for item in sample["items"]]
    dataset.ContentSequence = [language, observer_type, observer, *items]


def _item(name: str, table: dict[str, Any]) -> Dataset:
    """A content item with everything below it; what it holds decides its value type."""
    _check_keys(name, "an item", table, frozenset({"concept"}), ITEM_KEYS)
    item = Dataset()
    item.RelationshipType = table.get("relationship", "CONTAINS")
    item.ConceptNameCodeSequence = [_code(name, table["concept"])]
    if "text" in table:
        item.ValueType = "TEXT"
        item.TextValue = table["text"].strip().replace("\n", "\r\n")
    elif "number" in table:
        _check_keys(name, "a NUM item", table, frozenset({"concept", "number", "unit"}), ITEM_KEYS)
        item.ValueType = "NUM"
        value = Dataset()
        value.NumericValue = table["number"]
        value.MeasurementUnitsCodeSequence = [_code(name, table["unit"])]
        item.MeasuredValueSequence = [value]
    elif "code" in table:
        item.ValueType = "CODE"
        item.ConceptCodeSequence = [_code(name, table["code"])]
    elif "items" in table:
        item.ValueType = "CONTAINER"
        item.ContinuityOfContent = table.get("continuity", "SEPARATE")
    else:
        raise SampleError(f"{name}: an item has none of text, number, code, items")
    if "items" in table:
        item.ContentSequence = [_item(name, child) for child in table["items"]]
    return item


def _code(name: str, text: str) -> Dataset:
    """A coded entry (PS3.3 8.8) from "value scheme meaning"."""
    parts = text.split(" ", 2)
    if len(parts) < 3:
        raise SampleError(f'{name}: a code must read "value scheme meaning", not {text!r}')
    entry = Dataset()
    entry.CodeValue, entry.CodingSchemeDesignator, entry.CodeMeaning = parts
    return entry


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 done, 1 something failed and it says what."""
    parser = argparse.ArgumentParser(description="Write the sample reports as DICOM files.")
    parser.add_argument("folder", type=Path, help="where the .dcm files go; made when it isn't there")
    folder = parser.parse_args(arguments).folder
    try:
        paths = write_samples(folder)
    except (SampleError, OSError) as error:
        print(f"make_samples: {error}", file=sys.stderr)
        return 1
    print(f"{len(paths)} reports written to {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
