"""A sender that costs as little as can be: associations on bare sockets, multiplexed in one thread.

Run `python benchmarks/raw_sender.py PORT ASSOCIATIONS FOLDER`. Each file of FOLDER is sent by C-STORE on one of the
associations, the next on an association when the one before is answered. Prints a line of JSON: objects answered with
0000, and seconds from the first object's first byte to the last answer.
"""

import json
import selectors
import socket
import struct
import sys
import time
from pathlib import Path

import pydicom
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
EXPLICIT_VR_LITTLE_ENDIAN = b"1.2.840.10008.1.2.1"
IMPLEMENTATION = b"2.25.9831155616574538634672919936655073582"
SUCCESS = struct.pack("<HHIH", 0x0000, 0x0900, 2, 0x0000)


class Object:
    """A C-STORE request, encoded."""

    def __init__(self, path: Path, message_id: int) -> None:
        data_set = pydicom.dcmread(path)
        self.sop_class_uid = str(data_set.SOPClassUID).encode()
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        write_dataset(buffer, data_set)
        self.data = buffer.getvalue()
        elements = b"".join(
            struct.pack("<HHI", 0, number, len(value)) + value
            for number, value in (
                (0x0002, _padded(self.sop_class_uid)),
                (0x0100, struct.pack("<H", 1)),
                (0x0110, struct.pack("<H", message_id)),
                (0x0700, struct.pack("<H", 0)),
                (0x0800, struct.pack("<H", 1)),
                (0x1000, _padded(str(data_set.SOPInstanceUID).encode())),
            )
        )
        self.command = struct.pack("<HHII", 0, 0, 4, len(elements)) + elements

    def message(self, maximum_length: int) -> bytes:
        """P-DATA-TF PDUs in presentation context 1 (PS3.8 9.3.5)."""
        size = maximum_length - 6
        fragments = [self.data[begin : begin + size] for begin in range(0, len(self.data), size)]
        values = [(0x03, self.command), *((0x00, fragment) for fragment in fragments[:-1]), (0x02, fragments[-1])]
        return b"".join(
            struct.pack(">BxIIBB", 0x04, len(value) + 6, len(value) + 2, 1, control) + value
            for control, value in values
        )


def _padded(uid: bytes) -> bytes:
    return uid + b"\0" * (len(uid) % 2)


def _request(sop_class_uid: bytes, called: bytes) -> bytes:
    """An A-ASSOCIATE-RQ PDU with one presentation context (PS3.8 9.3.2)."""

    def item(kind: int, body: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(body)) + body

    context = struct.pack(">B3x", 1) + item(0x30, sop_class_uid) + item(0x40, EXPLICIT_VR_LITTLE_ENDIAN)
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, IMPLEMENTATION)
    body = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16), b"RAW".ljust(16))
    body += item(0x10, APPLICATION_CONTEXT) + item(0x20, context) + item(0x50, user)
    return struct.pack(">BxI", 0x01, len(body)) + body


class Association:
    """One of them: it asks to be accepted, takes objects from `messages` until none is left, and releases."""

    def __init__(self, port: int, called: str, objects: list[Object]) -> None:
        self._objects = objects
        self._received = b""
        self._maximum_length = 0
        self.stored = 0
        """Objects that were answered with 0000."""
        self.is_open = True
        self.began = 0.0
        self.ended = 0.0
        """First byte of the first object, last answer; on the clock of `time.perf_counter`."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(_request(objects[0].sop_class_uid, called.encode()))

    def receive(self) -> None:
        """Take what has come, and go on."""
        part = self.socket.recv(65536)
        self._received += part
        self.is_open = bool(part)
        while (pdu := self._next_pdu()) is not None:
            self._react(*pdu)

    def _next_pdu(self) -> tuple[int, bytes] | None:
        """A PDU if one has come whole."""
        if len(self._received) < 6:
            return None
        end = 6 + int.from_bytes(self._received[2:6], "big")
        if len(self._received) < end:
            return None
        kind, body = self._received[0], self._received[6:end]
        self._received = self._received[end:]
        return kind, body

    def _react(self, kind: int, body: bytes) -> None:
        if kind == 0x02:
            position = body.rindex(b"\x51\0\0\4") + 4
            self._maximum_length = min(int.from_bytes(body[position : position + 4], "big") or 131072, 131072)
            self.began = time.perf_counter()
        elif kind == 0x04:
            self.stored += SUCCESS in body
            self.ended = time.perf_counter()
        else:  # rejected, released, aborted
            self.is_open = False
            return
        if self._objects:
            self.socket.sendall(self._objects.pop().message(self._maximum_length))
        else:
            self.socket.sendall(struct.pack(">BxI4x", 0x05, 4))


def send(port: int, associations: int, folder: Path, called: str) -> dict[str, float]:
    """Send all files; how many were answered with 0000, and the seconds that it took."""
    objects = [Object(path, number % 65535 + 1) for number, path in enumerate(sorted(folder.rglob("*.dcm")))]
    objects.reverse()
    selector = selectors.DefaultSelector()
    opened = [Association(port, called, objects) for _ in range(associations)]
    for association in opened:
        selector.register(association.socket, selectors.EVENT_READ, association)
    while selector.get_map():
        ready = selector.select(60)
        if not ready:
            raise TimeoutError("the server doesn't answer")
        for key, _ in ready:
            key.data.receive()
            if not key.data.is_open:
                selector.unregister(key.fileobj)
                key.data.socket.close()
    used = [association for association in opened if association.ended]
    return {
        "stored": sum(association.stored for association in used),
        "seconds": max(a.ended for a in used) - min(a.began for a in used),
    }


if __name__ == "__main__":
    print(json.dumps(send(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), "DICOMNLP")))
