"""What was ordered, as the header and the text tell it: part of the body, side, complete or limited."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from dicomnlp.model import Laterality, SectionName
from dicomnlp.remarks import Discrepancy, DiscrepancyKind, Place, PlaceKind
from dicomnlp.review.case import Case, header_place, parts_of, unsided
from dicomnlp.review.contradiction_rules import CompleteExamination, contradiction_rules
from dicomnlp.review.phrases import Phrases

_PROCEDURE_REPORTED = {("DCM", "121058"), ("LN", "55111-9")}
"""Concept names of content items that tell the procedure."""
_MAY_BE_ULTRASOUND = frozenset({"", "US", "SR", "DOC", "OT"})
"""Modalities in the header of a report on one: most reports don't tell that of their images."""
_SINGLE_LETTER = re.compile(r"(?<![\w/&.-])([LR])(?![\w/&-])(?!\s*(?:spine|[1-5]\b))")
"""L and R alone, in capitals; not of "L spine", "L-S" or "L 5"."""


@dataclass(frozen=True, slots=True)
class Order:
    """A statement of what was ordered, or done."""

    place: Place
    parts: tuple[str, ...]
    """Names of paired parts in the rules."""
    sides: frozenset[Laterality]
    """LEFT, RIGHT, BILATERAL as named."""

    @property
    def side(self) -> Laterality | None:
        """LEFT or RIGHT where it is one of them and nothing else."""
        only = next(iter(self.sides)) if len(self.sides) == 1 else None
        return only if only is not Laterality.BILATERAL else None


@cache
def _sides() -> dict[Laterality, Phrases]:
    sides = contradiction_rules().sides
    words = {Laterality.LEFT: sides.left, Laterality.RIGHT: sides.right, Laterality.BILATERAL: sides.both}
    return {side: Phrases(w) for side, w in words.items()}


@cache
def _parts() -> dict[str, Phrases]:
    return {name: Phrases(part.words, plural=True) for name, part in contradiction_rules().paired_parts.items()}


@cache
def any_side() -> Phrases:
    """Any word for any side."""
    sides = contradiction_rules().sides
    return Phrases([*sides.left, *sides.right, *sides.both])


@lru_cache(4096)
def sides_in(text: str, *, letters: bool = False) -> frozenset[Laterality]:
    """Sides that `text` names; with `letters` also by L and R alone, as orders do."""
    found = {side for side, pattern in _sides().items() if pattern.search(text)}
    if letters:
        found |= {Laterality.LEFT if m[1] == "L" else Laterality.RIGHT for m in _SINGLE_LETTER.finditer(text)}
    return frozenset(found)


@lru_cache(4096)
def parts_in(text: str) -> tuple[str, ...]:
    """Paired parts that `text` names."""
    return tuple(name for name, pattern in _parts().items() if pattern.search(text))


@lru_cache(2)
def orders(case: Case) -> tuple[Order, ...]:
    """What the header and coded items say was ordered or done."""
    return tuple(Order(p, parts_in(p.words), sides_in(p.words, letters=True)) for p in _order_places(case))


def _order_places(case: Case) -> Iterator[Place]:
    identity = case.report.identity
    if identity.study_description:
        yield header_place("StudyDescription", identity.study_description)
    for item in case.report.items:
        if item.concept and (item.concept.scheme, item.concept.value) in _PROCEDURE_REPORTED:
            value = item.value.get("meaning", "") if isinstance(item.value, dict) else item.value
            if isinstance(value, str) and value:
                yield Place(PlaceKind.ITEM, value, field=item.path)
    if case.report.title:
        yield Place(PlaceKind.ITEM, case.report.title, field="1")


@lru_cache(2)
def exam_statements(case: Case) -> tuple[Order, ...]:
    """What the text itself calls the examination: its section of that name, and its technique."""
    places = [case.place(*stretch) for stretch in case.stretches_of(SectionName.EXAM, SectionName.TECHNIQUE)]
    return tuple(Order(p, parts_in(p.words), sides_in(p.words)) for p in places if p.words.strip())


# --- complete and limited ultrasound ------------------------------------------------------------------------------


@cache
def _order_patterns() -> dict[str, Phrases]:
    words = contradiction_rules().order_words
    return {name: Phrases(getattr(words, name)) for name in ("ultrasound", "complete", "limited", "unless")}


def extent_discrepancies(case: Case) -> Iterator[Discrepancy]:
    """Complete ultrasounds that don't describe all that belongs to them, and limited ones that do.

    Only what the header orders is judged, or, where it orders no ultrasound, the text's own name of the examination.
    """
    patterns = _order_patterns()
    modality = case.report.identity.modality
    if modality not in _MAY_BE_ULTRASOUND:
        return
    places = [*_order_places(case), *(o.place for o in exam_statements(case) if _is_exam(case, o.place))]
    for place in places:
        words = place.words
        is_ultrasound = bool(patterns["ultrasound"].search(words)) or modality == "US"
        if not is_ultrasound or patterns["unless"].search(words):
            continue
        complete, limited = (bool(patterns[name].search(words)) for name in ("complete", "limited"))
        if complete == limited:
            continue
        examination = _examination(case, words, limited=limited)
        if examination is None:
            return
        name, rule = examination
        described, missing = _elements(case, rule)
        if complete and missing and described:
            yield _extent(case, DiscrepancyKind.COMPLETE_ORDER, name, place, described, missing)
        if limited and not missing and len(rule.elements) > 2:
            yield _extent(case, DiscrepancyKind.LIMITED_ORDER, name, place, described, missing)
        return


def _is_exam(case: Case, place: Place) -> bool:
    return place.start is not None and case.section_at(place.start) is SectionName.EXAM


def _examination(case: Case, words: str, *, limited: bool) -> tuple[str, CompleteExamination] | None:
    for name, rule in contradiction_rules().complete_examinations.items():
        pattern = rule.limited_pattern if limited else rule.order_pattern
        if pattern.search(words) and rule.sex in {None, _sex(case)}:
            return name, rule
    return None


def _sex(case: Case) -> str | None:
    stated = {d.sex for d in case.analysis.demographics if d.sex}
    known = case.report.identity.patient_sex
    return known if known in {"F", "M"} else next(iter(stated)) if len(stated) == 1 else None


def _elements(case: Case, rule: CompleteExamination) -> tuple[dict[str, Place], list[str]]:
    """Elements that are described, each where it is first, and those that aren't."""
    described, missing = {}, []
    for name, pattern in rule.element_patterns.items():
        match = next(pattern.within(case.text, case.stretches), None)
        sites = {s for site in rule.sites.get(name, ()) for s in parts_of(site)}
        there = next((f for f in case.stated if f.anatomy and unsided(f.anatomy.id) in sites), None)
        if match:
            described[name] = case.place(*match.span())
        elif there:
            described[name] = case.place(there.start, there.end)
        else:
            missing.append(name)
    return described, missing


def _extent(
    case: Case,
    kind: DiscrepancyKind,
    name: str,
    order: Place,
    described: dict[str, Place],
    missing: list[str],
) -> Discrepancy:
    complete = kind is DiscrepancyKind.COMPLETE_ORDER
    starts = [p.start for p in described.values() if p.start is not None]
    ends = [p.end for p in described.values() if p.end is not None]
    second = case.missing(case.stretches) if complete else case.place(min(starts), max(ends))
    # one element left out is an omission that happens; most of them left out may be another order's report
    confidence = 0.85 if not complete or len(missing) <= len(described) else 0.7
    facts = (("examination", name), ("described", ", ".join(described)), ("missing", ", ".join(missing)))
    return Discrepancy(kind, name, confidence, order, second, tuple(f for f in facts if f[1]))
