"""The table of what was written of reports for others to keep. The others are in `schema`."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, LargeBinary, Table, UniqueConstraint, text

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime
from dicomnlp.store.schema_metadata import metadata

# what is in an archive stays there whatever happens here: the row outlives the report
written_document = Table(
    "written_document",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("form", CleanText, nullable=False),
    Column("document_uid", CleanText, nullable=False),
    Column("series_instance_uid", CleanText),
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="SET NULL")),
    Column("source_sop_instance_uid", CleanText, nullable=False),
    Column("study_instance_uid", CleanText, nullable=False),
    Column("pipeline", CleanText, nullable=False),
    Column("is_withdrawal", Boolean, nullable=False),
    Column("is_latest", Boolean, nullable=False),
    Column("content_sha256", CleanText, nullable=False),
    Column("predecessors", Json, nullable=False),
    Column("left_out", Json, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("written_at", UTCDateTime, nullable=False),
    UniqueConstraint("document_uid"),
    Index(
        "uq_written_document_latest",
        "source_sop_instance_uid",
        "form",
        unique=True,
        sqlite_where=text("is_latest"),
        postgresql_where=text("is_latest"),
    ),
    Index(None, "source_sop_instance_uid"),
    Index(None, "object_id"),
    Index(None, "study_instance_uid"),
)
