"""The DICOM port: binds it, serves until told to stop, drains."""

import errno
import socket
import threading
from collections.abc import Callable

from dicomnlp.config import ListenerSettings, Settings
from dicomnlp.errors import ConfigurationError, PortInUseError
from dicomnlp.receive.acceptor import Acceptor
from dicomnlp.receive.association import Timeouts
from dicomnlp.receive.house import House
from dicomnlp.receive.intake import Intake
from dicomnlp.store.database import Database

_BACKLOG = 512


def run_listener(
    settings: Settings, database: Database, *, on_ready: Callable[[str], None], stop: threading.Event
) -> None:
    """Receive objects until `stop` is set, then let open associations end and the last commits be made.

    Parameters
    ----------
    settings
        `settings.listener` is what counts here.
    database
        Open; it stays the caller's to close.
    on_ready
        Called once with the address when associations are accepted.
    stop
        Set by the caller to end.

    Raises
    ------
    PortInUseError
        Another process listens there.
    ConfigurationError
        The address can't be listened on.
    """
    listening = bind(settings.listener)
    intake = Intake(settings, database)
    try:
        timeouts = Timeouts(network=settings.listener.network_timeout_seconds)
        house = House(settings, intake)
        acceptor = Acceptor(listening, house, timeouts)
        if not stop.is_set():
            on_ready(address_of(listening))
        acceptor.serve(stop)
    finally:
        listening.close()
        intake.close()


def bind(settings: ListenerSettings) -> socket.socket:
    """A socket that listens on `settings.host` and `settings.port`.

    With several listener processes each binds the port for itself (SO_REUSEPORT) and the kernel spreads connections
    over them. Two whole services could then share a port by accident; the lock that a service holds on its database is
    what keeps a second one on the same database out.

    Raises
    ------
    PortInUseError
        Another process listens there.
    ConfigurationError
        The address can't be listened on.
    """
    host, port = settings.host, settings.port
    listening: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.processes > 1:
            if not hasattr(socket, "SO_REUSEPORT"):
                raise ConfigurationError(
                    "listener.processes: several processes can't share a port on this system; set it to 1"
                )
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        if listening is not None:
            listening.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} on {host} is in use by another process; end that process, or set listener.port to another"
            ) from None
        if error.errno == errno.EACCES:
            raise ConfigurationError(
                f"listener.port: this user may not listen on port {port}; use one above 1023"
            ) from None
        raise ConfigurationError(
            f"listener.host: can't listen on {host} port {port}: {error.strerror or type(error).__name__}"
        ) from None
    return listening


def address_of(listening: socket.socket) -> str:
    """Host and port that a socket is bound to, as one would write it in a URL."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
