"""Rejections that an administrator revoked; assignments are found by their study."""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, RowId, UTCDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the index."""
    op.create_table(
        "rejection_revocation",
        sa.Column("id", RowId, nullable=False),
        sa.Column("sop_instance_uid", CleanText(), nullable=False),
        sa.Column("note_sop_instance_uid", CleanText(), nullable=False),
        sa.Column("revoked_at", UTCDateTime(), nullable=False),
        sa.Column("undone_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_rejection_revocation"),
    )
    for column in ("sop_instance_uid", "note_sop_instance_uid"):
        op.create_index(f"ix_rejection_revocation_{column}", "rejection_revocation", [column])
    op.create_index("ix_study_assignment_study_instance_uid", "study_assignment", ["study_instance_uid"])
