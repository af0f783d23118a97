"""The ``reprocess`` command: stored objects analysed again, while someone watches."""

import contextlib
import datetime as dt
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Self

import rich.progress
import typer

from dicomnlp.cli.auditing import open_audited
from dicomnlp.cli.context import STOPPED, analysing, checked_uid, err, write_line
from dicomnlp.cli.differences import show_differences
from dicomnlp.cli.filter_options import day
from dicomnlp.cli.pipelines import names_by, read_by_active
from dicomnlp.cli.stopping import stoppable
from dicomnlp.errors import AlreadyRunningError, NotFoundError
from dicomnlp.model import State

if TYPE_CHECKING:
    from dicomnlp.store.database import Database

STALLED_SECONDS = 30.0
"""Without anything done for so long, the watcher is told where to look."""


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command()(reprocess)


def _checked_uids(texts: list[str]) -> list[str]:
    return [checked_uid(text) for text in texts]


def reprocess(
    context: typer.Context,
    uids: Annotated[
        list[str] | None, typer.Argument(callback=lambda v: _checked_uids(v or []), help="Study or SOP Instance UIDs.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every stored object.")] = False,
    outdated: Annotated[
        bool, typer.Option("--outdated", help="Objects last analysed by another pipeline than today's.")
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Objects that failed.")] = False,
    date_from: Annotated[
        dt.date | None,
        typer.Option("--from", parser=day, metavar="DATE", help="Only of studies since this day; alone: all of them."),
    ] = None,
    date_to: Annotated[
        dt.date | None,
        typer.Option("--to", parser=day, metavar="DATE", help="Only of studies to this day; alone: all of them."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell how many objects it would be; do nothing.")] = False,
    diff: Annotated[
        bool,
        typer.Option(
            "--diff",
            help="Tell, finding by finding, what would change; do nothing. One process reads the objects here and now.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --diff: one JSON object a line and object.")] = False,
    character_set: Annotated[
        str | None,
        typer.Option(
            "--character-set",
            metavar="TERM",
            help="For named UIDs: the character set that these are really in, as a defined term (ISO_IR 101) or a "
            "Python codec (cp1250), from now on; `declared` believes the objects again.",
        ),
    ] = None,
) -> None:
    """Analyse stored objects again with the pipeline that counts: the configured one, unless another is promoted.

    Findings stay as they are until the new ones replace them; those of other pipelines are kept. New arrivals go
    first. Stopping loses nothing: the same command goes on where it stopped, and so does a running service.

    Example: dicomnlp reprocess --outdated --from 2026-01-01 --diff
    """
    from dicomnlp.extract import stated_codecs
    from dicomnlp.store.pipelines import read_active
    from dicomnlp.store.reprocess import Selection, read_run, selected_objects, start_run, state_character_set
    from dicomnlp.work.dispatcher import work_through

    everything = everything or (not (uids or outdated or failed) and (date_from or date_to) is not None)
    if sum([bool(uids), everything, outdated, failed]) != 1:
        raise typer.BadParameter("name UIDs, or one of --all, --outdated, --failed, --from and --to")
    if dry_run and diff:
        raise typer.BadParameter("--diff does nothing else anyway: leave --dry-run out")
    if as_json and not diff:
        raise typer.BadParameter("--json goes with --diff")
    if character_set is not None and (dry_run or diff):
        raise typer.BadParameter("--character-set states something, which --dry-run and --diff don't")
    if character_set is not None:
        if not uids:
            raise typer.BadParameter("--character-set needs the UIDs of the objects that it is for")
        character_set = "" if character_set == "declared" else character_set
        if character_set:
            stated_codecs(character_set)
    settings = analysing(context)
    database = open_audited(context, "admin")
    if character_set is not None:
        state_character_set(database, uids or (), character_set)
    active = read_active(database)
    pipelines = tuple(names_by(settings, database, active.name).values()) if outdated else ()
    selection = Selection(tuple(uids or ()), everything, failed, pipelines, date_from, date_to)
    if dry_run or diff:
        ids = selected_objects(database, selection)
        if diff:
            read_by_active(database)
            show_differences(settings, database, ids, as_json=as_json)
        else:
            write_line(f"{len(ids)} objects would be analysed again")
        database.close()
        return
    held_back = _in_quarantine(database, uids or ())
    run = start_run(database, selection)
    if run.resumed:
        err.print(f"going on with the run that was stopped: {run.done} of {run.total} done")
    for uid in held_back:
        err.print(f"{uid}: in quarantine, not analysed before it is assigned; see dicomnlp quarantine", soft_wrap=True)
    try:
        with stoppable() as stop, _Watch(run.done, run.total) as watch:
            try:
                work_through(settings, database, run.id, watch.see, stop)
            except AlreadyRunningError:
                watch.say("a running service does the work; Ctrl-C leaves it to it")
                while run.done < run.total and not stop.wait(0.5):
                    run = read_run(database, run.id)
                    watch.see(run.done, run.total)
        run = read_run(database, run.id)
    finally:
        database.close()
    write_line(f"{run.done} of {run.total} done, {run.failed} failed")
    if run.failed:
        err.print("dicomnlp failures tells why")
    if run.done < run.total:
        err.print("stopped; go on with the same command")
        raise typer.Exit(STOPPED)
    if run.failed or held_back:
        raise typer.Exit(1)


def _in_quarantine(database: "Database", uids: Sequence[str]) -> list[str]:
    """SOP Instance UIDs of what is named by `uids` and in quarantine, which reprocessing leaves there."""
    from dicomnlp.store.queries import reports_of_instance, reports_of_study

    found: dict[str, None] = {}
    for uid in uids:
        for reports_of in (reports_of_study, reports_of_instance):
            with contextlib.suppress(NotFoundError):  # it is one or the other; start_run refuses what is neither
                reports = reports_of(database, uid)
                found.update((r.sop_instance_uid, None) for r in reports if r.state is State.QUARANTINED)
    return list(found)


class _Watch:
    """A progress bar that says when nothing moves."""

    def __init__(self, done: int, total: int) -> None:
        self._progress = rich.progress.Progress(
            "{task.description}",
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            console=err,
        )
        self._task = self._progress.add_task("reprocessing", total=total, completed=done)
        self._done, self._moved, self._told = done, time.monotonic(), False

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, soft_wrap=True)

    def see(self, done: int, total: int) -> None:
        """Show how far it is."""
        self._progress.update(self._task, completed=done, total=total)
        now = time.monotonic()
        if done != self._done:
            self._done, self._moved, self._told = done, now, False
        elif done < total and not self._told and now - self._moved >= STALLED_SECONDS:
            self._told = True
            self.say(f"nothing was done for {STALLED_SECONDS:g} s; dicomnlp status tells what is pending")
