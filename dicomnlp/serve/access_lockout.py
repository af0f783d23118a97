"""Addresses from which too many wrong keys came: for a while no key of theirs is looked at."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

WRONG_KEYS: Final = 10
"""So many within `WINDOW_SECONDS` lock an address."""
WINDOW_SECONDS: Final = 300.0
LOCK_SECONDS: Final = 60.0
"""The first time; twice as long each time it goes on, up to `MAXIMUM_LOCK_SECONDS`."""
MAXIMUM_LOCK_SECONDS: Final = 900.0
MAXIMUM_ADDRESSES: Final = 10_000
"""More are not remembered; the one that was quiet longest is forgotten."""


@dataclass(slots=True)
class _Record:
    wrong: int
    since: float
    locked_until: float
    lock: float


class LockOut:
    """Counts wrong keys by address. 256 random bits aren't guessed; this keeps the attempt from costing anything.

    Parameters
    ----------
    clock
        Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._records: dict[str, _Record] = {}

    def seconds_left(self, address: str) -> float:
        """How long the address is locked yet; 0 when it isn't."""
        with self._lock:
            record = self._records.get(address)
            return max(0.0, record.locked_until - self._clock()) if record else 0.0

    def wrong(self, address: str) -> bool:
        """Count a wrong key; whether the address is locked by it."""
        now = self._clock()
        with self._lock:
            record = self._records.pop(address, None)
            if record is None or now > max(record.since + WINDOW_SECONDS, record.locked_until + record.lock):
                record = _Record(0, now, 0.0, LOCK_SECONDS)
            # at the end: the first is the one that was quiet longest
            self._records[address] = record
            while len(self._records) > MAXIMUM_ADDRESSES:
                del self._records[next(iter(self._records))]
            record.wrong += 1
            if record.wrong < WRONG_KEYS:
                return False
            record.wrong, record.since, record.locked_until = 0, now, now + record.lock
            record.lock = min(2 * record.lock, MAXIMUM_LOCK_SECONDS)
            return True
