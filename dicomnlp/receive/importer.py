"""Objects from disk, through the same intake as those from the network: files, folders, DICOMDIRs, ZIP archives."""

import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dicomnlp.errors import UsageError
from dicomnlp.model import Door, Outcome, Receipt
from dicomnlp.receive import media
from dicomnlp.receive.archives import SIGNATURES, Archive, ArchiveError, Entry
from dicomnlp.receive.files import is_media_directory, refuse, take_file
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.reasons import Reason

_HEAD_BYTES: Final = 4096


@dataclass(slots=True)
class ImportSummary:
    """How many files ended how."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    reason_codes: Counter[str] = field(default_factory=Counter)
    """Of files that were refused or quarantined."""

    @property
    def total(self) -> int:
        """Files met."""
        return self.outcomes.total()


@dataclass(frozen=True, slots=True)
class _Source:
    """A file to be taken."""

    path: Path
    """For people: an archive's entry is shown as if the archive were a folder."""
    take: Callable[[Intake], Receipt]


def import_paths(
    intake: Intake,
    paths: Iterable[Path],
    *,
    on_receipt: Callable[[Path, Receipt], None],
    on_total: Callable[[int], None] = lambda _: None,
) -> ImportSummary:
    """Hand every file at or below `paths` to `intake`; each leaves a ledger row, whatever it turns out to be.

    A folder that holds a DICOMDIR is a file-set: the files that its records name are taken, and nothing else in it.
    ZIP archives are opened, but not those within them. Of images the header is kept.

    Parameters
    ----------
    intake
        Open; it stays the caller's to close.
    paths
        Files and folders. Folders are gone through in the order of names; hidden files and folders in them are passed
        over, and links to folders are not followed.
    on_receipt
        Called for each file once it is decided, durably.
    on_total
        Called once, before the first, with the number of files.

    Raises
    ------
    UsageError
        One of `paths` doesn't exist, or a DICOMDIR can't be read; nothing is imported then.
    """
    given = list(paths)
    for number, path in enumerate(given, 1):
        if not path.exists():
            raise UsageError(f"path {number} of {len(given)} does not exist; nothing was imported")
    on_total(sum(1 for path in given for _ in _sources(path)))
    summary = ImportSummary()
    for path in given:
        for source in _sources(path):
            receipt = source.take(intake)
            summary.outcomes[receipt.outcome] += 1
            if receipt.reason_code is not None:
                summary.reason_codes[receipt.reason_code] += 1
            on_receipt(source.path, receipt)
    return summary


def _sources(path: Path) -> Iterator[_Source]:
    if not path.is_dir():
        yield from _of_file(path)
        return
    directory = media.find_directory(path)
    if directory is not None:
        yield from _of_media(directory)
        return
    try:
        entries = sorted(path.iterdir(), key=lambda entry: (entry.is_dir(), entry.name))
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            yield from _of_file(entry)
        elif not entry.is_symlink():
            yield from _sources(entry)


def _of_file(path: Path) -> Iterator[_Source]:
    try:
        is_regular = stat.S_ISREG(path.stat().st_mode)
    except OSError:
        yield _refused(path, Reason.FILE_UNREADABLE)
        return
    if not is_regular:  # a pipe or device could be read from for ever
        yield _refused(path, Reason.NOT_A_FILE)
        return
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        yield _refused(path, Reason.FILE_UNREADABLE)
        return
    if head.startswith(SIGNATURES):
        yield from _of_archive(path)
    elif is_media_directory(head):
        yield from _of_media(path)
    else:
        yield _Source(path, lambda intake: _take(intake, path))


def _refused(path: Path, reason: Reason, sop_instance_uid: str = "") -> _Source:
    return _Source(path, lambda intake: refuse(intake, Door.IMPORT, reason, sop_instance_uid))


def _take(intake: Intake, path: Path, sop_instance_uid: str = "") -> Receipt:
    try:
        with path.open("rb") as file:
            return take_file(intake, file, Door.IMPORT, sop_instance_uid=sop_instance_uid)
    except OSError:
        return refuse(intake, Door.IMPORT, Reason.FILE_UNREADABLE, sop_instance_uid)


def _of_media(directory: Path) -> Iterator[_Source]:
    for found in media.files_of(directory):
        if found.path is None or not found.path.is_file():
            reason = Reason.FILE_OUTSIDE if found.is_outside else Reason.FILE_MISSING
            yield _refused(directory.parent / found.name.replace("\\", "/"), reason, found.sop_instance_uid)
            continue
        path, uid = found.path, found.sop_instance_uid

        def take(intake: Intake, path: Path = path, uid: str = uid) -> Receipt:
            return _take(intake, path, uid)

        yield _Source(path, take)


def _of_archive(path: Path) -> Iterator[_Source]:
    try:
        archive = Archive(path)
    except ArchiveError as error:
        yield _refused(path, error.reason)
        return
    except OSError:
        yield _refused(path, Reason.FILE_UNREADABLE)
        return
    try:
        for entry in archive.entries:
            if entry.refusal is not None:
                yield _refused(path / entry.name, entry.refusal)
                continue

            def take(intake: Intake, entry: Entry = entry) -> Receipt:
                return _take_entry(intake, archive, entry)

            if not _is_directory_of(archive, entry):
                yield _Source(path / entry.name, take)
    finally:
        archive.close()


def _is_directory_of(archive: Archive, entry: Entry) -> bool:
    """Whether an entry is the DICOMDIR of what is packed with it: all of that is taken anyway."""
    if Path(entry.name).name.upper() != media.NAME:
        return False
    try:
        with archive.open(entry) as file:
            return is_media_directory(file.read(_HEAD_BYTES))
    except OSError:
        return False


def _take_entry(intake: Intake, archive: Archive, entry: Entry) -> Receipt:
    try:
        with archive.open(entry) as file:
            if file.peek(4).startswith(SIGNATURES):
                return refuse(intake, Door.IMPORT, Reason.NESTED_ARCHIVE)
            return take_file(intake, file, Door.IMPORT)
    except OSError:
        return refuse(intake, Door.IMPORT, Reason.ENTRY_UNREADABLE)
