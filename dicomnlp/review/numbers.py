"""Numbers that don't agree: sizes with the words for their change, and measured items with the text."""

import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from dicomnlp.model import Assertion, Change, CodedMeasurement, Finding, Measurement, Temporality
from dicomnlp.remarks import Discrepancy, DiscrepancyKind, Place, PlaceKind
from dicomnlp.review.agreement import is_slip
from dicomnlp.review.case import HELD, Case
from dicomnlp.review.contradiction_rules import contradiction_rules
from dicomnlp.review.denial import is_denied

_FROM_TO = re.compile(r"(?:mm|cm|毫米|厘米)\s*(?:to|至|到)\s*[0-9]", re.IGNORECASE)
"""Both numbers with their units."""
_GOES_ON = 120
"""Characters after the sentence of a finding in which its sizes may follow."""
_TO_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
_VOLUMES = {"ml": 1.0, "cm3": 1.0, "mm3": 0.001, "l": 1000.0}


def prior_size(case: Case) -> Iterator[Discrepancy]:
    """A size that "increased" to a smaller number, "decreased" to a larger one, or is "stable" at quite another."""
    sizes = [m for m in case.analysis.measurements if m.kind == "size" and m.unit == "mm" and m.comparator is None]
    yield from _falling(case, sizes)
    if len(sizes) < 2:
        return
    before = {m.start for m in sizes if _is_prior(case, m)} | _before_arrows(case, sizes)
    if not before:
        return
    seen: set[int] = set()
    for finding in case.stated:
        own = [m for m in sizes if any(m.start == f.start for f in finding.measurements)]
        now, then = [m for m in own if m.start not in before], [m for m in own if m.start in before]
        if finding.assertion not in HELD or len(now) != 1 or len(then) != 1 or now[0].start in seen:
            continue
        if not _one_change(case, finding, now[0], then[0]):
            continue
        assert finding.change is not None
        if _is_denied(case, finding) or _of_quality(case, finding.change, finding.start, finding.end):
            continue
        words = case.place(*_sentence(case, finding.start, finding.end))
        found = _of_sizes(case, finding.change, now[0], then[0], words, 0.85)
        if found is not None:
            seen.add(now[0].start)
            yield found
    owned = {m.start for f in case.analysis.findings if f.change is not None for m in f.measurements}
    yield from _without_finding(case, [m for m in sizes if m.start not in owned], before)


def _is_denied(case: Case, finding: Finding) -> bool:
    """Whether all words for the change in its sentence are denied, or tell none: what "hasn't grown" may be smaller."""
    patterns = contradiction_rules().change_words.patterns
    if finding.change not in patterns:
        return False
    first, last = case.sentence_bounds(finding.start, finding.end)
    told = _told(case, finding.change, first, last)
    if not told and patterns[finding.change].search(case.text, first, last):
        return True
    if finding.change is Change.STABLE:
        return not told
    return bool(told) and all(is_denied(case, *match.span()) for match in told)


def _without_finding(case: Case, free: Sequence[Measurement], before: Collection[int]) -> Iterator[Discrepancy]:
    """The same where no finding has the change: two sizes, and words for one change, in a sentence."""
    changes = contradiction_rules().change_words.patterns
    for then in (m for m in free if m.start in before):
        first, last = case.sentence_bounds(then.start, then.end)
        beside = [m for m in case.analysis.measurements if m.unit == "mm" and first <= m.start < last]
        now = [m for m in beside if m.start not in before and m in free]
        told = {c: matches[0] for c in changes if (matches := _told(case, c, first, last))}
        if len(beside) != 2 or len(now) != 1 or len(told) != 1:
            continue
        if not any(s <= then.start < e for s, e in case.stretches):
            continue
        change, word = next(iter(told.items()))
        found = _of_sizes(case, change, now[0], then, case.place(*word.span()), 0.75)
        if found is not None and not is_denied(case, *word.span()) and not _of_quality(case, change, *word.span()):
            yield found


def _told(case: Case, change: Change, first: int, last: int) -> list["re.Match[str]"]:
    """Words for a change in [first, last), but where they say how large something is: "the larger of both"."""
    rules = contradiction_rules().change_words
    states = [match.span() for match in rules.states_pattern.finditer(case.text, first, last)]
    words = rules.patterns[change].finditer(case.text, first, last)
    return [word for word in words if not any(s <= word.start() and word.end() <= e for s, e in states)]


def _of_quality(case: Case, change: Change, start: int, end: int) -> bool:
    """Whether the sentence tells how dense or bright something became: only words of size can mean its size then."""
    rules = contradiction_rules().change_words
    first, last = case.sentence_bounds(start, end)
    if not rules.qualities_pattern.search(case.text, first, last):
        return False
    sized = {c for c in rules.patterns if rules.of_size[c].search(case.text, first, last)}
    return sized != {change}


def _falling(case: Case, sizes: Sequence[Measurement]) -> Iterator[Discrepancy]:
    """A pair like 14 mm to 9 mm is no range, which rises: of what has increased, it contradicts that."""
    for m in sizes:
        if len(m.values) != 2 or m.values[0] <= m.values[1] or not _FROM_TO.search(m.text):
            continue
        finding = next((f for f in case.stated if f.change and any(o.start == m.start for o in f.measurements)), None)
        first, last = case.sentence_bounds(m.start, m.end)
        grown = next(iter(_told(case, Change.INCREASED, first, last)), None)
        if grown and (finding is None or finding.change is Change.INCREASED) and not is_denied(case, *grown.span()):
            facts = (("change", "increased"), ("now", f"{m.values[1]:g} mm"), ("before", f"{m.values[0]:g} mm"))
            places = case.place(*grown.span()), case.place(m.start, m.end)
            yield Discrepancy(DiscrepancyKind.PRIOR_SIZE, "increased_but_smaller", 0.8, *places, facts)


def _before_arrows(case: Case, sizes: Sequence[Measurement]) -> set[int]:
    """Where the first of two sizes is with an arrow between them."""
    arrows = contradiction_rules().change_words.arrows
    return {
        one.start
        for one, other in itertools.pairwise(sorted(sizes, key=lambda m: m.start))
        if case.text[one.end : other.start].strip("约 ") in arrows
    }


def _is_prior(case: Case, measurement: Measurement) -> bool:
    if measurement.temporality is Temporality.PRIOR:
        return True
    words = contradiction_rules().change_words.before
    return case.text[max(0, measurement.start - 6) : measurement.start].rstrip("约为示：:( （").endswith(words)


def _of_sizes(
    case: Case, change: Change, now: Measurement, then: Measurement, words: Place, confidence: float
) -> Discrepancy | None:
    if len(now.values) != len(then.values):
        return None
    rule = _contradicted(change, max(now.values), max(then.values))
    if rule is None or not _all_axes(rule, now, then):
        return None
    start, end = min(now.start, then.start), max(now.end, then.end)
    facts = (("change", change.value), ("now", f"{max(now.values):g} mm"), ("before", f"{max(then.values):g} mm"))
    return Discrepancy(DiscrepancyKind.PRIOR_SIZE, rule, confidence, words, case.place(start, end), facts)


def _contradicted(change: Change | None, now: float, before: float) -> str | None:
    sizes = contradiction_rules().sizes
    apart = max(1.0, 0.05 * max(now, before))
    if change is Change.INCREASED and before - now >= apart:
        return "increased_but_smaller"
    if change is Change.DECREASED and now - before >= apart:
        return "decreased_but_larger"
    if change is Change.STABLE and sizes.unstable(now, before):
        return "stable_but_different"
    return None


def _all_axes(rule: str, now: Measurement, before: Measurement) -> bool:
    """Whether no axis goes the way that the words say."""
    pairs = list(zip(sorted(now.values), sorted(before.values), strict=True))
    if rule == "increased_but_smaller":
        return all(a <= b for a, b in pairs)
    if rule == "decreased_but_larger":
        return all(a >= b for a, b in pairs)
    return True


def _one_change(case: Case, finding: Finding, now: Measurement, before: Measurement) -> bool:
    """Whether both sizes are in the finding's own sentence or what a semicolon ties to it, and no other change is."""
    first, last = case.sentence_bounds(finding.start, finding.end)
    while last < len(case.text) and case.text[last] in ";；":
        last = case.sentence_bounds(last + 1, last + 1)[1]
    stop = max(now.end, before.end)
    if stop > last and not any(finding.end <= f.start < stop for f in case.stated):
        # "It is smaller. It measures 51 mm, and measured 38 mm before."
        last = min(stop, last + _GOES_ON)
    if not all(first <= m.start and m.end <= last for m in (now, before)):
        return False
    others = {f.change for f in case.stated if first <= f.start < last and f.change is not None}
    return others <= {finding.change} and finding.change is not None


def _sentence(case: Case, start: int, end: int) -> tuple[int, int]:
    """The sentence in which the word for the change is, without blanks around it."""
    first, last = case.sentence_bounds(start, end)
    while first < last and case.text[first].isspace():
        first += 1
    return first, last


# --- measured items -----------------------------------------------------------------------------------------------


def items(case: Case) -> Iterator[Discrepancy]:
    """A measured item has one number, the text another, and there is nothing else that either could belong to.

    Lengths and volumes of this study, of the patient and of no other subject. An item whose number the text has, and
    a number of the text that an item has, agree; what is left over is compared where it is one of each.
    """
    for kind, units in (("mm", _TO_MILLIMETRES), ("mL", _VOLUMES)):
        coded = [(m, v) for m in case.report.measurements if (v := _value(m, units)) is not None]
        told = [m for m in case.analysis.measurements if _is_told(case, m, kind)]
        if not coded or not told:
            continue
        for item, value, said in _left_over(case, coded, told):
            found = max(said.values) if kind == "mm" else said.values[0]
            name = item.concept.meaning if item.concept else ""
            unit = "mm" if kind == "mm" else "mL"
            facts = (("item", f"{value:g} {unit}"), ("text", f"{found:g} {unit}"), ("name", name))
            yield Discrepancy(
                DiscrepancyKind.MEASUREMENT_ITEM,
                "number",
                0.95 if is_slip(value, found) else 0.75,
                Place(PlaceKind.ITEM, f"{name} {value:g} {unit}".strip(), field=item.path),
                case.place(said.start, said.end),
                tuple(f for f in facts if f[1]),
            )


def _value(item: CodedMeasurement, units: dict[str, float]) -> float | None:
    """The one number of an item in millimetres or millilitres; None where it isn't one of this study and patient."""
    unit = item.unit.value.casefold() if item.unit else ""
    if item.temporality is Temporality.PRIOR or item.subject or item.qualifier or len(item.values) != 1:
        return None
    return item.values[0] * units[unit] if unit in units else None


def _is_told(case: Case, measurement: Measurement, unit: str) -> bool:
    kinds = {"mm": ("mm", "size"), "mL": ("mL", "volume")}
    return (
        (measurement.unit, measurement.kind) == kinds[unit]
        and measurement.temporality is Temporality.CURRENT
        and measurement.comparator is None
        and any(s <= measurement.start < e for s, e in case.stretches)
        and not any(
            f.assertion not in HELD and measurement in f.measurements and f.assertion is not Assertion.ABSENT
            for f in case.stated
        )
    )


def _left_over(
    case: Case, coded: Sequence[tuple[CodedMeasurement, float]], told: Sequence[Measurement]
) -> Iterator[tuple[CodedMeasurement, float, Measurement]]:
    """What is in the items and not in the text, and the other way round, where it is one of each of a place."""
    sizes = contradiction_rules().sizes

    def agree(value: float, said: Measurement) -> bool:
        return any(abs(value - v) <= max(0.6, 0.05 * v) for v in said.values)

    alone = [(m, v) for m, v in coded if not any(agree(v, said) for said in told)]
    unsaid = [said for said in told if not any(agree(v, said) for _, v in coded)]
    # the same number may be said again in the impression
    by_value: defaultdict[float, list[Measurement]] = defaultdict(list)
    for said in unsaid:
        by_value[max(said.values)].append(said)
    if len(by_value) != 1:
        pairs = [(m, v, s) for m, v in alone for s in unsaid if _at_one_site(case, m, s)]
        named = {id(m) for m, _, _ in pairs}
        if len(pairs) != 1 or len(named) != 1:
            return
        item, value, said = pairs[0]
    else:
        if len(alone) != 1:
            return
        item, value = alone[0]
        said = next(iter(by_value.values()))[0]
        if _elsewhere(case, item, said):
            return
    if sizes.differ(value, max(said.values)):
        yield item, value, said


def _owner(case: Case, said: Measurement) -> Finding | None:
    return next((f for f in case.stated if any(m.start == said.start for m in f.measurements)), None)


def _codes(item: CodedMeasurement) -> set[tuple[str, str]]:
    return {(v.scheme, v.value) for _, v in item.modifiers}


def _at_one_site(case: Case, item: CodedMeasurement, said: Measurement) -> bool:
    owner = _owner(case, said)
    if owner is None:
        return False
    codes = _codes(item)
    sites = [owner.concept, *([owner.anatomy] if owner.anatomy else [])]
    return any((c.scheme, c.code) in codes for c in sites if c.code)


def _elsewhere(case: Case, item: CodedMeasurement, said: Measurement) -> bool:
    """Whether the item names a site by a code that the finding's site has another of."""
    owner = _owner(case, said)
    sites = {v.value for n, v in item.modifiers if (n.scheme, n.value) in {("SCT", "363698007"), ("SRT", "G-C0E3")}}
    if not sites or owner is None or owner.anatomy is None or not owner.anatomy.code:
        return False
    return owner.anatomy.code not in sites and owner.concept.code not in {v for _, v in _codes(item)}
