"""Associations in the audit trail: a row each when it has ended or was refused, written without any sender's waiting.

Rows are collected and added together, once a second, so that the commits by which objects are acknowledged have the
database nearly to themselves. What a killed process had collected in its last second is lost; its objects and their
rows in the ledger are not.
"""

import threading
from collections import Counter
from typing import Final

from dicomnlp.audit.events import AuditEvent, Kind, Outcome
from dicomnlp.audit.trail import record
from dicomnlp.errors import DatabaseError
from dicomnlp.logs import Event, log
from dicomnlp.store.database import Database

FLUSH_SECONDS: Final = 1.0
MAXIMUM_KEPT: Final = 10_000
"""Rows that are kept while the database takes none; what comes then is counted, and told when it takes some again."""
_OTHERS: Final = "others"


class AssociationTrail:
    """Collects the associations of a process for the trail.

    Parameters
    ----------
    database
        With the trail.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._lock = threading.Lock()
        self._ended: list[AuditEvent] = []
        self._refused: Counter[tuple[Kind, str, str, str, str]] = Counter()
        self._stop = threading.Event()
        self._writer = threading.Thread(target=self._write, name="association-trail", daemon=True)
        self._writer.start()

    def ended(self, title: str, address: str, called: str, end: str, objects: int) -> None:
        """An association is over.

        Parameters
        ----------
        title, called
            Calling and called AE title.
        end
            "released", or the reason code of the abort.
        objects
            How many were answered with success.
        """
        query = {"called_ae_title": called, "end": end}
        outcome = Outcome.SUCCESS if end == "released" else Outcome.FAILED
        with self._lock:
            if len(self._ended) < MAXIMUM_KEPT:
                event = AuditEvent(Kind.ASSOCIATION, title, address, outcome, None, query, objects, "association")
                self._ended.append(event)
            else:
                self._refused[Kind.ALERT, _OTHERS, "", "", "rows_lost"] += 1

    def refused(self, title: str, address: str, called: str, reason_code: str) -> None:
        """An association was rejected; the same again within a second is a number in one row."""
        self._count(Kind.ASSOCIATION, title, address, called, reason_code)

    def alert(self, address: str, title: str, reason_code: str, count: int) -> None:
        """Somebody tried what the association policy forbids, so often since this was last told."""
        self._count(Kind.ALERT, title, address, "", reason_code, count)

    def close(self) -> None:
        """Add what is left."""
        self._stop.set()
        self._writer.join()

    def _count(self, kind: Kind, title: str, address: str, called: str, reason_code: str, count: int = 1) -> None:
        with self._lock:
            key = (kind, title, address, called, reason_code)
            if key not in self._refused and len(self._refused) >= MAXIMUM_KEPT:
                # strangers can make up titles, and come from many addresses
                key = (kind, _OTHERS, "", "", reason_code)
            self._refused[key] += count

    def _write(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self._flush()
        if not self._flush():
            log(Event.ASSOCIATION_ROWS_LOST, component="listen", count=len(self._ended) + len(self._refused))

    def _flush(self) -> bool:
        """Whether the trail has all that was collected."""
        with self._lock:
            ended, self._ended = self._ended, []
            refused, self._refused = self._refused, Counter()
        events = [
            *ended,
            *(
                AuditEvent(
                    kind,
                    title,
                    address,
                    Outcome.REFUSED,
                    None,
                    {"called_ae_title": called, "reason": reason_code},
                    count,
                    "association",
                )
                for (kind, title, address, called, reason_code), count in refused.items()
            ),
        ]
        try:
            record(self.database, *events)
        except DatabaseError:
            # intake says in the log what is wrong with the database
            with self._lock:
                self._ended = [*ended, *self._ended][:MAXIMUM_KEPT]
                self._refused.update(refused)
            return False
        return True
