"""The ``reconcile`` command: what an archive holds, compared with what was received."""

import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import rich.progress
import typer

from dicomnlp.cli.auditing import local_user, open_audited
from dicomnlp.cli.context import STOPPED, err, out, settings_of, write_line
from dicomnlp.cli.filter_options import day
from dicomnlp.cli.tables import print_records
from dicomnlp.config import Settings
from dicomnlp.errors import ConfigurationError, PacsError, UsageError
from dicomnlp.pacs_settings import PacsSettings

if TYPE_CHECKING:
    from dicomnlp.store.database import Database
    from dicomnlp.store.reconciliation import Comparison, Wanting

_MAXIMUM_DAYS = 3660


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command()(reconcile)


def reconcile(
    context: typer.Context,
    date: Annotated[
        dt.date | None,
        typer.Option("--date", parser=day, metavar="DATE", help="Studies of this day, not yesterday."),
    ] = None,
    date_from: Annotated[
        dt.date | None, typer.Option("--from", parser=day, metavar="DATE", help="Studies since this day, to yesterday.")
    ] = None,
    date_to: Annotated[
        dt.date | None, typer.Option("--to", parser=day, metavar="DATE", help="With --from: studies to this day.")
    ] = None,
    pacs: Annotated[
        str | None, typer.Option("--pacs", metavar="NAME", help="Only this of [[pacs]]; else all that can be asked.")
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch what was never received, or was refused, from the archive.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, archive and day.")] = False,
) -> None:
    """Compare the reports that an archive holds of a day with those that were received.

    Lists what never came, what came and failed, and what was analysed by an older pipeline (`dicomnlp reprocess
    --outdated` analyses these again). What is fetched by C-MOVE comes to the listener, which must be running. Stopping
    loses nothing: the same command goes on with what is still missing.

    Example: dicomnlp reconcile --from 2026-11-01 --to 2026-11-07 --fetch
    """
    days = _days(date, date_from, date_to)
    settings = settings_of(context)
    archives = _archives(settings, pacs)
    database = open_audited(context, "transfer" if fetch else "query")
    failed = stopped = False
    try:
        for archive in archives:
            for each in days:
                try:
                    failed |= not _reconcile(settings, database, archive, each, fetch=fetch, as_json=as_json)
                except (PacsError, ConfigurationError) as error:
                    failed = True
                    err.print(f"{archive.name} {each}: {error}", soft_wrap=True)
                    break
    except KeyboardInterrupt:
        stopped = True
    finally:
        database.close()
    if stopped:
        err.print("stopped; start it again to go on")
        raise typer.Exit(STOPPED)
    if failed:
        raise typer.Exit(1)


def _days(date: dt.date | None, date_from: dt.date | None, date_to: dt.date | None) -> list[dt.date]:
    if date is not None and (date_from or date_to) is not None:
        raise typer.BadParameter("name a day by --date, or days by --from and --to")
    if date_to is not None and date_from is None:
        raise typer.BadParameter("--to goes with --from")
    yesterday = dt.datetime.now().astimezone().date() - dt.timedelta(days=1)
    first = date or date_from or yesterday
    last = date or date_to or max(yesterday, first)
    count = (last - first).days + 1
    if not 1 <= count <= _MAXIMUM_DAYS:
        raise typer.BadParameter(f"--from to --to: 1 to {_MAXIMUM_DAYS} days, the first one first")
    return [first + dt.timedelta(days=n) for n in range(count)]


def _archives(settings: Settings, name: str | None) -> list[PacsSettings]:
    able = [each for each in settings.pacs if each.ae_title or each.qido_url]
    if name is None:
        if not able:
            raise ConfigurationError("no archive can be asked: name one in [[pacs]] of the configuration")
        return able
    found = [each for each in able if each.name == name]
    if not found:
        names = ", ".join(each.name for each in able) or "none"
        raise UsageError(f"--pacs: no archive of that name can be asked; there are: {names}")
    return found


def _reconcile(
    settings: Settings, database: "Database", pacs: PacsSettings, day: dt.date, *, fetch: bool, as_json: bool
) -> bool:
    """Compare one day, fetch if that is asked for, and print what came of it; whether nothing failed."""
    from dicomnlp.store.reconciliation import FetchState, read_comparison
    from dicomnlp.work.reconciling import compare_day

    with _progress(f"{pacs.name} {day}: studies") as (progress, task):
        number = compare_day(
            settings,
            database,
            pacs,
            day,
            requested_by=local_user(),
            fetches=fetch,
            on_study=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if fetch:
        _fetch(settings, database, pacs, day, number)
    found = read_comparison(database, number)
    assert found is not None
    _print(database, found, as_json=as_json)
    return found.reason_code is None and not found.fetches.get(FetchState.FAILED)


def _fetch(settings: Settings, database: "Database", pacs: PacsSettings, day: dt.date, number: int) -> None:
    from dicomnlp.store.reconciliation import FetchState, read_comparison
    from dicomnlp.store.reconciling import wanted
    from dicomnlp.work.reconciling import AT_ONCE, fetch_wanted

    found = read_comparison(database, number)
    assert found is not None
    with _progress(f"{pacs.name} {day}: fetching") as (progress, task):
        progress.update(task, total=found.fetches.get(FetchState.WANTED, 0))
        while objects := wanted(database, pacs.name, AT_ONCE, number=number):
            fetch_wanted(settings, database, pacs, objects, on_fetched=lambda _o, _r: progress.advance(task))


@contextlib.contextmanager
def _progress(description: str) -> Iterator[tuple[rich.progress.Progress, rich.progress.TaskID]]:
    progress = rich.progress.Progress(
        "{task.description}",
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
        console=err,
        transient=True,
    )
    with progress:
        yield progress, progress.add_task(description, total=None)


def _print(database: "Database", found: "Comparison", *, as_json: bool) -> None:
    objects = list(_wanting(database, found.id))
    if as_json:
        write_line(json.dumps({**found.to_json(), "wanting": [each.to_json() for each in objects]}))
        return
    from dicomnlp.store.reconciliation import FetchState, Gap

    day = dt.date.fromisoformat(found.study_date)
    gaps = ", ".join(f"{found.gaps.get(kind, 0)} {kind.value.replace('_', ' ')}" for kind in Gap)
    out.print(f"{found.pacs} {day}: {found.objects} reports of {found.studies} studies; {gaps}", soft_wrap=True)
    if found.waiting:
        out.print(f"{found.waiting} wait for their analysis")
    if found.reason_code is not None:
        rest = f"{found.unread_studies} studies couldn't be read" if found.unread_studies else "there may be more"
        err.print(f"the archive didn't tell all ({found.reason_code}): {rest}", soft_wrap=True)
    if found.fetches:
        out.print(", ".join(f"{found.fetches.get(state, 0)} {state.value}" for state in FetchState))
    if objects:
        print_records(("kind", "why", "SOP Instance UID", "Study Instance UID", "fetched"), [_row(o) for o in objects])


def _wanting(database: "Database", number: int) -> "Iterator[Wanting]":
    from dicomnlp.store.reconciliation import read_wanting

    after = None
    while True:
        page = read_wanting(database, number, after=after)
        yield from page.objects
        after = page.next
        if after is None:
            return


def _row(each: "Wanting") -> tuple[str, str, str, str, str]:
    fetched = "" if each.fetch_state is None else each.fetch_state.value
    reason = f" ({each.fetch_reason_code})" if each.fetch_reason_code else ""
    return (
        each.kind.value,
        each.reason_code or each.pipeline or "",
        each.object.sop_instance_uid,
        each.object.study_instance_uid,
        fetched + reason,
    )
