"""Commands that run the service, whole or in parts."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from dicomnlp import logs
from dicomnlp.cli.auditing import local_user
from dicomnlp.cli.context import database_of, settings_of, write_line
from dicomnlp.config import Settings
from dicomnlp.errors import AlreadyRunningError, ConfigurationError, DatabaseError, PortInUseError
from dicomnlp.logs import Event, log
from dicomnlp.serve.reloading import Signals, changed_keys, watch_hangups

if TYPE_CHECKING:
    from dicomnlp.store.database import Database

LISTENER_TABLES = frozenset({"listener", "tls", "peers", "database", "logs"})
LIVE_LISTENER_KEYS = frozenset(
    {
        "listener.ae_title",
        "listener.ae_title_aliases",
        "listener.maximum_associations",
        "listener.maximum_associations_per_peer",
    }
)
"""Of [listener], what can change while it runs."""
TOLD_TABLES = frozenset({"webhooks", "mails", "hl7_receivers", "oidc", "tls"})
WORK_TABLES = frozenset(
    {"work", "extract", "analyse", "peers", "pacs", "reconcile", "write_back", "logs"} | TOLD_TABLES
)
WATCH_TABLES = frozenset({"watch", "listener", "logs"})
HL7_TABLES = frozenset({"hl7", "tls", "listener", "logs"})
WEB_TABLES = frozenset({"web", "oidc", "audit", "tls", "logs"})
"""What counts for these parts: when a key of such a table changes, they drain and start afresh."""

ORPHAN_SECONDS = 5.0
"""A part whose supervisor was killed ends at once; a new service waits so long for it to have let go."""

Supervised = Annotated[bool, typer.Option("--supervised", hidden=True)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command()(serve)
    app.command()(listen)
    app.command()(watch)
    app.command()(hl7)
    app.command()(work)
    app.command()(web)


def serve(context: typer.Context) -> None:
    """Run everything: DICOM listener, watched folder, HL7 port, analysis and web under one supervisor.

    Prints one line "ready ..." when associations and requests are taken. SIGTERM drains and ends with 0.

    Example: dicomnlp --config /etc/dicomnlp/config.toml serve
    """
    from dicomnlp.serve.supervisor import supervise

    settings = settings_of(context)
    logs.configure(settings.logs.level, "supervisor")
    database = database_of(settings)
    with database.hold("service"):
        watched = ["watch"] if settings.watch_folder else []
        messages = ["hl7"] if settings.hl7.port else []
        parts = ["listen"] * settings.listener.processes + [*watched, *messages, "work", "web"]
        with _in_trail(database, "serve"):
            exit_code = supervise(settings, parts, on_ready=write_line)
    database.close()
    raise typer.Exit(exit_code)


def listen(context: typer.Context, supervised: Supervised = False) -> None:
    """Run the DICOM listener alone, as one process or as many as listener.processes says.

    Example: dicomnlp listen
    """
    from dicomnlp.receive.listener import run_listener
    from dicomnlp.serve.supervisor import supervise

    settings = settings_of(context)
    if settings.listener.processes > 1 and not supervised:
        logs.configure(settings.logs.level, "supervisor")
        raise typer.Exit(supervise(settings, ["listen"] * settings.listener.processes, on_ready=write_line))

    hangups = Signals(signal.SIGHUP)

    def watch(reconfigure: Callable[[Settings], None]) -> None:
        def put_into_effect(new: Settings, changed: Collection[str]) -> Collection[str]:
            reconfigure(new)
            logs.configure(new.logs.level, "listen")
            fixed = ("listener.", "database.")
            return [key for key in changed if key.startswith(fixed) and key not in LIVE_LISTENER_KEYS]

        watch_hangups(hangups, settings, "listen", LISTENER_TABLES, put_into_effect)

    def run(stop: threading.Event) -> None:
        database = database_of(settings)
        run_listener(settings, database, on_ready=_announce("listen"), stop=stop, on_reconfigurable=watch)
        database.close()

    _run_part(settings, "listen", run, supervised=supervised)


def watch(context: typer.Context, supervised: Supervised = False) -> None:
    """Take in the files of the folder watch.folder alone.

    Example: dicomnlp watch
    """
    from dicomnlp.receive.intake import Intake
    from dicomnlp.receive.watch import WatchedFolder

    settings = settings_of(context)
    folder = settings.watch_folder
    if folder is None:
        raise ConfigurationError("watch.folder: names no folder, so there is nothing to watch")

    def run(stop: threading.Event) -> None:
        database = database_of(settings)
        # two processes would take the same file at the same time, and one of them find it gone
        with database.hold("watch"):
            intake = Intake(settings, database)
            try:
                watched = WatchedFolder(folder, settings.watch.stable_seconds, intake)
                _announce("watch")("")
                watched.run(stop)
            finally:
                intake.close()
        database.close()

    _run_part(settings, "watch", run, supervised=supervised, restart_tables=WATCH_TABLES)


def hl7(context: typer.Context, supervised: Supervised = False) -> None:
    """Run the HL7 port alone: reports in ORU^R01 messages over MLLP.

    Example: dicomnlp hl7
    """
    from dicomnlp.receive.hl7_listener import run_hl7

    settings = settings_of(context)
    if not settings.hl7.port:
        raise ConfigurationError("hl7.port: is 0, so there is no port to listen on")

    def run(stop: threading.Event) -> None:
        database = database_of(settings)
        run_hl7(settings, database, on_ready=_announce("hl7"), stop=stop)
        database.close()

    _run_part(settings, "hl7", run, supervised=supervised, restart_tables=HL7_TABLES)


def work(context: typer.Context, supervised: Supervised = False) -> None:
    """Run the dispatcher and its workers alone: pending objects are extracted, analysed and saved.

    While another dispatcher works on the database this one stands by, and takes over when that one ends.

    Example: dicomnlp work
    """
    from dicomnlp.work.standby import run_dispatcher

    settings = settings_of(context)

    def run(stop: threading.Event) -> None:
        database = database_of(settings)
        run_dispatcher(settings, database, on_ready=_announce("work"), stop=stop)
        database.close()

    _run_part(settings, "work", run, supervised=supervised, restart_tables=WORK_TABLES)


def web(context: typer.Context, supervised: Supervised = False) -> None:
    """Run the HTTP service alone.

    Example: dicomnlp web
    """
    from dicomnlp.serve.web import run_web

    settings = settings_of(context)

    renewable: list[Callable[[Settings], None]] = []

    def run(stop: threading.Event) -> None:
        # alone, it may be on another machine than the listener
        run_web(
            settings,
            on_ready=_announce("web"),
            stop=stop,
            on_renewable=renewable.append,
            beside_listener=supervised,
        )

    def renew(new: Settings) -> None:
        for put_into_effect in renewable:
            put_into_effect(new)

    _run_part(settings, "web", run, supervised=supervised, restart_tables=WEB_TABLES, renew=renew)


def _announce(part: str) -> Callable[[str], None]:
    def ready(address: str) -> None:
        write_line(f"ready {part} {address}".rstrip())
        for single in address.split(","):
            log(Event.READY, component=part, address=single or None)

    return ready


def _run_part(
    settings: Settings,
    part: str,
    run: Callable[[threading.Event], None],
    *,
    supervised: bool,
    restart_tables: Collection[str] = (),
    renew: Callable[[Settings], None] = lambda _: None,
) -> None:
    logs.configure(settings.logs.level, part)
    stop, afresh = threading.Event(), threading.Event()

    def drain() -> None:
        ends.await_one()
        log(Event.DRAINING, component=part)
        stop.set()

    def start_afresh(new: Settings, changed: Collection[str]) -> Collection[str]:
        fixed = [key for key in changed_keys(settings, new) if key.startswith("database.")]
        if fixed:
            raise ConfigurationError(f"{', '.join(fixed)} can't change while the service runs; stop it and start it")
        renew(new)
        if changed:
            afresh.set()
            stop.set()
        return ()

    if restart_tables:
        watch_hangups(Signals(signal.SIGHUP), settings, part, restart_tables, start_afresh)
    # Ctrl-C reaches the whole process group; under a supervisor it is the supervisor's word that counts
    ends = Signals(signal.SIGTERM) if supervised else Signals(signal.SIGTERM, signal.SIGINT)
    threading.Thread(target=drain, name="drain", daemon=True).start()
    if supervised:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_end_with_supervisor, daemon=True).start()
    deadline = time.monotonic() + (ORPHAN_SECONDS if supervised else 0.0)
    while True:
        try:
            with contextlib.ExitStack() as stack:
                if not supervised:
                    stack.enter_context(_part_in_trail(settings, part))
                run(stop)
            break
        except (AlreadyRunningError, PortInUseError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    if afresh.is_set():
        # nothing is in hand any more: from here to the new start's own handler it ends the process at once
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if afresh.is_set() and not ends.have_come:
        # the same process by its number, so that a supervisor needn't know; it takes a moment until SIGHUP is handled
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        sys.stdout.flush()
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  our own command line
    log(Event.STOPPED, component=part, exit_code=0)


@contextlib.contextmanager
def _in_trail(database: "Database", part: str) -> Iterator[None]:
    """Record the start of a service and its end, however it ends but by being killed."""
    from dicomnlp.audit.events import AuditEvent, Kind, Outcome
    from dicomnlp.audit.trail import record

    def note(action: str) -> None:
        event = AuditEvent(Kind.ACTIVITY, local_user(), "", Outcome.SUCCESS, action=f"{part} {action}", role="admin")
        record(database, event)

    note("started")
    try:
        yield
    finally:
        note("stopped")


@contextlib.contextmanager
def _part_in_trail(settings: Settings, part: str) -> Iterator[None]:
    """The same for a part that runs alone; the web part also runs, and answers nothing, while the database is away."""
    try:
        database = database_of(settings)
    except DatabaseError:
        if part != "web":
            raise
        yield
        return
    try:
        with _in_trail(database, part):
            yield
    finally:
        database.close()


def _end_with_supervisor() -> None:
    """End at once when the supervisor is gone: its end of our standard input closes, however it died."""
    while os.read(0, 1024):
        pass
    os._exit(1)
