"""Facets of so many findings that to count them takes seconds: counted once a minute, and it is said when."""

import datetime as dt
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dicomnlp.store.database import Database
from dicomnlp.store.search_counts import FACETS, facets
from dicomnlp.store.search_filters import Filters

MANY: Final = 200_000
"""Findings: of fewer, facets are counted anew each time."""
KEEP_SECONDS: Final = 60.0
MAXIMUM_KEPT: Final = 64
_ASSERTION: Final = "assertion"


@dataclass(frozen=True, slots=True)
class Counted:
    """The commonest values of fields with their numbers, and when they were counted; None: for this answer."""

    values: dict[str, list[tuple[str, int]]]
    at: dt.datetime | None = None


class KeptFacets:
    """The facets kept of one database; those counted longest ago go first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[Any, tuple[float, Counted]] = OrderedDict()
        """Until when, and what."""
        self._counting = threading.Lock()
        """Held while one counts many: whoever else asks for the same waits for it instead of counting as well."""

    def read(self, database: Database, filters: Filters, names: Sequence[str] = FACETS, limit: int = 50) -> Counted:
        """`store.search_counts.facets`, of more than `MANY` findings at most `KEEP_SECONDS` old."""
        key = (database.scope, filters, tuple(names), limit)
        held = self._look(key)
        if held is None and key in self._held:
            with self._counting:
                held = self._look(key) or self._count(key, database, filters, names, limit)
        return held or self._count(key, database, filters, names, limit)

    def _look(self, key: Any) -> Counted | None:
        with self._lock:
            until, counted = self._held.get(key, (0.0, None))
            return counted if time.monotonic() < until else None

    def _count(self, key: Any, database: Database, filters: Filters, names: Sequence[str], limit: int) -> Counted:
        now = dt.datetime.now(dt.UTC)
        # every finding has one of few judgements: their sum tells how many were counted
        asked = names if _ASSERTION in names else (*names, _ASSERTION)
        values = facets(database, filters, asked, limit)
        counted = Counted({name: values[name] for name in names})
        with self._lock:
            self._held.pop(key, None)
            if sum(number for _, number in values[_ASSERTION]) >= MANY:
                self._held[key] = time.monotonic() + KEEP_SECONDS, replace(counted, at=now)
                while len(self._held) > MAXIMUM_KEPT:
                    self._held.popitem(last=False)
        return counted


_kept: weakref.WeakKeyDictionary[Any, KeptFacets] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def kept_of(database: Database) -> KeptFacets:
    """What this process keeps of a database."""
    with _lock:
        return _kept.setdefault(database.engine, KeptFacets())
