"""How many requests one principal may make in a minute, so that no one keeps the service from answering the others."""

import threading
import time
from collections.abc import Callable
from typing import Final

MAXIMUM_REMEMBERED: Final = 10_000
"""More who ask are not remembered; the one who was quiet longest is forgotten."""


class RateLimit:
    """A bucket for each who asks, which holds a minute's requests and is filled evenly as time goes by.

    Parameters
    ----------
    requests_per_minute
        Of each.
    clock
        Seconds that only go forward.
    """

    def __init__(self, requests_per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = float(requests_per_minute)
        self._a_second = requests_per_minute / 60
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}
        """What was left at which time; the last who asked stands last."""

    def spend(self, who: str) -> float:
        """Count a request; 0 when it may be answered, else the seconds until the next one may be."""
        now = self._clock()
        with self._lock:
            left, since = self._buckets.pop(who, (self._size, now))
            left = min(self._size, left + (now - since) * self._a_second)
            wait = 0.0 if left >= 1 else (1 - left) / self._a_second
            self._buckets[who] = (left - 1 if wait == 0 else left, now)
            if len(self._buckets) > MAXIMUM_REMEMBERED:
                del self._buckets[next(iter(self._buckets))]
        return wait
