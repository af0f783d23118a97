"""What each file of a language pack may hold, checked when the pack is read.

The files are described for their writers in ``docs/reference/language-pack.md``.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from dicomnlp.model import Acuity, Assertion, Change, Laterality, SectionName, Severity

Word = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Words = tuple[Word, ...]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$")]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]


class Table(BaseModel):
    """A table of a pack: unknown keys are errors, nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(Table):
    """Bounds that keep the cost of a report linear in its length."""

    sentence_characters: int = Field(ge=80, le=5000)
    compose_gap: int = Field(ge=0, le=20)
    """Most tokens between the two parts of a composed concept."""


class PackFile(Table):
    """``pack.toml``: what the pack is."""

    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
    version: Annotated[str, StringConstraints(pattern=r"^\d{4}\.\d+$")]
    name: Word
    base: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")] | None = None
    """The pack from which concepts and sites take what isn't words: meaning, code, parent, category."""
    script: Pattern
    """Characters of the language's script: the pack whose script fills most of a report reads it."""
    limits: Limits
    fold: dict[
        Annotated[str, StringConstraints(min_length=1, max_length=1)],
        Annotated[str, StringConstraints(min_length=1, max_length=1)],
    ] = {}
    """Characters that are read as another one: one to one, so that offsets stay true."""
    fold_runs: tuple[tuple[str, str], ...] = ()
    """The same for many: pairs of texts of equal length, each character read as the one at its place in the other."""
    inflections: tuple[tuple[str, str], ...] = ()
    """(ending, replacement): the first whose ending fits makes the plural of a term's head word."""
    unspaced: bool = False
    """Words aren't set apart: the name of a finding inside a longer one of a site ("尿管" in "输尿管") isn't meant."""
    head_before: Words = ()
    """Words such as "of" whose predecessor is the head of a term."""
    exceptions: Words = ()
    """Phrases such as "apart from": a statement of normality that they limit implies nothing."""
    idioms: Words = ()
    """Phrases whose words don't count by themselves: a "tumor board" is no tumor, in "small bowel" nothing is small."""
    spellings: tuple[tuple[Word, Word], ...] = ()
    """Pairs (part of a word, as the lexicon spells it): "haem" is read as "hem"."""
    abbreviated: tuple[tuple[Word, Word], ...] = ()
    """Pairs (word, the one that the lexicon has for it): "fx" is read as "fracture"."""
    common_words: Words = ()
    """Words that a text of this language can hardly do without; where they are rare its language is in doubt."""

    @property
    def folding(self) -> dict[int, str]:
        """`fold` and `fold_runs` as `str.translate` takes them."""
        runs = {ord(a): b for run in self.fold_runs for a, b in zip(*run, strict=True)}
        return {**runs, **{ord(a): b for a, b in self.fold.items()}}

    def plural(self, term: str) -> str | None:
        """`term` in the plural, by its last letters; None where the language has none."""
        ending, replacement = next(((e, r) for e, r in self.inflections if term.endswith(e)), (None, ""))
        return None if ending is None else term[: len(term) - len(ending)] + replacement

    @model_validator(mode="after")
    def _one_to_one(self) -> Self:
        for number, (read, as_) in enumerate(self.fold_runs):
            if len(read) != len(as_):
                raise ValueError(f"fold_runs {number}: {len(read)} characters can't be read as {len(as_)}")
        return self


class Composition(Table):
    """Two sets of phrases that mean the concept when they stand near each other in one clause."""

    change: Words = Field(min_length=1)
    """The predicate, which cues act on: "enlarged", "blunting"."""
    of: Words = ()
    """What it is said of: "heart", "costophrenic angle"."""
    at: tuple[Identifier, ...] = ()
    """Instead: sites that it is said of, with everything below them; of several readings the nearest site's counts."""

    @model_validator(mode="after")
    def _either(self) -> Self:
        if bool(self.of) == bool(self.at):
            raise ValueError("needs either of or at")
        return self


class ConceptEntry(Table):
    """One concept of ``concepts.toml``."""

    meaning: Word
    code: Word | None = None
    scheme: Word | None = None
    parent: Identifier | None = None
    critical: Literal[1, 2, 3] | None = None
    """Category of actionable finding (ACR; CID 7035)."""
    terms: Words = ()
    cased: Words = ()
    compose: tuple[Composition, ...] = ()
    sized: bool = False
    """"Small" and "large" tell its size, no degree of it; descendants' too."""
    normal: bool = False
    """The concept states that something is as it should be."""
    assertion: Literal["absent"] | None = None
    """Naming the concept says that what it implies is absent."""
    implies: tuple[Identifier, ...] = ()


class ConceptsFile(Table):
    """``concepts.toml``."""

    concepts: dict[Identifier, ConceptEntry]


class AnatomyEntry(Table):
    """One site of ``anatomy.toml``."""

    meaning: Word
    code: Word | None = None
    scheme: Word | None = None
    parent: Identifier | None = None
    laterality: Laterality | None = None
    vague: bool = False
    """A tissue or a region of the body: it gives way to the organ that was spoken of; what it holds is no one thing."""
    unpaired: bool = False
    """There is one of it: a side named before it in a list is its neighbour's."""
    terms: Words = ()
    cased: Words = ()
    instead: dict[Identifier, Identifier] = {}
    """What its words mean beside a finding of the concept: "cervical" beside lymphadenopathy is no spine."""


class AnatomyFile(Table):
    """``anatomy.toml``."""

    anatomy: dict[Identifier, AnatomyEntry]


class SectionsFile(Table):
    """``sections.toml``: the words of headings."""

    headings: dict[SectionName, Words]
    qualifiers: Words = ()
    """Words that may stand before a heading's own: "clinical", "final", "ct"."""
    joins: Words = ()
    """What joins two headings in one: "and", "/"."""
    priority: tuple[SectionName, ...]
    """Which name a joined heading takes."""
    examinations: Words = ()
    """Words that begin a heading which names an examination ("CT ABDOMEN:") and opens findings."""
    one_paragraph: tuple[SectionName, ...] = ()
    """Sections that end with their paragraph where the report has no heading for its findings."""
    one_sentence: tuple[SectionName, ...] = ()
    """Sections that end with their first sentence there."""
    inline_after: str = ""
    """Characters after which a heading in running text needs no white space: "。"."""
    openings: tuple[Pattern, ...] = ()
    """Beginnings of a sentence that can only be a finding: there, such a section ends before its paragraph does."""
    nothing: Words = ()
    """Words after which a dash ends such a section: "Comparison: None - Left basilar opacity."."""


class SentencesFile(Table):
    """``sentences.toml``: where a sentence ends and where it doesn't."""

    ends: Word
    """Characters that end a sentence wherever they stand (。) or before white space (.)."""
    ends_anywhere: str = ""
    abbreviations: Words = ()
    units: Words = ()
    """Abbreviations that end a sentence only before a capital."""
    clause_marks: Word
    """Characters at which an overlong sentence may be cut."""
    list_marker: Pattern
    """What begins an item of a list."""
    inline_items: Pattern | None = None
    """What begins an item of a list inside a line, where no full stop ends the one before."""
    ends_also: Pattern | None = None
    """An end that takes more than a character to know: a Latin full stop between Han characters."""
    goes_on: Words
    """Ends of a line that goes on in the next."""
    wrap_at_least: int = Field(ge=10, le=200)
    """No printer breaks lines shorter than this, in characters."""


class CueGroup(Table):
    """Cues that act alike."""

    category: Annotated[str, StringConstraints(pattern=r"^[A-Z_]+$")]
    direction: Literal["forward", "backward", "bidirectional", "terminate", "pseudo"]
    terms: Words = Field(min_length=1)
    stops: Literal["forward", "backward", "both"] = "both"
    """Of a terminating group: which cues it ends, those that look forward or those that look backward."""
    spares: Words = ()
    """Of a terminating group: categories that it doesn't end."""
    stopped_by: Words = ()
    """Tokens that end this group's scope."""
    unless_listed: Words = ()
    """Words that show a list: where one stands between cue and target, a comma doesn't end the scope."""
    lists: Words = ()
    """Words that join members of a list: where nothing but findings that they join follows a comma, the comma doesn't
    end the scope."""
    nearest: Words = ()
    """The group acts on the nearest mention, and on those that these words join to it."""
    not_of: Words = ()
    """Last words of mentions that the group doesn't act on."""
    only_of: Words = ()
    """Last words of the only mentions that it acts on, where any are given."""
    before: Words = ()
    """What may follow the cue, beside the sentence's end: elsewhere it is none. "X is likely." but "X is likely Y"."""
    max_scope: int | None = Field(default=None, ge=1)
    max_targets: int | None = Field(default=None, ge=1)


class ContextFile(Table):
    """``context.toml``: ConText cues and how their answer becomes one label."""

    gap_marks: Words
    """Tokens that a gap of a cue pattern doesn't step over."""
    sections: dict[SectionName, Assertion] = {}
    """What an uncued mention in a section is, where that isn't "present"."""
    titles: dict[Word, Assertion] = {}
    """The same for the words of single headings, in lower case: "past medical history"."""
    present_when_measured: tuple[SectionName, ...] = ()
    """Of those sections, the ones where a mention with a size is present after all: "the 9 mm nodule was localized"."""
    questions: dict[SectionName, Words] = {}
    """Cues that ask, where elsewhere they doubt: "Clinical details: ?pneumonia"."""
    complaints: Words = ()
    """Last words of mentions (pain, cough) that stay present even where a section asks."""
    cues: tuple[CueGroup, ...] = Field(min_length=1)


class Comparison(Table):
    """``[comparison]`` of ``attributes.toml``: "较前" + "明显" + "增大", in all their combinations."""

    by: Words
    how: Words
    """May be missing."""
    change: dict[Change, Words]


class AttributesFile(Table):
    """``attributes.toml``: the words of side, degree and course."""

    laterality: dict[Laterality, Words]
    severity: dict[Severity, Words]
    change: dict[Change, Words]
    comparison: Comparison | None = None
    """Further words of `change`."""
    joins: Words
    """Words that join members of a list."""
    coordinators: Words = ()
    """Of these, those that make a list whose last member carries a head that all share: "hepatic or renal cysts"."""
    separators: Words = ()
    """What else stands between members of such a list."""
    reaches: Words = ()
    """Words after which a site is where the finding goes, though another is in its name: "tip in the SVC"."""
    comparatives: Words = ()
    """Of `change`, those that before one of two sides compare the two: "right and smaller left effusions"."""
    prepositions: Words = ()
    """Words that tie what follows to what is before: "in", "of"."""
    clause_breaks: Words
    """Tokens over which no attribute reaches."""
    phrase_breaks: Words = ()
    """Tokens over which no attribute reaches forward, to a finding after them."""
    topics: bool = False
    """Sites and sides stand before what is said of them and hold until the next: "右肺上叶结节，边缘毛糙"."""
    adjuncts: Words = ()
    """Words before a site that is only near: "近", "邻近"."""
    landmarks: Words = ()
    """Words after a site that only tells where another one is meant: "胸12水平脊髓"."""
    denials: Words = ()
    """Words that deny one of two sides: "severe right, no left stenosis"."""
    asides: Words = ()
    """Words after which a size before them is of something else: "the liver measures 17 cm with steatosis"."""
    not_sides: Words = ()
    """Phrases whose "left" or "right" is no side: "in the right clinical setting"."""
    cased_sides: dict[Laterality, Words] = {}
    """Abbreviations of sides that count in this case only: "L"."""
    size_words: Words = ()
    """Words of `severity` that tell a size: no degree of a concept that is `sized`."""
    qualities: Words = ()
    """Phrases that a degree or course right before them is of: "mildly displaced", "increased echogenicity"."""
    lost: Words = ()
    """Phrases that a course right after them is of: what a disease takes away, as "血流" in "血流消失"."""
    origins: Words = ()
    """Words between a distance and what it is told from, which is no site of the finding: "4 cm from the nipple"."""
    apart: Words = ()
    """Phrases before what the finding is not at: "separate from"."""
    adverbs: Words = ()
    """Words of `severity` that speak of a quality which follows: "mildly displaced", but "moderate complex fluid"."""
    amounts: Words = ()
    """Words between a size and what it is of: "3 mm of retrolisthesis"."""
    acuity: dict[Acuity, Words] = {}
    count: dict[Word, Words] = {}
    """How many: a number, or a word such as "multiple", and the words for it."""
    before_counts: Words = ()
    """What stands before a number that counts: "there are 3 nodules"."""
    not_counted: Words = ()
    """Words after a number which show that it counts something else: "3 month"."""
    levels: tuple[Pattern, ...] = ()
    """Levels and other numbered places: "L4-L5", "segment VII", "10 o'clock"."""
    image_references: tuple[Pattern, ...] = ()
    """References to images, each with a number: "series 3, image 47"."""
    refers: Words = ()
    """Beginnings of a sentence that goes on about the finding before: "it", "the largest"."""


class UnitEntry(Table):
    """A unit of measurement."""

    unit: Word
    """UCUM."""
    kind: Word
    factor: float = Field(default=1.0, gt=0)
    terms: Words = Field(min_length=1)
    cased: bool = False


class KindEntry(Table):
    """What a quantity is by the words near before it: "ejection fraction of 55%"."""

    kind: Word
    unit: Word
    before: Words = Field(min_length=1)


class MeasuresFile(Table):
    """``measures.toml``: quantities."""

    units: tuple[UnitEntry, ...]
    names: tuple[UnitEntry, ...] = ()
    """Quantities whose name stands before a bare number: "SUVmax 6.4"."""
    links: Words = ()
    """Between such a name and its number: "of", "is"."""
    bounds: dict[Literal["<", "<=", ">", ">="], Words] = {}
    """Words before a quantity that make it a bound: "less than"."""
    times: Words
    """Between two dimensions: "x", "by"."""
    ranges: Words
    """Between the ends of a range: "-", "to"."""
    joins: Words = ()
    """Between members of a list with one unit: ",", "and"."""
    axes: Words = ()
    """Words after a number that name its axis."""
    not_after: Words = ()
    """What stands after the unit where a quantity is not a size: "per second", "Hg"."""
    prior_before: Words = ()
    prior_after: Words = ()
    prior_links: Words = ()
    """Like `prior_before`, but only right before the quantity or one of `links`: "was 4 mm", not "was seen at 4 mm"."""
    dates_after: tuple[Pattern, ...] = ()
    dates_before: tuple[Pattern, ...] = ()
    """A date after a quantity, which makes it one of an earlier study: "5 mm in May 2025"."""
    kinds: tuple[KindEntry, ...] = ()
    current_before: Words = ()
    from_to: tuple[tuple[Word, Word], ...] = ()
    then_now: tuple[tuple[Word, Word], ...] = ()
    """Pairs such as ("from", "to"): between them stands what was before, where a change is spoken of."""
    change_words: Words = ()
    """Beginnings of words that speak of a change: "increas", "grow"."""
    reach: int = Field(default=40, ge=2, le=200)
    """Characters before a quantity in which a word decides what it is."""
    distance_before: Words = ()
    distance_after: Words = ()


class Case(Table):
    """A case of ``cases.toml``: what the pack must say of a span."""

    text: Word
    span: Word
    assertion: Assertion
    concept: Identifier | None = None
    laterality: Laterality | None = None
    change: Change | None = None


class CasesFile(Table):
    """``cases.toml``."""

    cases: tuple[Case, ...] = Field(min_length=1)


class LabelSource(Table):
    """Concepts that a label is made of; in a file a bare id stands for the concept and everything below it."""

    concept: Identifier
    exactly: bool = False
    """Not what descends from it."""
    without: tuple[Identifier, ...] = ()
    """Descendants that don't count, nor what is below them."""
    at: tuple[Identifier, ...] = ()
    """Sites of which the report must speak; empty for any, and none."""
    denies: bool = False
    """Only its absence counts: without any bleed there is no subdural one."""

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: object) -> object:
        return {"concept": value} if isinstance(value, str) else value


class NothingElse(Table):
    """A label that says that no other label of its set is present or possible."""

    besides: tuple[Word, ...] = ()
    """Labels that may be."""


class LabelSet(Table):
    """One file of ``labels/``: a label set over concept ids."""

    set: Identifier
    about: Word
    labels: dict[Word, tuple[LabelSource, ...]]
    nothing_else: dict[Word, NothingElse] = {}
    elsewhere: tuple[Identifier, ...] = ()
    """Sites outside the set's region: what is found there counts for none of its labels."""
