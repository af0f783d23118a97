"""Results and losses on their way into the database: none is dropped while the database fails."""

from collections import deque
from collections.abc import Sequence

from dicomnlp.errors import DatabaseError
from dicomnlp.logs import Event, describe, log
from dicomnlp.model import Processed, State, StoredObject
from dicomnlp.store.database import Database
from dicomnlp.store.prepared import Prepared
from dicomnlp.store.queue import record_lost, save_processed

_UNSPECIFIC = "database_failed"
"""The reason code of an error that may also be the fault of what was to be written."""


class Saver:
    """Saves what workers sent back, one transaction for each batch.

    Parameters
    ----------
    database
        Where it goes.
    maximum_attempts
        So many losses of its worker end an object as failed.
    """

    def __init__(self, database: Database, maximum_attempts: int) -> None:
        self._database = database
        self._maximum_attempts = maximum_attempts
        self.results: deque[list[Processed | Prepared]] = deque()
        """Outcomes by batch, not yet saved."""
        self.losses: deque[tuple[StoredObject, str]] = deque()
        """Objects that were alone with a worker that died, and the reason code; not yet saved."""

    @property
    def waiting(self) -> bool:
        """Whether anything isn't saved yet."""
        return bool(self.results or self.losses)

    def object_ids(self) -> set[int]:
        """The objects whose outcome isn't saved yet."""
        return {r.object_id for batch in self.results for r in batch} | {stored.object_id for stored, _ in self.losses}

    def save(self) -> list[StoredObject]:
        """Save all that waits.

        Returns
        -------
        list of StoredObject
            The lost ones that may be tried again.

        Raises
        ------
        DatabaseError
            The database fails; what isn't saved goes on waiting.
        """
        while self.results:
            self._save_first()
        again = []
        while self.losses:
            stored, reason_code = self.losses[0]
            ended = self._lose(stored, reason_code)
            self.losses.popleft()
            if ended:
                log(
                    Event.OBJECT_FAILED,
                    object_id=stored.object_id,
                    sop_instance_uid=stored.sop_instance_uid,
                    reason_code=reason_code,
                    attempts=self._maximum_attempts,
                )
            else:
                again.append(stored)
        return again

    def _save_first(self) -> None:
        batch = self.results[0]
        try:
            self._write(batch)
        except Exception as error:
            if isinstance(error, DatabaseError) and error.reason_code != _UNSPECIFIC:
                raise
            self.results.popleft()
            if len(batch) > 1:  # if it is the fault of one of them, the others shall not wait for it
                self.results.extendleft([result] for result in reversed(batch))
            else:
                self.results.appendleft(batch)
                self._save_substitute(batch[0])
        else:
            self.results.popleft()
            self._settled(batch)

    def _save_substitute(self, result: Processed | Prepared) -> None:
        """Save in place of `result` that it can't be saved; if that fails too, it is the database's fault."""
        substitute = Processed(
            result.object_id,
            State.FAILED,
            result.pipeline,
            reason_code="not_storable",
            character_set_override=result.character_set_override,
            generation=result.generation,
        )
        self._write([substitute])
        try:
            self._write([result])
        except Exception as error:  # noqa: BLE001  the object stays as the substitute says
            log(Event.OBJECT_CRASHED, object_id=result.object_id, **describe(error))
        self.results.popleft()
        self._settled([result])

    def _write(self, results: Sequence[Processed | Prepared]) -> None:
        """Save results, in one transaction."""
        save_processed(self._database, results)

    def _settled(self, results: Sequence[Processed | Prepared]) -> None:
        """Nothing of these is left to be done."""

    def _lose(self, stored: StoredObject, reason_code: str) -> bool:
        """Count an attempt that ended with the loss of its worker; whether it was the last."""
        return bool(record_lost(self._database, [stored.object_id], reason_code, self._maximum_attempts))
