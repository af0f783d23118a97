"""API keys as they are held: never the key itself, only its SHA-256.

A key has 256 random bits, so that a fast hash is enough: there is nothing to guess by trying (NIST SP 800-63B 5.1.2).
"""

import datetime as dt
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import utc_text
from dicomnlp.store.database import Database
from dicomnlp.store.schema_access import api_key
from dicomnlp.store.scope import Scope

USED_SECONDS: Final = 60.0
"""The moment of last use is this exact: not every request writes it."""
MAXIMUM_NAME: Final = 64
_SECRET_BYTES: Final = 32
_KEY: Final = re.compile(r"dnk_([0-9a-f]{12})_([0-9A-Za-z_-]{43})\Z")
_NAME: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z ._@+-]*\Z")


@dataclass(frozen=True, slots=True)
class APIKey:
    """A key, without the key."""

    id: int
    name: str
    prefix: str
    role: str
    scope: Scope
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None
    last_used_at: dt.datetime | None

    def is_valid(self, now: dt.datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def to_json(self) -> dict[str, Any]:
        """The key in the public form."""
        times = {name: getattr(self, name) for name in ("created_at", "expires_at", "revoked_at", "last_used_at")}
        return {
            "name": self.name,
            "prefix": self.prefix,
            "role": self.role,
            **self.scope.to_json(),
            **{name: utc_text(time) if time else None for name, time in times.items()},
        }


def add_key(
    database: Database, name: str, role: str, scope: Scope, expires_at: dt.datetime | None = None
) -> tuple[APIKey, str]:
    """Make a key; it and its text, which nobody can be told again.

    Raises
    ------
    UsageError
        The name isn't one, or is that of another key, revoked ones included; or it would have expired already.
    """
    now = dt.datetime.now(dt.UTC)
    if len(name) > MAXIMUM_NAME or not _NAME.match(name):
        raise UsageError(
            f"a name has 1 to {MAXIMUM_NAME} letters, digits, blanks and . _ @ + - and begins with a letter"
        )
    if expires_at is not None and expires_at <= now:
        raise UsageError("the key would have expired already")
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(_SECRET_BYTES)
    key = f"dnk_{prefix}_{secret}"

    def work(connection: Connection) -> APIKey:
        if connection.scalar(sa.select(sa.exists().where(api_key.c.name == name))):
            raise UsageError("another key has this name; names of revoked keys stay theirs, so that the trail is clear")
        row = connection.execute(
            sa.insert(api_key)
            .values(
                name=name,
                prefix=prefix,
                sha256=hash_of(key),
                role=role,
                scope=scope.to_json(),
                created_at=now,
                expires_at=expires_at,
            )
            .returning(api_key)
        ).one()
        return _key(row)

    return database.transact(work), key


def keys(database: Database) -> list[APIKey]:
    """All keys, by name."""
    with database.read() as connection:
        return [_key(row) for row in connection.execute(sa.select(api_key).order_by(api_key.c.name))]


def revoke_key(database: Database, name_or_prefix: str) -> APIKey:
    """End a key for ever, with the sessions that were opened by it; again changes nothing.

    Raises
    ------
    NotFoundError
        No key has this name or prefix.
    """
    same = sa.or_(api_key.c.name == name_or_prefix, api_key.c.prefix == name_or_prefix)

    def work(connection: Connection) -> APIKey:
        connection.execute(
            sa.update(api_key).where(same, api_key.c.revoked_at.is_(None)).values(revoked_at=dt.datetime.now(dt.UTC))
        )
        row = connection.execute(sa.select(api_key).where(same)).first()
        if row is None:
            raise NotFoundError("no key has this name or prefix; see `dicomnlp keys list`")
        return _key(row)

    return database.transact(work)


def hash_of(secret: str) -> str:
    """SHA-256 of a key, or of a session's identifier, as hexadecimal digits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def find_key(database: Database, key: str) -> APIKey | None:
    """The key that `key` is the text of, if it is valid now.

    The part by which a row is looked for is no secret. What is secret is compared in constant time, and also when no
    row was found, so that the time tells nothing.
    """
    found = _KEY.match(key)
    prefix = found[1] if found else ""
    now = dt.datetime.now(dt.UTC)
    with database.read() as connection:
        row = connection.execute(sa.select(api_key).where(api_key.c.prefix == prefix)).first()
    same = hmac.compare_digest(hash_of(key), row.sha256 if row is not None else "0" * 64)
    if row is None or not same:
        return None
    held = _key(row)
    if not held.is_valid(now):
        return None
    if held.last_used_at is None or (now - held.last_used_at).total_seconds() > USED_SECONDS:
        database.transact(
            lambda connection: connection.execute(
                sa.update(api_key).where(api_key.c.id == held.id).values(last_used_at=now)
            )
        )
    return held


def _key(row: Row[Any]) -> APIKey:
    return APIKey(
        row.id,
        row.name,
        row.prefix,
        row.role,
        Scope.from_json(row.scope),
        row.created_at,
        row.expires_at,
        row.revoked_at,
        row.last_used_at,
    )
