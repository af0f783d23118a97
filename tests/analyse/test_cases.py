r"""Rows of ``cases/*.txt``: each rule group's specification, one statement a row.

A row is ``value | text`` with the mention in double brackets; ``\n`` is a line break, ``-`` no value, lines with ``#``
explain the row below, lines with ``##`` begin a group. What the value is, the file says.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.analyse.pack import LANGUAGES
from dicomnlp.model import Finding, Narrative

FOLDER = Path(__file__).parent / "cases"

VALUES: dict[str, Callable[[Finding], str]] = {
    "laterality": lambda f: f.laterality or "",
    "anatomy": lambda f: f.anatomy.id if f.anatomy else "",
    "severity": lambda f: f.severity or "",
    "change": lambda f: f.change or "",
    "acuity": lambda f: f.acuity or "",
    "count": lambda f: f.count or "",
    "levels": lambda f: "; ".join(f.levels),
    "image_references": lambda f: "; ".join(f.image_references),
    "sizes": lambda f: "; ".join(m.text + (" before" if m.temporality == "prior" else "") for m in f.measurements),
    "section": lambda f: f.section,
    "lexicon_assertion": lambda f: f.assertion,
    "concept": lambda f: f.concept.id,
}
"""What each file's values are of a finding that the lexicon finds; of several on one mention they are joined by "/"."""


def rows(name: str) -> list[tuple[str, str, int, int]]:
    """(value, text, start, end) of each row of the file."""
    found = []
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            value, marked = line.split(" | ", 1)
            before, rest = marked.replace("\\n", "\n").split("[[")
            span, after = rest.split("]]")
            found.append((value.strip(), before + span + after, len(before), len(before) + len(span)))
    return found


@pytest.mark.parametrize(
    ("value", "text", "start", "end"),
    [pytest.param(*row, id=f"{row[1]} [{row[1][row[2] : row[3]]}]") for row in rows("assertion")],
)
def test_mention_is_asserted_as_a_radiologist_reads_it(value: str, text: str, start: int, end: int) -> None:
    """Each row's mention comes out with the row's assertion."""
    (finding,) = analyse(Narrative(text), language="en", targets=[(start, end)]).findings
    assert (finding.start, finding.end, finding.assertion.value) == (start, end, value)


@pytest.mark.parametrize(
    ("name", "value", "text", "start", "end"),
    [pytest.param(n, *row, id=f"{n}: {row[1]} [{row[1][row[2] : row[3]]}]") for n in VALUES for row in rows(n)],
)
def test_finding_has_what_a_radiologist_reads(name: str, value: str, text: str, start: int, end: int) -> None:
    """The findings of the lexicon on the row's mention have the row's value."""
    findings = analyse(Narrative(text), language="en").findings
    here = [f for f in findings if f.start < end and f.end > start]
    assert here, "the lexicon doesn't know the mention"
    got = dict.fromkeys(VALUES[name](f) for f in here)
    assert "/".join(got) == ("" if value == "-" else value)


def test_there_are_as_many_rows_as_a_specification_needs() -> None:
    """At least 600, none twice, with the pack's own."""
    own = tomllib.loads((LANGUAGES / "en" / "cases.toml").read_text(encoding="utf-8"))["cases"]
    written = [(path.stem, *row) for path in sorted(FOLDER.glob("*.txt")) for row in rows(path.stem)]
    assert {path.stem for path in FOLDER.glob("*.txt")} == {"assertion", *VALUES}
    assert len(set(written)) == len(written)
    assert len(written) + len(own) >= 600
