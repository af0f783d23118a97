"""A stop ends the dispatcher, whatever it and its workers are doing."""

import os
import signal
import threading
import time

import psutil
import pytest
from work.bench import make_settings, obedient, running, worker_processes

from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.work import dispatcher as module
from dicomnlp.work import engine
from dicomnlp.work.dispatcher import Dispatcher


@pytest.fixture
def database(tmp_path):
    """Without objects."""
    admin.upgrade(make_settings(tmp_path))
    database = Database.open(make_settings(tmp_path))
    yield database
    database.close()


@pytest.mark.timeout(60)
def test_signal_that_is_handled_longer_than_the_wait_it_came_into_stops_an_idle_dispatcher(
    database, tmp_path, monkeypatch
):
    """As on a busy machine, where the handler's process isn't run for a while."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.4)

    def no_engine(*_arguments):
        raise engine.EngineError("none")

    monkeypatch.setattr(module, "Engine", no_engine)
    stop = threading.Event()
    dispatcher = Dispatcher(make_settings(tmp_path), database, obedient())

    def handle(_signal, _frame):
        time.sleep(3 * module.POLL_SECONDS)
        stop.set()

    previous = signal.signal(signal.SIGUSR1, handle)
    threading.Timer(1.5 * module.POLL_SECONDS, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        dispatcher.run(stop, lambda _address: None)
    finally:
        signal.signal(signal.SIGUSR1, previous)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("endless", "begun"),
    [
        ("0 1", 0),  # the processes exist, and no more
        ("0 1", 2),
        ("1", 2),  # one is up, and started again by its nanny when it dies
    ],
)
def test_stop_gives_up_workers_that_are_still_starting(database, tmp_path, monkeypatch, capsys, endless, begun):
    """Nothing is in their hands; neither they nor their folder stay behind, and a stop is no trouble to be told."""
    monkeypatch.setattr(engine, "PRELOAD", "work.endless_preload")
    monkeypatch.setenv("ENDLESS_WORKERS", endless)
    monkeypatch.setattr(engine.tempfile, "tempdir", str(tmp_path))
    stop = threading.Event()

    def stop_when_they_have_begun():
        while len(worker_processes()) < 2 or len(list(tmp_path.glob("**/begun-*"))) < begun:
            time.sleep(0.05)
        stop.set()

    threading.Thread(target=stop_when_they_have_begun).start()
    ready = []
    Dispatcher(make_settings(tmp_path), database, obedient()).run(stop, ready.append)
    assert not ready
    assert not worker_processes()
    assert not list(tmp_path.glob(f"{engine.SCRATCH_PREFIX}*"))
    told = "".join(capsys.readouterr())
    assert "work_paused" not in told
    assert "engine_restarted" not in told


@pytest.mark.timeout(120)
def test_workers_that_do_not_end_are_killed(tmp_path):
    """Suspended processes hear nothing of a stop."""
    with running(tmp_path, workers=1) as bench:
        bench.wait_for_workers()
        (worker,) = worker_processes()
        worker.suspend()
    assert not psutil.pid_exists(worker.pid)
