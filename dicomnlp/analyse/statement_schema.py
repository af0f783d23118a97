"""What the files of a language pack for statements may hold: recommendations, scores, communications, age and sex.

These files are optional: a pack without one reads no such statements.
"""

from typing import Literal

from pydantic import Field

from dicomnlp.analyse.schema import Pattern, Table, Word, Words
from dicomnlp.model import SectionName

TimeUnit = Literal["hour", "day", "week", "month", "year"]


class ProcedureEntry(Table):
    """Words for one thing that can be recommended."""

    modality: Word | None = None
    """DICOM modality of imaging."""
    terms: Words = Field(min_length=1)
    enough: bool = False
    """Named alone, at the beginning of a clause, it is a recommendation: "clinical correlation"."""
    general: bool = False
    """Says less than another procedure in its clause: "follow-up", "imaging"."""
    asked_only: bool = False
    """Counts only with words that recommend: "removal" by itself may have been done."""


class Period(Table):
    """A named span of time: "annual"."""

    terms: Words = Field(min_length=1)
    days: tuple[int, int]


class TimesFile(Table):
    """``[times]`` of ``recommendations.toml``: when something is to be done."""

    units: dict[TimeUnit, Words]
    numbers: dict[Word, int]
    """Numbers in words, articles included: "six", "a"."""
    joins: Words
    """Between the numbers of a range: "-", "to"."""
    lists: Words
    """Between the numbers of a list, where one of `leads` stands before it: ",", "and"."""
    leads: Words
    """Words before a time that is to come: "in", "within"."""
    bars: Words
    """Words before a time that is no appointment: "for", "since"."""
    bars_after: Words
    """Words after one: "ago", "old"."""
    periods: tuple[Period, ...] = ()


class RecommendationPhrases(Table):
    """``[phrases]`` of ``recommendations.toml``. Where phrases overlap the longest counts."""

    recommends: Words
    """Recommend by themselves: "is recommended"."""
    whole: Words
    """Are a recommendation, with what is to be done: "correlate clinically"."""
    requests: Words
    """Recommend if they speak of a procedure: "should be obtained"."""
    hedges: Words
    """Likewise, but softly: "could be considered"."""
    options: Words
    """Likewise: "optional"."""
    imperatives: Words
    """Recommend a procedure where they begin a clause: "obtain"."""
    refusals: Words
    """Say that something is not recommended."""
    denials: Words
    """Before a procedure: "no"."""
    reported: Words
    """Speak of an earlier recommendation."""
    inapplicable: Words
    """Say that the sentence's recommendation is not for this patient."""
    conditions: Words
    guidelines: Words
    """Names of guidelines and their authors."""
    purposes: Words
    """After a procedure at the beginning of a clause they make it a recommendation: "for further evaluation"."""
    partners: Words
    """After a general procedure, who or what does it: "follow-up with"."""
    commands: Words
    """Before a procedure likewise: "repeat"."""
    describes: Words
    """Other words that may stand before a procedure: "dedicated"."""
    reports: Words
    """Verbs of a sentence that tells what was: "shows", "was"."""
    subordinates: Words
    """Words after which such a verb doesn't count: "if", "to", "which"."""
    references: Words
    """Before a procedure that was done: "prior", "on", "same day"."""
    breaks: Words
    """Tokens that end a clause."""
    boundaries: Words
    """Tokens after which a procedure stands as if at the beginning: ",", "and"."""
    connects: Words
    """Between the words of a procedure: "of", "the", "with"."""


class RecommendationsFile(Table):
    """``recommendations.toml``."""

    ignored: tuple[SectionName, ...]
    """Sections that recommend nothing."""
    trusted: tuple[SectionName, ...]
    """Sections in which naming a procedure recommends it."""
    procedures: tuple[ProcedureEntry, ...]
    phrases: RecommendationPhrases
    times: TimesFile


class ScoreSystem(Table):
    """One reporting system or graded scale."""

    system: Word
    scope: Literal["exam", "lesion"]
    names: Words = ()
    """What stands before the category, glued to it or not."""
    values: Pattern
    """Regular expression of a category; its group "category" is what counts, where it has one."""
    modifiers: Pattern | None = None
    """Regular expression of what may be added to a category."""
    write: dict[Word, Word] = Field(default_factory=dict)
    """Categories in lower case, without spaces and hyphens, that are written otherwise: "partialresponse" as "PR"."""
    plain: bool = False
    """Its categories need no noun where its name comes after them: "partial response by RECIST"."""
    single: bool = False
    """What follows a category of it is never a second one."""
    with_words: Words = ()
    """One of these must be in the sentence too."""
    about: Words = ()
    """One of these must be somewhere in the report: "Assessment: 2, benign" is BI-RADS where it is of the breast."""
    phrases: dict[Word, Words] = Field(default_factory=dict)
    """Category -> statements that mean it where the sentence gives none of this system: "heterogeneously dense"."""


class ScoresFile(Table):
    """``scores.toml``."""

    links: Words
    """Words between a name and its category: "category", "is"."""
    nouns: Words
    """Of these, those that stand before a category whose system is named after it: "grade III laceration (AAST)"."""
    signs: dict[Word, Literal["-", "+"]] = Field(default_factory=dict)
    """Beginnings of a number that mean a sign: "minus"."""
    before_name: Words
    """Words between a category and the name that follows it: "by", "per"."""
    version: Pattern
    """Regular expression of a version: "v2.1"."""
    not_after: Words
    """What follows a number that is no category: "mm", "months"."""
    wordlike: Words = ()
    """Categories that are words as well, when in lower case: "a"."""
    legends: Words
    """After a name, they show that the system is explained, not used: "categories", "lexicon"."""
    prior_before: Words
    current_before: Words
    prior_after: Words
    ranges: Words
    """Between the ends of a range of categories: "-", "to"."""
    lists: Words
    """Between two categories of one name: "and"."""
    listed: Words
    """After the second of these: "lesions"."""
    systems: tuple[ScoreSystem, ...] = Field(min_length=1)


class CommunicationFile(Table):
    """``communication.toml``."""

    tells: Words
    """That somebody was told: "discussed with"."""
    fails: Words
    """That nobody could be: "unable to reach"."""
    intends: Words
    """That somebody will be: "will be notified"."""
    acknowledges: Words
    not_of: Words
    """What shows that no result is spoken of: "risks", "consent"."""
    titles: Words
    """Before a name: "dr"."""
    credentials: Words
    """After a name: "md"."""
    roles: Words
    """Recipients without a name: "referring physician"."""
    methods: Words
    times: tuple[Pattern, ...]
    """Regular expressions of a time of day, a date, or a span of minutes, in lower case."""
    not_names: Words = ()
    """Words that end a name where all is in capitals."""
    agents: Words = ()
    """Words before one who tells: "was informed by Dr. Lee"."""
    name_words: int = Field(default=4, ge=1, le=8)
    """Most words of a name."""
    particles: Words = ()
    """Words inside a name that begin in lower case: "van"."""


class DemographicsFile(Table):
    """``demographics.toml``: age and sex of the patient."""

    female: Words
    male: Words
    letters: dict[Literal["F", "M"], Words]
    """Words that tell the sex after an age only: "F"."""
    patient: Words
    """Words after which, or before which, a sex without an age is the patient's: "patient"."""
    years: Words
    """Units that make an age: "year old", "yo"."""
    bare: Words
    """Units that make an age only with a sex after it, or one of `before` before it: "years"."""
    months: Words
    weeks: Words
    days: Words
    before: Words
    """Before a bare age: "age", "aged"."""
    numbers: dict[Word, int] = Field(default_factory=dict)
    """Ages in words."""
    between: Words
    """Words between age and sex: "african", "pregnant"."""
    sex_first: bool = False
    """The sex stands before the age too: "男,45岁"."""
    not_of: Words
    """Words after which an age is another person's or another time's: "mother", "diagnosed"."""
