"""Processing again what is held: a run marks objects as pending in a lane of their own."""

import dataclasses
import datetime as dt
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import PIPELINE_SEPARATOR, State, is_uid
from dicomnlp.store.batches import batches, select_in
from dicomnlp.store.database import Database
from dicomnlp.store.schema import LANE_REPROCESS, analysis, sop_instance
from dicomnlp.store.schema_pipelines import reprocess_run
from dicomnlp.store.scope import scope_of, visible

_MARKED_AT_ONCE = 5000
"""Objects a transaction: an archive is marked without keeping a listener waiting."""
_TURN_SECONDS = 0.12
"""Pause between two of them: who waits for SQLite's lock isn't woken, but looks again every tenth of a second."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects to process again; what any of the fields selects is selected."""

    uids: tuple[str, ...] = ()
    """Study or SOP Instance UIDs: their current reports."""
    everything: bool = False
    """All current reports."""
    failed: bool = False
    """All failed objects."""
    outdated_pipelines: tuple[str, ...] = ()
    """Names of the pipelines now in use: current reports whose current analysis is by another, if only in part."""
    date_from: dt.date | None = None
    date_to: dt.date | None = None
    """Of what the other fields select, only studies from this day to that one; both included."""

    def to_text(self) -> str:
        """One text for selections that mean the same."""
        days = {"date_from": self.date_from, "date_to": self.date_to}
        return json.dumps(
            {
                "uids": sorted(set(self.uids)),
                "everything": self.everything,
                "failed": self.failed,
                "outdated_pipelines": sorted(set(self.outdated_pipelines)),
                **{name: day.isoformat() for name, day in days.items() if day is not None},
            }
        )


def state_character_set(database: Database, uids: Sequence[str], character_set: str) -> int:
    """State the character set of the current objects under these study or SOP Instance UIDs, for all later readings.

    Parameters
    ----------
    character_set
        A defined term or a Python codec, already found to be one; "" to believe what the objects declare.

    Returns
    -------
    int
        Of how many objects. They are not marked to be processed again: see `start_run`.

    Raises
    ------
    NotFoundError
        A UID is of no study and no SOP instance held; nothing is changed.
    """

    def work(connection: Connection) -> int:
        _require_all(connection, tuple(uids))
        columns = sop_instance.c
        found = {
            object_id
            for key in (columns.study_instance_uid, columns.sop_instance_uid)
            for object_id in select_in(
                connection, columns.id, key, set(uids), columns.is_current, columns.state != State.QUARANTINED.value
            )
        }
        for batch in batches(found):
            connection.execute(
                sa.update(sop_instance).where(columns.id.in_(batch)).values(character_set_override=character_set)
            )
        return len(found)

    return database.transact(work)


@dataclass(frozen=True, slots=True)
class Run:
    """How far a reprocess run is."""

    id: int
    total: int
    """Objects that it marked."""
    done: int
    """Those that are no longer pending, whatever came of them."""
    failed: int
    """Those of them that failed."""
    resumed: bool


def start_run(database: Database, selection: Selection) -> Run:
    """Mark what is selected as pending; go on with an unfinished run of the same selection rather than begin again.

    Objects in quarantine are left out, and those that are pending anyway keep their place and count as part of it.

    Raises
    ------
    NotFoundError
        A UID of the selection is of no study and no SOP instance held; nothing is marked.
    UsageError
        Nothing is selected.
    """
    _require_any(selection)
    run_id, resumed = database.transact(lambda connection: _find_or_begin(connection, selection))
    while database.transact(lambda connection: _mark_some(connection, run_id, selection)):
        if database.is_sqlite:
            time.sleep(_TURN_SECONDS)
    run = read_run(database, run_id)
    return dataclasses.replace(run, resumed=resumed)


def selected_objects(database: Database, selection: Selection) -> list[int]:
    """The objects that `start_run` would mark, in their order; nothing is marked. Raises as `start_run`."""
    _require_any(selection)
    with database.read() as connection:
        _require_all(connection, selection.uids)
        wanted = sa.select(sop_instance.c.id).where(*_wanted(connection, selection))
        return list(connection.scalars(wanted.order_by(sop_instance.c.id)))


def _require_any(selection: Selection) -> None:
    if not (selection.uids or selection.everything or selection.failed or selection.outdated_pipelines):
        raise UsageError("nothing is selected to be processed again")


def read_run(database: Database, run_id: int) -> Run:
    """How far the run is. An object that a later run marked again counts as done in this one.

    Raises
    ------
    NotFoundError
        There is no such run.
    """
    with database.read() as connection:
        total = connection.scalar(sa.select(reprocess_run.c.total).where(reprocess_run.c.id == run_id))
        if total is None:
            raise NotFoundError(f"there is no reprocess run {run_id}")
        pending = _count(connection, run_id, State.PENDING)
        failed = _count(connection, run_id, State.FAILED)
        return Run(run_id, total, max(0, total - pending), failed, resumed=False)


def _count(connection: Connection, run_id: int, state: State) -> int:
    columns = sop_instance.c
    return (
        connection.scalar(
            sa.select(sa.func.count())
            .select_from(sop_instance)
            .where(columns.reprocess_run_id == run_id, columns.state == state.value)
        )
        or 0
    )


def _find_or_begin(connection: Connection, selection: Selection) -> tuple[int, bool]:
    _require_all(connection, selection.uids)
    columns = reprocess_run.c
    scope = scope_of(connection)
    # nobody goes on with the run of somebody who may see more
    text = selection.to_text() + ("" if scope.is_everything else json.dumps(scope.to_json(), sort_keys=True))
    latest = connection.execute(
        sa.select(reprocess_run).where(columns.selection == text).order_by(columns.id.desc()).limit(1)
    ).first()
    if latest is not None and (
        latest.marked_to_object_id < latest.last_object_id or _count(connection, latest.id, State.PENDING)
    ):
        return latest.id, True
    inserted = connection.execute(
        sa.insert(reprocess_run).values(
            selection=text,
            total=0,
            marked_to_object_id=0,
            # what comes in from now on is analysed anyway
            last_object_id=connection.scalar(sa.select(sa.func.max(sop_instance.c.id))) or 0,
            started_at=dt.datetime.now(dt.UTC),
        )
    )
    assert inserted.inserted_primary_key is not None
    return inserted.inserted_primary_key[0], False


def _require_all(connection: Connection, uids: tuple[str, ...]) -> None:
    columns, seen = sop_instance.c, visible(scope_of(connection))
    for uid in uids:
        held = is_uid(uid) and (
            connection.scalar(sa.select(sa.exists().where(columns.study_instance_uid == uid, *seen)))
            or connection.scalar(sa.select(sa.exists().where(columns.sop_instance_uid == uid, *seen)))
        )
        if not held:
            raise NotFoundError(f"nothing is held under {uid if is_uid(uid) else '(not a well-formed UID)'}")


def _mark_some(connection: Connection, run_id: int, selection: Selection) -> bool:
    """Mark the next objects of the run; whether there may be more."""
    columns = sop_instance.c
    run = connection.execute(sa.select(reprocess_run).where(reprocess_run.c.id == run_id).with_for_update()).one()
    if run.marked_to_object_id >= run.last_object_id:
        return False
    ids = list(
        connection.scalars(
            sa.select(columns.id)
            .where(
                columns.id > run.marked_to_object_id,
                columns.id <= run.last_object_id,
                *_wanted(connection, selection),
            )
            .order_by(columns.id)
            .limit(_MARKED_AT_ONCE)
        )
    )
    pending = columns.state == State.PENDING.value
    now = sa.literal(dt.datetime.now(dt.UTC), columns.state_changed_at.type)
    connection.execute(
        sa.update(sop_instance)
        .where(columns.id.in_(ids))
        .values(
            lane=sa.case((pending, columns.lane), else_=LANE_REPROCESS),
            attempts=sa.case((pending, columns.attempts), else_=0),
            state_changed_at=sa.case((pending, columns.state_changed_at), else_=now),
            state=State.PENDING.value,
            reason_code=None,
            reprocess_run_id=run_id,
        )
    )
    finished = len(ids) < _MARKED_AT_ONCE
    connection.execute(
        sa.update(reprocess_run)
        .where(reprocess_run.c.id == run_id)
        .values(total=run.total + len(ids), marked_to_object_id=run.last_object_id if finished else ids[-1])
    )
    return not finished


def _wanted(connection: Connection, selection: Selection) -> list[Any]:
    """What an object must be to be marked."""
    columns = sop_instance.c
    wanted = [
        columns.state != State.QUARANTINED.value,
        *visible(scope_of(connection)),
        sa.or_(*_conditions(selection)),
    ]
    if selection.date_from is not None:
        wanted.append(columns.study_date >= f"{selection.date_from:%Y%m%d}")
    if selection.date_to is not None:
        wanted += [columns.study_date <= f"{selection.date_to:%Y%m%d}", columns.study_date > ""]
    return wanted


def _conditions(selection: Selection) -> list[Any]:
    columns = sop_instance.c
    conditions: list[Any] = []
    if selection.everything:
        conditions.append(columns.is_current.is_(True))
    if selection.uids:
        # two lookups by index, where an OR of columns would read the whole table
        for column in (columns.study_instance_uid, columns.sop_instance_uid):
            found = sa.select(columns.id).where(column.in_(selection.uids), columns.is_current.is_(True))
            conditions.append(columns.id.in_(found))
    if selection.failed:
        conditions.append(columns.state == State.FAILED.value)
    if selection.outdated_pipelines:
        other = sa.select(analysis.c.object_id).where(
            analysis.c.is_current.is_(True), is_by_another(selection.outdated_pipelines)
        )
        conditions.append(sa.and_(columns.is_current.is_(True), columns.id.in_(other)))
    return conditions


def is_by_another(pipelines: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether an analysis is by any pipeline but these; several may have read one report."""
    rest: sa.ColumnElement[str] = PIPELINE_SEPARATOR + analysis.c.pipeline + PIPELINE_SEPARATOR
    for pipeline in pipelines:
        name = f"{PIPELINE_SEPARATOR}{pipeline}{PIPELINE_SEPARATOR}"
        rest = sa.func.replace(rest, name, PIPELINE_SEPARATOR)
    return rest != PIPELINE_SEPARATOR
