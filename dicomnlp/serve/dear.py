"""What takes long to find out is asked for the less often.

Counts over all that is held take a millisecond of a small archive and seconds of one of ten million reports, and pages,
clients and Prometheus ask for them every few seconds.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

FREE_SECONDS: Final = 0.2
"""What takes no longer is read anew each time."""
TIMES: Final = 20
"""An answer is good for so many times what it took: at most a twentieth of a processor goes into it."""


class Dear(Generic[T]):
    """Reads, or gives what was read lately; one at a time reads, and the others wait for what comes of it.

    Parameters
    ----------
    read
        What may take long. An exception is for those who waited for it, too: else each would wait for a database that
        is away, one after the other. It isn't kept.
    clock
        Seconds that only grow.
    """

    def __init__(self, read: Callable[[], T], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None
        """Until when, and what."""
        self._failed: tuple[float, Exception] | None = None
        """When it did last, and how."""

    def __call__(self) -> T:
        """The answer."""
        asked = self._clock()
        with self._lock:
            if self._failed is not None and asked < self._failed[0]:
                raise self._failed[1]
            begun = self._clock()
            if self._kept is not None and begun < self._kept[0]:
                return self._kept[1]
            self._kept = None
            try:
                found = self._read()
            except Exception as error:
                self._failed = self._clock(), error
                raise
            ended = self._clock()
            if ended - begun > FREE_SECONDS:
                self._kept = ended + TIMES * (ended - begun), found
            return found
