"""Findings over all studies: what counts now, newest study first, page by page.

A page costs what it holds, not what there is: each combination of concept and assertion is read from an index that is
in the order of the answer, and the combinations are merged.
"""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import Assertion
from dicomnlp.store.answers import StoredFinding
from dicomnlp.store.cursors import check_page, decode, encode
from dicomnlp.store.database import Database
from dicomnlp.store.queries import findings_by_id
from dicomnlp.store.search_conditions import F, few_reports, select_findings, unindexed
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
    check_page(limit, MAXIMUM_PAGE, "findings")
    start = _decode(after) if after is not None else None
    with database.read() as connection:
        keys = _keys(connection, filters, start, limit + 1)
        found = findings_by_id(connection, [finding_id for _, _, finding_id in keys[:limit]])
    return Page(found, encode(keys[limit - 1]) if len(keys) > limit else None)


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
    rest, ways, conditions = _read_by(filters) if few is None else (filters, [{}], [])
    # in the order of an index, unless few are sorted
    order = [column.desc() if few is None else unindexed(connection, column).desc() for column in _ORDER]
    parameters: dict[str, Any] = {}
    if after is not None:
        conditions = [*conditions, sa.tuple_(*_ORDER) < _bound("after")]
        parameters |= _values("after", after)
    query = (
        select_findings(connection, rest, few, *_ORDER, in_order=True)
        .where(*conditions, sa.tuple_(*_ORDER) > _bound("floor"))
        .order_by(*order)
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


_Reading = tuple[Filters, list[dict[str, str]], list[sa.ColumnElement[bool]]]
"""The filters that are left, and the values for which an index in the order of the answer is read, one by one."""


def _read_by(filters: Filters) -> _Reading:
    """How to read in the order of the answer, and little beside it."""
    concepts, sites = sorted(set(filters.concepts)), sorted(set(filters.anatomy))
    assertions = sorted({a.value for a in filters.assertions or Assertion})
    if concepts and len(concepts) * len(assertions) <= _WAYS:
        return (
            replace(filters, concepts=(), assertions=()),
            [{"concept": concept, "assertion": assertion} for concept in concepts for assertion in assertions],
            [F.concept_id == sa.bindparam("concept"), F.assertion == sa.bindparam("assertion")],
        )
    if sites and len(sites) <= _WAYS and not filters.critical:
        return replace(filters, anatomy=()), [{"site": site} for site in sites], [F.anatomy_id == sa.bindparam("site")]
    # by date; or by the index of what is critical, or of what has a size, which are partial ones in the same order
    return filters, [{}], []


def _bound(name: str) -> sa.Tuple:
    numbers = (sa.bindparam(f"{name}_{n}", type_=sa.BigInteger()) for n in (1, 2))
    return sa.tuple_(sa.bindparam(f"{name}_0", type_=sa.Text()), *numbers)


def _values(name: str, key: _Key) -> dict[str, Any]:
    return {f"{name}_{n}": value for n, value in enumerate(key)}


def _decode(cursor: str) -> _Key:
    date, object_id, finding_id = decode(cursor, "date", "number", "number")
    return date, int(object_id), int(finding_id)
