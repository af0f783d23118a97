"""An analysis in the public form that ``dicomnlp analyse --json`` prints."""

from typing import Any

from dicomnlp.model import Analysis, Concept, Finding, Narrative, to_json


def analysis_to_json(identifier: str | int | None, narrative: Narrative, analysis: Analysis) -> dict[str, Any]:
    """One line of ``dicomnlp analyse --json``, as plain JSON values.

    Parameters
    ----------
    identifier
        Whatever the input called itself; given back as it is.
    narrative
        What was read.
    analysis
        What was made of it.
    """
    return {
        "id": identifier,
        "language": analysis.language,
        "text": narrative.text,
        "sections": [
            {"name": s.name.value, "title": s.title, "start": s.start, "end": s.end} for s in analysis.sections
        ],
        "findings": [_finding(f, analysis.pipeline) for f in analysis.findings],
        "measurements": to_json(analysis.measurements),
        "recommendations": to_json(analysis.recommendations),
        "scores": to_json(analysis.scores),
        "communications": to_json(analysis.communications),
        "demographics": to_json(analysis.demographics),
        "labels": _labels(analysis.labels),
        "rules_labels": None if analysis.rules_labels is None else _labels(analysis.rules_labels),
        "model": analysis.model,
        "warnings": list(analysis.warnings),
    }


def _labels(labels: dict[str, dict[str, str | None]]) -> dict[str, dict[str, str | None]]:
    return {name: dict(values) for name, values in labels.items()}


def _finding(finding: Finding, pipeline: str) -> dict[str, Any]:
    """What `to_json` gives, field by field: findings are most of a line, and this is most of its cost.

    `_value_` is what an enumeration's `value` gives, without the descriptor.
    """
    return {
        "concept": _concept(finding.concept),
        "text": finding.text,
        "start": finding.start,
        "end": finding.end,
        "sentence": finding.sentence,
        "section": finding.section._value_,
        "assertion": finding.assertion._value_,
        "is_negated": finding.is_negated,
        "is_uncertain": finding.is_uncertain,
        "is_historical": finding.is_historical,
        "is_hypothetical": finding.is_hypothetical,
        "is_family": finding.is_family,
        "cues": [{"text": c.text, "start": c.start, "end": c.end, "category": c.category} for c in finding.cues],
        "anatomy": finding.anatomy and _concept(finding.anatomy),
        "laterality": finding.laterality and finding.laterality._value_,
        "severity": finding.severity and finding.severity._value_,
        "change": finding.change and finding.change._value_,
        "measurements": to_json(finding.measurements) if finding.measurements else [],
        "critical": finding.critical,
        "item_path": finding.item_path,
        "subject": finding.subject,
        "observer": finding.observer,
        "acuity": finding.acuity and finding.acuity._value_,
        "count": finding.count,
        "levels": list(finding.levels),
        "image_references": list(finding.image_references),
        "rules_assertion": finding.rules_assertion and finding.rules_assertion._value_,
        "model_probability": finding.model_probability,
        "language": finding.language,
        "pipeline": pipeline,
    }


def _concept(concept: Concept) -> dict[str, Any]:
    return {"id": concept.id, "code": concept.code, "scheme": concept.scheme, "meaning": concept.meaning}
