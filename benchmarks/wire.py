"""An association that costs its sender little: bare bytes on a socket."""

import contextlib
import socket
import struct
from types import TracebackType
from typing import Self

from support.lean_sender import associate_request, is_acknowledged, read_pdu

RELEASE = struct.pack(">BxI4x", 0x05, 4)


class Association:
    """One of them, with one context; stores objects one after the other.

    Parameters
    ----------
    port
        Of a listener on this machine.
    sop_class_uid
        Of all objects: Basic Text SR.
    """

    def __init__(self, port: int, sop_class_uid: str) -> None:
        self._sop_class_uid = sop_class_uid
        self._number = 0
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(associate_request())
        if read_pdu(self._socket)[0] != 0x02:
            raise ConnectionError("not accepted")

    def store(self, sop_instance_uid: str, data: bytes) -> bool:
        """C-STORE (PS3.7 9.3.1) in one PDU; whether the answer was 0000."""
        self._number = self._number % 65535 + 1
        command = b"".join(
            [
                _element(0x0002, _uid(self._sop_class_uid)),
                _element(0x0100, struct.pack("<H", 1)),
                _element(0x0110, struct.pack("<H", self._number)),
                _element(0x0700, struct.pack("<H", 0)),
                _element(0x0800, struct.pack("<H", 1)),
                _element(0x1000, _uid(sop_instance_uid)),
            ]
        )
        command = _element(0x0000, struct.pack("<I", len(command))) + command
        values = struct.pack(">IBB", len(command) + 2, 1, 0x03) + command
        values += struct.pack(">IBB", len(data) + 2, 1, 0x02) + data
        self._socket.sendall(struct.pack(">BxI", 0x04, len(values)) + values)
        return bool(is_acknowledged(self._socket))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendall(RELEASE)
            read_pdu(self._socket)
        self._socket.close()


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def _uid(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)
