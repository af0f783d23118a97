"""The tables of critical results and of what is told to others. The others are in `schema`."""

from sqlalchemy import Column, ForeignKey, Index, Integer, Table, UniqueConstraint, text

from dicomnlp.store.columns import CleanText, RowId, UTCDateTime
from dicomnlp.store.schema_metadata import metadata

# by UID and concept, not by finding: whoever was told knows it, however often the report is analysed anew
acknowledgement = Table(
    "acknowledgement",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("sop_instance_uid", CleanText, nullable=False),
    Column("concept_id", CleanText, nullable=False),
    Column("acknowledged_at", UTCDateTime, nullable=False),
    Column("acknowledged_by", CleanText, nullable=False),
    Column("recipient", CleanText, nullable=False),
    Column("note", CleanText, nullable=False),
    Column("undone_at", UTCDateTime),
    Column("undone_by", CleanText),
    Index(
        "uq_acknowledgement_active",
        "sop_instance_uid",
        "concept_id",
        unique=True,
        sqlite_where=text("undone_at IS NULL"),
        postgresql_where=text("undone_at IS NULL"),
    ),
)

destination = Table(
    "destination",
    metadata,
    Column("name", CleanText, primary_key=True),
    Column("from_object_id", RowId, nullable=False),
    Column("analysis_id", RowId, nullable=False),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("destination", CleanText, nullable=False),
    Column("topic", CleanText, nullable=False),
    Column("key", CleanText, nullable=False),
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), nullable=False),
    Column("study_instance_uid", CleanText, nullable=False),
    Column("sop_instance_uid", CleanText, nullable=False),
    Column("concept_id", CleanText),
    Column("state", CleanText, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("due_at", UTCDateTime),
    Column("changed_at", UTCDateTime, nullable=False),
    Column("reason_code", CleanText),
    UniqueConstraint("destination", "key"),
    Index(None, "state", "due_at"),
    Index(None, "object_id"),
    Index(None, "sop_instance_uid"),
)
