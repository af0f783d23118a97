"""One association, seen from the acceptor: the state machine of PS3.8 9.2 as a course of events.

::

    Sta2   transport open, A-ASSOCIATE-RQ awaited (ARTIM running)
    Sta3   request decoded and answered; nothing is awaited from the peer
    Sta6   established: P-DATA-TF in, responses out
    Sta8   A-RELEASE-RQ came and is answered at once
    Sta13  the peer is to close the transport (ARTIM running)

This side never asks for a release, so Sta7 and the collision states Sta9 to Sta12 can't come about; an A-RELEASE-RP is
therefore always unexpected.
"""

import enum
import threading
import time
from dataclasses import dataclass
from typing import Final

from dicomnlp.config import ListenerSettings
from dicomnlp.errors import SOP_CLASS_NOT_SUPPORTED, SUCCESS, UNRECOGNIZED_OPERATION
from dicomnlp.logs import Event, log
from dicomnlp.model import Arrival, Door, Outcome, is_uid
from dicomnlp.receive.contexts import MAXIMUM_LENGTH_RECEIVED, VERIFICATION_SOP_CLASS
from dicomnlp.receive.dimse import (
    Assembler,
    Command,
    CommandField,
    Message,
    encode_command_pdus,
    encode_response,
)
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.negotiation import (
    CALLED_AE_TITLE_NOT_RECOGNIZED,
    LOCAL_LIMIT_EXCEEDED,
    MAXIMUM_REQUEST_LENGTH,
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
    PDUType,
)
from dicomnlp.receive.reasons import Reason

REFUSED_CONTEXTS_LOGGED: Final = 3
"""Lines an association at the most: some propose more than a hundred, again for each object."""

_RELEASE_RP: Final = HEADER.pack(PDUType.A_RELEASE_RP, 4) + bytes(4)

_BEFORE_ASSOCIATION: Final[dict[int, int]] = {PDUType.A_ASSOCIATE_RQ: MAXIMUM_REQUEST_LENGTH, PDUType.A_ABORT: 4}
_ESTABLISHED: Final[dict[int, int]] = {
    PDUType.P_DATA_TF: MAXIMUM_LENGTH_RECEIVED,
    PDUType.A_RELEASE_RQ: 4,
    PDUType.A_ABORT: 4,
}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Deadlines in seconds."""

    artim: float = 10.0
    """For the A-ASSOCIATE-RQ to be there, and for the peer to close at the end (PS3.8 9.1.5)."""
    network: float = 60.0
    """For the next PDU to begin, for a PDU that has begun to be complete, and for the peer to take what is sent."""
    drain: float = 10.0
    """For open associations to end by themselves when the listener stops."""


class AssociationState(enum.Enum):
    """States of PS3.8 Table 9-1 in which this side waits for its peer."""

    AWAITING_REQUEST = "Sta2"
    ESTABLISHED = "Sta6"
    AWAITING_CLOSE = "Sta13"


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
    settings
        AE title and object size limit.
    intake
        Takes the objects.
    slots
        As many permits as there may be associations at a time; one is held from acceptance to the end.
    timeouts
        Deadlines.
    """

    def __init__(
        self,
        connection: Connection,
        peer_address: str,
        *,
        settings: ListenerSettings,
        intake: Intake,
        slots: threading.Semaphore,
        timeouts: Timeouts,
    ) -> None:
        self._connection = connection
        self._peer_address = peer_address
        self._settings = settings
        self._intake = intake
        self._slots = slots
        self._timeouts = timeouts
        self._began = time.monotonic()
        self._request: Request | None = None
        self._contexts: dict[int, AcceptedContext] = {}
        self._objects_stored = 0
        self._ended_from_outside: str | None = None
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
            self._converse()
            self.state = AssociationState.AWAITING_CLOSE
            self._connection.await_close(time.monotonic() + self._timeouts.artim)
        finally:
            self._connection.close()

    def _converse(self) -> None:
        """All from Sta2 to the last PDU of this side; returns when the peer is to close the transport."""
        try:
            acceptance = self._negotiate(self._await_request())
            if acceptance is None:
                return
            if not self._slots.acquire(blocking=False):
                self._reject(LOCAL_LIMIT_EXCEEDED)
                return
            try:
                self._establish(acceptance)
                self._serve()
            finally:
                self._slots.release()
            self._log_release()
        except AssociationError as error:
            self._connection.send_abort(error.abort_reason)
            self._log_abort(error.reason_code)
        except ConnectionClosedError as error:
            # a bare connect, as monitors do it, is not worth a line
            if self._connection.bytes_received:
                self._log_abort(self._ended_from_outside or error.reason_code)
        except TimeoutError:
            if self.state is AssociationState.ESTABLISHED:
                self._connection.send_abort(AbortReason.NOT_SPECIFIED)
                self._log_abort("network_timeout")
            else:
                self._log_abort("no_association_request")
        except Exception:
            self._connection.send_abort(AbortReason.NOT_SPECIFIED)
            raise

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
        self._request = request
        if request.called_ae_title != self._settings.ae_title.strip():
            self._reject(CALLED_AE_TITLE_NOT_RECOGNIZED)
            return None
        return accept(request, private_sop_classes=self._settings.private_sop_classes)

    def _establish(self, acceptance: Acceptance) -> None:
        """To Sta6."""
        assert self._request is not None
        self._contexts = acceptance.contexts
        self.state = AssociationState.ESTABLISHED
        log(
            Event.ASSOCIATION_ACCEPTED,
            calling_ae_title=self._request.calling_ae_title,
            called_ae_title=self._request.called_ae_title,
            peer_address=self._peer_address,
        )
        for context in acceptance.refused[:REFUSED_CONTEXTS_LOGGED]:
            log(
                Event.PRESENTATION_CONTEXT_REFUSED,
                calling_ae_title=self._request.calling_ae_title,
                peer_address=self._peer_address,
                sop_class_uid=context.sop_class_uid,
                transfer_syntax_uid=context.transfer_syntax_uid,
                reason_code=context.reason_code,
                count=len(acceptance.refused),
            )
        self._connection.send(acceptance.encoded)

    def _reject(self, rejection: Rejection) -> None:
        log(
            Event.ASSOCIATION_REJECTED,
            calling_ae_title=self._request.calling_ae_title if self._request else None,
            called_ae_title=self._request.called_ae_title if self._request else None,
            peer_address=self._peer_address,
            reason_code=rejection.reason_code,
        )
        self._connection.send(rejection.encode())

    def _serve(self) -> None:
        """Sta6 and Sta8: take and answer messages until the peer releases (DT-2, AR-2, AR-4)."""
        assembler = Assembler(self._contexts, self._settings.maximum_object_bytes)
        network = self._timeouts.network
        while True:
            kind, body = self._connection.read_pdu(_ESTABLISHED, time.monotonic() + network, seconds_once_begun=network)
            if kind == PDUType.P_DATA_TF:
                for message in assembler.feed(body):
                    self._perform(message)
            elif kind == PDUType.A_RELEASE_RQ:
                self._connection.send(_RELEASE_RP)
                return
            else:
                raise _PeerAbortedError("the peer aborted")

    # --- messages

    def _perform(self, message: Message) -> None:
        """Carry out one request and answer it (PS3.7 9.1.1, 9.1.5)."""
        command = message.command
        assert command is not None
        context = self._contexts[message.context_id]
        is_verification = context.sop_class_uid == VERIFICATION_SOP_CLASS
        if command.command_field == CommandField.C_CANCEL_RQ:
            return  # has no response, and nothing here can be under way (PS3.7 9.3.2.3)
        if command.command_field == CommandField.C_STORE_RQ and not is_verification:
            self._store(message, command, context)
        elif command.command_field == CommandField.C_ECHO_RQ and is_verification:
            matches = command.affected_sop_class_uid == context.sop_class_uid
            self._respond(message.context_id, command, SUCCESS if matches else SOP_CLASS_NOT_SUPPORTED, None)
        elif command.command_field & 0x8000:
            raise AssociationError(AbortReason.SERVICE_USER, "unexpected_response")
        else:
            self._respond(message.context_id, command, UNRECOGNIZED_OPERATION, None)
            raise AssociationError(AbortReason.SERVICE_USER, "unrecognized_operation")
        if not message.is_complete:
            raise AssociationError(AbortReason.SERVICE_USER, "object_too_large")

    def _store(self, message: Message, command: Command, context: AcceptedContext) -> None:
        """C-STORE: hand the object to intake, or have its refusal recorded, and answer what was decided."""
        refusal = self._refusal(message, command, context)
        assert self._request is not None
        arrival = Arrival(
            data=b"" if refusal else bytes(message.data_set),
            transfer_syntax_uid=context.transfer_syntax_uid,
            sop_class_uid=command.affected_sop_class_uid,
            sop_instance_uid=command.affected_sop_instance_uid,
            door=Door.C_STORE,
            calling_ae_title=self._request.calling_ae_title,
            called_ae_title=self._request.called_ae_title,
            peer_address=self._peer_address,
        )
        receipt = self._intake.refuse(arrival, *refusal) if refusal else self._intake.accept(arrival)
        if receipt.outcome in {Outcome.STORED, Outcome.DUPLICATE, Outcome.NEW_VERSION}:
            self._objects_stored += 1
        self._respond(message.context_id, command, receipt.status, receipt.reason_code)

    def _refusal(self, message: Message, command: Command, context: AcceptedContext) -> tuple[int, str] | None:
        """The status and reason code for a request that can be judged without looking into its data set."""
        if not message.is_complete or len(message.data_set) > self._settings.maximum_object_bytes:
            return Reason.OBJECT_TOO_LARGE.answer
        if command.affected_sop_class_uid != context.sop_class_uid:
            return Reason.SOP_CLASS_NOT_OF_CONTEXT.answer
        if not is_uid(command.affected_sop_instance_uid):
            return Reason.INVALID_SOP_INSTANCE_UID.answer
        if not command.has_data_set:
            return Reason.NO_DATA_SET.answer
        return None

    def _respond(self, context_id: int, command: Command, status: int, reason_code: str | None) -> None:
        assert self._request is not None
        uids = [command.affected_sop_class_uid, command.affected_sop_instance_uid]
        response = encode_response(
            command, status, uids=all(is_uid(uid) for uid in uids if uid), error_comment=reason_code
        )
        self._connection.send(encode_command_pdus(context_id, response, self._request.maximum_length))

    # --- log

    def _log_release(self) -> None:
        log(
            Event.ASSOCIATION_RELEASED,
            calling_ae_title=self._request.calling_ae_title if self._request else None,
            peer_address=self._peer_address,
            count=self._objects_stored,
            seconds=round(time.monotonic() - self._began, 3),
        )

    def _log_abort(self, reason_code: str) -> None:
        log(
            Event.ASSOCIATION_ABORTED,
            calling_ae_title=self._request.calling_ae_title if self._request else None,
            peer_address=self._peer_address,
            reason_code=reason_code,
            count=self._objects_stored,
            seconds=round(time.monotonic() - self._began, 3),
        )
