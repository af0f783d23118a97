"""Counts of associations and objects by sender: taken down in memory, and added to the database every few seconds."""

import bisect
import threading
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from dicomnlp.errors import DatabaseError
from dicomnlp.logs import Event, log
from dicomnlp.model import Receipt
from dicomnlp.store.database import Database
from dicomnlp.store.traffic import MAXIMUM_TITLES, OTHER, STORE_SECONDS_BOUNDS, Count, add_traffic

FLUSH_SECONDS: Final = 10.0
_BOUNDS: Final = [float(bound) for bound in STORE_SECONDS_BOUNDS]


class Traffic:
    """What the associations of a process count.

    A database that doesn't take the counts gets them later; `close` says in the log if it never does.

    Parameters
    ----------
    database
        Open; it stays the caller's to close, after `close`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._counts: defaultdict[Count, float] = defaultdict(float)
        self._titles: set[str] = set()
        self._known: frozenset[str] = frozenset()
        self._ended = threading.Event()
        self._writer = threading.Thread(target=self._write, name="traffic-writer", daemon=True)
        self._writer.start()

    def know(self, titles: Iterable[str]) -> None:
        """Count these senders by name, and all others together; none: whoever has an association, up to a number."""
        with self._lock:
            self._known = frozenset(title.strip() for title in titles) - {"*"}
            self._titles.clear()

    def association_ended(self, title: str, end: str, *, seconds: float, received: int) -> None:
        """An association is over.

        Parameters
        ----------
        title
            Calling AE title.
        end
            "released", or the reason code of the abort.
        seconds
            How long it lasted.
        received
            Bytes that came.
        """
        with self._lock:
            name = self._name(title, is_accepted=True)
            self._counts[Count(name, "associations", end)] += 1
            self._counts[Count(name, "association_seconds")] += seconds
            self._counts[Count(name, "bytes")] += received

    def association_rejected(self, title: str, reason_code: str) -> None:
        """An association was not accepted; `title` is "" when the request can't be decoded."""
        with self._lock:
            self._counts[Count(self._name(title, is_accepted=False), "rejections", reason_code)] += 1

    def object_answered(self, title: str, receipt: Receipt, seconds: float) -> None:
        """An object was answered, so many seconds after its last byte had come."""
        with self._lock:
            name = self._name(title, is_accepted=True)
            self._counts[Count(name, "objects", receipt.outcome.value)] += 1
            if receipt.reason_code is not None:
                self._counts[Count(name, "refusals", receipt.reason_code)] += 1
            self._counts[Count(name, "store_seconds")] += seconds
            bucket = STORE_SECONDS_BOUNDS[bisect.bisect_left(_BOUNDS, seconds)]
            self._counts[Count(name, "store_seconds_bucket", bucket)] += 1

    def close(self) -> None:
        """Add what is left to the database."""
        self._ended.set()
        self._writer.join()

    def _name(self, title: str, *, is_accepted: bool) -> str:
        """What a sender is counted as: a stranger who is rejected can't make up names."""
        if self._known:
            return title if title in self._known else OTHER
        if title in self._titles:
            return title
        if is_accepted and len(self._titles) < MAXIMUM_TITLES:
            self._titles.add(title)
            return title
        return OTHER

    def _write(self) -> None:
        while not self._ended.wait(FLUSH_SECONDS):
            self._flush()
        if not self._flush():
            log(Event.TRAFFIC_LOST, count=len(self._counts))

    def _flush(self) -> bool:
        """Whether the database has all that was counted."""
        with self._lock:
            counts, self._counts = self._counts, defaultdict(float)
        try:
            add_traffic(self._database, counts)
        except DatabaseError:
            # intake says in the log what is wrong with the database
            with self._lock:
                for count, value in counts.items():
                    self._counts[count] += value
            return False
        return True
