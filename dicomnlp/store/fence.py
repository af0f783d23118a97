"""After a commit that couldn't be made durable nothing is written any more, by any process, until all have ended.

A failed fsync can't be tried again: the system may have dropped the pages that it couldn't write and marked them clean,
so that the next one succeeds without them. What the disk really holds is only known when it is read anew.
"""

import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Final

KEEP_SECONDS: Final = 1.0
"""What other processes found is looked up so often."""


class Fence:
    """Whether the store is closed for writing.

    A process that closes it holds a lock on a file beside the database, which the others see and the operating system
    ends with the process. The file is made beforehand: the failing disk isn't needed for it.

    Parameters
    ----------
    path
        Of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._is_closed_here = False
        self._seen: tuple[float, bool] = (-KEEP_SECONDS, False)

    def prepare(self) -> None:
        """Make the file and hold it open; where that isn't possible what this process finds is known to it alone."""
        with self._lock:
            if self._descriptor is None:
                try:
                    self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                except OSError:
                    return

    def close_store(self) -> None:
        """A commit couldn't be made durable."""
        with self._lock:
            self._is_closed_here = True
            if self._descriptor is not None:
                # shared: several processes may find the same
                fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    @property
    def is_closed(self) -> bool:
        """Whether this process or another one on this host has closed the store."""
        if self._is_closed_here:
            return True
        with self._lock:
            seen_at, closed = self._seen
            if time.monotonic() > seen_at + KEEP_SECONDS:
                closed = self._is_held()
                self._seen = (time.monotonic(), closed)
        return closed

    def _is_held(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def release(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
