"""A listener as a process of its own, to be attacked: what it costs, and whether others are still served meanwhile."""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

import psutil
import sqlalchemy as sa

from dicomnlp import config
from dicomnlp.store import admin
from dicomnlp.store.database import Database

from .service import free_port

MEGABYTE = 1024 * 1024
CEILING = 300 * MEGABYTE
"""Of the listener's resident memory, whatever happens."""
# pynetdicom installs commands of the same names beside the interpreter
_PATH = os.pathsep.join(
    folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder != sysconfig.get_path("scripts")
)
ECHOSCU = shutil.which("echoscu", path=_PATH)


class AttackedListener:
    """`dicomnlp listen` in a folder of its own.

    Parameters
    ----------
    folder
        For its configuration, database and log.
    environment
        Variables for the process.
    tables
        Of config.toml: {"listener": {"maximum_associations": 20}}.
    """

    def __init__(self, folder: Path, *, environment=None, **tables):
        self.port = free_port()
        self.folder = folder
        self.config = folder / "config.toml"
        self.log_file = folder / "log.jsonl"
        values = {"listener": {"port": self.port}, "database": {"url": "sqlite:///dicomnlp.db"}}
        for table, keys in tables.items():
            values.setdefault(table, {}).update(keys)
        self.config.write_text(
            "".join(
                f"[{table}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in keys.items())
                for table, keys in values.items()
            )
        )
        self.environment = environment
        self.process = None

    def start(self):
        """Make the database if there is none, start, and wait until associations are taken."""
        command = [sys.executable, "-m", "dicomnlp", "--config", str(self.config)]
        if not (self.folder / "dicomnlp.db").exists():
            admin.upgrade(config.load(self.config))
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "listen"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **(self.environment or {})},
            )
        assert self.process.stdout.readline().startswith(b"ready listen"), self.log_file.read_text()[-2000:]
        return self

    def stop(self, seconds=40):
        """SIGTERM; the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def log(self):
        """The lines logged so far."""
        return [json.loads(line) for line in self.log_file.read_text().splitlines() if line.startswith("{")]

    def ledger(self):
        """(outcome, status, reason_code) of each row, oldest first."""
        return self._read("SELECT outcome, status, reason_code FROM ledger ORDER BY id")

    def objects(self):
        """SOP Instance UIDs that are stored."""
        return [row[0] for row in self._read("SELECT sop_instance_uid FROM sop_instance ORDER BY id")]

    def _read(self, query):
        database = Database.open(config.load(self.config))
        try:
            with database.read() as connection:
                return [tuple(row) for row in connection.execute(sa.text(query))]
        finally:
            database.close()

    @property
    def resident_bytes(self):
        """Resident memory now."""
        return psutil.Process(self.process.pid).memory_info().rss

    @property
    def threads(self):
        """How many threads it has."""
        return psutil.Process(self.process.pid).num_threads()

    def echo_seconds(self):
        """How long DCMTK's echoscu takes, from its start to its end: the middle one of three tries.

        Three, because the machine may be busy with something else at a moment; a listener that is blocked is so each
        time.
        """
        return statistics.median(self._echo() for _ in range(3))

    def _echo(self):
        began = time.monotonic()
        done = subprocess.run(
            [ECHOSCU, "-to", "5", "-td", "5", "-aet", "LEGIT", "-aec", "DICOMNLP", "127.0.0.1", str(self.port)],
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return time.monotonic() - began

    @contextlib.contextmanager
    def bounded(self, megabytes):
        """Around an attack: resident memory may grow by so many megabytes at the most, and never above the ceiling."""
        before, peak, done = self.resident_bytes, [0], threading.Event()

        def watch():
            while not done.wait(0.01):
                peak[0] = max(peak[0], self.resident_bytes)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield self
        finally:
            done.set()
            watcher.join()
        peak[0] = max(peak[0], self.resident_bytes)
        assert self.process.poll() is None, "the listener has ended"
        assert peak[0] < CEILING, f"{peak[0] / MEGABYTE:.0f} MB resident"
        assert peak[0] - before <= megabytes * MEGABYTE, f"{(peak[0] - before) / MEGABYTE:.1f} MB more"
