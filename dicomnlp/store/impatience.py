"""Connections to PostgreSQL that don't wait for ever.

A server that is suspended (a machine that swaps, a virtual machine that is moved) keeps its connections: its own
timeouts don't run, and its system still acknowledges what is sent to it. Only the client can notice.
"""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Engine

T = TypeVar("T")
LOOK_SECONDS = 0.1
"""psycopg looks in so often, without news, while it waits."""
_OPTION = "dicomnlp_patience"


@dataclass(slots=True)
class Patience:
    """Seconds to wait for an answer; None: for ever."""

    seconds: float | None = None


class _Connection(psycopg.Connection[Any]):
    """Closed when the server doesn't answer in time."""

    patience = Patience()

    def wait(self, gen: Generator[Any, Any, T], interval: float = LOOK_SECONDS, timeout: float | None = None) -> T:
        seconds = self.patience.seconds
        del interval, timeout  # neither is passed for what is used here
        return super().wait(gen if seconds is None else self._bounded(gen, seconds), LOOK_SECONDS)

    def _bounded(self, generator: Generator[Any, Any, T], seconds: float) -> Generator[Any, Any, T]:
        """The same conversation with the server, ended by an error when it takes too long."""
        deadline = time.monotonic() + seconds
        try:
            awaited = next(generator)
            while True:
                news = yield awaited
                if not news and time.monotonic() > deadline:
                    self.pgconn.finish()
                    raise psycopg.OperationalError("the server does not answer in time")
                awaited = generator.send(news)
        except StopIteration as end:
            result: T = end.value
            return result


def make_impatient(engine: Engine) -> None:
    """Have the connections of `engine` wait as its `patience` says."""
    patience = Patience()
    engine.update_execution_options(**{_OPTION: patience})

    def connect(_dialect: Any, _record: Any, arguments: Sequence[Any], options: dict[str, Any]) -> _Connection:
        connection = _Connection.connect(*arguments, **options)
        connection.patience = patience
        return connection

    sa.event.listen(engine, "do_connect", connect)


def patience(engine: Engine) -> Patience | None:
    """What `make_impatient` gave an engine; it may be changed at any time."""
    found: Patience | None = engine.get_execution_options().get(_OPTION)
    return found
