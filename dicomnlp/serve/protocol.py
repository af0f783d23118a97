"""HTTP/1.1 on one connection: uvicorn's, with time limits that it lacks, and problem documents for what isn't HTTP."""

import asyncio
import sys
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from dicomnlp.serve.gate import SECURITY_HEADERS
from dicomnlp.serve.problems import problem

REQUEST_SECONDS: Final = 10.0
"""A connection that brings no whole request for so long is closed, or of a body less than `MINIMUM_BYTES`."""
MINIMUM_BYTES: Final = 10240
"""A kilobyte a second, as on the DICOM port."""


class TimedProtocol(H11Protocol):
    """Closes a connection that takes too long over a request; uvicorn itself waits for ever (slow-loris)."""

    _deadline: asyncio.TimerHandle | None = None
    _received = 0
    """Bytes of a body since the last look."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        if self.conn.their_state is h11.SEND_BODY:
            self._received += len(data)
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._unwatch()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  its text is of the library
        """Say that what came isn't HTTP, or that its head is too large, and end."""
        error = sys.exception()
        is_too_large = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            # in the middle of an answer: nothing else can be said
            self.transport.abort()
            return
        response = problem("header_too_large" if is_too_large else "malformed_request")
        headers = [*response.headers.items(), *SECURITY_HEADERS.items(), ("Connection", "close")]
        events: tuple[h11.Event, ...] = (
            h11.Response(status_code=response.status_code, headers=headers),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        """Keep a timer running whenever something is to come from the client, and none while an answer is made."""
        waiting = self.conn.their_state in {h11.IDLE, h11.SEND_BODY}
        if not waiting:
            self._unwatch()
        elif self._deadline is None:
            self._received = 0
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._expire)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        in_body = self.conn.their_state is h11.SEND_BODY
        if in_body and (self._received >= MINIMUM_BYTES or self.flow.read_paused):
            # a large body that comes on, or one that waits for this side to take more of it
            self._watch()
        else:
            self.transport.abort()
