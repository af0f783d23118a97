"""Databases with objects, and a dispatcher in a thread that does to them what their bytes say."""

import contextlib
import threading
import time
from dataclasses import dataclass, field

import psutil
import pytest
import sqlalchemy as sa
from support.records import make_record

from dicomnlp.config import DatabaseSettings, Settings, WorkSettings
from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.schema import sop_instance
from dicomnlp.work import engine, saving
from dicomnlp.work.dispatcher import Dispatcher


def make_settings(folder, **work):
    """SQLite in `folder`, two workers, and little patience."""
    return Settings(
        database=DatabaseSettings(url=f"sqlite:///{folder}/test.db", large_object_directory=folder / "objects"),
        work=WorkSettings(
            **{
                "workers": 2,
                "object_timeout_seconds": 2.0,
                "memory_limit_bytes": 512 * 1024 * 1024,
                "maximum_attempts": 2,
                **work,
            }
        ),
    )


def obedient():
    """A function for workers that does what an object's bytes say; local, so that workers get it by value."""

    def obey(batch):
        import os
        import re
        import time

        from support.records import make_processed

        [stored] = batch
        match stored.data.split()[0]:
            case b"kill":
                os.kill(os.getpid(), 9)
            case b"hang":  # compiled code that never gives the interpreter back, so no Python thread can end it
                re.match("(a+)+$", "a" * 60 + "b")
            case b"eat":
                eaten = []
                while True:
                    eaten.append(b"x" * 150_000_000)
                    time.sleep(0.05)
            case b"gulp":  # all at once, and not touched: nobody who looks at resident memory sees it
                bytearray(3_000_000_000)
            case b"raise":
                raise ValueError(stored.data)
            case b"sleep":
                time.sleep(float(stored.data.split()[1]))
        return [make_processed(stored.object_id)]

    return obey


@dataclass
class Bench:
    """A dispatcher at work in a thread, and what it saved."""

    settings: Settings
    database: Database
    dispatcher: Dispatcher
    saved: list = field(default_factory=list)
    """Object ids in the order of saving, once for each time."""
    number: int = 0

    def arrive(self, *contents):
        """Store objects with these bytes in one commit; their ids."""
        records = []
        for data in contents:
            self.number += 1
            records.append(make_record(self.number, data + b" %d" % self.number))
        return [receipt.object_id for receipt in record_arrivals(self.database, records)]

    def states(self, ids):
        """(state, reason code, attempts) by id."""
        c = sop_instance.c
        with self.database.read() as connection:
            rows = connection.execute(sa.select(c.id, c.state, c.reason_code, c.attempts).where(c.id.in_(ids)))
            return {row.id: (str(row.state), row.reason_code, row.attempts) for row in rows}

    def wait(self, ids, seconds=200):
        """Wait until none of `ids` is pending; their states. A busy machine takes a minute over a few deaths."""
        deadline = time.monotonic() + seconds
        while True:
            states = self.states(ids)
            if not any(state == "pending" for state, *_ in states.values()):
                return states
            assert time.monotonic() < deadline, {k: v for k, v in states.items() if v[0] == "pending"}
            time.sleep(0.01)

    def wait_for_workers(self):
        """Wait until the engine is whole."""
        deadline = time.monotonic() + 200
        while len(self.dispatcher._workers) < self.settings.work.workers:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def worker_processes():
    """Worker processes of this process."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if any("spawn_main" in word for word in child.cmdline()):
                found.append(child)
    return found


@contextlib.contextmanager
def running(folder, **work):
    """A dispatcher in a thread, with a function that obeys objects."""
    settings = make_settings(folder, **work)
    admin.upgrade(settings)
    database = Database.open(settings)
    bench = Bench(settings, database, Dispatcher(settings, database, obedient()))
    stop, ready, ended = threading.Event(), threading.Event(), []

    def run():
        try:
            bench.dispatcher.run(stop, lambda _address: ready.set())
        except BaseException as error:  # noqa: BLE001  told to the test
            ended.append(error)

    with pytest.MonkeyPatch.context() as patch:
        save = saving.save_processed

        def note(database, results):
            saved = save(database, results)
            bench.saved.extend(r.object_id for r in results)
            return saved

        patch.setattr(saving, "save_processed", note)
        patch.setattr(engine, "PRELOAD", "work.quick_preload")
        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert ready.wait(60), ended
            yield bench
        finally:
            stop.set()
            thread.join(60)
            database.close()
    assert not ended
    assert not thread.is_alive()
