"""What runs inside a worker process: its preparation, and the loop around each object.

A Dask cluster of one's own starts its workers with ``dask worker --nthreads 1 --preload dicomnlp.work.preload``.
"""

import functools
import logging
import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distributed import get_worker

from dicomnlp import logs
from dicomnlp.analyse import (
    Source,
    load_pack,
    models_changed,
    refused_models,
    refused_overlays,
    use_models,
    use_source,
)
from dicomnlp.analyse.learned_registry import fingerprint
from dicomnlp.errors import LanguageNotSupportedError, LanguagePackError, UsageError
from dicomnlp.model import Processed, StoredObject
from dicomnlp.store.prepared import Prepared, prepare_rows
from dicomnlp.work.archive import ReadBy, Unpacked

_ONE_AT_A_TIME = threading.Lock()
"""The timer that bounds an object is the process's only one, and a language pack's pipeline is not made for threads."""


@dataclass(slots=True)
class _Models:
    """The registry that this process has read."""

    known_by: str = ""


_MODELS = _Models()


@dataclass(frozen=True, slots=True)
class Done:
    """What comes back of a task."""

    results: list[Processed | Prepared]
    """One for each object, in order; those whose rows can't be made are as the function gave them."""
    seconds: float
    """What it took in the worker."""


def silence_distributed() -> None:
    """Keep Dask's own log lines off every output: they quote the arguments of tasks, which are reports."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        library = name.partition(".")[0]
        if isinstance(logger, logging.Logger) and library in {"distributed", "tornado"}:
            logger.handlers[:] = []  # Dask installs its own at import
            logger.propagate = True
            if library == "distributed":
                logger.setLevel(logging.CRITICAL + 1)


@functools.cache
def prepare(level: str, language: str, overlays: str = "", models: str = "") -> str | None:
    """Set this process up for reports: logging first, then the language pack, so that no report waits for it.

    Parameters
    ----------
    level
        Of the log.
    language
        The site's.
    overlays
        Folder of what the site adds to the packs, "" for none. One with faults isn't used, and the log says so.
    models
        Folder of the site's models, "" for none; likewise.

    Returns
    -------
    str or None
        Why the language pack of `language` can't be used; None when it can.
    """
    logs.configure(level, part="worker")
    silence_distributed()
    _MODELS.known_by = fingerprint(Path(models)) if models else ""
    use_models(Path(models) if models else None)
    return _load(Source(overlays=Path(overlays) if overlays else None), language)


def _load(source: Source, language: str) -> str | None:
    use_source(source)
    try:
        load_pack(language)
        for faults in refused_overlays().values():
            logs.log(logs.Event.OVERLAY_REFUSED, count=len(faults), message=str(faults[0]))
        for refused in refused_models().values():
            logs.log(logs.Event.MODEL_REFUSED, reason_code=refused.reason_code, message=str(refused))
    except (LanguagePackError, LanguageNotSupportedError) as error:
        logs.log(logs.Event.PACK_REFUSED, message=str(error))
        return str(error)
    finally:
        logs.take_over()  # libraries that the pack imports bring log handlers of their own
        silence_distributed()
    return None


def check(level: str, language: str, overlays: str, models: str, read_by: ReadBy) -> str | None:
    """As `prepare`, for a pipeline: why its pack of `language` can't be used; None when it can."""
    refusal = prepare(level, language, overlays, models)
    try:
        source = _source(read_by, overlays)
    except UsageError as error:
        return str(error)
    with _ONE_AT_A_TIME:
        if not _follow_models(read_by) and not read_by.sha256:
            return refusal
        return _load(source, language)


def _follow_models(read_by: ReadBy) -> bool:
    """Read by the models that are promoted now; whether that may be others than before."""
    if read_by.models is None or read_by.models == _MODELS.known_by:
        return False
    # what was told, not what is there: on another machine the same registry may be known by something else
    _MODELS.known_by = read_by.models
    models_changed()
    return True


def _source(read_by: ReadBy, overlays: str) -> Source:
    if not read_by.sha256:
        return Source(overlays=Path(overlays) if overlays else None)
    return _unpacked().source_of(read_by.sha256, read_by.archive)


@functools.cache
def _unpacked() -> Unpacked:
    """What this process has been sent, in the folder that goes with its worker."""
    try:
        folder = Path(get_worker().local_directory)
    except ValueError:  # it is none
        return Unpacked()
    return Unpacked(Path(tempfile.mkdtemp(prefix="pipelines-", dir=folder)))


def dask_setup(worker: Any) -> None:
    """Called by Dask in a starting worker process, before the scheduler knows of it."""
    # ctrl-C in a terminal reaches every process of the group; it is for the dispatcher, which lets workers end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    prepare(
        os.environ.get("DICOMNLP_LOGS__LEVEL", "info"),
        os.environ.get("DICOMNLP_ANALYSE__LANGUAGE", "en"),
        os.environ.get("DICOMNLP_ANALYSE__OVERLAYS", ""),
        os.environ.get("DICOMNLP_LEARN__MODELS", ""),
    )
    _bound_memory(worker.memory_manager.memory_limit)


def _bound_memory(limit: int | None) -> None:
    """Let no allocation take this process beyond its limit of resident memory, in bytes.

    Its nanny looks at it ten times a second and ends it near the limit; in between, one object could make all of the
    machine's memory its own. What the kernel bounds is memory that is mapped to be written to, used or not; the
    difference that there is now is added.
    """
    if not limit:
        return
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    resident, data = (int(pages[n]) * resource.getpagesize() for n in (1, 5))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = limit + max(0, data - resident)
    resource.setrlimit(resource.RLIMIT_DATA, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))


def run(
    function: Callable[[Sequence[StoredObject]], list[Processed]],
    batch: Sequence[StoredObject],
    read_by: ReadBy,
    *,
    timeout_seconds: float,
    level: str,
    language: str,
    overlays: str = "",
    models: str = "",
) -> Done:
    """Apply `function` to each object of `batch`, reading by `read_by`.

    The process is ended if one takes longer than `timeout_seconds`.

    It is also ended if one needs more memory than the process may have: others may have filled it before, so whose
    fault it was is to be found out in an empty one.

    SIGALRM is left at its default action, so the kernel ends the process even while a regular expression or other
    compiled code holds the interpreter. The dispatcher sees a lost worker and finds out whose fault it was.
    """
    prepare(level, language, overlays, models)
    results: list[Processed | Prepared] = []
    started = time.monotonic()
    with _ONE_AT_A_TIME:
        source = _source(read_by, overlays)
        if _follow_models(read_by):
            _load(source, language)  # before the first object's time begins
        else:
            use_source(source)
        for stored in batch:
            signal.setitimer(signal.ITIMER_REAL, timeout_seconds)
            try:
                results += [_prepared(replace(r, generation=read_by.generation)) for r in function([stored])]
            except MemoryError:
                os.kill(os.getpid(), signal.SIGKILL)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    return Done(results, time.monotonic() - started)


def _prepared(result: Processed) -> Processed | Prepared:
    try:
        return prepare_rows(result)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  who saves it meets the same, and says what is to become of the object
        return result


def end_worker(dask_worker: Any) -> None:
    """Kill the worker process of the nanny that this runs in; the nanny starts another."""
    process_id = dask_worker.pid
    if process_id is not None:
        os.kill(process_id, signal.SIGKILL)
