"""When what the listener stands on fails: one test a row of the table of hostile input.

Rows 64, 65, 68 and 69 are tested where the parts are that they are about; docs/reference/hostile-inputs.md names them.
"""

import contextlib
import datetime as dt
import shutil
import sqlite3
import threading
import time
import types

import pytest
from support import failing_disk
from support.attacked import ECHOSCU, AttackedListener
from support.raw_dicom import ASSOCIATE_RQ, RawPeer, associate_rq, pdu, report

from dicomnlp import config
from dicomnlp.receive import intake as intake_module
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.readiness import ReadinessCheck
from dicomnlp.store import queue
from dicomnlp.store.database import Database

pytestmark = [
    pytest.mark.dcmtk,
    pytest.mark.skipif(ECHOSCU is None, reason="DCMTK is not installed"),
]


@pytest.fixture
def disk(tmp_path):
    """A disk that fails on demand."""
    disk = failing_disk.make(tmp_path)
    if disk is None:
        pytest.skip("there is no C compiler to make a failing disk with")
    return disk


@pytest.fixture
def start_process(tmp_path):
    """Starts a listener; it must have ended with 0 when it is told to stop."""
    started = []

    def start_one(**options):
        started.append(AttackedListener(tmp_path, **options).start())
        return started[-1]

    yield start_one
    for listener in started:
        if listener.process.poll() is None:
            assert listener.stop() == 0


def readiness(listener):
    """What /readyz says of intake, asked of the web part on the same database."""
    settings = config.load(listener.config)
    database = Database.open(settings)
    try:
        return ReadinessCheck(settings, Connection(lambda: database)).read().checks["intake"]
    finally:
        database.close()


def whole(listener, number, padding=0):
    """Whether an object is stored, and holds the bytes that were sent."""
    database = Database.open(config.load(listener.config))
    try:
        pending = queue.take_pending(database, maximum_objects=1000, maximum_bytes=10**9, exclude=())
    finally:
        database.close()
    found = [o.data for o in pending if o.sop_instance_uid == f"2.25.{number}"]
    assert found in ([], [report(number, padding=padding)])
    return bool(found)


def folders_of_large_objects(listener):
    """Files below the folder of large objects."""
    return [path for path in (listener.folder / "var" / "objects").rglob("*") if path.is_file()]


@pytest.mark.parametrize("padding", [0, 2_000_000])
def test_row_61_a_disk_without_space_is_told_and_recovers(start_process, disk, padding):
    """A700 for a row and for a large original; nothing partial is left; space is all that it takes to go on."""
    listener = start_process(environment=disk.environment)
    with listener.bounded(40), RawPeer(listener.port) as peer:
        peer.associate()
        assert peer.store(report(610, padding=padding), sop_instance_uid="2.25.610") == 0
        files = folders_of_large_objects(listener)
        disk.fill()
        for _ in range(2):
            assert peer.store(report(611, padding=padding), sop_instance_uid="2.25.611") == 0xA700
        assert listener.echo_seconds() < 1
        assert not whole(listener, 611, padding)
        assert folders_of_large_objects(listener) == files
        disk.heal()
        assert peer.store(report(611, padding=padding), sop_instance_uid="2.25.611") == 0
        peer.release()
    assert whole(listener, 610, padding)
    assert whole(listener, 611, padding)
    assert listener.stop() == 0
    outcomes = sorted(row[0] for row in listener.ledger())
    assert outcomes == ["refused", "refused", "stored", "stored"]


def test_row_61_a_disk_at_its_watermark_takes_nothing_more(start_process, tmp_path):
    """With less free than configured: 2/3/1 for every association, and /readyz says why."""
    listener = start_process(database={"minimum_free_bytes": shutil.disk_usage(tmp_path).total * 2})
    with listener.bounded(5), RawPeer(listener.port) as peer:
        peer.send(pdu(ASSOCIATE_RQ, associate_rq()))
        assert peer.rejection() == (2, 3, 1)
    assert readiness(listener) == "disk_full"
    assert [x["reason_code"] for x in listener.log() if x["event"] == "intake_paused"] == ["disk_full"]


def test_row_62_a_locked_database_is_told_and_drains_in_order(start_process):
    """A700 when the lock isn't had in time; the refusals reach the ledger, in order, once it is free."""
    listener = start_process(database={"lock_timeout_seconds": 0.3})
    with listener.bounded(10), RawPeer(listener.port) as peer:
        peer.associate()
        other = sqlite3.connect(listener.folder / "dicomnlp.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        refused = [peer.store(report(n), sop_instance_uid=f"2.25.{n}") for n in (621, 622)]
        assert time.monotonic() - began < 10
        assert listener.echo_seconds() < 1
        other.execute("ROLLBACK")
        other.close()
        assert refused == [0xA700, 0xA700]
        assert [peer.store(report(n), sop_instance_uid=f"2.25.{n}") for n in (621, 622)] == [0, 0]
        peer.release()
    assert listener.stop() == 0
    assert sorted(row[0] for row in listener.ledger()) == ["refused", "refused", "stored", "stored"]
    database = Database.open(config.load(listener.config))
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT sop_instance_uid FROM ledger WHERE outcome = 'refused' ORDER BY id")
        assert [row[0] for row in rows] == ["2.25.621", "2.25.622"]
    database.close()


def test_row_63_a_sync_that_fails_closes_the_store_until_a_restart(start_process, disk):
    """A700 for it and all that follow, though the disk works again; /readyz is red; a restart takes objects."""
    listener = start_process(environment=disk.environment)
    with listener.bounded(10), RawPeer(listener.port) as peer:
        peer.associate()
        assert peer.store(report(630), sop_instance_uid="2.25.630") == 0
        assert readiness(listener) == "ok"
        disk.break_syncs()
        assert peer.store(report(631), sop_instance_uid="2.25.631") == 0xA700
        disk.heal()
        assert peer.store(report(631), sop_instance_uid="2.25.631") == 0xA700
        assert peer.store(report(632), sop_instance_uid="2.25.632") == 0xA700
        assert readiness(listener) == "store_read_only"
        deadline = time.monotonic() + 5
        while True:
            with RawPeer(listener.port) as late:
                late.send(pdu(ASSOCIATE_RQ, associate_rq()))
                kind, body = late.receive()
            if kind == 3:
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert tuple(body[1:4]) == (2, 3, 1)
    assert listener.stop() == 0
    assert "store_read_only" in {x["reason_code"] for x in listener.log() if x["event"] == "intake_paused"}
    listener.start()
    assert readiness(listener) == "ok"
    with RawPeer(listener.port) as peer:
        peer.associate()
        for number in (631, 632):
            assert peer.store(report(number), sop_instance_uid=f"2.25.{number}") == 0
    assert whole(listener, 631)


def test_row_66_a_stop_under_load_ends_in_time_and_loses_nothing(start_process):
    """2/3/1 for who comes now, the others are ended within the grace; exit code 0; what was acknowledged is there."""
    listener = start_process()
    acknowledged, stopping, refused = [], threading.Event(), []

    def send(first):
        number = first
        with RawPeer(listener.port) as peer, contextlib.suppress(AssertionError, TypeError, OSError):
            peer.associate(calling=f"SENDER{first}".encode())
            while peer.store(report(number), sop_instance_uid=f"2.25.{number}") == 0:
                acknowledged.append(f"2.25.{number}")
                number += 1

    def knock():
        while stopping.wait(0.2) and listener.process.poll() is None:
            with contextlib.suppress(OSError, TypeError), RawPeer(listener.port) as peer:
                peer.send(pdu(ASSOCIATE_RQ, associate_rq()))
                kind, body = peer.receive()
                refused.append((kind, *body[1:4]))
            time.sleep(0.1)

    threads = [threading.Thread(target=send, args=(n * 1_000_000,), daemon=True) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(acknowledged) < 50:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stopping.set()
    knocking = threading.Thread(target=knock, daemon=True)
    began = time.monotonic()
    listener.process.terminate()
    time.sleep(0.3)
    knocking.start()
    assert listener.process.wait(25) == 0
    assert time.monotonic() - began < 21  # ten seconds to end by themselves, ten for the last commit
    listener.process.stdout.close()
    for thread in [*threads, knocking]:
        thread.join(20)
        assert not thread.is_alive()
    assert set(acknowledged) <= set(listener.objects())
    assert refused
    assert set(refused) == {(3, 2, 3, 1)}


def test_row_70_a_clock_that_is_set_back_changes_no_order(start, objects, monkeypatch):
    """What came last is current, and what came first is processed first, whatever the clock says."""
    running = start()
    peer = running.peer()
    peer.associate()
    clock = [dt.datetime.now(dt.UTC)]
    now = types.SimpleNamespace(now=lambda _: clock[0])
    monkeypatch.setattr(intake_module, "dt", types.SimpleNamespace(datetime=now, UTC=dt.UTC))
    first, other = objects.data_set(), objects.data_set()
    assert peer.store(objects.encode(first), sop_instance_uid=first.SOPInstanceUID).Status == 0
    clock[0] -= dt.timedelta(hours=1)
    assert peer.store(objects.encode(other), sop_instance_uid=other.SOPInstanceUID).Status == 0
    first.PatientID = "P2"
    corrected = objects.encode(first)
    assert peer.store(corrected, sop_instance_uid=first.SOPInstanceUID).Status == 0
    pending = queue.take_pending(running.database, maximum_objects=10, maximum_bytes=10**9, exclude=())
    uids = [o.sop_instance_uid for o in pending]
    assert uids == [first.SOPInstanceUID, other.SOPInstanceUID, first.SOPInstanceUID]
    with running.database.read() as connection:
        current = connection.exec_driver_sql(
            "SELECT o.data FROM sop_instance s JOIN original o ON o.object_id = s.id "
            "WHERE s.is_current AND s.sop_instance_uid = ?",
            (str(first.SOPInstanceUID),),
        ).all()
    assert [bytes(row[0]) for row in current] == [corrected]
