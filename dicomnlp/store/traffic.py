"""What the listeners have counted of each sender: sums that outlive their processes, for the metrics."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.store.database import Database, lock_key
from dicomnlp.store.schema import traffic

MAXIMUM_TITLES: Final = 64
"""Senders that are counted by name; all others together are `OTHER`."""
OTHER: Final = "other"

STORE_SECONDS_BOUNDS: Final = (
    *("0.001", "0.0025", "0.005", "0.01", "0.025", "0.05"),
    *("0.1", "0.25", "1.0", "10.0", "+Inf"),
)
"""Upper bounds of the latency histogram, as labels of `store_seconds_bucket`; each counts what is in it alone."""


class Count(NamedTuple):
    """What is counted: of whom, what, and which kind of it."""

    calling_ae_title: str
    measure: str
    label: str = ""


def add_traffic(database: Database, counts: Mapping[Count, float]) -> None:
    """Add to the sums.

    Raises
    ------
    DatabaseError
        Nothing has been added.
    """
    if counts:
        database.transact(lambda connection: _add(connection, counts))


def _add(connection: Connection, counts: Mapping[Count, float]) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock_key("traffic"))))
    columns = traffic.c
    titles = set(connection.scalars(sa.select(columns.calling_ae_title).distinct())) - {OTHER}
    sums: defaultdict[Count, float] = defaultdict(float)
    for count, value in counts.items():
        title = count.calling_ae_title
        if title not in titles and title != OTHER:
            if len(titles) >= MAXIMUM_TITLES:
                title = OTHER
            else:
                titles.add(title)
        sums[count._replace(calling_ae_title=title)] += value
    held = {Count(*row) for row in connection.execute(sa.select(*(columns[name] for name in Count._fields)))}
    changed = [{f"key_{k}": v for k, v in c._asdict().items()} | {"add": n} for c, n in sums.items() if c in held]
    if changed:
        key = [columns[name] == sa.bindparam(f"key_{name}") for name in Count._fields]
        connection.execute(sa.update(traffic).where(*key).values(value=columns.value + sa.bindparam("add")), changed)
    new = [c._asdict() | {"value": n} for c, n in sums.items() if c not in held]
    if new:
        connection.execute(sa.insert(traffic), new)


def read_traffic(database: Database) -> dict[Count, float]:
    """All sums."""
    columns = traffic.c
    query = sa.select(*(columns[name] for name in Count._fields), columns.value).order_by(
        *(columns[name] for name in Count._fields)
    )
    with database.read() as connection:
        return {Count(*row[:-1]): row[-1] for row in connection.execute(query)}
