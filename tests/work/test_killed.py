"""Dispatchers as processes of their own: killed, started again, crashed into, and watched for what they say."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from support.records import make_record
from work.bench import make_settings

from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.queue import count_pending
from dicomnlp.store.schema import analysis, sop_instance

CANARY = "Wolpertinger"

SCRIPT = """
import os, signal, sys, threading
from pathlib import Path
from dicomnlp import logs
from dicomnlp.store.database import Database
from dicomnlp.work import engine
from dicomnlp.work.dispatcher import Dispatcher
from work.bench import make_settings, obedient

def main():
    logs.configure("debug", "work")
    engine.PRELOAD = "work.quick_preload"
    settings = make_settings(Path(sys.argv[1]))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    database = Database.open(settings)
    with database.hold("dispatcher"):
        Dispatcher(settings, database, obedient()).run(stop, lambda _: print("ready", flush=True))

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a database and the script that starts a dispatcher on it."""
    admin.upgrade(make_settings(tmp_path))
    (tmp_path / "dispatch.py").write_text(SCRIPT)
    return tmp_path


@contextlib.contextmanager
def dispatching(folder):
    """A dispatcher as a process of its own session; everything it says goes to files."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "TMPDIR": str(scratch)}
    with (folder / "stdout.txt").open("ab") as out, (folder / "stderr.txt").open("ab") as err:
        process = subprocess.Popen(
            [sys.executable, str(folder / "dispatch.py"), str(folder)],
            stdout=out,
            stderr=err,
            env=environment,
            start_new_session=True,
            cwd=folder,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(condition, seconds=200):
    """Wait for `condition`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def arrive(folder, *contents):
    """Store objects with these bytes."""
    database = Database.open(make_settings(folder))
    record_arrivals(database, [make_record(n, data + b" %d" % n) for n, data in enumerate(contents, start=1)])
    return database


def counts(database):
    """How many objects there are by state, and the most analyses that an object has."""
    c = sop_instance.c
    with database.read() as connection:
        states = connection.execute(sa.select(c.state, sa.func.count()).group_by(c.state)).all()
        each = connection.execute(sa.select(sa.func.count()).select_from(analysis).group_by(analysis.c.object_id)).all()
    return {str(state): count for state, count in states}, max(count for (count,) in each)


def test_killed_dispatcher_leaves_no_process_behind_and_the_next_one_goes_on(folder):
    """After kill -9 the workers end by themselves; started again, each object is analysed exactly once."""
    database = arrive(folder, *[b"sleep 0.02"] * 300)
    with dispatching(folder) as process:
        until(lambda: 20 < 300 - count_pending(database) < 250)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []
    left = count_pending(database)
    assert 0 < left < 300
    with dispatching(folder) as process:
        until(lambda: count_pending(database) == 0)
        process.terminate()
        assert process.wait(30) == 0
    assert counts(database) == ({"analysed": 300}, 1)
    database.close()
    # the folder that the killed one left behind was removed by the next
    assert list((folder / "scratch").glob("dicomnlp-work-*")) == []
    assert not list(folder.glob("dask*"))
    # multiprocessing's tracker of shared resources outlives what is killed, and would warn of what it finds
    assert [line for line in (folder / "stderr.txt").read_text().splitlines() if not line.startswith("{")] == []


def test_stopped_dispatcher_saves_what_is_in_flight_and_starts_nothing_new(folder):
    """SIGTERM: the tasks in hand end and are saved, the rest stays pending, the exit code is 0."""
    database = arrive(folder, *[b"sleep 0.03"] * 400)
    with dispatching(folder) as process:
        until(lambda: count_pending(database) < 400)
        saved = 400 - count_pending(database)
        process.terminate()
        assert process.wait(40) == 0
    states, _ = counts(database)
    assert set(states) == {"analysed", "pending"}
    assert saved < states["analysed"] < 400
    database.close()


def test_nothing_of_a_report_is_said_whatever_dies_or_raises(folder):
    """Objects full of canary words kill, raise, hang and succeed: no word of them on any output."""
    words = f" {CANARY}".encode() * 3
    database = arrive(folder, *[command + words for command in (b"read", b"raise", b"kill", b"hang", b"read")])
    with dispatching(folder) as process:
        until(lambda: count_pending(database) == 0)
        process.terminate()
        assert process.wait(30) == 0
    assert counts(database) == ({"analysed": 2, "failed": 3}, 1)
    database.close()
    said = (folder / "stdout.txt").read_text() + (folder / "stderr.txt").read_text()
    assert '"event": "worker_lost"' in said
    assert '"event": "task_failed"' in said
    assert CANARY not in said
    assert "distributed." not in "".join(line for line in said.splitlines() if not line.startswith("{"))


def test_folder_for_workers_is_outside_the_working_directory():
    """The scratch folder is a temporary one, removed afterwards, and a live one is left alone."""
    from dicomnlp.work.engine import _scratch_folder

    with _scratch_folder() as first:
        assert first.parent == Path(tempfile.gettempdir())
        with _scratch_folder() as second:
            assert first.exists()
            assert second != first
    assert not first.exists()
    assert not second.exists()
