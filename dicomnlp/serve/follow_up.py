"""Follow-up: what is owed to patients, with what answers it; dismissed with a reason and opened again."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Body, Depends, FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from dicomnlp.errors import UsageError
from dicomnlp.export.follow_up import all_items, csv_lines, item_to_json
from dicomnlp.model import Concept, Laterality, Recommendation, RecommendationKind
from dicomnlp.review.follow_up_rules import follow_up_rules
from dicomnlp.serve import schemas
from dicomnlp.serve.access import ForReaders, audited
from dicomnlp.serve.conditional import answer
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.filters import expanded
from dicomnlp.serve.parameters import check_query, require_json
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store.follow_up_decisions import dismiss_item, reopen_item
from dicomnlp.store.follow_up_items import (
    MAXIMUM_PAGE,
    STATES,
    ItemFilters,
    StoredItem,
    count_items,
    list_items,
    read_item,
)
from dicomnlp.store.follow_up_pending import any_marked
from dicomnlp.store.search import Filters

T = TypeVar("T")
MAXIMUM_NOTE = 1000
_PROBLEMS = schemas.refused(
    "unknown_parameter", "repeated_parameter", "invalid_parameter", "bad_request", *schemas.DATABASE_PROBLEMS
)
_OF_ITEM = schemas.refused("not_found", "unknown_parameter", "invalid_parameter", *schemas.DATABASE_PROBLEMS)
_WRITING = schemas.refused("unsupported_media_type", "bad_request")
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "What If-None-Match names is still so."}}
_STATES = "|".join(STATES)


class FollowUpItem(BaseModel):
    """What is owed to a patient."""

    id: int
    state: str
    study_instance_uid: str
    sop_instance_uid: str
    patient_id: str
    issuer_of_patient_id: str
    study_date: dt.date | None
    category: str
    modalities: list[str]
    procedure: str | None
    anatomy: str | None
    laterality: Laterality | None
    kind: RecommendationKind
    conditional: bool
    due_from: dt.date | None
    due_to: dt.date | None
    overdue_on: dt.date | None
    done_study_instance_uid: str | None
    done_on: dt.date | None
    text: str
    start: int
    end: int


class FollowUpDecision(BaseModel):
    """Why and by whom an item was dismissed, and whether that was undone."""

    reason: str
    note: str
    decided_at: dt.datetime
    decided_by: str
    undone_at: dt.datetime | None
    undone_by: str | None


class ExplainedItem(FollowUpItem):
    """An item with where each part of it comes from, what was said of each later examination, and decisions."""

    explanation: dict[str, Any]
    decisions: list[FollowUpDecision]


class FollowUpItems(BaseModel):
    """A page of items, what is overdue longest first."""

    items: list[FollowUpItem]
    next: str | None
    on: dt.date
    complete: bool = Field(description="False while something that came is still to be looked at.")


class FollowUpCounts(BaseModel):
    """How many items stand where."""

    counts: dict[str, int]
    on: dt.date
    complete: bool


class Dismissal(BaseModel):
    """Why an item is closed by hand."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(description="One of the reasons of the rules.", max_length=64, examples=["done_elsewhere"])
    note: str = Field(default="", max_length=MAXIMUM_NOTE, examples=["CT of 2027-03-02 at another hospital."])


_REQUEST = "Follow-up CT chest in 6 months is recommended"
_EXAMPLE = item_to_json(
    StoredItem(
        id=77,
        state="done",
        study_instance_uid=schemas.STUDY_INSTANCE_UID,
        sop_instance_uid=schemas.SOP_INSTANCE_UID,
        patient_id="P-17",
        issuer_of_patient_id="",
        study_date="20261122",
        category="imaging",
        modalities=("CT",),
        procedure="Follow-up CT chest",
        anatomy_id="chest",
        laterality=None,
        kind=RecommendationKind.RECOMMENDED,
        conditional=False,
        due_from="20270521",
        due_to="20270521",
        overdue_on="20270609",
        done_study_instance_uid="1.2.826.0.1.3680043.8.498.9",
        done_on="20270525",
        recommendation=Recommendation(
            text=_REQUEST,
            start=412,
            end=412 + len(_REQUEST),
            procedure="Follow-up CT chest",
            modality="CT",
            anatomy=Concept("chest", "816094009", "SCT", "Chest"),
            interval_days_min=180,
            interval_days_max=180,
            conditional=False,
        ),
        explanation={
            "asked": [
                {"name": "modality", "value": "CT", "origin": "words", "source": "", "words": "", "start": None,
                 "end": None},
            ],
            "mentions": [
                {"sop_instance_uid": schemas.SOP_INSTANCE_UID, "start": 412, "end": 412 + len(_REQUEST),
                 "text": _REQUEST},
            ],
            "examinations": [
                {
                    "study_instance_uid": "1.2.826.0.1.3680043.8.498.9",
                    "study_date": "20270525",
                    "answers": True,
                    "checks": [
                        {"name": "modality", "fits": True, "asked": "CT", "found": "CT", "source": "house: ..."},
                        {"name": "anatomy", "fits": True, "asked": "chest", "found": "chest", "source": ""},
                    ],
                    "told_by": "reports and images",
                }
            ],
        },
    ),
    explained=True,
)  # fmt: skip
_LISTED = {name: value for name, value in _EXAMPLE.items() if name not in {"explanation", "decisions"}}
_PAGE_EXAMPLE = {"items": [_LISTED], "next": None, "on": "2027-06-01", "complete": True}
_COUNTS_EXAMPLE = {"counts": dict.fromkeys(STATES, 0), "on": "2027-06-01", "complete": True}
_CSV_EXAMPLE = "id,state,...\r\n77,done,...\r\n"


def today() -> dt.date:
    """The day by which items are due: that of the machine's own clock and zone, as the department's calendar is."""
    return dt.datetime.now().astimezone().date()


def read_item_filters(
    state: Annotated[
        str | None,
        Query(
            description="Where items stand, with commas between several.",
            pattern=rf"^({_STATES})(,({_STATES})){{0,4}}$",
            examples=["due,overdue"],
        ),
    ] = None,
    category: Annotated[
        str | None,
        Query(description="What is asked for.", pattern="^(imaging|tissue|visit)$", examples=["imaging"]),
    ] = None,
    modality: Annotated[
        str | None, Query(pattern="^[A-Z0-9]{1,16}$", description="A modality that will do.", examples=["CT"])
    ] = None,
    anatomy: Annotated[
        str | None, Query(pattern="^[a-z0-9_]{1,64}$", description="Site, parts included.", examples=["lung"])
    ] = None,
    kind: Annotated[RecommendationKind | None, Query(description="How firmly.", examples=["recommended"])] = None,
    conditional: Annotated[
        bool | None, Query(description="Only if something holds, or not so.", examples=[False])
    ] = None,
    due_from: Annotated[
        dt.date | None, Query(description="To be done by this day or later.", examples=["2027-01-01"])
    ] = None,
    due_to: Annotated[
        dt.date | None, Query(description="To be done by this day or earlier.", examples=["2027-06-30"])
    ] = None,
    date_from: Annotated[
        dt.date | None, Query(alias="from", description="Date of the study, the first.", examples=["2026-01-01"])
    ] = None,
    date_to: Annotated[
        dt.date | None, Query(alias="to", description="Date of the study, the last.", examples=["2026-12-31"])
    ] = None,
    patient_id: Annotated[
        str | None,
        Query(min_length=1, max_length=64, description="PatientID, or one merged with it.", examples=["P-17"]),
    ] = None,
    study_instance_uid: Annotated[
        str | None,
        Query(
            pattern=r"^[0-9.]{1,64}$",
            description="Asked for after this study.",
            examples=[schemas.STUDY_INSTANCE_UID],
        ),
    ] = None,
) -> ItemFilters:
    """The filters of a request."""
    return ItemFilters(
        states=tuple(state.split(",")) if state else (),
        category=category,
        modality=modality,
        anatomy=expanded(Filters(anatomy=(anatomy,) if anatomy else ())).anatomy,
        kind=kind,
        conditional=conditional,
        due_from=due_from,
        due_to=due_to,
        date_from=date_from,
        date_to=date_to,
        patient_id=patient_id,
        study_instance_uid=study_instance_uid,
    )


Asked = Annotated[ItemFilters, Depends(read_item_filters)]
On = Annotated[
    dt.date | None,
    Query(description="Where items stand on this day; without it today, by this machine's clock."),
]
ItemId = Annotated[int, Path(description="Number of the item.", ge=1, le=2**53, examples=[77])]


def checked_reason(reason: str) -> str:
    """`reason`, one of those of the rules.

    Raises
    ------
    UsageError
        It is none.
    """
    if reason not in follow_up_rules().reasons:
        raise UsageError(f"a reason is {', '.join(follow_up_rules().reasons)}")
    return reason


def checked_note(note: str) -> str:
    """`note` without blanks around it and without characters that steer a terminal."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", note.strip())[:MAXIMUM_NOTE]


def told(work: Callable[[], T]) -> T:
    """What `work` gives; its UsageError as a problem."""
    try:
        return work()
    except UsageError as error:
        raise ProblemError("bad_request", f"{error}.") from None


def register(app: FastAPI, connection: Connection) -> None:
    """Add the routes of this module to `app`."""
    _register_lists(app, connection)
    _register_items(app, connection)


def _register_lists(app: FastAPI, connection: Connection) -> None:
    @app.get(
        "/api/v1/follow-up",
        tags=["follow-up"],
        summary="What is owed to patients",
        response_model=FollowUpItems,
        responses={**schemas.answered("A page of items.", _PAGE_EXAMPLE), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def items(
        request: Request,
        principal: ForReaders,
        filters: Asked,
        on: On = None,
        after: Annotated[
            str | None,
            Query(
                max_length=200,
                description="`next` of the page before; without it the first page is answered.",
                examples=["MjAyNzA2MDk6Nzc"],
            ),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=MAXIMUM_PAGE, description="How many at most.", examples=[100])] = 100,
    ) -> Response:
        """Items that fit, what is overdue longest first and what never is last, page by page.

        `complete` is false while a report or image that came is still to be looked at.
        """
        database = connection.within(principal.scope)
        # before the items: what is looked at in between is told as not yet
        complete = not any_marked(database)
        day = on or today()
        page = told(lambda: list_items(database, filters, today=day, after=after, limit=limit))
        audited(request, count=len(page.items))
        listed = [item_to_json(item) for item in page.items]
        return answer(request, {"items": listed, "next": page.next, "on": day.isoformat(), "complete": complete})

    @app.get(
        "/api/v1/follow-up.csv",
        tags=["follow-up"],
        summary="What is owed to patients, as a table",
        response_class=Response,
        responses={**schemas.answered("All items that fit.", _CSV_EXAMPLE, "text/csv"), **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def table(principal: ForReaders, filters: Asked, on: On = None) -> Response:
        """All items that fit, in the order of the list, as CSV with a header line."""
        database = connection.within(principal.scope)
        # asked before the answer begins: what fails is then a problem, not half a table
        told(lambda: list_items(database, filters, today=on or today(), limit=1))
        lines = csv_lines(all_items(database, filters, on or today()))
        headers = {"Content-Disposition": 'attachment; filename="follow-up.csv"', "Cache-Control": "no-store"}
        return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)

    @app.get(
        "/api/v1/follow-up/counts",
        tags=["follow-up"],
        summary="How much is owed",
        response_model=FollowUpCounts,
        responses={**schemas.answered("Counts.", _COUNTS_EXAMPLE), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def counts(request: Request, principal: ForReaders, on: On = None) -> Response:
        """How many items are open, due, overdue, done and dismissed."""
        database = connection.within(principal.scope)
        complete = not any_marked(database)
        day = on or today()
        counted = count_items(database, today=day)
        return answer(request, {"counts": counted, "on": day.isoformat(), "complete": complete})


def _register_items(app: FastAPI, connection: Connection) -> None:
    @app.get(
        "/api/v1/follow-up/{item_id}",
        tags=["follow-up"],
        summary="An item, explained",
        response_model=ExplainedItem,
        responses={**schemas.answered("The item.", _EXAMPLE), **_NOT_MODIFIED, **_OF_ITEM},
        dependencies=[Depends(check_query)],
    )
    def item(request: Request, principal: ForReaders, item_id: ItemId, on: On = None) -> Response:
        """Where each part of what is asked comes from, what was said of each later examination, and decisions."""
        found = read_item(connection.within(principal.scope), item_id, today=on or today())
        audited(request, study_instance_uid=found.study_instance_uid)
        return answer(request, item_to_json(found, explained=True))

    @app.post(
        "/api/v1/follow-up/{item_id}/dismiss",
        tags=["follow-up"],
        summary="Close an item by hand",
        response_model=ExplainedItem,
        responses={**schemas.answered("The item.", _EXAMPLE), **_OF_ITEM, **_WRITING},
        dependencies=[Depends(check_query), Depends(require_json)],
    )
    def dismiss(
        request: Request, principal: ForReaders, item_id: ItemId, body: Annotated[Dismissal, Body()]
    ) -> Response:
        """Dismiss the item for a reason: it stays so through amended reports and other analyses, until reopened."""
        database = connection.within(principal.scope)
        reason = told(lambda: checked_reason(body.reason))
        told(lambda: dismiss_item(database, item_id, reason=reason, note=checked_note(body.note), by=principal.name))
        found = read_item(database, item_id, today=today())
        audited(request, study_instance_uid=found.study_instance_uid, query=[("reason", reason)], count=1)
        return JSONResponse(item_to_json(found, explained=True))

    @app.post(
        "/api/v1/follow-up/{item_id}/reopen",
        tags=["follow-up"],
        summary="Open a dismissed item again",
        response_model=ExplainedItem,
        responses={**schemas.answered("The item.", _EXAMPLE), **_OF_ITEM, **_WRITING},
        dependencies=[Depends(check_query), Depends(require_json)],
    )
    def reopen(request: Request, principal: ForReaders, item_id: ItemId) -> Response:
        """Undo a dismissal: the item waits again, or is done where an examination answers it meanwhile."""
        database = connection.within(principal.scope)
        told(lambda: reopen_item(database, item_id, by=principal.name))
        found = read_item(database, item_id, today=today())
        audited(request, study_instance_uid=found.study_instance_uid, count=1)
        return JSONResponse(item_to_json(found, explained=True))
