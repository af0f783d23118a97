"""DICOM file-sets: the files that the records of a DICOMDIR name (PS3.3 F.3, PS3.10 8)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from dicomnlp.errors import ObjectError, UsageError
from dicomnlp.extract.elements import DataSet, scan
from dicomnlp.extract.file import read_file
from dicomnlp.receive.files import MEDIA_STORAGE_DIRECTORY

NAME: Final = "DICOMDIR"
MAXIMUM_DIRECTORY_BYTES: Final = 268435456
"""A DVD of single slices has a tenth of it."""

_DIRECTORY_RECORD_SEQUENCE: Final = 0x00041220
_RECORD_IN_USE_FLAG: Final = 0x00041410
_REFERENCED_FILE_ID: Final = 0x00041500
_REFERENCED_SOP_INSTANCE_UID: Final = 0x00041511
_INACTIVE: Final = b"\0\0"


class MediaFile(NamedTuple):
    """A file that a record names."""

    path: Path | None
    """None: the record names one outside of the file-set, or none that is there."""
    name: str
    """As the record has it."""
    sop_instance_uid: str
    is_outside: bool = False


def find_directory(folder: Path) -> Path | None:
    """The DICOMDIR of a folder, in whatever case a file system shows it; None when it has none."""
    with_name = [path for path in folder.iterdir() if _plain(path.name) == NAME and path.is_file()]
    return min(with_name, default=None)


def files_of(directory: Path) -> Iterator[MediaFile]:
    """The files that the records of a DICOMDIR name, each once, in the order of the records.

    All records that are in use are read, in the order in which they are stored: the offsets that link them are often
    wrong on media that were copied or edited, and every record that names a file stands in the sequence anyway.

    Raises
    ------
    UsageError
        It can't be read as a DICOMDIR.
    """
    root = directory.parent.resolve()
    names: dict[Path, dict[str, Path]] = {}
    seen: set[tuple[str, ...]] = set()
    for record in _records(directory):
        file_id = _text(record, _REFERENCED_FILE_ID)
        in_use = record.get(_RECORD_IN_USE_FLAG)
        if not file_id or (in_use is not None and in_use.value == _INACTIVE):
            continue
        parts = tuple(part.strip() for part in file_id.split("\\"))
        if parts in seen:
            continue
        seen.add(parts)
        uid = _text(record, _REFERENCED_SOP_INSTANCE_UID)
        if any(part in {"", ".", ".."} or "/" in part or "\0" in part for part in parts):
            yield MediaFile(None, file_id, uid, is_outside=True)
            continue
        path = _find(root, parts, names)
        if path is not None and not path.resolve().is_relative_to(root):  # a link
            yield MediaFile(None, file_id, uid, is_outside=True)
            continue
        yield MediaFile(path, file_id, uid)


def _records(directory: Path) -> list[DataSet]:
    refusal = "the DICOMDIR can't be read: it is damaged, or no DICOMDIR"
    try:
        if directory.stat().st_size > MAXIMUM_DIRECTORY_BYTES:
            raise UsageError(refusal)
        content = read_file(directory)
        elements = scan(content.data, content.transfer_syntax_uid).elements
    except (ObjectError, OSError):
        raise UsageError(refusal) from None
    if content.sop_class_uid != MEDIA_STORAGE_DIRECTORY:
        raise UsageError(refusal)
    sequence = elements.get(_DIRECTORY_RECORD_SEQUENCE)
    return [] if sequence is None else list(sequence.items or ())


def _text(record: DataSet, tag: int) -> str:
    element = record.get(tag)
    return "" if element is None else element.value.decode("ascii", "replace").strip("\0 ")


def _find(root: Path, parts: tuple[str, ...], names: dict[Path, dict[str, Path]]) -> Path | None:
    """The file of a file ID: upper case in the record, in the file system as that shows it."""
    path = root
    for part in parts:
        if path not in names:
            try:
                names[path] = {_plain(entry.name): entry for entry in sorted(path.iterdir(), reverse=True)}
            except OSError:
                names[path] = {}
        found = names[path].get(_plain(part))
        if found is None:
            return None
        path = found
    return path


def _plain(name: str) -> str:
    """A name without what ISO 9660 adds: a version number, and the dot of an empty extension."""
    return name.upper().partition(";")[0].removesuffix(".")
