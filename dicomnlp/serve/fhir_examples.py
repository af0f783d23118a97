"""Examples of FHIR answers for the OpenAPI document, made by the same mapping as the answers."""

import datetime as dt
from typing import Any

from dicomnlp import __version__
from dicomnlp.export.fhir import Mapping, relative
from dicomnlp.model import (
    Analysis,
    Assertion,
    Concept,
    Finding,
    Identity,
    Laterality,
    Measurement,
    Narrative,
    Report,
    Section,
    SectionName,
    State,
    Temporality,
)
from dicomnlp.serve.fhir_capability import capability_statement
from dicomnlp.store.answers import ReportStanding, StoredFinding, StoredReport
from dicomnlp.store.exports import ExportedReport, ReportHeader
from dicomnlp.store.prevailing import ReportStatus

_STUDY, _REPORT = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"
_AT = dt.datetime(2026, 11, 22, 6, 0, tzinfo=dt.UTC)
_PIPELINE = "en-2026.1+3f9c0d21a4b7"
_TEXT = "IMPRESSION: A 6 mm nodule in the right upper lobe. No pleural effusion."
_BASE = "http://127.0.0.1:8080/fhir"


def _finding(word: str, concept: Concept, assertion: Assertion, **more: Any) -> StoredFinding:
    start = _TEXT.index(word)
    return StoredFinding(
        812,
        _STUDY,
        _REPORT,
        Finding(concept, word, start, start + len(word), _TEXT[12:50], SectionName.IMPRESSION, assertion, **more),
        _PIPELINE,
        _AT,
    )


_NODULE = _finding(
    "nodule",
    Concept("pulmonary_nodule", "427359005", "SCT", "Pulmonary nodule"),
    Assertion.PRESENT,
    laterality=Laterality.RIGHT,
    measurements=(Measurement((6.0,), "mm", "size", Temporality.CURRENT, "6 mm", 14, 18),),
)
_EXPORTED = ExportedReport(
    ReportHeader(
        7,
        Identity(
            sop_instance_uid=_REPORT, study_instance_uid=_STUDY, patient_id="DEMO-0001", patient_birth_date="19610214",
            patient_sex="F", accession_number="A1", study_description="CT CHEST",
        ),
        ("DEMO-0001", ""),
        ("CT",),
        "20261121",
        65,
        "PACS",
    ),
    StoredReport(
        7, _REPORT, _STUDY, 1, True, State.ANALYSED, None, _AT,
        Report(
            Identity(), Narrative(_TEXT), State.PENDING, "Chest CT", completion_flag="COMPLETE",
            verification_flag="VERIFIED", accession_numbers=("A1",),
        ),
        Analysis("en", _PIPELINE, (Section(SectionName.IMPRESSION, "IMPRESSION:", 0, len(_TEXT), 12),)),
        _AT,
        ReportStanding(ReportStatus.PREVAILING),
    ),
    (_NODULE,),
)  # fmt: skip
_MAPPING = Mapping(relative, lambda _header: "p7")

RESOURCES: dict[str, Any] = {
    "DiagnosticReport": _MAPPING.diagnostic_report(_EXPORTED),
    "Observation": _MAPPING.observation(_NODULE, _EXPORTED),
    "ImagingStudy": _MAPPING.imaging_study(_EXPORTED.header, (), _AT),
    "Patient": _MAPPING.patient(_EXPORTED.header),
}
BUNDLES: dict[str, Any] = {
    name: {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": "self", "url": f"{_BASE}/{name}?"}],
        "total": 1,
        "entry": [{"fullUrl": f"{_BASE}/{name}/{resource['id']}", "resource": resource, "search": {"mode": "match"}}],
    }
    for name, resource in RESOURCES.items()
}
CAPABILITY = capability_statement(_BASE, __version__)
