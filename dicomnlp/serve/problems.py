"""RFC 9457 problem documents: the one form of every error that leaves over HTTP.

A document never repeats what the client sent, because that may be a name or a script, nor what a library said.
It says what was wrong, by a stable reason code, and what to do. The one exception is a UID: digits and dots.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from dicomnlp.errors import DatabaseError, NotFoundError
from dicomnlp.model import is_uid

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
"""What a client is asked to wait while the database can't be used."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of problem: `title` is the same each time, `advice` is the detail when there is nothing more exact."""

    status: HTTPStatus
    title: str
    advice: str


KINDS: dict[str, Kind] = {
    "not_found": Kind(
        HTTPStatus.NOT_FOUND,
        "Nothing is held under this identifier",
        "Check the UID, and with `dicomnlp failures` or GET /api/v1/status whether the object came in.",
    ),
    "not_authenticated": Kind(
        HTTPStatus.UNAUTHORIZED,
        "Who asks is not known",
        "Send an API key as `Authorization: Bearer KEY`, or log in at /login. Keys are made by `dicomnlp keys add`; "
        "one that has expired or was revoked is not taken.",
    ),
    "not_allowed": Kind(
        HTTPStatus.FORBIDDEN,
        "Who asks may not do this",
        "It takes another role; `dicomnlp keys list` tells that of a key.",
    ),
    "foreign_origin": Kind(
        HTTPStatus.FORBIDDEN,
        "The request comes from another site's page, or without the form's token",
        "Load the page again and send its form from there. Programs use an API key and send no Origin.",
    ),
    "too_many_failures": Kind(
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many wrong keys came from this address",
        "Wait as long as Retry-After says; until then no key is looked at.",
    ),
    "malformed_uid": Kind(
        HTTPStatus.NOT_FOUND,
        "The identifier is not a DICOM UID",
        "A UID is digits and dots, at most 64 characters, no part with a leading zero (PS3.5 9.1).",
    ),
    "no_such_path": Kind(HTTPStatus.NOT_FOUND, "Nothing is served at this path", "GET /docs lists what is."),
    "method_not_allowed": Kind(
        HTTPStatus.METHOD_NOT_ALLOWED, "The path does not take this method", "The Allow header names those it takes."
    ),
    "unknown_parameter": Kind(
        HTTPStatus.BAD_REQUEST,
        "A query parameter is not known",
        "A misspelt filter would otherwise be without effect.",
    ),
    "repeated_parameter": Kind(
        HTTPStatus.BAD_REQUEST, "A query parameter is given more than once", "Give each parameter once."
    ),
    "invalid_parameter": Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "A parameter has a wrong value", "`errors` names each parameter."
    ),
    "bad_request": Kind(HTTPStatus.BAD_REQUEST, "The request can't be answered", "GET /docs tells what is taken."),
    "gate_not_asked": Kind(
        HTTPStatus.CONFLICT,
        "The gate stands before this promotion",
        "learn.gold names annotated reports, on which the pipeline has to show itself: promote it with "
        "`dicomnlp pipelines promote`.",
    ),
    "length_required": Kind(
        HTTPStatus.LENGTH_REQUIRED, "A body of unknown length", "Send Content-Length, or no body at all."
    ),
    "body_too_large": Kind(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large", "Bodies of this interface are small."
    ),
    "unsupported_media_type": Kind(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is not JSON", "Send it with Content-Type: application/json."
    ),
    "unsupported_content_coding": Kind(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body is compressed",
        "Send it as it is, without Content-Encoding: what a compressed body grows to can't be known beforehand.",
    ),
    "not_acceptable": Kind(
        HTTPStatus.NOT_ACCEPTABLE, "Not in any form that the Accept header names", "Ask with Accept: */*."
    ),
    "too_many_requests": Kind(
        HTTPStatus.TOO_MANY_REQUESTS,
        "More requests than are answered in this time",
        "Wait as long as Retry-After says; web.maximum_requests_per_minute is the bound.",
    ),
    "malformed_request": Kind(
        HTTPStatus.BAD_REQUEST, "The message is not HTTP", "Send a request of HTTP/1.1 (RFC 9112)."
    ),
    "header_too_large": Kind(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The head of the request is too large",
        "Send a shorter address, and fewer or shorter header fields.",
    ),
    "host_not_served": Kind(
        HTTPStatus.MISDIRECTED_REQUEST,
        "The Host header names another machine",
        "This service listens on loopback, so it is asked as 127.0.0.1 or localhost; a proxy before it has to send "
        "that Host. It keeps web pages of strangers from reading through a browser on this machine.",
    ),
    "internal_error": Kind(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The service failed",
        "The log has an event request_failed with the place in the source.",
    ),
    "not_ready": Kind(HTTPStatus.SERVICE_UNAVAILABLE, "The service is not ready", "`missing` says what is missing."),
    "database_failed": Kind(
        HTTPStatus.SERVICE_UNAVAILABLE, "The database failed", "Try again; `dicomnlp check` says more."
    ),
    "database_missing": Kind(
        HTTPStatus.SERVICE_UNAVAILABLE, "The database does not exist", "Make it with `dicomnlp db upgrade`."
    ),
    "database_outdated": Kind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database's schema is older than this program",
        "Bring it up with `dicomnlp db upgrade`.",
    ),
    "database_too_new": Kind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database's schema is newer than this program",
        "Run the program's version that made it, or a newer one.",
    ),
    "database_unreachable": Kind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database can't be reached",
        "Check that it runs and that database.url is right; requests are answered again as soon as it is back.",
    ),
    "database_locked": Kind(
        HTTPStatus.SERVICE_UNAVAILABLE, "The database is locked by another process", "Try again in a moment."
    ),
}
"""Every problem there is, by its reason code; /docs lists them."""


def problem(
    reason_code: str, detail: str | None = None, *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """A problem document (RFC 9457) of kind `reason_code`.

    Parameters
    ----------
    reason_code
        A key of `KINDS`; it gives the status and the title.
    detail
        More exact than the kind's advice; must hold nothing that the client sent, well-formed UIDs excepted.
    headers
        Of the response, beside those that follow from the status.
    members
        Extension members (RFC 9457 3.2).
    """
    kind = KINDS[reason_code]
    document = {
        "type": f"/docs#{reason_code}",
        "title": kind.title,
        "status": kind.status.value,
        "detail": detail or kind.advice,
        "reason_code": reason_code,
        **members,
    }
    own = {"Retry-After": str(RETRY_AFTER_SECONDS)} if kind.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Response(
        json.dumps(document, ensure_ascii=False),
        status_code=kind.status.value,
        media_type=MEDIA_TYPE,
        headers={**own, **(headers or {})},
    )


class ProblemError(Exception):
    """Ends a request with the problem of kind `reason_code`; `detail` and `headers` as in `problem`."""

    def __init__(
        self, reason_code: str, detail: str | None = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason_code)
        self.reason_code = reason_code
        self.detail = detail
        self.headers = headers


def database_reason(error: DatabaseError) -> str:
    """The kind of problem that `error` is: its own reason code if that is one, else database_failed."""
    return error.reason_code if error.reason_code in KINDS else "database_failed"


def _of_problem_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return problem(error.reason_code, error.detail, headers=error.headers)


def _of_database_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DatabaseError)
    return problem(database_reason(error))


def _of_not_found_error(request: Request, _error: Exception) -> Response:
    asked_for = [uid for uid in request.path_params.values() if is_uid(uid)]
    detail = f"Nothing is held under {asked_for[0]}. {KINDS['not_found'].advice}" if asked_for else None
    return problem("not_found", detail)


def _of_http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    allowed = (error.headers or {}).get("Allow")
    allow = {"Allow": f"{allowed}, HEAD" if allowed == "GET" else allowed} if allowed else {}
    reason_codes = {404: "no_such_path", 405: "method_not_allowed", 413: "body_too_large"}
    reason_code = reason_codes.get(error.status_code, "internal_error" if error.status_code >= 500 else "bad_request")
    return problem(reason_code, headers=allow)


def _of_validation_error(_request: Request, error: Exception) -> Response:
    """Only the declared name of a parameter and what it should be; never what was given."""
    assert isinstance(error, RequestValidationError)
    # names within a body are the client's
    errors = [
        {"in": e["loc"][0], "parameter": "body" if e["loc"][0] == "body" else str(e["loc"][-1]), "detail": e["msg"]}
        for e in error.errors()
    ]
    return problem("invalid_parameter", errors=errors)


def install(app: FastAPI) -> None:
    """Make every error of `app` that is foreseen a problem document; the gate does so for the unforeseen."""
    app.add_exception_handler(ProblemError, _of_problem_error)
    app.add_exception_handler(DatabaseError, _of_database_error)
    app.add_exception_handler(NotFoundError, _of_not_found_error)
    app.add_exception_handler(HTTPException, _of_http_exception)
    app.add_exception_handler(RequestValidationError, _of_validation_error)
