"""A transport connection read and written in whole protocol data units (PS3.8 9.3.1).

Type and length of a PDU are judged from its six header bytes, before anything of its body is read or any memory is
taken for it, and every wait has a deadline.
"""

import array
import enum
import fcntl
import math
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from dicomnlp.errors import DicomnlpError

HEADER: Final = struct.Struct(">BxI")
"""PDU type, reserved, length of what follows."""

PDV_HEADER: Final = struct.Struct(">IBB")
"""Item length (counting what follows it), presentation context ID, message control header (PS3.8 9.3.5.1, E.2)."""

_INITIAL_BUFFER: Final = 8192
_WAIT_SECONDS: Final = 10.0
"""The socket's own timeout: a longer wait is several of them, because setting it is a system call."""
_DISCARDED_BYTES: Final = 268435456
"""What a peer may still send after the association's end before the connection is cut: the rest of an object that was
refused, so that it can read why."""


class PDUType(enum.IntEnum):
    """PDU types (PS3.8 9.3)."""

    A_ASSOCIATE_RQ = 0x01
    A_ASSOCIATE_AC = 0x02
    A_ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    A_RELEASE_RQ = 0x05
    A_RELEASE_RP = 0x06
    A_ABORT = 0x07


_KNOWN_TYPES: Final = frozenset(PDUType)


class AbortReason(enum.Enum):
    """(source, reason) of an A-ABORT PDU that this side sends (PS3.8 Table 9-26)."""

    SERVICE_USER = (0, 0)
    NOT_SPECIFIED = (2, 0)
    UNRECOGNIZED_PDU = (2, 1)
    UNEXPECTED_PDU = (2, 2)
    UNEXPECTED_PDU_PARAMETER = (2, 5)
    INVALID_PDU_PARAMETER = (2, 6)


class AssociationError(DicomnlpError):
    """The association must end with an A-ABORT; `reason_code` says why in the log."""

    reason_code = "association_error"

    def __init__(self, abort_reason: AbortReason, reason_code: str) -> None:
        super().__init__(reason_code, reason_code=reason_code)
        self.abort_reason = abort_reason


class ConnectionClosedError(DicomnlpError):
    """The peer closed or reset the transport connection, or this side shut it down to end a wait."""

    reason_code = "connection_closed"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Deadlines in seconds."""

    artim: float = 10.0
    """For the A-ASSOCIATE-RQ to be there, and for the peer to close at the end (PS3.8 9.1.5)."""
    network: float = 60.0
    """For the next message to begin, and for a PDU that has begun to be complete."""
    message: float = 30.0
    """For a message that has begun to go on, and what it may fall behind `bytes_per_second`."""
    bytes_per_second: float = 1024.0
    """The least rate of a message that has begun."""
    half_close: float = 1.0
    """For the peer to close at the end, before it is shown that this side won't send any more."""
    drain: float = 10.0
    """For open associations to end by themselves when the listener stops."""


class Pace:
    """How long to wait for a peer that is in the middle of something: it has to send at a least rate.

    A peer may fall behind the rate by so many seconds, and can't save up more than these by having been fast.

    Parameters
    ----------
    patience
        Seconds.
    bytes_per_second
        The least rate.
    """

    def __init__(self, patience: float, bytes_per_second: float) -> None:
        self._patience = patience
        self._bytes_per_second = bytes_per_second
        self.deadline = math.inf
        """On the clock of `time.monotonic`; infinite while nothing is to be expected of the peer."""

    def begin(self) -> None:
        """The peer has begun with something."""
        self.deadline = time.monotonic() + self._patience

    def received(self, count: int) -> None:
        """So many bytes came."""
        self.deadline = min(time.monotonic() + self._patience, self.deadline + count / self._bytes_per_second)

    def end(self) -> None:
        """The peer owes nothing."""
        self.deadline = math.inf


class Transport(Protocol):
    """Those methods of a socket that `Connection` calls."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...  # noqa: D102

    def settimeout(self, seconds: float | None, /) -> None: ...  # noqa: D102

    def fileno(self) -> int: ...  # noqa: D102

    def recv_into(self, buffer: memoryview, /) -> int: ...  # noqa: D102

    def sendall(self, data: bytes, /) -> None: ...  # noqa: D102

    def shutdown(self, how: int, /) -> None: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


class Connection:
    """A TCP connection to a peer.

    One thread reads. `send`, `send_abort` and `shut_down` may be called by any thread.

    Parameters
    ----------
    transport
        The connected socket; it belongs to this object from here on.
    pending
        How many bytes `transport` has taken from the system and not handed on: TLS decrypts whole records.

    Raises
    ------
    ConnectionClosedError
        The connection has ended already.
    """

    def __init__(self, transport: Transport, *, pending: Callable[[], int] = lambda: 0) -> None:
        self._socket = transport
        self._pending = pending
        self._send_lock = threading.Lock()
        self._socket_seconds: float | None = None
        self._buffer = bytearray(_INITIAL_BUFFER)
        self._start = 0
        self._end = 0
        self._skipped = 0
        self.bytes_received = 0
        try:
            # a response must not wait for the acknowledgement of the one before it (Nagle's algorithm)
            transport.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            transport.close()
            raise ConnectionClosedError("the peer closed the connection") from None

    @property
    def bytes_taken(self) -> int:
        """Bytes up to the end of the PDU that was read last."""
        return self.bytes_received - (self._end - self._start)

    @property
    def bytes_arrived(self) -> int:
        """Bytes that have come so far, read or still in other hands; those that TLS has yet to decrypt as they are.

        That is some twenty bytes too many for each record of TLS, which is less than any message has.
        """
        waiting = array.array("i", [0])
        try:
            fcntl.ioctl(self._socket.fileno(), termios.FIONREAD, waiting)
        except (OSError, ValueError):  # closed by another thread
            return self.bytes_received
        return self.bytes_received + self._pending() + waiting[0]

    def read_pdu(
        self,
        maximum_lengths: Mapping[int, int],
        deadline: float,
        *,
        seconds_once_begun: float | None = None,
        pace: Pace | None = None,
    ) -> tuple[int, memoryview]:
        """The type of the next PDU and what follows its header.

        Parameters
        ----------
        maximum_lengths
            The PDU types expected here, each with the greatest length, in bytes, that it may announce.
        deadline
            On the clock of `time.monotonic`: by then the PDU must be there whole.
        seconds_once_begun
            If given, `deadline` is for the first byte only, and the rest may take so many seconds from then.
        pace
            If given, it begins with the PDU, unless it has begun before, and its deadline holds too.

        Returns
        -------
        tuple[int, memoryview]
            The view is valid until the next call.

        Raises
        ------
        AssociationError
            The type is unknown or not expected, or the length above what is allowed (all before reading on).
        ConnectionClosedError
            The connection ended.
        TimeoutError
            The deadline passed.
        """
        if seconds_once_begun is not None:
            self._fill(1, deadline, pace)
            deadline = time.monotonic() + seconds_once_begun
        if pace is not None and pace.deadline == math.inf:
            pace.begin()
        self._fill(HEADER.size, deadline, pace)
        kind, length = HEADER.unpack_from(self._buffer, self._start)
        maximum = maximum_lengths.get(kind)
        if maximum is None and kind in _KNOWN_TYPES:
            raise AssociationError(AbortReason.UNEXPECTED_PDU, "unexpected_pdu")
        if maximum is None:
            raise AssociationError(AbortReason.UNRECOGNIZED_PDU, "unrecognized_pdu")
        if length > maximum:
            raise AssociationError(AbortReason.INVALID_PDU_PARAMETER, "pdu_too_long")
        self._fill(HEADER.size + length, deadline, pace)
        begin = self._start + HEADER.size
        self._start = begin + length
        return kind, memoryview(self._buffer)[begin : begin + length]

    def skip_pdu(self, deadline: float) -> int:
        """The type of the next PDU, whatever it is; its body is let go by, but for that of an unknown type.

        Raises
        ------
        ConnectionClosedError
            The connection ended, or more came than anybody can mean to send.
        TimeoutError
            The deadline passed.
        """
        self._fill(HEADER.size, deadline, None)
        kind, length = HEADER.unpack_from(self._buffer, self._start)
        self._start += HEADER.size
        while kind in _KNOWN_TYPES and length:
            present = min(length, self._end - self._start)
            self._start += present
            length -= present
            self._count_skipped(present)
            if length:
                self._fill(1, deadline, None)
        return int(kind)

    def _count_skipped(self, count: int) -> None:
        self._skipped += count
        if self._skipped > _DISCARDED_BYTES:
            raise ConnectionClosedError("the peer doesn't stop sending")

    def _fill(self, count: int, deadline: float, pace: Pace | None) -> None:
        while self._end - self._start < count:
            self._make_room(count)
            if pace is None:
                self._receive(deadline)
            else:
                pace.received(self._receive(min(deadline, pace.deadline)))

    def _make_room(self, count: int) -> None:
        """Space for at least `count` bytes from `_start` on, and for one more byte to be received."""
        if self._start == self._end:
            self._start = self._end = 0
        if len(self._buffer) - self._start >= count and self._end < len(self._buffer):
            return
        # a new buffer, not a longer one: the caller may still hold a view of the old one
        size = max(len(self._buffer), count + _INITIAL_BUFFER)
        pending = self._buffer[self._start : self._end]
        self._buffer = bytearray(size)
        self._buffer[: len(pending)] = pending
        self._start, self._end = 0, len(pending)

    def _receive(self, deadline: float) -> int:
        """Receive what is there, at least one byte; how many."""
        while True:
            # rounded up to tenths, so that the same timeout does for most waits near a deadline, too
            seconds = min(_WAIT_SECONDS, math.ceil((deadline - time.monotonic()) * 10) / 10)
            if seconds <= 0:
                raise TimeoutError
            if seconds != self._socket_seconds:
                self._set_timeout(seconds)
            try:
                count = self._socket.recv_into(memoryview(self._buffer)[self._end :])
                break
            except TimeoutError:
                continue
            except OSError:
                raise ConnectionClosedError("the peer reset the connection") from None
        if count == 0:
            raise ConnectionClosedError("the peer closed the connection")
        self._end += count
        self.bytes_received += count
        self._acknowledge()
        return count

    def _set_timeout(self, seconds: float) -> None:
        self._socket.settimeout(seconds)
        self._socket_seconds = seconds

    def _acknowledge(self) -> None:
        """Have the kernel acknowledge at once what came.

        Senders that leave Nagle's algorithm on hold back the data set until the command before it is acknowledged, and
        a delayed acknowledgement costs them 40 ms a message. Linux clears the option by itself, so it is set each time.
        """
        if hasattr(socket, "TCP_QUICKACK"):
            try:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            except OSError:
                raise ConnectionClosedError("the connection was closed on this side") from None

    def send(self, data: bytes) -> None:
        """Send `data` whole.

        Raises
        ------
        ConnectionClosedError
            The connection ended, or the peer didn't take the data within ten seconds.
        """
        with self._send_lock:
            try:
                if self._socket_seconds != _WAIT_SECONDS:
                    self._set_timeout(_WAIT_SECONDS)
                self._socket.sendall(data)
            except OSError:
                raise ConnectionClosedError("the peer doesn't take what is sent to it") from None

    def send_abort(self, reason: AbortReason) -> None:
        """Send an A-ABORT PDU (PS3.8 9.3.8), if the peer still listens."""
        source, diagnostic = reason.value
        try:
            self.send(HEADER.pack(PDUType.A_ABORT, 4) + bytes((0, 0, source, diagnostic)))
        except ConnectionClosedError:
            return

    def await_close(self, deadline: float) -> None:
        """Say that nothing more is sent, and wait for the peer to close, discarding what it still sends.

        What was sent before still arrives: closing at once instead could destroy it together with unread input.
        """
        try:
            self._socket.shutdown(socket.SHUT_WR)
            while True:
                self._start = self._end = 0
                self._count_skipped(self._receive(deadline))
        except (OSError, ConnectionClosedError):  # TimeoutError is an OSError
            return

    def shut_down(self) -> None:
        """End the connection from another thread: whoever reads gets `ConnectionClosedError`."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
