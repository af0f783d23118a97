"""Whether the service can do its work now, and what is missing if it can't."""

import threading
import time
from dataclasses import dataclass

from dicomnlp.config import Settings
from dicomnlp.errors import AlreadyRunningError, DatabaseError
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.problems import KINDS, database_reason
from dicomnlp.store import admin
from dicomnlp.store.database import check_revision

KEEP_SECONDS = 1.0
"""A result is given again for so long: each look opens connections and touches the dispatcher's lock."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The state of each thing that is needed, "ok" or a reason code, and in words what is missing."""

    checks: dict[str, str]
    missing: tuple[str, ...]


class ReadinessCheck:
    """Looks at the database, its schema, and whether a dispatcher works on it."""

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self._settings = settings
        self._connection = connection
        self._lock = threading.Lock()
        self._last: tuple[float, Readiness] | None = None

    def read(self) -> Readiness:
        """The state now, or what it was less than `KEEP_SECONDS` ago."""
        with self._lock:
            if self._last is None or time.monotonic() > self._last[0] + KEEP_SECONDS:
                readiness = self._look()
                self._last = (time.monotonic(), readiness)
            return self._last[1]

    def _look(self) -> Readiness:
        try:
            # apart from the open connection: a file that was removed or replaced is still well for who has it open
            check_revision(admin.check(self._settings).revision)
            with self._connection.get().read():
                pass
            dispatcher = self._dispatcher_runs()
        except DatabaseError as error:
            reason_code = database_reason(error)
            kind = KINDS[reason_code]
            return Readiness({"database": reason_code, "dispatcher": "unknown"}, (f"{kind.title}. {kind.advice}",))
        if not dispatcher:
            return Readiness(
                {"database": "ok", "dispatcher": "not_running"},
                ("No dispatcher works on this database, so nothing is analysed. Start `dicomnlp work`.",),
            )
        return Readiness({"database": "ok", "dispatcher": "ok"}, ())

    def _dispatcher_runs(self) -> bool:
        """Whether its lock is taken. Only while nobody has it is it held here, for an instant."""
        try:
            with self._connection.get().hold("dispatcher"):
                return False
        except AlreadyRunningError:
            return True
