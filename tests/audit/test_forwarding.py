"""Forwarding to a collector over TLS: framing, at least once, in order, through outages, and to nobody else."""

import contextlib
import re
import socket
import ssl
import threading
import time

import pytest
import sqlalchemy as sa
from lxml import etree
from support.certificates import Certificates

from dicomnlp.audit import forwarding
from dicomnlp.audit.forwarding import Forwarder, frame
from dicomnlp.audit.reading import rows_after, verify
from dicomnlp.audit.trail import record
from dicomnlp.config import TLSSettings
from dicomnlp.errors import ConfigurationError
from dicomnlp.store.database import Database
from dicomnlp.store.schema_access import audit_cursor
from dicomnlp.web_settings import AuditSettings

MESSAGE = re.compile(
    rb"<(\d+)>1 (\S+) (\S+) dicomnlp (\d+) DICOM\+RFC3881 "
    rb'\[row@32473 number="(\d+)" hash="([0-9a-f]{64})"\] \xef\xbb\xbf(<\?xml.*)\Z',
    re.DOTALL,
)


class Collector:
    """A syslog collector over TLS that keeps what it was sent."""

    def __init__(self, context, port=0):
        self.context = context
        self.messages = []
        self.peers = []
        self._socket = socket.create_server(("127.0.0.1", port))
        self._open = []
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                raw, _ = self._socket.accept()
                threading.Thread(target=self._read, args=(raw,), daemon=True).start()

    def _read(self, raw):
        with contextlib.suppress(OSError), self.context.wrap_socket(raw, server_side=True) as connection:
            self._open.append(connection)
            self.peers.append(connection.getpeercert())
            stream = connection.makefile("rb")
            while True:
                length = b""
                while not length.endswith(b" "):
                    read = stream.read(1)
                    if not read:
                        return
                    length += read
                self.messages.append(stream.read(int(length)))

    def numbers(self):
        """Of the rows that have come."""
        return [int(MESSAGE.match(message)[5]) for message in self.messages]

    def close(self):
        """End, with all connections."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def cursor_of(database):
    """Number of the row that the collector is believed to have."""
    with database.read() as connection:
        return connection.execute(sa.select(audit_cursor.c.event_id)).scalar()


def wait_until(holds, seconds=60):
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def certificates(tmp_path):
    """An authority, a certificate of the collector and one of this service."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    made = Certificates(folder)
    made.issue("collector", "127.0.0.1")
    made.issue("service", common_name="dicomnlp")
    return made


@pytest.fixture
def context(certificates):
    """What the collector speaks with: it asks for a certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificates.folder / "collector.pem", certificates.folder / "collector.key")
    made.load_verify_locations(certificates.authority_file)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


@pytest.fixture
def quick(monkeypatch):
    """Short pauses."""
    monkeypatch.setattr(forwarding, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(forwarding, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(forwarding, "LONGEST_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(forwarding, "SETTLE_SECONDS", 1.0)


@pytest.fixture
def forward(settings, certificates, quick):
    """Runs a forwarder to a port until the block ends."""

    @contextlib.contextmanager
    def run(port, authority=None):
        chosen = settings.model_copy(
            update={
                "audit": AuditSettings(
                    collector=f"127.0.0.1:{port}", collector_ca=str(authority or certificates.authority_file)
                ),
                "tls": TLSSettings(
                    certificate=str(certificates.folder / "service.pem"), key=str(certificates.folder / "service.key")
                ),
            }
        )
        forwarder = Forwarder(chosen, lambda: Database.open(settings))
        forwarder.start()
        try:
            yield forwarder
        finally:
            forwarder.close()

    return run


def test_rows_come_in_order_with_number_hash_and_message(database, make_event, context, forward):
    """Framed by RFC 5425; the hash is that of the row, by which the collector's copy vouches for the trail."""
    record(database, *[make_event(f"user {n}") for n in range(5)])
    collector = Collector(context)
    with forward(collector.port):
        wait_until(lambda: len(collector.messages) >= 5)
        record(database, make_event("later"))
        wait_until(lambda: len(collector.messages) >= 6)
    collector.close()
    assert collector.numbers() == [1, 2, 3, 4, 5, 6]
    found = [MESSAGE.match(message) for message in collector.messages]
    assert [m[6].decode() for m in found] == [row.hash for row in rows_after(database, 0, 10)]
    assert all(int(m[1]) == 10 * 8 + 5 for m in found)
    assert etree.fromstring(found[0][7]).find("ActiveParticipant").get("UserID") == "user 0"
    subject = dict(part[0] for part in collector.peers[0]["subject"])
    assert subject["commonName"] == "dicomnlp"


def test_nothing_is_left_out_while_the_collector_is_away(database, make_event, context, forward):
    """Rows wait; when it is there again they come, those that it had at the end perhaps twice."""
    collector = Collector(context)
    port = collector.port
    with forward(port):
        record(database, *[make_event()] * 3)
        wait_until(lambda: len(collector.messages) >= 3)
        collector.close()
        record(database, *[make_event()] * 250)
        time.sleep(0.3)
        again = Collector(context, port)
        wait_until(lambda: 253 in again.numbers())
        again.close()
    came = collector.numbers() + again.numbers()
    assert sorted(set(came)) == list(range(1, 254))
    assert again.numbers() == sorted(again.numbers())


def test_cursor_is_kept_over_a_restart(database, make_event, context, forward):
    """What was sent isn't sent again by the next service; what wasn't is."""
    collector = Collector(context)
    record(database, *[make_event()] * 3)
    with forward(collector.port):
        wait_until(lambda: len(collector.messages) >= 3)
        wait_until(lambda: cursor_of(database) == 3)
    record(database, make_event("between"))
    with forward(collector.port):
        wait_until(lambda: len(collector.messages) >= 4)
    collector.close()
    assert collector.numbers() == [1, 2, 3, 4]


def test_last_row_sent_finds_a_trail_that_was_cut_off(database, make_event, context, forward):
    """The cursor says which row the collector has."""
    collector = Collector(context)
    record(database, *[make_event()] * 3)
    with forward(collector.port):
        wait_until(lambda: cursor_of(database) == 3)
    collector.close()
    assert verify(database).breaks == ()
    with database.write() as connection:
        connection.execute(sa.update(audit_cursor).values(event_id=9))
    assert "rows 4 to 9 are missing at the end: the row last forwarded knows of them" in verify(database).breaks


def test_collector_that_is_not_the_one_is_told_nothing(database, make_event, tmp_path, forward, context):
    """Its certificate has to be of the authority that is trusted."""
    others = tmp_path / "others"
    others.mkdir()
    record(database, make_event())
    collector = Collector(context)
    with forward(collector.port, Certificates(others).authority_file):
        time.sleep(0.5)
    collector.close()
    assert collector.messages == []
    assert cursor_of(database) == 0


def test_one_process_forwards_at_a_time(database, make_event, context, forward):
    """Two services on one database don't tell everything twice."""
    collector = Collector(context)
    with forward(collector.port), forward(collector.port):
        for _ in range(20):
            record(database, make_event())
        wait_until(lambda: len(collector.messages) >= 20)
        time.sleep(0.3)
    collector.close()
    assert collector.numbers() == list(range(1, 21))


def test_files_that_can_t_be_used_are_told_at_the_start(settings, tmp_path):
    """With the key of the configuration."""
    wrong = settings.model_copy(
        update={"audit": AuditSettings(collector="127.0.0.1:6514", collector_ca=str(tmp_path / "none.pem"))}
    )
    with pytest.raises(ConfigurationError, match=r"audit\.collector_ca"):
        Forwarder(wrong, lambda: None)


def test_length_before_a_message_is_of_bytes(database, make_event):
    """Not of characters (RFC 5425 4.3.1)."""
    record(database, make_event("张三"))
    (row,) = rows_after(database, 0, 1)
    framed = frame(row, "host", ["李-17"])
    length, _, message = framed.partition(b" ")
    assert int(length) == len(message)
    assert MESSAGE.match(message)
