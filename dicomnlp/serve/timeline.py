"""The course of a patient's lesions over studies."""

import datetime as dt
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel

from dicomnlp.export.timeline import lesion_to_json
from dicomnlp.model import Assertion, Change, Concept, Laterality
from dicomnlp.review.timeline import Lesion, Point, lesions_of
from dicomnlp.serve import schemas
from dicomnlp.serve.access import ForReaders, audited
from dicomnlp.serve.conditional import answer
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.parameters import StudyInstanceUID, check_query
from dicomnlp.store.courses import course_of_study


class TimelinePoint(BaseModel):
    """What one study says of a lesion."""

    study_instance_uid: str
    study_date: dt.date | None
    modalities: list[str]
    sop_instance_uid: str
    start: int
    end: int
    text: str
    sentence: str
    assertion: Assertion
    change: Change | None
    values: list[float]
    prior_mm: float | None
    size_mm: float | None


class TimelineLesion(BaseModel):
    """The same lesion over studies."""

    concept: Concept
    family: str
    anatomy: Concept | None
    laterality: Laterality | None
    first_mm: float | None
    last_mm: float | None
    change_mm: float | None
    change_percent: float | None
    points: list[TimelinePoint]


class Timeline(BaseModel):
    """The lesions of a study's patient, the latest seen first."""

    study_instance_uid: str
    lesions: list[TimelineLesion]


def _point(date: str, size: float, study: str, prior: float | None = None) -> Point:
    sentence = f"A {size:g} mm nodule in the right upper lobe."
    start = sentence.index("nodule")
    change = Change.INCREASED if prior else None
    return Point(
        study, date, ("CT",), schemas.SOP_INSTANCE_UID, start, start + 6, "nodule", sentence, Assertion.PRESENT, change,
        (size,), prior,
    )  # fmt: skip


_EXAMPLE: dict[str, Any] = {
    "study_instance_uid": schemas.STUDY_INSTANCE_UID,
    "lesions": [
        lesion_to_json(
            Lesion(
                Concept("pulmonary_nodule", "427359005", "SCT", "Pulmonary nodule"),
                "lesion",
                Concept("right_upper_lobe", None, None, "Upper lobe of right lung"),
                Laterality.RIGHT,
                (
                    _point("20260522", 4.0, "1.2.826.0.1.3680043.8.498.9"),
                    _point("20261122", 6.0, schemas.STUDY_INSTANCE_UID, 4.0),
                ),
            )
        )
    ],
}


def register(app: FastAPI, connection: Connection) -> None:
    """Add the route of this module to `app`."""

    @app.get(
        "/api/v1/studies/{study_instance_uid}/timeline",
        tags=["follow-up"],
        summary="The course of a patient's lesions",
        response_model=Timeline,
        responses={
            **schemas.answered("The lesions.", _EXAMPLE),
            304: {"description": "What If-None-Match names is still so."},
            **schemas.refused("not_found", "malformed_uid", "unknown_parameter", *schemas.DATABASE_PROBLEMS),
        },
        dependencies=[Depends(check_query)],
    )
    def timeline(request: Request, principal: ForReaders, study_instance_uid: StudyInstanceUID) -> Response:
        """Lesions of the study's patient over all studies: the same concept, site and side, with the sizes stated.

        What is shown as one lesion is a judgement by concept, site, side and size; each point tells its report and
        where in it the lesion is stated.
        """
        lesions = lesions_of(course_of_study(connection.within(principal.scope), study_instance_uid))
        audited(request, count=len(lesions))
        return answer(
            request,
            {"study_instance_uid": study_instance_uid, "lesions": [lesion_to_json(lesion) for lesion in lesions]},
        )
