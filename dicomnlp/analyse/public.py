"""An analysis in the public form that ``dicomnlp analyse --json`` prints."""

from typing import Any

from dicomnlp.model import Analysis, Narrative, to_json


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
        "findings": [
            {**to_json(f), "language": analysis.language, "pipeline": analysis.pipeline} for f in analysis.findings
        ],
        "measurements": to_json(analysis.measurements),
        "labels": to_json(analysis.labels),
        "warnings": to_json(analysis.warnings),
    }
