"""The bodies as the OpenAPI document describes them, with examples.

The shapes come from the records of `dicomnlp.model`, whose ``to_json`` makes the bodies; nothing is validated twice.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from dicomnlp.model import (
    Analysis,
    Assertion,
    Change,
    CharacterSet,
    Code,
    CodedFinding,
    CodedMeasurement,
    Communication,
    Concept,
    Finding,
    Identity,
    Laterality,
    Measurement,
    Narrative,
    PatientStatement,
    Recommendation,
    Report,
    Score,
    Section,
    SectionName,
    State,
    Temporality,
)
from dicomnlp.serve.problems import KINDS, MEDIA_TYPE
from dicomnlp.store.answers import ReportStanding, StoredFinding, StoredReport, StudyLink
from dicomnlp.store.changes import Changes, Version
from dicomnlp.store.images import ImageSeries
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.status import Status

STUDY_INSTANCE_UID = "1.2.826.0.1.3680043.8.498.1"
SOP_INSTANCE_UID = "1.2.826.0.1.3680043.8.498.2"
_TEXT = "FINDINGS: A 6 mm nodule in the right upper lobe, previously 4 mm."
_BODY = len("FINDINGS: ")
_PIPELINE = "en-2026.1+3f9c0d21a4b7"
PRELIMINARY_UID = "1.2.826.0.1.3680043.8.498.3"
_STANDING = ReportStanding(ReportStatus.PREVAILING)
_STUDIES = (StudyLink(STUDY_INSTANCE_UID, "own"),)
_MOMENT = dt.datetime(2026, 11, 22, 6, 0, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingOfStudy(Finding):
    """One mention of a concept, judged, and what links it to its study."""

    id: int
    study_instance_uid: str
    sop_instance_uid: str
    language: str
    pipeline: str
    analysed_at: dt.datetime
    status: ReportStatus | None
    superseded_by: str | None
    status_reason: str | None
    studies: list[StudyLink]


class Findings(BaseModel):
    """The findings of a study in the order of its reports and of their text, and its reports counted by state."""

    study_instance_uid: str
    findings: list[FindingOfStudy]
    reports: dict[State, int] | None
    next: str | None


class SectionOfReport(BaseModel):
    """A named stretch of the text, heading included."""

    name: SectionName
    title: str | None
    start: int
    end: int


class ReportOfStudy(BaseModel):
    """One version of a report: its state, its text with sections, and what the object states as coded numbers."""

    sop_instance_uid: str
    study_instance_uid: str
    version: int
    is_current: bool
    state: State
    reason_code: str | None
    received_at: dt.datetime
    title: str | None
    completion_flag: str | None
    verification_flag: str | None
    preliminary_flag: str | None
    language: str | None
    character_set: CharacterSet | None
    text: str | None
    sections: list[SectionOfReport]
    measurements: list[CodedMeasurement]
    predecessors: list[str]
    warnings: list[str]
    pipeline: str | None
    analysed_at: dt.datetime | None
    status: ReportStatus | None
    superseded_by: str | None
    status_reason: str | None
    studies: list[StudyLink]
    coded_findings: list[CodedFinding]
    recommendations: list[Recommendation]
    scores: list[Score]
    communications: list[Communication]
    demographics: list[PatientStatement]
    identical_documents: list[str]
    verification_date_time: str | None
    character_set_override: str | None


class SeriesOfStudy(BaseModel):
    """The series of a study of which images were sent."""

    study_instance_uid: str
    series: list[ImageSeries]


class Reports(BaseModel):
    """The reports of a study."""

    study_instance_uid: str
    reports: list[ReportOfStudy]


class ReportsOfInstance(BaseModel):
    """The versions held under one SOP Instance UID."""

    sop_instance_uid: str
    reports: list[ReportOfStudy]


class VersionOfReport(BaseModel):
    """One version of a report."""

    sop_instance_uid: str
    version: int


class ChangedFinding(BaseModel):
    """A concept that both reports state, but not alike."""

    fields: list[str]
    before: FindingOfStudy
    after: FindingOfStudy


class ChangesOfReport(BaseModel):
    """What a report changed of the one whose place it took; `earlier` is null when it took the place of none."""

    earlier: VersionOfReport | None
    later: VersionOfReport
    added: list[FindingOfStudy]
    gone: list[FindingOfStudy]
    changed: list[ChangedFinding]
    unchanged: int


class Alive(BaseModel):
    """The process answers."""

    status: str


class Ready(BaseModel):
    """Nothing is missing."""

    status: str
    checks: dict[str, str]


class FaultyParameter(BaseModel):
    """A parameter with a wrong value, and what it should be."""

    parameter: str
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    reason_code: str
    errors: list[FaultyParameter] | None = None
    checks: dict[str, str] | None = None
    missing: list[str] | None = None


def _example_finding() -> StoredFinding:
    finding = Finding(
        concept=Concept("nodule", "27925004", "SCT", "Nodule"),
        text="nodule",
        start=_TEXT.index("nodule"),
        end=_TEXT.index("nodule") + len("nodule"),
        sentence=_TEXT[_BODY:],
        section=SectionName.FINDINGS,
        assertion=Assertion.PRESENT,
        anatomy=Concept("right_upper_lobe", None, None, "Upper lobe of right lung"),
        laterality=Laterality.RIGHT,
        change=Change.INCREASED,
        measurements=(
            Measurement(
                (6.0,), "mm", "size", Temporality.CURRENT, "6 mm", _TEXT.index("6 mm"), _TEXT.index("6 mm") + 4
            ),
            Measurement((4.0,), "mm", "size", Temporality.PRIOR, "4 mm", _TEXT.index("4 mm"), _TEXT.index("4 mm") + 4),
        ),
        item_path="1.3.1",
        language="en",
    )
    return StoredFinding(812, STUDY_INSTANCE_UID, SOP_INSTANCE_UID, finding, _PIPELINE, _MOMENT, _STANDING, _STUDIES)


def _example_report() -> StoredReport:
    sections = (Section(SectionName.FINDINGS, "FINDINGS:", 0, len(_TEXT), _BODY),)
    report = Report(
        identity=Identity(sop_instance_uid=SOP_INSTANCE_UID, study_instance_uid=STUDY_INSTANCE_UID),
        narrative=Narrative(_TEXT, sections),
        state=State.PENDING,
        title="Chest CT Report",
        completion_flag="COMPLETE",
        verification_flag="VERIFIED",
        preliminary_flag="FINAL",
        measurements=(
            CodedMeasurement("1.3.2", Code("81827009", "SCT", "Diameter"), (6.0,), Code("mm", "UCUM", "millimeter")),
        ),
    )
    analysis = Analysis("en", _PIPELINE, sections)
    return StoredReport(
        411,
        SOP_INSTANCE_UID,
        STUDY_INSTANCE_UID,
        1,
        True,
        State.ANALYSED,
        None,
        _MOMENT,
        report,
        analysis,
        _MOMENT,
        _STANDING,
        _STUDIES,
    )


FINDINGS_EXAMPLE = {
    "study_instance_uid": STUDY_INSTANCE_UID,
    "findings": [_example_finding().to_json()],
    "reports": {state.value: int(state is State.ANALYSED) for state in State},
    "next": None,
}
REPORTS_EXAMPLE = {"study_instance_uid": STUDY_INSTANCE_UID, "reports": [_example_report().to_json()]}
INSTANCE_EXAMPLE = {"sop_instance_uid": SOP_INSTANCE_UID, "reports": [_example_report().to_json()]}
CHANGES_EXAMPLE = Changes(
    earlier=Version(PRELIMINARY_UID, 1, 410),
    later=Version(SOP_INSTANCE_UID, 1, 411),
    added=(_example_finding(),),
    gone=(),
    changed=(),
    unchanged=4,
).to_json()
SERIES_EXAMPLE = {
    "study_instance_uid": STUDY_INSTANCE_UID,
    "series": [
        ImageSeries(
            study_instance_uid=STUDY_INSTANCE_UID,
            series_instance_uid="1.2.826.0.1.3680043.8.498.4",
            series_number="4",
            modality="CT",
            body_part_examined="CHEST",
            laterality="",
            study_date="20261122",
            series_date="20261122",
            acquisition_date="20261122",
            study_description="CT chest",
            series_description="Lung 1.0 mm",
            protocol_name="Chest routine",
            manufacturer="Maker",
            images=312,
            received_at=_MOMENT,
        ).to_json()
    ],
}


@dataclass(frozen=True, slots=True)
class ServiceStatus(Status):
    """Where the service stands, and what of its configuration it doesn't use."""

    refused_overlays: dict[str, list[str]]
    """Language -> what is wrong in the site's overlay of its pack, which is used without it."""
    models: list[dict[str, str | bool | None]]
    """Trained models that are promoted: language, name, digest, promoted_at, promoted_by, in_use, and the reason_code
    of one that is refused, whose language is read by the rules alone."""
    drift: list[dict[str, str | int | bool]]
    """Alarms of drift that stand: language, week, how many moves, and whether somebody has acknowledged it."""


STATUS_EXAMPLE = ServiceStatus(
    counted_at=_MOMENT,
    objects={"pending": 12, "analysed": 9871, "no_text": 40, "needs_ocr": 0, "own": 0, "failed": 3, "quarantined": 0},
    ledger={"stored": 9926, "duplicate": 17, "new_version": 0, "indexed": 0, "quarantined": 0, "refused": 5},
    reason_codes={"identity_mismatch": 1, "unreadable": 4},
    failure_reason_codes={"unreadable": 3},
    oldest_pending_seconds=1.25,
    received_last_minute=64,
    received_last_hour=2210,
    received_last_day=9948,
    analysed_last_hour=2198,
    deliveries={"waiting": 2, "dead": 0},
    images=0,
    original_bytes=31764210,
    database_bytes=88473600,
    pipelines={_PIPELINE: 9911},
    schema_revision="0002",
    refused_overlays={"zh": ["zh/context.toml:12: cues.0.direction: Input should be 'forward' or 'backward'"]},
    models=[
        {
            "language": "en",
            "name": "chest-2026-11",
            "digest": "9f2c" * 16,
            "promoted_at": "2026-11-20T08:12:00Z",
            "promoted_by": "anna",
            "in_use": False,
            "reason_code": "model_changed",
        }
    ],
    drift=[{"language": "en", "week": "2026-11-16", "moves": 14, "acknowledged": False}],
).to_json()
READY_EXAMPLE = {
    "status": "ready",
    "checks": {"database": "ok", "dispatcher": "ok", "intake": "ok", "listener": "ok", "listener.also.0": "ok"},
}
METRICS_EXAMPLE = (
    "# HELP dicomnlp_objects Objects held, by state.\n"
    "# TYPE dicomnlp_objects gauge\n"
    'dicomnlp_objects{state="analysed"} 9871.0\n'
    'dicomnlp_objects{state="pending"} 12.0\n'
)


def complete(app: FastAPI) -> None:
    """Add to the OpenAPI document of `app` what FastAPI leaves out: the schema of problems, nulls in examples."""
    document = app.openapi()
    _, problems = models_json_schema([(Problem, "serialization")], ref_template="#/components/schemas/{model}")
    document["components"]["schemas"] |= problems["$defs"]
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            [method] = route.methods or []
            responses = document["paths"][route.path][method.lower()]["responses"]
            for status in (200, 202):
                for media_type, declared in route.responses.get(status, {}).get("content", {}).items():
                    responses[str(status)]["content"][media_type]["example"] = declared["example"]


def answered(description: str, example: Any, media_type: str = "application/json") -> dict[int | str, dict[str, Any]]:
    """The 200 response of a route, for its ``responses``."""
    return {200: {"description": description, "content": {media_type: {"example": example}}}}


def refused(*reason_codes: str) -> dict[int | str, dict[str, Any]]:
    """The problems that a route can end with, for its ``responses``; one entry a status, one example a reason."""
    responses: dict[int | str, dict[str, Any]] = {}
    for reason_code in reason_codes:
        kind = KINDS[reason_code]
        entry = responses.setdefault(
            kind.status.value,
            {
                "description": kind.status.phrase,
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        example = {
            "type": f"/docs#{reason_code}",
            "title": kind.title,
            "status": kind.status.value,
            "detail": kind.advice,
            "reason_code": reason_code,
        }
        entry["content"][MEDIA_TYPE]["examples"][reason_code] = {"summary": kind.title, "value": example}
    return responses


DATABASE_PROBLEMS = (
    "database_failed",
    "database_missing",
    "database_outdated",
    "database_too_new",
    "database_unreachable",
    "database_locked",
)
"""Reason codes that every route that reads the database can end with."""
