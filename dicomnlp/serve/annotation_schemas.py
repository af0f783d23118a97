"""The bodies of annotation as the OpenAPI document describes them, with examples."""

import datetime as dt
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from dicomnlp.model import Assertion, Laterality
from dicomnlp.serve import schemas
from dicomnlp.store.annotation_queue import QueueItem, Reason, Why
from dicomnlp.store.annotation_records import UNSAID, Annotation, Answer, Mark, Progress, Verdict

CONCEPT: Final = "^[a-z0-9_]{1,64}$"
_LONGEST = 2**31 - 1


class Said(BaseModel):
    """What is said of a place; what is left out is as the finding there has it."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    start: int = Field(ge=0, le=_LONGEST, description="In the report's text.", examples=[412])
    end: int = Field(ge=0, le=_LONGEST, examples=[418])
    finding_concept: str | None = Field(
        default=None,
        pattern=CONCEPT,
        description="Concept of the finding that is judged; null for one that a reader adds or added.",
        examples=["pulmonary_nodule"],
    )
    concept: str | None = Field(default=None, pattern=CONCEPT, examples=["pulmonary_nodule"])
    assertion: Assertion | None = Field(default=None, examples=["absent"])
    laterality: Laterality | None = Field(default=None, description="Null: no side.", examples=["right"])
    text_sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="Of the text that was read; refused where the report's is another by now.",
    )

    def mark(self) -> Mark:
        """As the store takes it; a side that isn't given at all is as the finding's."""
        return Mark(
            self.verdict,
            self.start,
            self.end,
            self.finding_concept or "",
            self.concept,
            self.assertion,
            self.laterality if "laterality" in self.model_fields_set else UNSAID,
        )


class OfText(BaseModel):
    """Which text was read."""

    model_config = ConfigDict(extra="forbid")

    text_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


class Undoing(BaseModel):
    """Which annotation is taken back."""

    model_config = ConfigDict(extra="forbid")

    id: int | None = Field(default=None, ge=1, le=_LONGEST, description="Null: the last.", examples=[17])


class AnnotationBody(BaseModel):
    """What a reader said of a place."""

    id: int
    study_instance_uid: str
    sop_instance_uid: str
    text_sha256: str
    verdict: Verdict
    start: int
    end: int
    text: str
    finding_concept: str | None
    concept: str
    assertion: Assertion | None = Field(description="Null: there is no finding.")
    laterality: Laterality | None
    annotated_by: str
    annotated_at: dt.datetime
    pipeline: str
    adjudicates: bool


class ReadingBody(BaseModel):
    """A report as a reader sees it; what others say is empty until the reader has marked it as read."""

    study_instance_uid: str
    sop_instance_uid: str
    text_sha256: str
    text: str
    language: str | None
    pipeline: str | None
    state: Literal["not_begun", "in_work", "done"]
    done_at: dt.datetime | None
    others_shown: bool
    others_done: list[str]
    outdated: int
    findings: list[schemas.FindingOfStudy]
    own: list[AnnotationBody]
    others: list[AnnotationBody]
    adjudications: list[AnnotationBody]


class Confirmed(BaseModel):
    """How many findings were confirmed."""

    confirmed: int


class WhyBody(BaseModel):
    """Why a report is asked for, and the finding that it is about."""

    reason: Reason
    start: int | None
    end: int | None
    text: str | None
    concept: str | None
    assertion: Assertion | None
    rules_assertion: Assertion | None
    probability: float | None
    kind: str | None


class QueueItemBody(BaseModel):
    """A report that is asked for."""

    sop_instance_uid: str
    study_instance_uid: str
    study_date: dt.date | None
    study_description: str
    score: float
    round: int
    why: list[WhyBody]


class Queue(BaseModel):
    """What to annotate next, what teaches most first."""

    queue: list[QueueItemBody]


class ProgressBody(BaseModel):
    """What a reader has done."""

    reader: str
    reports_done: int
    first_readings: int
    second_readings: int
    verdicts: dict[Verdict, int]
    last_at: dt.datetime


class Readers(BaseModel):
    """What each reader has done."""

    readers: list[ProgressBody]


class Pair(BaseModel):
    """How well two readers agree."""

    first: str
    second: str
    reports: int
    spans: int
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    agreed: float | None
    f1: float | None
    both: int
    only_first: int
    only_second: int


class Pairs(BaseModel):
    """Each two readers."""

    pairs: list[Pair]


class DisagreementBody(BaseModel):
    """A place of which readers say different things."""

    study_instance_uid: str
    sop_instance_uid: str
    start: int
    end: int
    text: str
    finding_concept: str | None
    sentence: str
    kind: Literal["presence", "concept", "assertion", "laterality"]
    answers: list[AnnotationBody]
    without: list[str]
    adjudication: AnnotationBody | None


class Disagreements(BaseModel):
    """A page of them."""

    disagreements: list[DisagreementBody]
    next: str | None


_MOMENT = dt.datetime(2026, 11, 22, 6, 0, tzinfo=dt.UTC)
_FINDING: Any = schemas.FINDINGS_EXAMPLE["findings"][0]  # type: ignore[index]
_SHA256 = "6b0ce4cc0a1a5b2f0f2fdb3c1a02b2a5cb4fb1b8d0b4b5d5b1e7bc9f3b1c9a54"
_ANNOTATION = Annotation(
    id=17,
    object_id=411,
    study_instance_uid=schemas.STUDY_INSTANCE_UID,
    sop_instance_uid=schemas.SOP_INSTANCE_UID,
    text_sha256=_SHA256,
    verdict=Verdict.RELABEL,
    start=_FINDING["start"],
    end=_FINDING["end"],
    text=_FINDING["text"],
    finding_concept=_FINDING["concept"]["id"],
    answer=Answer(_FINDING["concept"]["id"], Assertion.POSSIBLE, Laterality.RIGHT),
    annotated_by="anna",
    annotated_at=_MOMENT,
    pipeline=_FINDING["pipeline"],
    adjudicates=False,
)
ANNOTATION_EXAMPLE = _ANNOTATION.to_json()
READING_EXAMPLE = {
    "study_instance_uid": schemas.STUDY_INSTANCE_UID,
    "sop_instance_uid": schemas.SOP_INSTANCE_UID,
    "text_sha256": _SHA256,
    "text": schemas.REPORTS_EXAMPLE["reports"][0]["text"],  # type: ignore[index]
    "language": "en",
    "pipeline": _FINDING["pipeline"],
    "state": "in_work",
    "done_at": None,
    "others_shown": False,
    "others_done": [],
    "outdated": 0,
    "findings": [_FINDING],
    "own": [ANNOTATION_EXAMPLE],
    "others": [],
    "adjudications": [],
}
QUEUE_EXAMPLE = {
    "queue": [
        QueueItem(
            schemas.SOP_INSTANCE_UID,
            schemas.STUDY_INSTANCE_UID,
            "20261122",
            "CT chest",
            8.0,
            1,
            (
                Why(
                    Reason.MODELS_DISAGREE,
                    _FINDING["start"],
                    _FINDING["end"],
                    _FINDING["text"],
                    _FINDING["concept"]["id"],
                    "possible",
                    "present",
                    0.91,
                ),
            ),
        ).to_json()
    ]
}
PROGRESS_EXAMPLE = {
    "readers": [Progress("anna", 40, 31, 9, {"confirm": 310, "reject": 12, "relabel": 21, "add": 8}, _MOMENT).to_json()]
}
AGREEMENT_EXAMPLE = {
    "pairs": [
        {
            "first": "anna",
            "second": "ben",
            "reports": 9,
            "spans": 81,
            "kappa": 0.8714,
            "kappa_low": 0.7562,
            "kappa_high": 0.9866,
            "agreed": 0.9383,
            "f1": 0.9643,
            "both": 81,
            "only_first": 4,
            "only_second": 2,
        }
    ]
}
DISAGREEMENTS_EXAMPLE = {
    "disagreements": [
        {
            "study_instance_uid": schemas.STUDY_INSTANCE_UID,
            "sop_instance_uid": schemas.SOP_INSTANCE_UID,
            "start": _FINDING["start"],
            "end": _FINDING["end"],
            "text": _FINDING["text"],
            "finding_concept": _FINDING["concept"]["id"],
            "sentence": _FINDING["sentence"],
            "kind": "presence",
            "answers": [
                ANNOTATION_EXAMPLE,
                {**ANNOTATION_EXAMPLE, "id": 18, "verdict": "reject", "assertion": None, "annotated_by": "ben"},
            ],
            "without": [],
            "adjudication": None,
        }
    ],
    "next": None,
}
EXPORT_EXAMPLE = (
    '{"id": "1.2.826.0.1.3680043.8.498.2", "text": "No effusion.", "language": "en", "patient": "5d41402abc4b2a76", '
    '"findings": [{"start": 3, "end": 11, "assertion": "absent", "concept": "pleural_effusion", "laterality": null}], '
    '"annotations": [], "done": {}}\n'
)
