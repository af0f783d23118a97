"""Files of rows that are written in pieces: what is there after a checkpoint stays, whatever happens next."""

import abc
import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from dicomnlp.errors import UsageError
from dicomnlp.export.cells import cell
from dicomnlp.export.rows import Column, Kind, Record, flat, pick

_DATA = "data"
_BOM = "\ufeff"


class Writer(abc.ABC):
    """Writes rows into a folder; `finish` makes one file of them.

    Parameters
    ----------
    folder
        For unfinished work; it exists.
    done
        What the last `checkpoint` gave, 0 at the beginning. Whatever was written after it is dropped.
    """

    def __init__(self, folder: Path, done: int) -> None:
        self._folder = folder
        self._done = done

    @abc.abstractmethod
    def write(self, records: Sequence[Record]) -> None:
        """Write a row for each."""

    @abc.abstractmethod
    def checkpoint(self) -> int:
        """Let all that was written outlast a loss of power; returns where to go on."""

    @abc.abstractmethod
    def finish(self) -> Path:
        """The whole file, still in the folder, durable."""

    def close(self) -> None:  # noqa: B027  not every writer holds a file open
        """Let go of what is open."""


class LinesWriter(Writer):
    """Text, line by line; each record is written by `_encode`."""

    def __init__(self, folder: Path, done: int, header: str = "") -> None:
        super().__init__(folder, done)
        descriptor = os.open(folder / _DATA, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._file: IO[bytes] = os.fdopen(descriptor, "r+b")
        self._file.truncate(done)
        self._file.seek(done)
        if not done:
            self._file.write(header.encode("utf-8"))

    def write(self, records: Sequence[Record]) -> None:
        """Write the lines of `records`."""
        self._file.write("".join(map(self._encode, records)).encode("utf-8", "backslashreplace"))

    def _encode(self, record: Record) -> str:
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"

    def checkpoint(self) -> int:
        """Bytes that are there."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def finish(self) -> Path:
        """The file of lines."""
        self.checkpoint()
        return self._folder / _DATA

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class CsvWriter(LinesWriter):
    """RFC 4180, UTF-8, one cell a column; see `cells.cell`.

    Parameters
    ----------
    with_mark
        Begins with a byte order mark, without which Excel takes Chinese for another encoding.
    """

    def __init__(self, folder: Path, done: int, columns: Sequence[Column], *, with_mark: bool = False) -> None:
        self._columns = columns
        self._buffer = io.StringIO(newline="")
        self._csv = csv.writer(self._buffer)
        super().__init__(folder, done, (_BOM if with_mark else "") + self._line([c.name for c in columns]))

    def _encode(self, record: Record) -> str:
        return self._line([cell(flat(record, column)) for column in self._columns])

    def _line(self, cells: Sequence[str]) -> str:
        self._csv.writerow(cells)
        line = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return line


class ParquetWriter(Writer):
    """Apache Parquet: each checkpoint a row group; they are put into one file in the end."""

    def __init__(self, folder: Path, done: int, columns: Sequence[Column]) -> None:
        super().__init__(folder, done)
        self._columns = columns
        self._schema = _schema(columns)
        self._pending: list[Record] = []
        for part in folder.glob("part-*.parquet"):
            if int(part.stem.removeprefix("part-")) >= done:
                part.unlink()

    def _part(self, number: int) -> Path:
        return self._folder / f"part-{number:06d}.parquet"

    def write(self, records: Sequence[Record]) -> None:
        """Hold `records` until the next checkpoint."""
        self._pending += [{c.name: self._value(r, c) for c in self._columns} for r in records]

    @staticmethod
    def _value(record: Record, column: Column) -> Any:
        return flat(record, column) if column.kind is Kind.JSON else pick(record, column)

    def checkpoint(self) -> int:
        """Row groups that are there."""
        if self._pending:
            import pyarrow as pa  # noqa: PLC0415  an extra
            import pyarrow.parquet as pq  # noqa: PLC0415

            table = pa.Table.from_pylist(self._pending, schema=self._schema)
            unfinished = self._folder / "unfinished"
            pq.write_table(table, unfinished, compression="zstd")
            _sync(unfinished)
            unfinished.replace(self._part(self._done))
            self._done += 1
            self._pending = []
        return self._done

    def finish(self) -> Path:
        """All row groups as one file, read and written one by one."""
        import pyarrow.parquet as pq  # noqa: PLC0415  an extra

        self.checkpoint()
        whole = self._folder / _DATA
        with pq.ParquetWriter(whole, self._schema, compression="zstd") as writer:
            for number in range(self._done):
                writer.write_table(pq.read_table(self._part(number), schema=self._schema))
        _sync(whole)
        return whole


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_parquet() -> None:
    """Refuse Parquet where nothing is installed that writes it.

    Raises
    ------
    UsageError
        pyarrow isn't there.
    """
    try:
        import pyarrow.parquet  # noqa: F401, PLC0415  an extra
    except ImportError:
        raise UsageError("Parquet needs pyarrow: install dicomnlp[parquet], or choose --format csv or jsonl") from None


def _schema(columns: Sequence[Column]) -> Any:
    import pyarrow as pa  # noqa: PLC0415  an extra

    text, integer, number = pa.string(), pa.int64(), pa.float64()
    measurement = pa.struct(
        [
            ("values", pa.list_(number)), ("unit", text), ("kind", text), ("temporality", text), ("comparator", text),
            ("text", text), ("start", integer), ("end", integer),
        ]
    )  # fmt: skip
    cue = pa.struct([("text", text), ("start", integer), ("end", integer), ("category", text)])
    types = {
        Kind.TEXT: text,
        Kind.JSON: text,
        Kind.INTEGER: integer,
        Kind.NUMBER: number,
        Kind.BOOLEAN: pa.bool_(),
        Kind.TEXTS: pa.list_(text),
        Kind.MEASUREMENTS: pa.list_(measurement),
        Kind.CUES: pa.list_(cue),
    }
    return pa.schema([(c.name, types[c.kind]) for c in columns])
