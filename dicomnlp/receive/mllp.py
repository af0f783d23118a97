"""The frames of MLLP (HL7 transport specification, release 1): <VT> message <FS> <CR>, and nothing else on the line.

As with DICOM nothing is waited for without end: a message that has begun has to go on at a least rate, and memory for
more than a usual one is asked for before it is taken.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from dicomnlp.errors import DicomnlpError
from dicomnlp.receive.pdu import Connection, Pace, Transport
from dicomnlp.receive.places import Allowance

START: Final = 0x0B
END: Final = 0x1C
_BETWEEN: Final = b"\r\n \t\0"
"""What some systems send between two messages."""
_MAXIMUM_BETWEEN: Final = 65536
_KEPT_BUFFER: Final = 65536
_FOREVER_SECONDS: Final = 1e9


class FrameError(DicomnlpError):
    """What comes is no frame: the connection can't go on."""

    reason_code = "not_mllp"


class MessageTooLargeError(FrameError):
    """A message is above the limit, or others take the memory that it would need."""

    reason_code = "message_too_large"

    def __init__(self, beginning: bytes, reason_code: str) -> None:
        super().__init__("the message is too large to be taken", reason_code=reason_code)
        self.beginning = beginning
        """Enough of it to be answered."""


class MLLPConnection(Connection):
    """A connection on which messages come and answers go.

    Parameters
    ----------
    transport
        The connected socket; it belongs to this object from here on.
    allowance
        Of memory, which it shares with others.
    maximum_bytes
        Of a message.
    """

    def __init__(self, transport: Transport, allowance: Allowance, maximum_bytes: int) -> None:
        super().__init__(transport)
        self._allowance = allowance
        self._maximum_bytes = maximum_bytes
        self.last_activity = time.monotonic()
        self.is_within_message = False

    @contextlib.contextmanager
    def message(self, pace: Pace) -> Iterator[bytes]:
        """The next message, without its frame; memory for it is given back when the block ends.

        Parameters
        ----------
        pace
            Begins with the first byte of the message.

        Raises
        ------
        FrameError
            What comes isn't a frame; `MessageTooLargeError` when it is above a limit.
        ConnectionClosedError
            The connection ended.
        TimeoutError
            The peer is too slow with a message that it has begun.
        """
        held = 0
        try:
            self._await_start()
            self.is_within_message = True
            pace.begin()
            looked = self._start
            while True:
                at = self._buffer.find(END, looked, self._end)
                if at >= 0:
                    break
                size = self._end - self._start
                if size > self._maximum_bytes:
                    raise MessageTooLargeError(self._beginning(), "message_too_large")
                if self._end == len(self._buffer):
                    # twice as much each time: a byte is copied twice at the most, whatever the size
                    taken = self._allowance.take(held, 2 * len(self._buffer))
                    if taken is None:
                        raise MessageTooLargeError(self._beginning(), "too_much_at_a_time")
                    held = taken
                    pace.begin()  # what this side had to wait for isn't the peer's slowness
                    offset = self._end - self._start
                    self._make_room(2 * size + 1)
                    looked = self._start + offset
                else:
                    looked = self._end
                pace.received(self._receive(pace.deadline))
            data = bytes(memoryview(self._buffer)[self._start : at])
            self._start = at + 1
            pace.end()
            self._shrink()
            self.last_activity = time.monotonic()
            # a sender that began anew without ending what it had begun: only the last one is whole
            again = data.rfind(b"\x0bMSH")
            yield data[again + 1 :] if again >= 0 else data
        finally:
            self.is_within_message = False
            self.last_activity = time.monotonic()
            self._allowance.give_back(held)

    def send_message(self, message: bytes) -> None:
        """Send a message in its frame.

        Raises
        ------
        ConnectionClosedError
            The connection ended, or the peer doesn't take it.
        """
        self.send(bytes((START,)) + message + bytes((END, 0x0D)))

    def _await_start(self) -> None:
        """Wait for the byte that a message begins with, as long as it takes, and step over it."""
        passed = 0
        while True:
            while self._start < self._end:
                byte = self._buffer[self._start]
                self._start += 1
                if byte == START:
                    return
                passed += 1
                if byte not in _BETWEEN or passed > _MAXIMUM_BETWEEN:
                    raise FrameError("a message doesn't begin with <VT>")
            self._start = self._end = 0
            self._receive(time.monotonic() + _FOREVER_SECONDS)

    def _beginning(self) -> bytes:
        return bytes(memoryview(self._buffer)[self._start : min(self._end, self._start + _KEPT_BUFFER)])

    def _shrink(self) -> None:
        """Let go of memory that only a large message needed."""
        if len(self._buffer) > _KEPT_BUFFER and self._end - self._start < _KEPT_BUFFER:
            pending = self._buffer[self._start : self._end]
            self._buffer = bytearray(_KEPT_BUFFER)
            self._buffer[: len(pending)] = pending
            self._start, self._end = 0, len(pending)
