"""Searches that are kept under a name."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import utc_text
from dicomnlp.store.database import Database
from dicomnlp.store.schema import cohort
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

    def to_json(self) -> dict[str, Any]:
        """The cohort in the public form."""
        return {
            "name": self.name,
            "filters": self.filters.to_json(),
            "created_at": utc_text(self.created_at),
            "created_by": self.created_by,
        }


def save_cohort(database: Database, name: str, filters: Filters, *, created_by: str, replace: bool = False) -> Cohort:
    """Keep `filters` under `name`.

    Parameters
    ----------
    name
        1 to `MAXIMUM_NAME` printable characters.
    created_by
        Name of the principal; "" from the command line.
    replace
        Take the place of a cohort of that name.

    Raises
    ------
    UsageError
        The name is none, or, without `replace`, there is a cohort of it.
    """
    if not (0 < len(name) <= MAXIMUM_NAME and name.isprintable() and name == name.strip()):
        raise UsageError(f"a cohort's name is 1 to {MAXIMUM_NAME} printable characters, without spaces around them")
    made = Cohort(name, filters, dt.datetime.now(dt.UTC), created_by)

    def work(connection: Connection) -> None:
        held = connection.scalar(sa.select(sa.exists().where(cohort.c.name == name)))
        if held and not replace:
            raise UsageError("there is a cohort of that name; replace it, or choose another name")
        connection.execute(sa.delete(cohort).where(cohort.c.name == name))
        connection.execute(
            sa.insert(cohort).values(
                name=name, filters=filters.to_json(), created_at=made.created_at, created_by=created_by
            )
        )

    database.transact(work)
    return made


def cohorts(database: Database) -> list[Cohort]:
    """All cohorts by name."""
    with database.read() as connection:
        rows = connection.execute(sa.select(cohort).order_by(cohort.c.name)).all()
    return [_cohort(row) for row in rows]


def read_cohort(database: Database, name: str) -> Cohort:
    """The cohort of this name.

    Raises
    ------
    NotFoundError
        There is none.
    """
    with database.read() as connection:
        row = connection.execute(sa.select(cohort).where(cohort.c.name == name)).first()
    if row is None:
        raise NotFoundError("there is no cohort of that name")
    return _cohort(row)


def delete_cohort(database: Database, name: str) -> None:
    """Delete the cohort of this name; raises as `read_cohort`."""

    def work(connection: Connection) -> None:
        if not connection.execute(sa.delete(cohort).where(cohort.c.name == name)).rowcount:
            raise NotFoundError("there is no cohort of that name")

    database.transact(work)


def _cohort(row: Row[Any]) -> Cohort:
    return Cohort(row.name, filters_from_json(row.filters), row.created_at, row.created_by)
