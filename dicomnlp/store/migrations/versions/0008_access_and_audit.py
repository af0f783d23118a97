"""Who may ask and who has asked: API keys, sessions of browsers, the audit trail and how far it was forwarded."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_GENESIS = "0" * 64
_CHANGES = ("UPDATE", "DELETE")


def upgrade() -> None:
    """Add the tables; the trail begins empty, and from then on the database refuses to change or delete its rows."""
    _create_keys()
    _create_trail()
    op.add_column(
        "cohort",
        sa.Column("scope", Json(), nullable=False, server_default='{"calling_ae_titles":null,"institutions":null}'),
    )
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        for change in _CHANGES:
            op.execute(
                f"CREATE TRIGGER audit_event_no_{change.lower()} BEFORE {change} ON audit_event "
                "BEGIN SELECT RAISE(ABORT, 'rows of audit_event are never changed'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_event_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'rows of audit_event are never changed'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_event_refuse()"
    )


def _create_keys() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", RowId, nullable=False),
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("prefix", CleanText(), nullable=False),
        sa.Column("sha256", CleanText(), nullable=False),
        sa.Column("role", CleanText(), nullable=False),
        sa.Column("scope", Json(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=True),
        sa.Column("revoked_at", UTCDateTime(), nullable=True),
        sa.Column("last_used_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("prefix", name="uq_api_key_prefix"),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_api_key_name", "api_key", ["name"], unique=True)
    op.create_table(
        "web_session",
        sa.Column("sha256", CleanText(), nullable=False),
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("role", CleanText(), nullable=False),
        sa.Column("scope", Json(), nullable=False),
        sa.Column("api_key_id", RowId, nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("last_seen_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["api_key_id"], ["api_key.id"], name="fk_web_session_api_key_id_api_key", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sha256", name="pk_web_session"),
    )
    op.create_index("ix_web_session_expires_at", "web_session", ["expires_at"])
    op.create_table(
        "pending_login",
        sa.Column("sha256", CleanText(), nullable=False),
        sa.Column("nonce", CleanText(), nullable=False),
        sa.Column("code_verifier", CleanText(), nullable=False),
        sa.Column("next", CleanText(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_pending_login"),
    )


def _create_trail() -> None:
    op.create_table(
        "audit_event",
        sa.Column("id", RowId, autoincrement=False, nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("kind", CleanText(), nullable=False),
        sa.Column("action", CleanText(), nullable=False),
        sa.Column("principal", CleanText(), nullable=False),
        sa.Column("role", CleanText(), nullable=False),
        sa.Column("address", CleanText(), nullable=False),
        sa.Column("outcome", CleanText(), nullable=False),
        sa.Column("study_instance_uid", CleanText(), nullable=True),
        sa.Column("query", Json(), nullable=True),
        sa.Column("count", RowId, nullable=True),
        sa.Column("previous_hash", CleanText(), nullable=False),
        sa.Column("hash", CleanText(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_event"),
    )
    op.create_index("ix_audit_event_at", "audit_event", ["at"])
    op.create_index("ix_audit_event_study_instance_uid", "audit_event", ["study_instance_uid"])
    sent_at: sa.Column[Any] = sa.Column("sent_at", UTCDateTime(), nullable=True)
    for name, own in (("audit_head", ()), ("audit_cursor", (sent_at,))):
        op.create_table(
            name,
            sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
            sa.Column("event_id", RowId, nullable=False),
            sa.Column("hash", CleanText(), nullable=False),
            *own,
            sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        )
        op.execute(f"INSERT INTO {name} (id, event_id, hash) VALUES (1, 0, '{_GENESIS}')")  # noqa: S608  our own words
