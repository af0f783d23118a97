"""Commands of the audit trail, and how other commands leave a row in it."""

import contextlib
import getpass
import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, cast

import typer

from dicomnlp.cli.context import checked_uid, err, moment, open_database, out, write_line
from dicomnlp.cli.tables import print_records
from dicomnlp.errors import UsageError
from dicomnlp.model import utc_text

if TYPE_CHECKING:
    from dicomnlp.audit.anchor import Place
    from dicomnlp.audit.events import AuditEvent, Kind, Outcome
    from dicomnlp.store.database import Database

audit_app = typer.Typer(help="The audit trail: who did what.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.add_typer(audit_app, name="audit")


def local_user() -> str:
    """Who is at this machine's terminal: "local:" and the user of the system, behind sudo the one who called it."""
    try:
        return f"local:{os.environ.get('SUDO_USER') or getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without a name
        return f"local:{os.getuid()}"


def open_audited(context: typer.Context, kind: str) -> "Database":
    """The database of a command that shows or changes patients' data; that it was called is in the trail by then.

    Parameters
    ----------
    context
        Of the command, whose name and options are recorded as those of a search are.
    kind
        A value of `audit.events.Kind`.

    Raises
    ------
    DatabaseError
        The database can't be used, or the trail not be written; then nothing is shown.
    """
    from dicomnlp.audit.events import AuditEvent, Kind, Outcome, recorded
    from dicomnlp.audit.trail import record

    options = [(name, _written(value)) for name, value in context.params.items() if value not in (None, False, (), [])]
    uid = context.params.get("study_instance_uid") or context.params.get("uid")
    database = open_database(context)
    try:
        record(
            database,
            AuditEvent(
                Kind(kind),
                local_user(),
                "",
                Outcome.SUCCESS,
                uid if isinstance(uid, str) else None,
                recorded(options),
                None,
                context.command_path.partition(" ")[2],
                "admin",
            ),
        )
    except BaseException:
        database.close()
        raise
    return database


def _written(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@contextlib.contextmanager
def audited(
    database: "Database",
    kind: "Kind",
    command: str,
    query: Iterable[tuple[str, str]] = (),
    *,
    study_instance_uid: str | None = None,
) -> Iterator[None]:
    """Record a command in the trail: what changes something when it has ended, however it did.

    What shows something is recorded before it is shown, with the same outcome as a request would have.

    Raises
    ------
    DatabaseError
        The trail can't be written; then nothing is shown.
    """
    from dicomnlp.audit.events import AuditEvent, Outcome, recorded
    from dicomnlp.audit.trail import record
    from dicomnlp.errors import DatabaseError, DicomnlpError

    def event(outcome: "Outcome") -> "AuditEvent":
        return AuditEvent(kind, local_user(), "", outcome, study_instance_uid, recorded(query), None, command, "admin")

    try:
        yield
    except DatabaseError:
        # the database failed: there is nowhere to write it
        raise
    except DicomnlpError:
        record(database, event(Outcome.REFUSED))
        raise
    except Exception:
        record(database, event(Outcome.FAILED))
        raise
    record(database, event(Outcome.SUCCESS))


@audit_app.command("show")
def show(
    context: typer.Context,
    kind: Annotated[str | None, typer.Option("--kind", help="query, view, export, admin, login ...")] = None,
    principal: Annotated[str | None, typer.Option("--principal", help="Name of a key or user, or AE title.")] = None,
    address: Annotated[str | None, typer.Option("--address", help="Network address.")] = None,
    outcome: Annotated[str | None, typer.Option("--outcome", help="success, refused or failed.")] = None,
    study: Annotated[str | None, typer.Option("--study", metavar="UID", help="Study Instance UID.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="From this moment on.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this moment.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a row.")] = False,
) -> None:
    """Show rows of the audit trail, the newest last. That it was read is a row, too.

    Example: dicomnlp audit show --kind login --outcome refused
    """
    from dicomnlp.audit.events import Kind, Outcome
    from dicomnlp.audit.reading import TrailFilters, read_trail

    filters = TrailFilters(
        cast("Kind | None", _one_of(Kind, "--kind", kind)),
        principal,
        address,
        cast("Outcome | None", _one_of(Outcome, "--outcome", outcome)),
        checked_uid(study) if study is not None else None,
        moment(since) if since is not None else None,
        moment(until) if until is not None else None,
    )
    options = {"kind": kind, "principal": principal, "address": address, "outcome": outcome}
    asked = [(name, value) for name, value in (options | {"since": since, "until": until}).items() if value]
    database = open_database(context)
    with audited(database, Kind.AUDIT, "audit show", asked, study_instance_uid=study):
        rows = read_trail(database, filters, limit)
    database.close()
    if as_json:
        for row in rows:
            write_line(json.dumps(row.to_json(), ensure_ascii=False))
        return
    if not rows:
        out.print("no such rows")
        return
    print_records(
        ("row", "when", "kind", "who", "role", "from", "outcome", "count", "study", "what"),
        [
            (
                str(row.id),
                utc_text(row.at),
                row.kind,
                row.principal,
                row.role,
                row.address,
                row.outcome,
                "" if row.count is None else str(row.count),
                row.study_instance_uid or "",
                " ".join([row.action, *(f"{name}={value}" for name, value in (row.query or {}).items())]),
            )
            for row in rows
        ],
    )


@audit_app.command("verify")
def verify_trail(
    context: typer.Context,
    expect: Annotated[
        str | None,
        typer.Option("--expect", metavar="ROW:HASH", help="A row that the collector has, or that was written down."),
    ] = None,
) -> None:
    """Find out whether rows of the trail were changed, removed, moved or cut off; prints number and hash of the last.

    Ends with 1, and says where, when the trail is not whole.

    Example: dicomnlp audit verify
    """
    from dicomnlp.audit.events import AuditEvent, Kind, Outcome
    from dicomnlp.audit.reading import verify
    from dicomnlp.audit.trail import record

    database = open_database(context)
    found = verify(database, _place(expect) if expect is not None else None)
    outcome = Outcome.FAILED if found.breaks else Outcome.SUCCESS
    for fault in found.breaks:
        err.print(f"BROKEN: {fault}", soft_wrap=True)
    write_line(f"{found.rows} rows read; the last is {found.head.event_id}:{found.head.hash}")
    event = AuditEvent(Kind.AUDIT, local_user(), "", outcome, count=found.rows, action="audit verify", role="admin")
    record(database, event)
    database.close()
    if found.breaks:
        raise typer.Exit(1)


def _one_of(kinds: "type[Kind | Outcome]", option: str, text: str | None) -> "Kind | Outcome | None":
    if text is None:
        return None
    try:
        return kinds(text)
    except ValueError:
        raise UsageError(f"{option} is one of {', '.join(kinds)}") from None


def _place(text: str) -> "Place":
    from dicomnlp.audit.anchor import Place

    found = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text)
    if found is None:
        raise UsageError("--expect takes the number of a row, a colon, and its hash of 64 hexadecimal digits")
    return Place(int(found[1]), found[2])
