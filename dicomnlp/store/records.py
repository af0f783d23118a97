"""Rows to records of the model and back."""

import dataclasses
import enum
import functools
import operator
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy.engine import RowMapping as Row

from dicomnlp.model import (
    Acuity,
    Analysis,
    Assertion,
    Change,
    CharacterSet,
    Code,
    CodedFinding,
    CodedMeasurement,
    Communication,
    Concept,
    ContentItem,
    Cue,
    Evidence,
    Finding,
    Identity,
    Laterality,
    Measurement,
    Narrative,
    PatientStatement,
    Processed,
    Recommendation,
    Report,
    Score,
    Section,
    SectionName,
    Segment,
    Severity,
    State,
    Temporality,
    to_json,
)
from dicomnlp.store.answers import ReportStanding, StoredFinding, StoredReport, StudyLink
from dicomnlp.store.documents import addendum_of, content_sha256
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.schema import IDENTITY_COLUMNS

T = TypeVar("T")
_carried = operator.attrgetter(*IDENTITY_COLUMNS)
_STATEMENTS = ("recommendations", "scores", "communications", "demographics")


def _same(value: Any) -> Any:
    return value


def _make_builder(kind: Any) -> Callable[[Any], Any]:
    """A function that makes a value of the type `kind` of what `to_json` made of one."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        builders = [(f.name, _builder(hints[f.name])) for f in dataclasses.fields(kind)]
        maker = typing.cast("Callable[..., Any]", kind)
        # a field that the stored JSON lacks is newer than the row: its default holds
        return lambda v: maker(**{name: build(v[name]) for name, build in builders if name in v})
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            one = _builder(arguments[0])
            return lambda v: tuple(one(e) for e in v)
        each = [_builder(a) for a in arguments]
        return lambda v: tuple(build(e) for build, e in zip(each, v, strict=True))
    if origin in {types.UnionType, typing.Union} and type(None) in arguments and len(arguments) == 2:
        some = _builder(next(a for a in arguments if a is not type(None)))
        return lambda v: None if v is None else some(v)
    return _same


_builder: Callable[[Any], Callable[[Any], Any]] = functools.cache(_make_builder)


def from_json(kind: type[T], value: Any) -> T:
    """The record of type `kind` that `model.to_json` turned into `value`."""
    return typing.cast("T", _builder(kind)(value))


def _many(kind: type[T], values: list[Any]) -> tuple[T, ...]:
    build = _builder(kind)
    return tuple(build(v) for v in values)


def identity_row(identity: Identity) -> dict[str, str]:
    """The columns of `sop_instance` that only carry the identity."""
    return dict(zip(IDENTITY_COLUMNS, _carried(identity), strict=True))


def analysis_row(processed: Processed) -> dict[str, Any]:
    """The row of `analysis` for a result that has a report, but for when it was analysed."""
    report, analysis = processed.report, processed.analysis
    assert report is not None
    return {
        "object_id": processed.object_id,
        "pipeline": processed.pipeline,
        "is_current": True,
        "state": processed.state.value,
        "title": report.title,
        "document_code": to_json(report.document_code),
        "completion_flag": report.completion_flag,
        "verification_flag": report.verification_flag,
        "preliminary_flag": report.preliminary_flag,
        "declared_language": report.language,
        "character_set": to_json(report.character_set),
        "narrative": report.narrative.text,
        "narrative_sections": to_json(report.narrative.sections),
        "segments": to_json(report.narrative.segments),
        "items": to_json(report.items),
        "coded_measurements": to_json(report.measurements),
        "evidence": to_json(report.evidence),
        "predecessors": to_json(report.predecessors),
        "report_warnings": to_json(report.warnings),
        "language": analysis.language if analysis else None,
        "sections": to_json(analysis.sections) if analysis else None,
        "measurements": to_json(analysis.measurements) if analysis else None,
        "labels": to_json(analysis.labels) if analysis else None,
        "analysis_warnings": to_json(analysis.warnings) if analysis else None,
        **{name: to_json(getattr(analysis, name)) if analysis else [] for name in _STATEMENTS},
        "coded_findings": to_json(report.coded_findings),
        "identical_documents": to_json(report.identical_documents),
        "accession_numbers": to_json(report.accession_numbers),
        "verification_date_time": report.verification_date_time,
        "character_set_override": processed.character_set_override,
        "addendum": addendum_of(report, analysis),
        "content_sha256": content_sha256(report),
        "modalities": list(processed.modalities),
        "rules_labels": to_json(analysis.rules_labels) if analysis and analysis.rules_labels else None,
        "model": analysis.model if analysis else "",
    }


def stored_report(row: Row, studies: tuple[StudyLink, ...] = ()) -> StoredReport:
    """A report of one object.

    Parameters
    ----------
    row
        Of a query that joins `sop_instance` (its is_current also as is_current_version), `analysis` (with the prefix
        analysis_) and `report_standing` (standing_).
    studies
        Those that it is linked to.
    """
    analysed = row["analysis_id"] is not None
    standing = _standing(row)
    return StoredReport(
        object_id=row["id"],
        sop_instance_uid=row["sop_instance_uid"],
        study_instance_uid=row["study_instance_uid"],
        version=row["version"],
        is_current=(
            row["is_current"]
            and (not analysed or row["analysis_is_current"])
            and standing.status in {None, ReportStatus.PREVAILING}
        ),
        state=State(row["state"]),
        reason_code=row["reason_code"],
        received_at=row["received_at"],
        report=_report(row) if analysed else None,
        analysis=_analysis(row) if analysed and row["analysis_language"] is not None else None,
        analysed_at=row["analysis_analysed_at"],
        standing=standing,
        studies=studies,
        character_set_override=row["character_set_override"],
    )


def _standing(row: Row) -> ReportStanding:
    if row["standing_status"] is None:
        return ReportStanding()
    if not row["is_current_version"]:
        return ReportStanding(ReportStatus.SUPERSEDED, row["sop_instance_uid"], "new_version")
    return ReportStanding(
        ReportStatus(row["standing_status"]), row["standing_superseded_by"], row["standing_reason_code"]
    )


def _report(row: Row) -> Report:
    return Report(
        identity=Identity(
            sop_class_uid=row["sop_class_uid"],
            sop_instance_uid=row["sop_instance_uid"],
            study_instance_uid=row["study_instance_uid"],
            **{name: row[name] for name in IDENTITY_COLUMNS},
        ),
        narrative=Narrative(
            text=row["analysis_narrative"],
            sections=_many(Section, row["analysis_narrative_sections"]),
            segments=_many(Segment, row["analysis_segments"]),
        ),
        # what extract says is that there is text, not that it has been analysed
        state=State.PENDING if row["analysis_state"] == State.ANALYSED else State(row["analysis_state"]),
        title=row["analysis_title"],
        document_code=from_json(Code, row["analysis_document_code"]) if row["analysis_document_code"] else None,
        completion_flag=row["analysis_completion_flag"],
        verification_flag=row["analysis_verification_flag"],
        preliminary_flag=row["analysis_preliminary_flag"],
        language=row["analysis_declared_language"],
        character_set=from_json(CharacterSet, row["analysis_character_set"]),
        items=_many(ContentItem, row["analysis_items"]),
        measurements=_many(CodedMeasurement, row["analysis_coded_measurements"]),
        evidence=_many(Evidence, row["analysis_evidence"]),
        predecessors=tuple(row["analysis_predecessors"]),
        warnings=tuple(row["analysis_report_warnings"]),
        coded_findings=_many(CodedFinding, row["analysis_coded_findings"]),
        identical_documents=tuple(row["analysis_identical_documents"]),
        accession_numbers=tuple(row["analysis_accession_numbers"]),
        verification_date_time=row["analysis_verification_date_time"],
    )


def _analysis(row: Row) -> Analysis:
    return Analysis(
        language=row["analysis_language"],
        pipeline=row["analysis_pipeline"],
        sections=_many(Section, row["analysis_sections"]),
        measurements=_many(Measurement, row["analysis_measurements"]),
        labels=row["analysis_labels"],
        recommendations=_many(Recommendation, row["analysis_recommendations"]),
        scores=_many(Score, row["analysis_scores"]),
        communications=_many(Communication, row["analysis_communications"]),
        demographics=_many(PatientStatement, row["analysis_demographics"]),
        warnings=tuple(row["analysis_analysis_warnings"]),
        rules_labels=row["analysis_rules_labels"],
        model=row["analysis_model"],
    )


def finding_row(finding: Finding) -> dict[str, Any]:
    """The columns of `finding` that the finding itself decides."""
    return {
        "concept_id": finding.concept.id,
        "concept_code": finding.concept.code,
        "concept_scheme": finding.concept.scheme,
        "concept_meaning": finding.concept.meaning,
        "text": finding.text,
        "start_offset": finding.start,
        "end_offset": finding.end,
        "sentence": finding.sentence,
        "section": finding.section.value,
        "assertion": finding.assertion.value,
        "is_negated": finding.is_negated,
        "is_uncertain": finding.is_uncertain,
        "is_historical": finding.is_historical,
        "is_hypothetical": finding.is_hypothetical,
        "is_family": finding.is_family,
        "cues": to_json(finding.cues),
        "anatomy": to_json(finding.anatomy),
        "laterality": finding.laterality,
        "severity": finding.severity,
        "change": finding.change,
        "measurements": to_json(finding.measurements),
        "critical": finding.critical,
        "item_path": finding.item_path,
        "subject": finding.subject,
        "observer": finding.observer,
        "acuity": finding.acuity,
        "count": finding.count,
        "levels": to_json(finding.levels),
        "image_references": to_json(finding.image_references),
        "language": finding.language,
        "rules_assertion": finding.rules_assertion,
        "model_probability": finding.model_probability,
        "anatomy_id": finding.anatomy.id if finding.anatomy else None,
        "size_mm": size_of(finding.measurements),
    }


def size_of(measurements: Sequence[Measurement]) -> float | None:
    """The greatest length in millimetres that a finding has now; None when none is stated."""
    lengths = [
        value
        for m in measurements
        if m.kind == "size" and m.unit == "mm" and m.temporality != Temporality.PRIOR
        for value in m.values
    ]
    return max(lengths, default=None)


def stored_finding(row: Row, studies: tuple[StudyLink, ...] = ()) -> StoredFinding:
    """A finding; `row` and `studies` as of `stored_report`, with `finding` joined in place of `analysis`."""
    return StoredFinding(
        id=row["id"],
        study_instance_uid=row["study_instance_uid"],
        sop_instance_uid=row["sop_instance_uid"],
        finding=Finding(
            concept=Concept(row["concept_id"], row["concept_code"], row["concept_scheme"], row["concept_meaning"]),
            text=row["text"],
            start=row["start_offset"],
            end=row["end_offset"],
            sentence=row["sentence"],
            section=SectionName(row["section"]),
            assertion=Assertion(row["assertion"]),
            is_negated=row["is_negated"],
            is_uncertain=row["is_uncertain"],
            is_historical=row["is_historical"],
            is_hypothetical=row["is_hypothetical"],
            is_family=row["is_family"],
            cues=_many(Cue, row["cues"]),
            anatomy=from_json(Concept, row["anatomy"]) if row["anatomy"] else None,
            laterality=Laterality(row["laterality"]) if row["laterality"] else None,
            severity=Severity(row["severity"]) if row["severity"] else None,
            change=Change(row["change"]) if row["change"] else None,
            measurements=_many(Measurement, row["measurements"]),
            critical=row["critical"],
            item_path=row["item_path"],
            subject=row["subject"],
            observer=row["observer"],
            acuity=Acuity(row["acuity"]) if row["acuity"] else None,
            count=row["count"],
            levels=tuple(row["levels"]),
            image_references=tuple(row["image_references"]),
            language=row["language"],
            rules_assertion=Assertion(row["rules_assertion"]) if row["rules_assertion"] else None,
            model_probability=row["model_probability"],
        ),
        pipeline=row["pipeline"],
        analysed_at=row["analysed_at"],
        standing=_standing(row),
        studies=studies,
    )
