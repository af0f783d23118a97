"""The page about archives: days, what is wanting of each, and its fetching."""

import datetime as dt
from typing import Annotated

from fastapi import Depends, FastAPI, Form, Request, Response
from fastapi.responses import RedirectResponse

from dicomnlp.config import Settings
from dicomnlp.serve.access import Principal, Role, audited, require
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.naming import Names
from dicomnlp.serve.page_parameters import a_day, asked, one_of, told
from dicomnlp.serve.problems import ProblemError
from dicomnlp.serve.reconciliation import Number, days_of, everything, existing
from dicomnlp.serve.rendering import render, words_of
from dicomnlp.store.reconciliation import ComparisonState, FetchState, Gap, read_comparisons, read_wanting
from dicomnlp.store.reconciling import request_comparison, want_missing

_PAGE = 31
_OBJECTS = 200

Operator = Annotated[Principal, Depends(require(Role.OPERATOR))]


def register(app: FastAPI, settings: Settings, connection: Connection) -> None:
    """Add the routes of this module to `app`."""

    @app.get("/reconciliation", include_in_schema=False)
    def days(request: Request, who: Operator) -> Response:
        """Days of archives, the latest first."""
        values = asked(request, ("pacs", "from", "to", "after"))
        database = everything(connection, who)
        page = told(
            lambda: read_comparisons(
                database,
                pacs=values.get("pacs"),
                date_from=a_day(values, "from"),
                date_to=a_day(values, "to"),
                after=values.get("after"),
                limit=_PAGE,
            )
        )
        audited(request, count=len(page.comparisons))
        yesterday = dt.datetime.now().astimezone().date() - dt.timedelta(days=1)
        return render(
            request,
            "reconciliation.html",
            principal=who,
            names=Names(words_of(request)),
            values=values,
            filtered=bool(values.keys() - {"after"}),
            page=page,
            archives=[pacs.name for pacs in settings.pacs if pacs.ae_title or pacs.qido_url],
            yesterday=yesterday.isoformat(),
            busy=any(
                each.state is ComparisonState.REQUESTED or each.fetches.get(FetchState.WANTED)
                for each in page.comparisons
            ),
        )

    @app.post("/reconciliation", include_in_schema=False)
    def compare(
        who: Operator,
        pacs: Annotated[str, Form()],
        first: Annotated[str, Form()],
        last: Annotated[str, Form()] = "",
        fetch: Annotated[str, Form()] = "",
    ) -> Response:
        """Have days compared."""
        database = everything(connection, who)
        try:
            begin, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last or first)
        except ValueError:
            raise ProblemError("invalid_parameter", "Days are written YYYY-MM-DD.") from None
        for day in days_of(settings, pacs, begin, end):
            request_comparison(database, pacs, day, requested_by=who.name, fetches=bool(fetch))
        return RedirectResponse("/reconciliation", status_code=303)

    @app.get("/reconciliation/{number}", include_in_schema=False)
    def wanting(request: Request, who: Operator, number: Number) -> Response:
        """What is wanting of a day."""
        values = asked(request, ("kind", "after"))
        database, found = existing(connection, who, number)
        kind = one_of(Gap, values, "kind")
        page = told(lambda: read_wanting(database, number, kind=kind, after=values.get("after"), limit=_OBJECTS))
        audited(request, count=len(page.objects))
        return render(
            request,
            "reconciliation_day.html",
            principal=who,
            names=Names(words_of(request)),
            values=values,
            day=found,
            page=page,
            kinds=list(Gap),
            busy=found.state is ComparisonState.REQUESTED or bool(found.fetches.get(FetchState.WANTED)),
        )

    @app.post("/reconciliation/{number}/fetch", include_in_schema=False)
    def fetch_missing(who: Operator, number: Number) -> Response:
        """Have what is missing fetched."""
        database, _ = existing(connection, who, number)
        want_missing(database, number)
        return RedirectResponse(f"/reconciliation/{number}", status_code=303)
