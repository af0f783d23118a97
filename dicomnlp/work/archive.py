"""What a task reads reports by, and where a worker lays it down."""

import atexit
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dicomnlp.analyse import Source
from dicomnlp.analyse.archive import unpack_archive


@dataclass(frozen=True, slots=True)
class ReadBy:
    """What reports are to be read by: sent to a worker with each task."""

    generation: int | None = None
    """Number of the promotion by which it counts; None for what isn't to count."""
    sha256: str = ""
    """"": the pipeline of the configuration."""
    archive: bytes = b""
    """Its files; empty also for a worker that has them."""
    models: str | None = None
    """By what the registry of trained models is known: told of another, a worker reads it again. None: as it has it."""


class Unpacked:
    """Archives that this process has written out, each once; gone with the process, or with `parent`.

    Parameters
    ----------
    parent
        Folder to write to, which somebody else removes; None for one of its own.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self._own = tempfile.TemporaryDirectory(prefix="dicomnlp-pipelines-") if parent is None else None
        self._parent = Path(self._own.name) if self._own is not None else parent
        self._sources: dict[str, Source] = {}
        if self._own is not None:
            # which keeps it, too: whoever reads by these files needs them as long as the process lasts
            atexit.register(self._own.cleanup)

    def source_of(self, sha256: str, archive: bytes) -> Source:
        """The files of an archive, on disk.

        Raises
        ------
        UsageError
            The archive isn't the one with this digest.
        """
        if sha256 not in self._sources:
            assert self._parent is not None
            self._sources[sha256] = unpack_archive(archive, self._parent / sha256, sha256)
        return self._sources[sha256]
