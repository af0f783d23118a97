"""Which studies a report belongs to, what prevails of it, and since when; assignments, patient merges, character sets.

What is held already gets its own study and the present as the beginning of its history. What else is new is read from
the objects: `dicomnlp reprocess --all` fills it in, and so does `--outdated`, since a program with another schema
has another pipeline.
"""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _object_id(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("object_id", RowId, nullable=False),
        sa.ForeignKeyConstraint(
            ["object_id"], ["sop_instance.id"], name=f"fk_{table}_object_id_sop_instance", ondelete="CASCADE"
        ),
    ]


def upgrade() -> None:
    """Add columns and tables."""
    _add_columns()
    _make_tables()
    _fill()


def _add_columns() -> None:
    def add(table: str, name: str, kind: sa.types.TypeEngine[str], default: str = "") -> None:
        op.add_column(table, sa.Column(name, kind, nullable=False, server_default=default))

    add("sop_instance", "character_set_override", CleanText())
    op.create_index("ix_sop_instance_accession_number", "sop_instance", ["accession_number"])
    op.create_index(
        "ix_sop_instance_patient_id_issuer_of_patient_id", "sop_instance", ["patient_id", "issuer_of_patient_id"]
    )
    for name in ("coded_findings", "identical_documents", "accession_numbers"):
        add("analysis", name, Json(), "[]")
    for name in ("verification_date_time", "character_set_override", "addendum", "content_sha256"):
        add("analysis", name, CleanText())
    for name in ("subject", "observer"):
        add("finding", name, CleanText())
    # findings are now found by the reports that belong to a study
    op.drop_index("ix_finding_study_instance_uid_is_current", "finding")


def _make_tables() -> None:
    op.create_table(
        "analysis_period",
        sa.Column("id", RowId, nullable=False),
        *_object_id("analysis_period"),
        sa.Column("pipeline", CleanText(), nullable=False),
        sa.Column("current_from", UTCDateTime(), nullable=False),
        sa.Column("current_until", UTCDateTime(), nullable=True),
        sa.Column("ended_by", CleanText(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_analysis_period"),
    )
    op.create_index("ix_analysis_period_object_id_current_from", "analysis_period", ["object_id", "current_from"])
    op.create_table(
        "report_study",
        *_object_id("report_study"),
        sa.Column("study_instance_uid", CleanText(), nullable=False),
        sa.Column("kind", CleanText(), nullable=False),
        sa.PrimaryKeyConstraint("object_id", "study_instance_uid", "kind", name="pk_report_study"),
    )
    op.create_index(
        "ix_report_study_study_instance_uid_kind_object_id", "report_study", ["study_instance_uid", "kind", "object_id"]
    )
    op.create_table(
        "report_reference",
        *_object_id("report_reference"),
        sa.Column("sop_instance_uid", CleanText(), nullable=False),
        sa.Column("kind", CleanText(), nullable=False),
        sa.PrimaryKeyConstraint("object_id", "sop_instance_uid", "kind", name="pk_report_reference"),
    )
    op.create_index(
        "ix_report_reference_sop_instance_uid_object_id", "report_reference", ["sop_instance_uid", "object_id"]
    )
    op.create_table(
        "report_accession",
        *_object_id("report_accession"),
        sa.Column("accession_number", CleanText(), nullable=False),
        sa.PrimaryKeyConstraint("object_id", "accession_number", name="pk_report_accession"),
    )
    op.create_index(
        "ix_report_accession_accession_number_object_id", "report_accession", ["accession_number", "object_id"]
    )
    op.create_table(
        "report_standing",
        *_object_id("report_standing"),
        sa.Column("study_instance_uid", CleanText(), nullable=False),
        sa.Column("is_preliminary", sa.Boolean(), nullable=False),
        sa.Column("copy_key", CleanText(), nullable=True),
        sa.Column("status", CleanText(), nullable=False),
        sa.Column("superseded_by", CleanText(), nullable=True),
        sa.Column("reason_code", CleanText(), nullable=True),
        sa.PrimaryKeyConstraint("object_id", name="pk_report_standing"),
    )
    op.create_index(
        "ix_report_standing_study_instance_uid_is_preliminary_object_id",
        "report_standing",
        ["study_instance_uid", "is_preliminary", "object_id"],
    )
    op.create_index("ix_report_standing_copy_key_object_id", "report_standing", ["copy_key", "object_id"])
    op.create_index("ix_report_standing_superseded_by_object_id", "report_standing", ["superseded_by", "object_id"])
    op.create_table(
        "study_assignment",
        sa.Column("id", RowId, nullable=False),
        *_object_id("study_assignment"),
        sa.Column("study_instance_uid", CleanText(), nullable=False),
        sa.Column("former_study_instance_uid", CleanText(), nullable=False),
        sa.Column("former_reason_code", CleanText(), nullable=True),
        sa.Column("assigned_at", UTCDateTime(), nullable=False),
        sa.Column("undone_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_study_assignment"),
    )
    op.create_index("ix_study_assignment_object_id", "study_assignment", ["object_id"])
    op.create_table(
        "patient_merge",
        sa.Column("id", RowId, nullable=False),
        sa.Column("old_patient_id", CleanText(), nullable=False),
        sa.Column("new_patient_id", CleanText(), nullable=False),
        sa.Column("issuer_of_patient_id", CleanText(), nullable=False),
        sa.Column("merged_at", UTCDateTime(), nullable=False),
        sa.Column("unmerged_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_patient_merge"),
    )
    op.create_index(
        "uq_patient_merge_active",
        "patient_merge",
        ["old_patient_id", "issuer_of_patient_id"],
        unique=True,
        sqlite_where=sa.text("unmerged_at IS NULL"),
        postgresql_where=sa.text("unmerged_at IS NULL"),
    )
    for name in ("old_patient_id", "new_patient_id"):
        op.create_index(
            f"ix_patient_merge_{name}_issuer_of_patient_id", "patient_merge", [name, "issuer_of_patient_id"]
        )


def _fill() -> None:
    op.execute(
        "INSERT INTO analysis_period (object_id, pipeline, current_from)"
        " SELECT a.object_id, a.pipeline, a.analysed_at FROM analysis a JOIN sop_instance o ON o.id = a.object_id"
        " WHERE a.is_current AND o.is_current"
    )
    op.execute(
        "INSERT INTO report_study (object_id, study_instance_uid, kind)"
        " SELECT o.id, o.study_instance_uid, 'own' FROM sop_instance o JOIN analysis a ON a.object_id = o.id"
        " WHERE a.is_current"
    )
    op.execute(
        "INSERT INTO report_standing (object_id, study_instance_uid, is_preliminary, status)"
        " SELECT o.id, o.study_instance_uid, a.preliminary_flag = 'PRELIMINARY', 'prevailing'"
        " FROM sop_instance o JOIN analysis a ON a.object_id = o.id WHERE a.is_current"
    )
