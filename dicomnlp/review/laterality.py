"""Sides that don't agree: with the order, with the headers of images and coded items, and those that are missing."""

import re
from collections.abc import Iterator
from functools import cache, lru_cache

from dicomnlp.analyse.names import find_concepts, states_normality
from dicomnlp.model import Assertion, CodedFinding, CodedMeasurement, Finding, Laterality, Temporality
from dicomnlp.remarks import Discrepancy, DiscrepancyKind, Place, PlaceKind
from dicomnlp.review.case import HELD, Case, kinds_of, one_side, opposite, parts_of, unsided
from dicomnlp.review.contradiction_rules import contradiction_rules
from dicomnlp.review.orders import Order, any_side, exam_statements, orders, parts_in, sides_in
from dicomnlp.review.phrases import Phrases

_LATERALITY_CONCEPT = ("SCT", "272741003")
_LATERALITY_VALUES = {
    ("SCT", "7771000"): Laterality.LEFT,
    ("SCT", "24028007"): Laterality.RIGHT,
    ("SRT", "G-A101"): Laterality.LEFT,
    ("SRT", "G-A100"): Laterality.RIGHT,
}
"""CID 244, with the SNOMED-RT codes that older objects have."""
_LATERALITY_NAMES = {_LATERALITY_CONCEPT, ("SRT", "G-C171")}
_BETWEEN = r"(?:[\s-]+[A-Za-z]+){0,2}?[\s-]*"
"""Words between a side and its part: "left distal tibia"."""


def side_of_order(case: Case) -> Iterator[Discrepancy]:
    """The text is about one side of a paired part, the order about the other."""
    ordered = next((o for o in orders(case) if o.parts and o.side), None)
    if ordered is not None:
        assert ordered.side is not None
        statement = next((s for s in exam_statements(case) if _other_side(s, ordered)), None)
        if statement is not None:
            yield _of_order("exam_named_with_other_side", 0.9, ordered, statement.place)
            return
    told = ordered or next((s for s in exam_statements(case) if s.parts and s.side), None)
    if told is None or told.side is None:
        return
    other = opposite(told.side)
    mentions = list(_mentions(case, told.parts))
    if any(told.side in sides or Laterality.BILATERAL in sides for sides, _ in mentions):
        return
    against = [place for sides, place in mentions if sides == {other} and not _compares(case, place)]
    if against:
        confidence = 0.9 if len(against) > 1 else 0.8
        yield _of_order("text_about_other_side", confidence, told, against[0])


def _other_side(statement: Order, ordered: Order) -> bool:
    assert ordered.side is not None
    return statement.side is opposite(ordered.side) and bool(set(statement.parts) & set(ordered.parts))


def _of_order(rule: str, confidence: float, ordered: Order, place: Place) -> Discrepancy:
    assert ordered.side is not None
    facts = (("ordered", ordered.side.value), ("stated", opposite(ordered.side).value))
    return Discrepancy(DiscrepancyKind.LATERALITY_ORDER, rule, confidence, ordered.place, place, facts)


@cache
def _sided_part(part: str) -> "re.Pattern[str]":
    sides, words = contradiction_rules().sides, contradiction_rules().paired_parts[part].words
    latin = Phrases([w for w in words if w.isascii()], plural=True).expression
    chinese = Phrases([w for w in words if not w.isascii()]).expression
    side = Phrases([w for w in (*sides.left, *sides.right, *sides.both) if w.isascii()]).expression
    han = Phrases([w for w in (*sides.left, *sides.right, *sides.both) if not w.isascii()]).expression
    return re.compile(rf"(?:{side}){_BETWEEN}(?:{latin})|(?:{han})侧?(?:{chinese})", re.IGNORECASE)


def _mentions(case: Case, parts: tuple[str, ...]) -> Iterator[tuple[frozenset[Laterality], Place]]:
    """Where the text that describes speaks of a side of these parts."""
    for part in parts:
        for start, end in case.stretches:
            for match in _sided_part(part).finditer(case.text, start, end):
                yield sides_in(match[0]), case.place(*match.span())
    sites = {s for part in parts for site in contradiction_rules().paired_parts[part].sites for s in parts_of(site)}
    for f in case.stated:
        if f.laterality and f.anatomy and unsided(f.anatomy.id) in sites:
            # the finding's words alone may not show the side
            yield frozenset({f.laterality}), case.clause_of(f)


@cache
def _compared() -> Phrases:
    return Phrases(contradiction_rules().sides.compared)


def _compares(case: Case, place: Place) -> bool:
    assert place.start is not None
    assert place.end is not None
    return bool(_compared().search(case.sentence_around(place.start, place.end)))


def missing_side(case: Case) -> Iterator[Discrepancy]:
    """One of two was examined, something is found, and neither the header nor the text tells which."""
    told = [*orders(case), *exam_statements(case)]
    rules = contradiction_rules().paired_parts
    named = next((o for o in told if any(rules[p].needs_side for p in o.parts)), None)
    if named is None or any(o.sides for o in told) or any_side().search(case.text):
        return
    parts = [p for p in named.parts if rules[p].needs_side]
    # nothing but the one part is shown: whatever is found is found there
    found = [
        f
        for f in case.stated
        if f.assertion is Assertion.PRESENT
        and f.laterality is None
        and not states_normality(f.concept.id)
        and (f.critical or f.measurements or f.anatomy is not None)
    ]
    if found:
        place = Place(PlaceKind.TEXT, found[0].text, found[0].start, found[0].end)
        facts = (("part", parts[0]),)
        yield Discrepancy(DiscrepancyKind.LATERALITY_MISSING, "no_side_anywhere", 0.75, named.place, place, facts)


def side_of_items(case: Case) -> Iterator[Discrepancy]:
    """A coded or measured item says one side of a finding, the text of the same finding the other."""
    coded: tuple[CodedFinding | CodedMeasurement, ...] = (*case.report.coded_findings, *case.report.measurements)
    for item in coded:
        side = _side_of(item)
        if side is None or item.temporality is Temporality.PRIOR or item.subject:
            continue
        same = [f for f in case.stated if f.assertion in HELD and _is_named(f, item)]
        if same and all(one_side(f) is opposite(side) for f in same) and not _both_sides(case, same[0]):
            words = f"{_meaning(item)}, {side.value}"
            yield Discrepancy(
                DiscrepancyKind.LATERALITY_HEADER,
                "coded_item",
                0.85,
                Place(PlaceKind.ITEM, words, field=item.path),
                case.clause_of(same[0]),
                (("item", side.value), ("stated", opposite(side).value)),
            )


def _side_of(item: CodedFinding | CodedMeasurement) -> Laterality | None:
    for name, value in item.modifiers:
        if (name.scheme, name.value) in _LATERALITY_NAMES:
            return _LATERALITY_VALUES.get((value.scheme, value.value))
    return None


def _is_named(finding: Finding, item: CodedFinding | CodedMeasurement) -> bool:
    """Whether the item is about what the finding is about: by the finding's code, or that of its site."""
    if isinstance(item, CodedFinding):
        named = _concept_called(item.value.meaning)
        return (finding.concept.scheme, finding.concept.code) == (item.value.scheme, item.value.value) or (
            named is not None and finding.concept.id in kinds_of(named)
        )
    codes = {(v.scheme, v.value) for _, v in item.modifiers}
    return bool(finding.anatomy and (finding.anatomy.scheme, finding.anatomy.code) in codes and finding.measurements)


@lru_cache(1024)
def _concept_called(meaning: str) -> str | None:
    """The concept that a pack calls so in any language; None where none is called exactly so."""
    found = next(iter(find_concepts(meaning, "en", 1)), None)
    return found.id if found is not None and " ".join(meaning.casefold().split()) in found.words else None


def _meaning(item: CodedFinding | CodedMeasurement) -> str:
    if isinstance(item, CodedFinding):
        return item.value.meaning
    return item.concept.meaning if item.concept else ""


def _both_sides(case: Case, finding: Finding) -> bool:
    return len(sides_in(case.sentence_around(finding.start, finding.end))) > 1


def side_of_images(case: Case, laterality: str, body_part_examined: str) -> Discrepancy | None:
    """The images are of one side of a paired part, the report is about the other.

    Parameters
    ----------
    laterality
        The one value, L or R, that (0020,0060) or (0020,0062) of all images of the study has.
    body_part_examined
        (0018,0015) of the images.
    """
    side = {"L": Laterality.LEFT, "R": Laterality.RIGHT}.get(laterality)
    told = [*orders(case), *exam_statements(case)]
    parts = tuple({p for o in told for p in o.parts} | set(parts_in(body_part_examined)))
    if side is None or not parts:
        return None
    mentions = [*_mentions(case, parts), *((o.sides, o.place) for o in told if o.sides and set(o.parts) & set(parts))]
    against = [place for sides, place in mentions if sides == {opposite(side)} and not _of_text_compares(case, place)]
    if not against or any(side in sides or Laterality.BILATERAL in sides for sides, _ in mentions):
        return None
    facts = (("images", side.value), ("stated", opposite(side).value))
    image = Place(PlaceKind.IMAGE, laterality, field="Laterality")
    return Discrepancy(DiscrepancyKind.LATERALITY_HEADER, "images", 0.9, image, against[0], facts)


def _of_text_compares(case: Case, place: Place) -> bool:
    return place.start is not None and _compares(case, place)
