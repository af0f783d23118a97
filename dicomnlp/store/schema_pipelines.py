"""The tables of pipelines: those that a site has added, which counted when, and what is processed again."""

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, Table

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime
from dicomnlp.store.schema_metadata import metadata

pipeline = Table(
    "pipeline",
    metadata,
    Column("name", CleanText, primary_key=True),
    Column("archive", LargeBinary, nullable=False),
    Column("sha256", CleanText, nullable=False),
    Column("names", Json, nullable=False),
    Column("added_at", UTCDateTime, nullable=False),
    Column("added_by", CleanText, nullable=False),
)

# no key of another table: a pipeline that counted once is told of after it was removed, too
promotion = Table(
    "promotion",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("pipeline", CleanText, nullable=False),
    Column("names", Json, nullable=False),
    Column("undoes", RowId),
    Column("promoted_at", UTCDateTime, nullable=False),
    Column("promoted_by", CleanText, nullable=False),
    Column("last_object_id", RowId, nullable=False),
    Column("walked_to_object_id", RowId, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("switched", Integer, nullable=False),
    Column("marked", Integer, nullable=False),
    Column("finished_at", UTCDateTime),
    # its number is the generation by which a result is known to be of today
    sqlite_autoincrement=True,
)

shadow_failure = Table(
    "shadow_failure",
    metadata,
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), primary_key=True),
    Column("pipeline", CleanText, primary_key=True),
    Column("reason_code", CleanText, nullable=False),
    Column("failed_at", UTCDateTime, nullable=False),
    Index(None, "pipeline", "object_id"),
)

reprocess_run = Table(
    "reprocess_run",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("selection", CleanText, nullable=False),
    Column("total", Integer, nullable=False),
    Column("marked_to_object_id", RowId, nullable=False),
    Column("last_object_id", RowId, nullable=False),
    Column("started_at", UTCDateTime, nullable=False),
    Index(None, "selection"),
)
