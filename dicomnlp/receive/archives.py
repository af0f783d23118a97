"""ZIP archives: their entries as files, read within limits and never written anywhere."""

import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Final, NamedTuple

from dicomnlp.receive.reasons import Reason

MAXIMUM_ENTRIES: Final = 200_000
MAXIMUM_DIRECTORY_BYTES: Final = 67108864
"""Of the list of entries, which is read whole."""
MAXIMUM_TOTAL_BYTES: Final = 68719476736
"""Of all entries, unpacked."""
MAXIMUM_RATIO: Final = 200
"""Unpacked to packed size of an entry, from 1 MiB on."""

SIGNATURES: Final = (b"PK\x03\x04", b"PK\x05\x06")
"""How an archive begins, with entries and without any."""

_END: Final = b"PK\x05\x06"
_END_64: Final = b"PK\x06\x06"
_LONGEST_END: Final = 65557 + 76
_IS_ENCRYPTED: Final = 0x1
_METHODS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_METADATA_FOLDER: Final = "__MACOSX"


class Entry(NamedTuple):
    """A file in an archive, or why it can't be read."""

    name: str
    info: zipfile.ZipInfo
    refusal: Reason | None


class Archive:
    """An open archive.

    Raises
    ------
    ArchiveError
        It is damaged, or above a limit.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                _check_directory(file)
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error):
            raise ArchiveError(Reason.ARCHIVE_DAMAGED) from None
        infos = self._zip.infolist()
        if len(infos) > MAXIMUM_ENTRIES or sum(info.file_size for info in infos) > MAXIMUM_TOTAL_BYTES:
            self._zip.close()
            raise ArchiveError(Reason.ARCHIVE_TOO_LARGE)
        self.entries = [Entry(info.filename, info, _refusal(info)) for info in infos if _is_file(info)]
        """Without folders and hidden files, in the archive's order."""

    def open(self, entry: Entry) -> io.BufferedReader:
        """An entry's bytes; reading raises OSError when they are damaged."""
        try:
            return io.BufferedReader(_Checked(self._zip.open(entry.info)))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error, ValueError):
            raise OSError("the entry can't be read") from None

    def close(self) -> None:
        """Close it."""
        self._zip.close()


class ArchiveError(Exception):
    """An archive isn't gone into."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.meaning)
        self.reason = reason


class _Checked(io.RawIOBase):
    """An entry that is being read: what goes wrong on the way is a failure to read."""

    def __init__(self, entry: IO[bytes]) -> None:
        self._entry = entry

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._entry.read(len(buffer))
        except (zipfile.BadZipFile, zlib.error, EOFError, struct.error):
            raise OSError("the entry is damaged") from None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._entry.close()
        super().close()


def _check_directory(file: BinaryIO) -> None:
    """Refuse an archive by the size of its list of entries, before that is read."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _LONGEST_END))
    tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) < end + 22:
        raise zipfile.BadZipFile
    (length,) = struct.unpack_from("<I", tail, end + 12)
    if length == 0xFFFFFFFF:
        begin = tail.rfind(_END_64, 0, end)
        if begin < 0:
            raise zipfile.BadZipFile
        (length,) = struct.unpack_from("<Q", tail, begin + 40)
    if length > MAXIMUM_DIRECTORY_BYTES:
        raise ArchiveError(Reason.ARCHIVE_TOO_LARGE)


def _is_file(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename).parts
    hidden = any(part.startswith(".") and part != ".." for part in parts) or _METADATA_FOLDER in parts
    return not info.is_dir() and not hidden


def _refusal(info: zipfile.ZipInfo) -> Reason | None:
    if info.flag_bits & _IS_ENCRYPTED:
        return Reason.ENTRY_ENCRYPTED
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.compress_type not in _METHODS or kind not in {0, stat.S_IFREG}:
        return Reason.ENTRY_UNREADABLE
    if info.file_size > 1024 * 1024 and info.file_size > MAXIMUM_RATIO * max(1, info.compress_size):
        return Reason.ENTRY_BOMB
    return None
