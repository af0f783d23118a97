"""``critical.toml``: which findings are critical results; checked when it is first needed."""

import tomllib
from functools import cache
from pathlib import Path

from pydantic import Field

from dicomnlp.analyse.names import entries, folders
from dicomnlp.model import Acuity, Change, SectionName
from dicomnlp.review.exam_names import Table, Word, Words

FILE = Path(__file__).with_name("critical.toml")
_BASE = "en"
"""The pack whose categories hold for all languages: what is actionable doesn't depend on who speaks of it."""


class General(Table):
    """What holds for every mention."""

    sections: tuple[SectionName, ...]
    not_changes: tuple[Change, ...]
    not_acuities: tuple[Acuity, ...]
    known_in: tuple[SectionName, ...]


class Third(Table):
    """Concepts of category 3 that count beside a suspicion."""

    suspected: Words = Field(alias="with", min_length=1)
    concepts: Words = Field(min_length=1)
    source: Word


class Rule(Table):
    """What concepts need to be critical results."""

    concepts: Words = Field(min_length=1)
    listed: bool = True
    acute: bool = False
    """Called acute or subacute, new or increased."""
    news: bool = False
    """Not named in what the study was made for, and not followed."""
    size_mm: float | None = None
    """At least so large."""
    source: Word


class Rules(Table):
    """All of the file."""

    sources: Words
    general: General
    third: Third
    rules: tuple[Rule, ...]


@cache
def critical_rules() -> Rules:
    """The rules.

    Raises
    ------
    ValueError
        The file breaks its schema, or names a concept that no pack has.
    """
    rules = Rules.model_validate(tomllib.loads(FILE.read_text(encoding="utf-8")))
    named = {c for r in rules.rules for c in r.concepts} | {*rules.third.concepts, *rules.third.suspected}
    unknown = sorted(c for c in named if not any(c in entries("concepts", folder) for folder in folders()))
    if unknown:
        raise ValueError(f"critical.toml: no pack has {', '.join(unknown)}")
    return rules


@cache
def lineage_of(concept_id: str) -> tuple[str, ...]:
    """A concept and its ancestors, nearest first, in the pack that all build on."""
    found: list[str] = []
    at: str | None = concept_id
    while at is not None and at not in found:
        found.append(at)
        parent = _entry(at).get("parent")
        at = parent if isinstance(parent, str) else None
    return tuple(found)


def _entry(concept_id: str) -> dict[str, object]:
    for folder in (_BASE, *folders()):
        entry = entries("concepts", folder).get(concept_id)
        if entry is not None:
            return dict(entry)
    return {}


@cache
def category_of(concept_id: str) -> int | None:
    """The category of actionable findings that a concept, or the nearest of its ancestors that has one, is of."""
    base = entries("concepts", _BASE)
    for each in lineage_of(concept_id):
        category = base[each].get("critical") if each in base else None
        if isinstance(category, int):
            return category
    return None


@cache
def rule_of(concept_id: str) -> Rule | None:
    """The rule of a concept, or of the nearest of its ancestors that has one before a category of its own."""
    by_concept = {c: rule for rule in reversed(critical_rules().rules) for c in rule.concepts}
    return next((by_concept[c] for c in lineage_of(concept_id) if c in by_concept), None)
