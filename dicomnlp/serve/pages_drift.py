"""The page about drift: what moved, with reports that show it, weeks as plots and as a table, and acknowledging."""

import datetime as dt
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Form, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from dicomnlp.serve.access import Principal, Role, audited, require
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.drift import everything, weeks_with_shares
from dicomnlp.serve.naming import Names
from dicomnlp.serve.page_parameters import asked
from dicomnlp.serve.rendering import render, words_of
from dicomnlp.store.database import Database
from dicomnlp.store.drift import DriftWeek, acknowledge_drift, read_weeks

WEEKS = 53
SHARES = ("assertion.absent", "assertion.present", "words.unknown")
STABILITY = ("assertion", "section")

Reader = Annotated[Principal, Depends(require(Role.READER))]
Operator = Annotated[Principal, Depends(require(Role.OPERATOR))]


def _language(database: Database, wanted: str | None) -> tuple[str, list[str]]:
    """The language that is shown, and all that there are: that with most reports lately first."""
    latest = sorted(read_weeks(database, limit=1), key=lambda w: (-w.reports, w.language))
    languages = [week.language for week in latest]
    return (wanted if wanted in languages else next(iter(languages), "")), languages


def register(app: FastAPI, connection: Connection) -> None:
    """Add the routes of this module to `app`."""

    @app.get("/drift", include_in_schema=False)
    def drift(request: Request, who: Reader) -> Response:
        """The weeks of one language."""
        values = asked(request, ("language",))
        database = everything(connection, who)
        language, languages = _language(database, values.get("language"))
        weeks = weeks_with_shares(database, language, WEEKS) if language else []
        audited(request, count=len(weeks))
        return render(
            request,
            "drift.html",
            principal=who,
            names=Names(words_of(request)),
            shown=language,
            languages_counted=languages,
            weeks=weeks,
            told=[week for week, _ in weeks if week.state in {"alarm", "acknowledged"}],
            operates=who.role in {Role.OPERATOR, Role.ADMIN},
            share_columns=SHARES,
            stability_columns=STABILITY,
        )

    @app.get("/drift/plots", include_in_schema=False)
    def plots(request: Request, who: Reader) -> Response:
        """What the plots show: a list a column, the weeks in seconds since 1970, shares in percent."""
        values = asked(request, ("language",))
        database = everything(connection, who)
        language, _ = _language(database, values.get("language"))
        weeks = list(reversed(weeks_with_shares(database, language, WEEKS))) if language else []
        return JSONResponse(
            {
                "start": [_seconds(week) for week, _ in weeks],
                "reports": [week.reports for week, _ in weeks],
                **{name: [_percent(shares.get(name)) for _, shares in weeks] for name in SHARES},
                **{name: [week.instability.get(name) for week, _ in weeks] for name in STABILITY},
            }
        )

    @app.post("/drift/acknowledgements", include_in_schema=False)
    def acknowledge(
        request: Request,
        who: Operator,
        language: Annotated[str, Form(max_length=8)],
        week: Annotated[str, Form(max_length=10)],
    ) -> Response:
        """Note that somebody has seen an alarm."""
        audited(request, query=[("language", language), ("week", week)])
        acknowledge_drift(everything(connection, who), language, week, who.name)
        return RedirectResponse(f"/drift?{urlencode({'language': language})}", status_code=303)


def _seconds(week: DriftWeek) -> float:
    return dt.datetime.fromisoformat(week.week).replace(tzinfo=dt.UTC).timestamp()


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 2)
