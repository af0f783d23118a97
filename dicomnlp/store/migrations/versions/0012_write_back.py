"""What was written of reports: SR documents and FHIR bundles, as they were sent."""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; nothing is written of what is held already."""
    op.create_table(
        "written_document",
        sa.Column("id", RowId, nullable=False),
        sa.Column("form", CleanText(), nullable=False),
        sa.Column("document_uid", CleanText(), nullable=False),
        sa.Column("series_instance_uid", CleanText(), nullable=True),
        sa.Column("object_id", RowId, nullable=True),
        sa.Column("source_sop_instance_uid", CleanText(), nullable=False),
        sa.Column("study_instance_uid", CleanText(), nullable=False),
        sa.Column("pipeline", CleanText(), nullable=False),
        sa.Column("is_withdrawal", sa.Boolean(), nullable=False),
        sa.Column("is_latest", sa.Boolean(), nullable=False),
        sa.Column("content_sha256", CleanText(), nullable=False),
        sa.Column("predecessors", Json(), nullable=False),
        sa.Column("left_out", Json(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("written_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["object_id"], ["sop_instance.id"], name="fk_written_document_object_id_sop_instance", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_written_document"),
        sa.UniqueConstraint("document_uid", name="uq_written_document_document_uid"),
    )
    op.create_index(
        "uq_written_document_latest",
        "written_document",
        ["source_sop_instance_uid", "form"],
        unique=True,
        sqlite_where=sa.text("is_latest"),
        postgresql_where=sa.text("is_latest"),
    )
    for column in ("source_sop_instance_uid", "object_id", "study_instance_uid"):
        op.create_index(f"ix_written_document_{column}", "written_document", [column])
