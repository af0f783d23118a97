"""The HTTP application: its routes behind one gate, errors as problem documents."""

import contextlib
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from dicomnlp import __version__
from dicomnlp.analyse import names
from dicomnlp.config import Settings, is_loopback
from dicomnlp.serve import (
    annotations,
    critical,
    dicomweb,
    drift,
    error_pages,
    fhir,
    fhir_outcome,
    follow_up,
    login,
    operation,
    pages,
    pipelines,
    problems,
    reconciliation,
    remarks,
    reprocessing,
    schemas,
    search,
    studies,
    timeline,
)
from dicomnlp.serve.access_control import AccessControl
from dicomnlp.serve.access_identities import Shown
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.dear import Dear
from dicomnlp.serve.dicomweb_store import StoreDoor
from dicomnlp.serve.gate import Gate
from dicomnlp.serve.interface_language import LANGUAGES
from dicomnlp.serve.metrics import Metrics
from dicomnlp.serve.models_in_use import ModelsInUse
from dicomnlp.serve.rate_limit import RateLimit
from dicomnlp.store.database import Database
from dicomnlp.store.pressure import read_hindrance
from dicomnlp.store.status import read_status
from dicomnlp.store.traffic import read_traffic

_DESCRIPTION = (
    "Findings that radiology reports state, by Study Instance UID. Offsets are half-open character offsets into the "
    "report's text; lengths are millimetres. Errors are problem documents (RFC 9457) with a stable `reason_code`."
)


def create_app(settings: Settings, open_database: Callable[[], Database], *, beside_listener: bool = False) -> FastAPI:
    """The application that answers all HTTP requests.

    Parameters
    ----------
    settings
        `web.host` decides which Host headers are answered.
    beside_listener
        Whether the listener runs on this machine, so that readiness is of its addresses, too.
    open_database
        Called when a request first needs the database, and again after it failed with DatabaseError; what it gave is
        closed when the application's lifespan ends.
    """
    connection = Connection(open_database)
    access = AccessControl(settings, connection)
    door = StoreDoor(settings, open_database)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(_read_names)
        yield
        door.close()
        access.close()
        connection.close()

    status = Dear(lambda: read_status(connection.get()))
    metrics = Metrics(
        status,
        lambda: read_hindrance(connection.get(), settings),
        lambda: read_traffic(connection.get()),
        lambda: drift.unseen(connection.get()),
    )
    app = FastAPI(
        title="dicomnlp",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # FastAPI's own pages load scripts from the internet, which a hospital's network doesn't reach
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # a redirect would repeat the Host header and the path to the client
        lifespan=lifespan,
    )
    app.state.access = access
    app.state.rate_limit = RateLimit(settings.web.maximum_requests_per_minute)
    problems.install(app)
    shown = Shown(connection)
    studies.register(app, connection, shown)
    search.register(app, connection, shown)
    follow_up.register(app, connection)
    critical.register(app, connection)
    timeline.register(app, connection)
    remarks.register(app, connection)
    annotations.register(app, connection)
    reprocessing.register(app, settings, connection)
    pipelines.register(app, settings, connection, shown)
    reconciliation.register(app, settings, connection)
    drift.register(app, connection)
    dicomweb.register(app, connection, door)
    fhir.register(app, connection)
    models = ModelsInUse(settings)
    operation.register(app, settings, connection, metrics, status, models, beside_listener=beside_listener)
    login.register(app, settings, connection, access)
    pages.register(app, settings, connection, shown, status, models)
    fhir_outcome.install(app)
    schemas.complete(app)
    fhir_outcome.describe(app)
    app.add_middleware(
        Gate,
        only_loopback=is_loopback(settings.web.host),
        observe=metrics.observe,
        recorder=access.recorder,
        tell=lambda request, told: error_pages.page_of(request, fhir_outcome.outcome_of(request, told)),
    )
    return app


def _read_names() -> None:
    """Read the lexicons' names now, which takes a quarter of a second, and not while the first reader waits."""
    for language in LANGUAGES:
        for name in (names.concept_name, names.site_name):
            name("", language)
        for find in (names.find_concepts, names.find_sites):
            find("nodule", language, 1)
    names.states_normality("")
