"""What is to be done, and what came of it: the only queue there is.

Nothing here says that an object is "being worked on": the one dispatcher knows that by itself and passes it as
`exclude`, so that nothing is left behind when it dies.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.logs import Event, log
from dicomnlp.model import Processed, State, StoredObject
from dicomnlp.store.database import Database
from dicomnlp.store.history import begin_periods, set_aside
from dicomnlp.store.life import save_links, settle
from dicomnlp.store.originals import OriginalDamagedError, OriginalMissingError, read_original
from dicomnlp.store.records import analysis_row, finding_row
from dicomnlp.store.schema import analysis, finding, original, sop_instance
from dicomnlp.store.searchable import PROFILE_COLUMNS, date_of, index_reports

_HEADER = tuple(
    sop_instance.c[name]
    for name in (
        "id",
        "is_current",
        "sop_instance_uid",
        "sop_class_uid",
        "study_instance_uid",
        "patient_id",
        "issuer_of_patient_id",
        "accession_number",
        "study_date",
        "content_date",
        "content_time",
        "character_set_override",
        *PROFILE_COLUMNS,
    )
)


def take_pending(
    database: Database, *, maximum_objects: int, maximum_bytes: int, exclude: Collection[int]
) -> list[StoredObject]:
    """The next objects to process: new arrivals before those to be reprocessed, the oldest of each first.

    An object whose original is gone or damaged ends as failed on the way and keeps no other from being taken.

    Parameters
    ----------
    maximum_objects, maximum_bytes
        Limits of what is returned, though one object is, however large.
    exclude
        Rows of objects already in hand.

    Returns
    -------
    list[StoredObject]
        Empty only when nothing else is pending.
    """
    excluded = set(exclude)
    while True:
        with database.read() as connection:
            chosen = _choose(connection, maximum_objects, maximum_bytes, excluded)
            rows = _load(connection, chosen)
        taken: list[StoredObject] = []
        unreadable: list[tuple[Any, str]] = []
        for row in rows:
            try:
                data = row.data if row.data is not None else read_original(database.large_object_directory, row.sha256)
            except (OriginalMissingError, OriginalDamagedError) as error:
                unreadable.append((row, error.reason_code))
                continue
            taken.append(
                StoredObject(
                    object_id=row.id,
                    sop_instance_uid=row.sop_instance_uid,
                    sop_class_uid=row.sop_class_uid,
                    transfer_syntax_uid=row.transfer_syntax_uid,
                    data=data,
                    attempts=row.attempts,
                    calling_ae_title=row.calling_ae_title,
                    character_set_override=row.character_set_override,
                )
            )
        if unreadable:
            _fail_unreadable(database, unreadable)
        if taken or not chosen:
            return taken


def _choose(connection: Connection, maximum_objects: int, maximum_bytes: int, excluded: set[int]) -> list[int]:
    columns = sop_instance.c
    # leaving out here, not in SQL: a statement can't hold as many parameters as there may be objects in hand
    candidates = connection.execute(
        sa.select(columns.id, columns.size)
        .where(columns.state == State.PENDING.value)
        .order_by(columns.lane, columns.id)
        .limit(maximum_objects + len(excluded))
    )
    chosen: list[int] = []
    total = 0
    for object_id, size in candidates:
        if object_id in excluded:
            continue
        if len(chosen) == maximum_objects or (chosen and total + size > maximum_bytes):
            break
        chosen.append(object_id)
        total += size
    return chosen


def _load(connection: Connection, ids: Sequence[int]) -> list[Any]:
    """Rows of `ids`, in that order."""
    columns = sop_instance.c
    found = connection.execute(
        sa.select(
            columns.id,
            columns.sop_instance_uid,
            columns.sop_class_uid,
            columns.transfer_syntax_uid,
            columns.sha256,
            columns.attempts,
            columns.calling_ae_title,
            columns.character_set_override,
            original.c.data,
        )
        .outerjoin_from(sop_instance, original, original.c.object_id == columns.id)
        .where(columns.id.in_(ids))
    )
    rows = {row.id: row for row in found}
    return [rows[i] for i in ids if i in rows]


def _fail_unreadable(database: Database, unreadable: Sequence[tuple[Any, str]]) -> None:
    def work(connection: Connection) -> None:
        connection.execute(
            sa.update(sop_instance)
            .where(sop_instance.c.id == sa.bindparam("object_id"), sop_instance.c.state == State.PENDING.value)
            .values(
                state=State.FAILED.value,
                reason_code=sa.bindparam("why"),
                state_changed_at=_now(),
                attempts=sop_instance.c.attempts + 1,
            ),
            [{"object_id": row.id, "why": reason_code} for row, reason_code in unreadable],
        )

    database.transact(work)
    for row, reason_code in unreadable:
        log(
            Event.OBJECT_FAILED,
            object_id=row.id,
            sop_instance_uid=row.sop_instance_uid,
            reason_code=reason_code,
            attempts=row.attempts + 1,
        )


def save_processed(database: Database, results: Sequence[Processed]) -> int:
    """Write what came of objects, in one transaction; all of them or none.

    A report's analysis becomes the current one of its object; those by other pipelines are kept, not current, and one
    by the same pipeline is replaced. Findings are current when their analysis and their object's version are. A failed
    object keeps the analysis that it may have had; without one, what could be read of it is kept. Results of objects
    that are no longer held are dropped, and so are those read by another character set than is now stated for the
    object, which stays pending. What prevails among the reports that depend on these is computed anew, see `life`.

    Returns
    -------
    int
        How many results were saved.
    """
    if not results:
        return 0
    return database.transact(lambda connection: _save(connection, results))


def _save(connection: Connection, results: Sequence[Processed]) -> int:
    columns = sop_instance.c
    # until the end of this transaction no newer version can take the place of these objects, see intake
    held = {
        row.id: row
        for row in connection.execute(
            sa.select(*_HEADER)
            .where(columns.id.in_([r.object_id for r in results]), columns.state != State.QUARANTINED.value)
            .order_by(columns.id)
            .with_for_update()
        )
    }
    last = {
        r.object_id: r
        for r in results
        if r.object_id in held and r.character_set_override == held[r.object_id].character_set_override
    }
    if not last:
        return 0
    now = _now()
    connection.execute(
        sa.update(sop_instance)
        .where(columns.id == sa.bindparam("object_id"))
        .values(
            state=sa.bindparam("new_state"),
            reason_code=sa.bindparam("why"),
            state_changed_at=now,
            attempts=columns.attempts + 1,
        ),
        [{"object_id": r.object_id, "new_state": r.state.value, "why": r.reason_code} for r in last.values()],
    )
    keep = _with_reading(connection, [r for r in last.values() if r.report is not None and r.state == State.FAILED])
    read = [r for r in last.values() if r.report is not None and r.object_id not in keep]
    if read:
        _save_analyses(connection, read, held, now)
        referred_to = save_links(connection, read, held)
        settle(connection, [r.object_id for r in read], referred_to)
    return len(last)


def _with_reading(connection: Connection, failed: Sequence[Processed]) -> set[int]:
    """Objects of `failed` that keep the analysis that they have.

    Not one that was read by another character set than is stated now: that is known to be wrong.
    """
    if not failed:
        return set()
    stated = {r.object_id: r.character_set_override for r in failed}
    query = sa.select(analysis.c.object_id, analysis.c.character_set_override).where(
        analysis.c.object_id.in_(stated), analysis.c.is_current
    )
    return {row.object_id for row in connection.execute(query) if row.character_set_override == stated[row.object_id]}


def _save_analyses(
    connection: Connection, results: Sequence[Processed], held: dict[int, Any], now: dt.datetime
) -> None:
    ids = [r.object_id for r in results]
    set_aside(connection, results)
    connection.execute(
        sa.delete(analysis).where(
            analysis.c.object_id == sa.bindparam("of_object"), analysis.c.pipeline == sa.bindparam("by_pipeline")
        ),
        [{"of_object": r.object_id, "by_pipeline": r.pipeline} for r in results],
    )
    for table in (analysis, finding):
        connection.execute(
            sa.update(table).where(table.c.object_id.in_(ids), table.c.is_current).values(is_current=False)
        )
    inserted = connection.execute(
        sa.insert(analysis).returning(analysis.c.id, sort_by_parameter_order=True),
        [analysis_row(r, now) for r in results],
    )
    begin_periods(connection, {r.object_id: r.pipeline for r in results if held[r.object_id].is_current}, now)
    rows = [
        {
            "analysis_id": analysis_id,
            "object_id": r.object_id,
            "study_instance_uid": held[r.object_id].study_instance_uid,
            "sop_instance_uid": held[r.object_id].sop_instance_uid,
            "is_current": held[r.object_id].is_current,
            "pipeline": r.pipeline,
            "analysed_at": now,
            "study_date": date_of(held[r.object_id]),
            **finding_row(f),
        }
        for r, (analysis_id,) in zip(results, inserted, strict=True)
        if r.analysis is not None
        for f in r.analysis.findings
    ]
    if rows:
        connection.execute(sa.insert(finding), rows)
    index_reports(connection, results, held)


def record_lost(database: Database, object_ids: Iterable[int], reason_code: str, maximum_attempts: int) -> list[int]:
    """Count an attempt that ended with the loss of its worker.

    Returns
    -------
    list[int]
        Those that have reached `maximum_attempts` and are now failed, with `reason_code`.
    """
    ids = sorted(set(object_ids))

    def work(connection: Connection) -> list[int]:
        columns = sop_instance.c
        pending = [columns.id.in_(ids), columns.state == State.PENDING.value]
        connection.execute(sa.update(sop_instance).where(*pending).values(attempts=columns.attempts + 1))
        failed = connection.execute(
            sa.update(sop_instance)
            .where(*pending, columns.attempts >= maximum_attempts)
            .values(state=State.FAILED.value, reason_code=reason_code, state_changed_at=_now())
            .returning(columns.id)
        )
        return sorted(failed.scalars())

    return database.transact(work) if ids else []


def count_pending(database: Database, run_id: int | None = None) -> int:
    """How many objects wait, or are in a worker; with `run_id` of that reprocess run only."""
    columns = sop_instance.c
    query = sa.select(sa.func.count()).select_from(sop_instance).where(columns.state == State.PENDING.value)
    if run_id is not None:
        query = query.where(columns.reprocess_run_id == run_id)
    with database.read() as connection:
        return connection.scalar(query) or 0


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
