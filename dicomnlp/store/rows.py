"""Reads and writes that happen for each object that comes in, without a query builder's work at each of them.

On SQLite building a statement, and even handing one that is built to the driver through the builder's layers, costs
more processor time than executing it, commit included. So the text is made once and goes straight to the driver's
cursor; values are converted by the columns' own types. PostgreSQL's driver costs more than the builder, and is left
to it.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.engine import Connection, Dialect

from dicomnlp.store.columns import CleanText

_Convert = Callable[[Any], Any]


class Inserter:
    """Inserts rows into a table; all rows of a call have the same columns.

    Parameters
    ----------
    table
        With an integer primary key "id" that grows, if `insert_returning_ids` is used.
    """

    def __init__(self, table: sa.Table) -> None:
        self._table = table
        self._statement = sa.insert(table)
        self._prepare = functools.cache(self._prepare_for)

    def insert(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert `rows`.

        Raises
        ------
        SQLAlchemyError, sqlite3.Error
            The database fails, or can't take a value; `Database.write` translates both.
        """
        if connection.dialect.name != "sqlite":
            connection.execute(self._statement, rows)
            return
        text, converters = self._prepare(connection.dialect, tuple(rows[0]))
        connection.connection.cursor().executemany(text, [_values(row, converters) for row in rows])

    def insert_returning_ids(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """Insert `rows`; the ids that they got, in their order. Raises as `insert`."""
        if connection.dialect.name != "sqlite":
            returning = self._statement.returning(self._table.c.id, sort_by_parameter_order=True)
            return list(connection.scalars(returning, rows))
        text, converters = self._prepare(connection.dialect, tuple(rows[0]))
        cursor = connection.connection.cursor()
        ids = []
        for row in rows:
            cursor.execute(text, _values(row, converters))
            ids.append(cursor.lastrowid)
        return ids

    def _prepare_for(self, dialect: Dialect, names: tuple[str, ...]) -> tuple[str, list[tuple[str, _Convert | None]]]:
        columns = [self._table.c[name] for name in names]
        marks = ", ".join("?" for _ in names)
        text = f"INSERT INTO {self._table.name} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - of the schema
        return text, [(c.name, _converter(c, dialect)) for c in columns]


def _converter(column: sa.Column[Any], dialect: Dialect) -> _Convert | None:
    """What a column's type does with a value; the commonest type's own method without the builder's around it."""
    if isinstance(column.type, CleanText):
        kind = column.type
        return lambda value: kind.process_bind_param(value, dialect)
    return column.type.dialect_impl(dialect).bind_processor(dialect)


def _values(row: Mapping[str, Any], converters: Sequence[tuple[str, _Convert | None]]) -> tuple[Any, ...]:
    try:
        return tuple([row[name] if convert is None else convert(row[name]) for name, convert in converters])
    except ValueError as error:
        # as the builder does with what a column's type refuses
        raise sqlalchemy.exc.StatementError("a value can't be stored", None, None, error) from None


class Finder:
    """Selects columns of the rows in which a text column has one of some values.

    The columns must be of types that come as they are: text, numbers, and booleans as 0 and 1.

    Parameters
    ----------
    key
        The column that is compared.
    columns
        Those that are asked for, of the same table.
    """

    def __init__(self, key: sa.Column[str], *columns: sa.Column[Any]) -> None:
        self._statement = sa.select(*columns).where(key.in_(sa.bindparam("values", expanding=True)))
        names = ", ".join(column.name for column in columns)
        self._text = f"SELECT {names} FROM {key.table} WHERE {key.name} IN "  # noqa: S608 - names of the schema

    def find(self, connection: Connection, values: Sequence[str]) -> Sequence[Sequence[Any]]:
        """The rows, each with its values in the order of the columns; raises as `Inserter.insert`."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, {"values": values}).all()
        marks = ", ".join("?" for _ in values)
        cursor = connection.connection.cursor()
        cursor.execute(f"{self._text}({marks})", tuple(values))
        return cursor.fetchall()
