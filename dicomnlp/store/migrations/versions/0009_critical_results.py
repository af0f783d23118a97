"""Acknowledgements of critical results, and what is told to others: to whom, how far, and what became of it."""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, RowId, UTCDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; nothing is told of what is held already."""
    op.create_table(
        "acknowledgement",
        sa.Column("id", RowId, nullable=False),
        sa.Column("sop_instance_uid", CleanText(), nullable=False),
        sa.Column("concept_id", CleanText(), nullable=False),
        sa.Column("acknowledged_at", UTCDateTime(), nullable=False),
        sa.Column("acknowledged_by", CleanText(), nullable=False),
        sa.Column("recipient", CleanText(), nullable=False),
        sa.Column("note", CleanText(), nullable=False),
        sa.Column("undone_at", UTCDateTime(), nullable=True),
        sa.Column("undone_by", CleanText(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_acknowledgement"),
    )
    active = sa.text("undone_at IS NULL")
    op.create_index(
        "uq_acknowledgement_active",
        "acknowledgement",
        ["sop_instance_uid", "concept_id"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    op.create_table(
        "destination",
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("from_object_id", RowId, nullable=False),
        sa.Column("analysis_id", RowId, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_destination"),
    )
    op.create_table(
        "delivery",
        sa.Column("id", RowId, nullable=False),
        sa.Column("destination", CleanText(), nullable=False),
        sa.Column("topic", CleanText(), nullable=False),
        sa.Column("key", CleanText(), nullable=False),
        sa.Column("object_id", RowId, nullable=False),
        sa.Column("study_instance_uid", CleanText(), nullable=False),
        sa.Column("sop_instance_uid", CleanText(), nullable=False),
        sa.Column("concept_id", CleanText(), nullable=True),
        sa.Column("state", CleanText(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("due_at", UTCDateTime(), nullable=True),
        sa.Column("changed_at", UTCDateTime(), nullable=False),
        sa.Column("reason_code", CleanText(), nullable=True),
        sa.ForeignKeyConstraint(
            ["object_id"], ["sop_instance.id"], name="fk_delivery_object_id_sop_instance", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_delivery"),
        sa.UniqueConstraint("destination", "key", name="uq_delivery_destination_key"),
    )
    op.create_index("ix_delivery_state_due_at", "delivery", ["state", "due_at"])
    op.create_index("ix_delivery_object_id", "delivery", ["object_id"])
    op.create_index("ix_delivery_sop_instance_uid", "delivery", ["sop_instance_uid"])
