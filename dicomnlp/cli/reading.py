"""Reports for people in the terminal: headings, findings coloured by assertion, tables."""

from collections.abc import Sequence

import rich.text

from dicomnlp.cli.context import out
from dicomnlp.cli.tables import print_records, printable
from dicomnlp.model import Assertion, Finding, Measurement, Narrative, Section, State, Temporality
from dicomnlp.store.answers import StoredFinding, StoredReport
from dicomnlp.store.changes import Changes, Version
from dicomnlp.store.images import ImageSeries

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


def print_heading(text: str) -> None:
    """A line that begins a report; never cut, whatever the width."""
    out.print(f"── {printable(text)}", style="bold", soft_wrap=True)


def print_analysis(
    narrative: Narrative, sections: Sequence[Section], findings: Sequence[Finding], heading: str
) -> None:
    """A narrative with its findings marked, and what the colours mean."""
    print_heading(heading)
    out.print(highlighted(narrative.text, sections, findings))
    legend = rich.text.Text()
    for assertion in dict.fromkeys(f.assertion for f in findings):
        legend.append(f" {assertion.value} ", STYLES[assertion])
    out.print(legend)


def print_findings(findings: Sequence[StoredFinding]) -> None:
    """Findings in the order given, with what is stated of each."""
    names = ("concept", "assertion", "of", "by", "side", "anatomy", "severity", "change", "size", "section", "sentence")
    print_records(
        names,
        [
            (
                f.concept.meaning,
                rich.text.Text(f.assertion.value, STYLES[f.assertion]),
                f.subject,
                # that a person says it is what everybody expects
                f.observer if f.observer != "person" else "",
                f.laterality.value if f.laterality else "",
                f.anatomy.meaning if f.anatomy else "",
                f.severity.value if f.severity else "",
                f.change.value if f.change else "",
                "; ".join(size_text(m) for m in f.measurements),
                f.section.value,
                " ".join(f.sentence.split()),
            )
            for f in (stored.finding for stored in findings)
        ],
    )


def size_text(measurement: Measurement) -> str:
    """What was measured, 6x4 mm; in brackets where it is a prior one."""
    text = f"{'x'.join(f'{v:g}' for v in measurement.values)} {measurement.unit}"
    return f"(prior {text})" if measurement.temporality is Temporality.PRIOR else text


def states_told(reports: Sequence[StoredReport]) -> list[str]:
    """A line for each state but analysed that reports are in: no findings of these doesn't mean that none are there."""
    lines = []
    for state in State:
        of_state = [r for r in reports if r.state is state]
        if state is State.ANALYSED or not of_state:
            continue
        counted = f"{len(of_state)} report{'s' if len(of_state) != 1 else ''} {_STATE_WORDS[state]}"
        reasons = ", ".join(dict.fromkeys(r.reason_code for r in of_state if r.reason_code))
        command = _STATE_COMMANDS.get(state)
        lines.append(counted + (f": {reasons}" if reasons else "") + (f"; see {command}" if command else ""))
    return lines


def images_told(series: Sequence[ImageSeries]) -> list[str]:
    """A line that says what images a study has, by modality, body part and side; none when no image was sent."""
    if not series:
        return []
    kinds = dict.fromkeys(" ".join(filter(None, (s.modality, s.body_part_examined, s.laterality))) for s in series)
    count = sum(s.images for s in series)
    line = f"{count} image{'s' if count != 1 else ''} in {len(series)} series"
    named = ", ".join(filter(None, kinds))
    return [f"{line}: {named}" if named else line]


_STATE_WORDS = {
    State.PENDING: "waiting for analysis",
    State.NO_TEXT: "without text (no_text)",
    State.NEEDS_OCR: "made of images without text (needs_ocr)",
    State.OWN: "written by dicomnlp itself, and not analysed",
    State.FAILED: "failed",
    State.QUARANTINED: "in quarantine",
}
_STATE_COMMANDS = {State.FAILED: "dicomnlp failures", State.QUARANTINED: "dicomnlp quarantine"}


def print_changes(changes: Changes) -> None:
    """What one report changed of another, as a table."""
    if changes.earlier is None:
        out.print(f"{changes.later.sop_instance_uid} took the place of no other report")
        return
    out.print(f"{_named(changes.earlier)} -> {_named(changes.later)}", markup=False)
    rows = []
    for mark, before, after in (
        *(("changed", a, b) for a, b in changes.changed),
        *(("added", None, f) for f in changes.added),
        *(("gone", f, None) for f in changes.gone),
    ):
        shown = after or before
        assert shown is not None
        sentence = " ".join(shown.finding.sentence.split())
        rows.append((mark, shown.finding.concept.meaning, _stated(before), _stated(after), sentence))
    if rows:
        print_records(("", "concept", "before", "after", "sentence"), rows)
    out.print(f"{changes.unchanged} unchanged")


def _named(version: Version) -> str:
    return f"{version.sop_instance_uid} (version {version.version})"


def _stated(stored: StoredFinding | None) -> str:
    if stored is None:
        return ""
    f = stored.finding
    return f"{f.assertion.value}{f', {f.laterality.value}' if f.laterality else ''}"
