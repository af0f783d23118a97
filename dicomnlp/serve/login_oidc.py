"""The OpenID Connect side of a login: authorization code flow with PKCE (OpenID Connect Core 1.0, RFC 7636, RFC 9700).

Nothing that comes back is believed before it was checked: state against the cookie of this browser, nonce, issuer,
audience and times of the ID token, and its signature against the provider's published keys.
"""

import asyncio
import base64
import hmac
import secrets
import ssl
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dicomnlp.config import Settings
from dicomnlp.errors import ConfigurationError
from dicomnlp.serve.access import Role
from dicomnlp.store.scope import Scope
from dicomnlp.store.sessions import PendingLogin, Session
from dicomnlp.web_settings import OIDCSettings

CALLBACK: Final = "/login/callback"
_ALGORITHMS: Final = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]
"""Signatures by the provider's own key: never "none", nor by the client's secret."""
_PROVIDER_SECONDS: Final = 10.0
_KEEP_SECONDS: Final = 600.0
"""Description and keys of the provider are asked for again after so long."""
_LEEWAY_SECONDS: Final = 60
"""Clocks of two machines differ."""


class LoginRefusedError(Exception):
    """Nobody is logged in; `args[0]` is a reason code."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A login that the provider is now asked for."""

    address: str
    """Where the browser is sent."""
    state: str
    login: PendingLogin


@dataclass(frozen=True, slots=True)
class _Provider:
    metadata: dict[str, Any]
    keys: KeySet
    until: float


class OIDC:
    """Logs people in by the provider of [oidc].

    Parameters
    ----------
    settings
        With an issuer.

    Raises
    ------
    ConfigurationError
        The secret's or the authorities' file can't be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.oidc
        self._secret = _read_secret(settings.folder / settings.oidc.client_secret_file, settings.oidc)
        self._trust = _trust(settings.folder, settings.oidc)
        self._lock = asyncio.Lock()
        self._provider: _Provider | None = None

    async def begin(self, next_path: str) -> Begun:
        """Where to send a browser that wants to log in.

        Raises
        ------
        LoginRefusedError
            provider_failed.
        """
        provider = await self._described()
        login = PendingLogin(secrets.token_urlsafe(32), secrets.token_urlsafe(48), next_path)
        state = secrets.token_urlsafe(32)
        address: str = prepare_grant_uri(
            provider.metadata["authorization_endpoint"],
            self._settings.client_id,
            "code",
            redirect_uri=self._redirect_uri,
            scope="openid profile",
            state=state,
            nonce=login.nonce,
            code_challenge=create_s256_code_challenge(login.code_verifier),
            code_challenge_method="S256",
        )
        return Begun(address, state, login)

    async def finish(self, code: str, login: PendingLogin) -> Session:
        """Who has logged in, and what the provider's claims make of them.

        Raises
        ------
        LoginRefusedError
            provider_failed, token_refused, or no_role.
        """
        provider = await self._described()
        client_id = quote(self._settings.client_id, safe="")
        body = prepare_token_request(
            "authorization_code", code=code, redirect_uri=self._redirect_uri, code_verifier=login.code_verifier
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        # RFC 6749 2.3.1: a client with a secret shows it in the header, one without names itself in the body
        if self._secret:
            shown = base64.b64encode(f"{client_id}:{quote(self._secret, safe='')}".encode()).decode()
            headers["Authorization"] = f"Basic {shown}"
        else:
            body += f"&client_id={client_id}"
        try:
            async with self._client() as client:
                answer = await client.post(provider.metadata["token_endpoint"], content=body, headers=headers)
            id_token = answer.raise_for_status().json()["id_token"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise LoginRefusedError("provider_failed") from error
        return self._session(self._claims(id_token, provider, login.nonce))

    @property
    def _redirect_uri(self) -> str:
        return self._settings.public_url.rstrip("/") + CALLBACK

    def _client(self) -> httpx.AsyncClient:
        # no proxies of the environment: what is asked here decides who gets in
        return httpx.AsyncClient(verify=self._trust, timeout=_PROVIDER_SECONDS, trust_env=False)

    async def _described(self) -> _Provider:
        async with self._lock:
            if self._provider is None or time.monotonic() > self._provider.until:
                self._provider = await self._ask()
            return self._provider

    async def _ask(self) -> _Provider:
        issuer = self._settings.issuer.rstrip("/")
        try:
            async with self._client() as client:
                metadata = (await client.get(f"{issuer}/.well-known/openid-configuration")).raise_for_status().json()
                if metadata["issuer"].rstrip("/") != issuer:
                    raise LoginRefusedError("provider_failed")
                keys = (await client.get(metadata["jwks_uri"])).raise_for_status().json()
            return _Provider(metadata, KeySet.import_key_set(keys), time.monotonic() + _KEEP_SECONDS)
        except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LoginRefusedError("provider_failed") from error

    def _claims(self, id_token: object, provider: _Provider, nonce: str) -> dict[str, Any]:
        """The claims of an ID token that is the provider's, for this client, of now, and of this login."""
        if not isinstance(id_token, str):
            raise LoginRefusedError("token_refused")
        registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": provider.metadata["issuer"]},
            sub={"essential": True},
            aud={"essential": True, "value": self._settings.client_id},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            claims = jwt.decode(id_token, provider.keys, algorithms=_ALGORITHMS).claims
            registry.validate(claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            # keys may have been replaced: they are asked for anew at the next login
            self._provider = None
            raise LoginRefusedError("token_refused") from error
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise LoginRefusedError("token_refused")
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if len(audiences) > 1 and claims.get("azp") != self._settings.client_id:
            raise LoginRefusedError("token_refused")
        return claims

    def _session(self, claims: dict[str, Any]) -> Session:
        settings = self._settings
        held = _texts(claims.get(settings.role_claim))
        role = next((role for value, role in settings.roles.items() if value in held), None)
        if role is None:
            raise LoginRefusedError("no_role")
        scope = Scope(_scope(claims, settings.calling_ae_titles_claim), _scope(claims, settings.institutions_claim))
        name = next(
            text for claim in ("preferred_username", "email", "sub") for text in _texts(claims.get(claim)) if text
        )
        return Session(f"oidc:{name}", Role(role), scope)


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def _scope(claims: dict[str, Any], claim: str) -> frozenset[str] | None:
    """What the claim restricts to; who lacks a claim that is asked for sees nothing of it rather than all."""
    if not claim:
        return None
    values = frozenset(text.strip() for text in _texts(claims.get(claim)))
    return None if "*" in values else values


def _read_secret(file: Path, settings: OIDCSettings) -> str | None:
    if not settings.client_secret_file:
        return None
    try:
        mode = file.stat().st_mode
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"oidc.client_secret_file: {file} can't be read: {type(error).__name__}") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigurationError(f"oidc.client_secret_file: others may read or write {file}; do `chmod o= {file}`")
    if not secret:
        raise ConfigurationError(f"oidc.client_secret_file: {file} is empty")
    return secret


def _trust(folder: Path, settings: OIDCSettings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ca:
        try:
            context = ssl.create_default_context(cafile=str(folder / settings.ca))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"oidc.ca: {folder / settings.ca} can't be used: {type(error).__name__}") from None
    return context
