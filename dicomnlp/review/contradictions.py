"""Contradictions within a report and with its header: each kind by its own rules, each with both places.

Precision before recall: where anything in the text explains an apparent contradiction, nothing is said. What decides
is in contradictions.toml and categories.toml.
"""

from collections.abc import Callable, Collection, Iterable
from functools import cache

from dicomnlp.model import Analysis, Report
from dicomnlp.remarks import Discrepancy, DiscrepancyKind
from dicomnlp.review import agreement, categories, laterality, numbers, orders, patient
from dicomnlp.review.case import Case

_ALL = frozenset(DiscrepancyKind)

_FINDERS: tuple[tuple[Collection[DiscrepancyKind], Callable[[Case], Iterable[Discrepancy]]], ...] = (
    ((DiscrepancyKind.LATERALITY_ORDER,), laterality.side_of_order),
    ((DiscrepancyKind.LATERALITY_HEADER,), laterality.side_of_items),
    ((DiscrepancyKind.LATERALITY_TEXT,), agreement.side),
    ((DiscrepancyKind.LATERALITY_MISSING,), laterality.missing_side),
    ((DiscrepancyKind.SEX,), patient.sex_discrepancies),
    ((DiscrepancyKind.AGE,), patient.age_discrepancies),
    ((DiscrepancyKind.FINDINGS_IMPRESSION,), agreement.presence),
    ((DiscrepancyKind.MEASUREMENT_ITEM,), numbers.items),
    ((DiscrepancyKind.MEASUREMENT_TEXT,), agreement.size),
    ((DiscrepancyKind.CATEGORY,), categories.category_discrepancies),
    ((DiscrepancyKind.COMPLETE_ORDER, DiscrepancyKind.LIMITED_ORDER), orders.extent_discrepancies),
    ((DiscrepancyKind.PRIOR_SIZE,), numbers.prior_size),
)


def contradictions(
    report: Report, analysis: Analysis, kinds: Collection[DiscrepancyKind] = _ALL
) -> tuple[Discrepancy, ...]:
    """What in `report` contradicts itself or its header.

    Parameters
    ----------
    report, analysis
        What extract and analyse made of one object.
    kinds
        Those that are looked for.

    Returns
    -------
    tuple of Discrepancy
        In the order in which they stand in the text; none of a kind that isn't asked for.
    """
    return contradictions_of(Case(report, analysis), kinds)


def contradictions_of(case: Case, kinds: Collection[DiscrepancyKind] = _ALL) -> tuple[Discrepancy, ...]:
    """As `contradictions`."""
    found = [d for find in _finders(frozenset(kinds)) for d in find(case) if d.kind in kinds]
    return tuple(sorted(found, key=lambda d: (d.second.start or 0, d.kind.value)))


@cache
def _finders(kinds: frozenset[DiscrepancyKind]) -> tuple[Callable[[Case], Iterable[Discrepancy]], ...]:
    return tuple(find for of, find in _FINDERS if kinds.intersection(of))
