"""Objects that can't be linked to a study, or claim a SOP instance of another: listed, and assigned by people.

An assignment says to which study an object belongs. It is recorded and can be undone; the object's bytes, and what is
read from them, stay as they are.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import State, is_uid, to_json
from dicomnlp.store.database import Database
from dicomnlp.store.follow_up_pending import mark_studies
from dicomnlp.store.history import ENDED_BY_ASSIGNMENT, begin_periods, end_periods
from dicomnlp.store.intake import lock_instances
from dicomnlp.store.life import drop_links, settle
from dicomnlp.store.schema import (
    CURRENT_ANALYSIS,
    IS_FAILURE,
    LANE_ARRIVAL,
    analysis,
    finding,
    sop_instance,
    study_assignment,
)
from dicomnlp.store.scope import scope_of, visible


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An object in quarantine, with what tells people where it belongs."""

    object_id: int
    sop_instance_uid: str
    version: int
    study_instance_uid: str
    """As its header says; "" when it says none."""
    held_study_instance_uid: str
    """The study for which its SOP Instance UID is held already; "" when for none."""
    reason_code: str | None
    sop_class_uid: str
    patient_id: str
    accession_number: str
    study_date: str
    modality: str
    calling_ae_title: str
    received_at: dt.datetime
    candidate_studies: tuple[str, ...]
    """Studies held of the same patient under the same accession number."""

    def to_json(self) -> dict[str, Any]:
        """The object in the public form."""
        json: dict[str, Any] = to_json(self)
        return json


def read_quarantine(database: Database, limit: int) -> list[Quarantined]:
    """The latest `limit` objects in quarantine, the latest first."""
    columns = sop_instance.c
    with database.read() as connection:
        rows = connection.execute(
            sa.select(sop_instance)
            .where(sa.text(IS_FAILURE), columns.state == State.QUARANTINED.value, *visible(database.scope))
            .order_by(columns.state_changed_at.desc(), columns.id.desc())
            .limit(limit)
        ).all()
        return [
            Quarantined(
                object_id=row.id,
                sop_instance_uid=row.sop_instance_uid,
                version=row.version,
                study_instance_uid=row.study_instance_uid,
                held_study_instance_uid=_held_study(connection, row.sop_instance_uid),
                reason_code=row.reason_code,
                sop_class_uid=row.sop_class_uid,
                patient_id=row.patient_id,
                accession_number=row.accession_number,
                study_date=row.study_date,
                modality=row.modality,
                calling_ae_title=row.calling_ae_title,
                received_at=row.received_at,
                candidate_studies=_candidates(connection, row),
            )
            for row in rows
        ]


def _held_study(connection: Connection, sop_instance_uid: str) -> str:
    columns = sop_instance.c
    query = sa.select(columns.study_instance_uid).where(
        columns.sop_instance_uid == sop_instance_uid,
        columns.is_current,
        columns.state != State.QUARANTINED.value,
        *visible(scope_of(connection)),
    )
    return connection.scalar(query) or ""


def _candidates(connection: Connection, row: Any) -> tuple[str, ...]:
    if not row.accession_number or not row.patient_id:
        return ()
    columns = sop_instance.c
    query = (
        sa.select(columns.study_instance_uid)
        .where(
            columns.accession_number == row.accession_number,
            columns.patient_id == row.patient_id,
            columns.issuer_of_patient_id == row.issuer_of_patient_id,
            columns.state != State.QUARANTINED.value,
            *visible(scope_of(connection)),
        )
        .distinct()
        .order_by(columns.study_instance_uid)
    )
    return tuple(connection.scalars(query))


def assign_study(database: Database, sop_instance_uid: str, study_instance_uid: str) -> int:
    """Take an object out of quarantine: it belongs to this study, and waits to be processed.

    It becomes the current version of its SOP instance. Of several in quarantine under the UID, the latest is meant.

    Returns
    -------
    int
        The object's row.

    Raises
    ------
    UsageError
        The Study Instance UID is not well-formed.
    NotFoundError
        Nothing under this SOP Instance UID is in quarantine.
    """
    if not is_uid(study_instance_uid):
        raise UsageError("the study's UID is not well-formed")

    def work(connection: Connection) -> int:
        versions = _versions(connection, sop_instance_uid)
        waiting = [v for v in versions if v.state == State.QUARANTINED]
        if not waiting:
            raise NotFoundError(f"nothing in quarantine has the SOP Instance UID {_shown(sop_instance_uid)}")
        chosen, now = waiting[-1], _now()
        connection.execute(
            sa.insert(study_assignment).values(
                object_id=chosen.id,
                study_instance_uid=study_instance_uid,
                former_study_instance_uid=chosen.study_instance_uid,
                former_reason_code=chosen.reason_code,
                assigned_at=now,
            )
        )
        _stand_back(connection, [v.id for v in versions if v.is_current], now)
        _update(
            connection,
            chosen.id,
            study_instance_uid=study_instance_uid,
            is_current=True,
            state=State.PENDING.value,
            state_changed_at=now,
            reason_code=None,
            attempts=0,
            lane=LANE_ARRIVAL,
        )
        object_id: int = chosen.id
        return object_id

    return database.transact(work)


def undo_assignment(database: Database, sop_instance_uid: str) -> int:
    """Undo the latest assignment of an object under this UID: back into quarantine, with its header's own study.

    What was made of it is kept, and counts for nothing. The version that it replaced is current again.

    Returns
    -------
    int
        The object's row.

    Raises
    ------
    NotFoundError
        No object under this SOP Instance UID is assigned.
    """

    def work(connection: Connection) -> int:
        versions = {v.id: v for v in _versions(connection, sop_instance_uid)}
        assignment = connection.execute(
            sa.select(study_assignment)
            .where(study_assignment.c.object_id.in_(versions), study_assignment.c.undone_at.is_(None))
            .order_by(study_assignment.c.id.desc())
            .limit(1)
        ).first()
        if assignment is None:
            raise NotFoundError(f"nothing with the SOP Instance UID {_shown(sop_instance_uid)} is assigned")
        chosen, now = versions[assignment.object_id], _now()
        connection.execute(
            sa.update(study_assignment).where(study_assignment.c.id == assignment.id).values(undone_at=now)
        )
        _stand_back(connection, [chosen.id], now)
        others = [v for v in versions.values() if v.id != chosen.id and v.state != State.QUARANTINED]
        replaced = chosen.is_current and bool(others)
        _update(
            connection,
            chosen.id,
            study_instance_uid=assignment.former_study_instance_uid,
            # a version that came later stays the current one
            is_current=chosen.is_current and not replaced,
            state=State.QUARANTINED.value,
            state_changed_at=now,
            reason_code=assignment.former_reason_code,
        )
        touched = drop_links(connection, [chosen.id])
        if replaced:
            _stand_again(connection, others[-1].id, now)
        settle(connection, [v.id for v in others], touched | {sop_instance_uid})
        mark_studies(connection, [assignment.study_instance_uid])
        object_id: int = chosen.id
        return object_id

    return database.transact(work)


def _versions(connection: Connection, sop_instance_uid: str) -> Sequence[Any]:
    """What is held under the UID, the earliest first; no other transaction changes that before this one ends.

    None, when one of them isn't within the scope: putting another in its place would change what others see.
    """
    columns, scope = sop_instance.c, scope_of(connection)
    lock_instances(connection, [sop_instance_uid])
    query = sa.select(columns.id, columns.is_current, columns.state, columns.study_instance_uid, columns.reason_code)
    same = columns.sop_instance_uid == sop_instance_uid
    held = connection.execute(query.where(same).order_by(columns.version).with_for_update()).all()
    if scope.is_everything:
        return held
    seen = connection.scalar(sa.select(sa.func.count()).select_from(sop_instance).where(same, *visible(scope)))
    return held if seen == len(held) else []


def _stand_back(connection: Connection, object_ids: Sequence[int], now: dt.datetime) -> None:
    for table, key in ((sop_instance, sop_instance.c.id), (finding, finding.c.object_id)):
        connection.execute(sa.update(table).where(key.in_(object_ids), table.c.is_current).values(is_current=False))
    end_periods(connection, object_ids, now, ENDED_BY_ASSIGNMENT)


def _stand_again(connection: Connection, object_id: int, now: dt.datetime) -> None:
    _update(connection, object_id, is_current=True)
    current = connection.execute(
        sa.select(analysis.c.id, analysis.c.pipeline).where(analysis.c.object_id == object_id, CURRENT_ANALYSIS)
    ).first()
    if current is not None:
        connection.execute(sa.update(finding).where(finding.c.analysis_id == current.id).values(is_current=True))
        begin_periods(connection, {object_id: current.pipeline}, now)


def _update(connection: Connection, object_id: int, **values: Any) -> None:
    connection.execute(sa.update(sop_instance).where(sop_instance.c.id == object_id).values(**values))


def _shown(uid: str) -> str:
    return uid if is_uid(uid) else "(not a well-formed UID)"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
