"""Whether the reports of a week are as those of the weeks before: weeks, alarms, and who has seen them.

Counts are of all senders, so that they take a key without a scope.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from dicomnlp.serve import schemas
from dicomnlp.serve.access import ForOperators, ForReaders, Principal, audited
from dicomnlp.serve.conditional import answer
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.parameters import check_query, require_json
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store.database import Database
from dicomnlp.store.drift import MAXIMUM_WEEKS, DriftWeek, acknowledge_drift, read_alarms, read_counts, read_weeks
from dicomnlp.store.drift_counting import week_of

ALL = "all"
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


class Example(BaseModel):
    """A report that shows it."""

    study_instance_uid: str
    sop_instance_uid: str


class MovedShare(BaseModel):
    """A share or a distribution that isn't what it was."""

    source: str
    measure: str
    item: str
    before: float | None
    now: float | None
    change: float
    p: float
    examples: list[Example]


class Week(BaseModel):
    """A week of the reports in one language."""

    language: str
    week: dt.date
    reports: int
    judged_at: dt.datetime | None
    reason_code: str | None
    reference_from: dt.date | None
    reference_to: dt.date | None
    reference_reports: int
    instability: dict[str, float]
    moves: list[MovedShare]
    words: list[str]
    cleared_at: dt.datetime | None
    acknowledged_at: dt.datetime | None
    acknowledged_by: str
    state: str
    shares: dict[str, float]


class Drift(BaseModel):
    """Weeks, the latest first."""

    weeks: list[Week]


class Acknowledgement(BaseModel):
    """Which alarm was seen."""

    model_config = ConfigDict(extra="forbid")

    language: str = Field(max_length=8, description="Code of the language.", examples=["en"])
    week: dt.date = Field(description="A day of the week.", examples=["2026-11-16"])


_MOMENT = dt.datetime(2026, 11, 23, 0, 1, tzinfo=dt.UTC)
_EXAMPLE: dict[str, Any] = {
    **DriftWeek(
        language="en",
        week="2026-11-16",
        reports=4122,
        first_object_id=1,
        last_object_id=4122,
        judged_at=_MOMENT,
        reason_code=None,
        reference_from="2026-08-24",
        reference_to="2026-11-09",
        reference_reports=48210,
        instability={"assertion": 0.011, "concept": 0.004, "section": 0.002},
        moves=[
            {
                "source": "station_name:CT2",
                "measure": "present",
                "item": "pleural_effusion",
                "before": 0.19,
                "now": 0.88,
                "change": 1.53,
                "p": 1.1e-41,
                "examples": [
                    {
                        "study_instance_uid": schemas.STUDY_INSTANCE_UID,
                        "sop_instance_uid": schemas.SOP_INSTANCE_UID,
                    }
                ],
            }
        ],
        words=[],
        is_alarm=True,
        cleared_at=None,
        acknowledged_at=None,
        acknowledged_by="",
    ).to_json(),
    "shares": {"assertion.absent": 0.61, "assertion.present": 0.33, "words.unknown": 0.017},
}

Language = Annotated[
    str | None, Query(pattern="^[a-z]{2,8}$", description="Code of the language; else all.", examples=["en"])
]


def everything(connection: Connection, principal: Principal) -> Database:
    """The database, for those who may see what is of all senders.

    Raises
    ------
    ProblemError
        not_allowed.
    """
    if not principal.scope.is_everything:
        raise ProblemError("not_allowed", "Drift is of all senders: it takes a key without a scope.")
    return connection.get()


def weeks_with_shares(database: Database, language: str | None, limit: int) -> list[tuple[DriftWeek, dict[str, float]]]:
    """Weeks, the latest first, with the shares over all reports that are plotted."""
    found = []
    weeks = read_weeks(database, language, limit)
    for code in sorted({week.language for week in weeks}):
        of_language = [week for week in weeks if week.language == code]
        counts = read_counts(database, code, [week.week for week in of_language], ALL)
        found += [(week, shares(counts[week.week])) for week in of_language]
    return sorted(found, key=lambda pair: (pair[0].week, pair[0].language), reverse=True)


def shares(counts: Mapping[tuple[str, str, str], int]) -> dict[str, float]:
    """Of all findings each assertion's, and of all words those unknown, by names like "assertion.absent"."""
    found: dict[str, float] = {}
    for measure in ("assertion", "words"):
        items = {item: count for (source, of, item), count in counts.items() if (source, of) == (ALL, measure)}
        total = sum(items.values())
        if total:
            found |= {f"{measure}.{item}": round(count / total, 4) for item, count in sorted(items.items())}
    found.pop("words.known", None)
    return found


def standing(alarms: Sequence[DriftWeek]) -> list[dict[str, Any]]:
    """Alarms as the status tells them: where and since when, and how much moved."""
    return [
        {
            "language": alarm.language,
            "week": alarm.week,
            "moves": len(alarm.moves),
            "acknowledged": alarm.acknowledged_at is not None,
        }
        for alarm in alarms
    ]


def unseen(database: Database) -> dict[str, int]:
    """Language -> 1 where an alarm stands that nobody has acknowledged, 0 where not."""
    found = {week.language: 0 for week in read_weeks(database, limit=1)}
    return found | {alarm.language: 1 for alarm in read_alarms(database) if alarm.acknowledged_at is None}


def register(app: FastAPI, connection: Connection) -> None:
    """Add the routes of this module to `app`."""

    @app.get(
        "/api/v1/drift",
        tags=["operation"],
        summary="Weeks of reports, compared with a reference",
        response_model=Drift,
        responses={**schemas.answered("Weeks, the latest first.", {"weeks": [_EXAMPLE]}), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def drift(
        request: Request,
        principal: ForReaders,
        language: Language = None,
        limit: Annotated[
            int, Query(ge=1, le=MAXIMUM_WEEKS, description="Weeks of each language, the latest.", examples=[53])
        ] = 53,
    ) -> Response:
        """What moved in which week, with reports that show it. A week is judged when it is over (Monday, UTC)."""
        found = weeks_with_shares(everything(connection, principal), language, limit)
        audited(request, count=len(found))
        return answer(request, {"weeks": [{**week.to_json(), "shares": of} for week, of in found]})

    @app.post(
        "/api/v1/drift/acknowledgements",
        tags=["operation"],
        summary="Acknowledge an alarm of drift",
        response_model=Week,
        responses={
            **schemas.answered("The week.", _EXAMPLE),
            **_PROBLEMS,
            **schemas.refused("unsupported_media_type"),
        },
        dependencies=[Depends(check_query), Depends(require_json)],
    )
    def acknowledge(request: Request, principal: ForOperators, body: Annotated[Acknowledgement, Body()]) -> Response:
        """What it is about is how reports are from now on: the same isn't said again, and the week is a reference."""
        database = everything(connection, principal)
        week = week_of(body.week)
        audited(request, query=[("language", body.language), ("week", week)])
        done = acknowledge_drift(database, body.language, week, principal.name)
        counts = read_counts(database, body.language, [week], ALL)
        return JSONResponse({**done.to_json(), "shares": shares(counts[week])})
