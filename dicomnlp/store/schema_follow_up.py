"""The tables of follow-up: what is owed to patients, what people decided of it, and what is to be looked at again."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Table, UniqueConstraint

from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime
from dicomnlp.store.schema_metadata import metadata

NEVER = "99991231"
"""In place of the day from which something is overdue that never is."""

follow_up_item = Table(
    "follow_up_item",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("study_instance_uid", CleanText, nullable=False),
    Column("key", CleanText, nullable=False),
    Column("object_id", RowId, ForeignKey("sop_instance.id", ondelete="CASCADE"), nullable=False),
    Column("study_date", CleanText, nullable=False),
    Column("category", CleanText, nullable=False),
    Column("modalities", CleanText, nullable=False),
    Column("procedure", CleanText),
    Column("anatomy_id", CleanText),
    Column("laterality", CleanText),
    Column("kind", CleanText, nullable=False),
    Column("conditional", Boolean, nullable=False),
    Column("due_from", CleanText, nullable=False),
    Column("due_to", CleanText),
    Column("overdue_on", CleanText, nullable=False),
    Column("status", CleanText, nullable=False),
    Column("done_study_instance_uid", CleanText),
    Column("done_on", CleanText),
    Column("statement", Json, nullable=False),
    Column("explanation", Json, nullable=False),
    Column("changed_at", UTCDateTime, nullable=False),
    UniqueConstraint("study_instance_uid", "key"),
    Index(None, "object_id"),
    Index(None, "done_study_instance_uid"),
    # the lists, and the counts of states from the index alone
    Index(None, "overdue_on", "id"),
    Index(None, "status", "overdue_on", "id", "due_from"),
    # a number that is given again would let somebody dismiss another item than the one that was shown
    sqlite_autoincrement=True,
)

# by study and what is asked, not by row: a decision outlives another analysis and an amended report
follow_up_decision = Table(
    "follow_up_decision",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("study_instance_uid", CleanText, nullable=False),
    Column("key", CleanText, nullable=False),
    Column("reason", CleanText, nullable=False),
    Column("note", CleanText, nullable=False),
    Column("decided_at", UTCDateTime, nullable=False),
    Column("decided_by", CleanText, nullable=False),
    Column("undone_at", UTCDateTime),
    Column("undone_by", CleanText),
    Index(None, "study_instance_uid", "key"),
)

follow_up_pending = Table(
    "follow_up_pending",
    metadata,
    Column("study_instance_uid", CleanText, primary_key=True),
    Column("changes", BigInteger, nullable=False),
)

image_study = Table(
    "image_study",
    metadata,
    Column("study_instance_uid", CleanText, primary_key=True),
    Column("patient_id", CleanText, nullable=False),
    Column("issuer_of_patient_id", CleanText, nullable=False),
    Column("study_date", CleanText, nullable=False),
    Column("study_time", CleanText, nullable=False),
    Column("modalities", CleanText, nullable=False),
    Column("body_parts_examined", CleanText, nullable=False),
    Column("lateralities", CleanText, nullable=False),
    Column("descriptions", Json, nullable=False),
    Index(None, "patient_id", "issuer_of_patient_id"),
)
