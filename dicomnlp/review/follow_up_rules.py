"""``follow_up.toml``: what is asked for, when it is due, and what answers it; checked when it is first needed."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from dicomnlp.model import Assertion, Recommendation, RecommendationKind
from dicomnlp.review.exam_names import Table, Word, Words, has_words

FILE = Path(__file__).with_name("follow_up.toml")

Category = Literal["imaging", "tissue", "visit"]
"""What is asked for, as far as it makes an item."""


class CategoryRule(Table):
    """Words in the name of a procedure, and what they ask for."""

    name: Literal["imaging", "tissue", "visit", "nothing"]
    words: Words
    modalities: Words = ()
    """Of which the recommendation may be instead."""
    needs_time: bool = False
    source: Word


class AnswerRule(Table):
    """The modalities that will do for one that is asked for."""

    asked: Word
    by: Words
    source: Word


class UnnamedRule(Table):
    """The modalities that will do where none is named, after a study by some."""

    after: Words
    by: Words
    source: Word


class AlternativesRule(Table):
    """Words between two procedures that make them a choice."""

    words: Words
    source: Word


class WindowRule(Table):
    """When an item is due, when it is overdue, and how early an examination may be."""

    early_part: float = Field(ge=0, le=1)
    early_source: Word
    grace_part: float = Field(ge=0)
    grace_least: int = Field(ge=0)
    grace_most: int = Field(ge=0)
    grace_source: Word
    undated: int = Field(ge=1)
    undated_source: Word

    def grace(self, days: int) -> int:
        """Days after the latest time named before an item is overdue."""
        return min(max(round(days * self.grace_part), self.grace_least), self.grace_most)


class FirmnessRule(Table):
    """Which recommendations are watched: can be due and overdue."""

    kinds: tuple[RecommendationKind, ...] = ()
    conditional: bool | None = None
    watched: bool
    source: Word

    def fits(self, asked: Recommendation) -> bool:
        """Whether the rule speaks of such a recommendation."""
        return (not self.kinds or asked.kind in self.kinds) and self.conditional in {None, asked.conditional}


class PlaceRule(Table):
    """Which finding a request is about that names no site."""

    nearest: int = Field(ge=0)
    nearest_source: Word
    assertions: tuple[Assertion, ...]


class DismissalRule(Table):
    """A reason for which somebody may close an item."""

    reason: Word


class Rules(Table):
    """``follow_up.toml``."""

    categories: tuple[CategoryRule, ...]
    answers: tuple[AnswerRule, ...]
    unnamed: tuple[UnnamedRule, ...]
    alternatives: AlternativesRule
    window: WindowRule
    firmness: tuple[FirmnessRule, ...]
    place: PlaceRule
    dismissals: tuple[DismissalRule, ...]

    @model_validator(mode="after")
    def _judges_every_kind(self) -> "Rules":
        unconditional = {k for r in self.firmness if not r.conditional for k in r.kinds}
        if set(RecommendationKind) - unconditional:
            raise ValueError("firmness: a kind of recommendation has no rule")
        return self

    @property
    def reasons(self) -> tuple[str, ...]:
        """Codes of the reasons for which items may be dismissed."""
        return tuple(rule.reason for rule in self.dismissals)

    def category_of(self, asked: Recommendation) -> Category | None:
        """What is asked for; None where it leaves nothing to wait for."""
        if asked.procedure is None:
            return None
        named = asked.modality is not None
        for rule in self.categories:
            if asked.modality in rule.modalities:
                return None if rule.name == "nothing" else rule.name
            # "CT to correlate" is imaging, "CT-guided biopsy" takes tissue
            if (not named or rule.name == "tissue") and has_words(asked.procedure, rule.words):
                if rule.name == "nothing" or (rule.needs_time and asked.interval_days_max is None):
                    return None
                return rule.name
        return "imaging" if named else None

    def answering(self, modality: str) -> AnswerRule:
        """What will do where `modality` is asked for; of one without a rule, itself."""
        known = (rule for rule in self.answers if rule.asked == modality)
        return next(known, AnswerRule(asked=modality, by=(modality,), source="house: itself"))

    def answering_after(self, modalities: tuple[str, ...]) -> UnnamedRule | None:
        """What will do where no modality is asked for, after a study by `modalities`; None: any."""
        return next((rule for rule in self.unnamed if not set(rule.after).isdisjoint(modalities)), None)

    def firmness_of(self, asked: Recommendation) -> FirmnessRule:
        """Whether a recommendation is watched."""
        return next(rule for rule in self.firmness if rule.fits(asked))


@cache
def follow_up_rules() -> Rules:
    """The rules, checked."""
    return Rules.model_validate(tomllib.loads(FILE.read_text(encoding="utf-8")))
