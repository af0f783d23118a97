"""Findings over all studies: what counts now, newest study first, page by page.

A page costs what it holds, not what there is: each combination of concept and assertion is read from an index that is
in the order of the answer, and the combinations are merged.
"""

import base64
import binascii
import heapq
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import UsageError
from dicomnlp.model import Assertion
from dicomnlp.store.answers import StoredFinding
from dicomnlp.store.database import Database
from dicomnlp.store.queries import findings_by_id
from dicomnlp.store.schema import finding
from dicomnlp.store.search_conditions import F, few_reports, select_findings
from dicomnlp.store.search_counts import Counts, count_findings, facets
from dicomnlp.store.search_filters import STATED, Filters, filters_from_json

__all__ = [
    "MAXIMUM_PAGE",
    "STATED",
    "Counts",
    "Filters",
    "Page",
    "count_findings",
    "facets",
    "filters_from_json",
    "iterate_findings",
    "search_findings",
]

MAXIMUM_PAGE = 1000
_WAYS = 200
"""Combinations that are read one by one; of more, all findings are read in the order of the answer."""
_ORDER = (F.study_date, F.object_id, F.id)
_CURSOR = re.compile(r"((?:[0-9]{8})?):([0-9]{1,18}):([0-9]{1,18})")

_Key = tuple[str, int, int]
"""Study date, object and id of a finding: the order of the answer, backwards.

The object stands before the finding, so that a report that is analysed anew between two pages, and whose findings are
new rows, keeps its place.
"""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of an answer."""

    findings: list[StoredFinding]
    next: str | None
    """What the next page is asked for with; None when this is the last."""


def search_findings(database: Database, filters: Filters, *, after: str | None = None, limit: int = 100) -> Page:
    """One page of the findings of prevailing reports that fit, newest study first.

    Parameters
    ----------
    filters
        As `Filters.expanded` gives them.
    after
        `Page.next` of the page before. What has come in between is not seen, what has gone is left out; nothing comes
        twice. Of a report that is analysed anew while a page ends within it, the rest is left out.
    limit
        1 to `MAXIMUM_PAGE`.

    Raises
    ------
    UsageError
        `after` is none of ours, or `limit` isn't within its bounds.
    """
    if not 1 <= limit <= MAXIMUM_PAGE:
        raise UsageError(f"a page holds 1 to {MAXIMUM_PAGE} findings")
    start = _decode(after) if after is not None else None
    with database.read() as connection:
        keys = _keys(connection, filters, start, limit + 1)
        found = findings_by_id(connection, [finding_id for _, _, finding_id in keys[:limit]])
    return Page(found, _encode(keys[limit - 1]) if len(keys) > limit else None)


def iterate_findings(database: Database, filters: Filters, after: str | None = None) -> Iterator[Page]:
    """All pages of an answer, each read by itself: memory stays that of one, and no writer waits for the reader."""
    page = search_findings(database, filters, after=after, limit=MAXIMUM_PAGE)
    yield page
    while page.next:
        page = search_findings(database, filters, after=page.next, limit=MAXIMUM_PAGE)
        yield page


def _keys(connection: Connection, filters: Filters, after: _Key | None, number: int) -> list[_Key]:
    """The first `number` keys after `after`, merged from one ordered query for each way to fit."""
    few = few_reports(connection, filters)
    index, rest, ways, conditions = _read_by(filters) if few is None else _by("ix_finding_object_id", filters)
    parameters: dict[str, Any] = {}
    if after is not None:
        conditions = [*conditions, sa.tuple_(*_ORDER) < _bound("after")]
        parameters |= _values("after", after)
    query = (
        select_findings(connection, rest, few, *_ORDER)
        .where(*conditions, sa.tuple_(*_ORDER) > _bound("floor"))
        .with_hint(finding, f"INDEXED BY {index}", "sqlite")
        .order_by(*(column.desc() for column in _ORDER))
        .limit(number)
    )
    found: list[_Key] = []
    floor: _Key = ("", -1, -1)
    for way in ways:
        rows = connection.execute(query, {**parameters, **way, **_values("floor", floor)})
        found = list(itertools.islice(heapq.merge(found, (tuple(row) for row in rows), reverse=True), number))
        if len(found) == number:
            # what is older than all of them needn't be read any more
            floor = found[-1]
    return found


_Reading = tuple[str, Filters, list[dict[str, str]], list[sa.ColumnElement[bool]]]
"""An index, the filters that it leaves, the values that it is read for, one by one, and their conditions."""


def _by(index: str, filters: Filters) -> _Reading:
    return index, filters, [{}], []


def _read_by(filters: Filters) -> _Reading:
    """How to read in the order of the answer, and little beside it."""
    concepts, sites = sorted(set(filters.concepts)), sorted(set(filters.anatomy))
    assertions = sorted({a.value for a in filters.assertions or Assertion})
    if concepts and len(concepts) * len(assertions) <= _WAYS:
        return (
            "ix_finding_by_concept",
            replace(filters, concepts=(), assertions=()),
            [{"concept": concept, "assertion": assertion} for concept in concepts for assertion in assertions],
            [F.concept_id == sa.bindparam("concept"), F.assertion == sa.bindparam("assertion")],
        )
    if filters.critical:
        return _by("ix_finding_by_critical", filters)
    if sites and len(sites) <= _WAYS:
        return (
            "ix_finding_by_anatomy",
            replace(filters, anatomy=()),
            [{"site": site} for site in sites],
            [F.anatomy_id == sa.bindparam("site")],
        )
    sized = filters.minimum_size is not None or filters.maximum_size is not None
    return _by("ix_finding_by_size" if sized else "ix_finding_by_date", filters)


def _bound(name: str) -> sa.Tuple:
    numbers = (sa.bindparam(f"{name}_{n}", type_=sa.BigInteger()) for n in (1, 2))
    return sa.tuple_(sa.bindparam(f"{name}_0", type_=sa.Text()), *numbers)


def _values(name: str, key: _Key) -> dict[str, Any]:
    return {f"{name}_{n}": value for n, value in enumerate(key)}


def _encode(key: _Key) -> str:
    return base64.urlsafe_b64encode(":".join(map(str, key)).encode()).decode().rstrip("=")


def _decode(cursor: str) -> _Key:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        text = ""
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise UsageError("this is no place in an answer; ask without it to begin anew")
    return found[1], int(found[2]), int(found[3])
