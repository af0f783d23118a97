"""The pages about pipelines: which counts, what another says otherwise, and the buttons to promote and to go back."""

from typing import Annotated, get_args

from fastapi import Depends, FastAPI, Path, Request, Response
from fastapi.responses import RedirectResponse

from dicomnlp.config import Settings
from dicomnlp.serve.access import Principal, Role, audited, require
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.naming import Names
from dicomnlp.serve.page_parameters import asked
from dicomnlp.serve.pipelines import PATTERN, Kind, compared, go_back_by, names_by, pipelines_to_json, promote_by
from dicomnlp.serve.problems import ProblemError
from dicomnlp.serve.rendering import render, words_of
from dicomnlp.store.pipelines import CONFIGURED, read_active, read_pipelines, read_promotions, taken_back

_EXAMPLES = 3
_MORE_EXAMPLES = 50
"""When one concept is looked at."""

Reader = Annotated[Principal, Depends(require(Role.READER))]
Admin = Annotated[Principal, Depends(require(Role.ADMIN))]
Name = Annotated[str, Path(pattern=PATTERN)]


def register(app: FastAPI, settings: Settings, connection: Connection) -> None:
    """Add the routes of this module to `app`."""

    @app.get("/pipelines", include_in_schema=False)
    def pipelines(request: Request, who: Reader) -> Response:
        """What reports can be read by, which counts, and which counted when."""
        asked(request, ())
        database = connection.within(who.scope)
        going = taken_back(read_promotions(database))
        return render(
            request,
            "pipelines.html",
            principal=who,
            names=Names(words_of(request)),
            may_promote=who.role is Role.ADMIN and who.scope.is_everything,
            goes_back_to=None if going is None else going[1].pipeline if going[1] else CONFIGURED,
            **pipelines_to_json(settings, database),
        )

    @app.get("/pipelines/{name}", include_in_schema=False)
    def comparison(request: Request, who: Reader, name: Name) -> Response:
        """What a pipeline says otherwise than what counts, or than another (``against``)."""
        values = asked(request, ("against", "concept", "kind"))
        kind = values.get("kind")
        if kind not in {None, *get_args(Kind)}:
            raise ProblemError("invalid_parameter", f"kind is one of {', '.join(get_args(Kind))}.")
        database = connection.within(who.scope)
        concept = values.get("concept")
        found = compared(
            settings,
            database,
            name,
            values.get("against"),
            concept=concept,
            kind=kind,
            examples=_MORE_EXAMPLES if concept else _EXAMPLES,
        )
        audited(request, count=found.differing)
        return render(
            request,
            "pipeline.html",
            principal=who,
            names=Names(words_of(request)),
            values=values,
            name=name,
            called=names_by(settings, database, name),
            active=read_active(database).name,
            others=[p for p in (CONFIGURED, *(p.name for p in read_pipelines(database))) if p != name],
            found=found,
            kinds=get_args(Kind),
            may_promote=who.role is Role.ADMIN and who.scope.is_everything,
        )

    @app.post("/pipelines/{name}/promote", include_in_schema=False)
    def promote(request: Request, who: Admin, name: Name) -> Response:
        """Let a pipeline count."""
        promote_by(settings, connection, who, name)
        audited(request, query=[("pipeline", name)])
        return RedirectResponse("/pipelines", status_code=303)

    @app.post("/pipelines/rollback", include_in_schema=False)
    def go_back(request: Request, who: Admin) -> Response:
        """Go back from the last promotion."""
        promotion = go_back_by(settings, connection, who)
        audited(request, query=[("pipeline", promotion.pipeline)])
        return RedirectResponse("/pipelines", status_code=303)
