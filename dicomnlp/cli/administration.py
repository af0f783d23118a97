"""Commands of the administrator: status, failures, db, check."""

import json
import sys
from pathlib import Path
from typing import Annotated

import rich.table
import typer

from dicomnlp.cli.auditing import open_audited
from dicomnlp.cli.checking import run_checks
from dicomnlp.cli.context import open_database, out, settings_of, write_line
from dicomnlp.cli.tables import print_records
from dicomnlp.errors import UsageError
from dicomnlp.model import utc_text

database_app = typer.Typer(help="The database: upgrade, check, backup.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command()(status)
    app.command()(failures)
    app.command()(check)
    app.command()(hash_passcode)
    app.add_typer(database_app, name="db")


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

    database = open_audited(context, "admin" if retry else "query")
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
    print_records(
        ("when", "state", "reason", "attempts", "SOP instance", "study", "sender"),
        [
            (
                utc_text(row.at),
                row.kind,
                row.reason_code or "",
                str(row.attempts),
                row.sop_instance_uid,
                row.study_instance_uid,
                row.calling_ae_title,
            )
            for row in rows
        ],
    )


def check(
    context: typer.Context,
    peer: Annotated[
        str | None,
        typer.Option("--peer", metavar="HOST:PORT", help="Look at this DICOM peer instead, as a sender would."),
    ] = None,
    called: Annotated[str, typer.Option("--called", help="With --peer: AE title to call.")] = "ANY-SCP",
    calling: Annotated[
        str | None, typer.Option("--calling", help="With --peer: AE title to call by; default: listener.ae_title.")
    ] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="With --peer: speak TLS, with certificate and authorities of [tls].")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --peer: one JSON object.")] = False,
) -> None:
    """Validate configuration, language packs, database and ports, and say what to mend; or show what a peer would take.

    Of a peer: TLS, association, C-ECHO, and which SOP classes it accepts in which transfer syntaxes. It is sent
    nothing else.

    Example: dicomnlp check --peer pacs.example.org:104 --called PACS
    """
    settings = settings_of(context)
    if peer is not None:
        from dicomnlp.cli.peers import show_peer

        show_peer(
            settings, peer, called=called, calling=calling or settings.listener.ae_title, tls=tls, as_json=as_json
        )
        return
    failed = False
    for result in run_checks(settings):
        failed |= not result.ok
        mark = "ok   " if result.ok else "MEND "
        write_line(f"{mark} {result.name}: {result.message}")
    if failed:
        raise typer.Exit(1)


def hash_passcode() -> None:
    """Hash a passcode for `users` of a [[peers]] table: asks for it, or reads one line of standard input.

    Example: dicomnlp hash-passcode
    """
    from dicomnlp.receive.passcodes import MAXIMUM_PASSCODE_BYTES
    from dicomnlp.receive.passcodes import hash_passcode as hash_of

    passcode: str = (
        typer.prompt("Passcode", hide_input=True, confirmation_prompt=True, err=True)
        if sys.stdin.isatty()
        else sys.stdin.readline().rstrip("\r\n")
    )
    encoded = passcode.encode()
    if not 1 <= len(encoded) <= MAXIMUM_PASSCODE_BYTES:
        raise UsageError(f"a passcode has 1 to {MAXIMUM_PASSCODE_BYTES} bytes")
    write_line(hash_of(encoded))


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
