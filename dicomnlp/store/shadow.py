"""Analyses by a pipeline that doesn't count: kept beside those that do, and seen by nobody who doesn't ask for them."""

import datetime as dt
import hashlib
from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import Processed, State
from dicomnlp.store.batches import batches, select_in
from dicomnlp.store.current import HEADER
from dicomnlp.store.database import Database
from dicomnlp.store.prepared import Prepared, prepare_rows
from dicomnlp.store.queue import write_analyses
from dicomnlp.store.reprocess import Selection, selected_objects
from dicomnlp.store.schema import analysis, sop_instance
from dicomnlp.store.schema_pipelines import shadow_failure


def objects_for_shadow(
    database: Database, selection: Selection, pipelines: Sequence[str], sample: int | None = None
) -> tuple[list[int], int]:
    """Objects that are to be read in shadow: those selected that have an analysis, but none by the pipeline.

    Parameters
    ----------
    selection
        As `selected_objects` takes it.
    pipelines
        Every name of an analysis by the pipeline.
    sample
        So many of those selected only, chosen by chance, but the same each time.

    Returns
    -------
    tuple
        The objects, and how many of those chosen have such an analysis already.
    """
    chosen = selected_objects(database, selection)
    columns = analysis.c
    with database.read() as connection:
        chosen = sorted(select_in(connection, columns.object_id, columns.object_id, chosen, columns.is_current))
        if sample is not None:
            chosen = sorted(sorted(chosen, key=_chance)[:sample])
        done = set(select_in(connection, columns.object_id, columns.object_id, chosen, columns.pipeline.in_(pipelines)))
    return [object_id for object_id in chosen if object_id not in done], len(done)


def _chance(object_id: int) -> bytes:
    return hashlib.sha256(str(object_id).encode()).digest()


def save_shadow(database: Database, name: str, results: Sequence[Processed | Prepared]) -> None:
    """Keep what a pipeline made of objects, in one transaction, without letting it count.

    An analysis by the same pipeline that counts is left as it is. Results of objects that are no longer held are
    dropped, and so are those read by another character set than is now stated for the object.

    Parameters
    ----------
    name
        Under which the pipeline is kept.
    """
    prepared = [prepare_rows(r) if isinstance(r, Processed) else r for r in results]

    def work(connection: Connection) -> None:
        held = {
            row.id: row
            for row in connection.execute(
                sa.select(*HEADER)
                .where(sop_instance.c.id.in_([r.object_id for r in prepared]))
                .order_by(sop_instance.c.id)
                .with_for_update()
            )
        }
        fitting = [
            r
            for r in prepared
            if r.object_id in held and r.character_set_override == held[r.object_id].character_set_override
        ]
        columns = analysis.c
        counting = {
            (row.object_id, row.pipeline)
            for row in connection.execute(
                sa.select(columns.object_id, columns.pipeline).where(
                    columns.object_id.in_([r.object_id for r in fitting]), columns.is_current
                )
            )
        }
        now = dt.datetime.now(dt.UTC)
        read = [r for r in fitting if r.report is not None and r.state is not State.FAILED]
        new = [r for r in read if (r.object_id, r.pipeline) not in counting]
        if new:
            write_analyses(connection, new, held, now, are_current=False)
        _forget_failures(connection, name, [r.object_id for r in fitting])
        failed = [
            {
                "object_id": r.object_id,
                "pipeline": name,
                "reason_code": r.reason_code or "internal_error",
                "failed_at": now,
            }
            for r in fitting
            if r not in read
        ]
        if failed:
            connection.execute(sa.insert(shadow_failure), failed)

    database.transact(work)


def record_shadow_failure(database: Database, name: str, object_id: int, reason_code: str) -> None:
    """Note that a pipeline could not read an object."""

    def work(connection: Connection) -> None:
        if connection.scalar(sa.select(sa.exists().where(sop_instance.c.id == object_id))):
            _forget_failures(connection, name, [object_id])
            connection.execute(
                sa.insert(shadow_failure).values(
                    object_id=object_id, pipeline=name, reason_code=reason_code, failed_at=dt.datetime.now(dt.UTC)
                )
            )

    database.transact(work)


def _forget_failures(connection: Connection, name: str, object_ids: Collection[int]) -> None:
    columns = shadow_failure.c
    for batch in batches(object_ids):
        connection.execute(sa.delete(shadow_failure).where(columns.object_id.in_(batch), columns.pipeline == name))
