"""The dispatcher: pending objects to the engine, results to the database.

The database is the only truth. What is in flight is known here and nowhere else, so whatever dies, an object is either
saved or still pending. Who is to blame when a worker process dies:

- A batch whose worker died is taken apart, and each of its objects is tried alone: sent only to a worker with
  nothing else in hand. This costs no attempt.
- An object that was alone with a worker that died has used an attempt; at `work.maximum_attempts` it has failed, as
  "worker_killed" or, if it had the time it is allowed, as "timeout". Objects with an attempt are always run alone.
- A lost scheduler or engine, and a stop, cost no attempt.
"""

import asyncio
import concurrent.futures
import functools
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from distributed import KilledWorker

from dicomnlp.config import Settings
from dicomnlp.errors import DatabaseError
from dicomnlp.logs import Event, describe, log
from dicomnlp.model import Processed, State, StoredObject
from dicomnlp.store.database import Database
from dicomnlp.store.prepared import Prepared
from dicomnlp.store.reprocess import Run, read_run
from dicomnlp.work.archive import ReadBy
from dicomnlp.work.engine import ANSWER_SECONDS, Engine, EngineError, Function
from dicomnlp.work.pace import BATCH_SECONDS, Pace, Pause, divide
from dicomnlp.work.pending import Pending
from dicomnlp.work.process import process, readings, switches_of
from dicomnlp.work.saving import Saver

POLL_SECONDS = 0.1
"""Between two looks for pending objects when there is nothing else to do: part of a new report's latency."""
TASKS_PER_WORKER = 2
"""One that runs and one that waits, so that a worker isn't idle while its result travels."""
SLOW_SECONDS = 2 * BATCH_SECONDS
"""An object that is likely to take longer, or a task that has, has a worker for itself, and one worker is left free."""
DRAIN_SECONDS = 10.0
"""What tasks in flight may take to end after a stop."""
WATCH_SECONDS = 0.5
"""Between two looks at the state of the workers."""
VANISHED_SECONDS = 2.0
"""How long a task may be unheard of after its worker left: the news of its end travels on another connection."""
SPARE_SECONDS = 30.0
"""Beyond the sum of its objects' time a task that says nothing is given up; a live worker ends itself before."""
NO_WORKERS_SECONDS = 120.0
"""An engine that has been short of workers for so long, with none at work, is rebuilt."""
RECYCLE_FRACTION = 0.7
"""A worker above this part of its memory limit is replaced between two tasks, before its nanny ends it during one."""
PROGRESS_SECONDS = 0.5


@dataclass(slots=True, eq=False)
class _Task:
    batch: list[StoredObject]
    address: str
    alone: bool
    future: Any
    is_slow: bool
    """It is likely to take longer than `SLOW_SECONDS`."""
    started: float | None
    """When it was seen to be the first in its worker's queue (monotonic seconds)."""
    missed: float | None = None
    """When its worker was first seen to be gone."""


def work_through(
    settings: Settings,
    database: Database,
    run_id: int,
    on_progress: Callable[[int, int], None],
    stop: threading.Event | None = None,
) -> None:
    """Be the dispatcher until nothing of the reprocessing run `run_id` is pending.

    Parameters
    ----------
    on_progress
        Called now and then with how many of the run's objects are done, and of how many.

    Raises
    ------
    AlreadyRunningError
        A dispatcher runs already, and does the work.
    """
    seen: tuple[float, Run] | None = None

    def finished() -> bool:
        nonlocal seen
        if seen is None or time.monotonic() - seen[0] >= PROGRESS_SECONDS:
            seen = time.monotonic(), read_run(database, run_id)
            on_progress(seen[1].done, seen[1].total)
        return bool(seen[1].done >= seen[1].total)

    with database.hold("dispatcher") as check_role:
        Dispatcher(settings, database, check_role=check_role).run(
            stop or threading.Event(), lambda _address: None, finished
        )


class Queue(Protocol):
    """Where objects come from and results go: `Pending`, or what is done beside it."""

    @property
    def saver(self) -> Saver:
        """Where results go."""

    def take(
        self, *, maximum_objects: int, maximum_bytes: int, exclude: Collection[int], arrivals_only: bool
    ) -> list[StoredObject]:
        """The next objects, see `store.queue.take_pending`."""

    def read_by(self) -> ReadBy:
        """What they are to be read by."""


class Dispatcher:
    """The loop, and all that is known only while it runs.

    Parameters
    ----------
    settings, database
        As for `run_dispatcher`.
    function
        What a worker does to objects; by default `process` with what the settings say.
    check_role
        Raises when another process may have become the dispatcher.
    queue
        Where objects come from; by default those that are pending in the database.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        function: Function | None = None,
        check_role: Callable[[], None] = lambda: None,
        queue: Queue | None = None,
    ) -> None:
        self._settings = settings
        self._check_role = check_role
        self._queue = queue or Pending(database, settings.work.maximum_attempts, settings.models)
        self._read_by: ReadBy | None = None
        """What the engine's workers are known to be able to read by."""
        self._function = function or functools.partial(
            process,
            fallbacks=tuple(settings.extract.character_set_fallbacks),
            language=settings.analyse.language,
            by_ae_title=readings(settings),
            switches=switches_of(settings),
        )
        self._stop = threading.Event()
        self._engine: Engine | None = None
        self._workers: set[str] = set()
        """Addresses of the worker processes that may get tasks."""
        self._retired: set[str] = set()
        """Of those that are to be ended: they get nothing more."""
        self._ended: set[str] = set()
        self._tasks: list[_Task] = []
        self._batches: deque[list[StoredObject]] = deque()
        self._slow: deque[list[StoredObject]] = deque()
        """Those of them that are likely to take long: nothing is to wait behind them."""
        self._pace = Pace()
        self._suspects: deque[StoredObject] = deque()
        """Objects to be run alone."""
        self._suspect_last = False
        self._saver = self._queue.saver
        self._settled = threading.Event()
        """A task is done."""
        self._watched = self._enough_workers = 0.0
        self._database_pause = Pause()
        self._engine_pause = Pause()

    def run(
        self,
        stop: threading.Event,
        on_ready: Callable[[str], None],
        finished: Callable[[], bool] = lambda: False,
    ) -> None:
        """Work until `stop` is set or `finished()`.

        Raises
        ------
        RoleLostError
            Another process may be the dispatcher; what was in hand is left to it.
        """
        announced = False
        self._stop = stop
        try:
            while not stop.is_set():
                self._guarded(self._step)
                if self._engine is not None and not announced and not stop.is_set():
                    announced = True
                    on_ready(self._engine.address)
                if self._database_pause.over and self._guarded(finished):
                    break
                self._wait()
            self._drain()
        finally:
            if self._engine is not None:
                self._engine.close()

    def _guarded(self, step: Callable[[], Any]) -> Any:
        """Do `step`; a failing database or engine makes a pause, never an end."""
        try:
            return step()
        except DatabaseError as error:
            log(Event.WORK_PAUSED, reason_code=error.reason_code, **describe(error))
            self._database_pause.begin()
        except EngineError as error:
            self._lose_engine(error)
        return None

    def _step(self) -> None:
        if self._engine is None and self._engine_pause.over:
            self._engine = Engine(self._settings, self._function, self._stop)
            self._watched, self._enough_workers = 0.0, time.monotonic()
        self._settle_done()
        if time.monotonic() - self._watched >= WATCH_SECONDS:
            self._check_role()
            self._watched = time.monotonic()
            if self._engine is not None:
                self._watch(self._engine)
        if not self._database_pause.over:
            return
        self._suspects += self._saver.save()
        if self._engine is not None:
            self._look_up(self._engine)
            self._place_suspects(self._engine)
            self._place_batches(self._engine)
            self._place_slow(self._engine)
        self._database_pause.reset()

    def _look_up(self, engine: Engine) -> None:
        """See what objects are to be read by, and whether the workers can."""
        read_by = self._queue.read_by()
        if read_by != self._read_by:
            engine.check_pack(read_by)
            self._read_by = read_by

    def _wait(self) -> None:
        """Until a task is done, or for `POLL_SECONDS`.

        Not by a SimpleQueue: its `get` forgets its timeout when a signal comes whose handler ends after it (CPython
        3.11), and a dispatcher with nothing in hand would then wait for ever.
        """
        self._settled.wait(POLL_SECONDS)
        self._settled.clear()

    def _drain(self) -> None:
        """Let what is in flight end, and save it; whatever isn't saved is still pending in the database."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while (self._tasks or self._saver.waiting) and time.monotonic() < deadline:
            self._settle_done(blame=False)
            if self._database_pause.over:
                self._guarded(self._saver.save)
            if self._tasks or self._saver.waiting:
                self._wait()

    # --- the engine and its workers --------------------------------------------------------------------------------

    def _lose_engine(self, error: EngineError) -> None:
        if not self._stop.is_set():
            log(Event.ENGINE_RESTARTED, reason_code=error.reason_code)
        if self._engine is not None:
            self._engine.close()
        self._engine, self._read_by = None, None
        self._workers, self._retired, self._ended = set(), set(), set()
        for task in self._tasks:
            self._again(task)
        self._tasks = []
        self._engine_pause.begin()

    def _watch(self, engine: Engine) -> None:
        """See which workers there are, which tasks have lost theirs, and which take too long."""
        now = time.monotonic()
        self._look(engine)
        if len(self._workers) >= engine.expected_workers:
            self._enough_workers = now
            self._engine_pause.reset()
        elif now - self._enough_workers > NO_WORKERS_SECONDS:
            raise EngineError("worker processes are missing and don't come back", reason_code="no_workers")
        heads: set[str] = set()
        for task in list(self._tasks):
            if task.address not in heads:
                heads.add(task.address)
                task.started = task.started or now
            if task.address in self._workers | self._retired:
                task.missed = None
            elif task.missed is None:
                task.missed = now
            if task.missed is not None and now - task.missed > VANISHED_SECONDS:
                self._lose(task)
            elif task.started is not None and now - task.started > self._allowance(task):
                self._retired.add(task.address)
                self._end(engine, task.address)
                self._lose(task)

    def _allowance(self, task: _Task) -> float:
        return len(task.batch) * self._settings.work.object_timeout_seconds + SPARE_SECONDS

    def _look(self, engine: Engine) -> None:
        """See which workers there are; those that have grown too large get nothing more, and end when idle."""
        found = engine.workers()
        grown = {a for a, w in found.items() if w.memory_bytes > RECYCLE_FRACTION * w.memory_limit_bytes > 0}
        self._retired = (self._retired | grown) & set(found)
        self._ended &= set(found)
        self._workers = set(found) - self._retired
        for address in self._retired - {task.address for task in self._tasks}:
            self._end(engine, address)

    def _end(self, engine: Engine, address: str) -> None:
        if address not in self._ended:
            self._ended.add(address)
            engine.end_worker(address)

    # --- what goes out ---------------------------------------------------------------------------------------------

    def _place_suspects(self, engine: Engine) -> None:
        """Send objects to be run alone to workers with nothing in hand, to half of the workers at the most."""
        while self._suspects and not self._saver.waiting:
            idle = self._workers - {task.address for task in self._tasks}
            if not idle or sum(task.alone for task in self._tasks) >= max(1, len(self._workers) // 2):
                return
            if len(self._workers) == 1 and self._suspect_last and (self._batches or self._poll(1)):
                return
            # an attempt must not be spent on a worker that has just died of something else
            self._look(engine)
            idle &= self._workers
            if idle:
                self._submit(engine, idle.pop(), [self._suspects.popleft()], alone=True)
                self._suspect_last = True

    def _place_batches(self, engine: Engine) -> None:
        """Give each worker something to do and something to wait for."""
        if self._saver.waiting:
            return
        in_hand = Counter(task.address for task in self._tasks)
        closed = {task.address for task in self._tasks if task.alone} | self._reserved(in_hand)
        slots = {a: TASKS_PER_WORKER - in_hand[a] for a in self._workers - closed - self._delayed()}
        free = sum(slots.values())
        if free and not self._batches:
            self._poll(free)
        while self._batches and any(slots.values()):
            address = max(slots, key=lambda a: slots[a])
            slots[address] -= 1
            self._submit(engine, address, self._batches.popleft(), alone=False)
            self._suspect_last = False

    def _place_slow(self, engine: Engine) -> None:
        """Send what takes long to workers with nothing in hand, but never to the last that would have none of it."""
        while self._slow and not self._saver.waiting:
            idle = self._workers - {task.address for task in self._tasks} - self._reserved(Counter())
            busy = {task.address for task in self._tasks if task.is_slow}
            if not idle or len(busy) >= max(1, len(self._workers) - 1):
                return
            self._submit(engine, idle.pop(), self._slow.popleft(), alone=False, is_slow=True)

    def _delayed(self) -> set[str]:
        """Workers that are at something slow, or at a task that has turned out so: nothing is to wait there."""
        now = time.monotonic()
        return {
            task.address
            for task in self._tasks
            if task.is_slow or (task.started is not None and now - task.started > SLOW_SECONDS)
        }

    def _reserved(self, in_hand: Counter[str]) -> set[str]:
        """The worker that gets no batches until it is empty, because an object waits to be run alone."""
        if not self._suspects or any(task.alone for task in self._tasks) or not self._workers:
            return set()
        if len(self._workers) == 1 and self._suspect_last:
            return set()
        return {min(self._workers, key=lambda a: in_hand[a])}

    def _most_suspects(self) -> int:
        """Beyond so many held back, taking more only fills the memory."""
        return 4 * TASKS_PER_WORKER * max(1, len(self._workers)) * self._settings.work.batch_objects

    def _poll(self, batches: int) -> bool:
        """Take pending objects for so many batches: small ones when few are pending, so that none waits for others."""
        held_back = len(self._suspects) / self._most_suspects() + len(self._slow) / self._most_slow()
        if held_back >= 2.0:
            return False
        work = self._settings.work
        maximum_objects, maximum_bytes = self._pace.limits(work.batch_objects, work.batch_bytes)
        objects = self._queue.take(
            maximum_objects=batches * maximum_objects,
            maximum_bytes=batches * maximum_bytes,
            exclude=self._held(),
            # of an archive in which much is slow or suspect no more is taken, but what comes in goes on
            arrivals_only=held_back >= 1.0,
        )
        self._suspects += [stored for stored in objects if stored.attempts]
        fresh = [stored for stored in objects if not stored.attempts]
        size = min(maximum_objects, math.ceil(len(fresh) / batches))
        for batch in divide(fresh, maximum_objects=size, maximum_bytes=maximum_bytes):
            is_slow = len(batch) == 1 and self._pace.expected(len(batch[0].data)) > SLOW_SECONDS
            (self._slow if is_slow else self._batches).append(batch)
        return bool(self._batches)

    def _most_slow(self) -> int:
        return TASKS_PER_WORKER * max(1, len(self._workers))

    def _held(self) -> set[int]:
        held = {stored.object_id for task in self._tasks for stored in task.batch}
        held |= {stored.object_id for batch in (*self._batches, *self._slow) for stored in batch}
        return held | {stored.object_id for stored in self._suspects} | self._saver.object_ids()

    def _submit(
        self, engine: Engine, address: str, batch: list[StoredObject], *, alone: bool, is_slow: bool = False
    ) -> None:
        started = None if any(task.address == address for task in self._tasks) else time.monotonic()
        assert self._read_by is not None
        task = _Task(batch, address, alone, engine.submit(batch, address, self._read_by), is_slow, started)
        self._tasks.append(task)
        task.future.add_done_callback(lambda _future: self._settled.set())

    # --- what comes back -------------------------------------------------------------------------------------------

    def _settle_done(self, *, blame: bool = True) -> None:
        for task in [task for task in self._tasks if task.future.done()]:
            try:
                done = task.future.result(timeout=ANSWER_SECONDS)
                # of a worker with another version of this program it may be anything
                results, seconds = done.results, done.seconds
            except KilledWorker:
                self._workers.discard(task.address)
                self._lose(task, blame=blame)
            except (concurrent.futures.CancelledError, asyncio.CancelledError, OSError, TimeoutError):
                self._tasks.remove(task)  # the scheduler is gone, or the worker died with the finished result
                self._again(task)
            except Exception as error:  # noqa: BLE001  `run` never raises: the batch or the results can't be sent
                log(Event.TASK_FAILED, count=len(task.batch), reason_code="internal_error", **describe(error))
                self._lose(task, reason_code="internal_error", blame=blame)
            else:
                self._tasks.remove(task)
                self._pace.note(len(task.batch), sum(len(stored.data) for stored in task.batch), seconds)
                self._keep(task.batch, results)

    def _keep(self, batch: list[StoredObject], results: list[Processed | Prepared]) -> None:
        for stored, result in zip(batch, results, strict=True):
            failed = result.state is State.FAILED
            log(
                Event.OBJECT_FAILED if failed else Event.OBJECT_PROCESSED,
                object_id=stored.object_id,
                sop_instance_uid=stored.sop_instance_uid,
                reason_code=result.reason_code,
                **({"attempts": stored.attempts} if failed else {"state": result.state, "pipeline": result.pipeline}),
            )
        self._saver.results.append(results)

    def _lose(self, task: _Task, reason_code: str | None = None, *, blame: bool = True) -> None:
        """`task` won't come back: its worker has died, or is being ended, with it in hand."""
        self._tasks.remove(task)
        task.future.release()
        if reason_code is None:
            ended = task.missed or time.monotonic()
            age = ended - (task.started or ended)
            reason_code = "timeout" if age >= self._settings.work.object_timeout_seconds else "worker_killed"
            log(Event.WORKER_LOST, count=len(task.batch), reason_code=reason_code)
        if not task.alone:
            self._suspects += task.batch
        elif blame:
            self._saver.losses.append((task.batch[0], reason_code))

    def _again(self, task: _Task) -> None:
        """Nobody's fault: the same once more."""
        if task.alone:
            self._suspects.appendleft(task.batch[0])
        else:
            (self._slow if task.is_slow else self._batches).appendleft(task.batch)
