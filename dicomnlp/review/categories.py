"""Dictated categories of reporting systems against what is described, by the rules of categories.toml."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dicomnlp.analyse.names import states_normality
from dicomnlp.model import Assertion, Finding, Score, SectionName, Temporality
from dicomnlp.remarks import Discrepancy, DiscrepancyKind, Place
from dicomnlp.review.case import HELD, Case, kinds_of, lengths, parts_of, unsided
from dicomnlp.review.contradiction_rules import CategoryRule, CategoryWords, NumberRule, category_rules
from dicomnlp.review.denial import affirmed, denied

if TYPE_CHECKING:
    import re

Stretches = tuple[tuple[int, int], ...]
_FEWEST_FEATURES = 2
"""Features of a thyroid nodule that must be described before its points are counted."""


def category_discrepancies(case: Case) -> Iterator[Discrepancy]:
    """Categories, points and numbers that can't be of what the text describes; one of each score."""
    scores = [s for s in case.analysis.scores if s.scope != "prior" and s.temporality is not Temporality.PRIOR]
    scores = [s for s in scores if case.section_at(s.start) not in _QUOTED]
    if not scores:
        return
    rules = category_rules()
    for score in scores:
        window = _window(case, score, scores)
        found = next((d for rule in rules.rules if (d := _by_rule(case, rule, score, window))), None)
        found = found or _cad_rads(case, score, window) or _ti_rads(case, score, window)
        if found is not None:
            yield found
    for number_rule in rules.numbers:
        found = _by_number(case, number_rule, [s for s in scores if s.system == number_rule.system])
        if found is not None:
            yield found


_QUOTED = frozenset({SectionName.COMPARISON, SectionName.HISTORY, SectionName.INDICATION, SectionName.TECHNIQUE})


def _window(case: Case, score: Score, scores: list[Score]) -> Stretches:
    """What a score is about: all that describes, or, where the system has several categories, its own lines."""
    same = [s for s in scores if s.system == score.system]
    recommending = case.stretches_of(SectionName.RECOMMENDATION)
    if len({s.category for s in same}) == 1:
        return (*case.stretches, *recommending)
    clause = max(case.text.rfind(mark, 0, score.start) + 1 for mark in ";；")
    before = max((s.end for s in same if s.end <= score.start), default=0)
    section = next((s for s, e in case.stretches if s <= score.start < e), 0)
    line = case.text.rfind("\n", 0, score.start) + 1
    after = min((s.start for s in same if s.start >= score.end), default=len(case.text))
    end = case.text.find("\n", score.end)
    start = max(before, section, clause, line if score.scope == "lesion" and line < score.start - 20 else 0)
    return ((start, min(after, end if end >= 0 else len(case.text))),)


def _inside(finding: Finding, window: Stretches) -> bool:
    return any(s <= finding.start < e for s, e in window)


def _discrepancy(
    case: Case, rule: str, confidence: float, score: Score, place: Place, *facts: tuple[str, str]
) -> Discrepancy:
    dictated = f"{score.system} {score.category}"
    return Discrepancy(
        DiscrepancyKind.CATEGORY,
        rule,
        confidence,
        case.place(score.start, score.end),
        place,
        (("dictated", dictated), *facts),
    )


def _by_rule(case: Case, rule: CategoryRule, score: Score, window: Stretches) -> Discrepancy | None:
    category = score.category.split(" ", maxsplit=1)[0].upper()
    if score.system not in rule.systems or category not in rule.categories:
        return None
    if rule.unless_other_concepts and _present(case, rule.unless_other_concepts, window, {Assertion.PRESENT}):
        return None
    if rule.without_concepts and _present(case, rule.without_concepts, window, HELD):
        return None
    if _is_excluded(case, rule, window):
        return None
    place = _words_place(case, rule, window)
    if place is None and _asks_for_words(rule):
        return None
    if rule.nothing_of:
        place = _nothing_of(case, rule, score, window)
        if place is None:
            return None
    if rule.concepts:
        lesion = _lesion(case, rule, window)
        if lesion is None:
            return None
        place = case.clause_of(lesion)
    assert place is not None
    return _discrepancy(case, rule.name, rule.confidence, score, place, ("source", rule.source))


def _asks_for_words(rule: CategoryWords) -> bool:
    return bool(rule.words or rule.words_too or rule.denied_words)


def _is_excluded(case: Case, rule: CategoryWords, window: Stretches) -> bool:
    """Whether words stand in the text by which the rule has nothing to say."""
    patterns = rule.patterns
    if "without_words" in patterns and any(patterns["without_words"].search(case.text, s, e) for s, e in window):
        return True
    return "unless_affirmed" in patterns and any(affirmed(case, patterns["unless_affirmed"], window))


def _words_place(case: Case, rule: CategoryWords, window: Stretches) -> Place | None:
    """Where the words of a rule stand as it asks; None where they don't, or there are none."""
    patterns = rule.patterns
    match: re.Match[str] | None = None
    for name in ("words", "words_too", "denied_words"):
        if name in patterns:
            read = denied if name == "denied_words" else affirmed
            found = next(read(case, patterns[name], window), None)
            if found is None:
                return None
            match = match or found
    return case.place(*match.span()) if match else None


def _present(
    case: Case, concepts: tuple[str, ...], window: Stretches, assertions: "set[Assertion] | frozenset[Assertion]"
) -> bool:
    wanted = {k for c in concepts for k in kinds_of(c)}
    return any(f.concept.id in wanted and f.assertion in assertions and _inside(f, window) for f in case.stated)


def _nothing_of(case: Case, rule: CategoryRule, score: Score, window: Stretches) -> Place | None:
    """A denial, where nothing of the rule's concepts is stated, nothing measured, and nothing else at its sites."""
    wanted = {k for c in rule.nothing_of for k in kinds_of(c)}
    _, end = case.sentence_bounds(score.start, score.end)
    # what follows the category in its sentence says what the category means
    inside = [f for f in case.stated if _inside(f, window) and not score.start <= f.start < end]
    if any(f.assertion in HELD and (f.concept.id in wanted or f.critical or f.measurements) for f in inside):
        return None
    denials = [f for f in inside if f.assertion is Assertion.ABSENT and f.concept.id in wanted]
    if rule.sites:
        sites = {s for site in rule.sites for s in parts_of(site)}
        denials = [f for f in denials if f.anatomy is not None and unsided(f.anatomy.id) in sites]
        others = (f for f in inside if f.assertion in HELD and not states_normality(f.concept.id))
        if any(f.anatomy is None or unsided(f.anatomy.id) in sites for f in others):
            return None
    return case.clause_of(denials[0]) if denials else None


def _lesion(case: Case, rule: CategoryRule, window: Stretches) -> Finding | None:
    """The largest finding that the rule means, if it is as the rule says."""
    wanted = {k for c in rule.concepts for k in kinds_of(c)}
    sites = {s for site in rule.sites for s in parts_of(site)}
    found = [
        f
        for f in case.stated
        if f.concept.id in wanted
        and f.assertion is Assertion.PRESENT
        and _inside(f, window)
        and (not sites or f.anatomy is None or unsided(f.anatomy.id) in sites)
    ]
    if rule.severities:
        found = [f for f in found if f.severity in rule.severities]
    if rule.size_mm is not None:
        sized = [(max(v for m in lengths(f) for v in m.values), f) for f in found if lengths(f)]
        if not sized:
            return None
        largest, lesion = max(sized, key=lambda pair: pair[0])
        if not rule.size_mm.hold(largest):
            return None
        found = [lesion]
    if any(f.change in rule.unless_changes for f in found):
        return None
    pattern = rule.patterns.get("unless_words")
    if pattern and any(pattern.search(case.sentence_around(f.start, f.end)) for f in found):
        return None
    return found[0] if found else None


def _by_number(case: Case, rule: NumberRule, scores: list[Score]) -> Discrepancy | None:
    values = [(value, s) for s in scores if (value := _number(s.category)) is not None]
    if not values:
        return None
    lowest, highest = min(v for v, _ in values), max(v for v, _ in values)
    if not (rule.lowest.hold(lowest) and rule.highest.hold(highest)):
        return None
    window = (*case.stretches, *case.stretches_of(SectionName.RECOMMENDATION))
    if _is_excluded(case, rule, window):
        return None
    place = _words_place(case, rule, window)
    if place is None and _asks_for_words(rule):
        return None
    if rule.concepts:
        wanted = {k for c in rule.concepts for k in kinds_of(c)}
        found = [f for f in case.stated if f.concept.id in wanted and f.assertion is Assertion.PRESENT]
        if not found:
            return None
        place = case.clause_of(found[0])
    assert place is not None
    score = next(s for v, s in values if v == lowest)
    return _discrepancy(case, rule.name, rule.confidence, score, place, ("source", rule.source))


def _number(category: str) -> float | None:
    try:
        return float(category.replace("−", "-").replace(",", ""))
    except ValueError:
        return None


def _cad_rads(case: Case, score: Score, window: Stretches) -> Discrepancy | None:
    """The category by the greatest stenosis (CAD-RADS 2.0) isn't the dictated one."""
    rules = category_rules().cad_rads
    category = score.category.split(" ", maxsplit=1)[0].split("/", maxsplit=1)[0].upper()
    if score.system != "CAD-RADS" or category not in rules.ranges:
        return None
    sites = {s for site in rules.sites for s in parts_of(site)}
    stenoses = [
        (value, m.start, m.end)
        for f in case.stated
        if f.assertion is Assertion.PRESENT
        and (f.anatomy is None or unsided(f.anatomy.id) in sites)
        and _inside(f, window)
        and "stenosis" in f.concept.id
        and not rules.unless_pattern.search(case.sentence_around(f.start, f.end))
        for m in f.measurements
        if m.unit == "%" and m.temporality is Temporality.CURRENT
        for value in (_bound(m.values, m.comparator),)
        if value is not None
    ]
    if not stenoses:
        return None
    greatest, start, end = max(stenoses)
    low, high = rules.ranges[category]
    # a range that touches the category's own border is of it
    if low - rules.tolerance <= greatest <= high + rules.tolerance:
        return None
    if any(low - rules.tolerance <= v <= high + rules.tolerance for v, _, _ in stenoses) and greatest <= high + 6:
        return None
    facts = (("described", f"{greatest:g} %"), ("source", rules.source))
    return _discrepancy(case, "cad_rads", rules.confidence, score, case.place(start, end), *facts)


def _bound(values: tuple[float, ...], comparator: str | None) -> float | None:
    """The number that a percentage means: of a range its upper end, of a bound what is just inside."""
    if not values:
        return None
    return {None: max(values), "<": max(values) - 1, "<=": max(values), ">": max(values) + 1, ">=": max(values)}[
        comparator
    ]


def _ti_rads(case: Case, score: Score, window: Stretches) -> Discrepancy | None:
    """What is described is worth more points than the dictated category of ACR TI-RADS allows.

    Only where the text of the score's own lines describes one nodule: each feature once. Features that are left out
    count nothing, so what is found is the least that it can be.
    """
    rules = category_rules().ti_rads
    category = score.category.split(" ", maxsplit=1)[0].upper()
    if score.system != "TI-RADS" or category not in rules.levels:
        return None
    if _nodules(case, window) > 1:
        return None
    points, described, first, last = 0, [], len(case.text), 0
    for feature in rules.features:
        worth: dict[int, tuple[int, int, str]] = {}
        for match in affirmed(case, feature.pattern, window):
            word = " ".join(match[0].casefold().split())
            value = feature.words.get(word)
            if value is not None:
                worth.setdefault(value, (match.start(), match.end(), match[0]))
        if not worth:
            continue
        if len(worth) > 1 and feature.name != "echogenic_foci":
            return None
        # echogenic foci of several kinds add up
        points += sum(worth)
        described += [w for _, _, w in worth.values()]
        first = min(first, *(s for s, _, _ in worth.values()))
        last = max(last, *(e for _, e, _ in worth.values()))
    fewest, most = rules.levels[category]
    too_many = points > most and len(described) >= _FEWEST_FEATURES
    too_few = points < fewest and len(described) == len(rules.features)
    if not (too_many or too_few):
        return None
    facts = (("described", ", ".join(described)), ("points", str(points)), ("source", rules.source))
    return _discrepancy(case, "ti_rads_points", rules.confidence, score, case.place(first, last), *facts)


def _nodules(case: Case, window: Stretches) -> int:
    """How many nodules with sizes of their own the lines describe."""
    sizes = {
        max(m.values)
        for f in case.stated
        if f.assertion is Assertion.PRESENT and _inside(f, window) and "nodule" in f.concept.id
        for m in lengths(f)
    }
    return len(sizes)
