"""What every request passes on its way in and every response on its way out, whatever route it is for.

In: limits, and the Host check. Out: the row of the audit trail, security headers, a line in the log, a count in the
metrics; an exception that nobody foresaw becomes a problem document.
"""

import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicomnlp.audit.trail import Recorder
from dicomnlp.config import is_loopback
from dicomnlp.errors import DatabaseError
from dicomnlp.logs import Event, describe, log
from dicomnlp.serve.dicomweb_results import ROOT
from dicomnlp.serve.dicomweb_store import MAXIMUM_STORE_BYTES
from dicomnlp.serve.problems import database_reason, problem

MAXIMUM_BODY_BYTES = 65536
"""Of all requests but those that store objects: few need a body, and a small one does no harm."""
STORE_PATH = f"{ROOT}/studies"
"""Where objects are stored, and below."""
UNMATCHED = "unmatched"
"""Stands for the route where a path matched none: what was asked for is the client's text and is not kept."""
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not no-referrer, by which browsers would say "null" for the origin of this service's own forms
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Observe = Callable[[str, int, float], None]
Tell = Callable[[Request, Response], Response]


def _host_of(header: str) -> str:
    """The host part of a Host header, without port and brackets; "" when it is none."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


class Gate:
    """ASGI middleware around the whole application.

    Parameters
    ----------
    app
        What is behind.
    only_loopback
        Answer only requests whose Host header names loopback. Without it a web page of a stranger could, by pointing
        its own name at 127.0.0.1, read findings through the browser of someone on this machine (DNS rebinding).
    observe
        Called once for each request with route template, status and seconds.
    recorder
        Of the audit trail: what a request says of itself (`access.audited`) is durable before its answer begins.
    tell
        Makes of a problem document what is answered where it was asked for: a page, an OperationOutcome, or itself.
    """

    def __init__(self, app: ASGIApp, *, only_loopback: bool, observe: Observe, recorder: Recorder, tell: Tell) -> None:
        self._app = app
        self._only_loopback = only_loopback
        self._observe = observe
        self._recorder = recorder
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # GET's handlers also answer HEAD (RFC 9110 9.3.2); the server leaves the body out by its own copy of the scope
        inner: Scope = {**scope, "method": "GET"} if scope["method"] == "HEAD" else dict(scope)
        state = inner.setdefault("state", {})
        body_comes = _stores_objects(scope)
        started = time.perf_counter()
        status = 0
        unrecorded: DatabaseError | None = None

        async def receive_on() -> Message:
            nonlocal body_comes
            message = await receive()
            body_comes = body_comes and message.get("more_body", False)
            return message

        async def send_on(message: Message) -> None:
            nonlocal status, unrecorded
            if unrecorded is not None:
                return  # nothing leaves that the trail doesn't know of
            if message["type"] == "http.response.start":
                about = state.pop("audited", None)
                if about is not None:
                    try:
                        await asyncio.wrap_future(self._recorder.submit(about.event(message["status"])))
                    except DatabaseError as error:
                        # a problem document holds nothing of anybody
                        if message["status"] < 400:
                            unrecorded = error
                            return
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = "max-age=31536000"
                if body_comes:
                    # answered before all of it was read, which may be a gigabyte: nobody wants the rest
                    headers["Connection"] = "close"
            await send(message)

        try:
            refusal = self._refuse(scope)
            await (refusal or self._app)(inner, receive_on, send_on)
            if unrecorded is not None:
                reason_code, unrecorded = database_reason(unrecorded), None
                await self._told(inner, reason_code)(inner, receive, send_on)
        except Exception as error:
            log(Event.REQUEST_FAILED, route=_route_of(inner), **describe(error))
            if status:  # too late for another answer: the connection must break, so that nobody takes half for whole
                raise
            await self._told(inner, "internal_error")(inner, receive, send_on)
        finally:
            seconds = time.perf_counter() - started
            self._observe(_route_of(inner), status, seconds)
            log(Event.REQUEST, route=_route_of(inner), status=status, seconds=round(seconds, 6))

    def _told(self, scope: Scope, reason_code: str) -> Response:
        told = problem(reason_code)
        try:
            return self._tell(Request(scope), told)
        except Exception as error:  # noqa: BLE001 - whatever failed before may fail here too: then the document it is
            log(Event.REQUEST_FAILED, route=_route_of(scope), **describe(error))
            return told

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._only_loopback and not is_loopback(_host_of(headers.get("host", ""))):
            return problem("host_not_served")
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            return problem("unsupported_content_coding", headers={"Accept-Encoding": "identity", "Connection": "close"})
        stores = _stores_objects(scope)
        if "transfer-encoding" in headers and not stores:
            return problem("length_required", headers={"Connection": "close"})
        # the server admits digits only
        if int(headers.get("content-length", "0")) > (MAXIMUM_STORE_BYTES if stores else MAXIMUM_BODY_BYTES):
            return problem("body_too_large", headers={"Connection": "close"})
        return None


def _stores_objects(scope: Scope) -> bool:
    """Whether a request is one whose body may be large: it is read as it comes in, and no more of it than is needed."""
    path: str = scope["path"]
    return scope["method"] == "POST" and (path == STORE_PATH or path.startswith(STORE_PATH + "/"))


def _route_of(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", UNMATCHED)
