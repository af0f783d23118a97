"""What ``dicomnlp check`` looks at, each with what to do when it isn't right."""

import datetime as dt
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from dicomnlp.config import Settings
from dicomnlp.errors import AlreadyRunningError, DicomnlpError

EXPIRY_DAYS = 14
"""A certificate that ends earlier is to be renewed."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing looked at: whether it is right, and what was seen or should be mended."""

    name: str
    ok: bool
    message: str


def run_checks(settings: Settings) -> Iterator[CheckResult]:
    """Look at configuration, certificates, language packs, database and ports; the settings themselves are valid."""
    yield CheckResult("configuration", True, str(settings.file) if settings.file else "no file, defaults in use")
    yield from _certificates(settings)
    yield from _packs(settings)
    yield from _write_back(settings)
    yield from _hooks(settings)
    running: bool | None = None
    for result, service_runs in _database(settings):
        running = service_runs
        yield result
    for number, address in enumerate(settings.listener.addresses):
        table, name = f"listener.also.{number - 1}" if number else "listener", "DICOM port"
        yield _port(table, f"{name} with TLS" if address.tls else name, address.host, address.port, running=running)
    if settings.hl7.port:
        yield _port("hl7", "HL7 port", settings.hl7.host, settings.hl7.port, running=running)
    yield _port("web", "HTTP port", settings.web.host, settings.web.port, running=running)


def _certificates(settings: Settings) -> Iterator[CheckResult]:
    """Nothing where no address speaks TLS."""
    from dicomnlp.receive.tls import expiry_of, server_context

    try:
        context = server_context(settings)
    except DicomnlpError as error:
        yield CheckResult("TLS", False, str(error))
        return
    if context is None:
        return
    expiry = expiry_of(settings)
    days = (expiry - dt.datetime.now(dt.UTC)).days
    message = f"certificate valid until {expiry:%Y-%m-%d}"
    if days < EXPIRY_DAYS:
        message += ": renew it, replace the file, and send the service a SIGHUP"
    yield CheckResult("TLS", days >= EXPIRY_DAYS, message)


def _hooks(settings: Settings) -> Iterator[CheckResult]:
    """Files of those who are told of critical results and findings; nothing where nobody is. Nothing is sent."""
    from dicomnlp.export.telling import check_files

    for name, fault in check_files(settings):
        yield CheckResult(name, fault is None, fault or "its files can be read")


def _packs(settings: Settings) -> Iterator[CheckResult]:
    from dicomnlp.analyse import (
        languages,
        load_pack,
        pipeline_name,
        refused_models,
        refused_overlays,
        use_models,
        use_overlays,
    )

    codes = languages()
    use_overlays(settings.overlays)
    use_models(settings.models)
    for code in codes:
        try:
            load_pack(code)
        except DicomnlpError as error:
            yield CheckResult(f"language pack {code}", False, str(error))
        else:
            yield CheckResult(f"language pack {code}", True, pipeline_name(code))
    for language, faults in refused_overlays().items():
        for fault in faults:
            yield CheckResult(f"overlay {language}".strip(), False, str(fault))
    for language, refused in refused_models().items():
        yield CheckResult(f"model {language}".strip(), False, str(refused))
    if settings.analyse.language not in codes:
        known = ", ".join(codes)
        yield CheckResult("analyse.language", False, f"no pack of that name; installed: {known}")
    for peer in settings.peers:
        if peer.language not in {"", *codes}:
            message = f"no language pack {peer.language}; installed: {', '.join(codes)}"
            yield CheckResult(f"peers, {peer.ae_title}", False, message)


def _write_back(settings: Settings) -> Iterator[CheckResult]:
    """Nothing where nothing is written back."""
    from dicomnlp.export.write_back import archives_of, check_installed

    if not settings.write_back.to:
        return
    try:
        check_installed(archives_of(settings, settings.write_back.to))
    except DicomnlpError as error:
        yield CheckResult("write-back", False, str(error))
    else:
        yield CheckResult("write-back", True, f"to {', '.join(settings.write_back.to)}")


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
            part = "web" if table == "web" else "listen"
            message = f"{place} is in use by another process; unless that is dicomnlp {part}, change {table}.port"
            return CheckResult(name, ok=False, message=message)
    if running:
        message = f"{place} is free although a service runs: it is starting, or was started with other settings"
        return CheckResult(name, ok=False, message=message)
    return CheckResult(name, ok=True, message=f"{place} is free")
