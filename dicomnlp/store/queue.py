"""What is to be done, and what came of it: the only queue there is.

Nothing here says that an object is "being worked on": the one dispatcher knows that by itself and passes it as
`exclude`, so that nothing is left behind when it dies.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.logs import Event, log
from dicomnlp.model import Processed, State, StoredObject
from dicomnlp.store.current import HEADER, follow, unset_current
from dicomnlp.store.database import Database
from dicomnlp.store.history import set_aside
from dicomnlp.store.originals import OriginalDamagedError, OriginalMissingError, read_original
from dicomnlp.store.pipelines import generation_of
from dicomnlp.store.prepared import OF_ANALYSIS, OF_FINDING, Prepared, prepare_rows
from dicomnlp.store.remarks import write_remarks
from dicomnlp.store.rows import Loader
from dicomnlp.store.schema import CURRENT_ANALYSIS, LANE_ARRIVAL, analysis, finding, original, sop_instance
from dicomnlp.store.schema_write_back import written_document
from dicomnlp.store.searchable import date_of

T = TypeVar("T")
_ANALYSES = Loader(analysis, *OF_ANALYSIS, "analysed_at")
_FINDINGS = Loader(
    finding,
    *OF_FINDING,
    *("analysis_id", "object_id", "study_instance_uid", "sop_instance_uid"),
    *("is_current", "pipeline", "analysed_at", "study_date"),
)
_IS_CURRENT = OF_ANALYSIS.index("is_current")


def take_pending(
    database: Database,
    *,
    maximum_objects: int,
    maximum_bytes: int,
    exclude: Collection[int],
    arrivals_only: bool = False,
) -> list[StoredObject]:
    """The next objects to process: new arrivals before those to be reprocessed, the oldest of each first.

    An object whose original is gone or damaged ends as failed on the way and keeps no other from being taken.

    Parameters
    ----------
    maximum_objects, maximum_bytes
        Limits of what is returned, though one object is, however large.
    exclude
        Rows of objects already in hand.
    arrivals_only
        Nothing that is to be reprocessed.

    Returns
    -------
    list[StoredObject]
        Empty only when nothing else is pending.
    """
    excluded = set(exclude)
    while True:
        with database.read() as connection:
            chosen = _choose(connection, maximum_objects, maximum_bytes, excluded, arrivals_only=arrivals_only)
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
                    is_own=row.is_own,
                )
            )
        if unreadable:
            _fail_unreadable(database, unreadable)
        if taken or not chosen:
            return taken


def _choose(
    connection: Connection, maximum_objects: int, maximum_bytes: int, excluded: set[int], *, arrivals_only: bool
) -> list[int]:
    columns = sop_instance.c
    lane = [columns.lane == LANE_ARRIVAL] if arrivals_only else []
    # leaving out here, not in SQL: a statement can't hold as many parameters as there may be objects in hand
    candidates = connection.execute(
        sa.select(columns.id, columns.size)
        .where(columns.state == State.PENDING.value, *lane)
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
            sa.exists().where(written_document.c.document_uid == columns.sop_instance_uid).label("is_own"),
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


def save_processed(database: Database, results: Sequence[Processed | Prepared]) -> int:
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
    prepared = [prepare_rows(r) if isinstance(r, Processed) else r for r in results]
    return database.transact(lambda connection: _save(connection, prepared))


def _save(connection: Connection, results: Sequence[Prepared]) -> int:
    columns = sop_instance.c
    # until the end of this transaction no newer version can take the place of these objects, see intake
    held = {
        row.id: row
        for row in connection.execute(
            sa.select(*HEADER)
            .where(columns.id.in_([r.object_id for r in results]), columns.state != State.QUARANTINED.value)
            .order_by(columns.id)
            .with_for_update()
        )
    }
    # after they are locked: whoever promotes a pipeline from here on finds them as they will be
    generation = generation_of(connection)
    last = {
        r.object_id: r
        for r in results
        if r.object_id in held
        and r.character_set_override == held[r.object_id].character_set_override
        and r.generation in {None, generation}
    }
    if not last:
        return 0
    now = _now()
    for (state, reason_code), ids in _grouped(last.values(), lambda r: (r.state.value, r.reason_code)).items():
        connection.execute(
            sa.update(sop_instance)
            .where(columns.id.in_(ids))
            .values(state=state, reason_code=reason_code, state_changed_at=now, attempts=columns.attempts + 1)
        )
    keep = _with_reading(connection, [r for r in last.values() if r.report is not None and r.state == State.FAILED])
    read = [r for r in last.values() if r.report is not None and r.object_id not in keep]
    if read:
        unset_current(connection, [r.object_id for r in read])
        write_analyses(connection, read, held, now, are_current=True)
        follow(connection, read, held, now)
    return len(last)


def _with_reading(connection: Connection, failed: Sequence[Prepared]) -> set[int]:
    """Objects of `failed` that keep the analysis that they have.

    Not one that was read by another character set than is stated now: that is known to be wrong.
    """
    if not failed:
        return set()
    stated = {r.object_id: r.character_set_override for r in failed}
    query = sa.select(analysis.c.object_id, analysis.c.character_set_override).where(
        analysis.c.object_id.in_(stated), CURRENT_ANALYSIS
    )
    return {row.object_id for row in connection.execute(query) if row.character_set_override == stated[row.object_id]}


def write_analyses(
    connection: Connection, results: Sequence[Prepared], headers: dict[int, Any], now: dt.datetime, *, are_current: bool
) -> None:
    """Insert analyses with their findings, in place of those by the same pipelines.

    Parameters
    ----------
    headers
        As of `current.follow`.
    are_current
        Whether they count for their objects; else nothing else changes.
    """
    set_aside(connection, results)
    for pipeline, of_pipeline in _grouped(results, lambda r: r.pipeline).items():
        connection.execute(
            sa.delete(analysis).where(analysis.c.object_id.in_(of_pipeline), analysis.c.pipeline == pipeline)
        )
    rows = [list(r.analysis) for r in results]
    for row in rows:
        row[_IS_CURRENT] = are_current
    analysis_ids = _ANALYSES.load_numbered(connection, [(*row, now) for row in rows])
    found: list[tuple[Any, ...]] = []
    for r, analysis_id in zip(results, analysis_ids, strict=True):
        header = headers[r.object_id]
        of_report = (
            *(analysis_id, r.object_id, header.study_instance_uid, header.sop_instance_uid),
            *(are_current and header.is_current, r.pipeline, now, date_of(header)),
        )
        found += [(*values, *of_report) for values in r.findings]
    _FINDINGS.load(connection, found)
    write_remarks(
        connection,
        [(r.remarks, i, date_of(headers[r.object_id])) for r, i in zip(results, analysis_ids, strict=True)],
    )


def _grouped(results: Iterable[Prepared], key: Callable[[Prepared], T]) -> dict[T, list[int]]:
    """Objects of `results` by `key`."""
    groups: dict[T, list[int]] = {}
    for r in results:
        groups.setdefault(key(r), []).append(r.object_id)
    return groups


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
