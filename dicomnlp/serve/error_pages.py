"""Errors as pages: where a browser asked for a page, the problem is told in one; programs get their documents."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response

from dicomnlp.serve.problems import MEDIA_TYPE
from dicomnlp.serve.rendering import render, wants_page, words_of

_OF_PROGRAMS = ("/api/", "/fhir", "/dicom-web", "/healthz", "/readyz", "/metrics", "/openapi.json", "/static/")
"""Beginnings of paths whose answers are never pages."""

Handler = Callable[[Request, Exception], Response | Awaitable[Response]]


def install(app: FastAPI) -> None:
    """Let every problem of `app` that is foreseen so far also be told as a page."""
    for kind, handler in list(app.exception_handlers.items()):
        app.add_exception_handler(kind, _told_as_page(handler))


def _told_as_page(handler: Any) -> Handler:
    async def handle(request: Request, error: Exception) -> Response:
        response = handler(request, error)
        if isinstance(response, Awaitable):
            response = await response
        return page_of(request, response)

    return handle


def page_of(request: Request, response: Response) -> Response:
    """The problem document `response` as a page, if that is what was asked for; else itself."""
    if not wants_page(request) or request.url.path.startswith(_OF_PROGRAMS) or response.media_type != MEDIA_TYPE:
        return response
    told = json.loads(bytes(response.body))
    kept = {name: value for name, value in response.headers.items() if name in {"allow", "retry-after"}}
    title = words_of(request).words.get(f"problem.{told['reason_code']}") or told["title"]
    return render(request, "error.html", status_code=response.status_code, headers=kept, problem=told, title=title)
