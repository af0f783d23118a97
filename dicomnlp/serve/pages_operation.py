"""How the service goes on: state, rates, failures, the ledger and quarantine, as pages."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, FastAPI, Form, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from dicomnlp.config import Settings
from dicomnlp.model import Outcome
from dicomnlp.serve.access import Principal, Role, audited, require
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.dear import Dear
from dicomnlp.serve.models_in_use import ModelsInUse
from dicomnlp.serve.naming import Names
from dicomnlp.serve.page_parameters import a_day, asked, one_of, told
from dicomnlp.serve.rendering import render, words_of
from dicomnlp.store.arrivals import LedgerFilters, read_ledger
from dicomnlp.store.drift import read_alarms
from dicomnlp.store.pressure import read_hindrance
from dicomnlp.store.quarantine import assign_study, read_quarantine
from dicomnlp.store.rates import read_rates
from dicomnlp.store.status import Status, read_failures, retry_failed

_LEDGER = ("outcome", "reason", "calling_ae_title", "from", "to", "after")
_FAILURES = 50
_QUARANTINED = 100

Operator = Annotated[Principal, Depends(require(Role.OPERATOR))]
Counting = Annotated[Principal, Depends(require(Role.READER, Role.RESEARCHER, is_audited=False))]


def register(
    app: FastAPI,
    settings: Settings,
    connection: Connection,
    read_status: Callable[[], Status],
    models: ModelsInUse,
) -> None:
    """Add the routes of this module to `app`."""
    minutes_of_hour = Dear(lambda: read_rates(connection.get()))

    @app.get("/status", include_in_schema=False)
    def status(request: Request, who: Counting) -> Response:
        """Counts, rates of the last hour, and to operators failures with their reasons."""
        asked(request, ())
        database = connection.within(who.scope)
        operates = who.role in {Role.OPERATOR, Role.ADMIN}
        # what the page asks for again and again is its first part alone
        whole = "hx-request" not in request.headers
        return render(
            request,
            "status.html",
            principal=who,
            names=Names(words_of(request)),
            status=read_status(),
            hindrance=read_hindrance(database, settings),
            rates=minutes_of_hour() if whole else [],
            operates=operates,
            drifted=read_alarms(database) if whole else [],
            models=models.read() if whole else [],
            failures=read_failures(database, _FAILURES) if operates and whole else [],
        )

    @app.get("/status/rates", include_in_schema=False)
    def rates(request: Request, _who: Counting) -> Response:
        """What the plots show: a list a column, the times in seconds since 1970."""
        asked(request, ())
        minutes = minutes_of_hour()
        return JSONResponse(
            {
                "start": [m.start.timestamp() for m in minutes],
                "received": [m.received for m in minutes],
                "analysed": [m.analysed for m in minutes],
                "waiting": [m.waiting for m in minutes],
                "median_seconds": [m.median_seconds for m in minutes],
                "slow_seconds": [m.slow_seconds for m in minutes],
            }
        )

    @app.post("/status/retry", include_in_schema=False)
    def retry(who: Operator) -> Response:
        """Have all failed objects tried again."""
        retry_failed(connection.within(who.scope))
        return RedirectResponse("/status", status_code=303)

    @app.get("/ledger", include_in_schema=False)
    def ledger(request: Request, who: Operator) -> Response:
        """Everything that was received or refused, the latest first."""
        values = asked(request, _LEDGER)
        filters = LedgerFilters(
            outcome=one_of(Outcome, values, "outcome"),
            reason_code=values.get("reason"),
            calling_ae_title=values.get("calling_ae_title"),
            date_from=a_day(values, "from"),
            date_to=a_day(values, "to"),
        )
        page = told(lambda: read_ledger(connection.within(who.scope), filters, after=values.get("after")))
        audited(request, count=len(page.entries))
        return render(
            request,
            "ledger.html",
            principal=who,
            names=Names(words_of(request)),
            values=values,
            filtered=bool(values.keys() - {"after"}),
            page=page,
            outcomes=list(Outcome),
        )

    @app.get("/quarantine", include_in_schema=False)
    def quarantine(request: Request, who: Operator) -> Response:
        """Objects that belong to no study until somebody says to which."""
        asked(request, ())
        held = read_quarantine(connection.within(who.scope), _QUARANTINED)
        audited(request, count=len(held))
        return render(request, "quarantine.html", principal=who, names=Names(words_of(request)), held=held)

    @app.post("/quarantine/assign", include_in_schema=False)
    def assign(
        who: Operator, sop_instance_uid: Annotated[str, Form()], study_instance_uid: Annotated[str, Form()]
    ) -> Response:
        """Say to which study an object belongs."""
        database = connection.within(who.scope)
        told(lambda: assign_study(database, sop_instance_uid, study_instance_uid.strip()))
        return RedirectResponse("/quarantine", status_code=303)
