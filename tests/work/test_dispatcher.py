"""The dispatcher on a real Dask cluster: every object once, whatever dies, and the poisonous ones end as failed."""

import collections
import contextlib
import itertools
import random
import socket
import ssl
import time

import psutil
from support.records import instance_uid
from work.bench import worker_processes

from dicomnlp.errors import DatabaseError
from dicomnlp.model import StoredObject
from dicomnlp.store.reprocess import Selection, read_run, start_run
from dicomnlp.work import dispatcher as module
from dicomnlp.work import saving
from dicomnlp.work.dispatcher import TASKS_PER_WORKER
from dicomnlp.work.pace import BATCH_SECONDS, divide


def test_new_object_is_saved_within_a_second_of_its_commit(bench):
    """A single report doesn't wait for a batch to fill."""
    bench.wait_for_workers()
    took = []
    for _ in range(5):
        [one] = bench.arrive(b"read")
        begun = time.monotonic()
        assert bench.wait([one])[one] == ("analysed", None, 1)
        took.append(time.monotonic() - begun)
    assert sorted(took)[2] < 1.0


def test_engine_listens_on_loopback_only_and_tells_nothing_without_its_credentials(bench):
    """Nobody else on the network reaches the scheduler or a worker; on this machine TLS credentials are asked for."""
    bench.wait_for_workers()
    processes = [psutil.Process(), *worker_processes()]
    listening = {c.laddr for p in processes for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert len(listening) >= 3
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    assert 8787 not in {port for _, port in listening}
    for host, port in listening:
        assert ask(host, port, None) in (b"", b"HTTP/1.1 404"), port
    stranger = ssl.create_default_context()
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    for address in [bench.dispatcher._engine.address, *bench.dispatcher._workers]:
        assert ask("127.0.0.1", int(address.rpartition(":")[2]), stranger) == b"", address


def ask(host, port, context):
    """The first bytes that a server answers to a stranger, b"" when it hangs up or says nothing."""
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.settimeout(1)
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(connection) if context else contextlib.nullcontext(connection) as stream,
        ):
            stream.sendall(b"GET /json/identity.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return stream.recv(12)
    return b""


def test_reprocessing_run_is_worked_through_to_its_end(bench):
    """Every object of a run is processed again, and the progress is told."""
    bench.wait_for_workers()
    ids = bench.arrive(*[b"read"] * 20)
    bench.wait(ids)
    run = start_run(bench.database, Selection(uids=tuple(instance_uid(n) for n in ids)))
    deadline = time.monotonic() + 30
    while read_run(bench.database, run.id).done < run.total:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert collections.Counter(bench.saved)[ids[0]] == 2


def test_new_object_overtakes_an_archive_that_is_reprocessed(bench):
    """Before it come only the objects that workers have in hand: half a second's work, and as much in waiting."""
    bench.wait_for_workers()
    archive = bench.arrive(*[b"sleep 0.02"] * 600)
    bench.wait(archive)
    run = start_run(bench.database, Selection(uids=tuple(instance_uid(n) for n in archive)))
    time.sleep(1.0)
    before = read_run(bench.database, run.id).done
    [new] = bench.arrive(b"read")
    bench.wait([new])
    after = read_run(bench.database, run.id).done
    in_hand = bench.settings.work.workers * TASKS_PER_WORKER * BATCH_SECONDS / 0.02
    # and what is placed and saved while it is being taken, saved and seen, on a machine that does other things too
    assert after - before < 3.6 * in_hand <= 0.6 * run.total
    bench.wait(archive)


def test_slow_objects_of_an_archive_leave_a_worker_for_new_ones(bench):
    """However many there are: a new one doesn't wait for any of them."""
    bench.wait_for_workers()
    archive = bench.arrive(*[b"sleep 1.5 " + b"x" * 1_000_000] * 5)
    time.sleep(0.5)
    new = bench.arrive(b"read", b"read")
    bench.wait(new)
    assert sum(state == "pending" for state, *_ in bench.states(archive).values()) >= 3
    bench.wait(archive)


def test_poisonous_objects_fail_alone_and_their_neighbours_succeed(bench):
    """Batches that lose their worker are taken apart; only the guilty ones use up their attempts."""
    bench.wait_for_workers()
    reasons = {
        b"kill": {"worker_killed"},
        b"hang": {"timeout"},
        b"eat": {"worker_killed", "timeout"},  # beyond the memory limit the nanny ends it, if its time isn't up before
        b"gulp": {"worker_killed"},  # nor does it get so much at once
        b"raise": {"internal_error"},  # a function that breaks its promise never to raise
    }
    contents = [b"read"] * 40
    for place, poison in zip((3, 10, 14, 25, 36), reasons, strict=True):
        contents[place] = poison
    ids = bench.arrive(*contents)
    states = bench.wait(ids)
    attempts = bench.settings.work.maximum_attempts
    for object_id, content in zip(ids, contents, strict=True):
        state, reason, tried = states[object_id]
        expected = ("failed", reasons[content], attempts) if content in reasons else ("analysed", {None}, 1)
        assert (state, {reason} & expected[1], tried) == (expected[0], {reason}, expected[2]), content


def test_new_objects_pass_while_a_poisonous_one_is_tried(bench):
    """One worker is enough for the trials; the other goes on with what comes in."""
    bench.wait_for_workers()
    [poison] = bench.arrive(b"hang")
    passed = 0
    while bench.states([poison])[poison][0] == "pending":
        bench.wait(bench.arrive(b"read"))
        passed += 1
        time.sleep(0.05)
    # the trials are two times two seconds, and the deaths between them; without a worker left, none would pass
    assert passed > 3


def test_killed_workers_cost_only_repeated_work(bench):
    """Workers die at random under 500 objects: each is saved exactly once, none fails, none is stuck."""
    bench.wait_for_workers()
    chance = random.Random(2)
    already = len(bench.saved)
    ids = bench.arrive(*[b"sleep 0.02"] * 500)
    kills = 0
    while any(state == "pending" for state, *_ in bench.states(ids).values()):
        time.sleep(chance.uniform(0.2, 1.0))
        alive = worker_processes()
        if alive and kills < 8:
            chance.choice(alive).kill()
            kills += 1
    assert kills >= 4
    assert {(state, reason) for state, reason, _ in bench.states(ids).values()} == {("analysed", None)}
    assert collections.Counter(bench.saved[already:]) == collections.Counter(ids)


def test_idle_workers_that_are_killed_come_back(bench):
    """Nothing is lost when all workers die with nothing in hand."""
    bench.wait_for_workers()
    for process in worker_processes():
        process.kill()
    ids = bench.arrive(*[b"read"] * 10)
    assert set(bench.wait(ids).values()) == {("analysed", None, 1)}


def test_worker_that_has_grown_is_replaced_between_two_tasks(bench, monkeypatch):
    """A worker near its memory limit gets nothing more, and ends when it is idle; no object notices."""
    bench.wait_for_workers()
    before = {p.pid for p in worker_processes()}
    monkeypatch.setattr(module, "RECYCLE_FRACTION", 0.01)
    deadline = time.monotonic() + 30
    while {p.pid for p in worker_processes()} & before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    monkeypatch.undo()
    ids = bench.arrive(*[b"read"] * 10)
    assert set(bench.wait(ids).values()) == {("analysed", None, 1)}


def test_results_wait_for_a_database_that_fails(bench, monkeypatch, capsys):
    """A locked database drops nothing and ends nothing."""
    bench.wait_for_workers()
    failing = itertools.count()
    save = saving.save_processed

    def fail_twice(database, results):
        if next(failing) < 2:
            raise DatabaseError("busy", reason_code="database_locked")
        return save(database, results)

    monkeypatch.setattr(saving, "save_processed", fail_twice)
    ids = bench.arrive(*[b"read"] * 10)
    assert set(bench.wait(ids).values()) == {("analysed", None, 1)}
    assert next(failing) > 2


def test_lost_scheduler_is_replaced_and_costs_no_attempt(bench):
    """With the engine gone under its tasks, another is started, and the same objects are run again."""
    bench.wait_for_workers()
    ids = bench.arrive(*[b"sleep 0.2"] * 20)
    time.sleep(0.5)
    lost = bench.dispatcher._engine
    lost._cluster.sync(lost._cluster.scheduler.close)
    states = bench.wait(ids)
    assert bench.dispatcher._engine is not lost
    assert {(state, reason) for state, reason, _ in states.values()} == {("analysed", None)}


def test_batches_hold_to_both_limits_and_keep_the_order():
    """One object above the limit of bytes is a batch by itself."""
    objects = [StoredObject(i, "1.2", "1.2", "1.2", bytes(size)) for i, size in enumerate([10, 10, 10, 100, 10, 10])]
    divided = divide(objects, maximum_objects=2, maximum_bytes=30)
    assert [[o.object_id for o in batch] for batch in divided] == [[0, 1], [2], [3], [4, 5]]
    assert divide([], maximum_objects=2, maximum_bytes=30) == []
