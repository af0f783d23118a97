"""Rules as data: whole, of ids that there are, and refused when they are malformed."""

import tomllib

import pytest
from pydantic import ValidationError

from dicomnlp.analyse import expand_concept, expand_site
from dicomnlp.config import ContradictionSettings, GuidanceSettings
from dicomnlp.remarks import DiscrepancyKind
from dicomnlp.review.contradiction_rules import (
    CATEGORIES,
    CONTRADICTIONS,
    CategoryRules,
    ContradictionRules,
    category_rules,
    contradiction_rules,
)
from dicomnlp.review.guidance_rules import GUIDANCE, GuidanceRules, guidance_rules


def concepts():
    """(where, concept) of all rules."""
    rules = contradiction_rules()
    for name in ("male_concepts", "female_concepts"):
        yield from ((f"sex.{name}", c) for c in getattr(rules.sex, name))
    for name in ("families", "broad_families"):
        yield from ((f"agreement.{name}", c) for c in getattr(rules.agreement, name))
    for rule in category_rules().rules:
        yield from ((rule.name, c) for c in (*rule.concepts, *rule.unless_other_concepts, *rule.without_concepts))
    for rule in category_rules().numbers:
        yield from ((rule.name, c) for c in rule.concepts)
    for entry in (*guidance_rules().guidelines, *guidance_rules().measures):
        yield from ((entry.id, c) for c in entry.concepts)


def sites():
    """(where, site) of all rules."""
    rules = contradiction_rules()
    for name, part in rules.paired_parts.items():
        yield from ((name, s) for s in part.sites)
    for name in ("male_sites", "female_sites"):
        yield from ((f"sex.{name}", s) for s in getattr(rules.sex, name))
    for group in rules.agreement.near_sites:
        yield from (("agreement.near_sites", s) for s in group)
    for name, examination in rules.complete_examinations.items():
        yield from ((name, s) for several in examination.sites.values() for s in several)
    for rule in category_rules().rules:
        yield from ((rule.name, s) for s in rule.sites)
    yield from (("cad_rads", s) for s in category_rules().cad_rads.sites)
    for guideline in guidance_rules().guidelines:
        yield from ((guideline.id, s) for s in guideline.region)
    for measure in guidance_rules().measures:
        yield from ((measure.id, s) for s in measure.met_recommendation)


@pytest.mark.parametrize(("where", "concept"), sorted(set(concepts())))
def test_concepts_of_rules_are_those_of_the_packs(where, concept):
    """A misspelt one would never be found."""
    assert concept in expand_concept(concept)


@pytest.mark.parametrize(("where", "site"), sorted(set(sites())))
def test_sites_of_rules_are_those_of_the_packs(where, site):
    """Likewise."""
    assert site in expand_site(site)


@pytest.mark.parametrize("entry", [*guidance_rules().guidelines, *guidance_rules().measures], ids=lambda e: e.id)
def test_guidelines_and_measures_name_their_source(entry):
    """A publication, a regulation or a programme, with its year or number."""
    assert any(c.isdigit() for c in entry.source)


@pytest.mark.parametrize("rule", [*category_rules().rules, *category_rules().numbers], ids=lambda r: r.name)
def test_rules_of_categories_name_their_source(rule):
    """Likewise."""
    assert any(c.isdigit() for c in rule.source)


@pytest.mark.parametrize("examination", contradiction_rules().complete_examinations.values(), ids=lambda e: e.source)
def test_complete_examinations_name_their_source(examination):
    """Procedure codes."""
    assert "CPT" in examination.source


def test_each_kind_and_guideline_has_a_switch():
    """And no switch is for nothing."""
    assert set(ContradictionSettings.model_fields) == {k.value for k in DiscrepancyKind}
    assert set(GuidanceSettings.model_fields) == {g.id for g in guidance_rules().guidelines} | {"quality_measures"}


def spoiled(path, change):
    """The rules of a file after `change`."""
    rules = tomllib.loads(path.read_text(encoding="utf-8"))
    change(rules)
    return rules


@pytest.mark.parametrize(
    ("model", "path", "change"),
    [
        (ContradictionRules, CONTRADICTIONS, lambda r: r["sizes"].pop("stable_mm")),
        (ContradictionRules, CONTRADICTIONS, lambda r: r["sides"].update(above=["above"])),
        (CategoryRules, CATEGORIES, lambda r: r["rules"][0].update(confidence=2)),
        (CategoryRules, CATEGORIES, lambda r: r["rules"][0].pop("source")),
        (CategoryRules, CATEGORIES, lambda r: r["rules"][0].pop("words")),  # then it describes nothing
        (CategoryRules, CATEGORIES, lambda r: r["rules"].append(r["rules"][0])),
        (GuidanceRules, GUIDANCE, lambda r: r["guidelines"].append(r["guidelines"][0])),
        (GuidanceRules, GUIDANCE, lambda r: r["guidelines"][0]["answers"][0]["when"].update(colour=["red"])),
        (GuidanceRules, GUIDANCE, lambda r: r["guidelines"][0]["answers"][0].update(size_mm={"under": 6})),
        (GuidanceRules, GUIDANCE, lambda r: r["measures"][0].pop("title")),
    ],
)
def test_malformed_rules_are_refused(model, path, change):
    """A rule that isn't understood must not be passed over."""
    model.model_validate(spoiled(path, lambda _rules: None))
    with pytest.raises(ValidationError):
        model.model_validate(spoiled(path, change))
