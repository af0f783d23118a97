"""The tables of what is counted of reports week by week, to see whether they change. The others are in `schema`."""

from sqlalchemy import Boolean, Column, Index, Integer, Table

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime
from dicomnlp.store.schema_metadata import metadata

drift_count = Table(
    "drift_count",
    metadata,
    Column("language", CleanText, primary_key=True),
    Column("week", CleanText, primary_key=True),
    Column("source", CleanText, primary_key=True),
    Column("measure", CleanText, primary_key=True),
    Column("item", CleanText, primary_key=True),
    Column("count", Integer, nullable=False),
)

# by digest: the text is kept only of words that are no one's in particular
drift_word = Table(
    "drift_word",
    metadata,
    Column("language", CleanText, primary_key=True),
    Column("digest", CleanText, primary_key=True),
    Column("word", CleanText),
    Column("reports", Integer, nullable=False),
    Column("patients", Json, nullable=False),
    Column("known_from", CleanText),
    Column("last_week", CleanText, nullable=False),
    Index(None, "language", "known_from"),
)

drift_week = Table(
    "drift_week",
    metadata,
    Column("language", CleanText, primary_key=True),
    Column("week", CleanText, primary_key=True),
    Column("reports", Integer, nullable=False),
    Column("first_object_id", RowId, nullable=False),
    Column("last_object_id", RowId, nullable=False),
    Column("judged_at", UTCDateTime),
    Column("reason_code", CleanText),
    Column("reference_from", CleanText),
    Column("reference_to", CleanText),
    Column("reference_reports", Integer, nullable=False),
    Column("instability", Json, nullable=False),
    Column("moves", Json, nullable=False),
    Column("words", Json, nullable=False),
    Column("is_alarm", Boolean, nullable=False),
    Column("cleared_at", UTCDateTime),
    Column("acknowledged_at", UTCDateTime),
    Column("acknowledged_by", CleanText, nullable=False),
)

# one row
drift_progress = Table(
    "drift_progress",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("last_object_id", RowId, nullable=False),
)
