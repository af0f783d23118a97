"""Bringing the reports that are held to a pipeline, some at a time: while it lasts, each is all old or all new.

A report that has an analysis by the pipeline, as after a shadow run, is switched to it; others are marked to be
analysed by it, after all new arrivals, and are the old ones until then. Going back brings each to the analysis that
counted before.
"""

import datetime as dt
import time
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import Recommendation, State
from dicomnlp.store.columns import clean
from dicomnlp.store.current import HEADER, make_current
from dicomnlp.store.database import Database
from dicomnlp.store.pipelines import Promotion, read_promotion
from dicomnlp.store.prepared import Prepared, without_content
from dicomnlp.store.records import from_json, stored_report
from dicomnlp.store.schema import (
    LANE_REPROCESS,
    analysis,
    analysis_period,
    report_profile,
    report_standing,
    sop_instance,
)
from dicomnlp.store.schema_pipelines import promotion
from dicomnlp.store.words import indexed_words

AT_ONCE = 100
"""Objects a transaction, so that no listener waits long for it."""
_TURN_SECONDS = 0.12
"""Pause after it: who waits for SQLite's lock isn't woken, but looks again every tenth of a second."""


def bring_some(database: Database, promotion_id: int, pipelines: Sequence[str]) -> bool:
    """Bring the next objects to the pipeline of a promotion; whether more are left.

    Whoever calls this, and however often, at the same time or after it was cut off: each object is looked at once.

    Parameters
    ----------
    promotion_id
        Its number. Of one that doesn't count any more nothing is left.
    pipelines
        Every name of an analysis by the pipeline.
    """
    more = database.transact(lambda connection: _bring_some(connection, promotion_id, pipelines))
    if more and database.is_sqlite:
        time.sleep(_TURN_SECONDS)
    return more


def bring_all(database: Database, promotion_id: int, pipelines: Sequence[str]) -> Promotion:
    """As `bring_some`, until nothing is left."""
    while bring_some(database, promotion_id, pipelines):
        pass
    return read_promotion(database, promotion_id)


def _bring_some(connection: Connection, promotion_id: int, pipelines: Sequence[str]) -> bool:
    columns = promotion.c
    now = dt.datetime.now(dt.UTC)
    run = connection.execute(sa.select(promotion).where(columns.id == promotion_id).with_for_update()).one()
    newest = connection.scalar(sa.select(sa.func.max(columns.id)))
    if run.finished_at is not None or newest != promotion_id:
        return False
    headers = {
        row.id: row
        for row in connection.execute(
            sa.select(*HEADER, sop_instance.c.state)
            .where(
                sop_instance.c.id > run.walked_to_object_id,
                sop_instance.c.id <= run.last_object_id,
                sop_instance.c.state != State.QUARANTINED.value,
            )
            .order_by(sop_instance.c.id)
            .limit(AT_ONCE)
            # before anything else of them is read: what is being saved by another transaction is waited for
            .with_for_update()
        )
    }
    since = None
    if run.undoes is not None:
        since = connection.scalar(sa.select(columns.promoted_at).where(columns.id == run.undoes))
    unchanged, switch, mark = _decide(connection, headers, pipelines, since)
    if switch:
        _switch(connection, switch, headers, now)
    if mark:
        _mark(connection, mark, now)
    finished = len(headers) < AT_ONCE
    connection.execute(
        sa.update(promotion)
        .where(columns.id == promotion_id)
        .values(
            walked_to_object_id=run.last_object_id if finished else max(headers),
            unchanged=run.unchanged + unchanged,
            switched=run.switched + len(switch),
            marked=run.marked + len(mark),
            finished_at=now if finished else None,
        )
    )
    return not finished


def _decide(
    connection: Connection, headers: dict[int, Any], pipelines: Sequence[str], since: dt.datetime | None
) -> tuple[int, dict[int, int], list[int]]:
    """(how many stay, object -> analysis to switch to, objects to be analysed), of those that have an analysis."""
    columns = analysis.c
    before = _counting_at(connection, headers, since) if since is not None else {}
    wanted = set(pipelines)
    current: dict[int, Any] = {}
    best: dict[int, tuple[bool, dt.datetime, int]] = {}
    for row in connection.execute(
        sa.select(
            columns.id,
            columns.object_id,
            columns.pipeline,
            columns.is_current,
            columns.analysed_at,
            columns.character_set_override,
        ).where(columns.object_id.in_(headers))
    ):
        if row.is_current:
            current[row.object_id] = row
        # a text that is to be read in another way isn't what was analysed
        if row.character_set_override != headers[row.object_id].character_set_override:
            continue
        returns = before.get(row.object_id) == row.pipeline
        if returns or (row.pipeline in wanted and row.object_id not in before):
            best[row.object_id] = max(
                best.get(row.object_id, (False, row.analysed_at, 0)), (returns, row.analysed_at, row.id)
            )
    unchanged, switch, mark = 0, {}, []
    for object_id, row in current.items():
        if headers[object_id].state == State.PENDING.value:
            mark.append(object_id)  # by whatever counts when it is its turn
        elif object_id in best:
            if best[object_id][2] == row.id:
                unchanged += 1
            else:
                switch[object_id] = best[object_id][2]
        else:
            mark.append(object_id)
    return unchanged, switch, mark


def _counting_at(connection: Connection, object_ids: Collection[int], at: dt.datetime) -> dict[int, str]:
    """The pipeline whose analysis counted for each object at the moment `at`."""
    period = analysis_period.c
    return {
        row.object_id: row.pipeline
        for row in connection.execute(
            sa.select(period.object_id, period.pipeline)
            .where(
                period.object_id.in_(object_ids),
                period.current_from <= at,
                sa.or_(period.current_until.is_(None), period.current_until > at),
            )
            .order_by(period.id)
        )
    }


def _mark(connection: Connection, object_ids: Sequence[int], now: dt.datetime) -> None:
    columns = sop_instance.c
    connection.execute(
        sa.update(sop_instance)
        .where(columns.id.in_(object_ids), columns.state != State.PENDING.value)
        .values(lane=LANE_REPROCESS, attempts=0, state_changed_at=now, state=State.PENDING.value, reason_code=None)
    )


def _switch(connection: Connection, targets: dict[int, int], headers: dict[int, Any], now: dt.datetime) -> None:
    columns = sop_instance.c
    rows = connection.execute(
        sa.select(
            sop_instance,
            columns.is_current.label("is_current_version"),
            *(c.label(f"analysis_{c.name}") for c in analysis.c),
            *(report_standing.c[name].label(f"standing_{name}") for name in ("status", "superseded_by", "reason_code")),
            report_profile.c.modality.label("profile_modality"),
        )
        .join_from(sop_instance, analysis, analysis.c.object_id == columns.id)
        .outerjoin(report_standing, report_standing.c.object_id == columns.id)
        .outerjoin(report_profile, report_profile.c.object_id == columns.id)
        .where(analysis.c.id.in_(targets.values()))
    ).mappings()
    results = [_prepared(row) for row in rows]
    for state in {r.state for r in results}:
        connection.execute(
            sa.update(sop_instance)
            .where(columns.id.in_([r.object_id for r in results if r.state is state]))
            .values(state=state.value, reason_code=None, state_changed_at=now)
        )
    make_current(connection, results, headers, targets, now)


def _prepared(row: Any) -> Prepared:
    """What a worker made of the object, of the rows that it became; its findings stand in the database."""
    stored = stored_report(row)
    assert stored.report is not None
    modalities = row["analysis_modalities"]
    if modalities is None:
        modalities = [m for m in (row["profile_modality"] or "").split("\\") if m]
    return Prepared(
        object_id=row["id"],
        state=State(row["analysis_state"]),
        pipeline=row["analysis_pipeline"],
        reason_code=None,
        character_set_override=row["analysis_character_set_override"],
        report=without_content(stored.report),
        recommendations=tuple(from_json(Recommendation, v) for v in row["analysis_recommendations"]),
        modalities=tuple(modalities),
        content_sha256=row["analysis_content_sha256"],
        words=" ".join(indexed_words(clean(row["analysis_narrative"]))),
    )
