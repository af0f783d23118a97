"""``export``: findings and reports as files for others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import rich.progress
import typer

from dicomnlp.cli.auditing import local_user
from dicomnlp.cli.context import err, open_database, write_line
from dicomnlp.cli.context import out as console
from dicomnlp.cli.filter_options import expanded, takes_filters
from dicomnlp.errors import DicomnlpError, UsageError
from dicomnlp.export.kinds import Format, What
from dicomnlp.store.search_filters import Filters

if TYPE_CHECKING:
    from dicomnlp.export.run import Request
    from dicomnlp.store.database import Database


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command()(takes_filters(export))


def export(
    context: typer.Context,
    file_format: Annotated[
        Format, typer.Option("--format", help="csv, jsonl, parquet, or fhir: a line of JSON with one Bundle a report.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write; it must not be there yet.")],
    filters: Filters,
    what: Annotated[
        What | None,
        typer.Option(
            "--what",
            help="findings: a row a finding that fits (default). reports: whole reports with one that fits; fhir always"
            " is of these. labels: a row a report, a column a label.",
        ),
    ] = None,
    labels: Annotated[str, typer.Option("--set", help="The label set of --what labels.")] = "chexpert14",
    cohort: Annotated[
        str | None, typer.Option("--cohort", metavar="NAME", help="The filters of this cohort; no others then.")
    ] = None,
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="Without identities: removed or replaced, dates shifted.")
    ] = False,
    excel: Annotated[
        bool, typer.Option("--excel", help="CSV that Excel reads with Chinese characters (a byte order mark).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as one JSON object.")] = False,
) -> None:
    """Write findings or reports that fit all filters to a file, and beside it FILE.manifest.json.

    Called again after it was stopped, it goes on where it was; the file bears its name once it is whole.

    Example: dicomnlp export --format csv --out nodules.csv --concept pulmonary_nodule --assertion present --deidentify
    """
    import json

    from dicomnlp.export.run import export as run
    from dicomnlp.store.cohorts import read_cohort

    if cohort is not None and filters.to_json():
        raise typer.BadParameter("a cohort has its filters; add none to it", param_hint="--cohort")
    if excel and file_format is not Format.CSV:
        raise typer.BadParameter("goes with --format csv", param_hint="--excel")
    if file_format is Format.FHIR and what not in {None, What.REPORTS}:
        raise typer.BadParameter("bundles are of reports", param_hint="--what")
    database = open_database(context)
    try:
        if cohort is not None:
            filters = read_cohort(database, cohort).filters
        what = what or (What.REPORTS if file_format is Format.FHIR else What.FINDINGS)
        request = _request(file_format, what, filters, labels, deidentify=deidentify, excel=excel)
        with _audited(database, request) as counted, _progress(database, request) as progress:
            manifest = run(database, request, out, progress=progress)
            counted(manifest["rows"])
    finally:
        database.close()
    if as_json:
        write_line(json.dumps(manifest, ensure_ascii=False))
        return
    rows = "row" if manifest["rows"] == 1 else "rows"
    console.print(f"{manifest['rows']:,} {rows} in {out}, sha256 {manifest['sha256']}", soft_wrap=True)
    if manifest["deidentified"]:
        replaced = manifest["deidentified"]["replaced_in_texts"]
        told = ", ".join(f"{number:,} {kind.replace('_', ' ')}" for kind, number in replaced.items()) or "nothing"
        err.print(f"replaced in texts: {told}", soft_wrap=True)
        withheld = manifest["deidentified"]["reports_withheld"]
        if withheld:
            err.print(f"{withheld:,} reports are left out: their originals can't be read", soft_wrap=True)
        err.print(
            f"what may remain is said in {out}.manifest.json: read it before you give the file away", soft_wrap=True
        )


def _request(
    file_format: Format, what: What, filters: Filters, labels: str, *, deidentify: bool, excel: bool
) -> "Request":
    from dicomnlp.export.run import Request

    label_set, names = ("", ()) if what is not What.LABELS else _labels(labels)
    return Request(
        format=file_format,
        what=what,
        filters=expanded(filters),
        asked=filters,
        deidentify=deidentify,
        label_set=label_set,
        labels=names,
        excel=excel,
    )


def _labels(name: str) -> tuple[str, tuple[str, ...]]:
    from dicomnlp.analyse import load_pack

    known = {labels.set: tuple(labels.labels) for labels in load_pack().label_sets}
    if name not in known:
        raise UsageError(f"no label set {name!r}; there are {', '.join(known)}")
    return name, known[name]


@contextmanager
def _progress(database: "Database", request: "Request") -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, of how many rows there are to be."""
    from dicomnlp.store.exports import count_reports
    from dicomnlp.store.search import count_findings

    columns = (
        "[progress.description]{task.description}",
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    if not err.is_terminal:
        yield lambda _: None
        return
    of_findings = request.what is What.FINDINGS
    total = (
        count_findings(database, request.filters).findings if of_findings else count_reports(database, request.filters)
    )
    with rich.progress.Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("exporting", total=total)
        yield lambda rows: progress.update(task, completed=rows)


@contextmanager
def _audited(database: "Database", request: "Request") -> Iterator[Callable[[int], None]]:
    """That it began is in the trail before anything leaves, and how it ended after."""
    from dicomnlp.audit.events import AuditEvent, Kind, Outcome, recorded
    from dicomnlp.audit.trail import record

    asked = [("format", request.format.value), ("what", request.what.value)]
    asked += [("deidentify", "true" if request.deidentify else "false")]
    for name, value in request.asked.to_json().items():
        asked += [(name, ",".join(map(str, value)) if isinstance(value, list) else str(value))]

    def note(action: str, outcome: Outcome, count: int | None = None) -> None:
        event = AuditEvent(
            Kind.EXPORT,
            local_user(),
            "",
            outcome,
            query=recorded(asked),
            count=count,
            action=action,
            role="admin",
        )
        record(database, event)

    rows: list[int] = []
    note("export begins", Outcome.SUCCESS)
    try:
        yield rows.append
    except UsageError:
        note("export", Outcome.REFUSED)
        raise
    except (DicomnlpError, OSError, KeyboardInterrupt):
        note("export", Outcome.FAILED)
        raise
    note("export", Outcome.SUCCESS, rows[-1])
