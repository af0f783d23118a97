"""The course of a patient: examinations one after the other, and what reports ask to be done next.

The records that `store` gathers of a patient and `review` judges.
"""

from dataclasses import dataclass

from dicomnlp.statements import Concept, Measurement, Recommendation
from dicomnlp.terms import Assertion, Change, Laterality, SectionName


@dataclass(frozen=True, slots=True)
class Examination:
    """A study, as far as prevailing reports and the headers of images tell of it."""

    study_instance_uid: str
    study_date: str
    """YYYYMMDD, "" where nothing tells it."""
    study_time: str = ""
    """HHMMSS and beyond, "" likewise."""
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    """Values of BodyPartExamined (0018,0015)."""
    lateralities: tuple[str, ...] = ()
    """Values of Laterality (0020,0060) and ImageLaterality (0020,0062)."""
    names: tuple[str, ...] = ()
    """What it is called: study and series descriptions, titles, the heading of the exam in the text."""
    sites: tuple[str, ...] = ()
    """Ids of the sites that its reports speak of."""
    reports: tuple[str, ...] = ()
    """SOP Instance UIDs of prevailing reports."""
    has_images: bool = False


@dataclass(frozen=True, slots=True)
class Stated:
    """A finding, as far as a lesion's course or a request's place depends on it."""

    concept: Concept
    start: int
    end: int
    section: SectionName
    assertion: Assertion
    anatomy: Concept | None = None
    laterality: Laterality | None = None
    change: Change | None = None
    measurements: tuple[Measurement, ...] = ()
    text: str = ""
    sentence: str = ""
    count: str | None = None
    subject: str = ""
    """Whom it is about, where that isn't the patient."""


@dataclass(frozen=True, slots=True)
class CourseReport:
    """A prevailing report: what it asks for and what it states."""

    object_id: int
    sop_instance_uid: str
    study_instance_uid: str
    recommendations: tuple[Recommendation, ...] = ()
    stated: tuple[Stated, ...] = ()
    """In the order of the text."""
    studies: tuple[str, ...] = ()
    """All that it is a report of, its own too."""


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of one patient, or of a study whose patient nothing tells."""

    examinations: tuple[Examination, ...]
    reports: tuple[CourseReport, ...]
