"""The tables of access and audit: who may ask, and who has asked. The others are in `schema`."""

from sqlalchemy import Column, ForeignKey, Index, SmallInteger, Table, UniqueConstraint

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime
from dicomnlp.store.schema_metadata import metadata

api_key = Table(
    "api_key",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("name", CleanText, nullable=False),
    Column("prefix", CleanText, nullable=False),
    Column("sha256", CleanText, nullable=False),
    Column("role", CleanText, nullable=False),
    Column("scope", Json, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("expires_at", UTCDateTime),
    Column("revoked_at", UTCDateTime),
    Column("last_used_at", UTCDateTime),
    UniqueConstraint("prefix"),
    Index("uq_api_key_name", "name", unique=True),
    # a number that is given again would hand the sessions of a deleted key to another
    sqlite_autoincrement=True,
)

web_session = Table(
    "web_session",
    metadata,
    Column("sha256", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False),
    Column("role", CleanText, nullable=False),
    Column("scope", Json, nullable=False),
    Column("api_key_id", RowId, ForeignKey("api_key.id", ondelete="CASCADE")),
    Column("created_at", UTCDateTime, nullable=False),
    Column("last_seen_at", UTCDateTime, nullable=False),
    Column("expires_at", UTCDateTime, nullable=False),
    Index(None, "expires_at"),
)

pending_login = Table(
    "pending_login",
    metadata,
    Column("sha256", CleanText, primary_key=True),
    Column("nonce", CleanText, nullable=False),
    Column("code_verifier", CleanText, nullable=False),
    Column("next", CleanText, nullable=False),
    Column("expires_at", UTCDateTime, nullable=False),
)

# rows are only ever added, each with the hash of the one before it; triggers of the migration refuse anything else
audit_event = Table(
    "audit_event",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=False),
    Column("at", UTCDateTime, nullable=False),
    Column("kind", CleanText, nullable=False),
    Column("action", CleanText, nullable=False),
    Column("principal", CleanText, nullable=False),
    Column("role", CleanText, nullable=False),
    Column("address", CleanText, nullable=False),
    Column("outcome", CleanText, nullable=False),
    Column("study_instance_uid", CleanText),
    Column("query", Json),
    Column("count", RowId),
    Column("previous_hash", CleanText, nullable=False),
    Column("hash", CleanText, nullable=False),
    Index(None, "at"),
    Index(None, "study_instance_uid"),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("event_id", RowId, nullable=False),
    Column("hash", CleanText, nullable=False),
)

audit_cursor = Table(
    "audit_cursor",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("event_id", RowId, nullable=False),
    Column("hash", CleanText, nullable=False),
    Column("sent_at", UTCDateTime),
)
