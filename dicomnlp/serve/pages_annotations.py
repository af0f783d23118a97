"""Pages about annotation: what is asked for next and why, how far readers are, and where they disagree."""

from typing import Annotated

from fastapi import Depends, FastAPI, Form, Request, Response
from fastapi.responses import RedirectResponse

from dicomnlp.errors import UsageError
from dicomnlp.export.annotations import Disagreement, read_agreement, read_disagreements
from dicomnlp.model import Assertion, Laterality
from dicomnlp.serve.access import Principal, Role, audited, require
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.naming import Names
from dicomnlp.serve.page_parameters import asked
from dicomnlp.serve.pages_annotate import Place, address_of, concept_called, side_called
from dicomnlp.serve.pages_search import snippet
from dicomnlp.serve.problems import ProblemError
from dicomnlp.serve.rendering import render, words_of
from dicomnlp.store.annotation_queue import read_queue
from dicomnlp.store.annotation_records import Answer, Mark, Verdict
from dicomnlp.store.annotation_rows import progress
from dicomnlp.store.annotations import adjudicate
from dicomnlp.store.database import Database

_SHOWN = 20
"""Reports of the queue."""
_PAGE = 50
_REJECT = "reject"

Reader = Annotated[Principal, Depends(require(Role.READER))]


def register(app: FastAPI, connection: Connection) -> None:
    """Add the routes of this module to `app`."""

    @app.get("/annotations", include_in_schema=False)
    def annotations(request: Request, who: Reader) -> Response:
        """The next reports of the reader's queue, and how far everybody is."""
        asked(request, ())
        database = connection.within(who.scope)
        queue = read_queue(database, who.name, _SHOWN)
        audited(request, count=len(queue))
        return render(
            request,
            "annotations.html",
            principal=who,
            names=Names(words_of(request)),
            queue=queue,
            progress=progress(database),
            verdicts=list(Verdict),
            address_of=address_of,
        )

    @app.get("/annotations/agreement", include_in_schema=False)
    def agreement(request: Request, who: Reader) -> Response:
        """How far two readers of the same reports agree, and each place where they don't."""
        return _agreement(request, who, connection.within(who.scope))

    @app.post("/annotations/agreement/adjudicate", include_in_schema=False)
    def settle(
        request: Request,
        who: Reader,
        place: Place,
        sop_instance_uid: Annotated[str, Form(max_length=64)],
        decision: Annotated[str, Form(pattern="^(label|reject)$")],
        concept: Annotated[str, Form(max_length=200)] = "",
        assertion: Annotated[Assertion, Form()] = Assertion.PRESENT,
        laterality: Annotated[str, Form()] = "none",
    ) -> Response:
        """Settle a disagreement: there is no finding, or one with this label, which may be one of the answers."""
        database = connection.within(who.scope)
        try:
            mark = Mark(Verdict.REJECT, *place.key)
            if decision != _REJECT:
                # what is found there by that very name needn't be in today's lexicon
                meant = concept if concept and concept == place.key[2] else concept_called(concept, words_of(request))
                side = side_called(laterality)
                mark = Mark(Verdict.RELABEL, *place.key, concept=meant, assertion=assertion, laterality=side)
            is_operator = who.role in {Role.OPERATOR, Role.ADMIN}
            made = adjudicate(database, sop_instance_uid, who.name, mark, is_operator=is_operator)
        except UsageError as error:
            return _agreement(request, who, database, wrong=f"{error}.")
        audited(request, study_instance_uid=made.study_instance_uid, count=1)
        row = "-".join(map(str, (sop_instance_uid, *place.key)))
        return RedirectResponse(f"/annotations/agreement#{row}", status_code=303)


def _agreement(request: Request, who: Principal, database: Database, *, wrong: str = "") -> Response:
    values = asked(request, ("after",))
    try:
        page = read_disagreements(database, who.name, limit=_PAGE, after=values.get("after"))
    except UsageError as error:
        raise ProblemError("invalid_parameter", f"{error}.") from None
    audited(request, count=len(page.disagreements))
    return render(
        request,
        "annotation_agreement.html",
        status_code=422 if wrong else 200,
        principal=who,
        names=Names(words_of(request)),
        values=values,
        wrong=wrong,
        pairs=read_agreement(database),
        found=page.disagreements,
        next=page.next,
        assertions=list(Assertion),
        lateralities=list(Laterality),
        snippet=snippet,
        labels_of=_labels,
        address_of=address_of,
    )


def _labels(disagreement: Disagreement) -> list[Answer]:
    """What readers say is there, each label once."""
    return list(dict.fromkeys(a.answer for a in disagreement.answers if a.assertion is not None))
