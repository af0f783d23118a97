"""Critical results: the worklist, who answers for them, and what others were told."""

import datetime as dt
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from dicomnlp.export.critical_results import MAXIMUM_PAGE, CriticalResult, CriticalState, critical_result
from dicomnlp.export.critical_results import critical_results as read_results
from dicomnlp.model import Communication, Concept, Finding, SectionName
from dicomnlp.review.critical import CriticalFinding, Documented
from dicomnlp.serve import schemas
from dicomnlp.serve.access import ForOperators, ForReaders, audited
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.follow_up import checked_note, told
from dicomnlp.serve.parameters import SOPInstanceUID, check_query, require_json
from dicomnlp.store.critical import (
    MAXIMUM_WORDS,
    Acknowledgement,
    CriticalFilters,
    CriticalReport,
    acknowledge,
    undo_acknowledgement,
)
from dicomnlp.store.deliveries import (
    MAXIMUM_PAGE as MAXIMUM_DELIVERIES,
)
from dicomnlp.store.deliveries import (
    Delivery,
    DeliveryState,
    count_deliveries,
    list_deliveries,
    retry_deliveries,
)
from dicomnlp.terms import Assertion, Laterality

_PROBLEMS = schemas.refused(
    "unknown_parameter", "repeated_parameter", "invalid_parameter", "bad_request", *schemas.DATABASE_PROBLEMS
)
_OF_RESULT = schemas.refused("not_found", "unknown_parameter", "malformed_uid", *schemas.DATABASE_PROBLEMS)
_WRITING = schemas.refused("unsupported_media_type", "bad_request", "invalid_parameter")


class CriticalResults(BaseModel):
    """A page of the worklist."""

    results: list[dict[str, Any]] = Field(description="One of each report, the newest study first.")
    next: str | None


class Told(BaseModel):
    """Whom a result was told to."""

    model_config = ConfigDict(extra="forbid")

    recipient: str = Field(default="", max_length=MAXIMUM_WORDS, examples=["Ward 3, nurse on duty"])
    note: str = Field(default="", max_length=MAXIMUM_WORDS, examples=["by telephone, read back"])


class Deliveries(BaseModel):
    """A page of what was, is or was to be told."""

    deliveries: list[dict[str, Any]]
    counts: dict[str, int] = Field(description="By state, of all.")
    next: str | None


class Retry(BaseModel):
    """Which dead deliveries are tried again."""

    model_config = ConfigDict(extra="forbid")

    ids: list[int] | None = Field(default=None, max_length=1000, description="Null: all.", examples=[[7]])


class Retried(BaseModel):
    """How many are."""

    retried: int


_MOMENT = dt.datetime(2026, 11, 22, 6, 0, tzinfo=dt.UTC)
_SENTENCE = "Large right tension pneumothorax."
_EXAMPLE = CriticalResult(
    CriticalReport(
        object_id=1,
        study_instance_uid=schemas.STUDY_INSTANCE_UID,
        sop_instance_uid=schemas.SOP_INSTANCE_UID,
        study_date="20261122",
        received_at=_MOMENT,
        patient_id="P-17",
        patient_sex="F",
        patient_age=61,
        accession_number="A-17",
        study_description="Chest radiograph",
        modality="CR",
        institution_name="",
        calling_ae_title="PACS",
        is_preliminary=False,
        findings=(),
        communications=(),
        acknowledgements=(Acknowledgement("tension_pneumothorax", _MOMENT, "anna", "Ward 3", "by telephone"),),
    ),
    (
        CriticalFinding(
            1,
            Finding(
                concept=Concept("tension_pneumothorax", "233645004", "SCT", "Tension pneumothorax"),
                text="tension pneumothorax",
                start=12,
                end=32,
                sentence=_SENTENCE,
                section=SectionName.IMPRESSION,
                assertion=Assertion.PRESENT,
                laterality=Laterality.RIGHT,
            ),
            "category",
        ),
    ),
    Documented(Communication("Told to Dr. Smith at 10:20.", 40, 67, "Dr. Smith", "10:20", None, False, True)),
).to_json(_MOMENT + dt.timedelta(minutes=12))
_DELIVERY = Delivery(
    7,
    "alerts",
    "critical_result",
    1,
    schemas.STUDY_INSTANCE_UID,
    schemas.SOP_INSTANCE_UID,
    ("tension_pneumothorax",),
    DeliveryState.DEAD,
    24,
    _MOMENT,
    None,
    _MOMENT + dt.timedelta(days=3),
    "http_503",
).to_json()
_COUNTS = {"waiting": 0, "sent": 12, "dead": 1, "dropped": 0}

Limit = Annotated[int, Query(ge=1, le=MAXIMUM_PAGE, description="How many at most.", examples=[100])]
After = Annotated[
    str | None,
    Query(
        max_length=200,
        description="`next` of the page before; without it the first page is answered.",
        examples=["MjAyNjExMjI6MTI"],
    ),
]


def register(app: FastAPI, connection: Connection) -> None:
    """Add the routes of this module to `app`."""
    _register_results(app, connection)
    _register_deliveries(app, connection)


def _register_results(app: FastAPI, connection: Connection) -> None:
    @app.get(
        "/api/v1/critical-results",
        tags=["critical results"],
        summary="Reports with something that somebody must be told",
        response_model=CriticalResults,
        responses={**schemas.answered("A page.", {"results": [_EXAMPLE], "next": None}), **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def critical_results(
        request: Request,
        principal: ForReaders,
        category: Annotated[
            int | None, Query(ge=1, le=3, description="1 within minutes, 2 hours, 3 days.", examples=[1])
        ] = None,
        state: Annotated[CriticalState | None, Query(description="How it stands.", examples=["open"])] = None,
        date_from: Annotated[
            dt.date | None, Query(alias="from", description="Date of the study, the first.", examples=["2026-01-01"])
        ] = None,
        date_to: Annotated[
            dt.date | None, Query(alias="to", description="Date of the study, the last.", examples=["2026-12-31"])
        ] = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response:
        """Prevailing reports that state an actionable finding that is news, the newest study first, page by page.

        Where few of the reports that are looked at fit, a page may hold fewer than `limit` and yet have a `next`.
        """
        filters = CriticalFilters(date_from, date_to)
        database = connection.within(principal.scope)
        page = told(lambda: read_results(database, filters, category=category, state=state, after=after, limit=limit))
        audited(request, count=len(page.results))
        now = dt.datetime.now(dt.UTC)
        return JSONResponse({"results": [r.to_json(now) for r in page.results], "next": page.next})

    @app.get(
        "/api/v1/critical-results/{sop_instance_uid}",
        tags=["critical results"],
        summary="The critical result of a report",
        response_model=dict[str, Any],
        responses={**schemas.answered("The result.", _EXAMPLE), **_OF_RESULT},
        dependencies=[Depends(check_query)],
    )
    def one(request: Request, principal: ForReaders, sop_instance_uid: SOPInstanceUID) -> Response:
        """What it is, since when it is known, whether the report says who was told, and who answers for it."""
        result = critical_result(connection.within(principal.scope), sop_instance_uid)
        audited(request, study_instance_uid=result.report.study_instance_uid)
        return JSONResponse(result.to_json(dt.datetime.now(dt.UTC)))

    @app.post(
        "/api/v1/critical-results/{sop_instance_uid}/acknowledge",
        tags=["critical results"],
        summary="Answer for a critical result",
        response_model=dict[str, Any],
        responses={**schemas.answered("The result.", _EXAMPLE), **_OF_RESULT, **_WRITING},
        dependencies=[Depends(check_query), Depends(require_json)],
    )
    def confirm(
        request: Request, principal: ForReaders, sop_instance_uid: SOPInstanceUID, body: Annotated[Told, Body()]
    ) -> Response:
        """Record who answers for the result, and whom it was told to; a result that a later version adds is open."""
        database = connection.within(principal.scope)
        result = critical_result(database, sop_instance_uid)
        told(
            lambda: acknowledge(
                database,
                sop_instance_uid,
                result.concepts,
                by=principal.name,
                recipient=checked_note(body.recipient),
                note=checked_note(body.note),
            )
        )
        audited(request, study_instance_uid=result.report.study_instance_uid, count=len(result.concepts))
        return JSONResponse(critical_result(database, sop_instance_uid).to_json(dt.datetime.now(dt.UTC)))

    @app.post(
        "/api/v1/critical-results/{sop_instance_uid}/reopen",
        tags=["critical results"],
        summary="Take an acknowledgement back",
        response_model=dict[str, Any],
        responses={**schemas.answered("The result.", _EXAMPLE), **_OF_RESULT, **_WRITING},
        dependencies=[Depends(check_query), Depends(require_json)],
    )
    def reopen(request: Request, principal: ForReaders, sop_instance_uid: SOPInstanceUID) -> Response:
        """The result is open again, or as its report documents it; the acknowledgement stays on record."""
        database = connection.within(principal.scope)
        study = critical_result(database, sop_instance_uid).report.study_instance_uid
        count = undo_acknowledgement(database, sop_instance_uid, by=principal.name)
        audited(request, study_instance_uid=study, count=count)
        return JSONResponse(critical_result(database, sop_instance_uid).to_json(dt.datetime.now(dt.UTC)))


def _register_deliveries(app: FastAPI, connection: Connection) -> None:
    @app.get(
        "/api/v1/deliveries",
        tags=["critical results"],
        summary="What others were told, and what they didn't take",
        response_model=Deliveries,
        responses={
            **schemas.answered("A page.", {"deliveries": [_DELIVERY], "counts": _COUNTS, "next": None}),
            **_PROBLEMS,
        },
        dependencies=[Depends(check_query)],
    )
    def deliveries(
        request: Request,
        principal: ForOperators,
        state: Annotated[DeliveryState | None, Query(description="What became of it.", examples=["dead"])] = None,
        destination: Annotated[
            str | None,
            Query(pattern="^[A-Za-z0-9_.-]{1,64}$", description="`name` of a destination.", examples=["alerts"]),
        ] = None,
        after: After = None,
        limit: Annotated[
            int, Query(ge=1, le=MAXIMUM_DELIVERIES, description="How many at most.", examples=[100])
        ] = 100,
    ) -> Response:
        """Webhooks, e-mails and HL7 messages, the latest first, page by page: dead ones are those given up."""
        database = connection.within(principal.scope)
        page = told(lambda: list_deliveries(database, state=state, name=destination, after=after, limit=limit))
        audited(request, count=len(page.deliveries))
        listed = [d.to_json() for d in page.deliveries]
        return JSONResponse({"deliveries": listed, "counts": count_deliveries(database), "next": page.next})

    @app.post(
        "/api/v1/deliveries/retry",
        tags=["critical results"],
        summary="Have dead deliveries tried again",
        response_model=Retried,
        responses={**schemas.answered("How many.", {"retried": 1}), **_PROBLEMS, **_WRITING, **_OF_RESULT},
        dependencies=[Depends(check_query), Depends(require_json)],
    )
    def retry(request: Request, principal: ForOperators, body: Annotated[Retry, Body()]) -> Response:
        """All dead ones, or those of these numbers; each has three days again."""
        count = retry_deliveries(connection.within(principal.scope), body.ids)
        audited(request, count=count)
        return JSONResponse({"retried": count})
