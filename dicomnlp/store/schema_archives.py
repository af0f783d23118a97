"""The tables of what archives were asked and promised: comparisons with them, and storage that they asked to commit."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, Table, UniqueConstraint, text

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime
from dicomnlp.store.schema_metadata import metadata

IS_WANTED = "fetch_state = 'wanted'"
IS_REQUESTED = "state = 'requested'"
IS_UNREPORTED = "next_attempt_at IS NOT NULL"
"""Conditions of partial indexes: a statement that is to use the index says the same, word for word."""

reconciliation = Table(
    "reconciliation",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("pacs", CleanText, nullable=False),
    Column("study_date", CleanText, nullable=False),
    Column("state", CleanText, nullable=False),
    Column("fetches", Boolean, nullable=False),
    Column("requested_by", CleanText, nullable=False),
    Column("requested_at", UTCDateTime, nullable=False),
    Column("compared_at", UTCDateTime),
    Column("reason_code", CleanText),
    Column("studies", Integer, nullable=False),
    Column("unread_studies", Integer, nullable=False),
    Column("objects", Integer, nullable=False),
    Column("waiting", Integer, nullable=False),
    UniqueConstraint("pacs", "study_date"),
    Index(None, "study_date", "id"),
    Index(
        "ix_reconciliation_requested",
        "pacs",
        "requested_at",
        sqlite_where=text(IS_REQUESTED),
        postgresql_where=text(IS_REQUESTED),
    ),
)

reconciliation_item = Table(
    "reconciliation_item",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("reconciliation_id", RowId, ForeignKey("reconciliation.id", ondelete="CASCADE"), nullable=False),
    Column("sop_instance_uid", CleanText, nullable=False),
    Column("study_instance_uid", CleanText, nullable=False),
    Column("series_instance_uid", CleanText, nullable=False),
    Column("sop_class_uid", CleanText, nullable=False),
    Column("kind", CleanText, nullable=False),
    Column("reason_code", CleanText),
    Column("pipeline", CleanText),
    Column("fetch_state", CleanText),
    Column("fetch_reason_code", CleanText),
    Column("fetched_at", UTCDateTime),
    UniqueConstraint("reconciliation_id", "sop_instance_uid"),
    Index(
        "ix_reconciliation_item_wanted",
        "reconciliation_id",
        "id",
        sqlite_where=text(IS_WANTED),
        postgresql_where=text(IS_WANTED),
    ),
)

storage_commitment = Table(
    "storage_commitment",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("transaction_uid", CleanText, nullable=False),
    Column("calling_ae_title", CleanText, nullable=False),
    Column("called_ae_title", CleanText, nullable=False),
    Column("requested_at", UTCDateTime, nullable=False),
    Column("instances", Json, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("reported_at", UTCDateTime),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UTCDateTime),
    Column("reason_code", CleanText),
    UniqueConstraint("calling_ae_title", "transaction_uid"),
    Index(
        "ix_storage_commitment_unreported",
        "next_attempt_at",
        sqlite_where=text(IS_UNREPORTED),
        postgresql_where=text(IS_UNREPORTED),
    ),
)
