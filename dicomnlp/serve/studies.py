"""What is known of a study: its findings and its reports."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response

from dicomnlp.model import Assertion
from dicomnlp.serve import schemas
from dicomnlp.serve.conditional import answer
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.parameters import SOPInstanceUID, StudyInstanceUID, check_query
from dicomnlp.store import queries

_PROBLEMS = schemas.refused(
    "not_found",
    "malformed_uid",
    "unknown_parameter",
    "repeated_parameter",
    "invalid_parameter",
    *schemas.DATABASE_PROBLEMS,
)
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "What If-None-Match names is still so."}}

AllVersions = Annotated[
    bool,
    Query(description="Also what earlier versions of an object said, and earlier analyses.", examples=[False]),
]


def register(app: FastAPI, connection: Connection) -> None:
    """Add the routes of this module to `app`."""

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
    ) -> Response:
        """Every mention of a concept in the study's reports, judged.

        A list without entries means that no report analysed so far states a finding; whether a report still waits or
        failed is told by the state of the study's reports.
        """
        found = queries.findings_of_study(
            connection.get(), study_instance_uid, assertion=assertion, concept=concept, all_versions=all_versions
        )
        return answer(
            request, {"study_instance_uid": study_instance_uid, "findings": [finding.to_json() for finding in found]}
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
        request: Request, study_instance_uid: StudyInstanceUID, all_versions: AllVersions = False
    ) -> Response:
        """The study's reports with their state, text and sections."""
        found = queries.reports_of_study(connection.get(), study_instance_uid, all_versions=all_versions)
        return answer(
            request, {"study_instance_uid": study_instance_uid, "reports": [report.to_json() for report in found]}
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
        request: Request, sop_instance_uid: SOPInstanceUID, all_versions: AllVersions = False
    ) -> Response:
        """What is held under a SOP Instance UID: the current version, or all of them."""
        found = queries.reports_of_instance(connection.get(), sop_instance_uid, all_versions=all_versions)
        return answer(
            request, {"sop_instance_uid": sop_instance_uid, "reports": [report.to_json() for report in found]}
        )
