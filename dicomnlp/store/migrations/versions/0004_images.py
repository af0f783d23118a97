"""Headers of images; sizes in the ledger that go beyond two gigabytes; traffic by calling AE title."""

import sqlalchemy as sa
from alembic import op

from dicomnlp.store.columns import Bytes, CleanText, RowId, UTCDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_HEADER = (
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


def upgrade() -> None:
    """Add tables; widen a column where the database has widths."""
    op.create_table(
        "image",
        sa.Column("id", RowId, nullable=False),
        sa.Column("sop_instance_uid", CleanText(), nullable=False),
        sa.Column("sop_class_uid", CleanText(), nullable=False),
        sa.Column("study_instance_uid", CleanText(), nullable=False),
        *(sa.Column(name, CleanText(), nullable=False) for name in _HEADER),
        sa.Column("transfer_syntax_uid", CleanText(), nullable=False),
        sa.Column("sha256", CleanText(), nullable=False),
        sa.Column("size", Bytes, nullable=False),
        sa.Column("door", CleanText(), nullable=False),
        sa.Column("calling_ae_title", CleanText(), nullable=False),
        sa.Column("received_at", UTCDateTime(), nullable=False),
        sa.Column("last_seen_at", UTCDateTime(), nullable=False),
        sa.Column("seen_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_image"),
        sa.UniqueConstraint("sop_instance_uid", name="uq_image_sop_instance_uid"),
    )
    op.create_index(
        "ix_image_study_instance_uid_series_instance_uid", "image", ["study_instance_uid", "series_instance_uid"]
    )
    op.create_table(
        "traffic",
        sa.Column("calling_ae_title", CleanText(), nullable=False),
        sa.Column("measure", CleanText(), nullable=False),
        sa.Column("label", CleanText(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("calling_ae_title", "measure", "label", name="pk_traffic"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("ledger", "size", type_=sa.BigInteger())
