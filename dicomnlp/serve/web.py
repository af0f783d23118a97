"""The HTTP server: uvicorn on a socket bound here, with time limits that it lacks, ended by an event."""

import asyncio
import contextlib
import errno
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import uvicorn

from dicomnlp.audit.forwarding import Forwarder
from dicomnlp.config import Settings
from dicomnlp.errors import ConfigurationError, PortInUseError
from dicomnlp.receive.tls import HANDSHAKE_SECONDS, load_certificate, strong_context
from dicomnlp.serve.app import create_app
from dicomnlp.serve.protocol import TimedProtocol
from dicomnlp.store.database import Database, parse_url

DRAIN_SECONDS = 15
"""What answers under way may take after a stop was asked for."""
MAXIMUM_HEADER_BYTES = 16384


def run_web(
    settings: Settings,
    *,
    on_ready: Callable[[str], None],
    stop: threading.Event,
    on_renewable: Callable[[Callable[[Settings], None]], None] = lambda _: None,
    beside_listener: bool = False,
) -> None:
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
    on_renewable
        Called once with the function that reads the certificate's files again, and refuses settings whose files can't
        be used with ConfigurationError.
    beside_listener
        Whether the listener runs on this machine, so that readiness is of its addresses, too.

    Raises
    ------
    PortInUseError
        Another process listens on the address.
    ConfigurationError
        The address isn't one of this machine, or the port is not allowed to this user; database.url is wrong; or a
        file of [web] or [oidc] can't be used.
    """
    parse_url(settings.database_url)  # a wrong one is said at the start, not in each answer
    context = web_context(settings)
    listener = _bind(settings.web.host, settings.web.port)
    with listener:
        config = uvicorn.Config(
            create_app(settings, lambda: Database.open(settings), beside_listener=beside_listener),
            http=TimedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=MAXIMUM_HEADER_BYTES,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            ssl_context_factory=None if context is None else lambda _config, _default: context,
        )
        address = _address("https" if context else "http", settings.web.host, listener.getsockname()[1])
        on_renewable(lambda new: _renew(context, new))
        with _forwarding(settings):
            _Server(config, stop, lambda: on_ready(address)).run(sockets=[listener])


@contextlib.contextmanager
def _forwarding(settings: Settings) -> Generator[None, None, None]:
    """Tell the audit trail to its collector meanwhile, where there is one."""
    if not settings.audit.collector:
        yield
        return
    forwarder = Forwarder(settings, lambda: Database.open(settings))
    forwarder.start()
    try:
        yield
    finally:
        forwarder.close()


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


def _address(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def web_context(settings: Settings) -> ssl.SSLContext | None:
    """What HTTPS is spoken with; None without a certificate.

    Raises
    ------
    ConfigurationError
        A file is missing or isn't what it should be, or others may read the key.
    """
    if not settings.web.certificate:
        return None
    context = strong_context()
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, *_files(settings), "web")
    return context


def _files(settings: Settings) -> tuple[Path, Path]:
    return settings.folder / settings.web.certificate, settings.folder / settings.web.key


def _renew(context: ssl.SSLContext | None, new: Settings) -> None:
    # first by itself: a live context with a new certificate and the old key would answer nobody
    if web_context(new) is not None and context is not None:
        load_certificate(context, *_files(new), "web")


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
        if self.config.ssl is not None:
            # uvicorn leaves asyncio's minute, for which a silent client would hold its socket
            loop = asyncio.get_running_loop()
            create = functools.partial(loop.create_server, ssl_handshake_timeout=HANDSHAKE_SECONDS)
            loop.create_server = create  # type: ignore[method-assign]
        await super().startup(sockets)
        if not self._stop.is_set():
            self._on_started()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._stop.is_set()
