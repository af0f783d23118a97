"""Annotation: what readers say of findings, what they are asked next, how well they agree, and what leaves."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from dicomnlp.analyse import expand_concept
from dicomnlp.audit.events import Kind
from dicomnlp.errors import UsageError
from dicomnlp.export.annotations import MAXIMUM_PAGE, read_agreement, read_disagreements, records
from dicomnlp.serve import annotation_schemas as bodies
from dicomnlp.serve import schemas
from dicomnlp.serve.access import ForOperators, ForReaders, audited
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.follow_up import told
from dicomnlp.serve.parameters import SOPInstanceUID, check_query, require_json
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store import annotations
from dicomnlp.store.annotation_queue import MAXIMUM_ITEMS, UNLISTED, read_queue
from dicomnlp.store.annotation_records import Annotation, Reading
from dicomnlp.store.annotation_rows import progress

_ROOT = "/api/v1/annotations"
_OF_REPORT = f"{_ROOT}/reports/{{sop_instance_uid}}"
_LISTING = schemas.refused("unknown_parameter", "repeated_parameter", "invalid_parameter", *schemas.DATABASE_PROBLEMS)
_READING = schemas.refused("not_found", "malformed_uid", "unknown_parameter", "bad_request", *schemas.DATABASE_PROBLEMS)
_WRITING = schemas.refused(
    "not_found",
    "malformed_uid",
    "unknown_parameter",
    "unsupported_media_type",
    "bad_request",
    "invalid_parameter",
    *schemas.DATABASE_PROBLEMS,
)
_JSON = [Depends(check_query), Depends(require_json)]


def checked_concept(concept: str | None) -> str | None:
    """The id of a concept as it came, if a language pack knows it.

    Raises
    ------
    ProblemError
        bad_request: none does; the detail suggests one.
    """
    if concept is not None and concept != UNLISTED:
        try:
            expand_concept(concept)
        except UsageError as error:
            raise ProblemError("bad_request", f"{error}.") from None
    return concept


def register(app: FastAPI, connection: Connection) -> None:
    """Add the routes of this module to `app`."""
    _register_lists(app, connection)
    _register_reports(app, connection)
    _register_marks(app, connection)


def _register_lists(app: FastAPI, connection: Connection) -> None:
    @app.get(
        f"{_ROOT}/queue",
        tags=["annotation"],
        summary="What to annotate next",
        response_model=bodies.Queue,
        responses={**schemas.answered("The queue.", bodies.QUEUE_EXAMPLE), **_LISTING},
        dependencies=[Depends(check_query)],
    )
    def queue(
        request: Request,
        principal: ForReaders,
        limit: Annotated[int, Query(ge=1, le=MAXIMUM_ITEMS, description="How many at most.", examples=[20])] = 20,
    ) -> Response:
        """Reports whose annotation teaches most, each with why; never one that the asker has marked as read."""
        items = read_queue(connection.within(principal.scope), principal.name, limit)
        audited(request, count=len(items))
        return JSONResponse({"queue": [item.to_json() for item in items]})

    @app.get(
        f"{_ROOT}/progress",
        tags=["annotation"],
        summary="What each reader has annotated",
        response_model=bodies.Readers,
        responses={**schemas.answered("By reader.", bodies.PROGRESS_EXAMPLE), **_LISTING},
        dependencies=[Depends(check_query)],
    )
    def done(principal: ForReaders) -> Response:
        """Reports marked as read, first or second of its readers, and annotations by verdict."""
        return JSONResponse({"readers": [p.to_json() for p in progress(connection.within(principal.scope))]})

    @app.get(
        f"{_ROOT}/agreement",
        tags=["annotation"],
        summary="How well readers agree",
        response_model=bodies.Pairs,
        responses={**schemas.answered("Each two readers.", bodies.AGREEMENT_EXAMPLE), **_LISTING},
        dependencies=[Depends(check_query)],
    )
    def agreement(principal: ForReaders) -> Response:
        """Over reports that both have marked as read: Cohen's kappa of assertions with its interval, F1 of findings."""
        return JSONResponse({"pairs": [p.to_json() for p in read_agreement(connection.within(principal.scope))]})

    @app.get(
        f"{_ROOT}/disagreements",
        tags=["annotation"],
        summary="Where readers say different things",
        response_model=bodies.Disagreements,
        responses={
            **schemas.answered("A page.", bodies.DISAGREEMENTS_EXAMPLE),
            **_LISTING,
            **schemas.refused("bad_request", "unknown_parameter", "repeated_parameter"),
        },
        dependencies=[Depends(check_query)],
    )
    def disagreements(
        request: Request,
        principal: ForReaders,
        after: Annotated[
            str | None,
            Query(
                max_length=200,
                description="`next` of the page before; without it the first page is answered.",
                examples=["NDExOjI"],
            ),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=MAXIMUM_PAGE, description="How many at most.", examples=[100])] = 100,
    ) -> Response:
        """Of reports that two readers have marked as read, save those that the asker reads; decided ones too."""
        database = connection.within(principal.scope)
        page = told(lambda: read_disagreements(database, principal.name, limit=limit, after=after))
        audited(request, count=len(page.disagreements))
        return JSONResponse({"disagreements": [d.to_json() for d in page.disagreements], "next": page.next})

    @app.get(
        f"{_ROOT}/export",
        tags=["annotation"],
        summary="Annotated reports, to train and evaluate with",
        response_class=Response,
        responses={
            **schemas.answered("One line a report.", bodies.EXPORT_EXAMPLE, "application/x-ndjson"),
            **_LISTING,
        },
        dependencies=[Depends(check_query)],
    )
    def export(request: Request, principal: ForOperators) -> Response:
        """Annotated reports in the annotation format, with their text: what was decided, or what most readers say."""
        audited(request, Kind.EXPORT)
        found = records(connection.within(principal.scope))
        # asked before the answer begins: what fails is then a problem, not half an answer
        first = next(found, None)
        headers = {"Content-Disposition": 'attachment; filename="annotations.jsonl"', "Cache-Control": "no-store"}
        return StreamingResponse(_lines(first, found), media_type="application/x-ndjson", headers=headers)


def _lines(first: dict[str, Any] | None, others: Iterator[dict[str, Any]]) -> Iterator[str]:
    if first is not None:
        yield json.dumps(first, ensure_ascii=False) + "\n"
    for record in others:
        yield json.dumps(record, ensure_ascii=False) + "\n"


def _register_reports(app: FastAPI, connection: Connection) -> None:
    @app.get(
        _OF_REPORT,
        tags=["annotation"],
        summary="A report as its reader sees it",
        response_model=bodies.ReadingBody,
        responses={**schemas.answered("The report.", bodies.READING_EXAMPLE), **_READING},
        dependencies=[Depends(check_query)],
    )
    def read(request: Request, principal: ForReaders, sop_instance_uid: SOPInstanceUID) -> Response:
        """Its text and findings, and what the asker said; what others said once the asker has marked it as read."""
        database = connection.within(principal.scope)
        return _reading(request, told(lambda: annotations.read_reading(database, sop_instance_uid, principal.name)))

    @app.post(
        f"{_OF_REPORT}/done",
        tags=["annotation"],
        summary="Mark a report as read",
        response_model=bodies.ReadingBody,
        responses={**schemas.answered("The report.", bodies.READING_EXAMPLE), **_WRITING},
        dependencies=_JSON,
    )
    def done(request: Request, principal: ForReaders, sop_instance_uid: SOPInstanceUID) -> Response:
        """From now on others' answers are shown, and one's own stay; undecided findings weren't looked at."""
        database = connection.within(principal.scope)
        return _reading(request, told(lambda: annotations.mark_done(database, sop_instance_uid, principal.name)))

    @app.post(
        f"{_OF_REPORT}/reopen",
        tags=["annotation"],
        summary="Take the mark back",
        response_model=bodies.ReadingBody,
        responses={**schemas.answered("The report.", bodies.READING_EXAMPLE), **_WRITING},
        dependencies=_JSON,
    )
    def reopen(request: Request, principal: ForReaders, sop_instance_uid: SOPInstanceUID) -> Response:
        """The report isn't marked as read any more; refused once another reader has annotated it."""
        database = connection.within(principal.scope)
        return _reading(request, told(lambda: annotations.reopen(database, sop_instance_uid, principal.name)))


def _register_marks(app: FastAPI, connection: Connection) -> None:
    @app.post(
        _OF_REPORT,
        tags=["annotation"],
        summary="Annotate a place",
        response_model=bodies.AnnotationBody,
        responses={**schemas.answered("As it is kept.", bodies.ANNOTATION_EXAMPLE), **_WRITING},
        dependencies=_JSON,
    )
    def annotate(
        request: Request, principal: ForReaders, sop_instance_uid: SOPInstanceUID, body: Annotated[bodies.Said, Body()]
    ) -> Response:
        """Confirm, reject or relabel a finding, or add one; it replaces what the asker said of the place before."""
        checked_concept(body.concept)
        database, mark = connection.within(principal.scope), body.mark()
        kept = told(
            lambda: annotations.annotate(database, sop_instance_uid, principal.name, mark, text_sha256=body.text_sha256)
        )
        return _annotation(request, kept)

    @app.post(
        f"{_OF_REPORT}/confirm-rest",
        tags=["annotation"],
        summary="Confirm all findings that aren't judged",
        response_model=bodies.Confirmed,
        responses={**schemas.answered("How many.", {"confirmed": 4}), **_WRITING},
        dependencies=_JSON,
    )
    def confirm_rest(
        request: Request,
        principal: ForReaders,
        sop_instance_uid: SOPInstanceUID,
        body: Annotated[bodies.OfText, Body()],
    ) -> Response:
        """Each finding that the asker hasn't judged is confirmed by an annotation of its own."""
        database = connection.within(principal.scope)
        count = told(
            lambda: annotations.confirm_rest(database, sop_instance_uid, principal.name, text_sha256=body.text_sha256)
        )
        audited(request, count=count)
        return JSONResponse({"confirmed": count})

    @app.post(
        f"{_OF_REPORT}/undo",
        tags=["annotation"],
        summary="Take an annotation back",
        response_model=bodies.AnnotationBody,
        responses={**schemas.answered("What was taken back.", bodies.ANNOTATION_EXAMPLE), **_WRITING},
        dependencies=_JSON,
    )
    def undo(
        request: Request,
        principal: ForReaders,
        sop_instance_uid: SOPInstanceUID,
        body: Annotated[bodies.Undoing, Body()],
    ) -> Response:
        """The asker's last annotation of the report, or a certain one; what was said before it counts again."""
        database = connection.within(principal.scope)
        return _annotation(request, told(lambda: annotations.undo(database, sop_instance_uid, principal.name, body.id)))

    @app.post(
        f"{_OF_REPORT}/adjudicate",
        tags=["annotation"],
        summary="Decide between readers",
        response_model=bodies.AnnotationBody,
        responses={**schemas.answered("As it is kept.", bodies.ANNOTATION_EXAMPLE), **_WRITING},
        dependencies=_JSON,
    )
    def adjudicate(
        request: Request, principal: ForReaders, sop_instance_uid: SOPInstanceUID, body: Annotated[bodies.Said, Body()]
    ) -> Response:
        """Say what is at a place, once two readers are done; by a third reader, or an operator. The newest counts."""
        checked_concept(body.concept)
        database, mark = connection.within(principal.scope), body.mark()
        kept = told(
            lambda: annotations.adjudicate(
                database,
                sop_instance_uid,
                principal.name,
                mark,
                is_operator=principal.changes_what_others_keep,
                text_sha256=body.text_sha256,
            )
        )
        return _annotation(request, kept)


def _reading(request: Request, reading: Reading) -> Response:
    audited(request, study_instance_uid=reading.report.study_instance_uid)
    return JSONResponse(reading.to_json())


def _annotation(request: Request, kept: Annotation) -> Response:
    audited(request, study_instance_uid=kept.study_instance_uid, query=[("verdict", kept.verdict.value)], count=1)
    return JSONResponse(kept.to_json())
