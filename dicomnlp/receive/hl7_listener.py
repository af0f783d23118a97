"""The HL7 port: a thread a connection, each message answered before the next is read.

Senders keep a connection open for days and say nothing at night, so that silence between two messages ends none. What
is bounded is their number: one more ends the one that was silent longest, of the address that has most of them.
"""

import errno
import ipaddress
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from dicomnlp.config import Settings
from dicomnlp.logs import Event, describe, log
from dicomnlp.receive.association_trail import AssociationTrail
from dicomnlp.receive.hl7 import TOO_LARGE, TOO_MUCH_AT_A_TIME, Answered, MessageDoor, Verdict
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.listener import address_of, bind_address
from dicomnlp.receive.mllp import FrameError, MessageTooLargeError, MLLPConnection
from dicomnlp.receive.pdu import ConnectionClosedError, Pace, Timeouts
from dicomnlp.receive.places import FREE_BYTES, Allowance, give_back_large_blocks
from dicomnlp.receive.policy import AlertLog, plain_address
from dicomnlp.receive.tls import HandshakeError, PeerCertificate, TLSTransport, server_context
from dicomnlp.receive.traffic import Traffic
from dicomnlp.store.database import Database

CALLED: Final = "HL7"
"""What stands for the called AE title in the audit trail."""
ALLOWANCE_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0
"""For a peer to read why it is refused."""
_POLL_SECONDS: Final = 0.2
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def run_hl7(settings: Settings, database: Database, *, on_ready: Callable[[str], None], stop: threading.Event) -> None:
    """Take messages until `stop` is set, then let those that have begun be answered.

    Parameters
    ----------
    settings
        Tables hl7, tls, peers and listener (the size of objects).
    database
        Open; it stays the caller's to close.
    on_ready
        Called once with the address, "tls:" before it where TLS is spoken.
    stop
        Ends the listener.

    Raises
    ------
    PortInUseError
        Another process listens there.
    ConfigurationError
        The address can't be listened on, or the certificates can't be used.
    """
    listening = bind_address(settings.hl7.host, settings.hl7.port, "hl7")
    intake = Intake(settings, database)
    traffic, trail = Traffic(database), AssociationTrail(database)
    try:
        traffic.know(settings.hl7.sending_applications)
        server = HL7Server(settings, listening, intake, traffic, trail)
        if not stop.is_set():
            on_ready(f"tls:{address_of(listening)}" if settings.hl7.tls else address_of(listening))
        server.serve(stop)
    finally:
        listening.close()
        intake.close()
        traffic.close()
        trail.close()


class _Peer:
    """A connection, and what is counted of it."""

    def __init__(self, connection: MLLPConnection, address: str, transport: TLSTransport | socket.socket) -> None:
        self.connection = connection
        self.address = address
        self.transport = transport
        self.began = time.monotonic()
        self.title = ""
        self.accepted = 0
        self.answered = 0
        self.ended_from_outside: str | None = None

    def end(self, reason_code: str) -> None:
        """End it from another thread."""
        self.ended_from_outside = reason_code
        self.connection.shut_down()


class HL7Server:
    """Accepts connections on a listening socket and answers the messages on each.

    Parameters
    ----------
    settings
        As of `run_hl7`.
    listening
        Bound and listening.
    intake, traffic, trail
        Open; they stay the caller's to close.
    timeouts
        Deadlines.

    Raises
    ------
    ConfigurationError
        The certificates can't be used.
    """

    def __init__(
        self,
        settings: Settings,
        listening: socket.socket,
        intake: Intake,
        traffic: Traffic,
        trail: AssociationTrail,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._settings = settings.hl7
        self._networks = [ipaddress.ip_network(network) for network in settings.hl7.networks]
        self._tls = server_context(settings) if settings.hl7.tls else None
        self._listening = listening
        self._intake = intake
        self._traffic = traffic
        self._trail = trail
        self._timeouts = timeouts or Timeouts()
        self._alerts = AlertLog(trail.alert)
        self._door = MessageDoor(settings, intake)
        give_back_large_blocks()
        # memory for one of the largest messages while it comes in, twice while its buffer grows
        self._allowance = Allowance(3 * intake.maximum_object_bytes + FREE_BYTES, ALLOWANCE_SECONDS)
        self._open: dict[_Peer, None] = {}
        self._changed = threading.Condition()
        self._is_stopping = False

    def serve(self, stop: threading.Event) -> None:
        """Accept until `stop` is set; then end what is silent, and the others when they were answered."""
        self._listening.settimeout(_POLL_SECONDS)
        try:
            while not stop.is_set():
                self._accept_one()
        finally:
            self._is_stopping = True
            self._listening.close()
            self._end_all()

    def _accept_one(self) -> None:
        try:
            transport, address = self._listening.accept()
        except TimeoutError:
            return
        except OSError as error:
            if error.errno in _OUT_OF_RESOURCES:
                log(Event.CONNECTION_NOT_SERVED, **describe(error))
                self._make_room()
                time.sleep(_POLL_SECONDS)
            return
        peer_address = plain_address(address[0])
        if self._networks and not any(ipaddress.ip_address(peer_address) in n for n in self._networks):
            transport.close()
            self._alerts.report("network_not_allowed", peer_address)
            return
        try:
            # a peer that is switched off without a word is found out by the system
            transport.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            secured = TLSTransport(transport, self._tls) if self._tls is not None else transport
            connection = MLLPConnection(secured, self._allowance, self._intake.maximum_object_bytes)
        except (OSError, ConnectionClosedError):
            transport.close()
            return
        peer = _Peer(connection, peer_address, secured)
        with self._changed:
            self._open[peer] = None
            is_full = len(self._open) > self._settings.maximum_connections
        if is_full:
            self._make_room()
        try:
            threading.Thread(target=self._run, args=(peer,), name="hl7", daemon=True).start()
        except RuntimeError as error:  # no more threads
            log(Event.CONNECTION_NOT_SERVED, **describe(error))
            connection.close()
            self._forget(peer)

    def _make_room(self) -> None:
        """End the connection that has been silent longest, of who has most of them."""
        with self._changed:
            silent = [p for p in self._open if not p.connection.is_within_message and p.ended_from_outside is None]
            counts = Counter(p.address for p in self._open)
        oldest = min(silent, key=lambda p: (-counts[p.address], p.connection.last_activity), default=None)
        if oldest is not None:
            oldest.end("too_many_connections")

    def _forget(self, peer: _Peer) -> None:
        with self._changed:
            del self._open[peer]
            self._changed.notify_all()

    def _end_all(self) -> None:
        deadline = time.monotonic() + self._timeouts.drain
        with self._changed:
            while self._open and time.monotonic() < deadline:
                for peer in self._open:
                    if not peer.connection.is_within_message:
                        peer.end("service_stopping")
                self._changed.wait(_POLL_SECONDS)
            for peer in self._open:
                peer.end("service_stopping")
            # those in a commit end right after it
            self._changed.wait_for(lambda: not self._open, self._timeouts.drain)

    # --- a connection's own thread

    def _run(self, peer: _Peer) -> None:
        end = "released"
        try:
            if not self._admits(peer):
                end = "certificate_not_allowed"
                return
            log(Event.HL7_CONNECTION_OPENED, peer_address=peer.address)
            while not self._is_stopping:
                self._converse(peer)
        except HandshakeError as error:
            end = error.reason_code
            self._alerts.report(error.reason_code, peer.address)
        except MessageTooLargeError as error:
            end = error.reason_code
            self._refuse(peer, error)
        except FrameError as error:
            end = error.reason_code
        except ConnectionClosedError:
            # how connections end: MLLP has no other word for it
            end = peer.ended_from_outside or "released"
        except TimeoutError:
            end = "message_timeout"
        except Exception as error:  # noqa: BLE001  whatever it is, it is this connection's, and the others go on
            end = "internal_error"
            log(Event.CONNECTION_NOT_SERVED, **describe(error))
        finally:
            peer.connection.close()
            self._forget(peer)
            self._tell_end(peer, end)

    def _admits(self, peer: _Peer) -> bool:
        """Do the handshake, where there is one, and look at the certificate."""
        certificate: PeerCertificate | None = None
        if isinstance(peer.transport, TLSTransport):
            certificate = peer.transport.handshake()
        allowed = self._settings.certificates
        if allowed and (certificate is None or certificate.names.isdisjoint(allowed)):
            self._alerts.report("certificate_not_allowed", peer.address)
            return False
        return True

    def _converse(self, peer: _Peer) -> None:
        """Take one message, and answer it."""
        pace = Pace(self._timeouts.message, self._timeouts.bytes_per_second)
        with peer.connection.message(pace) as data:
            began = time.monotonic()
            answered = self._door.answer(data, peer.address)
            self._send(peer, answered)
            self._count(peer, answered, time.monotonic() - began)

    def _refuse(self, peer: _Peer, error: MessageTooLargeError) -> None:
        """Answer a message that wasn't read to its end, and let the peer read that."""
        verdict: Verdict = TOO_LARGE if error.reason_code == TOO_LARGE.reason_code else TOO_MUCH_AT_A_TIME
        try:
            answered = self._door.answer(error.beginning, peer.address, verdict)
            self._send(peer, answered)
            self._count(peer, answered, 0.0)
            peer.connection.await_close(time.monotonic() + CLOSE_SECONDS)
        except (ConnectionClosedError, TimeoutError):
            return

    def _send(self, peer: _Peer, answered: Answered) -> None:
        for acknowledgement in answered.acknowledgements:
            peer.connection.send_message(acknowledgement)

    def _count(self, peer: _Peer, answered: Answered, seconds: float) -> None:
        verdict = answered.verdict
        peer.title = answered.sending_application or peer.title
        peer.answered += 1
        peer.accepted += verdict.code == "A"
        for receipt in answered.receipts:
            self._traffic.object_answered(answered.sending_application, receipt, seconds)
        if verdict.code != "A":
            log(Event.HL7_MESSAGE_REFUSED, peer_address=peer.address, reason_code=verdict.reason_code)
        if verdict.reason_code == "hl7_sender_not_allowed":
            self._alerts.report("hl7_sender_not_allowed", peer.address)

    def _tell_end(self, peer: _Peer, end: str) -> None:
        seconds, received = time.monotonic() - peer.began, peer.connection.bytes_received
        if not received and end == "released":
            return  # a bare connect, as monitors do it
        log(
            Event.HL7_CONNECTION_CLOSED,
            peer_address=peer.address,
            reason_code=end,
            count=peer.accepted,
            bytes=received,
            seconds=round(seconds, 3),
        )
        if peer.answered:
            self._traffic.association_ended(peer.title, end, seconds=seconds, received=received)
            self._trail.ended(peer.title, peer.address, CALLED, end, peer.accepted)
        else:
            self._trail.refused("", peer.address, CALLED, end)
