"""Which findings of a report are critical results: what somebody must be told within minutes, hours or days.

The lexicon knows of each concept how urgent it can be; here the whole report is looked at: what is old, known, getting
better or the very question of the study is no news to anybody, and a list that is full of it is not read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dicomnlp.model import Acuity, Assertion, Change, Communication, Finding, Temporality, to_json
from dicomnlp.review.critical_rules import Rule, category_of, critical_rules, lineage_of, rule_of

_STATED = (Assertion.PRESENT, Assertion.POSSIBLE)
_ACUTE = (Acuity.ACUTE, Acuity.SUBACUTE, Acuity.ACUTE_ON_CHRONIC)
_NEWS = (Change.NEW, Change.INCREASED)


@dataclass(frozen=True, slots=True)
class CriticalFinding:
    """A mention that makes a report critical."""

    category: int
    finding: Finding
    reason: str
    """"category" of the lexicon alone, or which condition of a rule was met: "acute", "news", "size", "suspected"."""


@dataclass(frozen=True, slots=True)
class Documented:
    """What a report says of who was told."""

    communication: Communication

    def to_json(self) -> dict[str, Any]:
        """In the public form."""
        told: dict[str, Any] = to_json(self.communication)
        return told


def critical_findings(findings: Sequence[Finding]) -> list[CriticalFinding]:
    """The critical results among the findings of a report: the first mention of each concept, the most urgent first.

    Parameters
    ----------
    findings
        All of the report.
    """
    rules = critical_rules()
    stated = [f for f in findings if _is_stated(f)]
    # what one mention calls old is old where it is named again without that word
    old = {f.concept.id for f in findings if f.acuity in rules.general.not_acuities or _is_followed(f)}
    fresh = {f.concept.id for f in stated if f.acuity in _ACUTE or f.change in _NEWS}
    told_before = [f for f in findings if f.section in rules.general.known_in and _may_be_known(f)]
    known = {c for f in told_before for c in lineage_of(f.concept.id)}
    suspected = {f.concept.id for f in stated if set(rules.third.suspected) & set(lineage_of(f.concept.id))}
    found: dict[str, CriticalFinding] = {}
    for f in stated:
        if f.concept.id in found or (f.concept.id in old and f.concept.id not in fresh):
            continue
        category = category_of(f.concept.id)
        if category is None:
            continue
        rule = rule_of(f.concept.id)
        if rule is not None and rule.size_mm is not None and _largest(f.concept.id, findings) < rule.size_mm:
            continue
        reason = _reason(f, category, rule, fresh, known, suspected)
        if reason is not None:
            found[f.concept.id] = CriticalFinding(category, f, reason)
    return sorted(found.values(), key=lambda c: (c.category, c.finding.start))


def documented(communications: Iterable[Communication]) -> Documented | None:
    """Where a report says that somebody was told; None when it doesn't, or only that it was tried or is to be done."""
    return next((Documented(c) for c in communications if c.completed), None)


def _is_stated(finding: Finding) -> bool:
    general = critical_rules().general
    return (
        finding.assertion in _STATED
        and finding.section in general.sections
        and not finding.subject
        and finding.acuity not in general.not_acuities
        and not _is_followed(finding)
    )


def _is_followed(finding: Finding) -> bool:
    return finding.assertion in _STATED and finding.change in critical_rules().general.not_changes


def _may_be_known(finding: Finding) -> bool:
    """Whether a mention in what precedes the findings tells of something that the patient has or had."""
    return finding.assertion in {Assertion.PRESENT, Assertion.HISTORICAL}


def _reason(
    finding: Finding, category: int, rule: Rule | None, fresh: set[str], known: set[str], suspected: set[str]
) -> str | None:
    """Why it is one; None when it isn't."""
    concept = finding.concept.id
    if rule is not None:
        if not rule.listed:
            return None
        if rule.acute and concept not in fresh:
            return None
        if rule.news and known & set(lineage_of(concept)) and concept not in fresh:
            return None
        return "acute" if rule.acute else "size" if rule.size_mm is not None else "news" if rule.news else "category"
    if category < 3:
        return None if concept in known and concept not in fresh else "category"
    third = critical_rules().third
    beside = suspected - {concept}
    is_news = not any(known & set(lineage_of(c)) for c in beside)
    return "suspected" if set(third.concepts) & set(lineage_of(concept)) and beside and is_news else None


def _largest(concept_id: str, findings: Sequence[Finding]) -> float:
    """The largest size of now, in millimetres, that any mention of a concept has; 0 where none is told."""
    return max(
        (
            value
            for f in findings
            if f.concept.id == concept_id
            for m in f.measurements
            if m.unit == "mm" and m.kind == "size" and m.temporality is Temporality.CURRENT
            for value in m.values
        ),
        default=0.0,
    )
