"""What ``dicomnlp check`` looks at, each with what to do when it isn't right."""

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from dicomnlp.config import Settings
from dicomnlp.errors import AlreadyRunningError, DicomnlpError


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing looked at: whether it is right, and what was seen or should be mended."""

    name: str
    ok: bool
    message: str


def run_checks(settings: Settings) -> Iterator[CheckResult]:
    """Look at configuration, language packs, database and ports, in this order; the settings themselves are valid."""
    yield CheckResult("configuration", True, str(settings.file) if settings.file else "no file, defaults in use")
    yield from _packs(settings)
    running: bool | None = None
    for result, service_runs in _database(settings):
        running = service_runs
        yield result
    for table, name, host, port in (
        ("listener", "DICOM port", settings.listener.host, settings.listener.port),
        ("web", "HTTP port", settings.web.host, settings.web.port),
    ):
        yield _port(table, name, host, port, running=running)


def _packs(settings: Settings) -> Iterator[CheckResult]:
    from dicomnlp.analyse import languages, load_pack, pipeline_name

    codes = languages()
    for code in codes:
        try:
            load_pack(code)
        except DicomnlpError as error:
            yield CheckResult(f"language pack {code}", False, str(error))
        else:
            yield CheckResult(f"language pack {code}", True, pipeline_name(code))
    if settings.analyse.language not in codes:
        known = ", ".join(codes)
        yield CheckResult("analyse.language", False, f"no pack of that name; installed: {known}")


def _database(settings: Settings) -> Iterator[tuple[CheckResult, bool | None]]:
    """What is found, each with whether a service runs: None where that isn't known."""
    from dicomnlp.store.database import Database

    try:
        database = Database.open(settings)
    except DicomnlpError as error:
        yield CheckResult("database", False, str(error)), None
        return
    yield CheckResult("database", True, "reachable, schema up to date"), None
    try:
        with database.hold("service"):
            running = False
    except AlreadyRunningError:
        running = True
    database.close()
    yield CheckResult("service", True, "running" if running else "not running"), running


def _port(table: str, name: str, host: str, port: int, *, running: bool | None) -> CheckResult:
    place = f"{host}:{port}"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                message = f"{place} can't be listened on ({error.strerror}); change {table}.port or {table}.host"
                return CheckResult(name, ok=False, message=message)
            # whose socket it is, the operating system tells root only
            if running:
                return CheckResult(name, ok=True, message=f"{place} is in use, and a service runs")
            if running is None:
                message = f"{place} is in use by another process; whether by a service, only the database could tell"
                return CheckResult(name, ok=False, message=message)
            part = "listen" if table == "listener" else table
            message = f"{place} is in use by another process; unless that is dicomnlp {part}, change {table}.port"
            return CheckResult(name, ok=False, message=message)
    if running:
        message = f"{place} is free although a service runs: it is starting, or was started with other settings"
        return CheckResult(name, ok=False, message=message)
    return CheckResult(name, ok=True, message=f"{place} is free")
