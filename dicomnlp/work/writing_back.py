"""The duty that writes findings back, of each report that is analysed from now on, to those of `write_back.to`."""

import math
import time
from typing import Final

from dicomnlp.config import Settings
from dicomnlp.errors import AlreadyRunningError, DatabaseError, ObjectError
from dicomnlp.export.sr_statements import NotWritableError
from dicomnlp.export.write_back import (
    archives_of,
    check_installed,
    forms_of,
    send_due,
    write_report,
)
from dicomnlp.logs import Event, describe, log
from dicomnlp.store.database import Database
from dicomnlp.store.written_documents import looked_at, next_to_look_at, no_longer_true

ANALYSES_AT_ONCE: Final = 50
SWEEP_SECONDS: Final = 600.0
"""Between two looks for documents that no analysis made untrue: a promotion, a revoked note."""


class WritingBack:
    """Writes and sends what is new, and what was ordered by command.

    Parameters
    ----------
    settings, database
        Tables pacs and write_back; where findings and documents are.
    """

    name = "write_back"
    seconds = 2.0

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._unasked = archives_of(settings, settings.write_back.to)
        self._all = [p for p in settings.pacs if forms_of(p)]
        self._checked = False
        self._swept = -math.inf
        self._swept_to = 0
        """The object that the sweep under way has come to."""

    def run(self) -> bool:
        """One batch of analyses, or a sweep; then what is due. True where more waits.

        Raises
        ------
        ConfigurationError
            highdicom isn't installed.
        DatabaseError
            The database fails.
        """
        more = self._write() if self._unasked else False
        try:
            sent = send_due(self._settings, self._database, self._all)
        except AlreadyRunningError:
            return more  # a command sends
        return more or any(each.answer.reason_code is None for each in sent)

    def _write(self) -> bool:
        if not self._checked:
            check_installed(self._unasked)
            self._checked = True
        more = False
        for archive in self._unasked:
            objects, last = next_to_look_at(self._database, archive.name, ANALYSES_AT_ONCE)
            for object_id in objects:
                self._write_report(object_id, archive.name)
            if last is not None:
                looked_at(self._database, archive.name, last)
                more = True
        return more or self._sweep()

    def _sweep(self) -> bool:
        """Look at the next documents that may be untrue; true where there may be more."""
        if not self._swept_to and time.monotonic() - self._swept < SWEEP_SECONDS:
            return False
        found = no_longer_true(self._database, self._swept_to, ANALYSES_AT_ONCE)
        for object_id in found:
            for archive in self._unasked:
                self._write_report(object_id, archive.name)
        # object by object, so that one that can't be written isn't met again before the next sweep
        self._swept_to = found[-1] if found else 0
        self._swept = time.monotonic()
        return bool(found)

    def _write_report(self, object_id: int, name: str) -> None:
        archives = [a for a in self._unasked if a.name == name]
        try:
            write_report(self._settings, self._database, object_id, archives)
        except (ObjectError, NotWritableError) as error:
            log(Event.DOCUMENT_NOT_WRITTEN, object_id=object_id, reason_code=error.reason_code)
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it is this report's, and the others go on
            where = describe(error)
            log(Event.DOCUMENT_NOT_WRITTEN, object_id=object_id, reason_code="internal_error", **where)


def write_back_duties(settings: Settings, database: Database) -> list[WritingBack]:
    """The duty, where there is an archive that takes documents: a command may have ordered some."""
    return [WritingBack(settings, database)] if any(map(forms_of, settings.pacs)) else []
