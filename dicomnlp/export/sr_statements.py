"""What of a report's findings is written, as statements.

What another mention says better is dropped, and what can't be said truthfully is left out and counted.
docs/decisions/0010-write-back.md says why.
"""

import bisect
import hashlib
import json
import re
import tomllib
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dicomnlp.analyse.hierarchy import expand_concept, expand_site
from dicomnlp.errors import DicomnlpError, UsageError
from dicomnlp.export import sr_codes
from dicomnlp.model import Assertion, Code, Finding, Measurement, Temporality, to_json

DENIALS = Path(__file__).parent / "denials.toml"
_MARKS = ".;:,\n，。；、："
_NAMESPACE = uuid.UUID("8f0e6a34-3a51-4f0c-9b0a-4f3c7f4f8d11")
"""Of tracking UIDs (PS3.5 B.2)."""


class NotWritableError(DicomnlpError):
    """No document can be made of a report."""

    reason_code = "not_writable"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with what it is of."""

    name: Code
    value: float
    unit: Code


@dataclass(frozen=True, slots=True)
class Statement:
    """What a report says of one finding at one place."""

    concept: Code
    assertion: Assertion
    site: Code | None
    laterality: Code | None
    modifiers: tuple[tuple[Code, Code], ...]
    """(name, value): severity, acuity, change."""
    quantities: tuple[Quantity, ...]
    sentence: str
    """Of the report, in which it stands."""
    tracking_identifier: str
    tracking_uid: str
    """The same for the same finding of a study, whichever report of it says so."""


@dataclass(frozen=True, slots=True)
class Statements:
    """All that is written of one report."""

    of_findings: tuple[Statement, ...]
    left_out: dict[str, int]
    """How many mentions aren't written, by reason: "hypothetical", "historical", "family", "subject", "restricted";
    and how many measurements: "prior", "bound"."""

    def digest(self, **circumstances: Any) -> str:
        """SHA-256 over what is said, and over `circumstances` that a document says beside it."""
        said = {"statements": to_json(self.of_findings), **circumstances}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def statements_of(findings: Sequence[Finding], text: str, study_instance_uid: str) -> Statements:
    """The statements of a report's findings, in the order of its text.

    Parameters
    ----------
    findings
        Of one report.
    text
        Its narrative.
    study_instance_uid
        For tracking: see `Statement`.
    """
    left_out: Counter[str] = Counter()
    written: list[Finding] = []
    ends = sorted({f.end for f in findings} | {c.end for f in findings for c in f.cues})
    for finding in sorted(findings, key=lambda f: (f.start, f.end)):
        reason = _reason_against(finding, _before(finding, text, ends))
        if reason:
            left_out[reason] += 1
        else:
            written.append(finding)
    told = [f for n, f in enumerate(written) if not _is_said_by(f, written[:n], written[n + 1 :])]
    ordinals: Counter[str] = Counter()
    statements = []
    for finding in told:
        anatomy = finding.anatomy.id if finding.anatomy else None
        thing = " ".join(filter(None, (finding.concept.id, anatomy, finding.laterality)))
        ordinals[thing] += 1
        statements.append(_statement(finding, f"{thing} {ordinals[thing]}", study_instance_uid, left_out))
    return Statements(tuple(statements), dict(sorted(left_out.items())))


def _reason_against(finding: Finding, before: str) -> str | None:
    """Why a mention can't be written as a statement about the patient in this study; None when it can.

    Parameters
    ----------
    before
        The words that stand right before the mention, and belong to it.
    """
    if finding.assertion not in sr_codes.CONTEXTS:
        return finding.assertion.value
    if finding.subject:
        return "subject"
    if finding.assertion is Assertion.ABSENT and _is_restricted(finding, before):
        return "restricted"
    return None


def _is_restricted(finding: Finding, before: str) -> bool:
    """Whether the report denies less than the concept: "no nodule above 5 mm", "none at L4-L5", "no acute fracture"."""
    if finding.measurements or finding.levels or finding.count:
        return True
    called = finding.concept.meaning.lower()
    found = restrictions().findall(f"{before}{finding.text}".lower())
    return any(word not in called for word in found)


def _before(finding: Finding, text: str, ends: Sequence[int]) -> str:
    """The words before a mention: from the last mark of the sentence, cue or other mention on."""
    mark = max(text.rfind(mark, 0, finding.start) for mark in _MARKS) + 1
    place = bisect.bisect_right(ends, finding.start)
    return text[max(mark, ends[place - 1] if place else 0) : finding.start]


@cache
def restrictions() -> re.Pattern[str]:
    """The words of denials.toml, in all languages, the longest first.

    Raises
    ------
    ValueError
        The file isn't as it should be.
    """
    found: dict[str, list[str]] = {}
    for language, entry in tomllib.loads(DENIALS.read_text(encoding="utf-8")).items():
        if set(entry) != {"words"} or not all(isinstance(w, str) and w == w.lower() for w in entry["words"]):
            raise ValueError(f"denials.toml: {language}: needs words, in small letters")
        found[language] = sorted(set(entry["words"]), key=len, reverse=True)
    spaced = "|".join(re.escape(word) for language in found if language != "zh" for word in found[language])
    return re.compile(rf"(?<![\w-])(?:{spaced})(?![\w-])|{'|'.join(map(re.escape, found['zh']))}")


def _is_said_by(finding: Finding, before: Sequence[Finding], after: Sequence[Finding]) -> bool:
    """Whether another mention says the same, and as much or more; of equal ones the first stands."""
    if any(_says(other, finding) for other in before):
        return True
    return any(_says(other, finding) and not _says(finding, other) for other in after)


def _says(one: Finding, other: Finding) -> bool:
    """Whether `one` says all that `other` does."""
    if one.assertion is not other.assertion:
        return False
    mine, theirs = _attributes(one), _attributes(other)
    if other.assertion is not Assertion.PRESENT:
        # "no acute fracture" says less than "no fracture", and a doubt about one thing says nothing of another
        return (one.concept.id, _site(one), mine) == (other.concept.id, _site(other), theirs)
    return (
        one.concept.id in _kinds_of(other.concept.id)
        and (not _site(other) or _site(one) in _parts_of(_site(other)))
        and all(not their or my == their for my, their in zip(mine, theirs, strict=True))
    )


def _attributes(finding: Finding) -> tuple[Any, ...]:
    return (
        finding.laterality,
        finding.severity,
        finding.acuity,
        finding.change,
        tuple((m.kind, m.unit, m.values) for m in finding.measurements if _is_written(m)),
    )


def _site(finding: Finding) -> str:
    return finding.anatomy.id if finding.anatomy else ""


@cache
def _kinds_of(concept: str) -> frozenset[str]:
    """A concept and those that descend from it; of one that no pack has, itself."""
    try:
        return frozenset(expand_concept(concept))
    except UsageError:
        return frozenset({concept})


@cache
def _parts_of(site: str) -> frozenset[str]:
    """Likewise of sites."""
    try:
        return frozenset(expand_site(site))
    except UsageError:
        return frozenset({site})


def _is_written(measurement: Measurement) -> bool:
    return measurement.temporality is not Temporality.PRIOR and measurement.comparator is None


def _statement(finding: Finding, tracking: str, study_instance_uid: str, left_out: Counter[str]) -> Statement:
    quantities = []
    for measurement in finding.measurements:
        if not _is_written(measurement):
            left_out["prior" if measurement.temporality is Temporality.PRIOR else "bound"] += 1
            continue
        unit = sr_codes.unit(measurement)
        quantities += [Quantity(name, value, unit) for name, value in sr_codes.quantities(measurement)]
    modifiers = []
    if finding.severity:
        modifiers.append((sr_codes.SEVERITY, sr_codes.degree(finding.severity)))
    if finding.acuity:
        modifiers.append((sr_codes.ACUITY, sr_codes.acuity(finding.acuity)))
    if finding.change:
        modifiers.append((sr_codes.CHANGE, sr_codes.course(finding.change)))
    return Statement(
        concept=sr_codes.code_of(finding.concept),
        assertion=finding.assertion,
        site=sr_codes.site_of(finding.anatomy, finding.laterality) if finding.anatomy else None,
        laterality=sr_codes.side(finding.laterality) if finding.laterality else None,
        modifiers=tuple(modifiers),
        quantities=tuple(quantities),
        sentence=finding.sentence.strip(),
        tracking_identifier=tracking,
        tracking_uid=f"2.25.{uuid.uuid5(_NAMESPACE, f'{study_instance_uid} {tracking}').int}",
    )
