"""What archives hold, compared with what was received: days, what is wanting of them, and its fetching.

Comparisons are of all senders and name objects that no sender's scope knows of, so that they take a key without a
scope. What is asked for here is done by the dispatcher that runs.
"""

import datetime as dt
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from dicomnlp.config import Settings
from dicomnlp.errors import NotFoundError
from dicomnlp.serve import schemas
from dicomnlp.serve.access import ForOperators, Principal, audited
from dicomnlp.serve.conditional import answer
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.page_parameters import told
from dicomnlp.serve.parameters import check_query, require_json
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store.database import Database
from dicomnlp.store.reconciliation import (
    MAXIMUM_PAGE,
    ArchivedObject,
    Comparison,
    ComparisonState,
    FetchState,
    Gap,
    Wanting,
    read_comparison,
    read_comparisons,
    read_wanting,
)
from dicomnlp.store.reconciling import request_comparison, want_missing

MAXIMUM_DAYS = 366
"""That one request may ask for."""

_PROBLEMS = schemas.refused(
    "not_found",
    "unknown_parameter",
    "repeated_parameter",
    "invalid_parameter",
    "bad_request",
    "not_allowed",
    *schemas.DATABASE_PROBLEMS,
)
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "What If-None-Match names is still so."}}


class FetchCounts(BaseModel):
    """Objects that are to be fetched, were, or could not be."""

    wanted: int
    fetched: int
    failed: int


class Reconciliation(BaseModel):
    """A day of an archive: how much it holds, and what is wanting here."""

    id: int
    pacs: str
    study_date: dt.date
    state: ComparisonState
    requested_by: str
    requested_at: dt.datetime
    compared_at: dt.datetime | None
    reason_code: str | None
    studies: int
    unread_studies: int
    objects: int
    waiting: int
    never_received: int
    failed: int
    outdated: int
    fetch: FetchCounts


class Reconciliations(BaseModel):
    """Days of archives, the latest first."""

    reconciliations: list[Reconciliation]
    next: str | None


class WantingObject(BaseModel):
    """A report object that the archive holds, and that is missing here, failed, or out of date."""

    id: int
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    kind: Gap
    reason_code: str | None
    pipeline: str | None
    fetch_state: FetchState | None
    fetch_reason_code: str | None
    fetched_at: dt.datetime | None


class WantingObjects(BaseModel):
    """What is wanting of a day."""

    objects: list[WantingObject]
    next: str | None


class ReconciliationRequest(BaseModel):
    """Which days of which archive to compare."""

    model_config = ConfigDict(extra="forbid")

    pacs: str = Field(max_length=64, description="Its `name` in [[pacs]].", examples=["archive"])
    date_from: dt.date = Field(alias="from", description="Studies of this day.", examples=["2026-11-21"])
    date_to: dt.date | None = Field(
        default=None, alias="to", description="And of those after it, to this one.", examples=["2026-11-21"]
    )
    fetch: bool = Field(default=False, description="Whether what is missing is fetched afterwards.")


class WantedObjects(BaseModel):
    """How many objects are to be fetched."""

    wanted: int


_MOMENT = dt.datetime(2026, 11, 22, 2, 31, tzinfo=dt.UTC)
_EXAMPLE = Comparison(
    id=31,
    pacs="archive",
    study_date="20261121",
    state=ComparisonState.DONE,
    requested_by="nightly",
    requested_at=_MOMENT,
    compared_at=_MOMENT,
    reason_code=None,
    studies=1204,
    unread_studies=0,
    objects=987,
    waiting=0,
    gaps={Gap.NEVER_RECEIVED: 3, Gap.FAILED: 1},
    fetches={FetchState.WANTED: 3},
).to_json()
_OBJECT = Wanting(
    id=4021,
    object=ArchivedObject(
        schemas.SOP_INSTANCE_UID,
        schemas.STUDY_INSTANCE_UID,
        "1.2.826.0.1.3680043.8.498.4",
        "1.2.840.10008.5.1.4.1.1.88.11",
    ),
    kind=Gap.NEVER_RECEIVED,
    reason_code=None,
    pipeline=None,
    fetch_state=FetchState.WANTED,
).to_json()

Limit = Annotated[int, Query(ge=1, le=MAXIMUM_PAGE, description="How many at most.", examples=[100])]
After = Annotated[
    str | None, Query(max_length=200, description="`next` of the page before.", examples=["MjAyNjExMjE6MzE"])
]
Number = Annotated[int, Path(ge=1, le=10**18, description="Number of the comparison.", examples=[31])]


def everything(connection: Connection, principal: Principal) -> Database:
    """The database, for those who may see what is of all senders.

    Raises
    ------
    ProblemError
        not_allowed.
    """
    if not principal.scope.is_everything:
        raise ProblemError("not_allowed", "Comparisons are of all senders: they take a key without a scope.")
    return connection.get()


def existing(connection: Connection, principal: Principal, number: int) -> tuple[Database, Comparison]:
    """The database, and the comparison of that number; NotFoundError, also for whoever may not see it."""
    database = connection.get()
    found = read_comparison(database, number) if principal.scope.is_everything else None
    if found is None:
        raise NotFoundError("there is no comparison of that number")
    return database, found


def days_of(settings: Settings, pacs: str, first: dt.date, last: dt.date | None) -> list[dt.date]:
    """The days that a request is for.

    Raises
    ------
    ProblemError
        bad_request: no such archive, or more days than one may ask for.
    """
    archive = settings.pacs_of(pacs)
    if archive is None or not (archive.ae_title or archive.qido_url):
        raise ProblemError("bad_request", "No archive of that name can be asked; see [[pacs]] of the configuration.")
    count = ((last or first) - first).days + 1
    if not 1 <= count <= MAXIMUM_DAYS:
        raise ProblemError("bad_request", f"A request is for 1 to {MAXIMUM_DAYS} days, the first one first.")
    return [first + dt.timedelta(days=n) for n in range(count)]


def register(app: FastAPI, settings: Settings, connection: Connection) -> None:
    """Add the routes of this module to `app`."""

    @app.get(
        "/api/v1/reconciliations",
        tags=["archives"],
        summary="Archives compared with what was received",
        response_model=Reconciliations,
        responses={
            **schemas.answered("A page of days.", {"reconciliations": [_EXAMPLE], "next": None}),
            **_NOT_MODIFIED,
            **_PROBLEMS,
        },
        dependencies=[Depends(check_query)],
    )
    def reconciliations(
        request: Request,
        principal: ForOperators,
        pacs: Annotated[
            str | None, Query(max_length=64, description="`name` in [[pacs]].", examples=["archive"])
        ] = None,
        date_from: Annotated[
            dt.date | None, Query(alias="from", description="Date of the studies, the first.", examples=["2026-11-01"])
        ] = None,
        date_to: Annotated[
            dt.date | None, Query(alias="to", description="Date of the studies, the last.", examples=["2026-11-30"])
        ] = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response:
        """Days of archives, the latest first: how many reports each holds, and how many are wanting here."""
        database = everything(connection, principal)
        page = told(
            lambda: read_comparisons(
                database, pacs=pacs, date_from=date_from, date_to=date_to, after=after, limit=limit
            )
        )
        audited(request, count=len(page.comparisons))
        return answer(request, {"reconciliations": [each.to_json() for each in page.comparisons], "next": page.next})

    @app.post(
        "/api/v1/reconciliations",
        tags=["archives"],
        summary="Compare an archive with what was received",
        status_code=202,
        response_model=Reconciliations,
        responses={
            202: schemas.answered("The days, to be compared.", {"reconciliations": [_EXAMPLE], "next": None})[200],
            **_PROBLEMS,
            **schemas.refused("unsupported_media_type"),
        },
        dependencies=[Depends(check_query), Depends(require_json)],
    )
    def reconcile(
        request: Request, principal: ForOperators, body: Annotated[ReconciliationRequest, Body()]
    ) -> Response:
        """Have the dispatcher compare days of an archive; a day that was compared before is compared again."""
        database = everything(connection, principal)
        days = days_of(settings, body.pacs, body.date_from, body.date_to)
        numbers = [
            request_comparison(database, body.pacs, day, requested_by=principal.name, fetches=body.fetch)
            for day in days
        ]
        words = {"pacs": body.pacs, "from": days[0].isoformat(), "to": days[-1].isoformat(), "fetch": str(body.fetch)}
        audited(request, query=list(words.items()), count=len(numbers))
        found = [existing(connection, principal, number)[1].to_json() for number in numbers]
        return JSONResponse({"reconciliations": found, "next": None}, status_code=202)

    @app.get(
        "/api/v1/reconciliations/{number}",
        tags=["archives"],
        summary="A day of an archive",
        response_model=Reconciliation,
        responses={**schemas.answered("The day.", _EXAMPLE), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def reconciliation(request: Request, principal: ForOperators, number: Number) -> Response:
        """How far its comparison is, and what came of it."""
        return answer(request, existing(connection, principal, number)[1].to_json())

    @app.get(
        "/api/v1/reconciliations/{number}/objects",
        tags=["archives"],
        summary="What is wanting of a day",
        response_model=WantingObjects,
        responses={
            **schemas.answered("A page of objects.", {"objects": [_OBJECT], "next": None}),
            **_NOT_MODIFIED,
            **_PROBLEMS,
        },
        dependencies=[Depends(check_query)],
    )
    def objects(
        request: Request,
        principal: ForOperators,
        number: Number,
        kind: Annotated[Gap | None, Query(description="What is wanting.", examples=["never_received"])] = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response:
        """Report objects that the archive holds and that never came, failed, or were analysed by an older pipeline."""
        database, _ = existing(connection, principal, number)
        page = told(lambda: read_wanting(database, number, kind=kind, after=after, limit=limit))
        audited(request, count=len(page.objects))
        return answer(request, {"objects": [each.to_json() for each in page.objects], "next": page.next})

    @app.post(
        "/api/v1/reconciliations/{number}/fetch",
        tags=["archives"],
        summary="Fetch what is missing of a day",
        status_code=202,
        response_model=WantedObjects,
        responses={
            202: schemas.answered("How many are to be fetched.", {"wanted": 3})[200],
            **_PROBLEMS,
            **schemas.refused("unsupported_media_type"),
        },
        dependencies=[Depends(check_query), Depends(require_json)],
    )
    def fetch(request: Request, principal: ForOperators, number: Number) -> Response:
        """Have the dispatcher fetch what never came, or was refused; what failed before is tried once more."""
        database, _ = existing(connection, principal, number)
        count = want_missing(database, number)
        audited(request, count=count)
        return JSONResponse({"wanted": count}, status_code=202)
