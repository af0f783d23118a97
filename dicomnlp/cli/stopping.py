"""How a command that takes long is stopped by whoever watches it."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that what is in work ends and is saved; the second interrupts.

    Ctrl-C reaches the worker processes too, and would end them with tracebacks. They inherit the signals that are
    blocked in the thread that starts them, so SIGINT is left to a thread of our own, which starts nothing.
    """
    stop, ended = threading.Event(), threading.Event()

    def ask(_signal: int, _frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    threading.Thread(target=ended.wait, daemon=True).start()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        ended.set()
