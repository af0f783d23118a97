"""Commands that run the service, whole or in parts."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Annotated

import typer

from dicomnlp import logs
from dicomnlp.cli.context import database_of, settings_of, write_line
from dicomnlp.config import Settings
from dicomnlp.errors import AlreadyRunningError, PortInUseError
from dicomnlp.logs import Event, log

ORPHAN_SECONDS = 5.0
"""A part whose supervisor was killed ends at once; a new service waits so long for it to have let go."""

Supervised = Annotated[bool, typer.Option("--supervised", hidden=True)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command()(serve)
    app.command()(listen)
    app.command()(work)
    app.command()(web)


def serve(context: typer.Context) -> None:
    """Run everything: DICOM listener, analysis and web under one supervisor.

    Prints one line "ready ..." when associations and requests are taken. SIGTERM drains and ends with 0.

    Example: dicomnlp --config /etc/dicomnlp/config.toml serve
    """
    from dicomnlp.serve.supervisor import supervise

    settings = settings_of(context)
    logs.configure(settings.logs.level, "supervisor")
    database = database_of(settings)
    with database.hold("service"):
        parts = ["listen"] * settings.listener.processes + ["work", "web"]
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

    def run(stop: threading.Event) -> None:
        database = database_of(settings)
        run_listener(settings, database, on_ready=_announce("listen"), stop=stop)
        database.close()

    _run_part(settings, "listen", run, supervised=supervised)


def work(context: typer.Context, supervised: Supervised = False) -> None:
    """Run the dispatcher and its workers alone: pending objects are extracted, analysed and saved.

    Example: dicomnlp work
    """
    from dicomnlp.work.dispatcher import run_dispatcher

    settings = settings_of(context)

    def run(stop: threading.Event) -> None:
        database = database_of(settings)
        run_dispatcher(settings, database, on_ready=_announce("work"), stop=stop)
        database.close()

    _run_part(settings, "work", run, supervised=supervised)


def web(context: typer.Context, supervised: Supervised = False) -> None:
    """Run the HTTP service alone.

    Example: dicomnlp web
    """
    from dicomnlp.serve.web import run_web

    settings = settings_of(context)

    def run(stop: threading.Event) -> None:
        run_web(settings, on_ready=_announce("web"), stop=stop)

    _run_part(settings, "web", run, supervised=supervised)


def _announce(part: str) -> Callable[[str], None]:
    def ready(address: str) -> None:
        write_line(f"ready {part} {address}".rstrip())
        log(Event.READY, component=part, address=address or None)

    return ready


def _run_part(settings: Settings, part: str, run: Callable[[threading.Event], None], *, supervised: bool) -> None:
    logs.configure(settings.logs.level, part)
    stop = threading.Event()

    def drain(_signal: int, _frame: object) -> None:
        log(Event.DRAINING, component=part)
        stop.set()

    signal.signal(signal.SIGTERM, drain)
    # Ctrl-C reaches the whole process group; under a supervisor it is the supervisor's word that counts
    signal.signal(signal.SIGINT, signal.SIG_IGN if supervised else drain)
    if supervised:
        threading.Thread(target=_end_with_supervisor, daemon=True).start()
    deadline = time.monotonic() + (ORPHAN_SECONDS if supervised else 0.0)
    while True:
        try:
            run(stop)
            break
        except (AlreadyRunningError, PortInUseError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    log(Event.STOPPED, component=part, exit_code=0)


def _end_with_supervisor() -> None:
    """End at once when the supervisor is gone: its end of our standard input closes, however it died."""
    while os.read(0, 1024):
        pass
    os._exit(1)
