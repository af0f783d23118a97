"""Searches that are kept under a name.

Each keeps the scope of whoever made it, and is there only for those who may see as much: its filters can name what
others should not learn of.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import utc_text
from dicomnlp.store.database import Database
from dicomnlp.store.schema import cohort
from dicomnlp.store.scope import EVERYTHING, Scope
from dicomnlp.store.search_filters import Filters, filters_from_json

MAXIMUM_NAME = 100
"""Characters."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Filters under a name; what fits them is found when it is asked for."""

    name: str
    filters: Filters
    """As given: descendants of concepts are added when it is used."""
    created_at: dt.datetime
    created_by: str
    scope: Scope = EVERYTHING
    """Of whoever made it."""

    def to_json(self) -> dict[str, Any]:
        """The cohort in the public form."""
        return {
            "name": self.name,
            "filters": self.filters.to_json(),
            "created_at": utc_text(self.created_at),
            "created_by": self.created_by,
        }


def save_cohort(
    database: Database,
    name: str,
    filters: Filters,
    *,
    created_by: str,
    replace: bool = False,
    of_others: bool = True,
) -> Cohort:
    """Keep `filters` under `name`.

    Parameters
    ----------
    name
        1 to `MAXIMUM_NAME` printable characters.
    created_by
        Name of the principal; "" from the command line.
    replace
        Take the place of a cohort of that name.
    of_others
        Also of one that somebody else keeps.

    Raises
    ------
    UsageError
        The name is none, or there is a cohort of it that isn't to be replaced, or isn't in the scope.
    """
    if not (0 < len(name) <= MAXIMUM_NAME and name.isprintable() and name == name.strip()):
        raise UsageError(f"a cohort's name is 1 to {MAXIMUM_NAME} printable characters, without spaces around them")
    made = Cohort(name, filters, dt.datetime.now(dt.UTC), created_by, database.scope)

    def work(connection: Connection) -> None:
        held = connection.execute(sa.select(cohort).where(cohort.c.name == name)).first()
        if held is not None and not (
            replace and database.scope.contains(_cohort(held).scope) and (of_others or held.created_by == created_by)
        ):
            raise UsageError("there is a cohort of that name; choose another name, or replace it where it is yours")
        connection.execute(sa.delete(cohort).where(cohort.c.name == name))
        connection.execute(
            sa.insert(cohort).values(
                name=name,
                filters=filters.to_json(),
                created_at=made.created_at,
                created_by=created_by,
                scope=made.scope.to_json(),
            )
        )

    database.transact(work)
    return made


def cohorts(database: Database) -> list[Cohort]:
    """All cohorts by name."""
    with database.read() as connection:
        rows = connection.execute(sa.select(cohort).order_by(cohort.c.name)).all()
    return [found for found in map(_cohort, rows) if database.scope.contains(found.scope)]


def read_cohort(database: Database, name: str) -> Cohort:
    """The cohort of this name.

    Raises
    ------
    NotFoundError
        There is none.
    """
    with database.read() as connection:
        row = connection.execute(sa.select(cohort).where(cohort.c.name == name)).first()
    return _visible(database, row)


def delete_cohort(database: Database, name: str, *, created_by: str | None = None) -> None:
    """Delete the cohort of this name.

    Parameters
    ----------
    created_by
        Only when it is this principal's; None: whoever's it is.

    Raises
    ------
    NotFoundError
        There is none.
    UsageError
        It is somebody else's.
    """

    def work(connection: Connection) -> None:
        held = _visible(database, connection.execute(sa.select(cohort).where(cohort.c.name == name)).first())
        if created_by is not None and held.created_by != created_by:
            raise UsageError("somebody else keeps this cohort; they or an operator can forget it")
        connection.execute(sa.delete(cohort).where(cohort.c.name == name))

    database.transact(work)


def _cohort(row: Row[Any]) -> Cohort:
    scope = Scope.from_json(row.scope)
    return Cohort(row.name, filters_from_json(row.filters), row.created_at, row.created_by, scope)


def _visible(database: Database, row: Row[Any] | None) -> Cohort:
    found = _cohort(row) if row is not None else None
    if found is None or not database.scope.contains(found.scope):
        raise NotFoundError("there is no cohort of that name")
    return found
