"""Merging patients and undoing it: what an administrator does when two identifiers turn out to be one patient's."""

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.store.database import Database
from dicomnlp.store.life import settle
from dicomnlp.store.patients import Patient, current_patients, family_of
from dicomnlp.store.schema import patient_merge, sop_instance


def merge_patients(database: Database, old_patient_id: str, new_patient_id: str, issuer: str = "") -> None:
    """Let what is held under the old identifier count as the new one's (HL7 ADT A40); `unmerge_patients` undoes it.

    Raises
    ------
    UsageError
        The identifiers are empty or the same, the old one is merged already, or the new one is merged into the old.
    """

    def work(connection: Connection) -> None:
        if not old_patient_id or not new_patient_id or old_patient_id == new_patient_id:
            raise UsageError("name two different patient identifiers")
        old, new = (old_patient_id, issuer), (new_patient_id, issuer)
        current = current_patients(connection, {old, new})
        if current[old] != old:
            raise UsageError("the first identifier is merged into another already; unmerge it first")
        if current[new] == old:
            raise UsageError("the second identifier is merged into the first; unmerge it first")
        connection.execute(
            sa.insert(patient_merge).values(
                old_patient_id=old_patient_id,
                new_patient_id=new_patient_id,
                issuer_of_patient_id=issuer,
                merged_at=dt.datetime.now(dt.UTC),
            )
        )
        _settle(connection, new)

    database.transact(work)


def unmerge_patients(database: Database, old_patient_id: str, new_patient_id: str, issuer: str = "") -> None:
    """Undo a merge; its row stays, with the time.

    Raises
    ------
    NotFoundError
        These are not merged.
    """

    def work(connection: Connection) -> None:
        columns = patient_merge.c
        undone = connection.execute(
            sa.update(patient_merge)
            .where(
                columns.old_patient_id == old_patient_id,
                columns.issuer_of_patient_id == issuer,
                columns.new_patient_id == new_patient_id,
                columns.unmerged_at.is_(None),
            )
            .values(unmerged_at=dt.datetime.now(dt.UTC))
        ).rowcount
        if not undone:
            raise NotFoundError("these patient identifiers are not merged in this direction with this issuer")
        _settle(connection, (old_patient_id, issuer))
        _settle(connection, (new_patient_id, issuer))

    database.transact(work)


def _settle(connection: Connection, patient: Patient) -> None:
    current = current_patients(connection, {patient})[patient]
    _, issuer = patient
    ids = [p for p, _ in family_of(connection, current)]
    columns = sop_instance.c
    settle(
        connection,
        connection.scalars(
            sa.select(columns.id).where(columns.patient_id.in_(ids), columns.issuer_of_patient_id == issuer)
        ).all(),
    )
