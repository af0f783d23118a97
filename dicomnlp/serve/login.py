"""Logging in to the pages, by the site's provider or by an API key, and logging out."""

import hmac
from typing import Annotated, Any, Final

from fastapi import FastAPI, Form, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from dicomnlp.audit.events import Kind
from dicomnlp.config import Settings
from dicomnlp.serve.access import Audited, LoginNeededError, address_of
from dicomnlp.serve.access_control import AccessControl
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.login_oidc import CALLBACK, OIDC, LoginRefusedError
from dicomnlp.serve.page_parameters import asked
from dicomnlp.serve.problems import KINDS, ProblemError
from dicomnlp.serve.rendering import render
from dicomnlp.store import sessions
from dicomnlp.store.sessions import Session

STATE_COOKIE: Final = "dicomnlp_login"
"""Binds a login to the browser that began it. It has to be sent when the provider sends the browser back, so that it
can't be strict; it is good for that one way back."""
_MAXIMUM_PATH: Final = 2000


def register(app: FastAPI, settings: Settings, connection: Connection, access: AccessControl) -> None:
    """Add the routes of this module to `app`, and send browsers without a login to them."""
    provider = OIDC(settings) if settings.oidc.issuer else None

    def login_needed(_request: Request, error: Exception) -> Response:
        assert isinstance(error, LoginNeededError)
        return RedirectResponse(error.args[0], status_code=303)

    app.add_exception_handler(LoginNeededError, login_needed)

    def form(request: Request, next_path: str, reason: str = "", status_code: int = 200) -> Response:
        headers = {"Retry-After": "60"} if status_code == 429 else {}
        return render(
            request,
            "login.html",
            status_code=status_code,
            headers=headers,
            next=next_path,
            reason=reason,
            has_provider=provider is not None,
        )

    @app.get("/login", include_in_schema=False)
    async def login_page(request: Request) -> Response:
        """The form of a login."""
        values = asked(request, ["next"])
        if access.is_off:
            return RedirectResponse("/", status_code=303)
        return form(request, local_path(values["next"]))

    @app.post("/login", include_in_schema=False)
    async def login_by_key(
        request: Request,
        key: Annotated[str, Form(max_length=256)] = "",
        next: Annotated[str, Form(max_length=_MAXIMUM_PATH)] = "/",  # noqa: A002  the field's name
    ) -> Response:
        """Log in by an API key."""
        if access.is_off:
            return RedirectResponse("/", status_code=303)
        await access.check_form(request)
        try:
            held = await access.identify_key(key.strip(), request)
        except ProblemError as error:
            return form(request, local_path(next), error.reason_code, KINDS[error.reason_code].status.value)
        request.state.audited = Audited(Kind.LOGIN, "login by key", held.name, held.role, address_of(request))
        response = RedirectResponse(local_path(next), status_code=303)
        await access.open_session(response, Session(held.name, held.role, held.scope), held.id)
        return response

    @app.post("/logout", include_in_schema=False)
    async def logout(request: Request) -> Response:
        """End the session of this browser; also one that has ended already."""
        await access.check_form(request)
        found = await access.session_of(request)
        response = RedirectResponse("/login", status_code=303)
        if found is not None:
            request.state.audited = Audited(Kind.LOGIN, "logout", found.name, found.role, address_of(request))
        await access.close_session(request, response)
        return response

    if provider is not None:
        _register_provider(app, connection, access, provider, form)


def _register_provider(app: FastAPI, connection: Connection, access: AccessControl, provider: OIDC, form: Any) -> None:
    @app.get("/login/provider", include_in_schema=False)
    async def ask_provider(request: Request) -> Response:
        """Send the browser to the provider."""
        values = asked(request, ["next"])
        try:
            begun = await provider.begin(local_path(values["next"]))
        except LoginRefusedError as error:
            return refuse(request, error.args[0])
        await run_in_threadpool(lambda: sessions.begin_login(connection.get(), begun.state, begun.login))
        response = RedirectResponse(begun.address, status_code=303)
        response.set_cookie(
            STATE_COOKIE,
            begun.state,
            max_age=sessions.LOGIN_MINUTES * 60,
            path="/login",
            secure=access.is_secure,
            httponly=True,
            samesite="lax",
        )
        return response

    @app.get(CALLBACK, include_in_schema=False)
    async def come_back(request: Request) -> Response:
        """What the provider says of who logged in there."""
        code, state = (request.query_params.get(name, "")[:_MAXIMUM_PATH] for name in ("code", "state"))
        expected = request.cookies.get(STATE_COOKIE, "")
        if not state or not hmac.compare_digest(state.encode(), expected.encode()):
            return refuse(request, "state_unknown")
        login = await run_in_threadpool(lambda: sessions.take_login(connection.get(), state))
        if login is None:
            return refuse(request, "state_unknown")
        if not code:
            return refuse(request, "provider_refused")
        try:
            session = await provider.finish(code, login)
        except LoginRefusedError as error:
            return refuse(request, error.args[0])
        request.state.audited = Audited(
            Kind.LOGIN, "login by provider", session.name, session.role, address_of(request)
        )
        # a page and not a redirect: a strict cookie isn't sent along a way that began at another site
        response = render(request, "logged_in.html", next=login.next)
        await access.open_session(response, session)
        response.delete_cookie(STATE_COOKIE, path="/login")
        return response

    def refuse(request: Request, reason: str) -> Response:
        request.state.audited = Audited(Kind.LOGIN, f"login by provider: {reason}", "unknown", "", address_of(request))
        response: Response = form(request, "/", reason, 403)
        response.delete_cookie(STATE_COOKIE, path="/login")
        return response


def local_path(text: str) -> str:
    """`text` if it is a path of this service, else "/": a login must not lead to another site."""
    is_local = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text[:_MAXIMUM_PATH] if is_local else "/"
