"""What a second reader would remark: contradictions, guidance of guidelines, measures of quality."""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, Json, RowId

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; `dicomnlp reprocess --all` fills them for what is held."""
    op.create_table(
        "discrepancy",
        sa.Column("id", RowId, nullable=False),
        sa.Column("analysis_id", RowId, nullable=False),
        sa.Column("other_object_id", RowId, nullable=True),
        sa.Column("study_date", CleanText(), nullable=False),
        sa.Column("kind", CleanText(), nullable=False),
        sa.Column("rule", CleanText(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("statement", Json(), nullable=False),
        _of_analysis("discrepancy"),
        sa.ForeignKeyConstraint(
            ["other_object_id"],
            ["sop_instance.id"],
            name="fk_discrepancy_other_object_id_sop_instance",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_discrepancy"),
    )
    op.create_table(
        "guidance",
        sa.Column("id", RowId, nullable=False),
        sa.Column("analysis_id", RowId, nullable=False),
        sa.Column("study_date", CleanText(), nullable=False),
        sa.Column("guideline", CleanText(), nullable=False),
        sa.Column("outcome", CleanText(), nullable=False),
        sa.Column("statement", Json(), nullable=False),
        _of_analysis("guidance"),
        sa.PrimaryKeyConstraint("id", name="pk_guidance"),
    )
    op.create_table(
        "quality_measure",
        sa.Column("id", RowId, nullable=False),
        sa.Column("analysis_id", RowId, nullable=False),
        sa.Column("study_date", CleanText(), nullable=False),
        sa.Column("measure", CleanText(), nullable=False),
        sa.Column("met", sa.Boolean(), nullable=False),
        sa.Column("statement", Json(), nullable=False),
        _of_analysis("quality_measure"),
        sa.PrimaryKeyConstraint("id", name="pk_quality_measure"),
    )
    for table, *columns in (
        ("discrepancy", "analysis_id"),
        ("discrepancy", "other_object_id"),
        ("discrepancy", "study_date", "id"),
        ("discrepancy", "kind", "study_date", "id"),
        ("guidance", "analysis_id"),
        ("guidance", "study_date", "id"),
        ("quality_measure", "analysis_id"),
        ("quality_measure", "measure", "study_date", "id"),
    ):
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)


def _of_analysis(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["analysis_id"], ["analysis.id"], name=f"fk_{table}_analysis_id_analysis", ondelete="CASCADE"
    )
