"""Commands that search all studies, and the searches that are kept: `search` and `cohort`."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import rich.text
import typer

from dicomnlp.cli.auditing import open_audited
from dicomnlp.cli.context import err, out, write_line
from dicomnlp.cli.filter_options import expanded, require_some, takes_filters
from dicomnlp.cli.findings_output import FindingsCsv, write_findings_json
from dicomnlp.cli.reading import STYLES, size_text
from dicomnlp.cli.tables import print_records
from dicomnlp.store.search_filters import Filters

if TYPE_CHECKING:
    from dicomnlp.store.answers import StoredFinding
    from dicomnlp.store.database import Database

_SHOWN = 50
"""Findings in a table, unless more are asked for: nobody reads thousands in a terminal."""
_PAGE = 200

cohort = typer.Typer(
    no_args_is_help=True,
    help="Searches that are kept under a name.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command()(takes_filters(search))
    cohort.command("save")(takes_filters(save))
    cohort.command("list")(list_cohorts)
    cohort.command("show")(show)
    cohort.command("delete")(delete)
    app.add_typer(cohort, name="cohort")


def search(
    context: typer.Context,
    filters: Filters,
    cohort_name: Annotated[
        str | None, typer.Option("--cohort", metavar="NAME", help="The filters of this cohort; no others then.")
    ] = None,
    count: Annotated[
        bool, typer.Option("--count", help="Only how many findings, reports, studies and patients there are.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help=f"So many findings at most; a table shows {_SHOWN} unless told otherwise."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array; with --count an object.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A table with a header line.")] = False,
) -> None:
    """Search findings over all studies, the newest study first; all filters given must fit.

    Example: dicomnlp search --concept pulmonary_nodule --assertion present --min-size 6 --modality CT --from 2026-01-01
    """
    from dicomnlp.store.cohorts import read_cohort
    from dicomnlp.store.search import count_findings

    if as_csv and (as_json or count):
        raise typer.BadParameter("choose one of --json, --csv and --count; --count goes with --json")
    if cohort_name is not None and filters.to_json():
        raise typer.BadParameter("a cohort has its filters; add none to it", param_hint="--cohort")
    database = open_audited(context, "query")
    try:
        if cohort_name is not None:
            filters = read_cohort(database, cohort_name).filters
        filters = expanded(filters)
        if count:
            counts = count_findings(database, filters)
            named = [(name, getattr(counts, name)) for name in ("findings", "reports", "studies", "patients")]
            if as_json:
                write_line(json.dumps(dict(named)))
            else:
                out.print(", ".join(f"{number:,} {name}" for name, number in named))
        elif as_json:
            write_findings_json(_pages(database, filters, limit))
        elif as_csv:
            table = FindingsCsv(sys.stdout)
            for page in _pages(database, filters, limit):
                table.write(page)
        else:
            _print(database, filters, limit or _SHOWN)
    finally:
        database.close()


def _pages(database: "Database", filters: Filters, limit: int | None) -> Iterator[list["StoredFinding"]]:
    """What is found, some hundred at a time."""
    from dicomnlp.store.search import search_findings

    after, left = None, limit
    while left is None or left > 0:
        page = search_findings(database, filters, after=after, limit=_PAGE if left is None else min(_PAGE, left))
        yield page.findings
        left = None if left is None else left - len(page.findings)
        after = page.next
        if after is None:
            return


def _print(database: "Database", filters: Filters, limit: int) -> None:
    """A table for each some hundred; that there is more is told."""
    shown = 0
    for page in _pages(database, filters, limit):
        shown += len(page)
        if page:
            _print_page(page)
    if not shown:
        out.print("no findings")
    elif shown == limit:
        err.print(f"the first {limit}, newest study first; --limit shows more, --count how many there are")


def _print_page(findings: list["StoredFinding"]) -> None:
    print_records(
        ("study", "concept", "assertion", "side", "anatomy", "size", "sentence"),
        [
            (
                stored.study_instance_uid,
                stored.finding.concept.meaning,
                rich.text.Text(stored.finding.assertion.value, STYLES[stored.finding.assertion]),
                stored.finding.laterality.value if stored.finding.laterality else "",
                stored.finding.anatomy.meaning if stored.finding.anatomy else "",
                "; ".join(size_text(m) for m in stored.finding.measurements),
                " ".join(stored.finding.sentence.split()),
            )
            for stored in findings
        ],
    )


_Name = Annotated[str, typer.Argument(metavar="NAME", help="The cohort's name.")]


def save(
    context: typer.Context,
    name: _Name,
    filters: Filters,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of a cohort of that name.")] = False,
) -> None:
    """Keep filters under a name: `search --cohort NAME` finds what fits them then.

    Example: dicomnlp cohort save nodules --concept pulmonary_nodule --assertion present --without lung_cancer
    """
    from dicomnlp.store.cohorts import save_cohort

    require_some(filters)
    expanded(filters)  # refuses what isn't known, before it is kept
    database = open_audited(context, "admin")
    try:
        save_cohort(database, name, filters, created_by="", replace=replace)
    finally:
        database.close()
    out.print(f"saved; dicomnlp search --cohort {name}", soft_wrap=True)


def list_cohorts(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="A JSON array.")] = False
) -> None:
    """List the cohorts with their filters.

    Example: dicomnlp cohort list
    """
    from dicomnlp.store.cohorts import cohorts

    database = open_audited(context, "query")
    try:
        found = cohorts(database)
    finally:
        database.close()
    if as_json:
        write_line(json.dumps([c.to_json() for c in found], ensure_ascii=False))
    elif found:
        print_records(
            ("name", "created", "by", "filters"),
            [(c.name, f"{c.created_at:%Y-%m-%d %H:%M}", c.created_by, _told(c.filters)) for c in found],
        )
    else:
        out.print("no cohorts")


def show(
    context: typer.Context,
    name: _Name,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show a cohort: its filters, and how much fits them now.

    Example: dicomnlp cohort show nodules
    """
    from dicomnlp.store.cohorts import read_cohort
    from dicomnlp.store.search import count_findings

    database = open_audited(context, "query")
    try:
        found = read_cohort(database, name)
        counts = count_findings(database, expanded(found.filters))
    finally:
        database.close()
    numbers = {key: getattr(counts, key) for key in ("findings", "reports", "studies", "patients")}
    if as_json:
        write_line(json.dumps({**found.to_json(), **numbers}, ensure_ascii=False))
        return
    rows = [("filters", _told(found.filters)), *((key, f"{number:,}") for key, number in numbers.items())]
    print_records((found.name, ""), rows)


def delete(context: typer.Context, name: _Name) -> None:
    """Delete a cohort; what it found stays.

    Example: dicomnlp cohort delete nodules
    """
    from dicomnlp.store.cohorts import delete_cohort

    database = open_audited(context, "admin")
    try:
        delete_cohort(database, name)
    finally:
        database.close()
    out.print("deleted")


def _told(filters: Filters) -> str:
    values = filters.to_json()
    return ", ".join(f"{k} {' or '.join(map(str, v)) if isinstance(v, list) else v}" for k, v in values.items())
