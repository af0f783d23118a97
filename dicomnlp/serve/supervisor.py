"""Keeps the parts of the service running, each as a process of its own, and ends them together.

A part that dies is started again after a pause; one that can't even start ends the whole service with its message.
Each part's standard input is a pipe from here: when this process is killed the pipe closes, and the part ends itself
at once, so that no half of a service goes on unseen, holding the port and the database.

SIGHUP is passed on to the parts, each of which reads the configuration again; unless that is wrong.
"""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dicomnlp.config import Settings
from dicomnlp.errors import DicomnlpError
from dicomnlp.logs import Event, log
from dicomnlp.serve.reloading import Signals, read_again

DRAIN_SECONDS = 30.0
"""What a part may take to end after SIGTERM before it is killed."""
STEADY_SECONDS = 60.0
"""A part that ran so long before it died is started again without delay."""
LONGEST_PAUSE_SECONDS = 30.0


class StartError(DicomnlpError):
    """A part of the service could not start, and has said why on standard error."""

    reason_code = "part_not_started"


@dataclass(slots=True)
class _Part:
    command: str
    process: subprocess.Popen[bytes] | None = None
    address: str | None = None
    started: float = 0.0
    ready: bool = False
    failures: int = 0
    start_at: float = 0.0
    hangup_due: bool = False
    """SIGHUP is to be passed on to it."""
    reader: threading.Thread | None = field(default=None, repr=False)


def supervise(settings: Settings, commands: Sequence[str], *, on_ready: Callable[[str], None]) -> int:
    """Run one process per entry of `commands` until SIGTERM or SIGINT.

    Parameters
    ----------
    settings
        Their file is handed to the parts.
    commands
        Names of ``dicomnlp`` commands: "listen", "work", "web"; a name may come several times.
    on_ready
        Called once with the line "ready ..." when all parts are.

    Returns
    -------
    int
        Exit code: 0, after a stop that was asked for.

    Raises
    ------
    StartError
        A part could not start; all have ended.
    """
    return _Supervisor(settings, commands, on_ready).run()


class _Supervisor:
    def __init__(self, settings: Settings, commands: Sequence[str], on_ready: Callable[[str], None]) -> None:
        self._settings = settings
        self._parts = [_Part(command) for command in commands]
        self._on_ready = on_ready
        self._changed = threading.Event()
        self._stopping = False
        self._announced = False

    def run(self) -> int:
        previous = {s: signal.signal(s, self._stop) for s in (signal.SIGTERM, signal.SIGINT)}
        hangups = Signals(signal.SIGHUP)
        try:
            for part in self._parts:
                self._start(part)
            while True:
                self._changed.wait(0.2)
                self._changed.clear()
                if self._stopping:
                    log(Event.DRAINING, component="serve")
                    break
                if hangups.has_come() and read_again(self._settings, "supervisor") is not None:
                    for part in self._parts:
                        part.hangup_due = True
                for part in self._parts:
                    self._watch(part)
                if not self._announced and not self._stopping and all(part.ready for part in self._parts):
                    self._announced = True
                    self._on_ready(self._ready_line())
        finally:
            self._end_all()
            hangups.close()
            for number, handler in previous.items():
                signal.signal(number, handler)
        log(Event.STOPPED, component="serve", exit_code=0)
        return 0

    def _stop(self, _signal: int, _frame: object) -> None:
        self._stopping = True  # and no more: what setting the event or logging needs might be locked where it came

    def _ready_line(self) -> str:
        addresses: dict[str, str] = {part.command: part.address for part in self._parts if part.address}
        return " ".join(["ready", *(f"{command}={address}" for command, address in addresses.items())])

    def _start(self, part: _Part) -> None:
        arguments = [sys.executable, "-m", "dicomnlp"]
        if self._settings.file is not None:
            arguments += ["--config", str(self._settings.file)]
        part.process = subprocess.Popen(  # noqa: S603  our own interpreter and our own command
            [*arguments, part.command, "--supervised"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        part.started, part.ready = time.monotonic(), False
        part.reader = threading.Thread(target=self._read, args=(part, part.process), daemon=True)
        part.reader.start()

    def _read(self, part: _Part, process: subprocess.Popen[bytes]) -> None:
        """Follow a part's standard output: "ready COMMAND [ADDRESS]" is all that it prints."""
        assert process.stdout is not None
        for line in process.stdout:
            words = line.decode("utf-8", "replace").split()
            if words[:2] == ["ready", part.command]:
                part.address = words[2] if len(words) > 2 else None
                part.ready = True
                self._changed.set()
        process.stdout.close()
        self._changed.set()

    def _watch(self, part: _Part) -> None:
        """Start `part` again if it died; not when it never got ready and the service can't be what was asked."""
        if part.process is None:
            if time.monotonic() >= part.start_at:
                self._start(part)
            return
        exit_code = part.process.poll()
        if exit_code is None:
            # one that isn't ready yet might not be prepared for it
            if part.hangup_due and part.ready:
                part.hangup_due = False
                part.process.send_signal(signal.SIGHUP)
            return
        log(Event.COMPONENT_DIED, component=part.command, exit_code=exit_code, process_id=part.process.pid)
        if not self._announced and not part.ready:
            # said when all parts have ended, so that it is the last line, and what it points to not far above
            raise StartError(
                f"the service has ended because its part `{part.command}` could not start (exit code {exit_code}); "
                "its reason is above, in the line that begins with `dicomnlp: `; "
                f"`dicomnlp {part.command}` alone says it again"
            )
        steady = time.monotonic() - part.started > STEADY_SECONDS
        part.failures = 1 if steady else part.failures + 1
        pause = 0.0 if part.failures == 1 else min(LONGEST_PAUSE_SECONDS, 0.5 * 2.0**part.failures)
        self._close(part)
        part.start_at = time.monotonic() + pause

    def _close(self, part: _Part) -> None:
        if part.process is not None and part.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                part.process.stdin.close()
        part.process = None

    def _end_all(self) -> None:
        running = [part for part in self._parts if part.process is not None]
        for part in running:
            assert part.process is not None
            part.process.terminate()
        deadline = time.monotonic() + DRAIN_SECONDS
        for part in running:
            assert part.process is not None
            try:
                part.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                part.process.kill()
                part.process.wait()
            self._close(part)
