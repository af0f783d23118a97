"""Originals too large for a row: files named by the SHA-256 of their content."""

import contextlib
import errno
import hashlib
import os
import tempfile
from pathlib import Path

from dicomnlp.errors import ObjectError
from dicomnlp.store import faults


class OriginalMissingError(ObjectError):
    """The file of an original is gone or can't be read; restore it from a backup, then retry."""

    reason_code = "original_missing"


class OriginalDamagedError(ObjectError):
    """The file of an original no longer holds the bytes that came in; restore it from a backup, then retry."""

    reason_code = "original_damaged"


def path_of(directory: Path, sha256: str) -> Path:
    """Where the original with this hash is: two levels of folders keep each of them small."""
    return directory / sha256[:2] / sha256[2:4] / sha256


def write_original(directory: Path, sha256: str, data: bytes) -> None:
    """Write `data` so that it outlives a loss of power when this returns.

    It is written even if the file is there: so that sending an object again mends a damaged copy.

    Raises
    ------
    DatabaseError
        The disk is full or failed; there is no half-written file under the name. With the reason code store_read_only
        it is not known what the disk holds, see `fence`.
    """
    path = path_of(directory, sha256)
    unfinished: str | None = None
    try:
        _make_folders(path.parent)
        descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(unfinished).replace(path)
        unfinished = None
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno == errno.EIO:
            raise faults.database_error(faults.READ_ONLY, "EIO") from None
        faults.raise_translated(error)
    finally:
        if unfinished is not None:
            with contextlib.suppress(OSError):
                Path(unfinished).unlink()


def read_original(directory: Path, sha256: str) -> bytes:
    """The bytes of an original.

    Raises
    ------
    OriginalMissingError
        There is no such file, or it can't be read.
    OriginalDamagedError
        Its content has changed.
    """
    try:
        data = path_of(directory, sha256).read_bytes()
    except OSError:
        raise OriginalMissingError("the original's file can't be read; restore it from a backup, then retry") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise OriginalDamagedError("the original's file is damaged; restore it from a backup, then retry")
    return data


def _make_folders(folder: Path) -> None:
    """Make `folder` and those above it, each entry on disk before the next."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
