"""Pipelines that a site has added, which of them counted when, and what failed in their shadow runs."""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; the pipeline of the configuration goes on counting."""
    op.create_table(
        "pipeline",
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("archive", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", CleanText(), nullable=False),
        sa.Column("names", Json(), nullable=False),
        sa.Column("added_at", UTCDateTime(), nullable=False),
        sa.Column("added_by", CleanText(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_pipeline"),
    )
    op.create_table(
        "promotion",
        sa.Column("id", RowId, nullable=False),
        sa.Column("pipeline", CleanText(), nullable=False),
        sa.Column("names", Json(), nullable=False),
        sa.Column("undoes", RowId, nullable=True),
        sa.Column("promoted_at", UTCDateTime(), nullable=False),
        sa.Column("promoted_by", CleanText(), nullable=False),
        sa.Column("last_object_id", RowId, nullable=False),
        sa.Column("walked_to_object_id", RowId, nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("switched", sa.Integer(), nullable=False),
        sa.Column("marked", sa.Integer(), nullable=False),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_promotion"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "shadow_failure",
        sa.Column("object_id", RowId, nullable=False),
        sa.Column("pipeline", CleanText(), nullable=False),
        sa.Column("reason_code", CleanText(), nullable=False),
        sa.Column("failed_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["object_id"], ["sop_instance.id"], name="fk_shadow_failure_object_id_sop_instance", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("object_id", "pipeline", name="pk_shadow_failure"),
    )
    op.create_index("ix_shadow_failure_pipeline_object_id", "shadow_failure", ["pipeline", "object_id"])
    op.add_column("analysis", sa.Column("modalities", Json(), nullable=True))
