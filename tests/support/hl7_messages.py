"""ORU^R01 messages for tests, and an MLLP peer made of a raw socket."""

import socket
import ssl

SEPARATOR = "\r"


def oru(
    *segments,
    control_id="C1",
    application="RIS",
    facility="HOSP",
    character_set="UNICODE UTF-8",
    version="2.5.1",
    processing_id="P",
    kind="ORU^R01^ORU_R01",
    modes="|",
):
    """The text of a message of `segments` behind a header."""
    header = (
        f"MSH|^~\\&|{application}|{facility}|DICOMNLP|HERE|20260105083000||{kind}|{control_id}|{processing_id}|{version}"
        f"|||{modes}||{character_set}"
    )
    return SEPARATOR.join([header, *segments]) + SEPARATOR


def pid(patient_id="P1", name="Rossi^Ada"):
    """A patient."""
    return f"PID|1||{patient_id}^^^HIS^MR||{name}||19500203|F"


def obr(number=1, *, filler="F1", accession="A1", status="F", procedure="71020^Chest radiograph^L", service="CR"):
    """An order with its result status."""
    fields = {
        1: str(number), 2: f"PL{filler}", 3: filler, 4: procedure, 7: "20260105080000", 16: "12^Weber^Otto",
        18: accession, 22: "20260105082000", 24: service, 25: status, 32: "77&Mayer&Eva",
    }  # fmt: skip
    return "|".join(["OBR", *(fields.get(n, "") for n in range(1, 33))])


def obx(number, text, *, identifier="&GDT^Findings", kind="TX", status="F"):
    """An observation."""
    return f"OBX|{number}|{kind}|{identifier}||{text}||||||{status}"


def study_uid(number, uid):
    """The observation that tells the Study Instance UID (IHE RAD TF-2)."""
    return f"OBX|{number}|HD|113014^DICOM Study^DCM||{uid}||||||F"


def report(text="No pneumothorax.", *, uid="1.2.3.4", **header):
    """A message with one report of one study."""
    return oru(pid(), obr(), obx(1, text), study_uid(2, uid), **header)


class MLLPPeer:
    """A sender that does what a test wants, right or wrong."""

    def __init__(self, port, *, context=None, seconds=20):
        plain = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.socket = context.wrap_socket(plain, server_hostname="localhost") if context else plain
        self._pending = b""

    def send(self, message, codec="utf-8"):
        """A message in its frame."""
        encoded = message.encode(codec) if isinstance(message, str) else message
        self.socket.sendall(b"\x0b" + encoded + b"\x1c\r")

    def receive(self):
        """The next message, without its frame; None at the end of the connection."""
        while b"\x1c\r" not in self._pending:
            try:
                part = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                part = b""
            if not part:
                return None
            self._pending += part
        message, self._pending = self._pending.split(b"\x1c\r", 1)
        assert message[:1] == b"\x0b"
        return message[1:]

    def ask(self, message, codec="utf-8"):
        """What is answered: the segments of the acknowledgement, each a list of its fields."""
        self.send(message, codec)
        return fields(self.receive())

    def close(self):
        """Hang up."""
        self.socket.close()


def fields(message, codec="utf-8"):
    """Segment name -> its fields, counted as the standard counts those of all segments but MSH."""
    assert message is not None
    lines = message.decode(codec).rstrip("\r").split("\r")
    return {line[:3]: line.split("|") for line in lines}
