"""Back-pressure: the store is at a watermark or has failed; senders are told so, and it ends by itself where it can."""

import errno
import os
import shutil
import sqlite3
import time
from functools import partial

import psutil
import pytest
import sqlalchemy as sa
import structlog.testing

from dicomnlp import config
from dicomnlp.model import Arrival, Door, Outcome
from dicomnlp.receive.intake import Intake
from dicomnlp.store.admin import upgrade
from dicomnlp.store.database import Database

SR, EXPLICIT = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.1.2.1"


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    """The store is looked at twenty times a second."""
    monkeypatch.setattr("dicomnlp.receive.pressure.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("dicomnlp.store.fence.KEEP_SECONDS", -1.0)


def store(peer, objects):
    """C-STORE a new object; the status and error comment."""
    data_set = objects.data_set()
    response = peer.store(objects.encode(data_set), sop_instance_uid=data_set.SOPInstanceUID)
    return response.Status, response.get("ErrorComment")


def associates(running):
    """Whether an association is accepted now; if not it must be told to come later, 2/3/1."""
    peer = running.peer()
    peer.send(peer.request())
    kind, body = peer.receive()
    if kind == 2:
        peer.release()
        return True
    assert (kind, tuple(body[1:])) == (3, (2, 3, 1))
    return False


def told(lines):
    """The pauses and resumptions that were logged."""
    return [(x["event"], x.get("reason_code")) for x in lines if x["event"] in {"intake_paused", "intake_resumed"}]


def test_disk_at_its_watermark_pauses_intake_until_there_is_space(start, objects, eventually, monkeypatch):
    """A700 within associations, 2/3/1 for new ones, one line for the change; a tenth above the mark ends it."""
    running = start()
    least = running.settings.database.minimum_free_bytes
    usage, free = shutil.disk_usage("."), [least]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free[0]))
    peer = running.peer()
    peer.associate()
    with structlog.testing.capture_logs() as lines:
        assert store(peer, objects) == (0, None)
        free[0] = least - 1
        eventually(lambda: running.intake.hindrance)
        assert store(peer, objects) == (0xA700, "disk_full")
        assert store(peer, objects) == (0xA700, "disk_full")
        assert not associates(running)
        free[0] = least + least // 20  # above the mark, but not by a tenth
        time.sleep(0.2)
        assert not associates(running)
        free[0] = least + least // 5
        eventually(lambda: not running.intake.hindrance)
        assert store(peer, objects) == (0, None)
        assert associates(running)
    assert told(lines) == [("intake_paused", "disk_full"), ("intake_resumed", None)]
    assert [row[2] for row in running.ledger()] == [None, "disk_full", "disk_full", None]


def test_queue_at_its_watermark_pauses_intake_until_a_tenth_is_done(start, objects, eventually):
    """Ten may wait; with nine of them left objects are taken again."""
    running = start(maximum_pending_objects=10)
    peer = running.peer()
    peer.associate()
    for _ in range(10):
        assert store(peer, objects) == (0, None)
    eventually(lambda: running.intake.hindrance)
    assert store(peer, objects) == (0xA700, "queue_full")
    assert not associates(running)

    def analyse(count):
        with running.database.write() as connection:
            connection.execute(
                sa.text(
                    "UPDATE sop_instance SET state = 'analysed' WHERE id IN "
                    "(SELECT id FROM sop_instance WHERE state = 'pending' LIMIT :n)"
                ),
                {"n": count},
            )

    analyse(1)
    time.sleep(0.2)
    assert not associates(running)
    analyse(1)
    eventually(lambda: not running.intake.hindrance)
    assert store(peer, objects) == (0, None)


@pytest.mark.parametrize("large", [False, True])
def test_commit_that_can_not_be_made_durable_closes_the_store_until_a_restart(
    start, objects, eventually, monkeypatch, large
):
    """A row whose fsync fails, and a large original; the disk works again at once, and is not believed.

    The failure is injected where the driver and the system report it.
    """
    failures = []

    class Connection(sqlite3.Connection):
        def commit(self):
            if failures:
                raise failures.pop()
            super().commit()

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Connection))
    running = start()
    data_set = objects.data_set(**({"TextValue": "S" * 2_000_000} if large else {}))
    peer = running.peer()
    peer.associate()
    with structlog.testing.capture_logs() as lines, monkeypatch.context() as patch:

        def fail_fsync(_):
            raise OSError(errno.EIO, "bad disk")

        if large:
            patch.setattr(os, "fsync", fail_fsync)
        else:
            failures.append(sqlite3.OperationalError("disk I/O error"))
            failures[0].sqlite_errorname = "SQLITE_IOERR_FSYNC"
        response = peer.store(objects.encode(data_set), sop_instance_uid=data_set.SOPInstanceUID)
        assert (response.Status, response.ErrorComment) == (0xA700, "store_read_only")
    # the disk is well again: nothing is taken all the same
    eventually(lambda: running.intake.hindrance)
    assert store(peer, objects) == (0xA700, "store_read_only")
    assert not associates(running)
    assert running.originals() == []
    assert running.ledger() == []
    assert [x["reason_code"] for x in lines if x["event"] == "intake_failed"][:1] == ["store_read_only"]
    # a restart takes objects again
    running.stop.set()
    running.thread.join(20)
    running.intake.close()
    running.database.close()
    database = Database.open(running.settings)
    intake = Intake(running.settings, database)
    arrival = Arrival(objects.encode(data_set), EXPLICIT, SR, data_set.SOPInstanceUID, Door.C_STORE)
    assert intake.accept(arrival).outcome is Outcome.STORED
    intake.close()
    database.close()


def test_store_closed_by_another_process_is_closed_here(start, objects, eventually):
    """The lock on a file beside the database says so, as long as that process lives."""
    running = start()
    other = Database.open(running.settings)
    other.fence.prepare()
    other.fence.close_store()
    eventually(lambda: running.intake.hindrance == "store_read_only")
    assert not associates(running)
    other.close()
    eventually(lambda: not running.intake.hindrance)
    assert associates(running)


def test_database_without_space_is_answered_a700_and_recovers(start, objects):
    """SQLite may use so many pages and no more: nothing partial is left, and more pages are all that it takes."""
    running = start()

    def bound(pages):
        # of the connection that writes
        running.database.transact(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages}"))

    with running.database.read() as connection:
        pages = connection.scalar(sa.text("PRAGMA page_count"))
    peer = running.peer()
    peer.associate()
    bound(pages)
    statuses = []
    while not statuses or statuses[-1][0] == 0:
        statuses.append(store(peer, objects))
        assert len(statuses) < 200
    assert statuses[-1] == (0xA700, "database_full")
    stored = len(statuses) - 1
    assert len(running.originals()) == stored
    bound(1_000_000)
    assert store(peer, objects) == (0, None)
    assert len(running.originals()) == stored + 1


def test_suspended_postgresql_is_answered_a700_in_time_and_recovers(postgres, objects, tmp_path, eventually):
    """A server whose processes are stopped answers nothing, and its system goes on acknowledging."""
    name = postgres.create_database()
    settings = config.Settings(
        database=config.DatabaseSettings(
            url=postgres.url(name), lock_timeout_seconds=0.5, large_object_directory=tmp_path / "objects"
        )
    )
    upgrade(settings)
    database = Database.open(settings)
    intake = Intake(settings, database)

    def accept():
        data_set = objects.data_set()
        return intake.accept(Arrival(objects.encode(data_set), EXPLICIT, SR, data_set.SOPInstanceUID, Door.C_STORE))

    assert accept().status == 0
    server = psutil.Process(postgres.process.pid)
    family = [server, *server.children(recursive=True)]
    began = time.monotonic()
    for process in family:
        process.suspend()
    try:
        refused = [accept(), accept()]
        seconds = time.monotonic() - began
    finally:
        for process in family:
            process.resume()
    assert [(r.status, r.reason_code) for r in refused] == [(0xA700, "database_unreachable")] * 2
    assert seconds < 20  # without a bound it is for ever
    assert accept().status == 0

    def ledger():
        with database.read() as connection:
            return sorted(connection.scalars(sa.text("SELECT outcome FROM ledger")))

    eventually(lambda: ledger() == ["refused", "refused", "stored", "stored"])
    intake.close()
    database.close()
    postgres.drop_database(name)
