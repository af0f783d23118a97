"""Reports for people in the terminal: headings, findings coloured by assertion, tables."""

from collections.abc import Sequence

import rich.table
import rich.text

from dicomnlp.cli.context import out
from dicomnlp.model import Assertion, Finding, Narrative, Section
from dicomnlp.store.answers import StoredFinding
from dicomnlp.store.changes import Changes, Version

STYLES = {
    Assertion.PRESENT: "bold red",
    Assertion.ABSENT: "green",
    Assertion.POSSIBLE: "yellow",
    Assertion.HYPOTHETICAL: "cyan",
    Assertion.HISTORICAL: "magenta",
    Assertion.FAMILY: "blue",
}


def highlighted(text: str, sections: Sequence[Section], findings: Sequence[Finding]) -> rich.text.Text:
    """The narrative with headings in bold and findings in the colour of their assertion."""
    rendered = rich.text.Text(printable(text))
    for section in sections:
        if section.title:
            rendered.stylize("bold underline", section.start, section.start + len(section.title))
    for finding in findings:
        rendered.stylize(STYLES[finding.assertion], finding.start, finding.end)
    return rendered


def printable(text: str) -> str:
    """`text` with control characters replaced one to one: a report must not steer the terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def print_analysis(
    narrative: Narrative, sections: Sequence[Section], findings: Sequence[Finding], heading: str
) -> None:
    """A narrative with its findings marked, and what the colours mean."""
    out.rule(printable(heading), align="left")
    out.print(highlighted(narrative.text, sections, findings))
    legend = rich.text.Text()
    for assertion in dict.fromkeys(f.assertion for f in findings):
        legend.append(f" {assertion.value} ", STYLES[assertion])
    out.print(legend)


def findings_table(findings: Sequence[StoredFinding]) -> rich.table.Table:
    """A table of findings, one row each."""
    table = rich.table.Table("concept", "assertion", "side", "size", "section", "sentence")
    for stored in findings:
        f = stored.finding
        sizes = "; ".join(f"{'x'.join(f'{v:g}' for v in m.values)} {m.unit}" for m in f.measurements)
        table.add_row(
            f.concept.meaning,
            rich.text.Text(f.assertion.value, STYLES[f.assertion]),
            f.laterality.value if f.laterality else "",
            sizes,
            f.section.value,
            printable(" ".join(f.sentence.split())),
        )
    return table


def print_changes(changes: Changes) -> None:
    """What one report changed of another, as a table."""
    if changes.earlier is None:
        out.print(f"{changes.later.sop_instance_uid} took the place of no other report")
        return
    out.print(f"{_named(changes.earlier)} -> {_named(changes.later)}", markup=False)
    table = rich.table.Table("", "concept", "before", "after", "sentence")
    for mark, before, after in (
        *(("changed", a, b) for a, b in changes.changed),
        *(("added", None, f) for f in changes.added),
        *(("gone", f, None) for f in changes.gone),
    ):
        shown = after or before
        assert shown is not None
        table.add_row(
            mark,
            shown.finding.concept.meaning,
            _stated(before),
            _stated(after),
            printable(" ".join(shown.finding.sentence.split())),
        )
    out.print(table)
    out.print(f"{changes.unchanged} unchanged")


def _named(version: Version) -> str:
    return f"{version.sop_instance_uid} (version {version.version})"


def _stated(stored: StoredFinding | None) -> str:
    if stored is None:
        return ""
    f = stored.finding
    return f"{f.assertion.value}{f', {f.laterality.value}' if f.laterality else ''}"
