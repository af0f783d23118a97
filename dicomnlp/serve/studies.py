"""What is known of a study: its findings and its reports."""

import datetime as dt
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from pydantic import AwareDatetime

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import Assertion
from dicomnlp.serve import schemas
from dicomnlp.serve.access import ForReaders, ForResearchers, Principal, audited
from dicomnlp.serve.access_identities import Shown
from dicomnlp.serve.conditional import answer
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.filters import PIPELINE, PIPELINE_EXAMPLE, PIPELINE_PATTERN
from dicomnlp.serve.parameters import SOPInstanceUID, StudyInstanceUID, check_query
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store import changes, images, queries

_PROBLEMS = schemas.refused(
    "not_found",
    "malformed_uid",
    "unknown_parameter",
    "repeated_parameter",
    "invalid_parameter",
    "bad_request",
    *schemas.DATABASE_PROBLEMS,
)
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "What If-None-Match names is still so."}}

AllVersions = Annotated[
    bool,
    Query(
        description="Also superseded and withdrawn reports, earlier versions of an object, and earlier analyses.",
        examples=[False],
    ),
]
AsOf = Annotated[
    AwareDatetime | None,
    Query(
        description="What counted at this moment (RFC 3339, with its time zone) rather than now.",
        examples=["2026-11-22T06:00:00Z"],
    ),
]


def _check_versions(
    principal: Principal, *, all_versions: bool, as_of: dt.datetime | None = None, pipeline: str | None = None
) -> None:
    asked = [
        name for name, given in (("all_versions", all_versions), ("as_of", as_of), ("pipeline", pipeline)) if given
    ]
    if not principal.sees_identities and asked:
        # texts are cleaned by the header of the version that holds
        raise ProblemError("not_allowed", "Researchers see what holds now: no all_versions, no as_of, no pipeline.")
    if len(asked) > 1:
        raise ProblemError("bad_request", f"{' and '.join(asked)} can't be asked for together.")


def register(app: FastAPI, connection: Connection, shown: Shown) -> None:
    """Add the routes of this module to `app`; what is `shown` depends on who asks."""

    @app.get(
        "/api/v1/studies/{study_instance_uid}/findings",
        tags=["studies"],
        summary="Findings of a study",
        response_model=schemas.Findings,
        responses={**schemas.answered("The findings.", schemas.FINDINGS_EXAMPLE), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def findings_of_study(
        request: Request,
        principal: ForResearchers,
        study_instance_uid: StudyInstanceUID,
        assertion: Annotated[Assertion | None, Query(description="Only those so judged.", examples=["present"])] = None,
        concept: Annotated[
            str | None,
            Query(
                description="Only those of the concept with this id.",
                pattern=r"^[a-z0-9_]{1,64}$",
                examples=["pulmonary_nodule"],
            ),
        ] = None,
        all_versions: AllVersions = False,
        as_of: AsOf = None,
        pipeline: Annotated[
            str | None, Query(description=PIPELINE, pattern=PIPELINE_PATTERN, examples=[PIPELINE_EXAMPLE])
        ] = None,
        after: Annotated[
            str | None,
            Query(
                max_length=200,
                description="`next` of the page before; without it the first page is answered.",
                examples=["MTI6NDQ6NDEyOjgxMg"],
            ),
        ] = None,
        limit: Annotated[
            int,
            Query(
                ge=1,
                le=queries.MAXIMUM_PAGE,
                description="How many at most; few studies have as many as the default.",
                examples=[queries.MAXIMUM_PAGE],
            ),
        ] = queries.MAXIMUM_PAGE,
    ) -> Response:
        """Every mention of a concept in the reports that prevail and belong to the study, judged.

        A list without entries means that no report analysed so far states a finding. Whether a report still waits or
        failed is told by `reports`, which counts the study's reports of now by state; it is null with `as_of`.
        `next` is null unless there are more findings than `limit`.
        """
        _check_versions(principal, all_versions=all_versions, as_of=as_of, pipeline=pipeline)
        database = connection.within(principal.scope)
        # before the findings: what is analysed in between is found and counted as pending, never the other way round
        reports = None if as_of is not None else queries.states_of_study(database, study_instance_uid)
        try:
            page = queries.page_of_study(
                database,
                study_instance_uid,
                assertion=assertion,
                concept=concept,
                all_versions=all_versions,
                as_of=as_of,
                pipeline=pipeline,
                after=after,
                limit=limit,
            )
        except UsageError as error:
            raise ProblemError("bad_request", f"{error}.") from None
        audited(request, count=len(page.findings))
        return answer(
            request,
            {
                "study_instance_uid": study_instance_uid,
                "findings": shown.findings(principal, page.findings),
                "reports": reports,
                "next": page.next,
            },
        )

    @app.get(
        "/api/v1/studies/{study_instance_uid}/reports",
        tags=["studies"],
        summary="Reports of a study",
        response_model=schemas.Reports,
        responses={**schemas.answered("The reports.", schemas.REPORTS_EXAMPLE), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def reports_of_study(
        request: Request,
        principal: ForResearchers,
        study_instance_uid: StudyInstanceUID,
        all_versions: AllVersions = False,
        as_of: AsOf = None,
    ) -> Response:
        """Reports that prevail and belong to the study, and those that wait, with their state, text and sections."""
        _check_versions(principal, all_versions=all_versions, as_of=as_of)
        database = connection.within(principal.scope)
        found = queries.reports_of_study(database, study_instance_uid, all_versions=all_versions, as_of=as_of)
        audited(request, count=len(found))
        return answer(request, {"study_instance_uid": study_instance_uid, "reports": shown.reports(principal, found)})

    @app.get(
        "/api/v1/studies/{study_instance_uid}/series",
        tags=["studies"],
        summary="Image series of a study",
        response_model=schemas.SeriesOfStudy,
        responses={**schemas.answered("The series.", schemas.SERIES_EXAMPLE), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def series_of_study(request: Request, principal: ForReaders, study_instance_uid: StudyInstanceUID) -> Response:
        """What the headers of its images say, of senders whose images are indexed: modality, body part, side, dates."""
        found = images.series_of_study(connection.within(principal.scope), study_instance_uid)
        if not found:
            raise NotFoundError(f"no image of study {study_instance_uid} is known")
        return answer(
            request, {"study_instance_uid": study_instance_uid, "series": [series.to_json() for series in found]}
        )

    @app.get(
        "/api/v1/reports/{sop_instance_uid}",
        tags=["studies"],
        summary="A report by its SOP Instance UID",
        response_model=schemas.ReportsOfInstance,
        responses={**schemas.answered("The report.", schemas.INSTANCE_EXAMPLE), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def reports_of_instance(
        request: Request,
        principal: ForResearchers,
        sop_instance_uid: SOPInstanceUID,
        all_versions: AllVersions = False,
    ) -> Response:
        """What is held under a SOP Instance UID, whether or not it prevails: the current version, or all of them."""
        _check_versions(principal, all_versions=all_versions)
        database = connection.within(principal.scope)
        found = queries.reports_of_instance(database, sop_instance_uid, all_versions=all_versions)
        audited(request, study_instance_uid=found[0].study_instance_uid, count=len(found))
        return answer(request, {"sop_instance_uid": sop_instance_uid, "reports": shown.reports(principal, found)})

    @app.get(
        "/api/v1/reports/{sop_instance_uid}/changes",
        tags=["studies"],
        summary="What a report changed",
        response_model=schemas.ChangesOfReport,
        responses={**schemas.answered("The changes.", schemas.CHANGES_EXAMPLE), **_NOT_MODIFIED, **_PROBLEMS},
        dependencies=[Depends(check_query)],
    )
    def changes_of_report(request: Request, principal: ForReaders, sop_instance_uid: SOPInstanceUID) -> Response:
        """Findings added, gone and changed between a report and the one that it replaced, or that replaced it.

        Findings are compared by concept, assertion and laterality: a preliminary report with its final one, an
        amendment with what it amends, a new version of an object with the one before it.
        """
        found = changes.changes_of_report(connection.within(principal.scope), sop_instance_uid)
        return answer(request, found.to_json())
