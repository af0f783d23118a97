"""The tables of what a second reader would remark on reports. The others are in `schema`."""

from sqlalchemy import Boolean, Column, Double, ForeignKey, Index, Table

from dicomnlp.store.columns import CleanText, Json, RowId
from dicomnlp.store.schema_metadata import metadata

# by analysis: another pipeline remarks something else, and whichever is current counts
discrepancy = Table(
    "discrepancy",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("analysis_id", RowId, ForeignKey("analysis.id", ondelete="CASCADE"), nullable=False),
    Column("other_object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE")),
    Column("study_date", CleanText, nullable=False),
    Column("kind", CleanText, nullable=False),
    Column("rule", CleanText, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("statement", Json, nullable=False),
    Index(None, "analysis_id"),
    Index(None, "other_object_id"),
    Index(None, "study_date", "id"),
    Index(None, "kind", "study_date", "id"),
)

guidance = Table(
    "guidance",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("analysis_id", RowId, ForeignKey("analysis.id", ondelete="CASCADE"), nullable=False),
    Column("study_date", CleanText, nullable=False),
    Column("guideline", CleanText, nullable=False),
    Column("outcome", CleanText, nullable=False),
    Column("statement", Json, nullable=False),
    Index(None, "analysis_id"),
    Index(None, "study_date", "id"),
)

quality_measure = Table(
    "quality_measure",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("analysis_id", RowId, ForeignKey("analysis.id", ondelete="CASCADE"), nullable=False),
    Column("study_date", CleanText, nullable=False),
    Column("measure", CleanText, nullable=False),
    Column("met", Boolean, nullable=False),
    Column("statement", Json, nullable=False),
    Index(None, "analysis_id"),
    Index(None, "measure", "study_date", "id"),
)
