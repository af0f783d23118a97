"""Whole reports of many modalities, as they are dictated, with what a radiologist reads in them.

Each row of ``reports_b/reports.jsonl`` holds a report and its findings, sections, recommendations, scores and
communications, judged one by one. A finding whose ``wrong`` names fields holds the right values of them, which the
pipeline doesn't reach yet: those fields aren't compared.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.analyse.engine import load_engine
from dicomnlp.model import Finding, Narrative

REPORTS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parent / "reports_b" / "reports.jsonl").read_text(encoding="utf-8").splitlines()
]
FIELDS = ("assertion", "section", "anatomy", "laterality", "severity", "change", "acuity", "count", "levels", "sizes")
each_report = pytest.mark.parametrize("report", REPORTS, ids=[report["name"] for report in REPORTS])


def found(finding: Finding) -> dict[str, Any]:
    """The finding in the form of the file: what is empty is left out."""
    sizes = [m.text + (" before" if m.temporality == "prior" else "") for m in finding.measurements]
    values: dict[str, Any] = {
        "concept": finding.concept.id,
        "start": finding.start,
        "text": finding.text,
        "assertion": finding.assertion.value,
        "section": finding.section.value,
        "anatomy": finding.anatomy.id if finding.anatomy else None,
        "laterality": finding.laterality.value if finding.laterality else None,
        "severity": finding.severity.value if finding.severity else None,
        "change": finding.change.value if finding.change else None,
        "acuity": finding.acuity.value if finding.acuity else None,
        "count": finding.count,
        "levels": list(finding.levels),
        "sizes": sizes,
        "critical": finding.critical,
    }
    return {name: value for name, value in values.items() if value is not None and value != [] and value is not False}


def compared(finding: dict[str, Any], wrong: list[str]) -> dict[str, Any]:
    """The finding without the fields that are known to be wrong."""
    return {name: value for name, value in finding.items() if name not in wrong and name != "wrong"}


def is_implied(finding: Finding, findings: tuple[Finding, ...]) -> bool:
    """Whether a normal statement on the same words says that the finding is absent."""
    concepts = load_engine("en").pack.concepts
    same = [f for f in findings if (f.start, f.end) == (finding.start, finding.end)]
    return not finding.cues and any(finding.concept.id in concepts[f.concept.id].implies for f in same)


@each_report
def test_findings_are_those_that_a_radiologist_reads(report: dict[str, Any]) -> None:
    """No finding is missed and none is added; each has its attributes."""
    findings = analyse(Narrative(report["text"]), language="en").findings
    got = [found(f) for f in findings if not is_implied(f, findings)]
    expected = report["findings"]
    assert [(f["start"], f["text"]) for f in got] == [(f["start"], f["text"]) for f in expected]
    for one, other in zip(got, expected, strict=True):
        assert compared(one, other.get("wrong", [])) == compared(other, other.get("wrong", []))


@each_report
def test_sections_scores_and_communications_are_read(report: dict[str, Any]) -> None:
    """Sections with their titles, scores, and who was told of the result."""
    analysis = analyse(Narrative(report["text"]), language="en")
    assert [[s.name.value, s.title] for s in analysis.sections] == report["sections"]
    assert [[s.system, s.category] for s in analysis.scores] == report["scores"]
    told = [[c.recipient, c.acknowledged, c.completed] for c in analysis.communications]
    assert told == report["communications"]


@pytest.mark.parametrize(
    "report", [pytest.param(r, id=r["name"]) for r in REPORTS if "recommendations" in r]
)  # those without the list aren't judged
def test_recommendations_are_read(report: dict[str, Any]) -> None:
    """What is recommended, and when."""
    read = analyse(Narrative(report["text"]), language="en").recommendations
    got = [[r.procedure, r.modality, r.interval_days_min, r.interval_days_max, bool(r.conditional)] for r in read]
    assert got == report["recommendations"]


def test_few_fields_are_known_to_be_wrong() -> None:
    """At least 140 reports and 1,000 findings, of which no more than one in twelve has a field that is still wrong."""
    findings = [finding for report in REPORTS for finding in report["findings"]]
    assert len(REPORTS) >= 140
    assert len({report["text"] for report in REPORTS}) == len(REPORTS)
    assert len(findings) >= 1_000
    assert sum("wrong" in finding for finding in findings) * 12 <= len(findings)
    assert all(set(finding.get("wrong", [])) <= {*FIELDS, "concept", "critical"} for finding in findings)
