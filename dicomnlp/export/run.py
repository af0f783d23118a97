"""An export: rows that fit filters into one file, which bears its name only when it is whole.

It goes on where it was when it was stopped. Between two checkpoints at most `_AT_ONCE` pages are in hand, so memory
stays the same however many rows there are.
"""

import contextlib
import datetime as dt
import fcntl
import hashlib
import json
import os
import shutil
import tomllib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from dicomnlp import __version__
from dicomnlp.errors import AlreadyRunningError, UsageError
from dicomnlp.export.deidentified import WITHHELD, Deidentifier
from dicomnlp.export.fhir import report_bundle
from dicomnlp.export.kinds import Format, What
from dicomnlp.export.rows import (
    FINDING_COLUMNS,
    REPORT_COLUMNS,
    Column,
    Record,
    finding_record,
    label_columns,
    label_record,
    report_record,
)
from dicomnlp.export.writers import CsvWriter, LinesWriter, ParquetWriter, Writer, require_parquet
from dicomnlp.model import utc_text
from dicomnlp.store.answers import StoredFinding
from dicomnlp.store.database import Database
from dicomnlp.store.exports import (
    PAGE,
    ExportedReport,
    exported_reports,
    findings_that_fit,
    headers_of,
    iterate_reports,
    report_ids,
)
from dicomnlp.store.search import Filters, iterate_findings

_AT_ONCE = 10
"""Pages between two checkpoints: some ten thousand findings, or two thousand reports."""
_OF_ONE = ("patient_id", "text", "station", "institution", "calling_ae_title", "study_instance_uid")
"""Filters that could tell whom a de-identified export is of, or where it is from."""
_STATE, _LOCK = "state.json", "lock"
_REMAINS = tomllib.loads((Path(__file__).parent / "remains.toml").read_text(encoding="utf-8"))
"""What a de-identified export says of itself: `done`, and what `remains`."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted."""

    format: Format
    what: What
    filters: Filters
    """As `Filters.expanded` gives them."""
    asked: Filters
    """As they were given."""
    deidentify: bool = False
    label_set: str = ""
    labels: tuple[str, ...] = ()
    excel: bool = False
    """CSV with a byte order mark."""

    def fingerprint(self, key: str) -> dict[str, Any]:
        """What an unfinished export must have been asked for, to be gone on with."""
        return {
            "version": __version__,
            "format": self.format.value,
            "what": self.what.value,
            "filters": hashlib.sha256(json.dumps(self.filters.to_json(), sort_keys=True).encode()).hexdigest(),
            "label_set": self.label_set,
            "excel": self.excel,
            "key": key,
        }


@dataclass
class _State:
    """How far an export has come; as of its last checkpoint it is in a file."""

    request: dict[str, Any]
    started_at: str
    cursor: str | int | None = None
    finished: bool = False
    rows: int = 0
    written: int = 0
    """`Writer.checkpoint`."""
    pipelines: Counter[str] = field(default_factory=Counter)
    replaced: Counter[str] = field(default_factory=Counter)


_Rows = tuple[list[Record], list[str], str | int | None]
"""Rows, the pipeline of each, and where to go on after them; None at the end."""


def export(
    database: Database, request: Request, out: Path, *, progress: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """Write what is wanted to `out`, and beside it `out`.manifest.json, which is what this returns.

    Parameters
    ----------
    progress
        Called with the number of rows that are written, from time to time.

    Raises
    ------
    UsageError
        `out` is there already, its folder isn't, an unfinished export of something else stands in the way, or Parquet
        can't be written.
    AlreadyRunningError
        Another process writes it.
    """
    if request.format is Format.PARQUET:
        require_parquet()
    if out.exists():
        raise UsageError(f"{out} is there already; give --out another name")
    if not out.parent.is_dir():
        raise UsageError(f"the folder {out.parent} does not exist")
    folder = out.with_name(f"{out.name}.unfinished")
    folder.mkdir(mode=0o700, exist_ok=True)
    with _alone(folder):
        deidentifier = Deidentifier(database) if request.deidentify else None
        state = _read_state(folder, request.fingerprint(deidentifier.pseudonyms.fingerprint if deidentifier else ""))
        if deidentifier is not None:
            deidentifier.counts.update(state.replaced)
        with contextlib.closing(_writer(request, folder, state.written)) as writer:
            progress(state.rows)
            if not state.finished:
                source = _source(database, request, deidentifier, state.cursor)
                _write_rows(source, writer, state, deidentifier, folder, progress)
            whole = writer.finish()
        manifest = _manifest(request, state, whole, out)
        _write_json(folder / "manifest", manifest)
        # the rows last: where they are there, all is
        (folder / "manifest").replace(out.with_name(f"{out.name}.manifest.json"))
        whole.replace(out)
        _sync_folder(out.parent)
        shutil.rmtree(folder)
    return manifest


def _write_rows(
    source: Iterator[_Rows],
    writer: Writer,
    state: _State,
    deidentifier: Deidentifier | None,
    folder: Path,
    progress: Callable[[int], None],
) -> None:
    for page, (records, pipelines, cursor) in enumerate(source, 1):
        writer.write(records)
        state.rows += len(records)
        state.pipelines.update(pipelines)
        state.cursor = cursor
        state.finished = cursor is None
        if page % _AT_ONCE == 0 or state.finished:
            _save_state(folder, state, writer, deidentifier)
        progress(state.rows)
    if not state.finished:
        state.finished = True
        _save_state(folder, state, writer, deidentifier)


def _save_state(folder: Path, state: _State, writer: Writer, deidentifier: Deidentifier | None) -> None:
    # first the rows, then that they are there
    state.written = writer.checkpoint()
    if deidentifier is not None:
        state.replaced = Counter(deidentifier.counts)
    _write_json(folder / _STATE, vars(state))


def _read_state(folder: Path, request: dict[str, Any]) -> _State:
    try:
        held: dict[str, Any] = json.loads((folder / _STATE).read_text("utf-8"))
    except FileNotFoundError:
        return _State(request, utc_text(dt.datetime.now(dt.UTC)))
    if held["request"] != request:
        raise UsageError(
            f"{folder} holds an unfinished export of something else; delete it, or give --out another name"
        )
    for name in ("pipelines", "replaced"):
        held[name] = Counter(held[name])
    return _State(**held)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only process that writes there, as long as the block lasts."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(
                f"another process writes {folder}; wait for it, or give --out another name"
            ) from None
        yield
    finally:
        os.close(descriptor)


def columns_of(request: Request) -> Sequence[Column]:
    """The columns of its table."""
    if request.what is What.LABELS:
        return label_columns(request.labels)
    return FINDING_COLUMNS if request.what is What.FINDINGS else REPORT_COLUMNS


def _writer(request: Request, folder: Path, written: int) -> Writer:
    if request.format is Format.CSV:
        return CsvWriter(folder, written, columns_of(request), with_mark=request.excel)
    if request.format is Format.PARQUET:
        return ParquetWriter(folder, written, columns_of(request))
    return LinesWriter(folder, written)


def _source(
    database: Database, request: Request, deidentifier: Deidentifier | None, cursor: str | int | None
) -> Iterator[_Rows]:
    if deidentifier is not None:
        return _deidentified(database, request, deidentifier, int(cursor or 0))
    if request.what is What.FINDINGS:
        return _findings(database, request.filters, None if cursor is None else str(cursor))
    return _reports(database, request, int(cursor or 0))


def _findings(database: Database, filters: Filters, cursor: str | None) -> Iterator[_Rows]:
    for page in iterate_findings(database, filters, cursor):
        headers = headers_of(database, {f.sop_instance_uid for f in page.findings})
        # a report that was replaced since the page was read has another version now
        found = [f for f in page.findings if f.sop_instance_uid in headers]
        records = [finding_record(f, headers[f.sop_instance_uid]) for f in found]
        yield records, [f.pipeline for f in found], page.next


def _reports(database: Database, request: Request, cursor: int) -> Iterator[_Rows]:
    for page in iterate_reports(database, request.filters, cursor):
        yield (*_of_reports(page, request), page[-1].header.object_id)


def _of_reports(page: Sequence[ExportedReport], request: Request) -> tuple[list[Record], list[str]]:
    pipelines = [e.report.analysis.pipeline for e in page if e.report.analysis]
    return [_report_row(e, request) for e in page], pipelines


def _report_row(exported: ExportedReport, request: Request) -> Record:
    if request.format is Format.FHIR:
        return report_bundle(exported)
    if request.what is What.LABELS:
        return label_record(exported, request.label_set, request.labels)
    return report_record(exported)


def _deidentified(database: Database, request: Request, deidentifier: Deidentifier, cursor: int) -> Iterator[_Rows]:
    """In the order of what stands for the reports: by date, or as they came, it would tell their true dates."""
    number = deidentifier.pseudonyms.number
    ordered = sorted((number("order", i) << 63) | i for i in report_ids(database, request.filters))
    rest = iter(ordered[bisect_right(ordered, cursor) :])
    while keys := list(islice(rest, PAGE)):
        ids = [key & ((1 << 63) - 1) for key in keys]
        if request.what is What.FINDINGS:
            yield (*_cleaned_findings(findings_that_fit(database, request.filters, ids), deidentifier), keys[-1])
        else:
            exported = exported_reports(database, ids)
            cleaned = deidentifier.reports([e.report.sop_instance_uid for e in exported])
            page = [
                deidentifier.exported(e, by)
                for e in exported
                if (by := cleaned.get(e.report.sop_instance_uid)) is not None
                and deidentifier.is_of(by, e.report.report.narrative.text if e.report.report else "")
            ]
            yield (*_of_reports(page, request), keys[-1])


def _cleaned_findings(found: list[list[StoredFinding]], deidentifier: Deidentifier) -> tuple[list[Record], list[str]]:
    cleaned = deidentifier.reports([findings[0].sop_instance_uid for findings in found if findings])
    each = [
        (f, by)
        for of_report in found
        for f in of_report
        if (by := cleaned.get(f.sop_instance_uid)) is not None
        and deidentifier.is_of(by, f.finding.text, f.finding.start, f.finding.end)
    ]
    return [finding_record(deidentifier.finding(f, by), by.header) for f, by in each], [f.pipeline for f, _ in each]


def _manifest(request: Request, state: _State, whole: Path, out: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with whole.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return {
        "file": out.name,
        "bytes": whole.stat().st_size,
        "sha256": digest.hexdigest(),
        "rows": state.rows,
        "format": request.format.value,
        "what": request.what.value,
        **({"label_set": request.label_set} if request.label_set else {}),
        "filters": _told(request.asked, hidden=_OF_ONE if request.deidentify else ()),
        "pipelines": dict(sorted(state.pipelines.items())),
        "program": f"dicomnlp {__version__}",
        "started_at": state.started_at,
        "finished_at": utc_text(dt.datetime.now(dt.UTC)),
        "deidentified": _told_of_cleaning(state) if request.deidentify else None,
    }


def _told(filters: Filters, *, hidden: Sequence[str]) -> dict[str, Any]:
    return {name: "[hidden]" if name in hidden else value for name, value in filters.to_json().items()}


def _told_of_cleaning(state: _State) -> dict[str, Any]:
    counts = {name: number for name, number in sorted(state.replaced.items()) if name != WITHHELD}
    return {
        **_REMAINS,
        "replaced_in_texts": counts,
        "reports_withheld": state.replaced[WITHHELD],
    }


def _write_json(file: Path, value: Any) -> None:
    """Write `value` so that the file is the old one or the new one, whatever happens."""
    unfinished = file.with_name(f".{file.name}.new")
    # the manifest holds the filters, and these a Patient ID or words of a report where somebody asked for them
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        json.dump(value, out, ensure_ascii=False, indent=1)
        out.write("\n")
        out.flush()
        os.fsync(out.fileno())
    unfinished.replace(file)
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
