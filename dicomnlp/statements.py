"""What a text means: the records of analyse, which `model` gives to every step.

All offsets are half-open character offsets into ``Narrative.text``.
"""

from dataclasses import dataclass, field

from dicomnlp.terms import Acuity, Assertion, Change, Laterality, RecommendationKind, SectionName, Severity, Temporality

PIPELINE_SEPARATOR = "&"
"""Between the pipelines of a report that several packs read, passage by passage."""


@dataclass(frozen=True, slots=True)
class Section:
    """A named stretch of the narrative, heading included."""

    name: SectionName
    title: str | None
    """The heading's words as written, None when the section has no heading."""
    start: int
    """Where the heading starts (or the body, when there is none)."""
    end: int
    body_start: int
    """Where the text after the heading starts."""


@dataclass(frozen=True, slots=True)
class Concept:
    """An entry of a language pack's lexicon or anatomy; the id is shared by all languages."""

    id: str
    code: str | None
    """None where no code is certain: codes are never invented."""
    scheme: str | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Cue:
    """The words that decided an assertion, and their ConText category."""

    text: str
    start: int
    end: int
    category: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """A quantity stated in the text."""

    values: tuple[float, ...]
    """One to three numbers; millimetres when `unit` is "mm"."""
    unit: str
    """UCUM; lengths are always "mm"."""
    kind: str
    """"size", "distance", "volume", "density" (HU), "uptake" (SUV), "ratio" ..."""
    temporality: Temporality
    text: str
    start: int
    end: int
    comparator: str | None = None
    """"<", "<=", ">" or ">=" where the text gives a bound: "less than 50% stenosis"."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One mention of a concept, judged."""

    concept: Concept
    text: str
    start: int
    end: int
    sentence: str
    section: SectionName
    assertion: Assertion
    is_negated: bool = False
    is_uncertain: bool = False
    is_historical: bool = False
    is_hypothetical: bool = False
    is_family: bool = False
    """The five flags are ConText's own answer; `assertion` also weighs the section."""
    cues: tuple[Cue, ...] = ()
    anatomy: Concept | None = None
    laterality: Laterality | None = None
    severity: Severity | None = None
    change: Change | None = None
    measurements: tuple[Measurement, ...] = ()
    critical: bool = False
    item_path: str | None = None
    """Content item that the mention stands in."""
    subject: str = ""
    observer: str = ""
    """Of that item's `Segment`: "" is the patient, and nobody named."""
    acuity: Acuity | None = None
    count: str | None = None
    """How many: "2", or "multiple" where no number is told."""
    levels: tuple[str, ...] = ()
    """Levels and other numbered places in the report's words: "L4-L5", "segment VII", "10 o'clock"."""
    image_references: tuple[str, ...] = ()
    """In the report's words: "series 3, image 47"."""
    language: str = ""
    """Code of the pack that read it: not the report's own where its content item declares another."""
    rules_assertion: Assertion | None = None
    """What the rules alone say, where a trained model had its say in `assertion`."""
    model_probability: float | None = None
    """That the model gives to `assertion`."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What the report asks to be done next."""

    text: str
    """The clause that asks."""
    start: int
    end: int
    procedure: str | None
    """What, in the report's words; None where it isn't named ("recommend action")."""
    modality: str | None
    """DICOM modality (CT, MR, US, MG, PT, NM, DX, RF, BMD, ES, XA ...); None for what is no imaging."""
    anatomy: Concept | None
    """Where."""
    interval_days_min: int | None
    """When, counted from this study: the earliest time named. "Within 3 months" names one time: both are 90."""
    interval_days_max: int | None
    """The latest time named. A month has 30 days, twelve months 365."""
    conditional: bool
    """Only if something holds: "if symptoms persist", "as clinically indicated"."""
    kind: RecommendationKind = RecommendationKind.RECOMMENDED
    guideline: str | None = None
    """The guideline that is named for it."""


@dataclass(frozen=True, slots=True)
class Score:
    """A category of a reporting system, or a graded scale: BI-RADS 4A, Fazekas 2, T-score -2.7."""

    system: str
    category: str
    """As the system writes it; modifiers follow after a space ("3 S")."""
    text: str
    start: int
    end: int
    scope: str
    """"exam", "lesion", or "prior" for one that is of an earlier study."""
    version: str | None = None
    """Of the system, where the text names it: "2.1", "2019"."""
    temporality: Temporality = Temporality.CURRENT


@dataclass(frozen=True, slots=True)
class Communication:
    """That a result was, or was tried to be, told to somebody."""

    text: str
    start: int
    end: int
    recipient: str | None
    """Whom, in the report's words."""
    time: str | None
    """When, in the report's words."""
    method: str | None
    """How: "by telephone"."""
    acknowledged: bool
    """Read back, understood, or receipt confirmed."""
    completed: bool
    """False where it was only tried or is still to be done."""


@dataclass(frozen=True, slots=True)
class PatientStatement:
    """Age or sex of the patient as the text states it."""

    age_years: float | None
    sex: str | None
    """DICOM: "F", "M"."""
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the pipeline makes of a narrative."""

    language: str
    pipeline: str
    """Pack, version and digest of everything that can change the answer: "en-2026.1+3f9c0d21a4b7"; of several packs
    in the order of these names, joined by `PIPELINE_SEPARATOR`."""
    sections: tuple[Section, ...] = ()
    findings: tuple[Finding, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    labels: dict[str, dict[str, str | None]] = field(default_factory=dict)
    """Label set -> label -> present, absent, possible or None."""
    recommendations: tuple[Recommendation, ...] = ()
    scores: tuple[Score, ...] = ()
    communications: tuple[Communication, ...] = ()
    demographics: tuple[PatientStatement, ...] = ()
    warnings: tuple[str, ...] = ()
    rules_labels: dict[str, dict[str, str | None]] | None = None
    """What the rules alone make of `labels`, where a trained model had its say in them."""
    model: str = ""
    """The trained model that was used: its name, "@" and twelve digits of its digest; "" for the rules alone."""
