"""A pipeline that doesn't count, on chosen reports: by worker processes of its own, beside a service that runs."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence

from dicomnlp.config import Settings
from dicomnlp.errors import ObjectError
from dicomnlp.model import Processed, StoredObject
from dicomnlp.store.database import Database
from dicomnlp.store.exports import read_objects
from dicomnlp.store.prepared import Prepared
from dicomnlp.store.shadow import record_shadow_failure, save_shadow
from dicomnlp.work.archive import ReadBy
from dicomnlp.work.dispatcher import Dispatcher
from dicomnlp.work.saving import Saver


def run_shadow(
    settings: Settings,
    database: Database,
    name: str,
    read_by: ReadBy,
    object_ids: Sequence[int],
    *,
    on_progress: Callable[[int], None],
    stop: threading.Event,
) -> int:
    """Read objects by a pipeline and keep what it makes of them, without letting it count.

    Parameters
    ----------
    settings
        Tables work, extract, analyse, logs.
    name
        Under which the pipeline is kept.
    read_by
        The pipeline.
    object_ids
        What to read.
    on_progress
        Called now and then with how many are done.
    stop
        Ends it; what is in work is still saved.

    Returns
    -------
    int
        How many were done, whatever came of them.

    Raises
    ------
    LanguagePackError
        The pipeline's pack of the default language can't be used.
    """
    chosen = Chosen(database, name, read_by, object_ids, settings.work.maximum_attempts)

    def finished() -> bool:
        on_progress(chosen.done)
        return chosen.done >= len(object_ids)

    if object_ids:
        Dispatcher(settings, database, queue=chosen).run(stop, lambda _address: None, finished)
    return chosen.done


class Chosen:
    """In place of the objects that are pending: some that are held."""

    def __init__(
        self, database: Database, name: str, read_by: ReadBy, object_ids: Iterable[int], maximum_attempts: int
    ) -> None:
        self._database = database
        self._name = name
        self._read_by = read_by
        self._waiting = deque(sorted(set(object_ids)))
        self._losses: Counter[int] = Counter()
        self.done = 0
        self.saver = _ShadowSaver(self, database, maximum_attempts)

    def take(
        self, *, maximum_objects: int, maximum_bytes: int, exclude: Collection[int], arrivals_only: bool
    ) -> list[StoredObject]:
        """The next objects, as `take_pending` gives them; all of them were arrivals once."""
        del exclude, arrivals_only  # what was given isn't given again
        taken: list[StoredObject] = []
        size = 0
        while self._waiting and len(taken) < maximum_objects and size < maximum_bytes:
            object_id = self._waiting.popleft()
            try:
                stored = next(read_objects(self._database, [object_id]), None)
            except ObjectError as error:
                record_shadow_failure(self._database, self._name, object_id, error.reason_code)
                self.done += 1
                continue
            if stored is None:
                self.done += 1  # it is gone meanwhile
                continue
            taken.append(stored)
            size += len(stored.data)
        return taken

    def read_by(self) -> ReadBy:
        """The pipeline."""
        return self._read_by

    def save(self, results: Sequence[Processed | Prepared]) -> None:
        """Keep what came of objects."""
        save_shadow(self._database, self._name, results)

    def lose(self, object_id: int, reason_code: str, maximum_attempts: int) -> bool:
        """Count an attempt that ended with the loss of its worker; whether it was the last."""
        self._losses[object_id] += 1
        if self._losses[object_id] < maximum_attempts:
            return False
        record_shadow_failure(self._database, self._name, object_id, reason_code)
        self.done += 1
        return True


class _ShadowSaver(Saver):
    def __init__(self, chosen: Chosen, database: Database, maximum_attempts: int) -> None:
        super().__init__(database, maximum_attempts)
        self._chosen = chosen

    def _write(self, results: Sequence[Processed | Prepared]) -> None:
        self._chosen.save(results)

    def _settled(self, results: Sequence[Processed | Prepared]) -> None:
        self._chosen.done += len(results)

    def _lose(self, stored: StoredObject, reason_code: str) -> bool:
        return self._chosen.lose(stored.object_id, reason_code, self._maximum_attempts)
