"""Reads and writes that happen for each object that comes in or is analysed, without a query builder's work.

On SQLite building a statement, and even handing one that is built to the driver through the builder's layers, costs
more processor time than executing it, commit included. So the text is made once and goes straight to the driver's
cursor; values are converted by the columns' own types. PostgreSQL's driver costs more than the builder, and is left
to it.
"""

import functools
import operator
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
import psycopg.sql
import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.engine import Connection, Dialect

from dicomnlp.store import faults
from dicomnlp.store.columns import CleanText, UTCDateTime, clean

_Convert = Callable[[Any], Any]


def driver(connection: Connection) -> sqlite3.Connection:
    """SQLite's own connection, without the pool's wrapping."""
    found = connection.connection.driver_connection
    assert isinstance(found, sqlite3.Connection)
    return found


class Inserter:
    """Inserts rows into a table; all rows of a call have the same columns in the same order, and text in those of text.

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
        prepared = self._prepare(connection.dialect, tuple(rows[0]))
        driver(connection).executemany(prepared.statement, [prepared.values(row) for row in rows])

    def insert_returning_ids(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """Insert `rows`; the ids that they got, in their order. Raises as `insert`."""
        if connection.dialect.name != "sqlite":
            returning = self._statement.returning(self._table.c.id, sort_by_parameter_order=True)
            return list(connection.scalars(returning, rows))
        prepared = self._prepare(connection.dialect, tuple(rows[0]))
        cursor = driver(connection).cursor()
        ids: list[int] = []
        for row in rows:
            cursor.execute(prepared.statement, prepared.values(row))
            assert cursor.lastrowid is not None
            ids.append(cursor.lastrowid)
        return ids

    def _prepare_for(self, dialect: Dialect, names: tuple[str, ...]) -> "_Prepared":
        columns = [self._table.c[name] for name in names]
        marks = ", ".join("?" for _ in names)
        text = f"INSERT INTO {self._table.name} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - of the schema
        return _Prepared(text, columns, dialect)


def _converter(column: sa.Column[Any], dialect: Dialect) -> _Convert | None:
    """What a column's type does with a value; None: nothing."""
    if isinstance(column.type, UTCDateTime):
        return _moments(dialect)
    return column.type.dialect_impl(dialect).bind_processor(dialect)


@functools.cache
def _moments(dialect: Dialect) -> _Convert | None:
    """What is done with a moment, for all columns together: that of an arrival stands in four."""
    convert = UTCDateTime().dialect_impl(dialect).bind_processor(dialect)
    return functools.lru_cache(256)(convert) if convert else None


class _Prepared:
    """A statement, and what its columns' types do with the values of a row.

    Parameters
    ----------
    statement
        With a mark for each of the columns.
    columns
        In the statement's order.
    dialect
        Of the database.
    """

    def __init__(self, statement: str, columns: Sequence[sa.Column[Any]], dialect: Dialect) -> None:
        self.statement = statement
        self._texts = [n for n, column in enumerate(columns) if isinstance(column.type, CleanText)]
        converters = [(n, _converter(column, dialect)) for n, column in enumerate(columns) if n not in self._texts]
        self._others = [(n, convert) for n, convert in converters if convert]
        self._take_texts: Callable[[list[Any]], Any] = (
            operator.itemgetter(*self._texts) if self._texts else lambda _: ()
        )

    def values(self, row: Mapping[str, Any]) -> list[Any]:
        """Of `row`, which has the statement's columns in their order, as the driver takes them."""
        values = list(row.values())
        if not self._is_plain(values):
            for place in self._texts:
                if values[place] is not None:
                    values[place] = clean(str(values[place]))
        try:
            for place, convert in self._others:
                values[place] = convert(values[place])
        except ValueError as error:
            # as the builder does with what a column's type refuses
            raise sqlalchemy.exc.StatementError("a value can't be stored", None, None, error) from None
        return values

    def _is_plain(self, values: list[Any]) -> bool:
        """Whether `clean` would change none of the texts: nearly always, so they are looked at all together."""
        try:
            texts = "".join(filter(None, self._take_texts(values)))
        except TypeError:  # one of them is no text
            return False
        return texts.isascii() and "\0" not in texts


class Loader:
    """Inserts many rows of values that are as the drivers take them, moments excepted: by COPY on PostgreSQL.

    Parameters
    ----------
    table
        With an integer primary key "id" that grows, if `load_numbered` is used.
    names
        The columns that are given, in their order.
    """

    def __init__(self, table: sa.Table, *names: str) -> None:
        self._table = table
        self._names = names
        marks = ", ".join("?" for _ in names)
        self._statement = f"INSERT INTO {table.name} ({_quoted(names)}) VALUES ({marks})"  # noqa: S608 - of the schema
        self._moments = [n for n, name in enumerate(names) if isinstance(table.c[name].type, UTCDateTime)]

    def load(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Insert `rows`.

        Raises
        ------
        DatabaseError, sqlite3.Error
            The database fails, or can't take a value; `Database.write` translates the latter.
        """
        if connection.dialect.name != "sqlite":
            copy(connection, self._table.name, self._names, rows)
            return
        driver(connection).executemany(self._statement, self._with_texts(connection.dialect, rows))

    def load_numbered(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> list[int]:
        """Insert `rows`; the ids that they got, in their order. Raises as `load`."""
        if connection.dialect.name == "sqlite":
            execute = driver(connection).execute
            return [execute(self._statement, row).lastrowid or 0 for row in self._with_texts(connection.dialect, rows)]
        sequence = sa.func.pg_get_serial_sequence(self._table.name, "id")
        numbers = sa.func.generate_series(1, len(rows)).table_valued("n")
        ids = list(connection.scalars(sa.select(sa.func.nextval(sequence)).select_from(numbers)))
        copy(connection, self._table.name, ("id", *self._names), [(i, *r) for i, r in zip(ids, rows, strict=True)])
        return ids

    def _with_texts(self, dialect: Dialect, rows: Sequence[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        """`rows` with moments as SQLite keeps them."""
        converters = [(n, _converter(self._table.c[self._names[n]], dialect)) for n in self._moments]
        for row in rows:
            values = list(row)
            for n, convert in converters:
                if convert is not None:
                    values[n] = convert(values[n])
            yield values


def copy(connection: Connection, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert `rows` into a table of PostgreSQL, by its COPY.

    Raises
    ------
    DatabaseError
        The server fails, or can't take a value.
    """
    of_driver = connection.connection.driver_connection
    assert isinstance(of_driver, psycopg.Connection)
    statement = psycopg.sql.SQL("COPY {} ({}) FROM STDIN").format(
        psycopg.sql.Identifier(table), psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, names))
    )
    try:
        with of_driver.cursor() as cursor, cursor.copy(statement) as writer:
            for row in rows:
                writer.write_row(row)
    except psycopg.Error as error:
        faults.raise_translated(error)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


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
        found: list[tuple[Any, ...]] = driver(connection).execute(f"{self._text}({marks})", tuple(values)).fetchall()
        return found
