"""Archives: what they hold compared with what was received, and what they asked to be committed."""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_REQUESTED = sa.text("state = 'requested'")
_WANTED = sa.text("fetch_state = 'wanted'")
_UNREPORTED = sa.text("next_attempt_at IS NOT NULL")


def upgrade() -> None:
    """Add the tables; nothing has been compared or committed."""
    op.create_table(
        "reconciliation",
        sa.Column("id", RowId, nullable=False),
        sa.Column("pacs", CleanText(), nullable=False),
        sa.Column("study_date", CleanText(), nullable=False),
        sa.Column("state", CleanText(), nullable=False),
        sa.Column("fetches", sa.Boolean(), nullable=False),
        sa.Column("requested_by", CleanText(), nullable=False),
        sa.Column("requested_at", UTCDateTime(), nullable=False),
        sa.Column("compared_at", UTCDateTime(), nullable=True),
        sa.Column("reason_code", CleanText(), nullable=True),
        sa.Column("studies", sa.Integer(), nullable=False),
        sa.Column("unread_studies", sa.Integer(), nullable=False),
        sa.Column("objects", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reconciliation"),
        sa.UniqueConstraint("pacs", "study_date", name="uq_reconciliation_pacs_study_date"),
    )
    op.create_index("ix_reconciliation_study_date_id", "reconciliation", ["study_date", "id"])
    op.create_index(
        "ix_reconciliation_requested",
        "reconciliation",
        ["pacs", "requested_at"],
        sqlite_where=_REQUESTED,
        postgresql_where=_REQUESTED,
    )
    op.create_table(
        "reconciliation_item",
        sa.Column("id", RowId, nullable=False),
        sa.Column("reconciliation_id", RowId, nullable=False),
        sa.Column("sop_instance_uid", CleanText(), nullable=False),
        sa.Column("study_instance_uid", CleanText(), nullable=False),
        sa.Column("series_instance_uid", CleanText(), nullable=False),
        sa.Column("sop_class_uid", CleanText(), nullable=False),
        sa.Column("kind", CleanText(), nullable=False),
        sa.Column("reason_code", CleanText(), nullable=True),
        sa.Column("pipeline", CleanText(), nullable=True),
        sa.Column("fetch_state", CleanText(), nullable=True),
        sa.Column("fetch_reason_code", CleanText(), nullable=True),
        sa.Column("fetched_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["reconciliation_id"],
            ["reconciliation.id"],
            name="fk_reconciliation_item_reconciliation_id_reconciliation",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_reconciliation_item"),
        sa.UniqueConstraint(
            "reconciliation_id", "sop_instance_uid", name="uq_reconciliation_item_reconciliation_id_sop_instance_uid"
        ),
    )
    op.create_index(
        "ix_reconciliation_item_wanted",
        "reconciliation_item",
        ["reconciliation_id", "id"],
        sqlite_where=_WANTED,
        postgresql_where=_WANTED,
    )
    op.create_table(
        "storage_commitment",
        sa.Column("id", RowId, nullable=False),
        sa.Column("transaction_uid", CleanText(), nullable=False),
        sa.Column("calling_ae_title", CleanText(), nullable=False),
        sa.Column("called_ae_title", CleanText(), nullable=False),
        sa.Column("requested_at", UTCDateTime(), nullable=False),
        sa.Column("instances", Json(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("reported_at", UTCDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UTCDateTime(), nullable=True),
        sa.Column("reason_code", CleanText(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_storage_commitment"),
        sa.UniqueConstraint(
            "calling_ae_title", "transaction_uid", name="uq_storage_commitment_calling_ae_title_transaction_uid"
        ),
    )
    op.create_index(
        "ix_storage_commitment_unreported",
        "storage_commitment",
        ["next_attempt_at"],
        sqlite_where=_UNREPORTED,
        postgresql_where=_UNREPORTED,
    )
