"""Statements over many keys, in pieces: a statement can hold only so many parameters."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

T = TypeVar("T")
AT_ONCE = 500


def batches(keys: Collection[T]) -> Iterator[Sequence[T]]:
    """`keys` in lists of at most `AT_ONCE`; none when there are none."""
    every = list(keys)
    for start in range(0, len(every), AT_ONCE):
        yield every[start : start + AT_ONCE]


def select_in(
    connection: Connection, column: sa.ColumnElement[T], key: sa.ColumnElement[Any], values: Collection[Any], *also: Any
) -> list[T]:
    """`column` of the rows whose `key` is one of `values` and for which `also` holds, each value once a statement."""
    found: list[T] = []
    for batch in batches(values):
        found.extend(connection.scalars(sa.select(column).where(key.in_(batch), *also).distinct()))
    return found
