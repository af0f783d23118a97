"""Everything that analyses is killed at random while reports go through: is each analysed exactly once in the end?.

A Dask scheduler, workers under nannies, and two dispatchers, one of which stands by, each a process of its own. Whoever
ends is started again, as a site's supervisor would; kill -9 comes to a worker, a nanny, the scheduler or a dispatcher
whenever something has been achieved since the one before.
"""

import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import sqlalchemy as sa
from support.service import free_port

from dicomnlp.config import load
from dicomnlp.model import State
from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.store.queue import count_pending
from dicomnlp.store.schema import analysis, analysis_period, finding, sop_instance

ROOT = Path(__file__).resolve().parents[2]
VICTIMS = {"worker": 4, "nanny": 2, "scheduler": 1, "dispatcher": 3}
"""What is killed, and how often beside the others."""
ATTEMPTS = 20
"""An object that is alone with a worker when that is killed has used one, and here that happens all the time."""
STUCK_SECONDS = 240.0


@dataclass
class Ledger:
    """What was killed, and what there is in the end."""

    objects: int
    kills: collections.Counter = field(default_factory=collections.Counter)
    states: dict = field(default_factory=dict)
    analysed_more_than_once: list = field(default_factory=list)
    """Objects with several analyses, or periods in which one counted."""
    doubled_findings: list = field(default_factory=list)
    different: list = field(default_factory=list)
    """Objects whose findings aren't those of an undisturbed run."""
    saved_again: int = 0
    """Objects whose result was written, or lost with a worker, more than once on the way."""
    seconds: float = 0.0

    @property
    def is_exact(self):
        """Whether each object was analysed, once, and as ever."""
        return self.states == {State.ANALYSED.value: self.objects} and not (
            self.analysed_more_than_once or self.doubled_findings or self.different
        )

    def __str__(self):
        killed = ", ".join(f"{count} {name}" for name, count in sorted(self.kills.items()))
        states = ", ".join(f"{count} {name}" for name, count in sorted(self.states.items()))
        return (
            f"{self.objects} reports in {self.seconds:.0f} s, {sum(self.kills.values())} kills ({killed})\n"
            f"states: {states}\n"
            f"analysed more than once: {len(self.analysed_more_than_once)}, findings doubled: "
            f"{len(self.doubled_findings)}, findings other than undisturbed: {len(self.different)}\n"
            f"tried more than once on the way: {self.saved_again}"
        )


class _Kept:
    """A process that is started again whenever it ends."""

    def __init__(self, name, command, log, environment):
        self.name, self._command, self._log, self._environment = name, command, log, environment
        self.process = None
        self.start()

    def start(self):
        """Start it."""
        self.process = subprocess.Popen(
            self._command, stdout=self._log, stderr=self._log, env=self._environment, start_new_session=True
        )

    def keep(self):
        """Start it again if it has ended."""
        if self.process.poll() is not None:
            self.start()

    def end(self):
        """For good, with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def write_config(folder, url, scheduler, workers):
    """A configuration of dispatchers that use the cluster at `scheduler`."""
    tables = {
        "database": {"url": url},
        "work": {"scheduler": scheduler, "workers": workers, "maximum_attempts": ATTEMPTS},
        "logs": {"level": "info"},
    }
    file = folder / "config.toml"
    file.write_text(
        "".join(
            f"[{table}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items())
            for table, values in tables.items()
        )
    )
    return file


@contextlib.contextmanager
def _processes(folder, config, scheduler, workers):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DASK_CONFIG": str(ROOT / "docs/deploy/dask.yaml"),
        # on loopback, without certificates
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "False",
    }
    dask = [sys.executable, "-m", "dask"]
    address, port = scheduler, scheduler.rpartition(":")[2]
    place = ["--no-dashboard", "--local-directory", str(folder), "--host", "127.0.0.1", "--death-timeout", "30"]
    limits = ["--nthreads", "1", "--memory-limit", "2GiB"]
    nanny = [*dask, "worker", address, "--preload", "dicomnlp.work.preload", *limits, *place]
    commands = [
        ("scheduler", [*dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]),
        *[("nanny", nanny)] * workers,
        *[("dispatcher", [sys.executable, "-m", "dicomnlp", "--config", str(config), "work"])] * 2,
    ]
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        kept = []
        log = stack.enter_context((folder / "processes.txt").open("ab"))
        for name, command in commands:
            kept.append(_Kept(name, command, log, environment))
            stack.callback(kept[-1].end)

        def look():
            while not over.wait(0.2):
                for one in kept:
                    one.keep()

        keeper = threading.Thread(target=look, daemon=True)
        keeper.start()
        stack.callback(keeper.join)
        stack.callback(over.set)
        yield kept


def _kill(kept, chance):
    """Kill something; what it was, None if there was none of it."""
    [victim] = chance.choices(list(VICTIMS), list(VICTIMS.values()))
    candidates = [k.process.pid for k in kept if k.name == ("nanny" if victim == "worker" else victim)]
    if victim == "worker":
        found = []
        for pid in candidates:
            with contextlib.suppress(psutil.NoSuchProcess):
                children = psutil.Process(pid).children(recursive=True)
                found += [c.pid for c in children if any("spawn_main" in word for word in c.cmdline())]
        candidates = found
    if not candidates:
        return None
    with contextlib.suppress(ProcessLookupError):
        os.kill(chance.choice(candidates), signal.SIGKILL)
    return victim


def run_chaos(folder, url, fill, *, kills, seed, workers=2, progress=5, longest_pause=1.0, say=lambda _line: None):
    """Kill until all is analysed; the ledger.

    Parameters
    ----------
    folder
        For configuration and logs.
    url
        Of an empty or missing database.
    fill
        Stores pending objects in a database; returns row -> (start, concept) of the findings that each must have.
    kills
        No more than so many.
    progress
        Objects that are to be done between two kills.
    """
    chance = random.Random(seed)
    scheduler = f"tcp://127.0.0.1:{free_port()}"
    config = write_config(folder, url, scheduler, workers)
    settings = load(config)
    admin.upgrade(settings)
    database = Database.open(settings)
    expected = fill(database)
    ledger = Ledger(len(expected))
    started = achieved = time.monotonic()
    with _processes(folder, config, scheduler, workers) as kept:
        at_last_kill = left = count_pending(database)
        while left:
            time.sleep(0.1)
            now = count_pending(database)
            if now < left:
                left, achieved = now, time.monotonic()
            if time.monotonic() - achieved > STUCK_SECONDS:
                break
            if sum(ledger.kills.values()) < kills and at_last_kill - left >= progress:
                time.sleep(chance.uniform(0.0, longest_pause))
                victim = _kill(kept, chance)
                if victim is not None:
                    ledger.kills[victim] += 1
                    at_last_kill = left
                    say(f"{left} left, killed a {victim}")
    ledger.seconds = time.monotonic() - started
    _count(database, expected, ledger)
    database.close()
    return ledger


def _count(database, expected, ledger):
    c = sop_instance.c
    with database.read() as connection:
        ledger.states = {
            str(state): count
            for state, count in connection.execute(sa.select(c.state, sa.func.count()).group_by(c.state))
        }
        ledger.saved_again = connection.scalar(
            sa.select(sa.func.count()).select_from(sop_instance).where(c.attempts > 1)
        )
        several = set()
        for table in (analysis, analysis_period):
            grouped = sa.select(table.c.object_id).group_by(table.c.object_id).having(sa.func.count() > 1)
            several |= set(connection.scalars(grouped))
        ledger.analysed_more_than_once = sorted(several)
        found = collections.defaultdict(list)
        for row in connection.execute(
            sa.select(finding.c.object_id, finding.c.start_offset, finding.c.concept_id).where(finding.c.is_current)
        ):
            found[row.object_id].append((row.start_offset, row.concept_id))
    for object_id, wanted in expected.items():
        if len(found[object_id]) > len(set(found[object_id])) and len(found[object_id]) > len(wanted):
            ledger.doubled_findings.append(object_id)
        elif sorted(found[object_id]) != sorted(wanted):
            ledger.different.append(object_id)
