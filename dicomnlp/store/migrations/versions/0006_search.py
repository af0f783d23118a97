"""What searches look for: site, size and date of findings, and the words of reports."""

import json

import sqlalchemy as sa
from alembic import op

from dicomnlp.store import fulltext
from dicomnlp.store.columns import CleanText

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_AT_ONCE = 1000


def upgrade() -> None:
    """Add columns, indices and the table of words, and fill them from what is held."""
    op.add_column("finding", sa.Column("anatomy_id", CleanText(), nullable=True))
    op.add_column("finding", sa.Column("size_mm", sa.Double(), nullable=True))
    op.add_column("finding", sa.Column("study_date", CleanText(), nullable=False, server_default=""))
    connection = op.get_bind()
    fulltext.create(connection)
    _fill_findings(connection)
    _fill_words(connection)
    current = sa.text("is_current")
    for name, columns in (("date", []), ("concept", ["concept_id", "assertion"]), ("anatomy", ["anatomy_id"])):
        op.create_index(
            f"ix_finding_by_{name}",
            "finding",
            [*columns, "study_date", "id"],
            sqlite_where=current,
            postgresql_where=current,
        )


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
                    "date": next((d for d in (row.study_date, row.content_date) if len(d) == 8 and d.isdigit()), ""),
                }
                for row in found
            ],
        )
        after = found[-1].id


def _size(measurements: list[dict[str, object]]) -> float | None:
    lengths: list[float] = []
    for m in measurements:
        if m["kind"] == "size" and m["unit"] == "mm" and m["temporality"] != "prior":
            values = m["values"]
            assert isinstance(values, list)
            lengths += values
    return max(lengths, default=None)


def _fill_words(connection: sa.Connection) -> None:
    rows = sa.text(
        "SELECT id, object_id, narrative FROM analysis WHERE is_current AND id > :after ORDER BY id LIMIT :number"
    )
    after = 0
    while found := connection.execute(rows, {"after": after, "number": 100}).all():
        fulltext.index_texts(connection, {row.object_id: row.narrative for row in found})
        after = found[-1].id
