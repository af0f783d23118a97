"""One association, seen from the acceptor: the state machine of PS3.8 9.2 as a course of events.

::

    Sta1   no transport connection
    Sta2   transport open, A-ASSOCIATE-RQ awaited (ARTIM running)
    Sta3   request decoded and answered; what comes before the answer is out of turn
    Sta6   established: P-DATA-TF in, responses out
    Sta8   A-RELEASE-RQ came and is answered at once
    Sta13  the peer is to close the transport (ARTIM running)

Sta4 and Sta5 are a requestor's. This side never asks for a release, so Sta7 and the collision states Sta9 to Sta12
can't come about; an A-RELEASE-RP is therefore always unexpected. tests/receive/test_states.py holds each state against
each event of Table 9-10.
"""

import dataclasses
import enum
import time
from collections.abc import Callable
from typing import Final

from dicomnlp.config import PeerSettings
from dicomnlp.errors import DUPLICATE_INVOCATION, SOP_CLASS_NOT_SUPPORTED, SUCCESS, UNRECOGNIZED_OPERATION
from dicomnlp.model import Arrival, Door, is_uid
from dicomnlp.receive.association_log import AssociationLog
from dicomnlp.receive.contexts import (
    MAXIMUM_LENGTH_RECEIVED,
    STORAGE_COMMITMENT_SOP_CLASS,
    STORAGE_COMMITMENT_SOP_INSTANCE,
    VERIFICATION_SOP_CLASS,
)
from dicomnlp.receive.dimse import (
    Assembler,
    Command,
    CommandField,
    Message,
    encode_command_pdus,
    encode_data_pdus,
    encode_response,
)
from dicomnlp.receive.house import House
from dicomnlp.receive.images import IMAGE_SOP_CLASSES, ImageStream
from dicomnlp.receive.negotiation import (
    LOCAL_LIMIT_EXCEEDED,
    MAXIMUM_REQUEST_LENGTH,
    TEMPORARY_CONGESTION,
    Acceptance,
    AcceptedContext,
    Rejection,
    Request,
    accept,
    decode_request,
)
from dicomnlp.receive.pdu import (
    HEADER,
    AbortReason,
    AssociationError,
    Connection,
    ConnectionClosedError,
    Pace,
    PDUType,
    Timeouts,
)
from dicomnlp.receive.policy import ALARMING
from dicomnlp.receive.reasons import Reason
from dicomnlp.receive.tls import HandshakeError, PeerCertificate

_KNOWN_TYPES: Final = frozenset(PDUType)
_RELEASE_RP: Final = HEADER.pack(PDUType.A_RELEASE_RP, 4) + bytes(4)

_BEFORE_ASSOCIATION: Final[dict[int, int]] = {PDUType.A_ASSOCIATE_RQ: MAXIMUM_REQUEST_LENGTH, PDUType.A_ABORT: 4}
_ESTABLISHED: Final[dict[int, int]] = {
    PDUType.P_DATA_TF: MAXIMUM_LENGTH_RECEIVED,
    PDUType.A_RELEASE_RQ: 4,
    PDUType.A_ABORT: 4,
}


class AssociationState(enum.Enum):
    """States of PS3.8 Table 9-1 in which this side waits for its peer."""

    AWAITING_REQUEST = "Sta2"
    ESTABLISHED = "Sta6"
    AWAITING_CLOSE = "Sta13"


class _MessageTimeoutError(TimeoutError):
    """The peer stopped within a message, or is too slow with it."""


class _PeerAbortedError(ConnectionClosedError):
    """An A-ABORT came."""

    reason_code = "aborted_by_peer"


class Association:
    """A connection from accept to close; `run` is its thread.

    Parameters
    ----------
    connection
        Just accepted.
    peer_address
        For the log and the ledger.
    house
        What it shares with other associations.
    timeouts
        Deadlines.
    handshake
        Of TLS, where that is spoken.
    """

    def __init__(
        self,
        connection: Connection,
        peer_address: str,
        *,
        house: House,
        timeouts: Timeouts,
        handshake: Callable[[], PeerCertificate | None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._handshake = handshake
        self._certificate: PeerCertificate | None = None
        self._peer = PeerSettings(ae_title="*")
        """What is said of the peer, once it is known."""
        self.peer_address = peer_address
        self._house = house
        self._settings = house.settings.listener
        self._policy = house.policy
        self._intake = house.intake
        self._timeouts = timeouts
        self._began = time.monotonic()
        self._request: Request | None = None
        self._contexts: dict[int, AcceptedContext] = {}
        self._log = AssociationLog(connection, peer_address, house.traffic, house.trail)
        self._ended_from_outside: str | None = None
        self._is_framed = True
        """Whether what comes next can be read as PDUs."""
        self._answered: tuple[int, int] | None = None
        """Message ID of the last response, and the bytes that had come by then."""
        self.state = AssociationState.AWAITING_REQUEST

    # --- from other threads

    @property
    def is_expendable(self) -> bool:
        """Whether nothing would be lost but a wait if the connection were ended now."""
        return self.state is not AssociationState.ESTABLISHED and self._ended_from_outside is None

    def end(self, reason_code: str) -> None:
        """End the connection from another thread, with an A-ABORT if an association is established on it."""
        self._ended_from_outside = reason_code
        if self.state is AssociationState.ESTABLISHED:
            self._connection.send_abort(AbortReason.NOT_SPECIFIED)
        self._connection.shut_down()

    # --- the association's own thread

    def run(self) -> None:
        """Go through the association's states to the end of the transport connection."""
        try:
            if self._converse():
                self.state = AssociationState.AWAITING_CLOSE
                self._await_close()
        finally:
            self._connection.close()

    def _converse(self) -> bool:
        """All from Sta2 to the last PDU of this side; whether the peer is then to close the transport."""
        try:
            self._certificate = self._handshake()
            acceptance = self._negotiate(self._await_request())
            if acceptance is None:
                return True
            try:
                self._establish(acceptance)
                self._serve()
            finally:
                self._house.places.give_back(self.peer_address, self._log.calling_ae_title)
            self._log.released()
        except AssociationError as error:
            self._connection.send_abort(error.abort_reason)
            self._log.aborted(error.reason_code)
            # what follows a PDU that was not read to its end are no PDUs
            self._is_framed = error.abort_reason is AbortReason.SERVICE_USER
        except HandshakeError as error:
            self._log.aborted(error.reason_code)
            self._alert(error.reason_code)
            return False
        except ConnectionClosedError as error:
            # a bare connect, as monitors do it, is not worth a line
            if self._connection.bytes_received:
                self._log.aborted(self._ended_from_outside or error.reason_code)
            return False
        except TimeoutError as error:
            return self._give_up(error)
        except Exception:
            self._connection.send_abort(AbortReason.NOT_SPECIFIED)
            raise
        return True

    def _give_up(self, error: TimeoutError) -> bool:
        """A deadline passed: ARTIM ends the connection (AA-2), another one the association; likewise."""
        if self.state is not AssociationState.ESTABLISHED:
            self._log.aborted("no_association_request")
            return False
        self._connection.send_abort(AbortReason.NOT_SPECIFIED)
        self._log.aborted("message_timeout" if isinstance(error, _MessageTimeoutError) else "network_timeout")
        self._is_framed = False
        return True

    def _await_close(self) -> None:
        """Sta13: let the peer close; a request or an unknown PDU is aborted once (AA-7), others pass by (AA-6)."""
        deadline = time.monotonic() + self._timeouts.artim
        half_close = min(deadline, time.monotonic() + self._timeouts.half_close)
        try:
            while self._is_framed:
                kind = self._connection.skip_pdu(half_close)
                if kind == PDUType.A_ABORT:
                    return
                if kind == PDUType.A_ASSOCIATE_RQ:
                    self._connection.send_abort(AbortReason.UNEXPECTED_PDU)
                    self._is_framed = False
                elif kind not in _KNOWN_TYPES:
                    self._connection.send_abort(AbortReason.UNRECOGNIZED_PDU)
                    self._is_framed = False
        except ConnectionClosedError:
            return
        except TimeoutError:
            pass
        self._connection.await_close(deadline)

    def _await_request(self) -> Request | Rejection:
        """Sta2: the peer's A-ASSOCIATE-RQ, whole, before ARTIM expires (AE-6)."""
        kind, body = self._connection.read_pdu(_BEFORE_ASSOCIATION, self._began + self._timeouts.artim)
        if kind == PDUType.A_ABORT:
            raise _PeerAbortedError("the peer aborted")
        return decode_request(bytes(body))

    def _negotiate(self, request: Request | Rejection) -> Acceptance | None:
        """Sta3: what to accept a request with; None when it has been rejected (AE-7, AE-8)."""
        if isinstance(request, Rejection):
            self._reject(request)
            return None
        self._request = self._log.request = request
        peer = self._policy.judge(request, self.peer_address, self._certificate)
        if isinstance(peer, Rejection):
            self._reject(peer)
            self._alert(peer.reason_code)
            return None
        self._peer = peer
        acceptance = accept(
            request,
            private_sop_classes=self._settings.private_sop_classes,
            images=peer.images == "index",
            confirms_user=bool(peer.users),
        )
        hindrance = self._house.hindrance()
        if hindrance is not None:
            self._reject(dataclasses.replace(TEMPORARY_CONGESTION, reason_code=hindrance))
            return None
        self._refuse_haste()
        full = self._house.places.take(self.peer_address, request.calling_ae_title, peer.maximum_associations)
        if full is not None:
            self._reject(dataclasses.replace(LOCAL_LIMIT_EXCEEDED, reason_code=full))
            return None
        return acceptance

    def _refuse_haste(self) -> None:
        """Sta3: nothing but an A-ABORT may come before the answer (AA-3, AA-8)."""
        if self._connection.bytes_taken < self._connection.bytes_received:
            # too early to be for one of the contexts: none has been accepted
            kind, _ = self._connection.read_pdu({PDUType.A_ABORT: 4}, self._began + self._timeouts.artim)
            assert kind == PDUType.A_ABORT
            raise _PeerAbortedError("the peer aborted")

    def _establish(self, acceptance: Acceptance) -> None:
        """To Sta6."""
        assert self._request is not None
        self._contexts = acceptance.contexts
        self.state = AssociationState.ESTABLISHED
        self._commitments = self._house.commitments.on_association(
            self._request.calling_ae_title, self._request.called_ae_title
        )
        self._log.accepted(acceptance)
        self._connection.send(acceptance.encoded)

    def _reject(self, rejection: Rejection) -> None:
        self._log.rejected(rejection)
        self._connection.send(rejection.encode())

    def _serve(self) -> None:
        """Sta6 and Sta8: take and answer messages until the peer releases (DT-2, AR-2, AR-4)."""
        assembler = Assembler(
            self._contexts, self._settings.maximum_object_bytes, self._house.allowance, open_stream=self._open_stream
        )
        pace = Pace(self._timeouts.message, self._timeouts.bytes_per_second)
        try:
            while True:
                kind, body = self._read(pace)
                if kind == PDUType.P_DATA_TF:
                    began = time.monotonic()
                    for message in assembler.feed(body, self._connection.bytes_taken):
                        try:
                            self._perform(message)
                        finally:
                            assembler.release(message)
                    if assembler.is_within_message:
                        # what this side needed isn't the peer's slowness
                        pace.deadline += time.monotonic() - began
                    else:
                        pace.end()
                elif kind == PDUType.A_RELEASE_RQ:
                    self._connection.send(_RELEASE_RP)
                    return
                else:
                    raise _PeerAbortedError("the peer aborted")
        finally:
            assembler.close()

    def _open_stream(self, context_id: int) -> ImageStream | None:
        """What takes an image, of which only the header is kept."""
        context = self._contexts[context_id]
        if context.sop_class_uid not in IMAGE_SOP_CLASSES:
            return None
        return ImageStream(context.transfer_syntax_uid, maximum_header_bytes=self._settings.maximum_object_bytes)

    def _read(self, pace: Pace) -> tuple[int, memoryview]:
        network = self._timeouts.network
        try:
            return self._connection.read_pdu(
                _ESTABLISHED, time.monotonic() + network, seconds_once_begun=network, pace=pace
            )
        except TimeoutError:
            if time.monotonic() >= pace.deadline:
                raise _MessageTimeoutError from None
            raise

    # --- messages

    def _perform(self, message: Message) -> None:
        """Carry out one request and answer it (PS3.7 9.1.1, 9.1.5)."""
        command = message.command
        assert command is not None
        context = self._contexts[message.context_id]
        is_verification = context.sop_class_uid == VERIFICATION_SOP_CLASS
        if command.command_field == CommandField.C_CANCEL_RQ:
            return  # has no response, and nothing here can be under way (PS3.7 9.3.2.3)
        if command.command_field == CommandField.N_EVENT_REPORT_RSP and self._commitments.takes(message):
            return
        if self._is_pending(message, command):
            self._respond(message.context_id, command, DUPLICATE_INVOCATION, None)
        elif command.command_field == CommandField.C_STORE_RQ and not is_verification:
            self._store(message, command, context)
        elif command.command_field == CommandField.C_ECHO_RQ and is_verification:
            matches = command.affected_sop_class_uid == context.sop_class_uid
            self._respond(message.context_id, command, SUCCESS if matches else SOP_CLASS_NOT_SUPPORTED, None)
        elif (
            command.command_field == CommandField.N_ACTION_RQ and context.sop_class_uid == STORAGE_COMMITMENT_SOP_CLASS
        ):
            self._commit(message, command, context)
        elif command.command_field & 0x8000:
            raise AssociationError(AbortReason.SERVICE_USER, "unexpected_response")
        else:
            self._respond(message.context_id, command, UNRECOGNIZED_OPERATION, None)
            raise AssociationError(AbortReason.SERVICE_USER, "unrecognized_operation")
        if not message.is_complete:
            raise AssociationError(AbortReason.SERVICE_USER, _incomplete(message).answer[1])

    def _is_pending(self, message: Message, command: Command) -> bool:
        """Whether a request has the message ID of the one before it, and came before that was answered."""
        if self._answered is None:
            return False
        message_id, arrived = self._answered
        return command.message_id == message_id and message.taken <= arrived

    def _store(self, message: Message, command: Command, context: AcceptedContext) -> None:
        """C-STORE: hand the object to intake, or have its refusal recorded, and answer what was decided."""
        began = time.monotonic()
        refusal = self._refusal(message, command, context)
        assert self._request is not None
        arrival = Arrival(
            data=b"" if refusal else self._take_data_set(message),
            transfer_syntax_uid=context.transfer_syntax_uid,
            sop_class_uid=command.affected_sop_class_uid,
            sop_instance_uid=command.affected_sop_instance_uid,
            door=Door.C_STORE,
            calling_ae_title=self._request.calling_ae_title,
            called_ae_title=self._request.called_ae_title,
            peer_address=self.peer_address,
        )
        if refusal:
            receipt = self._intake.refuse(arrival, *refusal)
        elif isinstance(message.stream, ImageStream):
            receipt = self._intake.index(arrival, message.stream)
        else:
            receipt = self._intake.accept(arrival)
        self._respond(message.context_id, command, receipt.status, receipt.reason_code)
        self._log.answered(receipt, time.monotonic() - began)

    def _commit(self, message: Message, command: Command, context: AcceptedContext) -> None:
        """N-ACTION of storage commitment: answer it, and report if that is to be here (PS3.4 J.3.2, J.3.3)."""
        assert self._request is not None
        status, commitment = self._commitments.act(
            bytes(message.command_set), self._take_data_set(message) if message.is_complete else b"", context
        )
        of_instance = dataclasses.replace(
            command,
            affected_sop_class_uid=STORAGE_COMMITMENT_SOP_CLASS,
            affected_sop_instance_uid=STORAGE_COMMITMENT_SOP_INSTANCE,
        )
        self._respond(message.context_id, of_instance, status, None)
        if commitment is not None:
            command_set, data_set = self._commitments.report(commitment, context)
            length = self._request.maximum_length
            self._connection.send(
                encode_command_pdus(message.context_id, command_set, length)
                + encode_data_pdus(message.context_id, data_set, length)
            )

    def _refusal(self, message: Message, command: Command, context: AcceptedContext) -> tuple[int, str] | None:
        """The status and reason code for a request that can be judged without looking into its data set."""
        if not message.is_complete:
            return _incomplete(message).answer
        if len(message.data_set) > self._settings.maximum_object_bytes:
            return Reason.OBJECT_TOO_LARGE.answer
        if command.affected_sop_class_uid != context.sop_class_uid:
            return Reason.SOP_CLASS_NOT_OF_CONTEXT.answer
        if context.sop_class_uid in self._peer.refused_sop_classes:
            return Reason.SOP_CLASS_NOT_AUTHORIZED.answer
        if not is_uid(command.affected_sop_instance_uid):
            return Reason.INVALID_SOP_INSTANCE_UID.answer
        if not command.has_data_set:
            return Reason.NO_DATA_SET.answer
        return None

    def _take_data_set(self, message: Message) -> bytes:
        if not message.held:
            return bytes(message.data_set)
        with self._house.allowance.copying:
            data = bytes(message.data_set)
            message.data_set = bytearray()
        return data

    def _respond(self, context_id: int, command: Command, status: int, reason_code: str | None) -> None:
        assert self._request is not None
        sop_class_uid, sop_instance_uid = command.affected_sop_class_uid, command.affected_sop_instance_uid
        well_formed = (not sop_class_uid or is_uid(sop_class_uid)) and (
            not sop_instance_uid or is_uid(sop_instance_uid)
        )
        response = encode_response(command, status, uids=well_formed, error_comment=reason_code)
        self._answered = command.message_id, self._connection.bytes_arrived
        self._connection.send(encode_command_pdus(context_id, response, self._request.maximum_length))

    # --- log

    def _alert(self, reason_code: str) -> None:
        if reason_code in ALARMING:
            self._house.alerts.report(reason_code, self.peer_address, self._log.calling_ae_title or None)


def _incomplete(message: Message) -> Reason:
    """Why a message was handed out before its end."""
    return Reason.TOO_MUCH_AT_A_TIME if message.is_starved else Reason.OBJECT_TOO_LARGE
