"""What those who run the service ask: whether it lives, whether it is ready, how it stands."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from fastapi import Depends, FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from dicomnlp.config import Settings
from dicomnlp.serve import schemas
from dicomnlp.serve.access import ForAnybody
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.drift import standing
from dicomnlp.serve.metrics import Metrics
from dicomnlp.serve.models_in_use import ModelsInUse
from dicomnlp.serve.parameters import check_query
from dicomnlp.serve.problems import ProblemError, problem
from dicomnlp.serve.readiness import ReadinessCheck
from dicomnlp.store.drift import read_alarms
from dicomnlp.store.status import Status


@cache
def _refused(overlays: Path | None) -> dict[str, list[str]]:
    """Language -> what is wrong in the site's overlay of it; looked at once, when the status is first asked for."""
    if overlays is None:
        return {}
    from dicomnlp.analyse import refused_overlays, use_overlays  # noqa: PLC0415  a second's work, where there are any

    use_overlays(overlays)
    return {language: [str(fault) for fault in faults] for language, faults in refused_overlays().items()}


def register(
    app: FastAPI,
    settings: Settings,
    connection: Connection,
    metrics: Metrics,
    read_status: Callable[[], Status],
    models: ModelsInUse,
    *,
    beside_listener: bool,
) -> None:
    """Add the routes of this module to `app`."""
    readiness = ReadinessCheck(settings, connection, beside_listener=beside_listener)
    query = [Depends(check_query)]
    strict = schemas.refused("unknown_parameter")
    database = schemas.refused(*schemas.DATABASE_PROBLEMS)

    @app.get(
        "/api/v1/status",
        tags=["operation"],
        summary="How the service stands",
        response_model=schemas.ServiceStatus,
        responses={**schemas.answered("Counts, rates and sizes.", schemas.STATUS_EXAMPLE), **strict, **database},
        dependencies=query,
    )
    def status(_principal: ForAnybody) -> JSONResponse:
        """Objects by state, arrivals by outcome and reason, what waits, rates, sizes, pipelines, models, drift."""
        database = connection.get()
        return JSONResponse(
            {
                **read_status().to_json(),
                "refused_overlays": _refused(settings.overlays),
                "models": [model.to_json() for model in models.read()],
                "drift": standing(read_alarms(database)),
            }
        )

    @app.get(
        "/healthz",
        tags=["operation"],
        summary="Liveness",
        response_model=schemas.Alive,
        responses={**schemas.answered("The process answers.", {"status": "alive"}), **strict},
        dependencies=query,
    )
    async def healthz() -> JSONResponse:
        """Answers as long as the process does; looks at nothing else, so that no restart is tried for a database."""
        return JSONResponse({"status": "alive"})

    @app.get(
        "/readyz",
        tags=["operation"],
        summary="Readiness",
        response_model=schemas.Ready,
        responses={
            **schemas.answered("Nothing is missing.", schemas.READY_EXAMPLE),
            **strict,
            **schemas.refused("not_ready"),
        },
        dependencies=query,
    )
    def readyz() -> Response:
        """Whether the database is there, has this program's schema, objects are taken, and a dispatcher works on it.

        Under `dicomnlp serve` also whether the listener takes connections at each of its addresses.
        """
        now = readiness.read()
        if now.missing:
            return problem("not_ready", " ".join(now.missing), checks=now.checks, missing=list(now.missing))
        return JSONResponse({"status": "ready", "checks": now.checks})

    @app.get(
        "/metrics",
        tags=["operation"],
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={
            **schemas.answered("Prometheus text format.", schemas.METRICS_EXAMPLE, "text/plain"),
            **strict,
        },
        dependencies=query,
    )
    def read_metrics(principal: ForAnybody) -> Response:
        """State of the database at this moment, requests of this process. Answers while the database is away, too.

        They are of all senders, by AE title: whoever is restricted to some doesn't get them.
        """
        if not principal.scope.is_everything:
            raise ProblemError("not_allowed", "Metrics are of all senders: they take a key without a scope.")
        return Response(metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})
