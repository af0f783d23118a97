"""Whether the service can do its work now, and what is missing if it can't."""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from dicomnlp.config import Settings
from dicomnlp.errors import AlreadyRunningError, DatabaseError
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.listening import who_accept
from dicomnlp.serve.problems import KINDS, database_reason
from dicomnlp.store import admin, faults, pressure
from dicomnlp.store.database import check_revision, is_sqlite, parse_url
from dicomnlp.store.pressure import read_hindrance

KEEP_SECONDS = 1.0
"""A result is given again for so long: each look opens connections and touches the dispatcher's lock."""

_READ_ONLY = (
    "Permission to write the database: this user may not write its file or its folder, or the volume is read-only."
)
_NOT_ACCEPTING = (
    "A listener: nobody takes connections at the address of [{table}], so senders there can't send. "
    "See the log of `listen`."
)
_HINDRANCES = {
    pressure.DISK_FULL: "Free disk space: less than database.minimum_free_bytes is left, so senders are told to come "
    "later. Free some, or move the database.",
    pressure.QUEUE_FULL: "Time: listener.maximum_pending_objects wait for analysis, so senders are told to come later.",
    faults.READ_ONLY: "A sound disk: a commit could not be made durable, so nothing is written any more. See to the "
    "disk, then start the service again.",
}
"""By the reason code why no objects are taken."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The state of each thing that is needed, "ok" or a reason code, and in words what is missing."""

    checks: dict[str, str]
    missing: tuple[str, ...]


class ReadinessCheck:
    """Looks at the database, its schema, whether objects are taken, and whether a dispatcher works on it.

    Parameters
    ----------
    beside_listener
        Whether the listener runs on this machine, so that its addresses are looked at, too.
    """

    def __init__(self, settings: Settings, connection: Connection, *, beside_listener: bool = False) -> None:
        self._settings = settings
        self._connection = connection
        self._beside_listener = beside_listener
        self._lock = threading.Lock()
        self._last: tuple[float, Readiness] | None = None

    def read(self) -> Readiness:
        """The state now, or what it was less than `KEEP_SECONDS` ago."""
        with self._lock:
            if self._last is None or time.monotonic() > self._last[0] + KEEP_SECONDS:
                database, listeners = self._look(), self._look_at_listeners()
                readiness = Readiness(database.checks | listeners.checks, database.missing + listeners.missing)
                self._last = (time.monotonic(), readiness)
            return self._last[1]

    def _look(self) -> Readiness:
        try:
            # apart from the open connection: a file that was removed or replaced is still well for who has it open
            check_revision(admin.check(self._settings).revision)
            with self._connection.get().read():
                pass
            hindrance = self._write_hindrance()
            dispatcher = self._dispatcher_runs()
            hindered = read_hindrance(self._connection.get(), self._settings)
        except DatabaseError as error:
            reason_code = database_reason(error)
            kind = KINDS[reason_code]
            checks = {"database": reason_code, "dispatcher": "unknown", "intake": "unknown"}
            return Readiness(checks, (f"{kind.title}. {kind.advice}",))
        checks, missing = {"database": "ok", "dispatcher": "ok", "intake": hindered or "ok"}, []
        if hindrance is not None:
            checks["database"] = hindrance[0]
            missing.append(hindrance[1])
        if not dispatcher:
            checks["dispatcher"] = "not_running"
            missing.append("No dispatcher works on this database, so nothing is analysed. Start `dicomnlp work`.")
        if hindered is not None:
            missing.append(_HINDRANCES[hindered])
        return Readiness(checks, tuple(missing))

    def _look_at_listeners(self) -> Readiness:
        """By the name of the table that has the address, which a stranger may know."""
        if not self._beside_listener:
            return Readiness({}, ())
        addresses = self._settings.listener.addresses
        tables = ["listener", *(f"listener.also.{number}" for number in range(len(addresses) - 1))]
        found = dict(zip(tables, who_accept(addresses), strict=True))
        return Readiness(
            {table: "ok" if accepts else "not_accepting" for table, accepts in found.items()},
            tuple(_NOT_ACCEPTING.format(table=table) for table, accepts in found.items() if not accepts),
        )

    def _write_hindrance(self) -> tuple[str, str] | None:
        """Reason code and sentence when a SQLite database can be read but not be written; a server knows by itself."""
        url = parse_url(self._settings.database_url)
        if not is_sqlite(url):
            return None
        file = Path(url.database or "")
        try:
            # the log and its index are files beside it, which come and go
            writable = os.access(file, os.R_OK | os.W_OK) and os.access(file.parent, os.W_OK | os.X_OK)
        except OSError as error:
            raise faults.translate(error) from None
        return None if writable else ("database_read_only", _READ_ONLY)

    def _dispatcher_runs(self) -> bool:
        """Whether its lock is taken. Only while nobody has it is it held here, for an instant."""
        try:
            with self._connection.get().hold("dispatcher"):
                return False
        except AlreadyRunningError:
            return True
