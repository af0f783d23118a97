"""Reports and findings as FHIR R4 resources; docs/reference/fhir.md has the mapping as tables.

The one thing that must not happen is that somebody takes a finding which a report denies, doubts or only asks for as
one that it states. So whatever isn't plainly present in the patient has a code of another system
(`fhir_codes.finding_code`), says so as its value and its interpretation, and carries a modifier extension, which FHIR
lets nobody pass over (R4 2.4, Extensibility).
"""

import base64
import datetime as dt
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dicomnlp.export import fhir_codes as codes
from dicomnlp.export.fhir_codes import Resource, coding
from dicomnlp.model import (
    Assertion,
    Code,
    Finding,
    Measurement,
    Report,
    Section,
    SectionName,
    Temporality,
    is_uid,
    utc_text,
)
from dicomnlp.store.answers import StoredFinding
from dicomnlp.store.exports import ExportedReport, ReportHeader
from dicomnlp.store.images import ImageSeries
from dicomnlp.store.prevailing import ReportStatus

_IMAGING_REPORT = Code("18748-4", "LN", "Diagnostic imaging study")
_RADIOLOGY = {"coding": [coding("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD", "Radiology")]}
_IMAGING = {
    "coding": [coding("http://terminology.hl7.org/CodeSystem/observation-category", "imaging", "Imaging")],
}
_IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
_GENDERS = {"M": "male", "F": "female", "O": "other"}
_OF_OBSERVATION = {"partial": "preliminary", "appended": "amended"}
"""States of reports that observations haven't (R4 value set observation-status)."""
_FIELDS = re.compile(r"[A-Z][A-Z0-9_]{0,15}")

Reference = Callable[[str, str], str]
"""How a resource is referred to, by its type and id."""


def relative(resource_type: str, identifier: str) -> str:
    """A reference within one server (R4 2.3.0.1)."""
    return f"{resource_type}/{identifier}"


def within_bundle(resource_type: str, identifier: str) -> str:
    """A reference within a bundle that comes from no server: the same UUID for the same resource."""
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{codes.OWN}{resource_type}/{identifier}')}"


@dataclass(frozen=True, slots=True)
class Mapping:
    """Makes resources.

    Parameters
    ----------
    reference
        How they refer to each other.
    patient_id
        The id of the Patient of a report; None: without a patient.
    """

    reference: Reference
    patient_id: Callable[[ReportHeader], str | None]

    def diagnostic_report(self, exported: ExportedReport) -> Resource:
        """A report; its id is its SOP Instance UID."""
        header, stored = exported.header, exported.report
        report, analysis = stored.report, stored.analysis
        if report is None or stored.analysed_at is None:
            raise ValueError("a report that isn't analysed has no resource")
        status = report_status(report, exported.report.standing.status)
        sections = analysis.sections if analysis else report.narrative.sections
        language = analysis.language if analysis else report.language
        return _versioned(
            {
                "resourceType": "DiagnosticReport",
                "id": stored.sop_instance_uid,
                "identifier": [
                    _uid_identifier(stored.sop_instance_uid, "SOP Instance UID"),
                    *_uid_identifiers([header.identity.study_instance_uid], "Study Instance UID"),
                    *(_accession(number) for number in report.accession_numbers),
                ],
                "status": status,
                "category": [_RADIOLOGY],
                "code": codes.code_of(report.document_code or _IMAGING_REPORT) or codes.code_of(_IMAGING_REPORT),
                "subject": self._subject(header),
                "effectiveDateTime": _date(header.study_date),
                "issued": _instant(report.verification_date_time),
                "imagingStudy": self._study(header),
                "result": [{"reference": self.reference("Observation", observation_id(f))} for f in exported.findings],
                "conclusion": _conclusion(report.narrative.text, sections),
                "presentedForm": _form(report, language),
            },
            stored.analysed_at,
        )

    def observation(self, stored: StoredFinding, exported: ExportedReport) -> Resource:
        """A finding of a report."""
        finding, header = stored.finding, exported.header
        report = exported.report.report
        status = report_status(report, exported.report.standing.status) if report else "unknown"
        return _versioned(
            {
                "resourceType": "Observation",
                "id": observation_id(stored),
                "extension": [_span(finding)],
                "modifierExtension": _modifiers(finding),
                "status": _OF_OBSERVATION.get(status, status),
                "category": [_IMAGING],
                "code": codes.finding_code(finding.concept, finding.assertion),
                "subject": self._subject(header),
                "effectiveDateTime": _date(header.study_date),
                "issued": utc_text(stored.analysed_at),
                "valueCodeableConcept": codes.assertion_value(finding.assertion),
                "interpretation": codes.interpretation(finding.assertion),
                "note": [{"text": finding.sentence}] if finding.sentence.strip() else [],
                "bodySite": codes.concept_of(finding.anatomy) if finding.anatomy else None,
                "method": {"text": f"Natural language processing of the report, {stored.pipeline}"},
                "derivedFrom": self._study(header),
                "component": _components(finding),
            },
            stored.analysed_at,
        )

    def imaging_study(
        self, header: ReportHeader, series: Iterable[ImageSeries] = (), updated: dt.datetime | None = None
    ) -> Resource | None:
        """The study of a report, with the series of which images were seen; None without a well-formed UID."""
        identity = header.identity
        uid = identity.study_instance_uid
        if not is_uid(uid):
            return None
        seen = [s for s in series if is_uid(s.series_instance_uid)]
        modalities = dict.fromkeys([*(s.modality for s in seen), *header.modalities])
        return _versioned(
            {
                "resourceType": "ImagingStudy",
                "id": uid,
                "identifier": [_uid_identifier(uid, "Study Instance UID"), *_accessions(identity.accession_number)],
                "status": "available" if seen else "unknown",
                "modality": [coding(codes.DICOM, m, "") for m in modalities if _FIELDS.fullmatch(m)],
                "subject": self._subject(header) or {"display": "not known"},
                "started": _date(header.study_date),
                "numberOfSeries": len(seen) or None,
                "numberOfInstances": sum(s.images for s in seen) or None,
                "description": identity.study_description.strip() or None,
                "series": [_series(s) for s in seen],
            },
            updated,
        )

    def patient(self, header: ReportHeader) -> Resource | None:
        """The patient of a report, without names; None where the header has no identifier."""
        identifier_of_resource = self.patient_id(header)
        if identifier_of_resource is None:
            return None
        patient_id, issuer = header.patient
        identity = header.identity
        identifier = {
            "type": {"coding": [coding(_IDENTIFIER_TYPES, "MR", "Medical record number")]},
            "value": patient_id,
            **({"assigner": {"display": issuer}} if issuer else {}),
        }
        return _versioned(
            {
                "resourceType": "Patient",
                "id": identifier_of_resource,
                "identifier": [identifier],
                "gender": _GENDERS.get(identity.patient_sex, "unknown"),
                "birthDate": _date(identity.patient_birth_date),
            },
            None,
        )

    def _subject(self, header: ReportHeader) -> Resource | None:
        patient_id = self.patient_id(header)
        return {"reference": self.reference("Patient", patient_id)} if patient_id is not None else None

    def _study(self, header: ReportHeader) -> list[Resource]:
        uid = header.identity.study_instance_uid
        return [{"reference": self.reference("ImagingStudy", uid)}] if is_uid(uid) else []


def report_bundle(exported: ExportedReport) -> Resource:
    """A report with all its findings, its study and patient as one Bundle (type collection)."""
    mapping = Mapping(within_bundle, _patient_of)
    resources = [
        mapping.diagnostic_report(exported),
        *(mapping.observation(f, exported) for f in exported.findings),
        mapping.imaging_study(exported.header),
        mapping.patient(exported.header),
    ]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": utc_text(exported.report.analysed_at or exported.report.received_at),
        "entry": [
            {"fullUrl": within_bundle(r["resourceType"], r["id"]), "resource": r} for r in resources if r is not None
        ],
    }


def observation_id(stored: StoredFinding) -> str:
    """The id of a finding's Observation."""
    return f"f{stored.id}"


def _patient_of(header: ReportHeader) -> str | None:
    """The id of a Patient outside of any server: the same for the same identifier and issuer."""
    patient_id, issuer = header.patient
    return hashlib.sha256(f"{issuer}\0{patient_id}".encode("utf-8", "replace")).hexdigest()[:32] if patient_id else None


def report_status(report: Report, standing: ReportStatus | None) -> str:
    """The state of a report (R4 value set diagnostic-report-status) from its flags (PS3.3 C.17.2) and its standing."""
    if standing is ReportStatus.WITHDRAWN:
        return "entered-in-error"
    if report.preliminary_flag == "PRELIMINARY":
        return "preliminary"
    if report.completion_flag == "PARTIAL":
        return "partial"
    if report.verification_flag == "VERIFIED":
        return "amended" if report.predecessors else "final"
    if report.verification_flag == "UNVERIFIED":
        return "preliminary"
    return "unknown"


def _versioned(resource: dict[str, Any], updated: dt.datetime | None) -> Resource:
    """`resource` without empty values, which FHIR hasn't (R4 2.6.2), its version a hash over all it says."""
    kept = _without_empty(resource)
    version = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]
    meta = {"versionId": version, **({"lastUpdated": utc_text(updated)} if updated else {})}
    return {"resourceType": kept.pop("resourceType"), "id": kept.pop("id"), "meta": meta, **kept}


def _uid_identifier(uid: str, text: str) -> Resource:
    return {"type": {"text": text}, "system": codes.DICOM_UID, "value": f"urn:oid:{uid}"}


def _uid_identifiers(uids: Iterable[str], text: str) -> list[Resource]:
    return [_uid_identifier(uid, text) for uid in uids if is_uid(uid)]


def _accession(number: str) -> Resource:
    return {"type": {"coding": [coding(_IDENTIFIER_TYPES, "ACSN", "Accession ID")]}, "value": number}


def _accessions(number: str) -> list[Resource]:
    return [_accession(number)] if number else []


def _date(text: str) -> str | None:
    """A DA as FHIR date; None where it isn't one."""
    try:
        return dt.date(int(text[:4]), int(text[4:6]), int(text[6:8])).isoformat() if len(text) == 8 else None
    except ValueError:
        return None


def _instant(text: str) -> str | None:
    """A DT with its offset as FHIR instant; None without one, because an instant needs its zone."""
    found = re.fullmatch(r"(\d{14})(?:\.\d{1,6})?([+-]\d{4})", text)
    if found is None:
        return None
    try:
        return utc_text(dt.datetime.strptime(found[1] + found[2], "%Y%m%d%H%M%S%z"))
    except ValueError:
        return None


def _conclusion(text: str, sections: Sequence[Section]) -> str | None:
    said = [text[s.body_start : s.end].strip() for s in sections if s.name is SectionName.IMPRESSION]
    return "\n\n".join(filter(None, said)) or None


def _form(report: Report, language: str) -> list[Resource]:
    text = report.narrative.text
    if not text.strip():
        return []
    form = {
        "contentType": "text/plain; charset=utf-8",
        "data": base64.b64encode(text.encode("utf-8", "replace")).decode("ascii"),
        "title": report.title.strip() or None,
        "language": language or None,
    }
    return [{name: value for name, value in form.items() if value}]


def _span(finding: Finding) -> Resource:
    return {
        "url": codes.SPAN,
        "extension": [
            {"url": "start", "valueInteger": finding.start},
            {"url": "end", "valueInteger": finding.end},
            *([{"url": "section", "valueCode": finding.section.value}]),
        ],
    }


def _modifiers(finding: Finding) -> list[Resource]:
    found: list[Resource] = []
    if finding.assertion is not Assertion.PRESENT:
        found.append({"url": codes.ASSERTION, "valueCode": finding.assertion.value})
    if finding.subject:
        found.append({"url": codes.SUBJECT, "valueString": finding.subject})
    return found


def _components(finding: Finding) -> list[Resource]:
    found = []
    if finding.laterality:
        found.append(codes.side(finding.laterality))
    if finding.severity:
        found.append(codes.degree(finding.severity))
    if finding.change:
        found.append(codes.course(finding.change))
    for measurement in finding.measurements:
        found += [_quantity(measurement, value, n) for n, value in enumerate(measurement.values, 1)]
    return found


def _quantity(measurement: Measurement, value: float, number: int) -> Resource:
    is_prior = measurement.temporality is Temporality.PRIOR
    name = f"prior-{measurement.kind}" if is_prior else measurement.kind
    text = f"{measurement.kind.capitalize()}{' in an earlier study' if is_prior else ''}"
    if len(measurement.values) > 1:
        text += f", {number} of {len(measurement.values)}"
    return {
        "code": {"coding": [coding(codes.ATTRIBUTE, name, "")], "text": text},
        "valueQuantity": {
            "value": value,
            **({"comparator": measurement.comparator} if measurement.comparator else {}),
            **({"unit": measurement.unit, "system": codes.UCUM, "code": measurement.unit} if measurement.unit else {}),
        },
    }


def _series(series: ImageSeries) -> Resource:
    number = series.series_number
    modality = series.modality if _FIELDS.fullmatch(series.modality) else "OT"
    return _without_empty(
        {
            "uid": series.series_instance_uid,
            "number": int(number) if number.isascii() and number.isdigit() else None,
            "modality": coding(codes.DICOM, modality, ""),
            "description": series.series_description.strip() or None,
            "numberOfInstances": series.images,
            "bodySite": {"display": series.body_part_examined} if series.body_part_examined else None,
            "started": _date(series.series_date),
        }
    )


def _without_empty(resource: dict[str, Any]) -> Resource:
    return {name: value for name, value in resource.items() if value not in (None, [], {}, "")}
