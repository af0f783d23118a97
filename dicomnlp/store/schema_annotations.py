"""The tables of what readers say of findings. The others are in `schema`."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, Table, text

from dicomnlp.store.columns import CleanText, RowId, UTCDateTime
from dicomnlp.store.schema_metadata import metadata

NOT_REOPENED = "reopened_at IS NULL"

# as it was when it was annotated: where another pipeline reads the object differently, offsets stay true of this
annotated_text = Table(
    "annotated_text",
    metadata,
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), primary_key=True),
    Column("text_sha256", CleanText, primary_key=True),
    Column("narrative", CleanText, nullable=False),
    Column("language", CleanText, nullable=False),
)

# rows are only added and taken back; of one reader and place the latest that isn't taken back counts
annotation = Table(
    "annotation",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), nullable=False),
    Column("text_sha256", CleanText, nullable=False),
    Column("start_offset", Integer, nullable=False),
    Column("end_offset", Integer, nullable=False),
    Column("finding_concept_id", CleanText, nullable=False),
    Column("verdict", CleanText, nullable=False),
    Column("concept_id", CleanText, nullable=False),
    Column("assertion", CleanText),
    Column("laterality", CleanText),
    Column("pipeline", CleanText, nullable=False),
    Column("adjudicates", Boolean, nullable=False),
    Column("annotated_at", UTCDateTime, nullable=False),
    Column("annotated_by", CleanText, nullable=False),
    Column("undone_at", UTCDateTime),
    Index(None, "object_id"),
    Index(None, "annotated_by", "object_id"),
    # else SQLite gives the number of a deleted row to the next, which then wouldn't be the latest
    sqlite_autoincrement=True,
)

annotation_reading = Table(
    "annotation_reading",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), nullable=False),
    Column("text_sha256", CleanText, nullable=False),
    Column("reader", CleanText, nullable=False),
    Column("done_at", UTCDateTime, nullable=False),
    Column("reopened_at", UTCDateTime),
    Index(
        "uq_annotation_reading_done",
        "object_id",
        "text_sha256",
        "reader",
        unique=True,
        sqlite_where=text(NOT_REOPENED),
        postgresql_where=text(NOT_REOPENED),
    ),
    Index(None, "reader", "object_id"),
)
