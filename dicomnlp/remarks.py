"""What a second reader would remark on a report: the records of review, which store keeps and serve shows."""

import enum
from dataclasses import dataclass


class PlaceKind(enum.StrEnum):
    """Where something is said."""

    TEXT = "text"
    """In the narrative: `start` and `end` tell where."""
    HEADER = "header"
    """In the report's header: `field` is the DICOM keyword."""
    ITEM = "item"
    """In a coded or measured content item: `field` is its path."""
    IMAGE = "image"
    """In the header of the study's images: `field` is the DICOM keyword."""


class DiscrepancyKind(enum.StrEnum):
    """What contradicts what."""

    LATERALITY_ORDER = "laterality_order"
    """The side that was ordered, and the side that the text is about."""
    LATERALITY_HEADER = "laterality_header"
    """The side that the images' headers or the coded items name, and the side that the text is about."""
    LATERALITY_TEXT = "laterality_text"
    """The side in the findings, and the side in the impression."""
    LATERALITY_MISSING = "laterality_missing"
    """A paired part was examined and found to have something, and no side is told anywhere."""
    SEX = "sex"
    """The sex in the header or the text, and the sex or the organs in the text."""
    AGE = "age"
    """The age by the header, and the age in the text."""
    FINDINGS_IMPRESSION = "findings_impression"
    """What the findings deny and the impression states, or the other way round."""
    MEASUREMENT_ITEM = "measurement_item"
    """The number in a measured item, and the number in the text."""
    MEASUREMENT_TEXT = "measurement_text"
    """The size in the findings, and the size in the impression."""
    CATEGORY = "category"
    """The dictated category of a reporting system, and what is described."""
    COMPLETE_ORDER = "complete_order"
    """A complete ultrasound was ordered, and parts that belong to it aren't described."""
    LIMITED_ORDER = "limited_order"
    """A limited ultrasound was ordered, and all parts of a complete one are described."""
    PRIOR_SIZE = "prior_size"
    """The words say how a size changed, and the two sizes say something else."""
    PRELIMINARY_FINAL = "preliminary_final"
    """What the preliminary report states, and what the final one states."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is said, and in which words."""

    kind: PlaceKind
    words: str
    """As they stand there; "" where they are missing."""
    start: int | None = None
    end: int | None = None
    """Half-open character offsets into the narrative; of what is missing, the stretch in which it is."""
    field: str = ""
    sop_instance_uid: str = ""
    """Of the object in which it stands; "" is the report itself."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Two statements that can't both be so."""

    kind: DiscrepancyKind
    rule: str
    """Which rule of the kind it is, by its name in the rules."""
    confidence: float
    """How likely it is one that a reader would correct, 0 to 1: an estimate by rule, not a measured frequency."""
    first: Place
    second: Place
    facts: tuple[tuple[str, str], ...] = ()
    """What the rule compared, by name: ("stated", "65"), ("computed", "71")."""


class GuidanceOutcome(enum.StrEnum):
    """What a report says next to what a guideline says."""

    FOLLOWED = "followed"
    """What is recommended is what the guideline names."""
    DIFFERENT = "different"
    """Something else is recommended: another modality, or another time."""
    NOT_STATED = "not_stated"
    """The guideline names a follow-up, the report none."""
    NONE_NEEDED = "none_needed"
    """The guideline asks for nothing, and so does the report."""
    UNDECIDED = "undecided"
    """What the text leaves out decides whether anything is needed."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One answer of a guideline."""

    rule: str
    text: str
    """In English, our words."""
    modality: str | None
    """DICOM modality; None for what is no imaging, and for nothing."""
    interval_days_min: int | None
    interval_days_max: int | None
    needed: bool
    """False: no follow-up."""


@dataclass(frozen=True, slots=True)
class Guidance:
    """A guideline applied to a finding, as far as the text tells what it asks."""

    guideline: str
    """Its name in the rules: "fleischner_2017"."""
    source: str
    """The publication."""
    outcome: GuidanceOutcome
    finding: Place
    known: tuple[tuple[str, str], ...]
    """What the text tells of what the guideline asks, by name."""
    missing: tuple[str, ...]
    """What the guideline asks, that would narrow its answer, and that the text leaves out."""
    advice: tuple[Advice, ...]
    """The answers that remain possible; one where nothing that matters is missing."""
    recommendation: Place | None = None
    """What the report recommends, where that was compared."""


@dataclass(frozen=True, slots=True)
class QualityMeasure:
    """Whether a report has what a quality measure counts."""

    measure: str
    """Its name in the rules."""
    met: bool
    because: Place | None
    """What shows that it applies, or that it is met."""


@dataclass(frozen=True, slots=True)
class Remarks:
    """All that a second reader would remark on one report."""

    discrepancies: tuple[Discrepancy, ...] = ()
    guidance: tuple[Guidance, ...] = ()
    quality_measures: tuple[QualityMeasure, ...] = ()
