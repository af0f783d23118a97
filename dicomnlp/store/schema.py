"""The tables. docs/reference/database.md says what each column means; migrations/ must lead to the same."""

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    UniqueConstraint,
    text,
)

from dicomnlp.store import (  # noqa: F401  their tables belong to `metadata`, too
    schema_access,
    schema_annotations,
    schema_archives,
    schema_delivery,
    schema_drift,
    schema_follow_up,
    schema_pipelines,
    schema_remarks,
    schema_write_back,
)
from dicomnlp.store.columns import Bytes, CleanText, Json, RowId, UTCDateTime
from dicomnlp.store.schema_metadata import metadata

REVISION = "0017"
"""The schema that this program speaks: the newest migration."""

LANE_ARRIVAL = 0
LANE_REPROCESS = 1
"""Taken only when no arrival waits, so that reprocessing an archive never delays a new report."""

IS_FAILURE = "state IN ('failed', 'quarantined')"
IS_REFUSED = "outcome = 'refused'"
IS_OVERRULED = "is_current AND rules_assertion <> assertion"
HAS_PROBABILITY = "is_current AND model_probability IS NOT NULL"
"""Conditions of partial indexes: a statement that is to use the index says the same, word for word."""
CURRENT_ANALYSIS = text("analysis.is_current")
"""As its partial index says it; else SQLite may read all analyses that are current to find one."""

IDENTITY_COLUMNS = (
    "series_instance_uid",
    "patient_id",
    "issuer_of_patient_id",
    "patient_birth_date",
    "patient_sex",
    "accession_number",
    "modality",
    "study_date",
    "study_time",
    "content_date",
    "content_time",
    "study_description",
    "series_description",
    "institution_name",
    "station_name",
    "manufacturer",
    "body_part_examined",
)
"""Fields of model.Identity that are only carried, not used as keys."""

IMAGE_COLUMNS = (
    "series_instance_uid",
    "patient_id",
    "issuer_of_patient_id",
    "accession_number",
    "modality",
    "body_part_examined",
    "laterality",
    "image_laterality",
    "study_date",
    "study_time",
    "series_date",
    "series_time",
    "acquisition_date",
    "acquisition_time",
    "series_number",
    "instance_number",
    "number_of_frames",
    "study_description",
    "series_description",
    "protocol_name",
    "institution_name",
    "station_name",
    "manufacturer",
)
"""What is kept of an image's header: fields of model.Identity and model.ImageHeader."""

sop_instance = Table(
    "sop_instance",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("sop_instance_uid", CleanText, nullable=False),
    Column("version", Integer, nullable=False),
    Column("is_current", Boolean, nullable=False),
    Column("sha256", CleanText, nullable=False),
    Column("size", Integer, nullable=False),
    Column("sop_class_uid", CleanText, nullable=False),
    Column("transfer_syntax_uid", CleanText, nullable=False),
    Column("study_instance_uid", CleanText, nullable=False),
    *(Column(name, CleanText, nullable=False) for name in IDENTITY_COLUMNS),
    Column("door", CleanText, nullable=False),
    Column("calling_ae_title", CleanText, nullable=False),
    Column("received_at", UTCDateTime, nullable=False),
    Column("last_seen_at", UTCDateTime, nullable=False),
    Column("seen_count", Integer, nullable=False),
    Column("state", CleanText, nullable=False),
    Column("state_changed_at", UTCDateTime, nullable=False),
    Column("reason_code", CleanText),
    Column("attempts", Integer, nullable=False),
    Column("lane", SmallInteger, nullable=False),
    Column("reprocess_run_id", RowId, ForeignKey("reprocess_run.id", ondelete="SET NULL")),
    Column("character_set_override", CleanText, nullable=False, server_default=""),
    UniqueConstraint("sop_instance_uid", "sha256"),
    UniqueConstraint("sop_instance_uid", "version"),
    Index(
        "uq_sop_instance_current",
        "sop_instance_uid",
        unique=True,
        sqlite_where=text("is_current"),
        postgresql_where=text("is_current"),
    ),
    Index(None, "study_instance_uid"),
    Index(None, "accession_number"),
    Index(None, "patient_id", "issuer_of_patient_id"),
    # what to take next; beside it oldest pending and bytes held from the index alone
    Index("ix_sop_instance_queue", "state", "lane", "id", "state_changed_at", "size"),
    # latest failures; an arrival writes none of it
    Index(
        "ix_sop_instance_failure",
        "state",
        "state_changed_at",
        sqlite_where=text(IS_FAILURE),
        postgresql_where=text(IS_FAILURE),
    ),
    Index(
        None,
        "reprocess_run_id",
        "state",
        sqlite_where=text("reprocess_run_id IS NOT NULL"),
        postgresql_where=text("reprocess_run_id IS NOT NULL"),
    ),
    # else SQLite gives the number of a deleted row to the next, and a late result would go to another object
    sqlite_autoincrement=True,
)

# apart from sop_instance because SQLite writes a whole row anew for each change of state
original = Table(
    "original",
    metadata,
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

ledger = Table(
    "ledger",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("received_at", UTCDateTime, nullable=False),
    Column("door", CleanText, nullable=False),
    Column("calling_ae_title", CleanText, nullable=False),
    Column("called_ae_title", CleanText, nullable=False),
    Column("peer_address", CleanText, nullable=False),
    Column("sop_class_uid", CleanText),
    Column("sop_instance_uid", CleanText),
    Column("study_instance_uid", CleanText),
    Column("transfer_syntax_uid", CleanText),
    Column("sha256", CleanText, nullable=False),
    Column("size", Bytes, nullable=False),
    Column("outcome", CleanText, nullable=False),
    Column("status", Integer, nullable=False),
    Column("reason_code", CleanText),
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="SET NULL")),
    # every object that comes writes each index there is, while its sender waits
    Index(None, "received_at", "outcome", "reason_code"),
    Index("ix_ledger_refused", "outcome", "id", sqlite_where=text(IS_REFUSED), postgresql_where=text(IS_REFUSED)),
)

# no key of another table: a row stands by itself, and nothing of a report depends on it
image = Table(
    "image",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("sop_instance_uid", CleanText, nullable=False),
    Column("sop_class_uid", CleanText, nullable=False),
    Column("study_instance_uid", CleanText, nullable=False),
    *(Column(name, CleanText, nullable=False) for name in IMAGE_COLUMNS),
    Column("transfer_syntax_uid", CleanText, nullable=False),
    Column("sha256", CleanText, nullable=False),
    Column("size", Bytes, nullable=False),
    Column("door", CleanText, nullable=False),
    Column("calling_ae_title", CleanText, nullable=False),
    Column("received_at", UTCDateTime, nullable=False),
    Column("last_seen_at", UTCDateTime, nullable=False),
    Column("seen_count", Integer, nullable=False),
    UniqueConstraint("sop_instance_uid"),
    Index(None, "study_instance_uid", "series_instance_uid"),
    Index(None, "study_instance_uid", "modality", "body_part_examined"),
)

analysis = Table(
    "analysis",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), nullable=False),
    Column("pipeline", CleanText, nullable=False),
    Column("is_current", Boolean, nullable=False),
    Column("state", CleanText, nullable=False),
    Column("analysed_at", UTCDateTime, nullable=False),
    # what extract read
    Column("title", CleanText, nullable=False),
    Column("document_code", Json),
    Column("completion_flag", CleanText, nullable=False),
    Column("verification_flag", CleanText, nullable=False),
    Column("preliminary_flag", CleanText, nullable=False),
    Column("declared_language", CleanText, nullable=False),
    Column("character_set", Json, nullable=False),
    Column("narrative", CleanText, nullable=False),
    Column("narrative_sections", Json, nullable=False),
    Column("segments", Json, nullable=False),
    Column("items", Json, nullable=False),
    Column("coded_measurements", Json, nullable=False),
    Column("evidence", Json, nullable=False),
    Column("predecessors", Json, nullable=False),
    Column("report_warnings", Json, nullable=False),
    # what analyse made of it; NULL when there was no text
    Column("language", CleanText),
    Column("sections", Json),
    Column("measurements", Json),
    Column("labels", Json),
    Column("analysis_warnings", Json),
    # since revision 0002
    Column("coded_findings", Json, nullable=False, server_default="[]"),
    Column("identical_documents", Json, nullable=False, server_default="[]"),
    Column("accession_numbers", Json, nullable=False, server_default="[]"),
    Column("verification_date_time", CleanText, nullable=False, server_default=""),
    Column("character_set_override", CleanText, nullable=False, server_default=""),
    Column("addendum", CleanText, nullable=False, server_default=""),
    Column("content_sha256", CleanText, nullable=False, server_default=""),
    # since revision 0003
    Column("recommendations", Json, nullable=False, server_default="[]"),
    Column("scores", Json, nullable=False, server_default="[]"),
    Column("communications", Json, nullable=False, server_default="[]"),
    Column("demographics", Json, nullable=False, server_default="[]"),
    # since revision 0011
    Column("modalities", Json),
    # since revision 0015
    Column("rules_labels", Json),
    Column("model", CleanText, nullable=False, server_default=""),
    UniqueConstraint("object_id", "pipeline"),
    Index(
        "uq_analysis_current",
        "object_id",
        unique=True,
        sqlite_where=text("is_current"),
        postgresql_where=text("is_current"),
    ),
    Index(None, "is_current", "pipeline", "object_id"),
    Index(None, "analysed_at"),
)

finding = Table(
    "finding",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("analysis_id", RowId, ForeignKey("analysis.id", ondelete="CASCADE"), nullable=False),
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), nullable=False),
    Column("study_instance_uid", CleanText, nullable=False),
    Column("sop_instance_uid", CleanText, nullable=False),
    Column("is_current", Boolean, nullable=False),
    Column("concept_id", CleanText, nullable=False),
    Column("concept_code", CleanText),
    Column("concept_scheme", CleanText),
    Column("concept_meaning", CleanText, nullable=False),
    Column("text", CleanText, nullable=False),
    Column("start_offset", Integer, nullable=False),
    Column("end_offset", Integer, nullable=False),
    Column("sentence", CleanText, nullable=False),
    Column("section", CleanText, nullable=False),
    Column("assertion", CleanText, nullable=False),
    Column("is_negated", Boolean, nullable=False),
    Column("is_uncertain", Boolean, nullable=False),
    Column("is_historical", Boolean, nullable=False),
    Column("is_hypothetical", Boolean, nullable=False),
    Column("is_family", Boolean, nullable=False),
    Column("cues", Json, nullable=False),
    Column("anatomy", Json),
    Column("laterality", CleanText),
    Column("severity", CleanText),
    Column("change", CleanText),
    Column("measurements", Json, nullable=False),
    Column("critical", Boolean, nullable=False),
    Column("item_path", CleanText),
    Column("language", CleanText, nullable=False),
    Column("pipeline", CleanText, nullable=False),
    Column("analysed_at", UTCDateTime, nullable=False),
    Column("subject", CleanText, nullable=False, server_default=""),
    Column("observer", CleanText, nullable=False, server_default=""),
    # since revision 0003
    Column("acuity", CleanText),
    Column("count", CleanText),
    Column("levels", Json, nullable=False, server_default="[]"),
    Column("image_references", Json, nullable=False, server_default="[]"),
    # since revision 0007: what searches look for
    Column("anatomy_id", CleanText),
    Column("size_mm", Double),
    Column("study_date", CleanText, nullable=False, server_default=""),
    # since revision 0015
    Column("rules_assertion", CleanText),
    Column("model_probability", Double),
    Index(None, "object_id"),
    Index(None, "analysis_id"),
    *(
        Index(
            f"ix_finding_by_{name}",
            *columns,
            "study_date",
            "object_id",
            "id",
            sqlite_where=text(where),
            postgresql_where=text(where),
        )
        for name, columns, where in (
            ("date", (), "is_current"),
            ("concept", ("concept_id", "assertion"), "is_current"),
            ("anatomy", ("anatomy_id",), "is_current AND anatomy_id IS NOT NULL"),
            ("size", (), "is_current AND size_mm IS NOT NULL"),
            ("critical", (), "is_current AND critical"),
            ("overruled", (), IS_OVERRULED),
            ("doubt", ("model_probability",), HAS_PROBABILITY),
        )
    ),
)

# apart from sop_instance because this is read through, where a filter fits few reports and none of its indices helps
report_profile = Table(
    "report_profile",
    metadata,
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), primary_key=True),
    Column("study_date", CleanText, nullable=False),
    Column("modality", CleanText, nullable=False),
    Column("body_part_examined", CleanText, nullable=False),
    Column("patient_sex", CleanText, nullable=False),
    Column("patient_age", Integer),
    Column("station_name", CleanText, nullable=False),
    Column("institution_name", CleanText, nullable=False),
    Column("calling_ae_title", CleanText, nullable=False),
)

recommendation = Table(
    "recommendation",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), nullable=False),
    Column("study_date", CleanText, nullable=False),
    Column("procedure", CleanText),
    Column("modality", CleanText),
    Column("anatomy_id", CleanText),
    Column("kind", CleanText, nullable=False),
    Column("conditional", Boolean, nullable=False),
    Column("due_from", CleanText),
    Column("due_to", CleanText),
    Column("statement", Json, nullable=False),
    Index(None, "object_id"),
    Index(None, "study_date", "id"),
)

cohort = Table(
    "cohort",
    metadata,
    Column("name", CleanText, primary_key=True),
    Column("filters", Json, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("created_by", CleanText, nullable=False),
    # since revision 0008: of whoever made it
    Column("scope", Json, nullable=False, server_default='{"calling_ae_titles":null,"institutions":null}'),
)

analysis_period = Table(
    "analysis_period",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), nullable=False),
    Column("pipeline", CleanText, nullable=False),
    Column("current_from", UTCDateTime, nullable=False),
    Column("current_until", UTCDateTime),
    Column("ended_by", CleanText),
    Index(None, "object_id", "current_from"),
)

report_study = Table(
    "report_study",
    metadata,
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), primary_key=True),
    Column("study_instance_uid", CleanText, primary_key=True),
    Column("kind", CleanText, primary_key=True),
    Index(None, "study_instance_uid", "kind", "object_id"),
)

report_reference = Table(
    "report_reference",
    metadata,
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), primary_key=True),
    Column("sop_instance_uid", CleanText, primary_key=True),
    Column("kind", CleanText, primary_key=True),
    Index(None, "sop_instance_uid", "object_id"),
)

report_accession = Table(
    "report_accession",
    metadata,
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), primary_key=True),
    Column("accession_number", CleanText, primary_key=True),
    Index(None, "accession_number", "object_id"),
)

report_standing = Table(
    "report_standing",
    metadata,
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), primary_key=True),
    Column("study_instance_uid", CleanText, nullable=False),
    Column("is_preliminary", Boolean, nullable=False),
    Column("copy_key", CleanText),
    Column("status", CleanText, nullable=False),
    Column("superseded_by", CleanText),
    Column("reason_code", CleanText),
    Index(None, "study_instance_uid", "is_preliminary", "object_id"),
    Index(None, "copy_key", "object_id"),
    Index(None, "superseded_by", "object_id"),
)

study_assignment = Table(
    "study_assignment",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), nullable=False),
    Column("study_instance_uid", CleanText, nullable=False),
    Column("former_study_instance_uid", CleanText, nullable=False),
    Column("former_reason_code", CleanText),
    Column("assigned_at", UTCDateTime, nullable=False),
    Column("undone_at", UTCDateTime),
    Index(None, "object_id"),
    Index(None, "study_instance_uid"),
)

# by UID, not by row: what is decided of a report and a note holds for every version of both
rejection_revocation = Table(
    "rejection_revocation",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("sop_instance_uid", CleanText, nullable=False),
    Column("note_sop_instance_uid", CleanText, nullable=False),
    Column("revoked_at", UTCDateTime, nullable=False),
    Column("undone_at", UTCDateTime),
    Index(None, "sop_instance_uid"),
    Index(None, "note_sop_instance_uid"),
)

patient_merge = Table(
    "patient_merge",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("old_patient_id", CleanText, nullable=False),
    Column("new_patient_id", CleanText, nullable=False),
    Column("issuer_of_patient_id", CleanText, nullable=False),
    Column("merged_at", UTCDateTime, nullable=False),
    Column("unmerged_at", UTCDateTime),
    Index(
        "uq_patient_merge_active",
        "old_patient_id",
        "issuer_of_patient_id",
        unique=True,
        sqlite_where=text("unmerged_at IS NULL"),
        postgresql_where=text("unmerged_at IS NULL"),
    ),
    Index(None, "old_patient_id", "issuer_of_patient_id"),
    Index(None, "new_patient_id", "issuer_of_patient_id"),
)

traffic = Table(
    "traffic",
    metadata,
    Column("calling_ae_title", CleanText, primary_key=True),
    Column("measure", CleanText, primary_key=True),
    Column("label", CleanText, primary_key=True),
    Column("value", Double, nullable=False),
)
