"""Reports made from a grammar, whose every statement is known."""

import pytest
from support.grammar import make_report

from dicomnlp.analyse import analyse
from dicomnlp.model import Narrative

REPORTS = 200


@pytest.mark.parametrize("seed", range(REPORTS))
def test_a_made_report_is_read_as_it_was_meant(seed: int) -> None:
    """Every mention is found and asserted as its frame says, and no mention is two things at once."""
    made = make_report(seed)
    findings = analyse(Narrative(made.text), language="en").findings
    for statement in made.statements:
        here = [f for f in findings if f.start < statement.end and f.end > statement.start]
        said = {f.assertion.value for f in here}
        assert said == {statement.assertion}, made.text[statement.start : statement.end]
        if statement.details:
            read = {(f.laterality, f.severity, f.change) for f in here}
            assert read == set(statement.details), made.text[statement.start : statement.end]


@pytest.mark.parametrize("seed", range(0, REPORTS, 10))
def test_what_is_reported_of_a_made_report_is_in_it(seed: int) -> None:
    """Offsets give the words; sections cover the text in order; one concept on one place has one assertion."""
    made = make_report(seed)
    analysis = analyse(Narrative(made.text), language="en")
    for finding in analysis.findings:
        assert made.text[finding.start : finding.end] == finding.text
        assert all(made.text[c.start : c.end] == c.text for c in finding.cues)
        section = next(s for s in analysis.sections if s.start <= finding.start < s.end)
        assert section.name is finding.section
    ends = [place for s in analysis.sections for place in (s.start, s.end)]
    assert ends == sorted(ends)
    seen: dict[tuple[str, int, int, str | None], str] = {}
    for finding in analysis.findings:
        key = finding.concept.id, finding.start, finding.end, finding.laterality
        assert seen.setdefault(key, finding.assertion) == finding.assertion


def test_the_grammar_is_varied_and_repeatable() -> None:
    """Every study and assertion occurs, and a number always makes the same report."""
    made = [make_report(seed) for seed in range(REPORTS)]
    assert made == [make_report(seed) for seed in range(REPORTS)]
    assert len({report.text for report in made}) == REPORTS
    assert {s.assertion for report in made for s in report.statements} == {
        "present",
        "absent",
        "possible",
        "hypothetical",
        "historical",
    }
