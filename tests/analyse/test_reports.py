"""Whole reports of all modalities in English and Chinese, and what a radiologist reads in each.

A file of ``reports/`` (English) or ``reports_zh/`` is a report, a line of dashes, and a finding a row: words,
assertion, concept, site, side, degree, course and sizes, ``-`` for none. What normal statements imply is left out. A
row that begins with ``?`` is one that the rules don't read as a radiologist would: it stands for what is found, and
only its words are compared.
"""

from pathlib import Path

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.analyse.engine import load_engine
from dicomnlp.model import Finding, Narrative

HERE = Path(__file__).parent
FILES = {"en": sorted((HERE / "reports").glob("*.txt")), "zh": sorted((HERE / "reports_zh").glob("*.txt"))}
EACH = [pytest.param(code, file, id=f"{code}-{file.stem}") for code, files in FILES.items() for file in files]


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


def rows(text: str, language: str) -> list[str]:
    """The findings of a report, without what its normal statements imply."""
    findings = analyse(Narrative(text), language=language).findings
    concepts = load_engine(language).pack.concepts
    implied = {(f.start, i) for f in findings for i in concepts[f.concept.id].implies}
    return [row(f) for f in findings if (f.start, f.concept.id) not in implied]


@pytest.mark.parametrize(("language", "file"), EACH)
def test_a_report_is_read_as_a_radiologist_reads_it(language: str, file: Path) -> None:
    """Every finding of the report is found as its row says, in order, and no other."""
    text, _, table = file.read_text(encoding="utf-8").partition("\n----\n")
    expected = table.splitlines()
    found = rows(text, language)
    assert [r.split(" | ")[0] for r in found] == [r.removeprefix("? ").split(" | ")[0] for r in expected]
    judged = [(one, other) for one, other in zip(found, expected, strict=True) if not other.startswith("? ")]
    assert [one for one, _ in judged] == [other for _, other in judged]


@pytest.mark.parametrize(("language", "many"), [("en", 90), ("zh", 36)])
def test_the_reports_are_many_and_few_rows_are_wrong(language: str, many: int) -> None:
    """At least so many reports, and fewer than one row in thirty that isn't read as it should be."""
    tables = [file.read_text(encoding="utf-8").partition("\n----\n")[2].splitlines() for file in FILES[language]]
    expected = [r for table in tables for r in table]
    assert len(FILES[language]) >= many
    assert 30 * sum(r.startswith("? ") for r in expected) < len(expected)
