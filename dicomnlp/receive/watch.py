"""A folder that is watched: what is put there is taken in as if it had been sent.

A file that has been taken is deleted, because the database holds it bit for bit; one that can't be taken is moved to
the folder ``refused``, beside a file that says why. The order is such that a process may be killed at any moment: a
file is deleted only when the decision about it is durable, and one that is met again changes nothing.
"""

import contextlib
import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from dicomnlp.errors import OUT_OF_RESOURCES, ConfigurationError
from dicomnlp.logs import Event, describe, log
from dicomnlp.model import Door, Receipt
from dicomnlp.receive.files import take_file
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.reasons import Reason

REFUSED: Final = "refused"
"""Folder in the watched one for what can't be taken."""
REASON_SUFFIX: Final = ".reason.json"

LOOK_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 10.0
"""Until the next look when the store takes nothing."""

_LASTING: Final = {
    reason.answer[1] for reason in (Reason.OBJECT_TOO_LARGE, Reason.ARCHIVE_TOO_LARGE, Reason.ENTRY_BOMB)
} | {"deflate_bomb", "too_many_elements"}
"""Out of resources (A700) for a cause in the file itself: another try would end alike."""


class _Sight(NamedTuple):
    """What a file looks like from outside."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "_Sight":
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def is_moved_in(self) -> bool:
        """Whether the file was renamed, or given its times, after the last byte was written: its writer is done."""
        return self.changed > self.modified


class WatchedFolder:
    """Takes in the files of a folder and its subfolders until it is stopped.

    A file is taken when nothing about it has changed for `stable_seconds`, or at once when it was moved in whole.
    Hidden files and folders are passed over, so that a writer can use such a name until it is done; so are empty
    files.

    Parameters
    ----------
    folder
        It must exist, and this process must be allowed to write to it.
    stable_seconds
        How long a file must have been left alone.
    intake
        Open; it stays the caller's to close.

    Raises
    ------
    ConfigurationError
        The folder isn't one, or can't be written to.
    """

    def __init__(self, folder: Path, stable_seconds: float, intake: Intake) -> None:
        self._folder = folder
        self._refused = folder / REFUSED
        self._stable_seconds = stable_seconds
        self._intake = intake
        self._seen: dict[Path, tuple[_Sight, float]] = {}
        """What files looked like, and since when (`monotonic`)."""
        if not folder.is_dir():
            raise ConfigurationError("watch.folder: no such folder; make it, or name another")
        try:
            self._refused.mkdir(exist_ok=True)
            descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
            os.close(descriptor)
        except OSError:
            raise ConfigurationError(
                "watch.folder: this user can't write to it, and so couldn't delete what has been taken"
            ) from None

    def run(self, stop: threading.Event) -> None:
        """Look at the folder again and again until `stop` is set; a file that is being taken is taken to its end."""
        pause = 0.0
        while not stop.wait(pause):
            pause = LOOK_SECONDS
            try:
                if not self.look(stop):
                    pause = RETRY_SECONDS
            except OSError as error:
                log(Event.WATCHED_FOLDER_FAILED, seconds=RETRY_SECONDS, **describe(error))
                pause = RETRY_SECONDS

    def look(self, stop: threading.Event) -> bool:
        """Go through the folder once and take what is ready; False when the store takes nothing for now.

        Raises
        ------
        OSError
            The folder is gone, or a file in it can't be deleted or moved.
        """
        seen, self._seen = self._seen, {}
        began, taken = monotonic(), 0
        try:
            for path in _files(self._folder, self._refused):
                if stop.is_set():
                    break
                sight = _sight(path)
                if sight is None:
                    continue
                known, since = seen.get(path, (None, 0.0))
                now = monotonic()
                if known != sight:
                    since = now
                if not sight.is_moved_in and now - since < self._stable_seconds:
                    self._seen[path] = (sight, since)
                    continue
                outcome = self._take(path, sight)
                if outcome is False:
                    return False
                taken += outcome is True
        finally:
            if taken:
                log(Event.WATCHED_FILES_TAKEN, count=taken, seconds=round(monotonic() - began, 3))
        return True

    def _take(self, path: Path, sight: _Sight) -> bool | None:
        """Take a file and put it away: True; False: the store takes nothing; None: it is to be looked at again."""
        try:
            with path.open("rb") as file:
                if _Sight.of(os.fstat(file.fileno())) != sight:
                    return None
                receipt = take_file(self._intake, file, Door.WATCHED_FOLDER)
                if _Sight.of(os.fstat(file.fileno())) != sight:
                    return None  # written to meanwhile: the next look takes the rest as a further version
        except FileNotFoundError:
            return None
        except OSError:
            self._put_aside(path, *Reason.FILE_UNREADABLE.answer)
            return None
        if receipt.status == 0:
            path.unlink()
            return True
        if _may_end_otherwise(receipt):
            return False
        self._put_aside(path, receipt.status, receipt.reason_code or "")
        return None

    def _put_aside(self, path: Path, status: int, reason_code: str) -> None:
        """Move a file to the folder of the refused, with why; the latter first, so that none is there without."""
        target = self._free_name(path.name)
        now = time.strftime("%FT%TZ", time.gmtime())
        told = {"status": f"{status:04X}", "reason_code": reason_code, "refused_at": now}
        reason = target.with_name(target.name + REASON_SUFFIX)
        with reason.open("w", encoding="utf-8") as file:
            json.dump(told, file)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        path.rename(target)
        log(Event.WATCHED_FILE_REFUSED, status=status, reason_code=reason_code)

    def _free_name(self, name: str) -> Path:
        """A name in the folder of the refused that no file has; a reason without its file is of one that was killed."""
        target = self._refused / name
        number = 1
        while target.exists():
            number += 1
            target = self._refused / f"{name}.{number}"
        return target


def _may_end_otherwise(receipt: Receipt) -> bool:
    """Whether a refusal says something of the store's state rather than of the object."""
    return receipt.status == OUT_OF_RESOURCES and receipt.reason_code not in _LASTING


def _sight(path: Path) -> _Sight | None:
    """None of what is no file, or an empty one."""
    with contextlib.suppress(OSError):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_size:
            return _Sight.of(status)
    return None


def _files(folder: Path, without: Path) -> Iterator[Path]:
    """Files that aren't hidden, in the order of their names, folder by folder."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry == without:
            continue
        if entry.is_dir() and not entry.is_symlink():
            with contextlib.suppress(FileNotFoundError):
                yield from _files(entry, without)
        else:
            yield entry
