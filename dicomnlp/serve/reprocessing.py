"""Analysing stored objects again, asked for over HTTP: marked here, done by the dispatcher that runs."""

from typing import Annotated

from fastapi import Body, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from dicomnlp.config import Settings
from dicomnlp.errors import UsageError
from dicomnlp.serve import schemas, search_schemas
from dicomnlp.serve.access import ForOperators, audited
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.parameters import check_query, require_json
from dicomnlp.serve.pipelines import names_by
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store.pipelines import read_active
from dicomnlp.store.reprocess import Selection, start_run


def register(app: FastAPI, settings: Settings, connection: Connection) -> None:
    """Add the route of this module to `app`."""

    @app.post(
        "/api/v1/reprocess",
        tags=["operation"],
        summary="Analyse again",
        status_code=202,
        response_model=search_schemas.ReprocessRun,
        responses={
            202: schemas.answered("The run.", search_schemas.RUN_EXAMPLE)[200],
            **schemas.refused(
                "not_found",
                "unknown_parameter",
                "invalid_parameter",
                "bad_request",
                "unsupported_media_type",
                *schemas.DATABASE_PROBLEMS,
            ),
        },
        dependencies=[Depends(check_query), Depends(require_json)],
    )
    def reprocess(
        request: Request, principal: ForOperators, body: Annotated[search_schemas.ReprocessRequest, Body()]
    ) -> Response:
        """Mark stored objects to be analysed again by the pipeline that counts, after all new arrivals.

        Findings stay as they are until the new ones replace them. The same request goes on with a run that isn't
        finished.
        """
        if sum([bool(body.uids), body.everything, body.outdated, body.failed]) != 1:
            raise ProblemError("bad_request", "Name UIDs, or one of everything, outdated and failed.")
        selection = Selection(
            uids=tuple(body.uids),
            everything=body.everything,
            failed=body.failed,
            outdated_pipelines=_outdated(settings, connection) if body.outdated else (),
        )
        try:
            run = start_run(connection.within(principal.scope), selection)
        except UsageError as error:
            raise ProblemError("bad_request", f"{error}.") from None
        chosen = {"everything": body.everything, "outdated": body.outdated, "failed": body.failed}
        words = [("uid", uid) for uid in body.uids] + [(name, "true") for name, given in chosen.items() if given]
        audited(request, query=words, count=run.total)
        return JSONResponse(search_schemas.run_to_json(run), status_code=202)


def _outdated(settings: Settings, connection: Connection) -> tuple[str, ...]:
    """How the pipeline that counts names itself, in each language: what is by another is outdated."""
    database = connection.get()
    return tuple(names_by(settings, database, read_active(database).name).values())
