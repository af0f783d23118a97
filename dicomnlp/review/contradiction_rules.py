"""What contradictions.toml and categories.toml may hold, checked when they are loaded."""

import tomllib
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from dicomnlp.model import Change, Severity
from dicomnlp.review.phrases import Phrases

CONTRADICTIONS = Path(__file__).with_name("contradictions.toml")
CATEGORIES = Path(__file__).with_name("categories.toml")

Word = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Words = tuple[Word, ...]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
Confidence = Annotated[float, Field(gt=0, le=1)]


class Rules(BaseModel):
    """A table of rules."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


class Sides(Rules):
    """``[sides]``: words for sides."""

    left: Words
    right: Words
    both: Words
    compared: Words
    """Said in a sentence that speaks of the other side only to compare."""
    several: Words

    @cached_property
    def several_pattern(self) -> Phrases:
        """Any of `several`."""
        return Phrases(self.several)


class PairedPart(Rules):
    """A part of the body of which there are two."""

    words: Words
    sites: tuple[Name, ...]
    needs_side: bool
    """An examination of one of them can't be understood without its side."""


class SexRules(Rules):
    """``[sex]``: what only one sex has."""

    male_sites: tuple[Name, ...]
    female_sites: tuple[Name, ...]
    male_concepts: tuple[Name, ...]
    female_concepts: tuple[Name, ...]
    male_words: Words
    male_first: Words
    """At the beginning of an indication or history."""
    female_first: Words
    male_person: Words
    female_person: Words
    male_pronouns: Words
    female_pronouns: Words
    """In an indication or history that tells of nobody else."""
    male_history: Words
    female_history: Words
    """What an indication or history tells only of one sex."""
    female_words: Words
    near_sites: tuple[Name, ...]
    """Where a concept of one sex may be said to be, beside its own sites."""
    unless: Words
    others: Words
    staff: Words


class AgeRules(Rules):
    """``[age]``: years of difference that are an error, at the least."""

    tolerance: float
    tolerance_zh: float
    tolerance_new_year: float
    infant_years: float
    tolerance_infant: float


class AgreementRules(Rules):
    """``[agreement]``: when two findings are the same thing, and when a denial is a narrow one."""

    generic: frozenset[Name]
    anywhere: frozenset[Name]
    near_sites: tuple[frozenset[Name], ...]
    alike: tuple[frozenset[Name], ...]
    broad_families: tuple[Name, ...]
    families: tuple[Name, ...]
    narrowing: Words
    explained: Words

    @cached_property
    def narrowing_pattern(self) -> Phrases:
        """Any of `narrowing`."""
        return Phrases(self.narrowing)

    @cached_property
    def explained_pattern(self) -> Phrases:
        """Any of `explained`."""
        return Phrases(self.explained)


class ChangeWords(Rules):
    """``[change_words]``: how a change of size is put."""

    arrows: Words
    """Between a size of an earlier study and that of this one."""
    before: Words
    """Right before a size of an earlier study."""
    increased: Words
    decreased: Words
    stable: Words
    states: Words
    """Words of a change that tell how large something is: "the larger of both"."""
    qualities: Words
    """What may change beside the size."""
    grown: Words
    shrunk: Words
    """Of size only, also where a quality is named."""

    @cached_property
    def patterns(self) -> dict[Change, Phrases]:
        """The words of each change."""
        words = {Change.INCREASED: self.increased, Change.DECREASED: self.decreased, Change.STABLE: self.stable}
        return {change: Phrases(w) for change, w in words.items()}

    @cached_property
    def of_size(self) -> dict[Change, Phrases]:
        """The words of each change that can only be of size."""
        words = {Change.INCREASED: self.grown, Change.DECREASED: self.shrunk, Change.STABLE: ("same size",)}
        return {change: Phrases(w) for change, w in words.items()}

    @cached_property
    def states_pattern(self) -> Phrases:
        """Any of `states`."""
        return Phrases(self.states)

    @cached_property
    def qualities_pattern(self) -> Phrases:
        """Any of `qualities`."""
        return Phrases(self.qualities)


class SizeRules(Rules):
    """``[sizes]``: when two sizes differ."""

    tolerance_mm: float
    tolerance_fraction: float
    stable_mm: float
    stable_fraction: float

    def differ(self, one: float, other: float) -> bool:
        """Whether two lengths in millimetres are more apart than rounding and reading explain."""
        apart = abs(one - other)
        return apart > self.tolerance_mm and apart > self.tolerance_fraction * max(one, other)

    def unstable(self, one: float, other: float) -> bool:
        """Whether nobody would call it stable that one length became the other."""
        apart = abs(one - other)
        return apart >= self.stable_mm and apart >= self.stable_fraction * max(one, other)


class OrderWords(Rules):
    """``[order_words]``: how orders are put."""

    ultrasound: Words
    complete: Words
    limited: Words
    unless: Words


class CompleteExamination(Rules):
    """What a complete ultrasound must describe."""

    source: Word
    order: Words
    limited_order: Words = ()
    """Words of limited orders beside `order`: a part of what a complete one is of."""
    sex: Annotated[str, StringConstraints(pattern="^[FM]$")] | None = None
    sites: dict[Name, tuple[Name, ...]] = Field(default={})
    """Element -> sites: a finding there describes it, too."""
    elements: dict[Name, Words]

    @cached_property
    def order_pattern(self) -> Phrases:
        """Any of `order`."""
        return Phrases(self.order)

    @cached_property
    def limited_pattern(self) -> Phrases:
        """Any of `order` and `limited_order`."""
        return Phrases((*self.order, *self.limited_order))

    @cached_property
    def element_patterns(self) -> dict[str, Phrases]:
        """Each element's words, Latin ones in the plural, too."""
        return {name: Phrases(words, plural=True) for name, words in self.elements.items()}


class ContradictionRules(Rules):
    """contradictions.toml."""

    sides: Sides
    paired_parts: dict[Name, PairedPart]
    sex: SexRules
    age: AgeRules
    agreement: AgreementRules
    change_words: ChangeWords
    sizes: SizeRules
    order_words: OrderWords
    complete_examinations: dict[Name, CompleteExamination]


class Bounds(Rules):
    """A range of numbers; each end that is given must hold."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def hold(self, value: float) -> bool:
        """Whether `value` is in the range."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )


class CategoryWords(Rules):
    """What rules of categories and of numbers have in common: all that is named must hold."""

    name: Name
    confidence: Confidence
    source: Word
    words: Words = ()
    """One of them is affirmed."""
    words_too: Words = ()
    """One of these likewise."""
    without_words: Words = ()
    """None of them stands anywhere."""
    unless_affirmed: Words = ()
    """None of them stands anywhere without being denied."""
    denied_words: Words = ()
    """One of them is denied."""
    concepts: tuple[Name, ...] = ()
    """One of them, or of their descendants, is present."""

    @cached_property
    def patterns(self) -> dict[str, Phrases]:
        """The lists of words that there are, by name."""
        lists = ("words", "words_too", "without_words", "unless_affirmed", "denied_words", "unless_words")
        given = {name: getattr(self, name, ()) for name in lists}
        return {name: Phrases(words) for name, words in given.items() if words}


class CategoryRule(CategoryWords):
    """A category that contradicts what is described."""

    systems: tuple[Word, ...]
    categories: tuple[Word, ...]
    sites: tuple[Name, ...] = ()
    """The finding is there, or names no site; of `nothing_of` the denial is there, and nothing else is."""
    nothing_of: tuple[Name, ...] = ()
    """None of these is present or possible, one is denied, and nothing is measured."""
    size_mm: Bounds | None = None
    """Of the largest of these findings that tells one."""
    severities: tuple[Severity, ...] = ()
    unless_words: Words = ()
    """None of them stands in the sentence of that finding."""
    unless_changes: tuple[Change, ...] = ()
    unless_other_concepts: tuple[Name, ...] = ()
    """None of them is present anywhere."""
    without_concepts: tuple[Name, ...] = ()
    """As `unless_other_concepts`, possible ones included."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.words or self.denied_words or self.concepts or self.nothing_of):
            raise ValueError(f"rule {self.name} describes nothing")
        return self


class NumberRule(CategoryWords):
    """A number that contradicts what is described."""

    system: Word
    lowest: Bounds = Bounds()
    """Of all numbers of the system in the report."""
    highest: Bounds = Bounds()


class CadRads(Rules):
    """``[cad_rads]``: percent of stenosis by category."""

    source: Word
    confidence: Confidence
    sites: tuple[Name, ...]
    tolerance: float
    unless_words: Words
    """Said in the sentence of a stenosis that is no more."""
    ranges: dict[Word, tuple[float, float]]

    @cached_property
    def unless_pattern(self) -> Phrases:
        """Any of `unless_words`."""
        return Phrases(self.unless_words)


class Feature(Rules):
    """A feature of a thyroid nodule, and what its words are worth."""

    name: Name
    words: dict[Word, int]

    @cached_property
    def pattern(self) -> Phrases:
        """Any of its words."""
        return Phrases(self.words)


class TiRads(Rules):
    """``[ti_rads]``: points by feature, and categories by points."""

    source: Word
    confidence: Confidence
    levels: dict[Word, tuple[int, int]]
    features: tuple[Feature, ...]


class CategoryRules(Rules):
    """categories.toml."""

    rules: tuple[CategoryRule, ...]
    numbers: tuple[NumberRule, ...]
    cad_rads: CadRads
    ti_rads: TiRads

    @model_validator(mode="after")
    def _names_are_single(self) -> Self:
        names = [r.name for r in (*self.rules, *self.numbers)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rules of the same name: {', '.join(twice)}")
        return self


@cache
def contradiction_rules() -> ContradictionRules:
    """contradictions.toml, checked; raises pydantic's ValidationError where it is malformed."""
    return ContradictionRules.model_validate(tomllib.loads(CONTRADICTIONS.read_text(encoding="utf-8")))


@cache
def category_rules() -> CategoryRules:
    """categories.toml, checked, likewise."""
    return CategoryRules.model_validate(tomllib.loads(CATEGORIES.read_text(encoding="utf-8")))
