"""The DICOM addresses: binds them, serves until told to stop, drains."""

import errno
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from dicomnlp.config import ListenerSettings, Settings
from dicomnlp.errors import ConfigurationError, PortInUseError
from dicomnlp.receive.acceptor import Acceptor
from dicomnlp.receive.association_trail import AssociationTrail
from dicomnlp.receive.house import House
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.pdu import Timeouts
from dicomnlp.receive.traffic import Traffic
from dicomnlp.store.database import Database

_BACKLOG = 512


def run_listener(
    settings: Settings,
    database: Database,
    *,
    on_ready: Callable[[str], None],
    stop: threading.Event,
    on_reconfigurable: Callable[[Callable[[Settings], None]], None] = lambda _: None,
) -> None:
    """Receive objects until `stop` is set, then let open associations end and the last commits be made.

    Parameters
    ----------
    settings
        Tables listener, tls and peers.
    database
        Open; it stays the caller's to close.
    on_ready
        Called once, when associations are accepted, with the addresses, separated by commas: "127.0.0.1:11112", or
        "tls:0.0.0.0:2762" where TLS is spoken.
    stop
        Set by the caller to end.
    on_reconfigurable
        Called once with the function that puts other settings into effect; see `House.reconfigure`.

    Raises
    ------
    PortInUseError
        Another process listens there.
    ConfigurationError
        The address can't be listened on, or the certificates can't be used.
    """
    addresses = settings.listener.addresses
    listening = _bind_all(settings.listener)
    intake = Intake(settings, database)
    traffic, trail = Traffic(database), AssociationTrail(database)
    try:
        house = House(settings, intake, traffic, trail)
        timeouts = Timeouts(network=settings.listener.network_timeout_seconds)
        acceptors = [
            Acceptor(each, house, timeouts, speaks_tls=address.tls)
            for each, address in zip(listening, addresses, strict=True)
        ]
        on_reconfigurable(house.reconfigure)
        if not stop.is_set():
            names = zip(listening, addresses, strict=True)
            on_ready(",".join(f"tls:{address_of(s)}" if a.tls else address_of(s) for s, a in names))
        _serve(acceptors, stop)
    finally:
        for each in listening:
            each.close()
        intake.close()
        traffic.close()
        trail.close()


def _bind_all(settings: ListenerSettings) -> list[socket.socket]:
    listening: list[socket.socket] = []
    try:
        # one by one, so that those before one that fails are known
        listening.extend(bind(settings, number) for number in range(len(settings.addresses)))
    except Exception:
        for each in listening:
            each.close()
        raise
    return listening


def _serve(acceptors: list[Acceptor], stop: threading.Event) -> None:
    """Serve all until `stop` is set; when one fails, the others stop too, and it is raised."""

    def serve(acceptor: Acceptor) -> None:
        try:
            acceptor.serve(stop)
        finally:
            stop.set()

    with ThreadPoolExecutor(len(acceptors), thread_name_prefix="acceptor") as threads:
        for done in [threads.submit(serve, acceptor) for acceptor in acceptors]:
            done.result()


def bind(settings: ListenerSettings, number: int = 0) -> socket.socket:
    """A socket that listens on one of `settings.addresses`.

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
    host, port = settings.addresses[number].host, settings.addresses[number].port
    table = f"listener.also.{number - 1}" if number else "listener"
    if settings.processes > 1 and not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigurationError("listener.processes: several processes can't share a port on this system; set it to 1")
    return bind_address(host, port, table, is_shared=settings.processes > 1)


def bind_address(host: str, port: int, table: str, *, is_shared: bool = False) -> socket.socket:
    """A socket that listens on an address.

    Parameters
    ----------
    table
        Of the configuration, that names the address: for messages.
    is_shared
        Whether other processes of this service listen there, too.

    Raises
    ------
    PortInUseError, ConfigurationError
        As `bind` raises.
    """
    listening: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        if listening is not None:
            listening.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} on {host} is in use by another process; end that process, or set {table}.port to another"
            ) from None
        if error.errno == errno.EACCES:
            raise ConfigurationError(
                f"{table}.port: this user may not listen on port {port}; use one above 1023"
            ) from None
        raise ConfigurationError(
            f"{table}.host: can't listen on {host} port {port}: {error.strerror or type(error).__name__}"
        ) from None
    return listening


def address_of(listening: socket.socket) -> str:
    """Host and port that a socket is bound to, as one would write it in a URL."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
