"""Whole reports of CT, MR, PET/CT and plain films, and what a radiologist reads in each.

A file of ``reports/`` is a report, a line of dashes, and a finding a row: words, assertion, concept, site, side,
degree, course and sizes, ``-`` for none. What normal statements imply is left out. A row that begins with ``?`` is one
that the rules don't read as a radiologist would: it stands for what is found, and only its words are compared.
"""

from pathlib import Path

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.analyse.engine import load_engine
from dicomnlp.model import Finding, Narrative

FILES = sorted((Path(__file__).parent / "reports").glob("*.txt"))


def row(finding: Finding) -> str:
    """The finding as a row of the files."""
    sizes = "; ".join(m.text + (" before" if m.temporality == "prior" else "") for m in finding.measurements)
    values = (
        " ".join(finding.text.split()),
        finding.assertion,
        finding.concept.id,
        finding.anatomy.id if finding.anatomy else "",
        finding.laterality or "",
        finding.severity or "",
        finding.change or "",
        " ".join(sizes.split()),
    )
    return " | ".join(str(value) or "-" for value in values)


def rows(text: str) -> list[str]:
    """The findings of a report, without what its normal statements imply."""
    findings = analyse(Narrative(text), language="en").findings
    concepts = load_engine("en").pack.concepts
    implied = {(f.start, i) for f in findings for i in concepts[f.concept.id].implies}
    return [row(f) for f in findings if (f.start, f.concept.id) not in implied]


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_report_is_read_as_a_radiologist_reads_it(file: Path) -> None:
    """Every finding of the report is found as its row says, in order, and no other."""
    text, _, table = file.read_text(encoding="utf-8").partition("\n----\n")
    expected = table.splitlines()
    found = rows(text)
    assert [r.split(" | ")[0] for r in found] == [r.removeprefix("? ").split(" | ")[0] for r in expected]
    judged = [(one, other) for one, other in zip(found, expected, strict=True) if not other.startswith("? ")]
    assert [one for one, _ in judged] == [other for _, other in judged]


def test_the_reports_are_many_and_few_rows_are_wrong() -> None:
    """At least ninety reports, and fewer than one row in thirty that isn't read as it should be."""
    tables = [file.read_text(encoding="utf-8").partition("\n----\n")[2].splitlines() for file in FILES]
    expected = [r for table in tables for r in table]
    assert len(FILES) >= 90
    assert 30 * sum(r.startswith("? ") for r in expected) < len(expected)
