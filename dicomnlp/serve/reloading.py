"""SIGHUP: the configuration is read again, and put into effect as far as that goes while the service runs."""

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Collection

from dicomnlp import config
from dicomnlp.config import Settings
from dicomnlp.errors import ConfigurationError
from dicomnlp.logs import Event, log

Effect = Callable[[Settings, Collection[str]], Collection[str]]
"""Puts settings into effect, given which of the keys that count here have changed; returns those of them that take
effect at the next start only."""


class Signals:
    """Signals of some kinds that have come; to be made in the main thread.

    The handler only writes to a pipe, because it runs in the middle of whatever the main thread does, and what more
    would need might be locked there.
    """

    def __init__(self, *kinds: signal.Signals) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self.have_come = False
        """Any, ever."""
        self._previous = {kind: signal.signal(kind, self._note) for kind in kinds}

    def _note(self, _signal: int, _frame: object) -> None:
        self.have_come = True
        with contextlib.suppress(BlockingIOError):  # full: so many have come already
            os.write(self._writer, b"!")

    def await_one(self) -> None:
        """Wait until one has come since the last call; several count as one."""
        os.read(self._reader, 65536)

    def has_come(self) -> bool:
        """Whether one has come since the last call."""
        if not select.select([self._reader], [], [], 0)[0]:
            return False
        self.await_one()
        return True

    def close(self) -> None:
        """Give them back to whoever had them before."""
        for kind, handler in self._previous.items():
            signal.signal(kind, handler)
        os.close(self._reader)
        os.close(self._writer)


def read_again(settings: Settings, component: str) -> Settings | None:
    """The settings as their file and the environment say them now; None when these are wrong, and that is logged."""
    try:
        return config.load(settings.file)
    except ConfigurationError as error:
        log(Event.CONFIGURATION_REFUSED, component=component, message=str(error))
        return None


def changed_keys(old: Settings, new: Settings) -> list[str]:
    """The keys whose values differ, such as "listener.port"."""
    tables = config.tables()
    changed = [
        f"{table}.{key}"
        for table in tables
        for key in tables[table].model_fields
        if getattr(getattr(old, table), key) != getattr(getattr(new, table), key)
    ]
    return changed + [name for name in Settings.model_fields if name not in tables and _differs(name, old, new)]


def _differs(name: str, old: Settings, new: Settings) -> bool:
    return bool(getattr(old, name) != getattr(new, name))


def watch_hangups(
    hangups: Signals, settings: Settings, component: str, tables: Collection[str], put_into_effect: Effect
) -> None:
    """Start a thread that puts the configuration as it then is into effect at each SIGHUP.

    Parameters
    ----------
    hangups
        What is waited for; nobody else waits for it.
    settings
        In effect now.
    component
        For the log.
    tables
        Those that count for it.
    put_into_effect
        May raise ConfigurationError, when it has changed nothing.
    """
    arguments = (hangups, settings, component, tables, put_into_effect)
    threading.Thread(target=_watch, args=arguments, name="hangups", daemon=True).start()


def _watch(
    hangups: Signals, settings: Settings, component: str, tables: Collection[str], put_into_effect: Effect
) -> None:
    while True:
        hangups.await_one()
        new = read_again(settings, component)
        if new is None:
            continue
        changed = [key for key in changed_keys(settings, new) if key.partition(".")[0] in tables]
        try:
            later = put_into_effect(new, changed)
        except ConfigurationError as error:
            log(Event.CONFIGURATION_REFUSED, component=component, message=str(error))
            continue
        now = ", ".join(key for key in changed if key not in later) or "no key that counts here, files read again"
        log(Event.CONFIGURATION_RELOADED, component=component, message=now)
        if later:
            message = f"{', '.join(later)}: in effect from the next start on"
            log(Event.RESTART_NEEDED, component=component, message=message)
        settings = new
