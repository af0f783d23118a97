"""What is counted of reports week by week, and what came of comparing the weeks."""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; the service counts the last half year of what is held by itself."""
    op.create_table(
        "drift_count",
        sa.Column("language", CleanText(), nullable=False),
        sa.Column("week", CleanText(), nullable=False),
        sa.Column("source", CleanText(), nullable=False),
        sa.Column("measure", CleanText(), nullable=False),
        sa.Column("item", CleanText(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("language", "week", "source", "measure", "item", name="pk_drift_count"),
    )
    op.create_table(
        "drift_word",
        sa.Column("language", CleanText(), nullable=False),
        sa.Column("digest", CleanText(), nullable=False),
        sa.Column("word", CleanText(), nullable=True),
        sa.Column("reports", sa.Integer(), nullable=False),
        sa.Column("patients", Json(), nullable=False),
        sa.Column("known_from", CleanText(), nullable=True),
        sa.Column("last_week", CleanText(), nullable=False),
        sa.PrimaryKeyConstraint("language", "digest", name="pk_drift_word"),
    )
    op.create_index("ix_drift_word_language_known_from", "drift_word", ["language", "known_from"])
    op.create_table(
        "drift_week",
        sa.Column("language", CleanText(), nullable=False),
        sa.Column("week", CleanText(), nullable=False),
        sa.Column("reports", sa.Integer(), nullable=False),
        sa.Column("first_object_id", RowId, nullable=False),
        sa.Column("last_object_id", RowId, nullable=False),
        sa.Column("judged_at", UTCDateTime(), nullable=True),
        sa.Column("reason_code", CleanText(), nullable=True),
        sa.Column("reference_from", CleanText(), nullable=True),
        sa.Column("reference_to", CleanText(), nullable=True),
        sa.Column("reference_reports", sa.Integer(), nullable=False),
        sa.Column("instability", Json(), nullable=False),
        sa.Column("moves", Json(), nullable=False),
        sa.Column("words", Json(), nullable=False),
        sa.Column("is_alarm", sa.Boolean(), nullable=False),
        sa.Column("cleared_at", UTCDateTime(), nullable=True),
        sa.Column("acknowledged_at", UTCDateTime(), nullable=True),
        sa.Column("acknowledged_by", CleanText(), nullable=False),
        sa.PrimaryKeyConstraint("language", "week", name="pk_drift_week"),
    )
    op.create_table(
        "drift_progress",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("last_object_id", RowId, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_drift_progress"),
    )
