"""The engine that runs tasks: a Dask cluster of our own on this machine, or one that a site runs."""

import contextlib
import fcntl
import functools
import logging
import multiprocessing
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
import distributed
from distributed.security import Security

from dicomnlp import config, logs
from dicomnlp.config import Settings
from dicomnlp.errors import ConfigurationError, DicomnlpError, LanguagePackError
from dicomnlp.model import Processed, StoredObject
from dicomnlp.work import preload
from dicomnlp.work.archive import ReadBy

Function = Callable[[Sequence[StoredObject]], list[Processed]]
"""What a task does to one or more objects, see `process.process`; picklable, pure, and never raising."""

ANSWER_SECONDS = 10.0
"""A scheduler that doesn't answer a question within this is taken for dead."""
SCRATCH_PREFIX = "dicomnlp-work-"
PRELOAD = preload.__name__
"""What a worker process of ours runs before it takes tasks."""
CLOSE_SECONDS = 5.0
"""What the workers may take to end before they are killed; one that is only just starting takes longer."""
END_SECONDS = 10.0
"""What all of an engine may take to end, whatever state it is in, before it is left as it is, its workers killed."""
STOP_LOOK_SECONDS = 0.1
"""Between two looks, while a cluster starts, whether it is still wanted."""
START_SECONDS = 120.0
"""A worker process that isn't up within this is taken for dead: most of it is the language pack's first loading."""

DASK_CONFIGURATION = {
    # each death of a worker is reported at once, and the dispatcher judges it; Dask's own retries know no isolation
    "distributed.scheduler.allowed-failures": 0,
    # so long after a death LocalCluster looks once whether that worker is back, and gives its nanny up for good if it
    # isn't, even when it is only just being restarted from a later death; what stays away is seen by the dispatcher
    "distributed.deploy.lost-worker-timeout": "3650 days",
    # nothing of a patient is ever written to a spill file, and a worker that has grown isn't paused for ever with a
    # task in hand: it is replaced between two tasks, or ended by its nanny
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    # Dask's HTTP servers can't be turned off, but they need not tell anything to whoever asks
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    # a single large PDF is a large task, and no news
    "distributed.admin.large-graph-warning-threshold": "1GiB",
}


class EngineError(DicomnlpError):
    """The scheduler can't be started or reached, or has died; what was in flight is tried again."""

    reason_code = "engine_unreachable"
    retryable = True


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What the scheduler last heard from a worker process."""

    memory_bytes: int
    """Resident set, up to a heartbeat (half a second) old."""
    memory_limit_bytes: int
    """0: no limit."""


class Engine:
    """A running Dask cluster, seen as worker processes by address.

    Tasks are pinned to a worker, so that when one dies it is known which objects it had in hand.

    Parameters
    ----------
    settings
        `work.scheduler` decides between a cluster of our own and a remote one.
    function
        Applied to one object at a time in the worker; must be picklable.
    stop
        Once it is set, a cluster of our own that isn't up yet is given up at once; loading the language pack alone
        may take a minute on a busy machine.

    Raises
    ------
    EngineError
        The cluster can't be started or reached now, or `stop` was set.
    LanguagePackError
        The workers can't load the pack of the default language.
    ConfigurationError
        The scheduler's address is remote and not encrypted, or a file with certificates can't be read.
    """

    def __init__(self, settings: Settings, function: Function, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._not_ours = set(multiprocessing.active_children())
        self._task = functools.partial(
            preload.run,
            function,
            timeout_seconds=settings.work.object_timeout_seconds,
            level=settings.logs.level,
            language=settings.analyse.language,
            overlays=str(settings.overlays or ""),
            models=str(settings.models),
        )
        self._cluster: Any = None
        self._holding: set[tuple[str, str]] = set()
        """Addresses of workers, each with the digest of an archive that it has."""
        self._stack = contextlib.ExitStack()
        try:
            with self._given_up_on_stop():
                self._start()
                self.check_pack(ReadBy())
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        preload.silence_distributed()
        self._stack.enter_context(dask.config.set(DASK_CONFIGURATION))
        address = self._settings.work.scheduler
        try:
            if address:
                _refuse_open_network(address)
                self.expected_workers = self._settings.work.workers or 1
                target, security = address, self._security()
            else:
                self.expected_workers = self._settings.work.workers or len(os.sched_getaffinity(0))
                target, security = self._start_cluster()
            client = distributed.Client(  # type: ignore[no-untyped-call]
                target, security=security, timeout=ANSWER_SECONDS, set_as_default=False, name="dicomnlp"
            )
        except (OSError, TimeoutError, RuntimeError) as error:
            self._tell(error)
            raise EngineError("the Dask scheduler or its workers can't be started or reached") from None
        self._client: Any = client
        self._stack.callback(client.close, timeout=ANSWER_SECONDS)
        preload.silence_distributed()

    def _security(self) -> Security:
        """What a remote scheduler is to be shown, and by what it is known."""
        names = ("scheduler_ca", "scheduler_certificate", "scheduler_key")
        if not self._settings.work.scheduler_ca:
            return Security()  # type: ignore[no-untyped-call]
        files = [(self._settings.folder / getattr(self._settings.work, name)).resolve() for name in names]
        for name, file in zip(names, files, strict=True):
            if not os.access(file, os.R_OK):
                raise ConfigurationError(f"work.{name}: {file} can't be read")
        ca, certificate, key = map(str, files)
        return Security(  # type: ignore[no-untyped-call]
            tls_ca_file=ca, tls_client_cert=certificate, tls_client_key=key, require_encryption=True
        )

    def _start_cluster(self) -> tuple[Any, Security]:
        _start_resource_tracker()
        security = Security.temporary()  # type: ignore[no-untyped-call]
        folder = self._stack.enter_context(_scratch_folder())
        self._cluster = distributed.LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=self.expected_workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            protocol="tls://",
            security=security,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # else it takes the well-known port 8787
            silence_logs=logging.CRITICAL,
            local_directory=str(folder),
            memory_limit=self._settings.work.memory_limit_bytes,
            death_timeout=START_SECONDS,
            preload=[PRELOAD],
            # in a worker these name keys of the configuration, and mean the same
            env={
                f"{config.ENVIRONMENT_PREFIX}LOGS__LEVEL": self._settings.logs.level,
                f"{config.ENVIRONMENT_PREFIX}ANALYSE__LANGUAGE": self._settings.analyse.language,
                f"{config.ENVIRONMENT_PREFIX}ANALYSE__OVERLAYS": str(self._settings.overlays or ""),
                f"{config.ENVIRONMENT_PREFIX}LEARN__MODELS": str(self._settings.models),
            },
        )
        self._stack.callback(self._close_cluster)
        return self._cluster, security

    def check_pack(self, read_by: ReadBy) -> None:
        """Have a worker try whether it can read by a pipeline.

        Raises
        ------
        EngineError
            No worker answers.
        LanguagePackError
            The pack of the default language can't be used.
        """
        try:
            refusal = self._client.submit(
                preload.check,
                self._settings.logs.level,
                self._settings.analyse.language,
                str(self._settings.overlays or ""),
                str(self._settings.models),
                read_by,
                pure=False,
            ).result(timeout=START_SECONDS)
        except Exception as error:  # noqa: BLE001  whatever it is, nothing can be done with these workers
            self._tell(error)
            raise EngineError("no worker of the Dask cluster can load this project; install it there") from None
        if refusal is not None:
            raise LanguagePackError(refusal)

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return str(self._client.scheduler.address)

    def workers(self) -> dict[str, WorkerStatus]:
        """The live worker processes, by address.

        Raises
        ------
        EngineError
            The scheduler doesn't answer.
        """
        if self._client.status != "running":
            raise EngineError("the connection to the Dask scheduler is lost")
        try:
            identity = self._client.sync(self._client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_SECONDS)
        except (OSError, TimeoutError, RuntimeError) as error:
            raise EngineError(f"the Dask scheduler doesn't answer ({type(error).__name__})") from None
        return {
            address: WorkerStatus(int(w["metrics"].get("memory", 0)), int(w["memory_limit"] or 0))
            for address, w in identity["workers"].items()
            if w["status"] == "running"
        }

    def submit(self, batch: Sequence[StoredObject], address: str, read_by: ReadBy) -> Any:
        """Send `batch` to the worker at `address`; the Dask future of a `preload.Done`.

        An archive, which may hold models of megabytes, goes with it until the worker has answered to one that had it.
        """
        holding = address, read_by.sha256
        sent = replace(read_by, archive=b"") if holding in self._holding else read_by
        future = self._client.submit(
            self._task, list(batch), sent, workers=[address], allow_other_workers=False, pure=False
        )
        future.add_done_callback(functools.partial(self._note, holding))
        return future

    def _note(self, holding: tuple[str, str], done: Any) -> None:
        """Keep whether a worker has an archive; after an error another process may be at the same address."""
        if done.status == "finished":
            self._holding.add(holding)
        else:
            self._holding.discard(holding)

    def end_worker(self, address: str) -> None:
        """Kill the worker process at `address`, whatever it is doing; its nanny starts another."""
        with contextlib.suppress(OSError, TimeoutError):
            self._client.sync(
                self._client._run,  # noqa: SLF001
                preload.end_worker,
                workers=[address],
                nanny=True,
                on_error="ignore",
                callback_timeout=ANSWER_SECONDS,
            )

    def close(self) -> None:
        """End the cluster (if it is ours) and the connection within `END_SECONDS`; never raises, whatever their state.

        Its workers are gone then, and what they had in hand with them.
        """
        closing = threading.Thread(target=self._close, name="engine-close", daemon=True)
        closing.start()
        closing.join(END_SECONDS)
        if closing.is_alive():
            logs.log(logs.Event.WORK_PAUSED, reason_code="engine_close_failed")
        self._kill_workers()
        if self._cluster is not None:
            self._cluster.shutdown_on_close = False  # one that couldn't be closed is waited for again at exit else

    def _close(self) -> None:
        try:
            self._stack.close()
        except Exception as error:  # noqa: BLE001
            logs.log(logs.Event.WORK_PAUSED, reason_code="engine_close_failed", **logs.describe(error))

    def _close_cluster(self) -> None:
        with contextlib.suppress(TimeoutError):
            self._cluster.close(timeout=CLOSE_SECONDS)

    def _kill_workers(self) -> None:
        """Kill the worker processes that are ours."""
        if not self._settings.work.scheduler:
            for process in set(multiprocessing.active_children()) - self._not_ours:
                process.kill()

    @contextlib.contextmanager
    def _given_up_on_stop(self) -> Iterator[None]:
        """While this lasts, a stop kills the workers, whereupon Dask ends its start of the cluster with an error."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(STOP_LOOK_SECONDS):
                if self._stop.is_set():
                    self._kill_workers()

        watching = threading.Thread(target=watch, name="engine-start", daemon=True)
        watching.start()
        try:
            yield
        finally:
            over.set()
            watching.join()

    def _tell(self, error: Exception) -> None:
        """Log why there is no engine, unless a stop is why."""
        if not self._stop.is_set():
            logs.log(logs.Event.WORK_PAUSED, reason_code=EngineError.reason_code, **logs.describe(error))


@contextlib.contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A folder for the workers' own, removed afterwards; those of dispatchers that were killed are removed first."""
    for left in Path(tempfile.gettempdir()).glob(f"{SCRATCH_PREFIX}*/lock"):
        with contextlib.suppress(OSError), left.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, ignore_cleanup_errors=True) as name,
        Path(name, "lock").open("wb") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


def _start_resource_tracker() -> None:
    """Start, without a standard error, the process in which multiprocessing notes what its processes share.

    It prints tracebacks and warnings of its own when a worker is killed, which is none of its business here: a worker's
    death is seen, logged and mended by the dispatcher.
    """
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        resource_tracker.ensure_running()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _refuse_open_network(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "tls" and not config.is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            "work.scheduler: reports would cross the network unencrypted and anyone could run code on the workers; "
            "use a tls:// address, and certificates"
        )
