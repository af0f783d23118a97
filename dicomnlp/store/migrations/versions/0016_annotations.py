"""What readers say of findings, and which findings a model and the rules see differently."""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, RowId, UTCDateTime

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and the indexes by which the queue of annotation finds what it asks for."""
    op.create_table(
        "annotated_text",
        sa.Column("object_id", RowId, nullable=False),
        sa.Column("text_sha256", CleanText(), nullable=False),
        sa.Column("narrative", CleanText(), nullable=False),
        sa.Column("language", CleanText(), nullable=False),
        _of_object("annotated_text"),
        sa.PrimaryKeyConstraint("object_id", "text_sha256", name="pk_annotated_text"),
    )
    op.create_table(
        "annotation",
        sa.Column("id", RowId, nullable=False),
        sa.Column("object_id", RowId, nullable=False),
        sa.Column("text_sha256", CleanText(), nullable=False),
        sa.Column("start_offset", sa.Integer(), nullable=False),
        sa.Column("end_offset", sa.Integer(), nullable=False),
        sa.Column("finding_concept_id", CleanText(), nullable=False),
        sa.Column("verdict", CleanText(), nullable=False),
        sa.Column("concept_id", CleanText(), nullable=False),
        sa.Column("assertion", CleanText(), nullable=True),
        sa.Column("laterality", CleanText(), nullable=True),
        sa.Column("pipeline", CleanText(), nullable=False),
        sa.Column("adjudicates", sa.Boolean(), nullable=False),
        sa.Column("annotated_at", UTCDateTime(), nullable=False),
        sa.Column("annotated_by", CleanText(), nullable=False),
        sa.Column("undone_at", UTCDateTime(), nullable=True),
        _of_object("annotation"),
        sa.PrimaryKeyConstraint("id", name="pk_annotation"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "annotation_reading",
        sa.Column("id", RowId, nullable=False),
        sa.Column("object_id", RowId, nullable=False),
        sa.Column("text_sha256", CleanText(), nullable=False),
        sa.Column("reader", CleanText(), nullable=False),
        sa.Column("done_at", UTCDateTime(), nullable=False),
        sa.Column("reopened_at", UTCDateTime(), nullable=True),
        _of_object("annotation_reading"),
        sa.PrimaryKeyConstraint("id", name="pk_annotation_reading"),
    )
    for table, *keys in (
        ("annotation", "object_id"),
        ("annotation", "annotated_by", "object_id"),
        ("annotation_reading", "reader", "object_id"),
    ):
        op.create_index(f"ix_{table}_{'_'.join(keys)}", table, keys)
    _create_partial(
        "uq_annotation_reading_done",
        "annotation_reading",
        ["object_id", "text_sha256", "reader"],
        "reopened_at IS NULL",
        unique=True,
    )
    for name, columns, where in (
        ("overruled", ["study_date", "object_id", "id"], "is_current AND rules_assertion <> assertion"),
        (
            "doubt",
            ["model_probability", "study_date", "object_id", "id"],
            "is_current AND model_probability IS NOT NULL",
        ),
    ):
        _create_partial(f"ix_finding_by_{name}", "finding", columns, where, unique=False)


def _of_object(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["object_id"], ["sop_instance.id"], name=f"fk_{table}_object_id_sop_instance", ondelete="CASCADE"
    )


def _create_partial(name: str, table: str, columns: list[str], where: str, *, unique: bool) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
