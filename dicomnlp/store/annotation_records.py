"""What is held of annotations, as records; `annotations` writes and reads them."""

import datetime as dt
import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from dicomnlp.model import Assertion, Laterality, utc_text
from dicomnlp.store.answers import StoredFinding, StoredReport

Key = tuple[int, int, str]
"""Start, end, and the concept of the finding that is judged, "" of an added one: what an annotation is about."""


class Verdict(enum.StrEnum):
    """What a reader says of a place."""

    CONFIRM = "confirm"
    """The finding is as the pipeline says it."""
    REJECT = "reject"
    """There is no finding."""
    RELABEL = "relabel"
    """There is one, and it is another than the pipeline says."""
    ADD = "add"
    """There is one that the pipeline doesn't know."""


class Unsaid(enum.Enum):
    """Stands for a side that isn't said; None says that there is none."""

    UNSAID = "unsaid"


UNSAID = Unsaid.UNSAID


@dataclass(frozen=True, slots=True)
class Mark:
    """What a reader says; what is left out is as the finding at the place has it."""

    verdict: Verdict
    start: int
    end: int
    finding_concept: str = ""
    concept: str | None = None
    assertion: Assertion | None = None
    laterality: Laterality | Unsaid | None = UNSAID

    @property
    def key(self) -> Key:
        """What it is about."""
        return self.start, self.end, self.finding_concept


@dataclass(frozen=True, slots=True)
class Answer:
    """What is at a place, by the pipeline or a reader."""

    concept: str
    assertion: Assertion | None
    """None: there is no finding."""
    laterality: Laterality | None


@dataclass(frozen=True, slots=True)
class Annotation:
    """What a reader said of a place in a report."""

    id: int
    object_id: int
    study_instance_uid: str
    sop_instance_uid: str
    text_sha256: str
    verdict: Verdict
    start: int
    end: int
    text: str
    """The words of the report there."""
    finding_concept: str
    answer: Answer
    annotated_by: str
    annotated_at: dt.datetime
    pipeline: str
    adjudicates: bool

    @property
    def key(self) -> Key:
        """What it is about."""
        return self.start, self.end, self.finding_concept

    @property
    def concept(self) -> str:
        """Id of the concept that is there, or that was rejected."""
        return self.answer.concept

    @property
    def assertion(self) -> Assertion | None:
        """None where there is no finding."""
        return self.answer.assertion

    @property
    def laterality(self) -> Laterality | None:
        """None where no side is said."""
        return self.answer.laterality

    def to_json(self) -> dict[str, Any]:
        """The annotation in the public form."""
        return {
            "id": self.id,
            "study_instance_uid": self.study_instance_uid,
            "sop_instance_uid": self.sop_instance_uid,
            "text_sha256": self.text_sha256,
            "verdict": self.verdict.value,
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "finding_concept": self.finding_concept or None,
            "concept": self.concept,
            "assertion": self.assertion.value if self.assertion else None,
            "laterality": self.laterality.value if self.laterality else None,
            "annotated_by": self.annotated_by,
            "annotated_at": utc_text(self.annotated_at),
            "pipeline": self.pipeline,
            "adjudicates": self.adjudicates,
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """A report as one of its readers sees it: others' answers only once this reader has marked it as read."""

    report: StoredReport
    findings: list[StoredFinding]
    """As the current pipeline says them."""
    text_sha256: str
    own: list[Annotation]
    others: list[Annotation]
    adjudications: list[Annotation]
    done_at: dt.datetime | None
    others_done: list[str]
    """Readers who have marked it as read; these three are empty while the reader is blind."""
    outdated: int
    """The reader's own annotations of another text of the same object, which aren't shown."""

    @property
    def state(self) -> Literal["not_begun", "in_work", "done"]:
        """How far the reader is."""
        return "done" if self.done_at else "in_work" if self.own else "not_begun"

    @property
    def others_shown(self) -> bool:
        """Whether the reader has given an answer of their own, and may see others'."""
        return self.done_at is not None

    @property
    def undecided(self) -> list[StoredFinding]:
        """Findings of the pipeline that the reader hasn't judged, each place and concept once."""
        judged = {a.key for a in self.own}
        return list({key_of(f): f for f in reversed(self.findings) if key_of(f) not in judged}.values())[::-1]

    def to_json(self) -> dict[str, Any]:
        """The reading in the public form."""
        text = self.report.report.narrative.text if self.report.report else ""
        analysis = self.report.analysis
        return {
            "study_instance_uid": self.report.study_instance_uid,
            "sop_instance_uid": self.report.sop_instance_uid,
            "text_sha256": self.text_sha256,
            "text": text,
            "language": analysis.language if analysis else None,
            "pipeline": analysis.pipeline if analysis else None,
            "state": self.state,
            "done_at": utc_text(self.done_at) if self.done_at else None,
            "others_shown": self.others_shown,
            "others_done": self.others_done,
            "outdated": self.outdated,
            "findings": [f.to_json() for f in self.findings],
            "own": [a.to_json() for a in self.own],
            "others": [a.to_json() for a in self.others],
            "adjudications": [a.to_json() for a in self.adjudications],
        }


@dataclass(frozen=True, slots=True)
class Progress:
    """What a reader has done."""

    reader: str
    reports_done: int
    first_readings: int
    """Of those: the reader was the first to be done."""
    second_readings: int
    verdicts: dict[str, int]
    """How many annotations count, by verdict; every verdict is named."""
    last_at: dt.datetime

    def to_json(self) -> dict[str, Any]:
        """The progress in the public form."""
        return {
            "reader": self.reader,
            "reports_done": self.reports_done,
            "first_readings": self.first_readings,
            "second_readings": self.second_readings,
            "verdicts": self.verdicts,
            "last_at": utc_text(self.last_at),
        }


def key_of(found: StoredFinding) -> Key:
    """What an annotation of this finding is about."""
    return found.finding.start, found.finding.end, found.finding.concept.id


def digest(text: str) -> str:
    """Of a text, by which annotations know it."""
    return hashlib.sha256(text.encode()).hexdigest()


def latest(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Those that count, in the order of the text: of each reader and place the last, given in their order.

    Adjudications replace each other whoever made them.
    """
    held = {(a.text_sha256, "" if a.adjudicates else a.annotated_by, a.adjudicates, a.key): a for a in annotations}
    return sorted(held.values(), key=in_text)


def in_text(annotation: Annotation) -> tuple[int, int, str, int]:
    """By which annotations of a report are in the order of its text."""
    return annotation.start, annotation.end, annotation.finding_concept, annotation.id
