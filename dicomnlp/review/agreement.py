"""What the findings say, and what the impression says: of presence, of side, of size."""

import functools
from collections.abc import Iterator, Sequence

from dicomnlp.model import Acuity, Assertion, Change, Finding, Laterality, SectionName, Severity
from dicomnlp.remarks import Discrepancy, DiscrepancyKind
from dicomnlp.review.case import HELD, Case, kinds_of, lengths, one_side, opposite, same_site, sites_meet
from dicomnlp.review.contradiction_rules import contradiction_rules
from dicomnlp.review.orders import sides_in

_GONE = frozenset({Assertion.ABSENT})


@functools.lru_cache(8192)
def same_thing(one: str, other: str) -> bool:
    """Whether two concepts may be one thing in other words: the same, of its kind, or said alike by the rules."""
    if one == other:
        return True
    rules = contradiction_rules().agreement
    if any({one, other} <= kinds_of(family) for family in rules.families):
        return True
    if {one, other} & rules.generic and not any({one, other} <= group for group in rules.alike):
        return False
    return other in kinds_of(one) or one in kinds_of(other) or any({one, other} <= group for group in rules.alike)


def presence(case: Case) -> Iterator[Discrepancy]:
    """The findings deny what the impression states, or state what the impression denies."""
    for concluded in case.concluded:
        if concluded.assertion is Assertion.PRESENT:
            found = _denied_in(case, concluded)
            rule = "denied_in_findings"
        elif concluded.assertion is Assertion.ABSENT:
            found = _stated_in(case, concluded)
            rule = "denied_in_impression"
        else:
            continue
        if found is not None:
            confidence = 0.9 if same_site(found, concluded) and found.concept.id == concluded.concept.id else 0.75
            yield Discrepancy(
                DiscrepancyKind.FINDINGS_IMPRESSION,
                rule,
                confidence,
                case.clause_of(found),
                case.clause_of(concluded),
                (("findings", found.assertion.value), ("impression", concluded.assertion.value)),
            )
            return


def _denied_in(case: Case, stated: Finding) -> Finding | None:
    """The denial in the findings of what is stated; None where the findings hold anything like it."""
    if stated.concept.id in contradiction_rules().agreement.generic:
        return None
    alike = [f for f in case.described if same_thing(f.concept.id, stated.concept.id)]
    if any(f.assertion is not Assertion.ABSENT and _may_be_one(f, stated) for f in alike):
        return None
    denials = [f for f in alike if f.assertion in _GONE and f.cues and denies(case, f, stated)]
    return denials[0] if denials and not _explained(case, stated) else None


def _stated_in(case: Case, denial: Finding) -> Finding | None:
    """The statement in the findings of what is denied; None where the findings deny it, too."""
    # what is "clear" or "normal" without a word of denial passes over more than it says
    if denial.concept.id in contradiction_rules().agreement.generic or not denial.cues:
        return None
    alike = [f for f in case.described if f.concept.id in kinds_of(denial.concept.id)]
    if any(f.assertion is not Assertion.PRESENT and _may_be_one(f, denial) for f in alike):
        return None
    # an impression that states it as well says both on purpose
    if any(
        f.assertion in HELD and same_thing(f.concept.id, denial.concept.id) and _may_be_one(f, denial)
        for f in case.concluded
    ):
        return None
    stated = [f for f in alike if denies(case, denial, f) and _is_definite(case, f)]
    return stated[0] if stated and not _explained(case, denial) else None


def _is_definite(case: Case, finding: Finding) -> bool:
    """Not what an impression passes over: a trace of it, an old one, one that is gone."""
    return (
        finding.assertion is Assertion.PRESENT
        and finding.severity is not Severity.MINIMAL
        and finding.acuity is not Acuity.CHRONIC
        and finding.change not in {Change.RESOLVED, Change.STABLE, Change.DECREASED}
        and not _explained(case, finding)
    )


def denies(case: Case, denial: Finding, stated: Finding) -> bool:
    """Whether `denial`, of the text of `case`, is of the very thing: at its site, on its side, not narrower."""
    if stated.concept.id not in kinds_of(denial.concept.id) and denial.concept.id != stated.concept.id:
        return False
    if denial.acuity is not None and denial.acuity is not stated.acuity:
        return False
    if denial.severity is not None or denial.change is not None or denial.measurements:
        return False
    of_one_place = _has_own_site(stated)
    at_one_site = same_site(denial, stated) or (of_one_place and (stated.anatomy is None or _near(denial, stated)))
    # of what names no site, a denial in general is about it only if its kind is of one place
    if not same_site(denial, stated) and denial.concept.id in contradiction_rules().agreement.generic:
        return False
    if not at_one_site and (denial.anatomy is not None or not of_one_place):
        return False
    if denial.laterality not in {None, Laterality.BILATERAL, stated.laterality}:
        return False
    if len(sides_in(case.sentence_around(denial.start, denial.end))) == 1 and denial.laterality is None:
        # the side of the denial is said, but not of what
        return False
    first = min([denial.start, *(c.start for c in denial.cues if c.start > denial.start - 80)])
    last = max([denial.end, *(c.end for c in denial.cues if c.end < denial.end + 80)])
    return not contradiction_rules().agreement.narrowing_pattern.search(case.text, first, last)


def _near(one: Finding, other: Finding) -> bool:
    """Whether the rules say that one thing may be said to be at either site."""
    if one.anatomy is None or other.anatomy is None:
        return False
    a, b = one.anatomy.id, other.anatomy.id
    for group in contradiction_rules().agreement.near_sites:
        if all(any(sites_meet(site, of) for of in group) for site in (a, b)):
            return True
    return False


def _has_own_site(finding: Finding) -> bool:
    """Whether the concept itself says where it is: pneumothorax, appendicitis; not a fracture or a mass."""
    rules = contradiction_rules().agreement
    return finding.concept.id not in rules.anywhere | rules.generic


def _may_be_one(one: Finding, other: Finding) -> bool:
    """Whether two findings can be of one thing: nothing of site or side speaks against it."""
    return same_site(one, other) is not False and not (
        one_side(one) and one_side(other) and one.laterality is not other.laterality
    )


def _explained(case: Case, finding: Finding) -> bool:
    sentence = case.sentence_around(finding.start, finding.end)
    return bool(contradiction_rules().agreement.explained_pattern.search(sentence))


# --- side and size ------------------------------------------------------------------------------------------------


def side(case: Case) -> Iterator[Discrepancy]:
    """The impression puts on one side what the findings have on the other only."""
    for concluded in case.concluded:
        at = one_side(concluded)
        if at is None or concluded.assertion not in HELD or len(_sides_around(case, concluded)) > 1:
            continue
        alike = [f for f in case.described if f.assertion in HELD and same_thing(f.concept.id, concluded.concept.id)]
        alike = [f for f in alike if same_site(f, concluded) is not False or _near(f, concluded)]
        # whatever is on that side too, or on none that is told, may be what is meant
        if not alike or any(_side_told(case, f) is not opposite(at) for f in alike):
            continue
        if any(contradiction_rules().sides.several_pattern.search(case.sentence_around(f.start, f.end)) for f in alike):
            continue
        # an old one isn't the new one
        if {f.acuity is Acuity.CHRONIC for f in alike} != {concluded.acuity is Acuity.CHRONIC}:
            continue
        definite = [f for f in alike if f.assertion is Assertion.PRESENT]
        if not definite or _both_in_impression(case, concluded) or _something_there(case, concluded):
            continue
        found = _best(definite, concluded)
        confidence = 0.9 if same_site(found, concluded) else 0.75
        yield Discrepancy(
            DiscrepancyKind.LATERALITY_TEXT,
            "findings_and_impression",
            confidence,
            case.clause_of(found),
            case.clause_of(concluded),
            (("findings", opposite(at).value), ("impression", at.value)),
        )
        return


def _side_told(case: Case, finding: Finding) -> Laterality | None:
    """The one side that a finding has, or else its sentence; None where the sentence has both."""
    around = _sides_around(case, finding)
    if len(around) > 1:
        return None
    return one_side(finding) or (next(iter(around), None) if finding.laterality is None else None)


def _sides_around(case: Case, finding: Finding) -> frozenset[Laterality]:
    return sides_in(case.sentence_around(finding.start, finding.end))


def _something_there(case: Case, concluded: Finding) -> bool:
    """Whether the findings have something else at that site and side that the impression may mean by another word."""
    for family in contradiction_rules().agreement.broad_families:
        kinds = kinds_of(family)
        if concluded.concept.id in kinds and any(
            f.concept.id in kinds
            and f.assertion in HELD
            and f.laterality is concluded.laterality
            and same_site(f, concluded) is not False
            for f in case.described
        ):
            return True
    return False


def _both_in_impression(case: Case, concluded: Finding) -> bool:
    """Whether the impression has it on the other side as well: then it lists more than the findings do."""
    return any(
        f is not concluded
        and f.laterality is not concluded.laterality
        and f.laterality is not None
        and same_thing(f.concept.id, concluded.concept.id)
        for f in case.concluded
    )


def _best(alike: Sequence[Finding], concluded: Finding) -> Finding:
    """The one most like it: by site, then by concept."""
    return max(alike, key=lambda f: (bool(same_site(f, concluded)), f.concept.id == concluded.concept.id))


def size(case: Case) -> Iterator[Discrepancy]:
    """The impression gives a size that nothing in the findings has, to what has one size there."""
    sizes = contradiction_rules().sizes
    for concluded in case.concluded:
        told = lengths(concluded)
        if len(told) != 1 or concluded.assertion not in HELD:
            continue
        alike = [
            f
            for f in case.described
            if f.assertion in HELD
            and lengths(f)
            and same_thing(f.concept.id, concluded.concept.id)
            and same_site(f, concluded) is not False
            and f.laterality is concluded.laterality
        ]
        if len(alike) != 1:
            continue
        now = max(told[0].values)
        # which lesion a length belongs to isn't always told: whatever the findings measure may be what is meant
        if any(not sizes.differ(now, value) for value in _measured(case)):
            continue
        then = lengths(alike[0])[0]
        facts = (("findings", f"{max(then.values):g} mm"), ("impression", f"{now:g} mm"))
        yield Discrepancy(
            DiscrepancyKind.MEASUREMENT_TEXT,
            "findings_and_impression",
            0.9 if is_slip(max(then.values), now) else 0.75,
            case.place(then.start, then.end),
            case.place(told[0].start, told[0].end),
            facts,
        )
        return


def _measured(case: Case) -> Iterator[float]:
    """Lengths in millimetres in the part that describes, those of before included."""
    concluding = case.stretches_of(SectionName.IMPRESSION)
    for m in case.analysis.measurements:
        if m.unit == "mm" and not any(start <= m.start < end for start, end in concluding):
            yield from m.values


def is_slip(one: float, other: float) -> bool:
    """Whether one number is the other mistyped: a factor of ten, two digits swapped, or one digit changed."""
    if one <= 0 or other <= 0:
        return False
    if abs(max(one, other) / min(one, other) - 10) < 0.05:
        return True
    a, b = f"{one:g}", f"{other:g}"
    return len(a) == len(b) and (sorted(a) == sorted(b) or sum(x != y for x, y in zip(a, b, strict=True)) == 1)
