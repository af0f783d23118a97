"""What one object says, as a document for the terminal: facts, text with headings, coded statements, references."""

from collections import Counter
from collections.abc import Iterable

from dicomnlp.cli.context import out
from dicomnlp.cli.reading import highlighted, print_heading
from dicomnlp.cli.tables import print_records, printable
from dicomnlp.model import Code, CodedFinding, CodedMeasurement, Report, State, Temporality


def print_report(report: Report, heading: str) -> None:
    """What an object says, from top to bottom; parts that it doesn't have are left out."""
    print_heading(heading)
    for name, value in _facts(report):
        if value:
            out.print(f"{name}: {printable(value)}", style="dim", markup=False, soft_wrap=True)
    if report.narrative.text:
        out.print()
        out.print(highlighted(report.narrative.text, report.narrative.sections, ()))
        out.print()
    elif report.state is State.NEEDS_OCR:
        out.print("The document is made of images: its text would have to be recognised (OCR).", style="yellow")
    else:
        out.print("The object holds no narrative text.", style="yellow")
    if report.coded_findings:
        out.print("Coded findings", style="bold")
        print_records(
            ("finding", "value", "qualified by", "context"),
            [
                (_meaning(f.concept), _meaning(f.value), _modifiers(f.modifiers), _context(f))
                for f in report.coded_findings
            ],
        )
    if report.measurements:
        out.print("Coded measurements", style="bold")
        print_records(
            ("measurement", "value", "unit", "qualified by", "context"),
            [
                (
                    _meaning(m.concept),
                    " x ".join(f"{v:.10g}" for v in m.values) or _meaning(m.qualifier),
                    _unit(m.unit),
                    _modifiers(m.modifiers),
                    _context(m),
                )
                for m in report.measurements
            ],
        )
    for line in _references(report):
        out.print(line, style="dim", markup=False, soft_wrap=True)
    for warning in report.warnings:
        out.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)


def _facts(report: Report) -> Iterable[tuple[str, str]]:
    identity, characters = report.identity, report.character_set
    flags = (report.completion_flag, report.verification_flag, report.preliminary_flag)
    declared = "\\".join(characters.declared) or "nothing"
    return [
        ("title", report.title),
        ("document", _coded(report.document_code)),
        ("object", identity.sop_instance_uid),
        ("study", identity.study_instance_uid),
        ("patient", identity.patient_id),
        ("date", _date(identity.content_date or identity.study_date)),
        ("accession numbers", ", ".join(report.accession_numbers)),
        ("state", report.state.value),
        ("flags", " ".join(flag for flag in flags if flag)),
        ("verified", report.verification_date_time),
        ("character set", f"{characters.used}, {characters.confidence:.2f} sure; the object declares {declared}"),
        ("language", report.language),
        ("replaces", ", ".join(report.predecessors)),
        ("identical to", ", ".join(report.identical_documents)),
    ]


def _date(date: str) -> str:
    """DA as people write it."""
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if date else ""


def _coded(code: Code | None) -> str:
    return f"{code.meaning} ({code.value}, {code.scheme})" if code is not None else ""


def _meaning(code: Code | None) -> str:
    return printable(code.meaning or code.value) if code is not None else ""


def _unit(unit: Code | None) -> str:
    """UCUM; its words for having no unit are no help to a reader, their meaning may be."""
    if unit is None or unit.value == "1":
        return ""
    return _meaning(unit) if unit.value.startswith("{") else printable(unit.value)


def _modifiers(modifiers: Iterable[tuple[Code, Code]]) -> str:
    return "; ".join(f"{_meaning(name)}: {_meaning(value)}" for name, value in modifiers)


def _context(statement: CodedFinding | CodedMeasurement) -> str:
    """Of whom, by whom and of when, as far as it isn't the patient, the report's author and now."""
    when = "prior" if statement.temporality is Temporality.PRIOR else ""
    by = f"by {statement.observer}" if statement.observer else ""
    return printable(", ".join(part for part in (statement.subject, by, when) if part))


def _references(report: Report) -> Iterable[str]:
    """The objects that the report refers to, counted by kind and study."""
    counted = Counter((e.kind, e.study_instance_uid) for e in report.evidence if e.sop_instance_uid)
    studies = dict.fromkeys((e.kind, e.study_instance_uid) for e in report.evidence)
    names = {"current": "evidence", "pertinent": "comparison", "request": "request"}
    for kind, study in studies:
        number = counted[kind, study]
        objects = f": {number} object{'s' if number != 1 else ''}" if number else ""
        yield printable(f"{names.get(kind, kind)} in study {study}{objects}")
