"""A preliminary report and the final one that took its place: what a reader would have to be told changed."""

import dataclasses
from collections.abc import Iterator

from dicomnlp.model import Assertion, Finding
from dicomnlp.remarks import Discrepancy, DiscrepancyKind, Place, PlaceKind
from dicomnlp.review.agreement import denies, same_thing
from dicomnlp.review.case import HELD, Case, one_side, opposite, same_site
from dicomnlp.review.critical import critical_findings
from dicomnlp.review.orders import sides_in

_URGENT = 3
"""Categories of critical results below this are worth telling when they are new in the final report."""


def between_versions(preliminary: Case, final: Case) -> tuple[Discrepancy, ...]:
    """What the preliminary report states and the final one states otherwise, the first of each kind.

    Parameters
    ----------
    preliminary, final
        Of one study, the second in place of the first.
    """
    found: dict[str, Discrepancy] = {}
    for rule, confidence, before, after in _changes(preliminary, final):
        if rule not in found:
            found[rule] = Discrepancy(
                DiscrepancyKind.PRELIMINARY_FINAL,
                rule,
                confidence,
                _place(preliminary, before),
                _place(final, after),
            )
    return tuple(found.values())


def _place(case: Case, finding: Finding | None) -> Place:
    place = case.clause_of(finding) if finding else case.missing(case.stretches)
    uid = case.report.identity.sop_instance_uid
    return dataclasses.replace(place, kind=PlaceKind.TEXT, sop_instance_uid=uid)


def _changes(preliminary: Case, final: Case) -> Iterator[tuple[str, float, Finding | None, Finding | None]]:
    for after in final.stated:
        if after.assertion is Assertion.PRESENT:
            before = _denial(preliminary, after)
            if before is not None:
                yield "denied_before", 0.9, before, after
    for before in preliminary.stated:
        if before.assertion is Assertion.PRESENT:
            denial = _denial(final, before)
            if denial is not None:
                yield "denied_after", 0.9, before, denial
    yield from _other_sides(preliminary, final)
    for critical in critical_findings(final.analysis.findings):
        if critical.category < _URGENT and not _mentioned(preliminary, critical.finding):
            yield "urgent_only_after", 0.8, None, critical.finding
    for critical in critical_findings(preliminary.analysis.findings):
        if critical.category < _URGENT and not _mentioned(final, critical.finding):
            yield "urgent_only_before", 0.75, critical.finding, None


def _denial(case: Case, stated: Finding) -> Finding | None:
    """The denial in this report of what the other states; None where it holds anything like it."""
    alike = [f for f in case.stated if same_thing(f.concept.id, stated.concept.id)]
    if any(f.assertion is not Assertion.ABSENT and same_site(f, stated) is not False for f in alike):
        return None
    return next((f for f in alike if f.assertion is Assertion.ABSENT and f.cues and denies(case, f, stated)), None)


def _mentioned(case: Case, finding: Finding) -> bool:
    return any(same_thing(f.concept.id, finding.concept.id) for f in case.analysis.findings)


def _other_sides(preliminary: Case, final: Case) -> Iterator[tuple[str, float, Finding, Finding]]:
    for after in final.stated:
        side = one_side(after)
        if side is None or after.assertion not in HELD or _several_sides(final, after):
            continue
        alike = [
            f
            for f in preliminary.stated
            if f.assertion in HELD and same_thing(f.concept.id, after.concept.id) and same_site(f, after) is not False
        ]
        on_other = [f for f in alike if one_side(f) is opposite(side) and not _several_sides(preliminary, f)]
        # on both sides in either report, nobody knows which is meant
        both = any(
            f.assertion in HELD and same_thing(f.concept.id, after.concept.id) and f.laterality is not after.laterality
            for f in final.stated
        )
        if alike and len(on_other) == len(alike) and not both:
            yield "other_side", 0.9, on_other[0], after


def _several_sides(case: Case, finding: Finding) -> bool:
    return len(sides_in(case.sentence_around(finding.start, finding.end))) > 1
