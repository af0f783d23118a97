"""Studies whose patients' follow-up is to be looked at again: marked in the transaction that changed something.

A mark is a row with a number that counts up. Whoever works marks off deletes those whose number is still the one that
was read before the work began, so that no change is lost that came meanwhile.
"""

from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from dicomnlp.store.batches import batches
from dicomnlp.store.database import Database
from dicomnlp.store.rows import driver
from dicomnlp.store.schema_follow_up import follow_up_pending

_ON_SQLITE = (
    "INSERT INTO follow_up_pending (study_instance_uid, changes) VALUES (?, 1) "
    "ON CONFLICT (study_instance_uid) DO UPDATE SET changes = changes + 1"
)
_ELSEWHERE = insert(follow_up_pending).values(study_instance_uid=sa.bindparam("study"), changes=1)
_ELSEWHERE = _ELSEWHERE.on_conflict_do_update(
    index_elements=["study_instance_uid"], set_={"changes": follow_up_pending.c.changes + 1}
)


def mark_studies(connection: Connection, study_instance_uids: Collection[str]) -> None:
    """Have the follow-up of these studies' patients looked at again."""
    # in one order everywhere, so that two transactions never wait for each other
    studies = sorted(set(study_instance_uids) - {""})
    if not studies:
        return
    if connection.dialect.name == "sqlite":
        driver(connection).executemany(_ON_SQLITE, [(uid,) for uid in studies])
    else:
        connection.execute(_ELSEWHERE, [{"study": uid} for uid in studies])


def marked_studies(database: Database, after: str, limit: int) -> dict[str, int]:
    """Marked studies in the order of their UIDs, those after `after`, with the numbers of their marks."""
    columns = follow_up_pending.c
    query = (
        sa.select(columns.study_instance_uid, columns.changes)
        .where(columns.study_instance_uid > after)
        .order_by(columns.study_instance_uid)
        .limit(limit)
    )
    with database.read() as connection:
        return {row.study_instance_uid: row.changes for row in connection.execute(query)}


def marks_of(connection: Connection, study_instance_uids: Collection[str]) -> dict[str, int]:
    """The numbers of the marks that these studies have."""
    columns = follow_up_pending.c
    return {
        row.study_instance_uid: row.changes
        for batch in batches(study_instance_uids)
        for row in connection.execute(sa.select(follow_up_pending).where(columns.study_instance_uid.in_(batch)))
    }


def any_marked(database: Database) -> bool:
    """Whether anything is to be looked at: what is told of follow-up may then be behind what is held."""
    with database.read() as connection:
        return bool(connection.scalar(sa.select(sa.exists().select_from(follow_up_pending))))


def take_marks(connection: Connection, marks: Mapping[str, int]) -> None:
    """Delete marks that are as they were read."""
    columns = follow_up_pending.c
    rows: Sequence[dict[str, object]] = [{"study": uid, "number": number} for uid, number in sorted(marks.items())]
    if rows:
        connection.execute(
            sa.delete(follow_up_pending).where(
                columns.study_instance_uid == sa.bindparam("study"), columns.changes == sa.bindparam("number")
            ),
            rows,
        )
