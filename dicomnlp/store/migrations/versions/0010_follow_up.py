"""What is owed to patients, what people decided of it, and which studies are to be looked at: at first all."""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and have every study looked at that is held."""
    _create_items()
    op.create_table(
        "follow_up_decision",
        sa.Column("id", RowId, nullable=False),
        sa.Column("study_instance_uid", CleanText(), nullable=False),
        sa.Column("key", CleanText(), nullable=False),
        sa.Column("reason", CleanText(), nullable=False),
        sa.Column("note", CleanText(), nullable=False),
        sa.Column("decided_at", UTCDateTime(), nullable=False),
        sa.Column("decided_by", CleanText(), nullable=False),
        sa.Column("undone_at", UTCDateTime(), nullable=True),
        sa.Column("undone_by", CleanText(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_follow_up_decision"),
    )
    op.create_index("ix_follow_up_decision_study_instance_uid_key", "follow_up_decision", ["study_instance_uid", "key"])
    op.create_table(
        "follow_up_pending",
        sa.Column("study_instance_uid", CleanText(), nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("study_instance_uid", name="pk_follow_up_pending"),
    )
    op.create_table(
        "image_study",
        sa.Column("study_instance_uid", CleanText(), nullable=False),
        sa.Column("patient_id", CleanText(), nullable=False),
        sa.Column("issuer_of_patient_id", CleanText(), nullable=False),
        sa.Column("study_date", CleanText(), nullable=False),
        sa.Column("study_time", CleanText(), nullable=False),
        sa.Column("modalities", CleanText(), nullable=False),
        sa.Column("body_parts_examined", CleanText(), nullable=False),
        sa.Column("lateralities", CleanText(), nullable=False),
        sa.Column("descriptions", Json(), nullable=False),
        sa.PrimaryKeyConstraint("study_instance_uid", name="pk_image_study"),
    )
    op.create_index(
        "ix_image_study_patient_id_issuer_of_patient_id", "image_study", ["patient_id", "issuer_of_patient_id"]
    )
    op.execute(
        "INSERT INTO follow_up_pending (study_instance_uid, changes) "
        "SELECT study_instance_uid, 1 FROM sop_instance WHERE study_instance_uid <> '' "
        "UNION SELECT study_instance_uid, 1 FROM image WHERE study_instance_uid <> ''"
    )


def _create_items() -> None:
    op.create_table(
        "follow_up_item",
        sa.Column("id", RowId, nullable=False),
        sa.Column("study_instance_uid", CleanText(), nullable=False),
        sa.Column("key", CleanText(), nullable=False),
        sa.Column("object_id", RowId, nullable=False),
        sa.Column("study_date", CleanText(), nullable=False),
        sa.Column("category", CleanText(), nullable=False),
        sa.Column("modalities", CleanText(), nullable=False),
        sa.Column("procedure", CleanText(), nullable=True),
        sa.Column("anatomy_id", CleanText(), nullable=True),
        sa.Column("laterality", CleanText(), nullable=True),
        sa.Column("kind", CleanText(), nullable=False),
        sa.Column("conditional", sa.Boolean(), nullable=False),
        sa.Column("due_from", CleanText(), nullable=False),
        sa.Column("due_to", CleanText(), nullable=True),
        sa.Column("overdue_on", CleanText(), nullable=False),
        sa.Column("status", CleanText(), nullable=False),
        sa.Column("done_study_instance_uid", CleanText(), nullable=True),
        sa.Column("done_on", CleanText(), nullable=True),
        sa.Column("statement", Json(), nullable=False),
        sa.Column("explanation", Json(), nullable=False),
        sa.Column("changed_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["object_id"], ["sop_instance.id"], name="fk_follow_up_item_object_id_sop_instance", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_follow_up_item"),
        sa.UniqueConstraint("study_instance_uid", "key", name="uq_follow_up_item_study_instance_uid_key"),
        sqlite_autoincrement=True,
    )
    for columns in (
        ["object_id"],
        ["done_study_instance_uid"],
        ["overdue_on", "id"],
        ["status", "overdue_on", "id", "due_from"],
    ):
        op.create_index(f"ix_follow_up_item_{'_'.join(columns)}", "follow_up_item", columns)
