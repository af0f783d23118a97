"""Patients whose identifier has changed: which identifier holds now, and what is held of a patient under any of them.

The headers of objects stay as they came. A merge is a row of its own that can be undone, and nothing else changes.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import NotFoundError
from dicomnlp.model import to_json
from dicomnlp.store.batches import batches
from dicomnlp.store.database import Database
from dicomnlp.store.schema import patient_merge, sop_instance

Patient = tuple[str, str]
"""Patient ID (0010,0020) and its issuer (0010,0021)."""


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge as it is recorded."""

    old_patient_id: str
    new_patient_id: str
    issuer_of_patient_id: str
    merged_at: dt.datetime
    unmerged_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class HeldPatient:
    """What is held of a patient."""

    patient_id: str
    """The identifier that holds now."""
    issuer_of_patient_id: str
    other_patient_ids: tuple[str, ...]
    studies: tuple[str, ...]
    """Study Instance UIDs, of objects under any of the identifiers."""
    merges: tuple[Merge, ...]
    """Those that any of the identifiers was part of, undone ones too, in their order."""

    def to_json(self) -> dict[str, Any]:
        """The patient in the public form."""
        json: dict[str, Any] = to_json(self)
        return json


def current_patients(
    connection: Connection, patients: Collection[Patient], as_of: dt.datetime | None = None
) -> dict[Patient, Patient]:
    """The identifier that holds for each of `patients` now, or at the moment `as_of`."""
    columns = patient_merge.c
    valid: sa.ColumnElement[bool] = columns.unmerged_at.is_(None)
    if as_of is not None:
        valid = (columns.merged_at <= as_of) & sa.or_(columns.unmerged_at.is_(None), columns.unmerged_at > as_of)
    merged: dict[Patient, Patient] = {}
    ahead = {p for p in patients if p[0]}
    while ahead:
        new: set[Patient] = set()
        for batch in batches({patient_id for patient_id, _ in ahead}):
            for row in connection.execute(sa.select(patient_merge).where(columns.old_patient_id.in_(batch), valid)):
                old = (row.old_patient_id, row.issuer_of_patient_id)
                if old in ahead:
                    merged[old] = (row.new_patient_id, row.issuer_of_patient_id)
                    new.add(merged[old])
        ahead = new - merged.keys()
    found = {}
    for patient in patients:
        current = patient
        while current in merged:
            current = merged[current]
        found[patient] = current
    return found


def read_patient(database: Database, patient_id: str, issuer: str = "") -> HeldPatient:
    """What is held of the patient with this identifier, or one that it was merged with.

    Raises
    ------
    NotFoundError
        Nothing is held under any of them.
    """
    columns = patient_merge.c
    with database.read() as connection:
        current = current_patients(connection, {(patient_id, issuer)})[patient_id, issuer]
        family = family_of(connection, current)
        ids = sorted(p for p, _ in family)
        studies = connection.scalars(
            sa.select(sop_instance.c.study_instance_uid)
            .where(sop_instance.c.patient_id.in_(ids), sop_instance.c.issuer_of_patient_id == issuer)
            .distinct()
            .order_by(sop_instance.c.study_instance_uid)
        ).all()
        asked = [*ids, patient_id]
        merges = [
            row
            for key in (columns.old_patient_id, columns.new_patient_id)
            for row in connection.execute(
                sa.select(patient_merge).where(key.in_(asked), columns.issuer_of_patient_id == issuer)
            )
        ]
    if not studies and not merges:
        raise NotFoundError("nothing is held under this patient identifier and issuer")
    return HeldPatient(
        patient_id=current[0],
        issuer_of_patient_id=issuer,
        other_patient_ids=tuple(p for p in ids if p != current[0]),
        studies=tuple(s for s in studies if s),
        merges=tuple(
            Merge(m.old_patient_id, m.new_patient_id, m.issuer_of_patient_id, m.merged_at, m.unmerged_at)
            for m in sorted({m.id: m for m in merges}.values(), key=lambda m: m.id)
        ),
    )


def family_of(connection: Connection, current: Patient) -> set[Patient]:
    """All identifiers that are merged into `current`, itself included."""
    columns = patient_merge.c
    found, ahead = {current}, {current}
    while ahead:
        into = defaultdict(set)
        for patient_id, issuer in ahead:
            into[issuer].add(patient_id)
        ahead = set()
        for issuer, ids in into.items():
            rows = connection.execute(
                sa.select(columns.old_patient_id).where(
                    columns.new_patient_id.in_(ids),
                    columns.issuer_of_patient_id == issuer,
                    columns.unmerged_at.is_(None),
                )
            )
            ahead |= {(row.old_patient_id, issuer) for row in rows}
        ahead -= found
        found |= ahead
    return found


def any_merged(connection: Connection) -> bool:
    """Whether any patients are merged now; nearly always none are, and queries are simpler."""
    return bool(connection.scalar(sa.select(sa.exists().where(patient_merge.c.unmerged_at.is_(None)))))


@cache
def merged_families() -> sa.Subquery:
    """Rows (patient_id, issuer_of_patient_id, current) of all identifiers that are merged, and of those that hold.

    Always the same object, since a statement can't hold two recursions of one name; use aliases of it.
    """
    columns = patient_merge.c
    active = columns.unmerged_at.is_(None)
    chain = (
        sa.select(columns.old_patient_id.label("patient_id"), columns.issuer_of_patient_id, columns.new_patient_id)
        .where(active)
        .cte("merged", recursive=True)
    )
    chain = chain.union(
        sa.select(chain.c.patient_id, chain.c.issuer_of_patient_id, columns.new_patient_id).join(
            patient_merge,
            (columns.old_patient_id == chain.c.new_patient_id)
            & (columns.issuer_of_patient_id == chain.c.issuer_of_patient_id)
            & active,
        )
    )
    merged_on = patient_merge.alias("merged_on")
    ends = ~sa.exists().where(
        merged_on.c.old_patient_id == chain.c.new_patient_id,
        merged_on.c.issuer_of_patient_id == chain.c.issuer_of_patient_id,
        merged_on.c.unmerged_at.is_(None),
    )
    current = chain.c.new_patient_id.label("current")
    return (
        sa.select(chain.c.patient_id, chain.c.issuer_of_patient_id, current)
        .where(ends)
        .union(sa.select(chain.c.new_patient_id, chain.c.issuer_of_patient_id, current).where(ends))
        .subquery()
    )


def is_patient(connection: Connection, patient_id: str) -> sa.ColumnElement[bool]:
    """Whether a row of `sop_instance` is of this patient, under this identifier or one that it is merged with."""
    columns = sop_instance.c
    same = columns.patient_id == patient_id
    if not any_merged(connection):
        return same
    one, other = merged_families().alias(), merged_families().alias()
    family = (
        sa.select(other.c.patient_id, other.c.issuer_of_patient_id)
        .join(one, (one.c.current == other.c.current) & (one.c.issuer_of_patient_id == other.c.issuer_of_patient_id))
        .where(one.c.patient_id == patient_id)
    )
    return sa.or_(same, sa.tuple_(columns.patient_id, columns.issuer_of_patient_id).in_(family))
