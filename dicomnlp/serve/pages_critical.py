"""The worklist of critical results, and what others were told, as pages."""

import datetime as dt
from typing import Annotated

from fastapi import Depends, FastAPI, Form, Request, Response
from fastapi.responses import RedirectResponse

from dicomnlp.errors import UsageError
from dicomnlp.export.critical_results import CriticalState, critical_result, critical_results
from dicomnlp.serve.access import Principal, Role, audited, require
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.follow_up import checked_note
from dicomnlp.serve.interface_language import Catalogue
from dicomnlp.serve.naming import Names
from dicomnlp.serve.page_parameters import Values, a_day, asked, one_of, told
from dicomnlp.serve.parameters import SOPInstanceUID
from dicomnlp.serve.problems import ProblemError
from dicomnlp.serve.rendering import render, words_of
from dicomnlp.store.critical import MAXIMUM_WORDS, CriticalFilters, acknowledge, undo_acknowledgement
from dicomnlp.store.deliveries import DeliveryState, count_deliveries, list_deliveries, retry_deliveries

_PAGE = 50
_ALL = "all"
_FILTERS = ("state", "category", "from", "to", "after")

Reader = Annotated[Principal, Depends(require(Role.READER))]
Operator = Annotated[Principal, Depends(require(Role.OPERATOR))]


def register(app: FastAPI, connection: Connection) -> None:
    """Add the routes of this module to `app`."""

    @app.get("/critical-results", include_in_schema=False)
    def worklist(request: Request, who: Reader) -> Response:
        """What somebody must be told, the newest study first; what nobody is known to have been told unless asked."""
        values = asked(request, _FILTERS)
        wrong, page = None, None
        shown = values.get("state", CriticalState.OPEN.value)
        database = connection.within(who.scope)
        state = None if shown == _ALL else one_of(CriticalState, {"state": shown}, "state")
        try:
            page = critical_results(
                database,
                CriticalFilters(a_day(values, "from"), a_day(values, "to")),
                category=_category(values),
                state=state,
                after=values.get("after"),
                limit=_PAGE,
            )
        except UsageError as error:
            wrong = str(error)
        audited(request, count=len(page.results) if page else 0)
        words, now = words_of(request), dt.datetime.now(dt.UTC)
        return render(
            request,
            "critical.html",
            status_code=422 if wrong else 200,
            principal=who,
            names=Names(words),
            values=Values({**values, "state": shown}),
            wrong=wrong,
            page=page,
            states=[s.value for s in CriticalState],
            all_states=_ALL,
            age=lambda result: age_text(result.age(now), words),
            maximum_words=MAXIMUM_WORDS,
        )

    @app.post("/critical-results/{sop_instance_uid}/acknowledge", include_in_schema=False)
    def confirm(
        request: Request,
        who: Reader,
        sop_instance_uid: SOPInstanceUID,
        recipient: Annotated[str, Form()] = "",
        note: Annotated[str, Form()] = "",
    ) -> Response:
        """Answer for a result."""
        database = connection.within(who.scope)
        result = critical_result(database, sop_instance_uid)
        told(
            lambda: acknowledge(
                database,
                sop_instance_uid,
                result.concepts,
                by=who.name,
                recipient=checked_note(recipient),
                note=checked_note(note),
            )
        )
        audited(request, study_instance_uid=result.report.study_instance_uid, count=len(result.concepts))
        return RedirectResponse("/critical-results", status_code=303)

    @app.post("/critical-results/{sop_instance_uid}/reopen", include_in_schema=False)
    def reopen(request: Request, who: Reader, sop_instance_uid: SOPInstanceUID) -> Response:
        """Take an acknowledgement back."""
        database = connection.within(who.scope)
        study = critical_result(database, sop_instance_uid).report.study_instance_uid
        count = undo_acknowledgement(database, sop_instance_uid, by=who.name)
        audited(request, study_instance_uid=study, count=count)
        return RedirectResponse("/critical-results", status_code=303)

    @app.get("/deliveries", include_in_schema=False)
    def deliveries(request: Request, who: Operator) -> Response:
        """What others were told, the latest first; dead ones can be tried again."""
        values = asked(request, ("state", "after"))
        database = connection.within(who.scope)
        state = one_of(DeliveryState, values, "state")
        page = told(lambda: list_deliveries(database, state=state, after=values.get("after"), limit=_PAGE))
        audited(request, count=len(page.deliveries))
        return render(
            request,
            "deliveries.html",
            principal=who,
            names=Names(words_of(request)),
            values=values,
            page=page,
            counts=count_deliveries(database),
        )

    @app.post("/deliveries/retry", include_in_schema=False)
    def retry(request: Request, who: Operator) -> Response:
        """Have all dead ones tried again."""
        audited(request, count=retry_deliveries(connection.within(who.scope)))
        return RedirectResponse("/deliveries", status_code=303)


def _category(values: dict[str, str]) -> int | None:
    given = values.get("category")
    if given is None:
        return None
    if given not in {"1", "2", "3"}:
        raise ProblemError("invalid_parameter", "category is 1, 2 or 3.")
    return int(given)


def age_text(age: dt.timedelta, words: Catalogue) -> str:
    """How long ago, in the largest unit that it has."""
    minutes = int(age.total_seconds()) // 60
    for unit, size in (("days", 1440), ("hours", 60)):
        if minutes >= size:
            return str(words(f"critical_age.{unit}", count=minutes // size))
    return str(words("critical_age.minutes", count=minutes))
