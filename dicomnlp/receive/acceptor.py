"""The accept loop: one thread an association, and bounds on how many there may be."""

import errno
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from dicomnlp.logs import Event, describe, log
from dicomnlp.receive.association import Association
from dicomnlp.receive.house import House
from dicomnlp.receive.negotiation import NETWORK_NOT_ALLOWED
from dicomnlp.receive.pdu import Connection, ConnectionClosedError, Timeouts
from dicomnlp.receive.policy import plain_address
from dicomnlp.receive.reasons import Reason
from dicomnlp.receive.tls import PeerCertificate, TLSTransport

MAXIMUM_WAITING: Final = 512
"""Connections without an association: yet to send their A-ASSOCIATE-RQ, or yet to close. They don't count as
associations. One more ends the one that waits longest of the address that has most of them, so that a flood of silent
ones can't keep senders out."""

_POLL_SECONDS: Final = 0.2
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """Accepts connections on a listening socket and runs an `Association` on each.

    Parameters
    ----------
    listening
        Bound and listening; it belongs to this object from here on.
    house
        What the associations share, those of other acceptors of this process included.
    timeouts
        Deadlines.
    speaks_tls
        Whether connections begin with a TLS handshake.
    """

    def __init__(self, listening: socket.socket, house: House, timeouts: Timeouts, *, speaks_tls: bool = False) -> None:
        self._listening = listening
        self._speaks_tls = speaks_tls
        self._timeouts = timeouts
        self._house = house
        self._open: dict[Association, None] = {}
        """Oldest first."""
        self._changed = threading.Condition()

    def serve(self, stop: threading.Event) -> None:
        """Accept until `stop` is set; then refuse what comes, let associations end, and abort those that don't."""
        self._listening.settimeout(_POLL_SECONDS)
        try:
            while not stop.is_set():
                self._accept_one()
            self._house.is_stopping = True
            deadline = time.monotonic() + self._timeouts.drain
            while self._house.places.taken and time.monotonic() < deadline:
                self._accept_one()
        finally:
            self._listening.close()
            self._end_all()

    def _accept_one(self) -> None:
        try:
            transport, address = self._listening.accept()
        except TimeoutError:
            return
        except OSError as error:
            # a connection that is gone before it is accepted is nobody's loss
            if error.errno in _OUT_OF_RESOURCES:
                log(Event.CONNECTION_NOT_SERVED, **describe(error))
                self._make_room()
                time.sleep(_POLL_SECONDS)
            return
        peer_address = plain_address(address[0])
        if not self._house.policy.admits(peer_address):
            # from the address that is listened on comes this service's own look whether it takes connections
            is_own = _own_address(transport) == peer_address
            transport.close()
            if not is_own:
                self._house.alerts.report(NETWORK_NOT_ALLOWED.reason_code, peer_address)
            return
        try:
            connection, handshake = self._connect(transport)
        except ConnectionClosedError:
            return
        association = Association(
            connection, peer_address, house=self._house, timeouts=self._timeouts, handshake=handshake
        )
        with self._changed:
            self._open[association] = None
            is_full = len(self._open) - self._house.places.taken > MAXIMUM_WAITING
        if is_full:
            self._make_room()
        thread = threading.Thread(target=self._run, args=(association,), name="association", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads
            log(Event.CONNECTION_NOT_SERVED, **describe(error))
            self._forget(association)
            connection.close()

    def _connect(self, transport: socket.socket) -> tuple[Connection, Callable[[], PeerCertificate | None]]:
        """The connection, and its TLS handshake, which the association's thread is to do."""
        if not self._speaks_tls:
            return Connection(transport), lambda: None
        context = self._house.tls
        assert context is not None
        secured = TLSTransport(transport, context)
        return Connection(secured, pending=secured.pending), secured.handshake

    def _run(self, association: Association) -> None:
        try:
            association.run()
        finally:
            self._forget(association)

    def _forget(self, association: Association) -> None:
        with self._changed:
            del self._open[association]
            self._changed.notify_all()

    def _make_room(self) -> None:
        """End the connection that has waited longest without an association, of who has most of them."""
        with self._changed:
            waiting = [a for a in self._open if a.is_expendable]
        counts = Counter(a.peer_address for a in waiting)
        oldest = max(waiting, key=lambda a: counts[a.peer_address], default=None)
        if oldest is not None:
            oldest.end("too_many_connections")

    def _end_all(self) -> None:
        with self._changed:
            remaining = list(self._open)
        for association in remaining:
            association.end(Reason.SERVICE_STOPPING.answer[1])
        with self._changed:
            # those in a commit end right after it
            self._changed.wait_for(lambda: not self._open, self._timeouts.drain)


def _own_address(transport: socket.socket) -> str | None:
    try:
        return plain_address(transport.getsockname()[0])
    except OSError:  # the peer has reset it
        return None
