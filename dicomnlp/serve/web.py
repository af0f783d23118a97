"""The HTTP server: uvicorn on a socket bound here, with time limits that it lacks, ended by an event."""

import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Generator

import uvicorn

from dicomnlp.config import Settings
from dicomnlp.errors import ConfigurationError, PortInUseError
from dicomnlp.serve.app import create_app
from dicomnlp.serve.protocol import TimedProtocol
from dicomnlp.store.database import Database, parse_url

DRAIN_SECONDS = 15
"""What answers under way may take after a stop was asked for."""
MAXIMUM_HEADER_BYTES = 16384


def run_web(settings: Settings, *, on_ready: Callable[[str], None], stop: threading.Event) -> None:
    """Answer HTTP requests until `stop` is set, then end what is under way.

    The database need not be there yet: until it is, requests are answered 503.

    Parameters
    ----------
    settings
        `web.host` and `web.port` say where.
    on_ready
        Called once, when requests are taken, with the address: "http://127.0.0.1:8080".
    stop
        Looked at ten times a second.

    Raises
    ------
    PortInUseError
        Another process listens on the address.
    ConfigurationError
        The address isn't one of this machine, or the port is not allowed to this user; or database.url is wrong.
    """
    parse_url(settings.database_url)  # a wrong one is said at the start, not in each answer
    listener = _bind(settings.web.host, settings.web.port)
    with listener:
        config = uvicorn.Config(
            create_app(settings, lambda: Database.open(settings)),
            http=TimedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=MAXIMUM_HEADER_BYTES,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        address = _address(settings.web.host, listener.getsockname()[1])
        _Server(config, stop, lambda: on_ready(address)).run(sockets=[listener])


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError:
        raise ConfigurationError(f"web.host = {host!r} is not an address or name known to this machine") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"HTTP port {port} on {host} is taken by another process; end that one, or set another web.port"
            ) from None
        raise ConfigurationError(
            f"can't listen on {host} port {port} ({errno.errorcode.get(error.errno or 0, 'unknown error')}); "
            "set web.host to an address of this machine and web.port to 1024 or above"
        ) from None
    return listener


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """Ends by an event and leaves the process's signals to whoever called."""

    def __init__(self, config: uvicorn.Config, stop: threading.Event, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop
        self._on_started = on_started

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self._stop.is_set():
            self._on_started()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._stop.is_set()
