"""What a second reader would remark: contradictions, guidance of guidelines, and measures of quality."""

import datetime as dt
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel, Field

from dicomnlp.errors import UsageError
from dicomnlp.remarks import DiscrepancyKind, GuidanceOutcome, PlaceKind
from dicomnlp.review.guidance_rules import guidance_rules
from dicomnlp.serve import schemas
from dicomnlp.serve.access import ForReaders, audited
from dicomnlp.serve.conditional import answer
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.parameters import check_query
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store.database import Database
from dicomnlp.store.remarks import (
    MAXIMUM_PAGE,
    RemarkFilters,
    RemarkPage,
    count_measures,
    list_discrepancies,
    list_guidance,
)

T = TypeVar("T")
_PROBLEMS = schemas.refused(
    "unknown_parameter", "repeated_parameter", "invalid_parameter", "bad_request", *schemas.DATABASE_PROBLEMS
)
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "What If-None-Match names is still so."}}


class PlaceOfWords(BaseModel):
    """Where something is said."""

    kind: PlaceKind
    words: str
    start: int | None
    end: int | None
    field: str = Field(description="DICOM keyword of a header, path of a content item.")
    sop_instance_uid: str = Field(description="Of the object; empty: the report's own.")


class DiscrepancyFound(BaseModel):
    """Two statements that can't both be so."""

    id: int
    study_instance_uid: str
    sop_instance_uid: str
    study_date: dt.date | None
    kind: DiscrepancyKind
    rule: str
    confidence: float
    first: PlaceOfWords
    second: PlaceOfWords
    facts: dict[str, str]


class Discrepancies(BaseModel):
    """A page of discrepancies, the newest study first."""

    discrepancies: list[DiscrepancyFound]
    next: str | None


class AdviceGiven(BaseModel):
    """One answer of a guideline."""

    rule: str
    text: str
    modality: str | None
    interval_days_min: int | None
    interval_days_max: int | None
    needed: bool


class GuidanceFound(BaseModel):
    """A guideline applied to a finding."""

    id: int
    study_instance_uid: str
    sop_instance_uid: str
    study_date: dt.date | None
    guideline: str
    source: str
    outcome: GuidanceOutcome
    finding: PlaceOfWords
    known: dict[str, str]
    missing: list[str]
    advice: list[AdviceGiven]
    recommendation: PlaceOfWords | None


class GuidancePage(BaseModel):
    """A page of guidance, the newest study first."""

    guidance: list[GuidanceFound]
    next: str | None


class QualityMeasureCount(BaseModel):
    """How many reports a measure is for, and how many have what it counts."""

    measure: str
    title: str
    source: str
    inverse: bool = Field(description="Having what it counts is bad; `met` counts those that don't.")
    reports: int
    met: int


class QualityMeasures(BaseModel):
    """All measures that are for any report."""

    measures: list[QualityMeasureCount]


def _place(words: str, start: int) -> dict[str, Any]:
    return {
        "kind": "text",
        "words": words,
        "start": start,
        "end": start + len(words),
        "field": "",
        "sop_instance_uid": "",
    }


_KEY = {
    "id": 41,
    "study_instance_uid": schemas.STUDY_INSTANCE_UID,
    "sop_instance_uid": schemas.SOP_INSTANCE_UID,
    "study_date": "2026-11-22",
}
_DISCREPANCY_EXAMPLE = {
    "discrepancies": [
        {
            **_KEY,
            "kind": "laterality_text",
            "rule": "findings_and_impression",
            "confidence": 0.9,
            "first": _place("8 mm nodule in the left upper lobe", 10),
            "second": _place("Right upper lobe nodule", 58),
            "facts": {"findings": "left", "impression": "right"},
        }
    ],
    "next": None,
}
_GUIDANCE_EXAMPLE = {
    "guidance": [
        {
            **_KEY,
            "guideline": "fleischner_2017",
            "source": "MacMahon H et al., Radiology 2017;284:228-243",
            "outcome": "not_stated",
            "finding": _place("7 mm solid nodule", 10),
            "known": {"count": "single", "size_mm": "7", "texture": "solid"},
            "missing": ["risk"],
            "advice": [
                {
                    "rule": "solid_single_medium_low_risk",
                    "text": "CT at 6 to 12 months, then consider CT at 18 to 24 months.",
                    "modality": "CT",
                    "interval_days_min": 180,
                    "interval_days_max": 365,
                    "needed": True,
                }
            ],
            "recommendation": None,
        }
    ],
    "next": None,
}
_MEASURES_EXAMPLE = {
    "measures": [
        {
            "measure": "mips_364",
            "title": "Reports with incidental pulmonary nodules tell whether and when to follow up",
            "source": "CMS MIPS quality measure 364",
            "inverse": False,
            "reports": 120,
            "met": 97,
        }
    ]
}

From = Annotated[dt.date | None, Query(alias="from", description="Date of the study, the first.")]
To = Annotated[dt.date | None, Query(alias="to", description="Date of the study, the last.")]
Patient = Annotated[
    str | None, Query(min_length=1, max_length=64, description="PatientID, or one merged with it.", examples=["P-17"])
]
Study = Annotated[
    str | None,
    Query(pattern=r"^[0-9.]{1,64}$", description="Study of the report.", examples=[schemas.STUDY_INSTANCE_UID]),
]
After = Annotated[
    str | None,
    Query(
        max_length=200,
        description="`next` of the page before; without it the first page is answered.",
        examples=["MjAyNjExMjI6NDE"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAXIMUM_PAGE, description="How many at most.", examples=[100])]


def checked_guideline(guideline: str | None) -> str | None:
    """`guideline`, the id of one that there is, or None.

    Raises
    ------
    UsageError
        It is none.
    """
    known = [g.id for g in guidance_rules().guidelines]
    if guideline is not None and guideline not in known:
        raise UsageError(f"a guideline is {', '.join(known)}")
    return guideline


def measures_of(database: Database, filters: RemarkFilters) -> list[dict[str, Any]]:
    """Measures of quality with their counts, in the public form, in the order of the rules."""
    counted = {c.measure: c for c in count_measures(database, filters)}
    return [
        {
            "measure": m.id,
            "title": m.title,
            "source": m.source,
            "inverse": m.inverse,
            "reports": counted[m.id].reports,
            "met": counted[m.id].met,
        }
        for m in guidance_rules().measures
        if m.id in counted
    ]


def register(app: FastAPI, connection: Connection) -> None:
    """Add the routes of this module to `app`."""

    @app.get(
        "/api/v1/discrepancies",
        tags=["second look"],
        summary="Contradictions in reports",
        response_model=Discrepancies,
        responses={**schemas.answered("A page.", _DISCREPANCY_EXAMPLE), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def discrepancies(
        request: Request,
        principal: ForReaders,
        kind: Annotated[DiscrepancyKind | None, Query(description="What contradicts what.", examples=["sex"])] = None,
        min_confidence: Annotated[
            float | None, Query(ge=0, le=1, description="At least so likely.", examples=[0.8])
        ] = None,
        study_instance_uid: Study = None,
        date_from: From = None,
        date_to: To = None,
        patient_id: Patient = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response:
        """What contradicts itself in prevailing reports, or their header, or their preliminary form; with both places.

        `confidence` is an estimate by rule that a reader would correct it. `facts` are what the rule compared.
        """
        filters = RemarkFilters(
            kind=kind,
            minimum_confidence=min_confidence,
            study_instance_uid=study_instance_uid,
            date_from=date_from,
            date_to=date_to,
            patient_id=patient_id,
        )
        page = _told(lambda: list_discrepancies(connection.within(principal.scope), filters, after=after, limit=limit))
        audited(request, count=len(page.remarks))
        return answer(request, {"discrepancies": _listed(page), "next": page.next})

    @app.get(
        "/api/v1/guidance",
        tags=["second look"],
        summary="Guidelines next to what reports recommend",
        response_model=GuidancePage,
        responses={**schemas.answered("A page.", _GUIDANCE_EXAMPLE), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def guidance(
        request: Request,
        principal: ForReaders,
        guideline: Annotated[
            str | None,
            Query(pattern="^[a-z0-9_]{1,64}$", description="Which guideline.", examples=["fleischner_2017"]),
        ] = None,
        outcome: Annotated[
            GuidanceOutcome | None, Query(description="How the report stands to it.", examples=["not_stated"])
        ] = None,
        study_instance_uid: Study = None,
        date_from: From = None,
        date_to: To = None,
        patient_id: Patient = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response:
        """Guidelines for incidental findings, applied as far as the text tells what they ask.

        `known` is what it tells, `missing` what it leaves out and what would narrow the answer; `advice` are the
        answers that remain.
        """
        filters = RemarkFilters(
            guideline=_told(lambda: checked_guideline(guideline)),
            outcome=outcome,
            study_instance_uid=study_instance_uid,
            date_from=date_from,
            date_to=date_to,
            patient_id=patient_id,
        )
        page = _told(lambda: list_guidance(connection.within(principal.scope), filters, after=after, limit=limit))
        audited(request, count=len(page.remarks))
        return answer(request, {"guidance": _listed(page), "next": page.next})

    @app.get(
        "/api/v1/quality-measures",
        tags=["second look"],
        summary="Measures of quality over reports",
        response_model=QualityMeasures,
        responses={**schemas.answered("Counts.", _MEASURES_EXAMPLE), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def quality_measures(
        request: Request, principal: ForReaders, date_from: From = None, date_to: To = None
    ) -> Response:
        """Each measure that is for any prevailing report: how many reports it is for, and how many meet it."""
        filters = RemarkFilters(date_from=date_from, date_to=date_to)
        measures = measures_of(connection.within(principal.scope), filters)
        audited(request, count=len(measures))
        return answer(request, {"measures": measures})


def _listed(page: RemarkPage) -> list[dict[str, Any]]:
    return [r.to_json() for r in page.remarks]


def _told(work: Callable[[], T]) -> T:
    """What `work` gives; its UsageError as a problem."""
    try:
        return work()
    except UsageError as error:
        raise ProblemError("bad_request", f"{error}.") from None
