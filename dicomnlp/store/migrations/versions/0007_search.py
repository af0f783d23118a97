"""What searches look for: site, size and date of findings, profiles and words of reports, recommendations, cohorts."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from dicomnlp.store import fulltext
from dicomnlp.store.columns import CleanText, Json, RowId, UTCDateTime
from dicomnlp.store.searchable import age_at, days_after

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_AT_ONCE = 1000
_NOT_IMAGES = ("", "SR", "KO", "PR", "DOC", "OT", "SC", "SEG", "REG", "RWV", "M3D", "PLAN", "ASMT")


def upgrade() -> None:
    """Add columns, indices and tables, and fill them from what is held.

    The modality that the words of an exam name is not among it: reports analysed before have it once they are
    processed again.
    """
    op.add_column("finding", sa.Column("anatomy_id", CleanText(), nullable=True))
    op.add_column("finding", sa.Column("size_mm", sa.Double(), nullable=True))
    op.add_column("finding", sa.Column("study_date", CleanText(), nullable=False, server_default=""))
    _create_tables()
    connection = op.get_bind()
    fulltext.create(connection)
    _fill_findings(connection)
    _fill_reports(connection)
    order = ["study_date", "object_id", "id"]
    for name, columns, where in (
        ("date", [], "is_current"),
        ("concept", ["concept_id", "assertion"], "is_current"),
        ("anatomy", ["anatomy_id"], "is_current AND anatomy_id IS NOT NULL"),
        ("size", [], "is_current AND size_mm IS NOT NULL"),
        ("critical", [], "is_current AND critical"),
    ):
        op.create_index(
            f"ix_finding_by_{name}",
            "finding",
            [*columns, *order],
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )
    op.create_index(
        "ix_image_study_instance_uid_modality_body_part_examined",
        "image",
        ["study_instance_uid", "modality", "body_part_examined"],
    )


def _create_tables() -> None:
    own: list[sa.Column[Any]] = [sa.Column("id", RowId, nullable=False)]
    for name, before, columns in (
        ("report_profile", [], _columns_of_profile()),
        ("recommendation", own, _columns_of_recommendation()),
    ):
        op.create_table(
            name,
            *before,
            sa.Column("object_id", RowId, nullable=False),
            sa.Column("study_date", CleanText(), nullable=False),
            *columns,
            sa.ForeignKeyConstraint(
                ["object_id"], ["sop_instance.id"], name=f"fk_{name}_object_id_sop_instance", ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("id" if before else "object_id", name=f"pk_{name}"),
        )
    for keys in (["object_id"], ["study_date", "id"]):
        op.create_index("ix_recommendation_" + "_".join(keys), "recommendation", keys)
    op.create_table(
        "cohort",
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("filters", Json(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("created_by", CleanText(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_cohort"),
    )


def _columns_of_profile() -> list[sa.Column[Any]]:
    return [
        sa.Column("modality", CleanText(), nullable=False),
        sa.Column("body_part_examined", CleanText(), nullable=False),
        sa.Column("patient_sex", CleanText(), nullable=False),
        sa.Column("patient_age", sa.Integer(), nullable=True),
        sa.Column("station_name", CleanText(), nullable=False),
        sa.Column("institution_name", CleanText(), nullable=False),
        sa.Column("calling_ae_title", CleanText(), nullable=False),
    ]


def _columns_of_recommendation() -> list[sa.Column[Any]]:
    return [
        sa.Column("procedure", CleanText(), nullable=True),
        sa.Column("modality", CleanText(), nullable=True),
        sa.Column("anatomy_id", CleanText(), nullable=True),
        sa.Column("kind", CleanText(), nullable=False),
        sa.Column("conditional", sa.Boolean(), nullable=False),
        sa.Column("due_from", CleanText(), nullable=True),
        sa.Column("due_to", CleanText(), nullable=True),
        sa.Column("statement", Json(), nullable=False),
    ]


def _fill_findings(connection: sa.Connection) -> None:
    rows = sa.text(
        "SELECT f.id, f.anatomy, f.measurements, s.study_date, s.content_date FROM finding f "
        "JOIN sop_instance s ON s.id = f.object_id WHERE f.id > :after ORDER BY f.id LIMIT :number"
    )
    update = sa.text("UPDATE finding SET anatomy_id = :anatomy, size_mm = :size, study_date = :date WHERE id = :id")
    after = 0
    while found := connection.execute(rows, {"after": after, "number": _AT_ONCE}).all():
        connection.execute(
            update,
            [
                {
                    "id": row.id,
                    "anatomy": json.loads(row.anatomy)["id"] if row.anatomy else None,
                    "size": _size(json.loads(row.measurements)),
                    "date": _date(row),
                }
                for row in found
            ],
        )
        after = found[-1].id


def _date(row: sa.Row[tuple[object, ...]]) -> str:
    return next((d for d in (row.study_date, row.content_date) if len(d) == 8 and d.isascii() and d.isdigit()), "")


def _size(measurements: list[dict[str, object]]) -> float | None:
    lengths: list[float] = []
    for m in measurements:
        if m["kind"] == "size" and m["unit"] == "mm" and m["temporality"] != "prior":
            values = m["values"]
            assert isinstance(values, list)
            lengths += values
    return max(lengths, default=None)


def _fill_reports(connection: sa.Connection) -> None:
    query = sa.text(
        "SELECT a.id, a.object_id, a.narrative, a.recommendations, s.study_date, s.content_date, s.patient_birth_date, "
        "s.patient_sex, s.body_part_examined, s.modality, s.station_name, s.institution_name, s.calling_ae_title "
        "FROM analysis a JOIN sop_instance s ON s.id = a.object_id WHERE a.is_current AND a.id > :after "
        "ORDER BY a.id LIMIT :number"
    )
    after = 0
    while rows := connection.execute(query, {"after": after, "number": 100}).all():
        fulltext.index_texts(connection, {row.object_id: row.narrative for row in rows})
        _insert(connection, "report_profile", _columns_of_profile(), [_profile_of(row) for row in rows])
        asked = [values for row in rows for values in _recommendations_of(row)]
        if asked:
            _insert(connection, "recommendation", _columns_of_recommendation(), asked)
        after = rows[-1].id


def _insert(connection: sa.Connection, name: str, columns: list[sa.Column[Any]], rows: list[dict[str, object]]) -> None:
    own = (sa.column("object_id", RowId), sa.column("study_date", CleanText()))
    connection.execute(sa.insert(sa.table(name, *own, *(sa.column(c.name, c.type) for c in columns))), rows)


def _profile_of(row: sa.Row[tuple[object, ...]]) -> dict[str, object]:
    return {
        "object_id": row.object_id,
        "study_date": _date(row),
        "modality": "" if row.modality in _NOT_IMAGES else row.modality,
        "body_part_examined": row.body_part_examined.upper(),
        "patient_sex": row.patient_sex,
        "patient_age": age_at(row.patient_birth_date, _date(row)),
        "station_name": row.station_name,
        "institution_name": row.institution_name,
        "calling_ae_title": row.calling_ae_title,
    }


def _recommendations_of(row: sa.Row[tuple[object, ...]]) -> list[dict[str, object]]:
    return [
        {
            "object_id": row.object_id,
            "study_date": _date(row),
            "procedure": asked["procedure"],
            "modality": asked["modality"],
            "anatomy_id": asked["anatomy"]["id"] if asked["anatomy"] else None,
            "kind": asked.get("kind", "recommended"),
            "conditional": asked["conditional"],
            "due_from": days_after(_date(row), asked["interval_days_min"]),
            "due_to": days_after(_date(row), asked["interval_days_max"]),
            "statement": asked,
        }
        for asked in json.loads(row.recommendations)
    ]
