"""How the service went on lately, minute by minute: arrivals, analyses, what waited, and how long it took."""

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import Outcome, State
from dicomnlp.store.database import Database
from dicomnlp.store.schema import LANE_ARRIVAL, analysis, ledger, sop_instance
from dicomnlp.store.schema_pipelines import reprocess_run

_MINUTE = dt.timedelta(minutes=1)
_LATENCIES = 5000
"""The latest analyses among which arrivals are looked for, to tell latencies: enough for a quantile, and no more than a
page may wait for while an archive is read again."""
_ENTERING = (Outcome.STORED, Outcome.NEW_VERSION)
"""Outcomes after which an object waits for analysis."""


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute of the service."""

    start: dt.datetime
    received: int
    analysed: int
    waiting: int
    """Objects that waited at its end, counted back from now by what came and what was done."""
    median_seconds: float | None
    """From received to analysed, of what was analysed in this minute; None where nothing was."""
    slow_seconds: float | None
    """The same, which one in twenty exceeded."""


def read_rates(database: Database, minutes: int = 60) -> list[Minute]:
    """The latest `minutes`, the one that is running last."""
    last = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    starts = [last - n * _MINUTE for n in reversed(range(minutes))]
    came, done = ledger.c, analysis.c
    with database.read() as connection:
        received = _by_minute(connection, came.received_at, starts[0])
        entering = _by_minute(connection, came.received_at, starts[0], came.outcome.in_([o.value for o in _ENTERING]))
        analysed = _by_minute(connection, done.analysed_at, starts[0])
        runs = connection.execute(
            sa.select(reprocess_run.c.started_at, reprocess_run.c.total).where(reprocess_run.c.started_at >= starts[0])
        ).all()
        waiting = int(
            connection.scalar(sa.select(sa.func.count()).where(sop_instance.c.state == State.PENDING.value)) or 0
        )
        latencies = _latencies(connection, starts[0])
    marked: defaultdict[dt.datetime, int] = defaultdict(int)
    for started_at, total in runs:
        marked[started_at.replace(second=0, microsecond=0)] += total
    found: list[Minute] = []
    for start in reversed(starts):
        seconds = latencies.get(start, [])
        found.append(
            Minute(
                start,
                received.get(start, 0),
                analysed.get(start, 0),
                max(0, waiting),
                _quantile(seconds, 0.5),
                _quantile(seconds, 0.95),
            )
        )
        # what waited before this minute
        waiting += analysed.get(start, 0) - entering.get(start, 0) - marked[start]
    return found[::-1]


def _by_minute(
    connection: Connection, column: sa.Column[Any], since: dt.datetime, *conditions: sa.ColumnElement[bool]
) -> Mapping[dt.datetime, int]:
    """How many rows there are of each minute."""
    if connection.dialect.name == "sqlite":
        # moments are text there, and to cut it is quicker than to read it
        minute = sa.func.substr(column, 1, len("YYYY-MM-DD HH:MM"), type_=sa.String)
    else:
        minute = sa.func.to_char(sa.func.timezone("UTC", column), 'YYYY-MM-DD"T"HH24:MI')
    query = sa.select(minute, sa.func.count()).where(column >= since, *conditions).group_by(minute)
    return {
        dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC): int(number)
        for text, number in connection.execute(query)
    }


def _latencies(connection: Connection, since: dt.datetime) -> Mapping[dt.datetime, list[float]]:
    """Seconds from received to analysed by minute, of arrivals: what was read anew tells nothing of how fast we are."""
    columns = analysis.c
    latest = (
        sa.select(columns.analysed_at, columns.object_id)
        .where(columns.analysed_at >= since)
        .order_by(columns.analysed_at.desc())
        .limit(_LATENCIES)
        .subquery()
    )
    rows = connection.execute(
        sa.select(latest.c.analysed_at, sop_instance.c.received_at)
        .join_from(latest, sop_instance, sop_instance.c.id == latest.c.object_id)
        .where(sop_instance.c.lane == LANE_ARRIVAL)
    )
    found: defaultdict[dt.datetime, list[float]] = defaultdict(list)
    for analysed_at, received_at in rows:
        start = analysed_at.replace(second=0, microsecond=0)
        found[start].append(max(0.0, (analysed_at - received_at).total_seconds()))
    return found


def _quantile(values: Sequence[float], share: float) -> float | None:
    """The least value that `share` of all don't exceed; None of none."""
    if not values:
        return None
    return sorted(values)[math.ceil(share * len(values)) - 1]
