"""Asking over all studies: findings, how many and what they are, what is to be followed up, and kept searches."""

import datetime as dt
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Body, Depends, FastAPI, Path, Query, Request, Response

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import RecommendationKind, utc_text
from dicomnlp.serve import schemas, search_schemas
from dicomnlp.serve.access import ForReaders, ForResearchers, Principal, audited
from dicomnlp.serve.access_identities import IDENTITIES, Shown, check_filters, may_use
from dicomnlp.serve.conditional import answer
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.filters import expanded, read_filters
from dicomnlp.serve.kept_facets import kept_of
from dicomnlp.serve.parameters import check_query, require_json
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store import cohorts, follow_up
from dicomnlp.store.database import Database
from dicomnlp.store.search import MAXIMUM_PAGE, Filters, count_findings, filters_from_json, search_findings
from dicomnlp.store.search_counts import FACETS

T = TypeVar("T")
_PROBLEMS = schemas.refused(
    "unknown_parameter", "repeated_parameter", "invalid_parameter", "bad_request", *schemas.DATABASE_PROBLEMS
)
_OF_FINDINGS = {**_PROBLEMS, **schemas.refused("not_found")}
_OF_COHORT = schemas.refused("not_found", "unknown_parameter", "invalid_parameter", *schemas.DATABASE_PROBLEMS)
_WRITING = schemas.refused("unsupported_media_type", "bad_request")
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "What If-None-Match names is still so."}}

Asked = Annotated[Filters, Depends(read_filters)]
Limit = Annotated[int, Query(ge=1, le=MAXIMUM_PAGE, description="How many at most.", examples=[100])]
After = Annotated[
    str | None,
    Query(
        max_length=200,
        description="`next` of the page before; without it the first page is answered.",
        examples=["MjAyNjExMjI6MTI6ODEy"],
    ),
]
Name = Annotated[
    str, Path(description="Name of the cohort.", max_length=cohorts.MAXIMUM_NAME, examples=["nodules-2026"])
]


def _told(work: Callable[[], T]) -> T:
    """What `work` gives; its UsageError as a problem."""
    try:
        return work()
    except UsageError as error:
        raise ProblemError("bad_request", f"{error}.") from None


def keep(database: Database, principal: Principal, name: str, filters: Filters) -> cohorts.Cohort:
    """Keep a search of `principal`, in place of one that is theirs to change; raises as `cohorts.save_cohort`."""
    return cohorts.save_cohort(
        database,
        name,
        filters,
        created_by=principal.name,
        replace=True,
        of_others=principal.changes_what_others_keep,
    )


def forget(database: Database, principal: Principal, name: str) -> None:
    """Delete a kept search that is theirs to change; raises as `cohorts.delete_cohort`."""
    created_by = None if principal.changes_what_others_keep else principal.name
    cohorts.delete_cohort(database, name, created_by=created_by)


def register(app: FastAPI, connection: Connection, shown: Shown) -> None:
    """Add the routes of this module to `app`; what is `shown` depends on who asks."""
    _register_findings(app, connection, shown)
    _register_recommendations(app, connection, shown)
    _register_cohorts(app, connection, shown)


def _register_findings(app: FastAPI, connection: Connection, shown: Shown) -> None:
    @app.get(
        "/api/v1/findings",
        tags=["search"],
        summary="Findings over all studies",
        response_model=search_schemas.FoundFindings,
        responses={
            **schemas.answered("A page of findings.", search_schemas.FOUND_EXAMPLE),
            **_NOT_MODIFIED,
            **_OF_FINDINGS,
        },
        dependencies=[Depends(check_query)],
    )
    def search(
        request: Request, principal: ForResearchers, filters: Asked, after: After = None, limit: Limit = 100
    ) -> Response:
        """Findings of prevailing reports that fit all filters, the newest study first, page by page.

        `next` is null on the last page. Between two pages reports may come and be analysed anew: nothing is answered
        twice, and what was there all the time isn't left out.
        """
        check_filters(principal, filters)
        wanted = expanded(filters)
        page = _told(lambda: search_findings(connection.within(principal.scope), wanted, after=after, limit=limit))
        audited(request, count=len(page.findings))
        return answer(request, {"findings": shown.findings(principal, page.findings), "next": page.next})

    @app.get(
        "/api/v1/findings/count",
        tags=["search"],
        summary="How many findings fit",
        response_model=search_schemas.FindingCounts,
        responses={
            **schemas.answered("Counts.", search_schemas.COUNTS_EXAMPLE),
            **_NOT_MODIFIED,
            **_OF_FINDINGS,
        },
        dependencies=[Depends(check_query)],
    )
    def count(request: Request, principal: ForResearchers, filters: Asked) -> Response:
        """Findings that fit, and the reports, studies and patients in which they are."""
        check_filters(principal, filters)
        counts = count_findings(connection.within(principal.scope), expanded(filters))
        return answer(request, search_schemas.counts_to_json(counts))

    @app.get(
        "/api/v1/findings/facets",
        tags=["search"],
        summary="What the findings are that fit",
        response_model=search_schemas.FindingFacets,
        responses={
            **schemas.answered("Values.", search_schemas.FACETS_EXAMPLE),
            **_NOT_MODIFIED,
            **_OF_FINDINGS,
        },
        dependencies=[Depends(check_query)],
    )
    def read_facets(request: Request, principal: ForResearchers, filters: Asked) -> Response:
        """The commonest values of each field, with their numbers; each field is counted without its own filter.

        Numbers of more than 200,000 findings may be a minute old: `counted_at` says when they were counted; null: now.
        """
        check_filters(principal, filters)
        database = connection.within(principal.scope)
        names = FACETS if principal.sees_identities else tuple(name for name in FACETS if name not in IDENTITIES)
        counted = kept_of(database).read(database, expanded(filters), names)
        listed = {
            name: [{"value": value, "findings": number} for value, number in values]
            for name, values in counted.values.items()
        }
        return answer(request, {"facets": listed, "counted_at": utc_text(counted.at) if counted.at else None})


def _register_recommendations(app: FastAPI, connection: Connection, shown: Shown) -> None:
    @app.get(
        "/api/v1/recommendations",
        tags=["search"],
        summary="What is to be followed up",
        response_model=search_schemas.Recommendations,
        responses={
            **schemas.answered("A page of recommendations.", search_schemas.RECOMMENDATIONS_EXAMPLE),
            **_NOT_MODIFIED,
            **_PROBLEMS,
        },
        dependencies=[Depends(check_query)],
    )
    def recommendations(
        request: Request,
        principal: ForResearchers,
        modality: Annotated[
            str | None,
            Query(pattern="^[A-Z0-9]{1,16}$", description="Modality that is recommended.", examples=["CT"]),
        ] = None,
        anatomy: Annotated[
            str | None, Query(pattern="^[a-z0-9_]{1,64}$", description="Site, parts included.", examples=["lung"])
        ] = None,
        kind: Annotated[RecommendationKind | None, Query(description="How firmly.", examples=["recommended"])] = None,
        conditional: Annotated[
            bool | None, Query(description="Only if something holds, or not so.", examples=[False])
        ] = None,
        due_from: Annotated[
            dt.date | None, Query(description="Due on this day or later.", examples=["2027-01-01"])
        ] = None,
        due_to: Annotated[
            dt.date | None, Query(description="Due on this day or earlier.", examples=["2027-06-30"])
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
        after: After = None,
        limit: Limit = 100,
    ) -> Response:
        """Recommendations of prevailing reports, the newest study first, page by page.

        `due_from` and `due_to` of each are the study's date and the times that the report names; null where it names
        none. As filters they are compared with the latest time named.
        """
        check_filters(principal, Filters(patient_id=patient_id))
        sites = expanded(Filters(anatomy=(anatomy,) if anatomy else ())).anatomy
        wanted = follow_up.FollowUpFilters(
            modality, sites, kind, conditional, due_from, due_to, date_from, date_to, patient_id
        )
        database = connection.within(principal.scope)
        page = _told(lambda: follow_up.follow_up(database, wanted, after=after, limit=limit))
        audited(request, count=len(page.recommendations))
        listed = shown.recommendations(principal, page.recommendations)
        return answer(request, {"recommendations": listed, "next": page.next})


def _register_cohorts(app: FastAPI, connection: Connection, shown: Shown) -> None:
    def read(principal: Principal, name: str) -> cohorts.Cohort:
        """The cohort, unless it tells a researcher whom it is about: then it is as if it weren't there."""
        found = cohorts.read_cohort(connection.within(principal.scope), name)
        if not may_use(principal, found.filters):
            raise NotFoundError("there is no cohort of that name")
        return found

    @app.get(
        "/api/v1/cohorts",
        tags=["search"],
        summary="Kept searches",
        response_model=search_schemas.Cohorts,
        responses={**schemas.answered("All cohorts.", search_schemas.COHORTS_EXAMPLE), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def list_cohorts(request: Request, principal: ForResearchers) -> Response:
        """Cohorts by name, with the filters that each keeps: of those who may see no more than who asks."""
        held = cohorts.cohorts(connection.within(principal.scope))
        return answer(request, {"cohorts": [c.to_json() for c in held if may_use(principal, c.filters)]})

    @app.get(
        "/api/v1/cohorts/{name}",
        tags=["search"],
        summary="A kept search",
        response_model=search_schemas.CountedCohort,
        responses={
            **schemas.answered("The cohort.", search_schemas.COUNTED_COHORT_EXAMPLE),
            **_NOT_MODIFIED,
            **_OF_COHORT,
        },
        dependencies=[Depends(check_query)],
    )
    def read_cohort(request: Request, principal: ForResearchers, name: Name) -> Response:
        """Its filters, and how much fits them now."""
        found = read(principal, name)
        counts = count_findings(connection.within(principal.scope), expanded(found.filters))
        return answer(request, {**found.to_json(), **search_schemas.counts_to_json(counts)})

    @app.get(
        "/api/v1/cohorts/{name}/findings",
        tags=["search"],
        summary="Findings of a kept search",
        response_model=search_schemas.FoundFindings,
        responses={
            **schemas.answered("A page of findings.", search_schemas.FOUND_EXAMPLE),
            **_NOT_MODIFIED,
            **_OF_COHORT,
            **schemas.refused("bad_request"),
        },
        dependencies=[Depends(check_query)],
    )
    def findings_of_cohort(
        request: Request, principal: ForResearchers, name: Name, after: After = None, limit: Limit = 100
    ) -> Response:
        """What fits its filters now, the newest study first, page by page."""
        wanted = expanded(read(principal, name).filters)
        page = _told(lambda: search_findings(connection.within(principal.scope), wanted, after=after, limit=limit))
        audited(request, count=len(page.findings))
        return answer(request, {"findings": shown.findings(principal, page.findings), "next": page.next})

    @app.put(
        "/api/v1/cohorts/{name}",
        tags=["search"],
        summary="Keep a search",
        response_model=search_schemas.Cohort,
        responses={
            **schemas.answered("The cohort.", search_schemas.COHORT_EXAMPLE),
            **_PROBLEMS,
            **_WRITING,
        },
        dependencies=[Depends(check_query), Depends(require_json)],
    )
    def save_cohort(
        request: Request,
        principal: ForResearchers,
        name: Name,
        body: Annotated[search_schemas.CohortFilters, Body()],
    ) -> Response:
        """Keep filters under a name, in place of a cohort that has it: one's own; an operator, anybody's."""
        filters = _told(lambda: filters_from_json(body.filters))
        if not filters.to_json():
            raise ProblemError("bad_request", "Name at least one filter.")
        check_filters(principal, filters)
        expanded(filters)  # refuses ids that aren't known, before they are kept
        database = connection.within(principal.scope)
        return answer(request, _told(lambda: keep(database, principal, name, filters)).to_json())

    @app.delete(
        "/api/v1/cohorts/{name}",
        tags=["search"],
        summary="Forget a kept search",
        status_code=204,
        response_class=Response,
        responses={
            204: {"description": "It is forgotten; what it found stays."},
            **_OF_COHORT,
            **schemas.refused("bad_request"),
        },
        dependencies=[Depends(check_query)],
    )
    def delete_cohort(principal: ForReaders, name: Name) -> Response:
        """Delete the cohort of this name: one's own; an operator, anybody's."""
        _told(lambda: forget(connection.within(principal.scope), principal, name))
        return Response(status_code=204)
