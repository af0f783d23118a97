"""Whose objects somebody may see: those that certain senders sent, or that certain institutions made.

A database "within" a scope (`Database.within`) answers as if nothing else were held. Every query of reports, images
and the ledger adds the conditions that are made here; with no restriction there are none, and plans stay as they are.
"""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.store.schema import ledger, sop_instance


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be seen; an object has to be within both."""

    calling_ae_titles: frozenset[str] | None = None
    """Senders, without surrounding blanks; None: all."""
    institutions: frozenset[str] | None = None
    """Values of InstitutionName (0008,0080); None: all."""

    @property
    def is_everything(self) -> bool:
        """Whether nothing is kept back."""
        return self.calling_ae_titles is None and self.institutions is None

    def contains(self, other: "Scope") -> bool:
        """Whether whoever may see this may see all of `other`."""
        pairs = (
            (self.calling_ae_titles, other.calling_ae_titles),
            (self.institutions, other.institutions),
        )
        return all(own is None or (theirs is not None and theirs <= own) for own, theirs in pairs)

    def to_json(self) -> dict[str, list[str] | None]:
        """The scope as it is stored and shown."""
        return {
            "calling_ae_titles": None if self.calling_ae_titles is None else sorted(self.calling_ae_titles),
            "institutions": None if self.institutions is None else sorted(self.institutions),
        }

    @classmethod
    def from_json(cls, value: dict[str, list[str] | None]) -> "Scope":
        """The scope that `to_json` wrote."""
        titles, institutions = value["calling_ae_titles"], value["institutions"]
        return cls(
            None if titles is None else frozenset(titles), None if institutions is None else frozenset(institutions)
        )


EVERYTHING = Scope()
OPTION: Final = "dicomnlp_scope"
"""The option of a connection by which what is deep in a query knows the scope."""


def scope_of(connection: Connection) -> Scope:
    """The scope of the database that a connection is of."""
    scope: Scope = connection.get_execution_options().get(OPTION, EVERYTHING)
    return scope


def visible(scope: Scope, table: sa.FromClause = sop_instance) -> list[sa.ColumnElement[bool]]:
    """Conditions by which a row of `table` is within `scope`; none where that is everything.

    Parameters
    ----------
    table
        One with the columns calling_ae_title and institution_name: `sop_instance`, `image`, `report_profile`, or an
        alias of these.
    """
    conditions: list[sa.ColumnElement[bool]] = []
    if scope.calling_ae_titles is not None:
        conditions.append(table.c.calling_ae_title.in_(sorted(scope.calling_ae_titles)))
    if scope.institutions is not None:
        conditions.append(table.c.institution_name.in_(sorted(scope.institutions)))
    return conditions


def visible_objects(scope: Scope, object_id: sa.ColumnElement[Any]) -> list[sa.ColumnElement[bool]]:
    """Conditions by which `object_id`, a key of `sop_instance`, is of an object within `scope`."""
    if scope.is_everything:
        return []
    seen = sop_instance.alias("seen")
    return [sa.exists().select_from(seen).where(seen.c.id == object_id, *visible(scope, seen))]


def visible_ledger(scope: Scope) -> list[sa.ColumnElement[bool]]:
    """Conditions by which a row of `ledger` is within `scope`.

    What was refused has a sender but no institution that anyone vouches for: who is restricted to institutions doesn't
    see it.
    """
    conditions: list[sa.ColumnElement[bool]] = []
    if scope.calling_ae_titles is not None:
        conditions.append(ledger.c.calling_ae_title.in_(sorted(scope.calling_ae_titles)))
    if scope.institutions is not None:
        conditions += visible_objects(Scope(institutions=scope.institutions), ledger.c.object_id)
    return conditions
