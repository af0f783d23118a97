"""Annotated reports: the frozen record that scoring speaks of, and the project's own JSON form of it.

The format is described for annotators in ``docs/reference/annotation-format.md``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dicomnlp.errors import UsageError
from dicomnlp.model import Assertion, Laterality, SectionName

SYNONYMS = {
    "asserted": Assertion.PRESENT,
    "affirmed": Assertion.PRESENT,
    "positive": Assertion.PRESENT,
    "negated": Assertion.ABSENT,
    "negative": Assertion.ABSENT,
    "uncertain": Assertion.POSSIBLE,
    "conditional": Assertion.HYPOTHETICAL,
    **{a.value: a for a in Assertion},
}
"""Words of annotators for an assertion."""
OPTIONAL = "optional"
"""A gold assertion: whether the span is found doesn't matter."""
LABEL_VALUES = {1: "present", 0: "absent", -1: "possible", None: None}
PATIENT = "patient"
"""The field that says whose report it is."""
_SLICED_AT_MOST = 60
"""Characters of a field's value that may name a slice of the results."""


@dataclass(frozen=True, slots=True)
class GoldFinding:
    """A span that an annotator marked."""

    start: int
    end: int
    accepted: tuple[Assertion, ...]
    """The annotator's answer first, then others that count as right; empty when the span is optional."""
    concept: str | None = None
    """Id of a concept; an annotation tool's own type, which no pack knows, isn't scored."""
    laterality: Laterality | None = None


@dataclass(frozen=True, slots=True)
class GoldReport:
    """A report with what annotators say of it; None where they didn't look."""

    id: str
    text: str
    language: str | None = None
    findings: tuple[GoldFinding, ...] | None = None
    """All findings of the report: what is found besides is wrong."""
    targets: tuple[GoldFinding, ...] = ()
    """Some spans: only how these are judged is scored."""
    labels: Mapping[str, Mapping[str, str | None]] | None = None
    """Label set ("" where the annotator didn't name it) -> label -> present, absent, possible or None."""
    sections: tuple[tuple[str, int], ...] | None = None
    """(name, start of the heading)."""
    measurements: tuple[tuple[tuple[float, ...], str], ...] | None = None
    """(values, unit)."""
    fields: Mapping[str, str] | None = None
    """Modality, source and whatever else was noted of the report: the results are sliced by these."""


def patient_of(report: GoldReport) -> str:
    """Whose report it is: the field `patient`, any pseudonym; without one the report stands for itself."""
    return (report.fields or {}).get(PATIENT) or f"report {report.id}"


def read_record(record: Mapping[str, Any], name: str) -> GoldReport:
    """The annotated report of one record in the project's own format; `name` is its id if it has none.

    Raises
    ------
    UsageError
        The record isn't in the annotation format.
    """
    text = text_of(record)
    findings = record.get("findings")
    sections, measurements = record.get("sections"), record.get("measurements")
    try:
        return GoldReport(
            id=str(record.get("id", name)),
            text=text,
            language=record.get("language") or record.get("lang"),
            findings=None if findings is None else tuple(_finding(f, text) for f in findings),
            targets=tuple(_finding(t, text) for t in record.get("targets") or ()),
            labels=None if record.get("labels") is None else _labels(record["labels"]),
            # an object of texts by section says nothing of where headings stand
            sections=None if not isinstance(sections, list) else tuple(_heading(s) for s in sections),
            measurements=None
            if measurements is None
            else tuple((tuple(float(v) for v in m["values"]), str(m.get("unit", "mm"))) for m in measurements),
            fields=fields_of(record),
        )
    except KeyError as error:
        raise UsageError(f"an annotation has no {error.args[0]!r}") from None
    except (TypeError, ValueError, AttributeError):
        raise UsageError(
            "findings, targets, labels, sections or measurements aren't in the annotation format"
        ) from None


def text_of(record: Mapping[str, Any]) -> str:
    """The report's text; UsageError where there is none."""
    text = record.get("text")
    if not isinstance(text, str):
        raise UsageError('no "text"')
    return text


def fields_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Short words noted of the report, by which results may be sliced; the patient, and the year of `study_date`."""
    fields = {
        key: value
        for key, value in record.items()
        if key not in {"id", "text"} and isinstance(value, str) and 0 < len(value) <= _SLICED_AT_MOST
    }
    patient, date = record.get(PATIENT), str(record.get("study_date", ""))
    if isinstance(patient, str | int) and patient != "":
        fields[PATIENT] = str(patient)
    if len(date) >= 8 and date[:4].isdigit():
        fields["year"] = date[:4]
    return fields


def checked_span(start: object, end: object, text: str) -> tuple[int, int]:
    """(start, end) as a non-empty span of `text`; UsageError if it isn't one."""
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= len(text):
        raise UsageError("a span is empty or outside the text")
    return start, end


def _finding(annotation: dict[str, Any], text: str) -> GoldFinding:
    start, end = checked_span(annotation["start"], annotation["end"], text)
    said = annotation["label"] if "assertion" not in annotation and "label" in annotation else annotation["assertion"]
    laterality = annotation.get("laterality")
    laterality = None if laterality == "*" else laterality
    if laterality and laterality not in set(Laterality):
        raise UsageError(f"laterality is {', '.join(Laterality)}, or null")
    words = [said, *annotation.get("accept", ())]
    return GoldFinding(
        start,
        end,
        () if said == OPTIONAL else tuple(dict.fromkeys(assertion_of(word) for word in words)),
        annotation.get("concept"),
        Laterality(laterality) if laterality else None,
    )


def _heading(annotation: dict[str, Any]) -> tuple[str, int]:
    name = annotation["name"]
    if name not in set(SectionName):
        raise UsageError(f"a section's name is one of {', '.join(SectionName)}")
    return name, int(annotation["start"])


def assertion_of(word: object) -> Assertion:
    """The assertion that an annotator's word stands for."""
    known = SYNONYMS.get(word.strip().lower()) if isinstance(word, str) else None
    if known is None:
        raise UsageError(f"an assertion is one of {', '.join(SYNONYMS)}, or {OPTIONAL}")
    return known


def _labels(said: Mapping[str, Any]) -> dict[str, dict[str, str | None]]:
    """Label set -> label -> value; labels without a set are those of the set ""."""
    if said and all(isinstance(value, dict) for value in said.values()):
        return {name: {k: _label(v) for k, v in labels.items()} for name, labels in said.items()}
    return {"": {name: _label(value) for name, value in said.items()}}


def _label(value: object) -> str | None:
    if isinstance(value, str):
        if value not in {"present", "absent", "possible"}:
            raise UsageError("a label is present, absent, possible, null, or 1, 0, -1")
        return value
    if value is not None and value not in (1, 0, -1):
        raise UsageError("a label is present, absent, possible, null, or 1, 0, -1")
    return LABEL_VALUES[None if value is None else int(value)]
