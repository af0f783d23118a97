"""Contradictions, kind by kind: tables of what is flagged, and of what is near it and isn't, in two languages."""

import tomllib
from functools import cache
from pathlib import Path

import pytest
from support.review_cases import case_report

from dicomnlp.analyse import analyse
from dicomnlp.remarks import DiscrepancyKind, PlaceKind
from dicomnlp.review.contradictions import contradictions

TABLES = Path(__file__).with_name("contradictions")
FEWEST = 12


@cache
def table(kind):
    """The cases of a kind: language -> "flagged" and "fine" -> cases."""
    return tomllib.loads((TABLES / f"{kind}.toml").read_text(encoding="utf-8"))


KINDS = sorted(path.stem for path in TABLES.glob("*.toml"))
CASES = [
    pytest.param(kind, language, group, case, id=f"{kind}-{language}-{group}-{number}")
    for kind in KINDS
    for language, groups in table(kind).items()
    for group, cases in groups.items()
    for number, case in enumerate(cases)
]


def found_in(case, language, kinds=frozenset(DiscrepancyKind)):
    """The report of a case, and what contradicts itself in it."""
    report = case_report(case)
    return report, contradictions(report, analyse(report.narrative, language=language), kinds)


@pytest.mark.parametrize(("kind", "language", "group", "case"), CASES)
def test_flags_what_contradicts_itself_and_nothing_near_it(kind, language, group, case):
    """Each with both places, whose words stand where it says, and a confidence."""
    report, found = found_in(case, language)
    of_kind = [d for d in found if d.kind == kind]
    assert bool(of_kind) is (group == "flagged"), found
    for discrepancy in of_kind:
        assert 0.5 < discrepancy.confidence <= 1
        for place in (discrepancy.first, discrepancy.second):
            assert place.words or kind in {"complete_order", "laterality_missing"}
            if place.kind is PlaceKind.TEXT and place.words:
                assert report.narrative.text[place.start : place.end] == place.words
            if place.kind is PlaceKind.HEADER:
                assert place.field


@pytest.mark.parametrize("kind", sorted(set(DiscrepancyKind) - {"preliminary_final"}))
def test_each_kind_has_a_table_in_both_languages(kind):
    """Of at least a dozen that are flagged and a dozen that aren't."""
    assert set(table(kind)) == {"en", "zh"}
    assert all(len(cases) >= FEWEST for groups in table(kind).values() for cases in groups.values())


def test_cases_that_are_fine_are_fine_in_every_way():
    """What is near one kind is no other kind either, but where another is meant."""
    meant = {"measurement_text"}  # another side's nodule of another size is a contradiction of sides
    for kind in set(KINDS) - meant:
        for language, groups in table(kind).items():
            for case in groups["fine"]:
                _, found = found_in(case, language)
                assert found == (), case


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_is_off_is_not_looked_for(kind):
    """Each has a switch of its own."""
    case = table(kind)["en"]["flagged"][0]
    assert any(d.kind == kind for d in found_in(case, "en")[1])
    assert all(d.kind != kind for d in found_in(case, "en", frozenset(DiscrepancyKind) - {kind})[1])
    assert {d.kind for d in found_in(case, "en", {DiscrepancyKind(kind)})[1]} == {kind}
