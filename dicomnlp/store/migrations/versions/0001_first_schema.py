"""First schema."""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "reprocess_run",
        sa.Column("id", RowId, nullable=False),
        sa.Column("selection", CleanText(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("marked_to_object_id", RowId, nullable=False),
        sa.Column("last_object_id", RowId, nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reprocess_run"),
    )
    op.create_index("ix_reprocess_run_selection", "reprocess_run", ["selection"], unique=False)
    op.create_table(
        "sop_instance",
        sa.Column("id", RowId, nullable=False),
        sa.Column("sop_instance_uid", CleanText(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("sha256", CleanText(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sop_class_uid", CleanText(), nullable=False),
        sa.Column("transfer_syntax_uid", CleanText(), nullable=False),
        sa.Column("study_instance_uid", CleanText(), nullable=False),
        sa.Column("series_instance_uid", CleanText(), nullable=False),
        sa.Column("patient_id", CleanText(), nullable=False),
        sa.Column("issuer_of_patient_id", CleanText(), nullable=False),
        sa.Column("patient_birth_date", CleanText(), nullable=False),
        sa.Column("patient_sex", CleanText(), nullable=False),
        sa.Column("accession_number", CleanText(), nullable=False),
        sa.Column("modality", CleanText(), nullable=False),
        sa.Column("study_date", CleanText(), nullable=False),
        sa.Column("study_time", CleanText(), nullable=False),
        sa.Column("content_date", CleanText(), nullable=False),
        sa.Column("content_time", CleanText(), nullable=False),
        sa.Column("study_description", CleanText(), nullable=False),
        sa.Column("series_description", CleanText(), nullable=False),
        sa.Column("institution_name", CleanText(), nullable=False),
        sa.Column("station_name", CleanText(), nullable=False),
        sa.Column("manufacturer", CleanText(), nullable=False),
        sa.Column("body_part_examined", CleanText(), nullable=False),
        sa.Column("door", CleanText(), nullable=False),
        sa.Column("calling_ae_title", CleanText(), nullable=False),
        sa.Column("received_at", UTCDateTime(), nullable=False),
        sa.Column("last_seen_at", UTCDateTime(), nullable=False),
        sa.Column("seen_count", sa.Integer(), nullable=False),
        sa.Column("state", CleanText(), nullable=False),
        sa.Column("state_changed_at", UTCDateTime(), nullable=False),
        sa.Column("reason_code", CleanText(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("reprocess_run_id", RowId, nullable=True),
        sa.ForeignKeyConstraint(
            ["reprocess_run_id"],
            ["reprocess_run.id"],
            name="fk_sop_instance_reprocess_run_id_reprocess_run",
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_sop_instance"),
        sa.UniqueConstraint("sop_instance_uid", "sha256", name="uq_sop_instance_sop_instance_uid_sha256"),
        sa.UniqueConstraint("sop_instance_uid", "version", name="uq_sop_instance_sop_instance_uid_version"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_sop_instance_reprocess_run_id_state",
        "sop_instance",
        ["reprocess_run_id", "state"],
        unique=False,
        sqlite_where=sa.text("reprocess_run_id IS NOT NULL"),
        postgresql_where=sa.text("reprocess_run_id IS NOT NULL"),
    )
    op.create_index("ix_sop_instance_state_lane_id", "sop_instance", ["state", "lane", "id"], unique=False)
    op.create_index(
        "ix_sop_instance_state_state_changed_at_size",
        "sop_instance",
        ["state", "state_changed_at", "size"],
        unique=False,
    )
    op.create_index("ix_sop_instance_study_instance_uid", "sop_instance", ["study_instance_uid"], unique=False)
    op.create_index(
        "uq_sop_instance_current",
        "sop_instance",
        ["sop_instance_uid"],
        unique=True,
        sqlite_where=sa.text("is_current"),
        postgresql_where=sa.text("is_current"),
    )
    op.create_table(
        "analysis",
        sa.Column("id", RowId, nullable=False),
        sa.Column("object_id", RowId, nullable=False),
        sa.Column("pipeline", CleanText(), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("state", CleanText(), nullable=False),
        sa.Column("analysed_at", UTCDateTime(), nullable=False),
        sa.Column("title", CleanText(), nullable=False),
        sa.Column("document_code", Json(), nullable=True),
        sa.Column("completion_flag", CleanText(), nullable=False),
        sa.Column("verification_flag", CleanText(), nullable=False),
        sa.Column("preliminary_flag", CleanText(), nullable=False),
        sa.Column("declared_language", CleanText(), nullable=False),
        sa.Column("character_set", Json(), nullable=False),
        sa.Column("narrative", CleanText(), nullable=False),
        sa.Column("narrative_sections", Json(), nullable=False),
        sa.Column("segments", Json(), nullable=False),
        sa.Column("items", Json(), nullable=False),
        sa.Column("coded_measurements", Json(), nullable=False),
        sa.Column("evidence", Json(), nullable=False),
        sa.Column("predecessors", Json(), nullable=False),
        sa.Column("report_warnings", Json(), nullable=False),
        sa.Column("language", CleanText(), nullable=True),
        sa.Column("sections", Json(), nullable=True),
        sa.Column("measurements", Json(), nullable=True),
        sa.Column("labels", Json(), nullable=True),
        sa.Column("analysis_warnings", Json(), nullable=True),
        sa.ForeignKeyConstraint(
            ["object_id"], ["sop_instance.id"], name="fk_analysis_object_id_sop_instance", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_analysis"),
        sa.UniqueConstraint("object_id", "pipeline", name="uq_analysis_object_id_pipeline"),
    )
    op.create_index("ix_analysis_analysed_at", "analysis", ["analysed_at"], unique=False)
    op.create_index(
        "ix_analysis_is_current_pipeline_object_id", "analysis", ["is_current", "pipeline", "object_id"], unique=False
    )
    op.create_index(
        "uq_analysis_current",
        "analysis",
        ["object_id"],
        unique=True,
        sqlite_where=sa.text("is_current"),
        postgresql_where=sa.text("is_current"),
    )
    op.create_table(
        "ledger",
        sa.Column("id", RowId, nullable=False),
        sa.Column("received_at", UTCDateTime(), nullable=False),
        sa.Column("door", CleanText(), nullable=False),
        sa.Column("calling_ae_title", CleanText(), nullable=False),
        sa.Column("called_ae_title", CleanText(), nullable=False),
        sa.Column("peer_address", CleanText(), nullable=False),
        sa.Column("sop_class_uid", CleanText(), nullable=True),
        sa.Column("sop_instance_uid", CleanText(), nullable=True),
        sa.Column("study_instance_uid", CleanText(), nullable=True),
        sa.Column("transfer_syntax_uid", CleanText(), nullable=True),
        sa.Column("sha256", CleanText(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("outcome", CleanText(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("reason_code", CleanText(), nullable=True),
        sa.Column("object_id", RowId, nullable=True),
        sa.ForeignKeyConstraint(
            ["object_id"], ["sop_instance.id"], name="fk_ledger_object_id_sop_instance", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_ledger"),
    )
    op.create_index("ix_ledger_object_id", "ledger", ["object_id"], unique=False)
    op.create_index("ix_ledger_outcome_reason_code_id", "ledger", ["outcome", "reason_code", "id"], unique=False)
    op.create_index("ix_ledger_received_at", "ledger", ["received_at"], unique=False)
    op.create_table(
        "original",
        sa.Column("object_id", RowId, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["object_id"], ["sop_instance.id"], name="fk_original_object_id_sop_instance", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("object_id", name="pk_original"),
    )
    op.create_table(
        "finding",
        sa.Column("id", RowId, nullable=False),
        sa.Column("analysis_id", RowId, nullable=False),
        sa.Column("object_id", RowId, nullable=False),
        sa.Column("study_instance_uid", CleanText(), nullable=False),
        sa.Column("sop_instance_uid", CleanText(), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("concept_id", CleanText(), nullable=False),
        sa.Column("concept_code", CleanText(), nullable=True),
        sa.Column("concept_scheme", CleanText(), nullable=True),
        sa.Column("concept_meaning", CleanText(), nullable=False),
        sa.Column("text", CleanText(), nullable=False),
        sa.Column("start_offset", sa.Integer(), nullable=False),
        sa.Column("end_offset", sa.Integer(), nullable=False),
        sa.Column("sentence", CleanText(), nullable=False),
        sa.Column("section", CleanText(), nullable=False),
        sa.Column("assertion", CleanText(), nullable=False),
        sa.Column("is_negated", sa.Boolean(), nullable=False),
        sa.Column("is_uncertain", sa.Boolean(), nullable=False),
        sa.Column("is_historical", sa.Boolean(), nullable=False),
        sa.Column("is_hypothetical", sa.Boolean(), nullable=False),
        sa.Column("is_family", sa.Boolean(), nullable=False),
        sa.Column("cues", Json(), nullable=False),
        sa.Column("anatomy", Json(), nullable=True),
        sa.Column("laterality", CleanText(), nullable=True),
        sa.Column("severity", CleanText(), nullable=True),
        sa.Column("change", CleanText(), nullable=True),
        sa.Column("measurements", Json(), nullable=False),
        sa.Column("critical", sa.Boolean(), nullable=False),
        sa.Column("item_path", CleanText(), nullable=True),
        sa.Column("language", CleanText(), nullable=False),
        sa.Column("pipeline", CleanText(), nullable=False),
        sa.Column("analysed_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["analysis_id"], ["analysis.id"], name="fk_finding_analysis_id_analysis", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["object_id"], ["sop_instance.id"], name="fk_finding_object_id_sop_instance", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_finding"),
    )
    op.create_index("ix_finding_analysis_id", "finding", ["analysis_id"], unique=False)
    op.create_index("ix_finding_object_id", "finding", ["object_id"], unique=False)
    op.create_index(
        "ix_finding_study_instance_uid_is_current", "finding", ["study_instance_uid", "is_current"], unique=False
    )
