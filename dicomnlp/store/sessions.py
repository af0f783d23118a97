"""Sessions of browsers and logins under way, by the SHA-256 of what their cookie holds."""

import datetime as dt
import secrets
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.store.database import Database
from dicomnlp.store.keys import hash_of
from dicomnlp.store.schema_access import api_key, pending_login, web_session
from dicomnlp.store.scope import Scope

SEEN_SECONDS: Final = 30.0
"""When a session was last seen is this exact: not every request writes it."""
LOGIN_MINUTES: Final = 10
"""What a login at the provider may take."""
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has logged in."""

    name: str
    role: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """What has to be known when the provider sends somebody back."""

    nonce: str
    code_verifier: str
    next: str


def open_session(database: Database, session: Session, lifetime: dt.timedelta, *, api_key_id: int | None = None) -> str:
    """Begin a session; what its cookie holds. Those that have ended are cleared away."""
    secret, now = secrets.token_urlsafe(_SECRET_BYTES), dt.datetime.now(dt.UTC)

    def work(connection: Connection) -> None:
        connection.execute(sa.delete(web_session).where(web_session.c.expires_at <= now))
        connection.execute(
            sa.insert(web_session).values(
                sha256=hash_of(secret),
                name=session.name,
                role=session.role,
                scope=session.scope.to_json(),
                api_key_id=api_key_id,
                created_at=now,
                last_seen_at=now,
                expires_at=now + lifetime,
            )
        )

    database.transact(work)
    return secret


def find_session(database: Database, secret: str, idle: dt.timedelta) -> Session | None:
    """The session of a cookie; None when there is none, or it has ended.

    It ends at its own time, when it wasn't seen for `idle`, and with the key by which it was opened. A row is looked
    for by the hash of 256 random bits, so that how long that takes tells nothing of use.
    """
    now = dt.datetime.now(dt.UTC)
    columns = web_session.c
    query = (
        sa.select(
            web_session, api_key.c.id.label("key_id"), api_key.c.revoked_at, api_key.c.expires_at.label("key_ends")
        )
        .outerjoin_from(web_session, api_key, api_key.c.id == columns.api_key_id)
        .where(columns.sha256 == hash_of(secret))
    )
    with database.read() as connection:
        row = connection.execute(query).first()
    if row is None or now >= row.expires_at or now - row.last_seen_at > idle:
        return None
    if row.revoked_at is not None or (row.key_ends is not None and now >= row.key_ends):
        return None
    if (now - row.last_seen_at).total_seconds() > SEEN_SECONDS:
        database.transact(
            lambda connection: connection.execute(
                sa.update(web_session).where(columns.sha256 == row.sha256).values(last_seen_at=now)
            )
        )
    return Session(row.name, row.role, Scope.from_json(row.scope))


def close_session(database: Database, secret: str) -> None:
    """End a session; none is no error."""
    database.transact(
        lambda connection: connection.execute(sa.delete(web_session).where(web_session.c.sha256 == hash_of(secret)))
    )


def begin_login(database: Database, state: str, login: PendingLogin) -> None:
    """Keep what belongs to `state` until the provider sends it back."""
    now = dt.datetime.now(dt.UTC)

    def work(connection: Connection) -> None:
        connection.execute(sa.delete(pending_login).where(pending_login.c.expires_at <= now))
        connection.execute(
            sa.insert(pending_login).values(
                sha256=hash_of(state),
                nonce=login.nonce,
                code_verifier=login.code_verifier,
                next=login.next,
                expires_at=now + dt.timedelta(minutes=LOGIN_MINUTES),
            )
        )

    database.transact(work)


def take_login(database: Database, state: str) -> PendingLogin | None:
    """What `begin_login` kept, once and in time; else None."""
    now = dt.datetime.now(dt.UTC)

    def work(connection: Connection) -> Any:
        return connection.execute(
            sa.delete(pending_login).where(pending_login.c.sha256 == hash_of(state)).returning(pending_login)
        ).first()

    row = database.transact(work)
    return None if row is None or now >= row.expires_at else PendingLogin(row.nonce, row.code_verifier, row.next)
