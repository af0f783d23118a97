"""The one place that decides who a request is from; `access.require` asks it."""

import asyncio
import base64
import datetime as dt
import hmac
import math
import re
import secrets
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from dicomnlp.audit.events import AuditEvent, Kind, Outcome
from dicomnlp.audit.trail import Recorder
from dicomnlp.config import Settings
from dicomnlp.logs import Event, log
from dicomnlp.serve.access import LOCAL, Audited, LoginNeededError, Principal, Role, address_of
from dicomnlp.serve.access_lockout import WRONG_KEYS, LockOut
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store import sessions
from dicomnlp.store.keys import APIKey, find_key, hash_of

KEEP_SECONDS: Final = 1.0
"""A key that was looked up is known for so long: it goes on working that much after it was revoked."""
MAXIMUM_KNOWN: Final = 1000
SESSION_COOKIE: Final = "dicomnlp_session"
TOKEN_FIELD: Final = "csrf_token"  # noqa: S105  the name of a form's field
TOKEN_HEADER: Final = "x-csrf-token"  # noqa: S105  the name of a header
_MAXIMUM_SECRET: Final = 256
_FORMS: Final = {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
"""What a page of another site can send without asking first (fetch standard, CORS-safelisted content types)."""
_PUBLIC_PART: Final = re.compile(r"dnk_[0-9a-f]{12}(?=_)")
_SAFE: Final = {"GET", "HEAD", "OPTIONS"}
_FOR_PROGRAMS: Final = ("/api/", "/fhir", "/dicom-web", "/metrics", "/openapi.json")


@dataclass(frozen=True, slots=True)
class _Known:
    key: APIKey
    until: float


class AccessControl:
    """Knows principals by their keys and sessions.

    Parameters
    ----------
    settings
        Of [web].
    connection
        Where keys and sessions are held.
    """

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self._web = settings.web
        self._public_url = settings.oidc.public_url
        self._connection = connection
        self._known: dict[str, _Known] = {}
        self._process_secret = secrets.token_urlsafe(32)
        self.lock_out = LockOut()
        self.recorder = Recorder(connection.get)

    @property
    def is_off(self) -> bool:
        """Whether everybody who can ask may do everything."""
        return self._web.authentication == "off"

    async def identify(self, request: Request) -> Principal:
        """Who asks.

        Raises
        ------
        ProblemError
            not_authenticated, too_many_failures or foreign_origin.
        LoginNeededError
            A person's browser asks for a page, and nobody is logged in there.
        DatabaseError
            Keys and sessions can't be read.
        """
        key = _bearer(request)
        cookie = None if key is not None else _cookie(request)
        if request.method not in _SAFE:
            await self._check_origin(request, cookie)
        if self.is_off:
            return LOCAL
        if key is not None:
            held = await self.identify_key(key, request)
            return Principal(held.name, Role(held.role), held.scope)
        session = await self.session_of(request)
        if session is not None:
            return Principal(session.name, Role(session.role), session.scope)
        raise _unknown(request)

    async def session_of(self, request: Request) -> sessions.Session | None:
        """The session that this browser has now."""
        cookie = _cookie(request)
        if cookie is None:
            return None
        idle = dt.timedelta(minutes=self._web.session_idle_minutes)
        return await run_in_threadpool(lambda: sessions.find_session(self._connection.get(), cookie, idle))

    async def check_form(self, request: Request) -> None:
        """Refuse a form that no page of this service sent; for routes that `require` nobody. Raises as `identify`."""
        await self._check_origin(request, _cookie(request))

    async def identify_key(self, key: str, request: Request) -> APIKey:
        """The key that `key` is; a wrong one is counted, and recorded. Raises as `identify`."""
        digest, address = hash_of(key), address_of(request)
        known = self._known.get(digest)
        now = time.monotonic()
        if known is not None and now < known.until and known.key.is_valid(dt.datetime.now(dt.UTC)):
            return known.key
        # a key that was right before is looked up even when somebody else behind the same address tries wrong ones
        left = self.lock_out.seconds_left(address) if known is None else 0.0
        if left > 0:
            raise _locked(left)
        held = await run_in_threadpool(lambda: find_key(self._connection.get(), key[:_MAXIMUM_SECRET]))
        if held is None:
            self._known.pop(digest, None)
            raise await self._wrong_key(key, request)
        if len(self._known) >= MAXIMUM_KNOWN:
            self._known.pop(next(iter(self._known)))
        self._known[digest] = _Known(held, now + KEEP_SECONDS)
        return held

    async def _wrong_key(self, key: str, request: Request) -> ProblemError:
        """Count it; the row of the trail is written with the answer."""
        address = address_of(request)
        # the part of a key that says which it is, and is no secret
        known = _PUBLIC_PART.match(key)
        name = known[0] if known else "unknown"
        request.state.audited = Audited(Kind.LOGIN, "api key", name, "", address)
        if self.lock_out.wrong(address):
            log(Event.SECURITY_ALERT, reason_code="wrong_keys", peer_address=address, count=WRONG_KEYS)
            alert = AuditEvent(
                Kind.ALERT, name, address, Outcome.REFUSED, count=WRONG_KEYS, action="locked after wrong keys"
            )
            await asyncio.wrap_future(self.recorder.submit(alert))
            return _locked(self.lock_out.seconds_left(address))
        return ProblemError(
            "not_authenticated", headers={"WWW-Authenticate": 'Bearer realm="dicomnlp", error="invalid_token"'}
        )

    async def open_session(self, response: Response, session: sessions.Session, api_key_id: int | None = None) -> None:
        """Log somebody in: a session of its own, whatever cookie the browser had before (no fixation)."""
        lifetime = dt.timedelta(hours=self._web.session_maximum_hours)
        secret = await run_in_threadpool(
            lambda: sessions.open_session(self._connection.get(), session, lifetime, api_key_id=api_key_id)
        )
        response.set_cookie(
            self.cookie_name,
            secret,
            max_age=int(lifetime.total_seconds()),
            path="/",
            secure=self.is_secure,
            httponly=True,
            samesite="strict",
        )

    async def close_session(self, request: Request, response: Response) -> None:
        """Log out whoever this browser belongs to."""
        cookie = _cookie(request)
        if cookie is not None:
            await run_in_threadpool(lambda: sessions.close_session(self._connection.get(), cookie))
        response.delete_cookie(self.cookie_name, path="/", secure=self.is_secure, httponly=True, samesite="strict")

    def csrf_token(self, request: Request) -> str:
        """What forms of a page carry, so that no other site's page can send them."""
        return self._token_of(None if self.is_off else _cookie(request))

    def _token_of(self, cookie: str | None) -> str:
        digest = hmac.digest((cookie or self._process_secret).encode("utf-8", "surrogatepass"), b"csrf", "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    async def _check_origin(self, request: Request, cookie: str | None) -> None:
        """Refuse what a page of another site sends through somebody's browser.

        Browsers name the page's origin with every request that changes something (fetch standard 3.2.5). Programs that
        show a key don't, and needn't: no browser adds that by itself.
        """
        origin = request.headers.get("origin")
        if origin is not None and not _is_own(origin, request.headers.get("host", "")):
            raise ProblemError("foreign_origin")
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if _bearer(request) is not None and not self.is_off:
            return
        if not self.is_off and cookie is not None and origin is None:
            raise ProblemError("foreign_origin")
        of_form = media_type in _FORMS or (request.method == "POST" and not media_type)
        if (not self.is_off and cookie is not None) or of_form:
            given: object = request.headers.get(TOKEN_HEADER)
            if given is None and media_type in _FORMS - {"text/plain"}:
                given = (await request.form()).get(TOKEN_FIELD)
            expected = self._token_of(None if self.is_off else cookie)
            if not isinstance(given, str) or not hmac.compare_digest(given.encode(), expected.encode()):
                raise ProblemError("foreign_origin")

    @property
    def is_secure(self) -> bool:
        """Whether cookies go over HTTPS only."""
        return bool(self._web.certificate) or self._public_url.startswith("https:")

    @property
    def cookie_name(self) -> str:
        """Of sessions."""
        return SESSION_COOKIE

    def close(self) -> None:
        """Write what of the trail waits."""
        self.recorder.close()


def _bearer(request: Request) -> str | None:
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else None


def _cookie(request: Request) -> str | None:
    held = request.cookies.get(SESSION_COOKIE)
    return held[:_MAXIMUM_SECRET] if held else None


def _is_own(origin: str, host: str) -> bool:
    """Whether an Origin header is of this very host and port; the scheme is the proxy's business."""
    try:
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    except ValueError:
        return False


def _unknown(request: Request) -> Exception:
    path = request.url.path
    wants_page = "text/html" in request.headers.get("accept", "") and not path.startswith(_FOR_PROGRAMS)
    if wants_page and request.method in _SAFE:
        query = f"?{request.url.query}" if request.url.query else ""
        return LoginNeededError(f"/login?next={quote(path + query, safe='')}")
    headers = {"WWW-Authenticate": 'Bearer realm="dicomnlp"'}
    if "hx-request" in request.headers:
        headers["HX-Redirect"] = "/login"
    return ProblemError("not_authenticated", headers=headers)


def _locked(seconds: float) -> ProblemError:
    return ProblemError("too_many_failures", headers={"Retry-After": str(max(1, math.ceil(seconds)))})
