"""What the store answers with: findings and reports as held, with what links them to their study."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from dicomnlp.model import Analysis, Finding, Report, State, to_json, utc_text
from dicomnlp.store.prevailing import ReportStatus


@dataclass(frozen=True, slots=True)
class StudyLink:
    """A study that a report belongs to, or only compares with."""

    study_instance_uid: str
    kind: str
    """"own", "evidence", "request", "accession", "identical" (of a copy that it stands for), or "comparison"."""


@dataclass(frozen=True, slots=True)
class ReportStanding:
    """Whether a report speaks for its studies, and if not, what put it there."""

    status: ReportStatus | None = None
    """None: not analysed yet."""
    superseded_by: str | None = None
    """SOP Instance UID of the report that took its place, or of the note that rejects it."""
    reason_code: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields of findings and reports that tell it."""
        return {
            "status": self.status.value if self.status else None,
            "superseded_by": self.superseded_by,
            "status_reason": self.reason_code,
        }


@dataclass(frozen=True, slots=True)
class StoredFinding:
    """A finding as it is held, with what links it to its study."""

    id: int
    study_instance_uid: str
    sop_instance_uid: str
    finding: Finding
    pipeline: str
    analysed_at: dt.datetime
    standing: ReportStanding = ReportStanding()
    """Of the report that it is from."""
    studies: tuple[StudyLink, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The finding in the public form."""
        return {
            "id": self.id,
            "study_instance_uid": self.study_instance_uid,
            "sop_instance_uid": self.sop_instance_uid,
            **to_json(self.finding),
            "pipeline": self.pipeline,
            "analysed_at": utc_text(self.analysed_at),
            **self.standing.to_json(),
            "studies": to_json(self.studies),
        }


@dataclass(frozen=True, slots=True)
class StoredReport:
    """One version of a stored object with what was made of it."""

    object_id: int
    sop_instance_uid: str
    study_instance_uid: str
    version: int
    """1 for the first bytes that came under this SOP Instance UID, 2 for the next other ones ..."""
    is_current: bool
    state: State
    reason_code: str | None
    received_at: dt.datetime
    report: Report | None
    """None while pending, failed or quarantined."""
    analysis: Analysis | None
    """Without its findings, which are asked for by themselves; None when there was nothing to analyse."""
    analysed_at: dt.datetime | None
    standing: ReportStanding = ReportStanding()
    studies: tuple[StudyLink, ...] = ()
    character_set_override: str = ""
    """What an administrator stated, "" when its own character set is believed."""

    def to_json(self) -> dict[str, Any]:
        """The report in the public form: identity of the report, its state, and its narrative with sections."""
        report, analysis = self.report, self.analysis
        return {
            "sop_instance_uid": self.sop_instance_uid,
            "study_instance_uid": self.study_instance_uid,
            "version": self.version,
            "is_current": self.is_current,
            "state": self.state.value,
            "reason_code": self.reason_code,
            "received_at": utc_text(self.received_at),
            "title": report.title if report else None,
            "completion_flag": report.completion_flag if report else None,
            "verification_flag": report.verification_flag if report else None,
            "preliminary_flag": report.preliminary_flag if report else None,
            "language": analysis.language if analysis else (report.language or None if report else None),
            "character_set": to_json(report.character_set) if report else None,
            "text": report.narrative.text if report else None,
            "sections": [
                {"name": s.name.value, "title": s.title, "start": s.start, "end": s.end}
                for s in (analysis.sections if analysis else report.narrative.sections if report else ())
            ],
            "measurements": to_json(report.measurements) if report else [],
            "predecessors": list(report.predecessors) if report else [],
            "warnings": [*(report.warnings if report else ()), *(analysis.warnings if analysis else ())],
            "pipeline": analysis.pipeline if analysis else None,
            "analysed_at": utc_text(self.analysed_at) if self.analysed_at else None,
            **self.standing.to_json(),
            "studies": to_json(self.studies),
            "coded_findings": to_json(report.coded_findings) if report else [],
            "recommendations": to_json(analysis.recommendations) if analysis else [],
            "scores": to_json(analysis.scores) if analysis else [],
            "communications": to_json(analysis.communications) if analysis else [],
            "demographics": to_json(analysis.demographics) if analysis else [],
            "identical_documents": list(report.identical_documents) if report else [],
            "verification_date_time": (report.verification_date_time or None) if report else None,
            "character_set_override": self.character_set_override or None,
        }
