"""``label``: a drop-in for the CheXpert labeler, reports in a CSV file to a column a label."""

import csv
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import rich.progress
import typer

from dicomnlp.cli.context import analysing, err
from dicomnlp.errors import DicomnlpError, UsageError

if TYPE_CHECKING:
    from _csv import Writer

    from dicomnlp.analyse.schema import LabelSet

REPORT_COLUMNS = ("report impression", "report", "reports", "report text", "impression", "text", "narrative")
"""Names of the column of report text, the likeliest first; case, hyphens and underscores don't matter."""
VALUES = {"present": "1", "absent": "0", "possible": "-1", None: ""}
LONGEST_FIELD = 50_000_000
"""Characters; Python's own limit of 131,072 is below some reports with tables."""
_NAME = re.compile(r"[A-Za-z_][\w -]{0,40}\Z")


@dataclass(frozen=True, slots=True)
class Header:
    """How the input's columns are named."""

    names: tuple[str, ...]
    report: int
    """Which column holds the report."""
    is_row: bool
    """Whether the names stood in the first row."""


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command()(label)


def label(
    context: typer.Context,
    reports: Annotated[Path, typer.Argument(help="CSV file: a column named Report Impression, or no header.")],
    labels: Annotated[str, typer.Option("--set", help="The label set.")] = "chexpert14",
    out: Annotated[Path | None, typer.Option("--out", help="CSV file to write; default: standard output.")] = None,
) -> None:
    """Label the reports of a CSV file: 1 present, 0 absent, -1 possible, blank not mentioned.

    The reports are the column "Report Impression" (or Report, Reports, Text, Impression); in a file without header
    the first column. The output has the input's columns and one for each label; without header, "Reports" and the
    labels, as the CheXpert labeler writes them. Rows are read, labelled and written one by one. No database is used.

    Example: dicomnlp label reports.csv --set chexpert14 --out labeled_reports.csv
    """
    label_set = _label_set(labels)
    if out is not None and out.exists() and reports.exists() and out.samefile(reports):
        raise UsageError("--out names the input; give it another file")
    default_language = analysing(context).analyse.language
    failed = 0
    with _opened(reports) as rows, _written(out) as writer:
        header = _header(rows)
        if header is None:
            raise UsageError(f"{reports} is empty")
        kept = header.names if header.is_row else ("Reports",)
        writer.writerow([*kept, *label_set.labels])
        for line, row in rows:
            if not row:  # a blank line; a row whose report is empty keeps its place
                continue
            text = row[header.report] if header.report < len(row) else ""
            try:
                values = _labels_of(text, label_set.set, default_language)
            except DicomnlpError as error:
                failed += 1
                values = {}
                err.print(f"{reports}, line {line}: {error}; its labels stay blank", markup=False, soft_wrap=True)
            cells = [*row, *[""] * (len(kept) - len(row))][: len(kept)] if header.is_row else [text]
            writer.writerow([*cells, *(VALUES[values.get(name)] for name in label_set.labels)])
    if failed:
        raise typer.Exit(1)


def _label_set(name: str) -> "LabelSet":
    from dicomnlp.analyse import load_pack

    known = {labels.set: labels for labels in load_pack().label_sets}
    if name not in known:
        raise UsageError(f"no label set {name!r}; there are {', '.join(known)}")
    return known[name]


def _labels_of(text: str, labels: str, default_language: str) -> dict[str, str | None]:
    from dicomnlp.analyse import analyse
    from dicomnlp.model import Narrative

    return analyse(Narrative(text), default_language=default_language).labels[labels]


class _Rows:
    """Numbered rows of a CSV file, the first of which may be looked at and put back."""

    def __init__(self, path: Path, lines: IO[str]) -> None:
        self._path = path
        csv.field_size_limit(LONGEST_FIELD)
        self._reader = csv.reader(lines, strict=True)
        self._put_back: list[tuple[int, list[str]]] = []

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        return self

    def __next__(self) -> tuple[int, list[str]]:
        if self._put_back:
            return self._put_back.pop()
        line = self._reader.line_num + 1
        try:
            return line, next(self._reader)
        except csv.Error as error:
            raise UsageError(f"{self._path}, line {self._reader.line_num}: not CSV: {error}") from None
        except UnicodeDecodeError:
            raise UsageError(f"{self._path} isn't UTF-8 text, after line {self._reader.line_num}") from None

    def put_back(self, row: tuple[int, list[str]]) -> None:
        """Give `row` again next."""
        self._put_back.append(row)


def _header(rows: _Rows) -> Header | None:
    """The names of the columns; None where there is no row."""
    first = next((row for row in rows if any(cell.strip() for cell in row[1])), None)
    if first is None:
        return None
    names = [re.sub(r"[\s_-]+", " ", cell).strip().casefold() for cell in first[1]]
    for name in REPORT_COLUMNS:
        if name in names:
            return Header(tuple(first[1]), names.index(name), is_row=True)
    if len(names) > 1 and all(_NAME.match(cell.strip()) for cell in first[1]):
        raise UsageError(
            "no column of report text: the first row looks like a header, and none of its names is one of "
            + ", ".join(REPORT_COLUMNS)
        )
    rows.put_back(first)
    return Header(("Reports",), 0, is_row=False)


@contextmanager
def _opened(path: Path) -> Iterator[_Rows]:
    """The rows of `path`, with progress by what has been read of it."""
    columns = (
        "[progress.description]{task.description}",
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    try:
        with (
            rich.progress.Progress(*columns, console=err, transient=True) as progress,
            progress.open(path, "r", encoding="utf-8-sig", newline="", description="labelling") as lines,
        ):
            yield _Rows(path, lines)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UsageError(f"{error.filename or path}: {error.strerror}") from None


@contextmanager
def _written(path: Path | None) -> Iterator["Writer"]:
    """A CSV writer; the file bears its name only once it is whole."""
    if path is None:
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")  # type: ignore[union-attr]
        yield csv.writer(sys.stdout, lineterminator="\n")
        sys.stdout.flush()
        return
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield csv.writer(file, lineterminator="\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
