"""Where a dispatcher takes objects from and what they are read by: those that wait, by the pipeline that counts."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from dicomnlp.analyse.learned_registry import fingerprint
from dicomnlp.model import StoredObject
from dicomnlp.store.database import Database
from dicomnlp.store.pipelines import Active, read_active, read_archive
from dicomnlp.store.queue import take_pending
from dicomnlp.work.archive import ReadBy
from dicomnlp.work.saving import Saver


class Pending:
    """The objects that are pending in the database.

    Parameters
    ----------
    database
        Where they are, and where results go.
    maximum_attempts
        So many losses of its worker end an object as failed.
    models
        Folder of the site's trained models; None for none.
    """

    def __init__(self, database: Database, maximum_attempts: int, models: Path | None = None) -> None:
        self._database = database
        self._models = models
        self.saver = Saver(database, maximum_attempts)
        self._active: Active | None = None
        self._read_by = ReadBy()

    def take(
        self, *, maximum_objects: int, maximum_bytes: int, exclude: Collection[int], arrivals_only: bool
    ) -> list[StoredObject]:
        """The next objects, see `take_pending`."""
        return take_pending(
            self._database,
            maximum_objects=maximum_objects,
            maximum_bytes=maximum_bytes,
            exclude=exclude,
            arrivals_only=arrivals_only,
        )

    def read_by(self) -> ReadBy:
        """What the next objects are to be read by."""
        active = read_active(self._database)
        if active != self._active:
            archive, sha256 = read_archive(self._database, active.name) or (b"", "")
            self._read_by = ReadBy(active.generation, sha256, archive)
            self._active = active
        promoted = fingerprint(self._models) if self._models is not None else None
        if promoted != self._read_by.models:
            self._read_by = replace(self._read_by, models=promoted)
        return self._read_by
