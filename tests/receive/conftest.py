"""A listener on a free loopback port, a raw-socket peer, and objects made for the purpose."""

import dataclasses
import io
import shutil
import socket
import struct
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pydicom.filewriter
import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification

from dicomnlp import config
from dicomnlp.receive.acceptor import Acceptor
from dicomnlp.receive.association_trail import AssociationTrail
from dicomnlp.receive.house import House
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.listener import bind
from dicomnlp.receive.pdu import Timeouts
from dicomnlp.receive.traffic import Traffic
from dicomnlp.store.admin import upgrade
from dicomnlp.store.database import Database

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"


@dataclasses.dataclass
class Objects:
    """Makes SR objects: each call without a UID makes another instance."""

    count: int = 0

    def data_set(self, **values: Any) -> Dataset:
        """A Basic Text SR data set; a value of None leaves the element out."""
        self.count += 1
        data_set = Dataset()
        defaults = {
            "SOPClassUID": BASIC_TEXT_SR,
            "SOPInstanceUID": f"2.25.1000{self.count}",
            "StudyInstanceUID": f"2.25.2000{self.count}",
            "SeriesInstanceUID": f"2.25.3000{self.count}",
            "PatientID": "P1",
            "Modality": "SR",
            "ValueType": "CONTAINER",
        }
        for keyword, value in (defaults | values).items():
            if value is not None:
                setattr(data_set, keyword, value)
        item = Dataset()
        item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", "No pneumothorax."
        data_set.ContentSequence = [item]
        return data_set

    @staticmethod
    def encode(data_set: Dataset, transfer_syntax_uid: str = EXPLICIT) -> bytes:
        """`data_set` as it goes over the wire."""
        buffer = pydicom.filebase.DicomBytesIO()
        buffer.is_little_endian = transfer_syntax_uid != BIG_ENDIAN
        buffer.is_implicit_VR = transfer_syntax_uid == IMPLICIT
        pydicom.filewriter.write_dataset(buffer, data_set)
        encoded = buffer.getvalue()
        if transfer_syntax_uid != DEFLATED:
            return encoded
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        deflated = deflate.compress(encoded) + deflate.flush()
        return deflated + b"\0" * (len(deflated) % 2)

    def file(self, path: Path, data_set: Dataset | None = None, transfer_syntax_uid: str = EXPLICIT) -> Dataset:
        """Write a DICOM file; its data set."""
        data_set = data_set or self.data_set()
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = transfer_syntax_uid
        meta.MediaStorageSOPClassUID = data_set.SOPClassUID
        meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
        buffer = io.BytesIO()
        pydicom.filewriter.write_file_meta_info(buffer, meta, enforce_standard=False)
        encoded = buffer.getvalue()
        path.write_bytes(bytes(128) + b"DICM" + encoded + self.encode(data_set, transfer_syntax_uid))
        return data_set


class Peer:
    """A DICOM requestor made of a raw socket: it sends what a test wants, right or wrong."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)

    def request(
        self,
        *contexts: tuple[str, str],
        called: str = "DICOMNLP",
        calling: str = "TESTER",
        maximum_length: int = 16384,
        items: tuple[Any, ...] = (),
        version: int = 1,
        application_context: str = "1.2.840.10008.3.1.1.1",
    ) -> bytes:
        """An A-ASSOCIATE-RQ PDU with context IDs 1, 3, 5 ..."""
        primitive = A_ASSOCIATE()
        primitive.application_context_name = application_context
        primitive.calling_ae_title, primitive.called_ae_title = calling, called
        for number, (sop_class_uid, transfer_syntax_uid) in enumerate(contexts or ((BASIC_TEXT_SR, EXPLICIT),)):
            context = build_context(sop_class_uid, transfer_syntax_uid)
            context.context_id = 2 * number + 1
            primitive.presentation_context_definition_list.append(context)
        length = MaximumLengthNotification()
        length.maximum_length_received = maximum_length
        implementation = ImplementationClassUIDNotification()
        implementation.implementation_class_uid = "1.2.3.4"
        primitive.user_information = [length, implementation, *items]
        pdu = A_ASSOCIATE_RQ(primitive)
        pdu.protocol_version = version
        return pdu.encode()

    def associate(self, *contexts: tuple[str, str], **options: Any) -> A_ASSOCIATE:
        """Establish an association; the acceptor's answer."""
        self.send(self.request(*contexts, **options))
        kind, body = self.receive()
        assert kind == 2
        pdu = A_ASSOCIATE_AC()
        pdu.decode(struct.pack(">BBI", 2, 0, len(body)) + body)
        return pdu.to_primitive()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def receive(self) -> tuple[int, bytes]:
        """The next PDU's type and body; (0, b"") when the acceptor has closed."""
        header = self._read(6)
        if not header:
            return 0, b""
        return header[0], self._read(int.from_bytes(header[2:], "big"))

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                assert not data
                return b""
            data += more
        return data

    def abort_reason(self) -> tuple[int, int]:
        """(source, reason) of the A-ABORT that is to come next, with the connection's end after it."""
        kind, body = self.receive()
        assert kind == 7
        assert self.receive() == (0, b"")
        return body[2], body[3]

    @staticmethod
    def data_pdu(control: int, fragment: bytes, context_id: int = 1) -> bytes:
        """A P-DATA-TF PDU with one presentation data value."""
        value = struct.pack(">IBB", len(fragment) + 2, context_id, control) + fragment
        return struct.pack(">BBI", 4, 0, len(value)) + value

    @staticmethod
    def command(
        *,
        field: int = 1,
        sop_class_uid: str | None = BASIC_TEXT_SR,
        sop_instance_uid: str | None = "2.25.99",
        data_set_type: int = 1,
        message_id: int = 7,
    ) -> bytes:
        """A command set."""
        elements = []
        if sop_class_uid is not None:
            elements.append((0x0002, sop_class_uid.encode()))
        elements += [(n, struct.pack("<H", v)) for n, v in ((0x0100, field), (0x0110, message_id))]
        elements.append((0x0800, struct.pack("<H", data_set_type)))
        if sop_instance_uid is not None:
            elements.append((0x1000, sop_instance_uid.encode()))
        body = b"".join(
            struct.pack("<HHI", 0, number, len(v) + len(v) % 2) + v + b"\0" * (len(v) % 2) for number, v in elements
        )
        return struct.pack("<HHII", 0, 0, 4, len(body)) + body

    def respond(self) -> Dataset:
        """The command set of the response that is to come next."""
        encoded = b""
        while True:
            kind, body = self.receive()
            assert kind == 4
            encoded += body[6:]
            if body[5] & 2:
                return pydicom.dcmread(io.BytesIO(encoded), force=True)

    def store(self, data: bytes, *, context_id: int = 1, chunk: int = 16000, **command: Any) -> Dataset:
        """C-STORE `data`; the response."""
        self.send(self.data_pdu(3, self.command(**command), context_id))
        for begin in range(0, max(1, len(data)), chunk):
            last = 2 if begin + chunk >= len(data) else 0
            self.send(self.data_pdu(last, data[begin : begin + chunk], context_id))
        return self.respond()

    def release(self) -> None:
        """Release the association, and see the acceptor agree and close."""
        self.send(struct.pack(">BBI", 5, 0, 4) + bytes(4))
        assert self.receive()[0] == 6
        assert self.receive() == (0, b"")
        self.close()

    def close(self) -> None:
        """Close the transport connection."""
        self.socket.close()


class Running:
    """A listener that serves in a thread, on a database of its own."""

    def __init__(self, settings: config.Settings, timeouts: Timeouts) -> None:
        self.settings = settings
        self.database = Database.open(settings)
        self.intake = Intake(settings, self.database)
        listening = bind(settings.listener)
        self.port = listening.getsockname()[1]
        self.stop = threading.Event()
        self.traffic = Traffic(self.database)
        self.trail = AssociationTrail(self.database)
        house = House(settings, self.intake, self.traffic, self.trail)
        acceptor = Acceptor(listening, house, timeouts)
        self.thread = threading.Thread(target=acceptor.serve, args=(self.stop,), daemon=True)
        self.thread.start()
        self.peers: list[Peer] = []

    def peer(self) -> Peer:
        """A new connection."""
        peer = Peer(self.port)
        self.peers.append(peer)
        return peer

    def ledger(self) -> list[tuple[str, int, str | None]]:
        """(outcome, status, reason_code) of each row, oldest first."""
        with self.database.read() as connection:
            rows = connection.execute(sa.text("SELECT outcome, status, reason_code FROM ledger ORDER BY id"))
            return [tuple(row) for row in rows]

    def originals(self) -> list[tuple[str, str, bytes]]:
        """(SOP Instance UID, transfer syntax UID, bytes) of each object, oldest first."""
        with self.database.read() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT s.sop_instance_uid, s.transfer_syntax_uid, o.data FROM sop_instance s "
                    "JOIN original o ON o.object_id = s.id ORDER BY s.id"
                )
            )
            return [tuple(row) for row in rows]

    def end(self) -> None:
        """Stop, drain, and give everything back."""
        for peer in self.peers:
            peer.close()
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.intake.close()
        self.traffic.close()
        self.trail.close()
        self.database.close()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema and nothing in it, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    upgrade(config.Settings(database=config.DatabaseSettings(url=f"sqlite:///{path}")))
    return path


@pytest.fixture
def settings(tmp_path: Path, empty_database: Path) -> Callable[..., config.Settings]:
    """Settings with a fresh database and any free port; keywords are keys of [listener], but for `peers`."""

    def make(*, peers: Sequence[config.PeerSettings] = (), **listener: Any) -> config.Settings:
        path = tmp_path / "dicomnlp.db"
        shutil.copy(empty_database, path)
        # a port of 0 is no configuration that a user could write
        chosen = config.ListenerSettings.model_construct(
            **{k: f.default for k, f in config.ListenerSettings.model_fields.items()} | {"port": 0} | listener
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return config.Settings.model_construct(
                listener=chosen,
                peers=list(peers),
                database=config.DatabaseSettings(
                    url=f"sqlite:///{path}", large_object_directory=tmp_path / "objects", lock_timeout_seconds=0.3
                ),
            )

    return make


@pytest.fixture
def start(settings: Callable[..., config.Settings]) -> Iterator[Callable[..., Running]]:
    """Starts listeners; `timeouts` as keyword, others are keys of [listener]."""
    started: list[Running] = []

    def start_one(*, timeouts: Timeouts | None = None, **listener: Any) -> Running:
        running = Running(
            settings(**listener), timeouts or Timeouts(artim=2.0, network=5.0, drain=1.0, half_close=0.05)
        )
        started.append(running)
        return running

    yield start_one
    for running in started:
        running.end()


@pytest.fixture
def objects() -> Objects:
    """Maker of SR objects."""
    return Objects()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Waits until something holds, five seconds at the most."""

    def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait
