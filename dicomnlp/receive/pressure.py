"""Back-pressure: while the store can't take objects, senders are told to come later, and it is said once a change."""

import threading
import time
from collections.abc import Callable
from typing import Final

from dicomnlp.logs import Event, log

LOOK_SECONDS: Final = 1.0
"""Between two looks at the store."""


class Pressure:
    """Looks at the store again and again, in a thread of its own.

    Parameters
    ----------
    read
        Given the last answer, says why nothing can be taken, or None.
    """

    def __init__(self, read: Callable[[str | None], str | None]) -> None:
        self._read = read
        self._stop = threading.Event()
        self._since = 0.0
        self.hindrance: str | None = None
        """Reason code; None: objects are taken."""
        self.look()
        self._thread = threading.Thread(target=self._run, name="intake-pressure", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Read anew, and log a change."""
        before, now = self.hindrance, self._read(self.hindrance)
        self.hindrance = now
        if now == before:
            return
        if now is None:
            log(Event.INTAKE_RESUMED, seconds=round(time.monotonic() - self._since, 1))
            return
        if before is None:
            self._since = time.monotonic()
        log(Event.INTAKE_PAUSED, reason_code=now)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.look()
