"""Revoking a rejection that was wrong: what an administrator does when a note rejected a report in error.

A revocation is of one report and of the notes that reject it at that moment. A note that comes later rejects it again.
The notes, and the reports, stay as they came.
"""

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import NotFoundError
from dicomnlp.model import is_uid
from dicomnlp.store.database import Database
from dicomnlp.store.documents import REJECTED
from dicomnlp.store.facts import revoked_rejections
from dicomnlp.store.intake import lock_instances
from dicomnlp.store.life import settle
from dicomnlp.store.schema import rejection_revocation, report_reference, sop_instance


def revoke_rejection(database: Database, sop_instance_uid: str) -> tuple[str, ...]:
    """Let a report that is withdrawn count again as if the notes that reject it didn't; `undo_revocation` undoes it.

    Returns
    -------
    tuple of str
        SOP Instance UIDs of the notes.

    Raises
    ------
    NotFoundError
        No note that is held, and not revoked already, rejects the report.
    """

    def work(connection: Connection) -> tuple[str, ...]:
        lock_instances(connection, [sop_instance_uid])
        notes = _rejecting(connection, sop_instance_uid)
        revoked = {note for uid, note in revoked_rejections(connection, notes) if uid == sop_instance_uid}
        new = sorted(notes - revoked)
        if not new:
            raise NotFoundError(f"no rejection note that counts names {_shown(sop_instance_uid)}")
        now = dt.datetime.now(dt.UTC)
        connection.execute(
            sa.insert(rejection_revocation),
            [{"sop_instance_uid": sop_instance_uid, "note_sop_instance_uid": note, "revoked_at": now} for note in new],
        )
        settle(connection, (), [sop_instance_uid])
        return tuple(new)

    return database.transact(work)


def undo_revocation(database: Database, sop_instance_uid: str) -> tuple[str, ...]:
    """Undo all revocations for a report: its notes reject it again; the rows stay, with the time.

    Returns
    -------
    tuple of str
        SOP Instance UIDs of the notes.

    Raises
    ------
    NotFoundError
        No rejection of the report is revoked.
    """

    def work(connection: Connection) -> tuple[str, ...]:
        lock_instances(connection, [sop_instance_uid])
        columns = rejection_revocation.c
        notes = connection.scalars(
            sa.update(rejection_revocation)
            .where(columns.sop_instance_uid == sop_instance_uid, columns.undone_at.is_(None))
            .values(undone_at=dt.datetime.now(dt.UTC))
            .returning(columns.note_sop_instance_uid)
        ).all()
        if not notes:
            raise NotFoundError(f"no rejection of {_shown(sop_instance_uid)} is revoked")
        settle(connection, (), [sop_instance_uid])
        return tuple(sorted(notes))

    return database.transact(work)


def _rejecting(connection: Connection, sop_instance_uid: str) -> set[str]:
    reference = report_reference.c
    return set(
        connection.scalars(
            sa.select(sop_instance.c.sop_instance_uid)
            .join_from(report_reference, sop_instance, sop_instance.c.id == reference.object_id)
            .where(
                reference.sop_instance_uid == sop_instance_uid, reference.kind == REJECTED, sop_instance.c.is_current
            )
        )
    )


def _shown(uid: str) -> str:
    return uid if is_uid(uid) else "(not a well-formed UID)"
