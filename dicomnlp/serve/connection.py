"""The database as requests get at it: opened by the first that needs it, so that /healthz answers while it is away."""

import threading
import time
from collections.abc import Callable

from dicomnlp.errors import DatabaseError
from dicomnlp.store.database import Database
from dicomnlp.store.scope import Scope

PAUSE_SECONDS = 1.0
"""After a failed opening, requests fail at once for so long instead of each waiting for its own time-out."""

ANSWER_SECONDS = 30.0
"""A database server that needs longer for an answer, because it is suspended, is given up."""


class Connection:
    """Opens a database once, when first asked for it, and again as long as that fails.

    Parameters
    ----------
    open_database
        Called without arguments; raises DatabaseError.
    """

    def __init__(self, open_database: Callable[[], Database]) -> None:
        self._open_database = open_database
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._failure: tuple[float, str, str] | None = None

    def get(self) -> Database:
        """The open database.

        Raises
        ------
        DatabaseError
            It can't be opened, or could not a moment ago.
        """
        with self._lock:
            if self._database is not None:
                return self._database
            if self._failure is not None and time.monotonic() < self._failure[0]:
                raise DatabaseError(self._failure[1], reason_code=self._failure[2])
            try:
                database = self._open_database()
                database.limit_waits(ANSWER_SECONDS)
                self._database = database
            except DatabaseError as error:
                self._failure = (time.monotonic() + PAUSE_SECONDS, str(error), error.reason_code)
                raise
            return self._database

    def within(self, scope: Scope) -> Database:
        """The open database, answering only what is within `scope`; raises as `get`."""
        return self.get().within(scope)

    def close(self) -> None:
        """Close the database if it was opened."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None
