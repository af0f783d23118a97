"""The catalogue of log events, and the takeover of everybody else's logging.

A log line is JSON on stderr. It can only be an event of this catalogue, with fields of this catalogue, and each field
admits only values of its kind: a UID that isn't well-formed, a reason code with a blank in it or an AE title with
control characters is written as "(malformed)". So no text, name or value of an object can reach a log, whoever calls.

Messages of libraries (pynetdicom, uvicorn, distributed, loguru, warnings, uncaught exceptions) are never printed:
they may quote what they choked on. Their place in the source is, which is enough to find them.
"""

import contextlib
import enum
import logging
import re
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Callable
from typing import Any

import loguru
import structlog

from dicomnlp.errors import DicomnlpError
from dicomnlp.model import is_uid

MALFORMED = "(malformed)"

_CODE = re.compile(r"[a-z0-9_]{1,64}\Z")
_ADDRESS = re.compile(r"[0-9A-Za-z.:%/\[\]-]{1,128}\Z")
_PLACE = re.compile(r"[\w.<>:/ ()-]{1,400}\Z", re.ASCII)


def _uid(value: Any) -> Any:
    return value if is_uid(str(value)) else MALFORMED


def _ae_title(value: Any) -> Any:
    text = str(value)
    return text if len(text) <= 16 and all(" " <= c <= "~" for c in text) else MALFORMED


def _pattern(pattern: re.Pattern[str]) -> Callable[[Any], Any]:
    return lambda value: value if pattern.match(str(value)) else MALFORMED


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) else MALFORMED


def _sentence(value: Any) -> Any:
    """Messages of our own errors, which by contract hold nothing of a patient."""
    return str(value)[:1000]


FIELDS: dict[str, Callable[[Any], Any]] = {
    "address": _pattern(_ADDRESS),
    "attempts": _number,
    "bytes": _number,
    "called_ae_title": _ae_title,
    "calling_ae_title": _ae_title,
    "component": _pattern(_CODE),
    "contexts": _number,
    "count": _number,
    "error_type": _pattern(_PLACE),
    "exit_code": _number,
    "language": _pattern(_CODE),
    "library": _pattern(_PLACE),
    "message": _sentence,
    "object_id": _number,
    "outcome": _pattern(_CODE),
    "peer_address": _pattern(_ADDRESS),
    "pipeline": _pattern(re.compile(r"[\w.+-]{1,64}\Z", re.ASCII)),
    "place": _pattern(_PLACE),
    "process_id": _number,
    "reason_code": _pattern(_CODE),
    "route": _pattern(re.compile(r"[\w/{}.:_-]{1,100}\Z", re.ASCII)),
    "seconds": _number,
    "sop_class_uid": _uid,
    "sop_instance_uid": _uid,
    "state": _pattern(_CODE),
    "status": _number,
    "study_instance_uid": _uid,
    "transfer_syntax_uid": _uid,
    "week": _pattern(re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)),
    "workers": _number,
}
"""Every field a log line may have, and the check that its values pass."""


class Event(enum.Enum):
    """Everything that can be logged: (level, fields)."""

    READY = ("info", ("component", "address"))
    """A component takes work."""
    DRAINING = ("info", ("component",))
    """SIGTERM came: no new work is taken, what is under way ends."""
    STOPPED = ("info", ("component", "exit_code"))
    CONFIGURATION_RELOADED = ("info", ("component", "message"))
    """SIGHUP came, and the configuration as it is now is in effect, certificates included; which keys have changed."""
    CONFIGURATION_REFUSED = ("error", ("component", "message"))
    """SIGHUP came, and the configuration is wrong: what was in effect before still is."""
    RESTART_NEEDED = ("warning", ("component", "message"))
    """Keys were changed that take effect at the next start only."""
    COMPONENT_DIED = ("error", ("component", "exit_code", "process_id"))
    """A supervised process ended by itself; it is started again."""

    ASSOCIATION_ACCEPTED = ("info", ("calling_ae_title", "called_ae_title", "peer_address"))
    PRESENTATION_CONTEXT_REFUSED = (
        "warning",
        ("calling_ae_title", "peer_address", "sop_class_uid", "transfer_syntax_uid", "reason_code", "count"),
    )
    """A sender can't send what it proposed: the SOP class, the first of its transfer syntaxes, and why. Said when
    nothing that it proposed can be stored, or of SOP classes that could be in another transfer syntax or role; of the
    first few, `count` being how many there are."""
    ASSOCIATION_REJECTED = ("warning", ("calling_ae_title", "called_ae_title", "peer_address", "reason_code"))
    ASSOCIATION_RELEASED = (
        "info",
        ("calling_ae_title", "called_ae_title", "peer_address", "contexts", "count", "bytes", "seconds"),
    )
    """With the number of presentation contexts that were accepted, and of objects that were answered with success."""
    ASSOCIATION_ABORTED = (
        "warning",
        ("calling_ae_title", "called_ae_title", "peer_address", "reason_code", "contexts", "count", "bytes", "seconds"),
    )
    """Likewise, with what ended it; also a connection that never became an association."""
    STORAGE_COMMITMENT = ("info", ("calling_ae_title", "status", "count"))
    """A sender asked that instances be kept: what it was answered, and how many aren't held."""
    STORAGE_COMMITMENT_NOT_TOLD = ("warning", ("calling_ae_title", "reason_code"))
    """The requestor couldn't be told which instances are kept; it is tried again after a while."""
    TRAFFIC_LOST = ("warning", ("count",))
    """The database didn't take so many of the metrics' sums before the listener ended; ledger and objects are whole."""
    ASSOCIATION_ROWS_LOST = ("error", ("component", "count"))
    """The database didn't take so many rows of the audit trail about associations before the listener ended."""
    SECURITY_ALERT = ("warning", ("reason_code", "peer_address", "calling_ae_title", "count"))
    """Somebody tried what the association policy forbids. Each address and reason is said once a minute at the most,
    `count` being how often it has happened since the last time."""
    HL7_CONNECTION_OPENED = ("info", ("peer_address",))
    HL7_CONNECTION_CLOSED = ("info", ("peer_address", "reason_code", "count", "bytes", "seconds"))
    """With what ended it, and the number of messages that were accepted."""
    HL7_MESSAGE_REFUSED = ("warning", ("peer_address", "reason_code"))
    """A message was answered with AE or AR."""
    CONNECTION_NOT_SERVED = ("error", ("error_type", "place"))
    """The system is out of descriptors, memory or threads for a further connection."""
    INTAKE_PAUSED = ("error", ("reason_code",))
    """No objects are taken: the disk or the queue is at its watermark, or the disk failed. Said once a change."""
    INTAKE_RESUMED = ("info", ("seconds",))
    """Objects are taken again, after so long."""
    OBJECT_RECEIVED = (
        "debug",
        ("sop_instance_uid", "study_instance_uid", "calling_ae_title", "outcome", "status", "reason_code"),
    )
    """Intake decided about an object, durably. Each has a row in the ledger; an association's last line counts them."""
    OBJECT_REFUSED = ("warning", ("sop_instance_uid", "calling_ae_title", "status", "reason_code"))
    INTAKE_FAILED = ("error", ("reason_code", "count", "error_type", "place"))
    """A commit failed: objects in it are answered A700 or 0110. Failures of one cause within a second are one line."""
    LEDGER_ROWS_RECOVERED = ("info", ("count",))
    """Ledger rows that the database hadn't taken when the objects were refused are written now."""
    LEDGER_BACKLOG_FULL = ("error", ("count",))
    """The database takes nothing, and no more ledger rows are kept for later: from here on they are counted only."""
    LEDGER_ROWS_LOST = ("error", ("count", "reason_code"))
    """Refused objects that have no row in the ledger: too many of them, or the listener ended before."""

    WATCHED_FILES_TAKEN = ("info", ("count", "seconds"))
    """Files of the watched folder that are in the database now, and deleted there; each has a row in the ledger."""
    WATCHED_FILE_REFUSED = ("warning", ("status", "reason_code"))
    """A file of the watched folder was moved to its folder "refused"; names of files aren't logged."""
    WATCHED_FOLDER_FAILED = ("error", ("error_type", "place", "seconds"))
    """The watched folder, or a file in it, can't be read, written or deleted; it is tried again after so long."""

    OBJECT_PROCESSED = ("debug", ("object_id", "sop_instance_uid", "state", "reason_code", "pipeline"))
    OBJECT_FAILED = ("warning", ("object_id", "sop_instance_uid", "reason_code", "attempts"))
    OBJECT_CRASHED = ("error", ("object_id", "sop_instance_uid", "error_type", "place"))
    """Reading the object raised what no object may raise: it has failed with "internal_error"."""
    REVIEW_CRASHED = ("warning", ("object_id", "sop_instance_uid", "error_type", "place"))
    """A second look at a report raised what it may not: the report is analysed, and nothing is remarked on it."""
    TASK_FAILED = ("error", ("count", "reason_code", "error_type", "place"))
    """Objects or their results can't be carried to or from a worker."""
    WORKER_LOST = ("warning", ("count", "reason_code"))
    """A worker died or was stopped with objects in hand; they are tried again."""
    ENGINE_RESTARTED = ("warning", ("reason_code",))
    WORK_PAUSED = ("error", ("reason_code", "error_type", "place"))
    """The dispatcher can't reach the database or the engine; it tries again."""
    PACK_REFUSED = ("error", ("message",))
    OVERLAY_REFUSED = ("error", ("count", "message"))
    """What the site adds to a language pack has faults, of which the message is the first: the pack is used alone."""
    MODEL_REFUSED = ("error", ("reason_code", "message"))
    """A trained model that was promoted isn't what was registered: reports are read by the rules alone."""

    DUTY_FAILED = ("warning", ("component", "reason_code", "attempts", "error_type", "place"))
    """What is done now and then could not be done, so often in a row; it is tried again after a while.
    As "cut_off": it didn't end within ten seconds of a stop, and is done again by whoever leads next."""
    DUTY_RESUMED = ("info", ("component", "attempts"))
    """It is done again, after so many failures."""

    DRIFT = ("warning", ("language", "week", "count"))
    """So many shares and distributions of a week's reports in a language aren't what they were in the reference:
    `dicomnlp drift` names them. Said once, when the week is over; what was acknowledged isn't said again."""

    DOCUMENT_NOT_SENT = ("warning", ("sop_instance_uid", "reason_code", "attempts"))
    """An archive did not take a document that was written back, so often in a row; `dicomnlp deliveries list` tells."""
    DOCUMENT_NOT_WRITTEN = ("warning", ("object_id", "reason_code", "error_type", "place"))
    """No document can be made of a report."""

    DELIVERY_FAILED = ("warning", ("component", "reason_code", "attempts", "state"))
    """A receiver of critical results or findings didn't take one: it is tried again ("waiting"), or given up ("dead").
    """

    AUDIT_FORWARDING_FAILED = ("warning", ("component", "error_type", "place"))
    """Rows of the audit trail can't be told to audit.collector; they are kept, and told when it is there again."""
    AUDIT_FORWARDING_RESUMED = ("info", ("component", "seconds"))
    """Rows are told to the collector again, after so long."""
    AUDIT_TRAIL_BROKEN = ("error", ())
    """The audit trail doesn't hold the row that the anchor file names: rows were cut off or written anew. Further ones
    are added all the same, and the anchor stays as it is; see `dicomnlp audit verify`."""

    REQUEST_FAILED = ("error", ("route", "error_type", "place"))
    REQUEST = ("info", ("route", "status", "seconds"))

    LIBRARY_MESSAGE = ("warning", ("library", "place"))
    LIBRARY_WARNING = ("warning", ("error_type", "place"))
    CRASH = ("error", ("error_type", "message", "place"))
    """An exception nobody caught."""


_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_least = logging.NOTSET
"""Events below this aren't worth looking at; structlog's own filter comes after the fields were checked."""


def is_logged(event: Event) -> bool:
    """Whether `log` would write a line: who asks first needn't put fields together in vain."""
    return _LEVELS[event.value[0]] >= _least


def log(event: Event, **fields: Any) -> None:
    """Write one line for `event`; fields not declared for it are left out, and named in `undeclared`."""
    level, allowed = event.value
    if _LEVELS[level] < _least:
        return
    checked = {k: None if v is None else FIELDS[k](v) for k, v in fields.items() if k in allowed}
    undeclared = sorted(k for k in fields if k not in allowed)
    if undeclared:
        checked["undeclared"] = undeclared
    with contextlib.suppress(OSError, ValueError):
        # standard error full, broken or closed: there is nowhere to say so, and an object under way must not suffer
        structlog.get_logger().log(_LEVELS[level], event.name.lower(), **checked)


def describe(error: BaseException) -> dict[str, str]:
    """`error_type` and `place` of an exception: its class and the innermost frames, never its message."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    place = " ".join(f"{_short(f.filename)}:{f.lineno}" for f in frames)
    kind = type(error)
    return {"error_type": f"{kind.__module__}.{kind.__qualname__}", "place": place or "-"}


def _short(filename: str) -> str:
    return "/".join(filename.replace("\\", "/").split("/")[-2:])


class _LibraryHandler(logging.Handler):
    """Stands for every other handler: notes that a library had something to say, and where, not what."""

    def emit(self, record: logging.LogRecord) -> None:
        log(Event.LIBRARY_MESSAGE, library=record.name, place=f"{_short(record.pathname)}:{record.lineno}")


def _loguru_sink(message: Any) -> None:
    record = message.record
    log(Event.LIBRARY_MESSAGE, library="loguru", place=f"{_short(record['file'].path)}:{record['line']}")


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    del message
    log(Event.LIBRARY_WARNING, error_type=category.__name__, place=f"{_short(filename)}:{lineno}")


def _crash(error: BaseException | None) -> None:
    if error is None or isinstance(error, SystemExit):
        return
    message = str(error) if isinstance(error, DicomnlpError) else None
    log(Event.CRASH, message=message, **describe(error))


def _excepthook(_kind: type[BaseException], error: BaseException, _tb: types.TracebackType | None) -> None:
    _crash(error)


def configure(level: str = "info", part: str | None = None) -> None:
    """Make this process log the catalogue to stderr and silence everybody else; call once, first thing.

    Parameters
    ----------
    level
        "debug", "info", "warning" or "error".
    part
        Of the service, written on each line: "listener", "work", "web" ...
    """

    def add_part(_logger: Any, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if part is not None:
            event["part"] = part
        return event

    global _least  # noqa: PLW0603 - one log a process, as structlog has it
    _least = _LEVELS[level]
    structlog.configure(
        processors=[
            add_part,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        # line and end in one write: the parts of the service share one standard error
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    take_over()


def take_over() -> None:
    """Route stdlib logging, loguru, warnings and uncaught exceptions of this process into the catalogue.

    Also called after importing a library that installs handlers of its own at import.
    """
    root = logging.getLogger()
    root.handlers[:] = [_LibraryHandler(logging.WARNING)]
    root.setLevel(logging.WARNING)
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
        if logger.level < logging.WARNING:
            logger.setLevel(logging.NOTSET)
    loguru.logger.remove()
    loguru.logger.add(_loguru_sink, level="WARNING")
    warnings.showwarning = _show_warning
    sys.excepthook = _excepthook
    sys.unraisablehook = lambda unraisable: _crash(unraisable.exc_value)
    threading.excepthook = lambda args: _crash(args.exc_value)
