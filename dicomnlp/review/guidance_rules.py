"""What guidance.toml may hold, checked when it is loaded."""

import tomllib
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from dicomnlp.review.case import kinds_of
from dicomnlp.review.contradiction_rules import Bounds, Name, Rules, Word, Words
from dicomnlp.review.phrases import Phrases

GUIDANCE = Path(__file__).with_name("guidance.toml")
NUMBERS = ("size_mm", "hu", "age")
"""Features with numbers."""


class Feature(Rules):
    """Something that a guideline asks, and the words that tell it."""

    name: Name
    scope: Literal["finding", "report", "report_present", "change"]
    """Where its words count: in the sentences of the finding, anywhere in the report, or anywhere, and then "no" where
    none stand; "change" is the finding's own."""
    untold: str | None = None
    """The value where the text tells none; without it, it is missing."""
    values: dict[Word, Words] = Field(default={})

    @cached_property
    def phrases(self) -> dict[str, Phrases]:
        """The words of each value; where several stand, the first value counts."""
        return {value: Phrases(words) for value, words in self.values.items()}


class Answer(Rules):
    """One row of a guideline's table."""

    name: Name
    when: dict[Name, tuple[str, ...]] = Field(default={})
    """Feature -> values, one of which it has."""
    size_mm: Bounds | None = None
    hu: Bounds | None = None
    age: Bounds | None = None
    text: Word
    text_zh: Word
    modality: Word | None = None
    """DICOM modality of the follow-up; without it and without `procedures`, none is asked for."""
    also_modalities: Words = ()
    """That do as well."""
    days: tuple[int, int] | None = None
    """From this study, earliest and latest; None: soon, or at no told time."""
    procedures: Words = ()
    """Words for what does as well and is no imaging."""
    optional: bool = False
    """To recommend nothing is as good."""

    @property
    def needed(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.modality or self.procedures)


class Guideline(Rules):
    """A guideline: what it is for, what it asks, what it answers."""

    id: Name
    title: Word
    title_zh: Word
    source: Word
    concepts: tuple[Name, ...]
    region: tuple[Name, ...]
    """Sites of recommendations that are about it."""
    modalities: tuple[Word, ...]
    """Of examinations that it is for."""
    youngest: float = 0
    """Years: it isn't for younger patients."""
    asks_age: bool = False
    not_concepts: tuple[Name, ...] = ()
    not_words: Words = ()
    """Said anywhere and not denied, it isn't for this patient."""
    not_finding_words: Words = ()
    """Said in the finding's sentence, it isn't for this finding."""
    axes: Literal["longest", "mean"]
    """Which size counts: the longest axis, or the mean of the axes to the nearest millimetre."""
    counted: bool = False
    """Whether one and several are told apart."""
    features: tuple[Feature, ...] = ()
    answers: tuple[Answer, ...]

    @cached_property
    def kinds(self) -> frozenset[str]:
        """`concepts` and all that descend from them."""
        return frozenset(kind for concept in self.concepts for kind in kinds_of(concept))

    @cached_property
    def excluded(self) -> Phrases:
        """`not_words`."""
        return Phrases(self.not_words)

    @cached_property
    def excluded_finding(self) -> Phrases:
        """`not_finding_words`."""
        return Phrases(self.not_finding_words)

    @model_validator(mode="after")
    def _asks_what_it_answers(self) -> Self:
        known = {f.name for f in self.features} | ({"count"} if self.counted else set())
        asked = {name for answer in self.answers for name in answer.when}
        if asked - known:
            raise ValueError(f"{self.id}: answers need {', '.join(sorted(asked - known))}, which no feature tells")
        return self


class Measure(Rules):
    """A measure of quality: reports to which it applies, and what they then have."""

    id: Name
    title: Word
    title_zh: Word
    source: Word
    modalities: tuple[Word, ...] = ()
    exam_words: Words = ()
    concepts: tuple[Name, ...] = ()
    size_mm: Bounds | None = None
    critical: bool = False
    """It is for reports with a finding of the ACR's categories 1 and 2."""
    met_words: Words = ()
    met_scores: Words = ()
    met_categories: Words = ()
    met_recommendation: tuple[Name, ...] = ()
    """Sites of which a recommendation of imaging is one of."""
    met_communication: bool = False
    inverse: bool = False

    @cached_property
    def kinds(self) -> frozenset[str]:
        """`concepts` and all that descend from them."""
        return frozenset(kind for concept in self.concepts for kind in kinds_of(concept))

    @cached_property
    def exam(self) -> Phrases:
        """`exam_words`."""
        return Phrases(self.exam_words, plural=True)

    @cached_property
    def met(self) -> Phrases:
        """`met_words`, as beginnings of words."""
        return Phrases(self.met_words, beginnings=True)


class GuidanceRules(Rules):
    """guidance.toml."""

    guidelines: tuple[Guideline, ...]
    measures: tuple[Measure, ...]

    @model_validator(mode="after")
    def _ids_are_single(self) -> Self:
        ids = [g.id for g in self.guidelines] + [m.id for m in self.measures]
        if len(set(ids)) < len(ids):
            raise ValueError("two guidelines or measures have one id")
        return self


@cache
def guidance_rules() -> GuidanceRules:
    """guidance.toml, checked; raises pydantic's ValidationError where it is malformed."""
    return GuidanceRules.model_validate(tomllib.loads(GUIDANCE.read_text(encoding="utf-8")))
