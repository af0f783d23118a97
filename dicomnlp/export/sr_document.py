"""Measurement reports (PS3.16 TID 1500) of what was found in a report's text: Comprehensive SR, unverified.

A finding that the report states is the Finding of its measurement group. One that it denies or doubts is none: in its
group the concept is the name of a qualitative evaluation whose value is "Known absent" or "Known possible", so that who
looks for findings never meets it. docs/decisions/0010-write-back.md has the reasons.
"""

import datetime as dt
import io
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    CompositeContentItem,
    ComprehensiveSR,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pydicom.uid import UID, ComprehensiveSRStorage, ExplicitVRLittleEndian
from pydicom.valuerep import validate_value

from dicomnlp import __version__
from dicomnlp.export import sr_codes
from dicomnlp.export.sr_statements import NotWritableError, Statement, Statements
from dicomnlp.extract.charset import CharacterSets
from dicomnlp.extract.dicom_json import JsonWriter
from dicomnlp.extract.elements import scan
from dicomnlp.extract.own import MANUFACTURER, MODEL_NAME
from dicomnlp.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicomnlp.model import Assertion, Code, Evidence, StoredObject, is_uid
from dicomnlp.store.exports import ReportHeader
from dicomnlp.terms import HL7_MESSAGE_STORAGE

SERIES_NUMBER: Final = 99001
"""Of the series that holds what is written of a study: above those of modalities."""
_DEVICE_NAMESPACE: Final = uuid.UUID("b8b0f0f4-5c3c-4a51-9a4d-6f2a3a2f6c55")
_SERIES_NAMESPACE: Final = uuid.UUID("0b6c7a0e-6a2f-4f3e-8f0b-2f5f0a2d7b11")
_REPORT_NAMESPACE: Final = uuid.UUID("5b0c1a64-0a7c-4c1c-9d4d-1f6f7a1e3c90")
_COPIED: Final = frozenset(
    {
        0x00080020,  # StudyDate
        0x00080030,  # StudyTime
        0x00080050,  # AccessionNumber
        0x00080090,  # ReferringPhysicianName
        0x00081030,  # StudyDescription
        0x00100010,  # PatientName
        0x00100030,  # PatientBirthDate
        0x00100040,  # PatientSex
        0x00101010,  # PatientAge
        0x00200010,  # StudyID
    }
)
"""Of the report's header: patient and study are the same."""
_REQUIRED: Final = (
    "AccessionNumber",
    "PatientBirthDate",
    "PatientName",
    "PatientSex",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
"""Type 2 (PS3.3 C.7.1.1, C.7.2.1): empty where the report has none."""
_LANGUAGES: Final = {"en": "English", "zh": "Chinese", "de": "German"}
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
"""Not in UT (PS3.5 6.1.3)."""


class _Document(ComprehensiveSR):
    """Takes patient and study over from a report of any class, private ones too: highdicom knows the standard's."""

    def copy_patient_and_study_information(self, dataset: Dataset) -> None:
        """Only what `_header` has copied."""
        for tag in sorted(_COPIED):
            if tag in dataset:
                self.add(dataset[tag])


@dataclass(frozen=True, slots=True)
class Written:
    """A document of the same report that a new one takes the place of."""

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str


@dataclass(frozen=True, slots=True)
class Source:
    """The report, as a document refers to it."""

    stored: StoredObject
    header: ReportHeader
    evidence: Sequence[Evidence]
    """What the report itself names as its evidence."""
    language: str
    is_preliminary: bool
    pipeline: str


def device_uid(ae_title: str) -> str:
    """The Device Observer UID of an installation: AE titles are unique in a network (PS3.8 7.1.1.3)."""
    return f"2.25.{uuid.uuid5(_DEVICE_NAMESPACE, ae_title).int}"


def series_uid(study_instance_uid: str, ae_title: str) -> str:
    """The one series of a study that holds what an installation writes of it."""
    return f"2.25.{uuid.uuid5(_SERIES_NAMESPACE, f'{ae_title} {study_instance_uid}').int}"


def write_document(
    source: Source,
    statements: Statements | None,
    *,
    sop_instance_uid: str,
    ae_title: str,
    predecessors: Sequence[Written],
    fallbacks: Sequence[str],
    at: dt.datetime,
) -> bytes:
    """A DICOM file (PS3.10) that says what was found in a report.

    Parameters
    ----------
    source
        The report.
    statements
        What is said; None: that the report was withdrawn.
    sop_instance_uid
        Of the document.
    ae_title
        Of this installation.
    predecessors
        Documents whose place it takes (0040,A360).
    fallbacks
        Codecs for text of the report's header that no declared character set fits.
    at
        Content and series date and time.

    Raises
    ------
    NotWritableError
        The report's header can't stand in another object, or has no study.
    ObjectError
        The report can't be read.
    """
    patient = _header(source, fallbacks)
    groups = [_group(s, source) for s in statements.of_findings] if statements else []
    if not groups:
        groups = [_remark(sr_codes.NOTHING_STATED if statements else sr_codes.WITHDRAWN, source)]
    content = MeasurementReport(
        observation_context=ObservationContext(
            ObserverContext(
                observer_type=_coded(Code("121007", "DCM", "Device")),
                observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                    uid=device_uid(ae_title),
                    name=ae_title,
                    manufacturer_name=MANUFACTURER,
                    model_name=MODEL_NAME,
                ),
            )
        ),
        procedure_reported=[_coded(c) for c in sr_codes.procedures(source.header.modalities)],
        imaging_measurements=groups,
        language_of_content_item_and_descendants=_language(source.language),
    )
    _separate(content[0])
    is_object = source.header.identity.sop_class_uid != HL7_MESSAGE_STORAGE
    local = at.astimezone()
    document = _Document(
        evidence=[patient, *_evidence(source)],
        content=content[0],
        series_instance_uid=series_uid(patient.StudyInstanceUID, ae_title),
        series_number=SERIES_NUMBER,
        sop_instance_uid=sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=not source.is_preliminary,
        is_verified=False,
        previous_versions=[_previous(p) for p in predecessors] or None,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        manufacturer_model_name=MODEL_NAME,
        software_versions=__version__,
        device_serial_number=ae_title,
        series_description="Findings read from the report by dicomnlp, not verified",
        specific_character_set="ISO_IR 192",
        coding_schemes=[
            CodingSchemeIdentificationItem(sr_codes.OWN_SCHEME, sr_codes.OWN_SCHEME_NAME, uid=sr_codes.OWN_SCHEME_UID)
        ],
    )
    for what in ("Content", "Series", "InstanceCreation"):
        setattr(document, f"{what}Date", local.strftime("%Y%m%d"))
        setattr(document, f"{what}Time", local.strftime("%H%M%S"))
    if not is_object:
        del document.CurrentRequestedProcedureEvidenceSequence
    document.TimezoneOffsetFromUTC = local.strftime("%z")
    if source.header.patient[1]:
        document.IssuerOfPatientID = source.header.patient[1]
    document.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    document.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    file = io.BytesIO()
    document.save_as(file, enforce_file_format=True)
    return file.getvalue()


# --- content


def _separate(item: Dataset) -> None:
    """Say of each container that its items aren't parts of one sentence (PS3.3 C.17.3.2.4)."""
    if item.ValueType == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence", ()):
        _separate(child)


def _group(statement: Statement, source: Source) -> MeasurementsAndQualitativeEvaluations:
    """A statement as measurement group (TID 1501)."""
    is_present = statement.assertion is Assertion.PRESENT
    evaluations = [QualitativeEvaluation(_coded(n), _coded(v)) for n, v in statement.modifiers if is_present]
    if statement.site is None and statement.laterality is not None:
        evaluations.append(QualitativeEvaluation(_coded(sr_codes.LATERALITY), _coded(statement.laterality)))
    if not is_present:
        context = sr_codes.CONTEXTS[statement.assertion]
        evaluations.insert(0, QualitativeEvaluation(_coded(statement.concept), _coded(context)))
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(statement.tracking_uid, statement.tracking_identifier),
        finding_type=_coded(statement.concept) if is_present else None,
        finding_sites=_sites(statement),
        algorithm_id=_algorithm(source.pipeline),
        measurements=[Measurement(_coded(q.name), q.value, _coded(q.unit)) for q in statement.quantities] or None,
        qualitative_evaluations=evaluations or None,
    )
    name = sr_codes.FINDING if is_present else statement.concept
    [said] = [i for i in group[0].ContentSequence if i.name == _coded(name) and i.value_type.value == "CODE"][:1]
    children: list[ContentItem] = [] if is_present else [_modifier(*m) for m in statement.modifiers]
    sentence = _CONTROLS.sub(" ", statement.sentence)
    if sentence.strip():
        children.append(TextContentItem(_coded(sr_codes.COMMENT), sentence, RelationshipTypeValues.INFERRED_FROM))
    children += _references(source)
    if children:
        said.ContentSequence = ContentSequence(children)
    return group


def _remark(value: Code, source: Source) -> MeasurementsAndQualitativeEvaluations:
    """A group that says something of the report itself, where there is no finding to be said."""
    evaluation = QualitativeEvaluation(_coded(sr_codes.SOURCE_DOCUMENT), _coded(value))
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(_report_uid(source), "report"),
        algorithm_id=_algorithm(source.pipeline),
        qualitative_evaluations=[evaluation],
    )
    references = _references(source)
    if references:
        group[0].ContentSequence[-1].ContentSequence = ContentSequence(references)
    return group


def _report_uid(source: Source) -> str:
    """By which a report that has nothing to be tracked is tracked itself."""
    return f"2.25.{uuid.uuid5(_REPORT_NAMESPACE, source.header.identity.sop_instance_uid).int}"


def _sites(statement: Statement) -> list[FindingSite] | None:
    if statement.site is None:
        return None
    side = _coded(statement.laterality) if statement.laterality else None
    return [FindingSite(_coded(statement.site), laterality=side)]


def _modifier(name: Code, value: Code) -> CodeContentItem:
    return CodeContentItem(_coded(name), _coded(value), RelationshipTypeValues.HAS_CONCEPT_MOD)


def _references(source: Source) -> list[ContentItem]:
    """The report; none where it came as an HL7 message, which no archive has as an object."""
    header = source.header.identity
    if header.sop_class_uid == HL7_MESSAGE_STORAGE:
        return []
    name, inferred = _coded(sr_codes.SOURCE_DOCUMENT), RelationshipTypeValues.INFERRED_FROM
    return [CompositeContentItem(name, header.sop_class_uid, header.sop_instance_uid, inferred)]


def _algorithm(pipeline: str) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        name="dicomnlp", version=__version__, parameters=[f"pipeline={pipeline}"], manufacturer=MANUFACTURER
    )


def _language(language: str) -> LanguageOfContentItemAndDescendants:
    known = language if language in _LANGUAGES else "en"
    return LanguageOfContentItemAndDescendants(_coded(Code(known, "RFC5646", _LANGUAGES[known])))


def _coded(code: Code) -> CodedConcept:
    return CodedConcept(code.value, code.scheme, code.meaning)


# --- header


def _header(source: Source, fallbacks: Sequence[str]) -> Dataset:
    """Patient and study as the report has them, under the identifiers that hold now."""
    header, stored = source.header, source.stored
    study = header.identity.study_instance_uid
    if not is_uid(study):
        raise NotWritableError("the report has no study", reason_code="no_study")
    found = scan(stored.data, stored.transfer_syntax_uid)
    character_sets = CharacterSets.of(found.elements, fallbacks, stored.character_set_override or None)
    values = JsonWriter(character_sets, big_endian=found.big_endian).write(found.elements, only=_COPIED)
    copied = Dataset.from_json({tag: value for tag, value in values.items() if _is_valid(value)})
    for keyword in _REQUIRED:
        if keyword not in copied:
            setattr(copied, keyword, "")
    patient_id, issuer = header.patient
    for value in (patient_id, issuer):
        if not _is_valid({"vr": "LO", "Value": [value]}):
            raise NotWritableError("the patient's identifier can't stand in an object", reason_code="patient_id")
    copied.PatientID = patient_id
    copied.SOPClassUID, copied.SOPInstanceUID = header.identity.sop_class_uid, header.identity.sop_instance_uid
    copied.StudyInstanceUID = study
    copied.SeriesInstanceUID = header.identity.series_instance_uid
    if not is_uid(copied.SeriesInstanceUID) and copied.SOPClassUID != HL7_MESSAGE_STORAGE:
        raise NotWritableError("the report has no series", reason_code="no_series")
    return copied


def _is_valid(attribute: dict[str, Any]) -> bool:
    """Whether another object may have a value: what is against the standard isn't spread."""
    values = attribute.get("Value", [])
    if len(values) > 1:
        return False
    for value in values:
        text = (
            "=".join(value.get(g, "") for g in ("Alphabetic", "Ideographic", "Phonetic"))
            if isinstance(value, dict)
            else value
        )
        try:
            validate_value(attribute["vr"], text, pydicom_config.RAISE)
        except ValueError:
            return False
    return True


def _evidence(source: Source) -> list[Dataset]:
    """What the report names as its own evidence."""
    return [
        _instance(e.sop_class_uid, e.sop_instance_uid, e.series_instance_uid, e.study_instance_uid)
        for e in source.evidence
        if e.kind in {"current", "pertinent"}
        and all(map(is_uid, (e.sop_class_uid, e.sop_instance_uid, e.series_instance_uid, e.study_instance_uid)))
    ]


def _previous(written: Written) -> Dataset:
    return _instance(
        ComprehensiveSRStorage, written.sop_instance_uid, written.series_instance_uid, written.study_instance_uid
    )


def _instance(sop_class_uid: str, sop_instance_uid: str, series_instance_uid: str, study_instance_uid: str) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = sop_class_uid, sop_instance_uid
    made.SeriesInstanceUID, made.StudyInstanceUID = series_instance_uid, study_instance_uid
    return made
