"""What people decide of items of follow-up: closed by hand for a reason, and opened again."""

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.store.database import Database
from dicomnlp.store.follow_up_items import row_of
from dicomnlp.store.schema_follow_up import follow_up_decision, follow_up_item


def dismiss_item(database: Database, item_id: int, *, reason: str, note: str, by: str) -> None:
    """Close an item by hand. One that is dismissed already is so for this reason from now on.

    Raises
    ------
    NotFoundError
        As `read_item`.
    UsageError
        It is done: there is nothing to dismiss.
    """

    def work(connection: Connection) -> None:
        row = _locked(connection, item_id)
        if row["status"] == "done":
            raise UsageError("this item is done; nothing is to be dismissed")
        now = dt.datetime.now(dt.UTC)
        _undo(connection, row, now, by)
        connection.execute(
            sa.insert(follow_up_decision).values(
                study_instance_uid=row["study_instance_uid"],
                key=row["key"],
                reason=reason,
                note=note,
                decided_at=now,
                decided_by=by,
            )
        )
        _set_status(connection, item_id, "dismissed", now)

    database.transact(work)


def reopen_item(database: Database, item_id: int, *, by: str) -> None:
    """Undo a dismissal: the item waits again, or is done if an examination answers it.

    Raises
    ------
    NotFoundError
        As `read_item`.
    UsageError
        It isn't dismissed.
    """

    def work(connection: Connection) -> None:
        row = _locked(connection, item_id)
        if row["status"] != "dismissed":
            raise UsageError("this item isn't dismissed")
        now = dt.datetime.now(dt.UTC)
        _undo(connection, row, now, by)
        _set_status(connection, item_id, "done" if row["done_on"] else "waiting", now)

    database.transact(work)


def _locked(connection: Connection, item_id: int) -> RowMapping:
    row_of(connection, item_id)
    query = sa.select(follow_up_item).where(follow_up_item.c.id == item_id).with_for_update()
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFoundError("there is no item of follow-up of this number")
    return row


def _undo(connection: Connection, row: RowMapping, now: dt.datetime, by: str) -> None:
    columns = follow_up_decision.c
    connection.execute(
        sa.update(follow_up_decision)
        .where(
            columns.study_instance_uid == row["study_instance_uid"],
            columns.key == row["key"],
            columns.undone_at.is_(None),
        )
        .values(undone_at=now, undone_by=by)
    )


def _set_status(connection: Connection, item_id: int, status: str, now: dt.datetime) -> None:
    connection.execute(
        sa.update(follow_up_item).where(follow_up_item.c.id == item_id).values(status=status, changed_at=now)
    )
