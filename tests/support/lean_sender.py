"""A sender that costs little, as a process of its own: one association on a bare socket, report after report.

python -m support.lean_sender PORT FIRST STEP

Sends reports FIRST, FIRST + STEP, ... until its standard input closes, each until it is acknowledged, whatever becomes
of the peer in between. Prints the number of a report once its 0x0000 has come.
"""

import contextlib
import io
import os
import select
import socket
import struct
import sys
import time

from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset
from support.service import BASIC_TEXT_SR, ROOT_UID, make_report

APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
EXPLICIT_VR_LITTLE_ENDIAN = b"1.2.840.10008.1.2.1"
BASE = 1_000_000_000
"""Numbers from here on have ten digits all, so that a report is its template with the digits changed."""
PAUSE_SECONDS = 0.001


def template():
    """The encoded data set of report `BASE`."""
    dataset = make_report(BASE, f"FINDINGS: Report {BASE}. Nodule of 6 mm.")
    del dataset.file_meta
    encoded = io.BytesIO()
    buffer = DicomIO(encoded)
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return encoded.getvalue()


def encoded_report(number, pattern):
    """The data set of report `number` as bytes; `pattern` is what `template` gave."""
    return pattern.replace(str(BASE).encode(), str(BASE + number).encode())


def instance_uid(number):
    """SOP Instance UID of report `number`."""
    return f"{ROOT_UID}.3.{BASE + number}"


def associate_request():
    """A-ASSOCIATE-RQ with one context, Basic Text SR in explicit VR (PS3.8 9.3.2)."""

    def item(kind, body):
        return struct.pack(">BxH", kind, len(body)) + body

    context = item(0x30, BASIC_TEXT_SR.encode()) + item(0x40, EXPLICIT_VR_LITTLE_ENDIAN)
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, ROOT_UID.encode())
    body = struct.pack(">HH16s16s32x", 1, 0, b"DICOMNLP".ljust(16), b"SENDER".ljust(16))
    body += item(0x10, APPLICATION_CONTEXT) + item(0x20, struct.pack(">B3x", 1) + context) + item(0x50, user)
    return struct.pack(">BxI", 0x01, len(body)) + body


def store_request(number, data):
    """P-DATA-TF with a C-STORE-RQ and its whole data set, in one PDU (PS3.7 9.3.1, PS3.8 9.3.5)."""

    def element(tag, value):
        return struct.pack("<HHI", 0, tag, len(value)) + value

    def uid(text):
        return text.encode() + b"\0" * (len(text) % 2)

    command = b"".join(
        [
            element(0x0002, uid(BASIC_TEXT_SR)),
            element(0x0100, struct.pack("<H", 1)),
            element(0x0110, struct.pack("<H", number % 65535 + 1)),
            element(0x0700, struct.pack("<H", 0)),
            element(0x0800, struct.pack("<H", 1)),
            element(0x1000, uid(instance_uid(number))),
        ]
    )
    command = element(0x0000, struct.pack("<I", len(command))) + command
    values = struct.pack(">IBB", len(command) + 2, 1, 0x03) + command
    values += struct.pack(">IBB", len(data) + 2, 1, 0x02) + data
    return struct.pack(">BxI", 0x04, len(values)) + values


def read_pdu(connection):
    """Type and body of the next PDU; ConnectionError when the peer is gone."""

    def read(length):
        received = b""
        while len(received) < length:
            part = connection.recv(length - len(received))
            if not part:
                raise ConnectionError("closed")
            received += part
        return received

    kind, length = struct.unpack(">BxI", read(6))
    return kind, read(length)


def is_acknowledged(connection):
    """Whether the next message says 0x0000: its Status element is (0000,0900)."""
    kind, body = read_pdu(connection)
    return kind == 0x04 and b"\x00\x00\x00\x09\x02\x00\x00\x00\x00\x00" in body


def send(port, first, step, *, is_over):
    """Send until `is_over()`; writes the number of each acknowledged report."""
    pattern = template()
    number = first
    while not is_over():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(associate_request())
            if read_pdu(connection)[0] != 0x02:
                raise ConnectionError("not accepted")
            while not is_over():
                connection.sendall(store_request(number, encoded_report(number, pattern)))
                if not is_acknowledged(connection):
                    break
                os.write(1, f"{number}\n".encode())
                number += step
                time.sleep(PAUSE_SECONDS)
            connection.sendall(struct.pack(">BxI4x", 0x05, 4))
            read_pdu(connection)
        time.sleep(0.003)


def main(port, first, step):
    """Run as a program."""
    send(port, first, step, is_over=lambda: bool(select.select([0], [], [], 0)[0]))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
