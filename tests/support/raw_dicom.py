"""DICOM on a bare socket, byte by byte, right or wrong: nothing here comes from a DICOM library or from the project."""

import socket
import struct

VERIFICATION = "1.2.840.10008.1.1"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
COMMAND, LAST = 1, 2
C_STORE, C_FIND, C_ECHO, C_CANCEL = 0x0001, 0x0020, 0x0030, 0x0FFF
NO_DATA_SET = 0x0101


def pdu(kind, body=b"", length=None):
    """A PDU (PS3.8 9.3.1); `length` is what it claims in place of the truth."""
    return struct.pack(">BxI", kind, len(body) if length is None else length) + body


def item(kind, body, length=None):
    """An item or sub-item of an A-ASSOCIATE PDU."""
    return struct.pack(">BxH", kind, len(body) if length is None else length) + body


def context(number, sop_class_uid=BASIC_TEXT_SR, *transfer_syntaxes):
    """A presentation context item (PS3.8 9.3.2.2)."""
    syntaxes = b"".join(item(0x40, t.encode()) for t in transfer_syntaxes or (EXPLICIT,))
    return item(0x20, struct.pack(">Bxxx", number) + item(0x30, sop_class_uid.encode()) + syntaxes)


def associate_rq(
    *contexts,
    called=b"DICOMNLP",
    calling=b"ATTACKER",
    version=1,
    application_context=APPLICATION_CONTEXT,
    maximum_length=16384,
    user_items=b"",
):
    """The body of an A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    user = item(0x51, struct.pack(">I", maximum_length)) + item(0x52, b"1.2.3.4") + user_items
    return (
        struct.pack(">Hxx16s16s32x", version, called.ljust(16), calling.ljust(16))
        + item(0x10, application_context.encode())
        + b"".join(contexts or [context(1), context(3, VERIFICATION, IMPLICIT)])
        + item(0x50, user)
    )


def pdv(control, fragment, context_id=1, length=None):
    """A presentation data value item (PS3.8 9.3.5.1)."""
    return struct.pack(">IBB", len(fragment) + 2 if length is None else length, context_id, control) + fragment


def p_data(control, fragment, context_id=1):
    """A P-DATA-TF PDU with one presentation data value."""
    return pdu(P_DATA, pdv(control, fragment, context_id))


def command(
    field=C_STORE, *, sop_class_uid=BASIC_TEXT_SR, sop_instance_uid="2.25.1", data_set=True, message_id=1, extra=()
):
    """A command set (PS3.7 6.3.1); None leaves a UID out."""
    elements = [
        (0x0100, struct.pack("<H", field)),
        (0x0110, struct.pack("<H", message_id)),
        (0x0800, struct.pack("<H", 0 if data_set else NO_DATA_SET)),
        *extra,
    ]
    for number, uid in ((0x0002, sop_class_uid), (0x1000, sop_instance_uid)):
        if uid is not None:
            value = uid.encode()
            elements.append((number, value + b"\0" * (len(value) % 2)))
    body = b"".join(struct.pack("<HHI", 0, number, len(value)) + value for number, value in sorted(elements))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def element(tag, vr, value):
    """A data element in explicit VR little endian."""
    value += (b"\0" if vr in {"UI", "OB"} else b" ") * (len(value) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    long = vr in {"OB", "OW", "SQ", "UN", "UT"}
    return head + (struct.pack("<HI", 0, len(value)) if long else struct.pack("<H", len(value))) + value


def report(number, *, sop_class_uid=BASIC_TEXT_SR, padding=0):
    """A small Basic Text SR as a data set, or one with so many bytes more."""
    parts = [
        (0x00080016, "UI", sop_class_uid),
        (0x00080018, "UI", f"2.25.{number}"),
        (0x0020000D, "UI", f"2.25.7{number}"),
        (0x0020000E, "UI", f"2.25.8{number}"),
        (0x0040A040, "CS", "CONTAINER"),
    ]
    parts = [(tag, vr, value) for tag, vr, value in parts if value]
    data = b"".join(element(tag, vr, value.encode()) for tag, vr, value in parts)
    text = element(0x0040A010, "CS", b"CONTAINS") + element(0x0040A040, "CS", b"TEXT")
    text += element(0x0040A160, "UT", b"No pneumothorax." + b"x" * padding)
    return data + element(0x0040A730, "SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(text)) + text)


class RawPeer:
    """A requestor that sends whatever it is told to."""

    def __init__(self, port, timeout=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._unread = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *data):
        """Send bytes as they are; True if the peer took them all, False if it is gone."""
        try:
            self.socket.sendall(b"".join(data))
        except OSError:
            return False
        return True

    def receive(self):
        """Type and body of the next PDU; None when the other side has closed or reset."""
        header = self._read(6)
        if header is None:
            return None
        body = self._read(int.from_bytes(header[2:], "big"))
        return None if body is None else (header[0], body)

    def _read(self, count):
        while len(self._unread) < count:
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                return None
            self._unread += more
        data, self._unread = self._unread[:count], self._unread[count:]
        return data

    def associate(self, *contexts, **options):
        """Have an association accepted; results by presentation context ID."""
        self.send(pdu(ASSOCIATE_RQ, associate_rq(*contexts, **options)))
        kind, body = self.receive()
        assert kind == ASSOCIATE_AC, (kind, body[:8])
        results, position = {}, 68
        while position < len(body):
            item_kind, length = struct.unpack_from(">BxH", body, position)
            if item_kind == 0x21:
                results[body[position + 4]] = body[position + 6]
            position += 4 + length
        return results

    def rejection(self):
        """(result, source, diagnostic) of the A-ASSOCIATE-RJ that is to come next."""
        kind, body = self.receive()
        assert kind == ASSOCIATE_RJ, (kind, body[:8])
        return tuple(body[1:4])

    def abort(self):
        """(source, reason) of the A-ABORT that is to come next, with the connection's end after it."""
        kind, body = self.receive()
        assert kind == ABORT, (kind, body[:8])
        # as PS3.8 wants it of who gets an A-ABORT: the other side needn't wait
        self.socket.shutdown(socket.SHUT_WR)
        self.closed()
        return tuple(body[2:4])

    def closed(self):
        """The other side closes or resets, and says nothing more."""
        assert self.receive() is None

    def status(self):
        """The status of the response that is to come next."""
        encoded = b""
        while True:
            kind, body = self.receive()
            assert kind == P_DATA, (kind, body[:8])
            encoded += body[6:]
            if body[5] & LAST:
                break
        position, elements = 0, {}
        while position < len(encoded):
            _, number, length = struct.unpack_from("<HHI", encoded, position)
            elements[number] = encoded[position + 8 : position + 8 + length]
            position += 8 + length
        return int.from_bytes(elements[0x0900], "little")

    def store(self, data, *, chunk=16000, context_id=1, **options):
        """C-STORE a data set; the status."""
        self.send(p_data(COMMAND | LAST, command(**options), context_id))
        for begin in range(0, max(1, len(data)), chunk):
            last = LAST if begin + chunk >= len(data) else 0
            self.send(p_data(last, data[begin : begin + chunk], context_id))
        return self.status()

    def echo(self, context_id=3):
        """C-ECHO; the status."""
        echo = command(C_ECHO, sop_class_uid=VERIFICATION, sop_instance_uid=None, data_set=False)
        self.send(p_data(COMMAND | LAST, echo, context_id))
        return self.status()

    def release(self):
        """Release, and see it agreed to."""
        self.send(pdu(RELEASE_RQ, bytes(4)))
        kind, _ = self.receive()
        assert kind == RELEASE_RP
