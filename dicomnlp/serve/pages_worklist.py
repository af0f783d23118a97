"""The first page: the newest reports, how far each is, and what it states."""

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response

from dicomnlp.model import State
from dicomnlp.serve.access import Principal, Role, audited, require
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.naming import Names
from dicomnlp.serve.page_parameters import asked, one_of, told
from dicomnlp.serve.rendering import render, words_of
from dicomnlp.store.worklist import WorklistFilters, count_states, read_change, read_worklist

_NAMES = ("find", "state", "modality", "calling_ae_title", "critical", "after")
MODALITIES = ("CR", "CT", "DX", "MG", "MR", "NM", "PT", "RF", "US", "XA")
"""Of which the pages offer a choice; a search takes any."""
_SHOWN = 5
"""Findings of a report that the list names."""


def register(app: FastAPI, connection: Connection) -> None:
    """Add the routes of this module to `app`."""

    @app.get("/", include_in_schema=False)
    def worklist(
        request: Request, who: Annotated[Principal, Depends(require(Role.READER, Role.RESEARCHER))]
    ) -> Response:
        """The newest reports."""
        values = asked(request, _NAMES)
        filters = WorklistFilters(
            state=one_of(State, values, "state"),
            modality=values.get("modality"),
            calling_ae_title=values.get("calling_ae_title"),
            critical=values.get("critical") == "true",
            find=values.get("find"),
            patients=who.sees_identities,
        )
        database = connection.within(who.scope)
        # before the list: what comes in between is shown, and asked for once more than needed
        change = read_change(database)
        page = told(lambda: read_worklist(database, filters, after=values.get("after")))
        audited(request, count=len(page.reports))
        return render(
            request,
            "worklist.html",
            principal=who,
            names=Names(words_of(request)),
            values=values,
            filtered=bool(values.keys() - {"after"}),
            states=count_states(database),
            page=page,
            modalities=MODALITIES,
            shown=_SHOWN,
            change=change,
            live="after" not in values,
        )

    @app.get("/live", include_in_schema=False)
    def live(
        request: Request,
        who: Annotated[Principal, Depends(require(Role.READER, Role.RESEARCHER, is_audited=False))],
    ) -> Response:
        """Whether anything has changed since the worklist was shown: it is asked for again only then."""
        values = asked(request, ("since",))
        changed = read_change(connection.within(who.scope)) != values.get("since")
        return Response(status_code=204, headers={"HX-Trigger": "reports-changed"} if changed else {})
