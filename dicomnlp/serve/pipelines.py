"""Pipelines: which counts, what another says otherwise, and how it is made to count or taken back.

What is asked for here is done by the dispatcher that runs: new reports are by the pipeline from the answer on.
"""

import datetime as dt
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from dicomnlp.analyse.archive import names_of
from dicomnlp.config import Settings
from dicomnlp.errors import UsageError
from dicomnlp.model import Assertion, Laterality
from dicomnlp.serve import schemas
from dicomnlp.serve.access import ForAdmins, ForReaders, Principal, audited
from dicomnlp.serve.access_identities import Shown
from dicomnlp.serve.conditional import answer
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.parameters import check_query
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store.comparisons import MAXIMUM_EXAMPLES, Comparison, compare_pipelines, comparison_to_json
from dicomnlp.store.database import Database
from dicomnlp.store.pipelines import (
    CONFIGURED,
    Promotion,
    combinations,
    count_analyses,
    promote,
    read_active,
    read_archive,
    read_pipelines,
    read_promotions,
    taken_back,
)

PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Of the name under which a pipeline is added."""
Kind = Literal["added", "gone", "changed"]
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "What If-None-Match names is still so."}}
_PROBLEMS = schemas.refused(
    "not_found",
    "unknown_parameter",
    "repeated_parameter",
    "invalid_parameter",
    "bad_request",
    "not_allowed",
    *schemas.DATABASE_PROBLEMS,
)


class ReportCounts(BaseModel):
    """Reports that count by a pipeline, and others that it has read."""

    current: int
    other: int


class Pipeline(BaseModel):
    """Something that reports can be read by."""

    name: str
    active: bool
    pipelines: dict[str, str]
    added_at: dt.datetime | None
    added_by: str | None
    reports: ReportCounts


class PromotionState(BaseModel):
    """A change of the pipeline that counts, and how far the reports that are held were brought to it."""

    id: int
    pipeline: str
    pipelines: dict[str, str]
    undoes: int | None
    promoted_at: dt.datetime
    promoted_by: str
    unchanged: int
    switched: int
    marked: int
    finished: bool


class Pipelines(BaseModel):
    """Pipelines, and which of them counted when."""

    active: str
    pipelines: list[Pipeline]
    promotions: list[PromotionState]


class ChangedConcept(BaseModel):
    """The concept of a change."""

    id: str
    meaning: str


class ChangeSide(BaseModel):
    """What is said of a concept."""

    assertion: Assertion
    laterality: Laterality | None


class ChangeExample(BaseModel):
    """A place where the two differ."""

    before: schemas.FindingOfStudy | None
    after: schemas.FindingOfStudy | None


class PipelineChange(BaseModel):
    """A way in which the two differ, in however many reports."""

    kind: Kind
    concept: ChangedConcept
    before: ChangeSide | None
    after: ChangeSide | None
    count: int
    examples: list[ChangeExample]


class ShadowFailures(BaseModel):
    """Reports that a pipeline could not read, by reason."""

    reason_code: str
    count: int


class ShadowFailure(BaseModel):
    """A report that a pipeline could not read."""

    sop_instance_uid: str
    reason_code: str


class PipelineComparison(BaseModel):
    """What a pipeline says otherwise than what counts, or than another."""

    pipeline: str
    against: str | None
    compared: int
    same_analysis: int
    differing: int
    added: int
    gone: int
    changed: int
    unchanged: int
    changes: list[PipelineChange]
    failures: list[ShadowFailures]
    failed: list[ShadowFailure]


_NAMES = {"en": "en-2026.1+3f9c0d21a4b7", "zh": "zh-2026.1+0a1b2c3d4e5f"}
_PROMOTION = Promotion(
    id=3,
    pipeline="thyroid-terms",
    names=_NAMES,
    undoes=None,
    promoted_at=dt.datetime(2026, 11, 22, 6, tzinfo=dt.UTC),
    promoted_by="administration",
    total=20000,
    unchanged=0,
    switched=500,
    marked=19500,
    finished_at=dt.datetime(2026, 11, 22, 6, 1, tzinfo=dt.UTC),
).to_json()
_PIPELINES = {
    "active": "thyroid-terms",
    "pipelines": [
        {
            "name": "thyroid-terms",
            "active": True,
            "pipelines": _NAMES,
            "added_at": "2026-11-21T15:00:00Z",
            "added_by": "administration",
            "reports": {"current": 20000, "other": 0},
        }
    ],
    "promotions": [_PROMOTION],
}
_FINDINGS: Any = schemas.FINDINGS_EXAMPLE["findings"]
_COMPARISON = {
    "pipeline": "thyroid-terms",
    "against": None,
    "compared": 500,
    "same_analysis": 0,
    "differing": 12,
    "added": 9,
    "gone": 0,
    "changed": 4,
    "unchanged": 4821,
    "changes": [
        {
            "kind": "added",
            "concept": {"id": "thyroid_nodule", "meaning": "Thyroid nodule"},
            "before": None,
            "after": {"assertion": "present", "laterality": None},
            "count": 9,
            "examples": [{"before": None, "after": _FINDINGS[0]}],
        }
    ],
    "failures": [{"reason_code": "timeout", "count": 1}],
    "failed": [{"sop_instance_uid": schemas.SOP_INSTANCE_UID, "reason_code": "timeout"}],
}
Name = Annotated[
    str,
    Path(
        pattern=PATTERN, description=f"Of a pipeline; `{CONFIGURED}`: that of the configuration.", examples=[CONFIGURED]
    ),
]


def names_by(settings: Settings, database: Database, name: str) -> dict[str, str]:
    """By language, how a pipeline names itself in findings; raises NotFoundError."""
    held = read_archive(database, name)
    return names_of(held[0] if held else None, settings.overlays, settings.models)


def pipelines_to_json(settings: Settings, database: Database) -> dict[str, Any]:
    """All pipelines in the public form, that of the configuration first, and the promotions, the last first."""
    active = read_active(database)
    told = []
    added = {p.name: p for p in read_pipelines(database)}
    for name in (CONFIGURED, *added):
        names = names_by(settings, database, name)
        current, other = count_analyses(database, combinations(names.values()))
        one = added.get(name)
        told.append(
            {
                "name": name,
                "active": name == active.name,
                "pipelines": names,
                "added_at": one.added_at.isoformat().replace("+00:00", "Z") if one else None,
                "added_by": one.added_by if one else None,
                "reports": {"current": current, "other": other},
            }
        )
    promotions = [p.to_json() for p in reversed(read_promotions(database))]
    return {"active": active.name, "pipelines": told, "promotions": promotions}


def compared(settings: Settings, database: Database, name: str, against: str | None, **asked: Any) -> Comparison:
    """A pipeline against what counts, or against another; `asked` as of `compare_pipelines`; raises NotFoundError."""
    after = combinations(names_by(settings, database, name).values())
    before = combinations(names_by(settings, database, against).values()) if against is not None else None
    return compare_pipelines(database, name, after, before, **asked)


def promote_by(settings: Settings, connection: Connection, principal: Principal, name: str) -> Promotion:
    """Let a pipeline count, if `principal` may say so for all senders; raises ProblemError and NotFoundError."""
    database = _everything(connection, principal)
    names, active = names_by(settings, database, name), read_active(database).name
    if settings.gold is not None and names != names_by(settings, database, active):
        # minutes of a processor, which are no request's
        raise ProblemError("gate_not_asked", "Only `dicomnlp pipelines promote` asks the gate.")
    return promote(database, name, names, principal.name)


def go_back_by(settings: Settings, connection: Connection, principal: Principal) -> Promotion:
    """Go back from the last promotion, likewise."""
    database = _everything(connection, principal)
    going = taken_back(read_promotions(database))
    if going is None:
        raise ProblemError("bad_request", "No promotion is left to go back from.")
    undone, before = going
    name = before.pipeline if before is not None else CONFIGURED
    try:
        return promote(database, name, names_by(settings, database, name), principal.name, undoes=undone.id)
    except UsageError as error:
        raise ProblemError("bad_request", f"{error}.") from None


def _everything(connection: Connection, principal: Principal) -> Database:
    if not principal.scope.is_everything:
        raise ProblemError("not_allowed", "A pipeline counts for all senders: promoting takes a key without a scope.")
    return connection.get()


def register(app: FastAPI, settings: Settings, connection: Connection, shown: Shown) -> None:
    """Add the routes of this module to `app`; what is `shown` depends on who asks."""

    @app.get(
        "/api/v1/pipelines",
        tags=["pipelines"],
        summary="Pipelines, and which counts",
        response_model=Pipelines,
        responses={**schemas.answered("Pipelines and promotions.", _PIPELINES), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def pipelines(request: Request, principal: ForReaders) -> Response:
        """What reports can be read by, how each names itself in findings, how many reports each has read.

        Promotions are told with how many reports that were held were of the pipeline already (`unchanged`), had an
        analysis by it and were switched to it, and were marked to be analysed by it, the last first.
        """
        return answer(request, pipelines_to_json(settings, connection.within(principal.scope)))

    @app.get(
        "/api/v1/pipelines/{name}/comparison",
        tags=["pipelines"],
        summary="What a pipeline says otherwise",
        response_model=PipelineComparison,
        responses={**schemas.answered("The comparison.", _COMPARISON), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def comparison(
        request: Request,
        principal: ForReaders,
        name: Name,
        against: Annotated[
            str | None,
            Query(pattern=PATTERN, description="Another pipeline, rather than what counts.", examples=[CONFIGURED]),
        ] = None,
        concept: Annotated[
            str | None,
            Query(pattern=r"^[a-z0-9_]{1,64}$", description="Only this concept's.", examples=["thyroid_nodule"]),
        ] = None,
        kind: Annotated[Kind | None, Query(description="Only such changes.", examples=["added"])] = None,
        examples: Annotated[
            int, Query(ge=0, le=MAXIMUM_EXAMPLES, description="Of each change, at most.", examples=[3])
        ] = 3,
    ) -> Response:
        """Findings added, gone and changed by concept and assertion, over all reports that both have read.

        Mentions of a report that agree in concept, assertion and laterality are one. `failures` are reports that the
        pipeline could not read in shadow.
        """
        database = connection.within(principal.scope)
        found = compared(settings, database, name, against, concept=concept, kind=kind, examples=examples)
        audited(request, count=found.differing)
        told = comparison_to_json(found, lambda f: shown.findings(principal, [f])[0])
        return answer(request, {"pipeline": name, "against": against, **told})

    @app.post(
        "/api/v1/pipelines/{name}/promote",
        tags=["pipelines"],
        summary="Let a pipeline count",
        status_code=202,
        response_model=PromotionState,
        responses={
            202: schemas.answered("The promotion.", _PROMOTION)[200],
            **_PROBLEMS,
            **schemas.refused("gate_not_asked"),
        },
        dependencies=[Depends(check_query)],
    )
    def let_count(request: Request, principal: ForAdmins, name: Name) -> Response:
        """New reports are read by it from now on, and those held are brought to it, each as a whole.

        Those that it has read in shadow are switched to it by the dispatcher that runs; the others are analysed by it
        after all new arrivals, and stay as they are until then. Where `learn.gold` is configured, a pipeline that reads
        otherwise than the one that counts is promoted by the command alone, which asks the gate.
        """
        promotion = promote_by(settings, connection, principal, name)
        audited(request, query=[("pipeline", name)])
        return JSONResponse(promotion.to_json(), status_code=202)

    @app.post(
        "/api/v1/pipelines/rollback",
        tags=["pipelines"],
        summary="Go back from the last promotion",
        status_code=202,
        response_model=PromotionState,
        responses={202: schemas.answered("The promotion that takes it back.", _PROMOTION)[200], **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def go_back(request: Request, principal: ForAdmins) -> Response:
        """What counted for each report before counts again; what came since is read by the pipeline of before."""
        promotion = go_back_by(settings, connection, principal)
        audited(request, query=[("pipeline", promotion.pipeline)])
        return JSONResponse(promotion.to_json(), status_code=202)
