"""Commands of the administrator: reprocess, status, failures, db, check."""

import json
import time
from pathlib import Path
from typing import Annotated

import rich.progress
import rich.table
import typer

from dicomnlp.cli.checking import run_checks
from dicomnlp.cli.context import checked_uid, err, open_database, out, settings_of, write_line
from dicomnlp.errors import AlreadyRunningError
from dicomnlp.model import utc_text

database_app = typer.Typer(help="The database: upgrade, check, backup.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command()(reprocess)
    app.command()(status)
    app.command()(failures)
    app.command()(check)
    app.add_typer(database_app, name="db")


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
    """Analyse stored objects again with the pipeline now configured.

    Findings stay as they are until the new ones replace them; those of other pipelines are kept. New arrivals go
    first. Stopping loses nothing: the same command goes on where it stopped, and so does a running service.

    Example: dicomnlp reprocess --outdated
    """
    from dicomnlp.analyse import languages, pipeline_name
    from dicomnlp.extract import stated_codecs
    from dicomnlp.store.reprocess import Selection, read_run, start_run, state_character_set
    from dicomnlp.work.dispatcher import work_through

    if sum([bool(uids), everything, outdated, failed]) != 1:
        raise typer.BadParameter("name UIDs, or one of --all, --outdated, --failed")
    if character_set is not None:
        if not uids:
            raise typer.BadParameter("--character-set needs the UIDs of the objects that it is for")
        character_set = "" if character_set == "declared" else character_set
        if character_set:
            stated_codecs(character_set)
    settings = settings_of(context)
    database = open_database(context)
    if character_set is not None:
        state_character_set(database, uids or (), character_set)
    pipelines = tuple(pipeline_name(code) for code in languages()) if outdated else ()
    run = start_run(
        database,
        Selection(uids=tuple(uids or ()), everything=everything, failed=failed, outdated_pipelines=pipelines),
    )
    if run.resumed:
        err.print(f"going on with the run that was stopped: {run.done} of {run.total} done")
    progress = rich.progress.Progress(
        "[progress.description]{task.description}",
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
        console=err,
    )
    task = progress.add_task("reprocessing", total=run.total, completed=run.done)
    try:
        with progress:
            try:
                work_through(
                    settings, database, run.id, lambda done, total: progress.update(task, completed=done, total=total)
                )
            except AlreadyRunningError:
                err.print("a running service does the work; Ctrl-C leaves it to it")
                while run.done < run.total:
                    time.sleep(0.5)
                    run = read_run(database, run.id)
                    progress.update(task, completed=run.done, total=run.total)
        run = read_run(database, run.id)
    finally:
        database.close()
    write_line(f"{run.done} of {run.total} reprocessed, {run.failed} failed")
    if run.failed or run.done < run.total:
        raise typer.Exit(1)


def status(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False
) -> None:
    """Show counts by state, rates, the oldest pending object, storage and versions.

    Example: dicomnlp status --json
    """
    from dicomnlp.store.status import read_status

    database = open_database(context)
    record = read_status(database).to_json()
    database.close()
    if as_json:
        write_line(json.dumps(record))
        return
    table = rich.table.Table("", "", show_header=False)
    for key, value in record.items():
        if isinstance(value, dict):
            for inner, count in value.items():
                table.add_row(f"{key.replace('_', ' ')}: {inner}", str(count))
        else:
            table.add_row(key.replace("_", " "), "-" if value is None else str(value))
    out.print(table)


def failures(
    context: typer.Context,
    retry: Annotated[bool, typer.Option("--retry", help="Let failed objects be processed again.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest are shown.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a failure.")] = False,
) -> None:
    """Show refused, quarantined and failed objects with their reason codes, newest first.

    Example: dicomnlp failures --retry
    """
    from dicomnlp.store.status import read_failures, retry_failed

    database = open_database(context)
    if retry:
        count = retry_failed(database)
        database.close()
        write_line(f"{count} failed objects wait for another try")
        return
    rows = read_failures(database, limit)
    database.close()
    if as_json:
        for row in rows:
            write_line(json.dumps(row.to_json()))
        return
    if not rows:
        out.print("no failures")
        return
    table = rich.table.Table("when", "state", "reason", "attempts", "SOP instance", "study", "sender")
    for row in rows:
        table.add_row(
            utc_text(row.at),
            row.kind,
            row.reason_code or "",
            str(row.attempts),
            row.sop_instance_uid,
            row.study_instance_uid,
            row.calling_ae_title,
        )
    out.print(table)


def check(context: typer.Context) -> None:
    """Validate configuration, language packs, database and ports, and say what to mend.

    Example: dicomnlp --config /etc/dicomnlp/config.toml check
    """
    settings = settings_of(context)
    failed = False
    for result in run_checks(settings):
        failed |= not result.ok
        mark = "ok   " if result.ok else "MEND "
        write_line(f"{mark} {result.name}: {result.message}")
    if failed:
        raise typer.Exit(1)


@database_app.command("upgrade")
def upgrade(context: typer.Context) -> None:
    """Create the database, or bring it to this version's schema; safe to repeat.

    Example: dicomnlp db upgrade
    """
    from dicomnlp.store import admin

    admin.upgrade(settings_of(context))
    write_line("database is up to date")


@database_app.command("check")
def check_database(context: typer.Context) -> None:
    """Compare the database's schema with the one that this version needs, and read a SQLite file through for damage.

    Example: dicomnlp db check
    """
    from dicomnlp.store import admin

    open_database(context).close()
    admin.verify(settings_of(context))
    write_line("database is up to date and undamaged")


@database_app.command("backup")
def backup(
    context: typer.Context, path: Annotated[Path, typer.Argument(help="File to write; must not exist.")]
) -> None:
    """Copy a SQLite database while the service runs.

    Example: dicomnlp db backup /backup/dicomnlp-2026-11-22.db
    """
    from dicomnlp.store import admin

    admin.backup(settings_of(context), path)
    write_line(f"written: {path}")
