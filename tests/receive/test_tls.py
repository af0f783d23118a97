"""Certificates and keys that can't be used, TLS beside plain in one process, and TLS under two threads."""

import contextlib
import socket
import ssl
import stat
import threading
import time

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from support.certificates import Certificates
from support.raw_dicom import LAST, RawPeer, p_data, report
from support.service import free_port

from dicomnlp import config
from dicomnlp.errors import ConfigurationError, PortInUseError
from dicomnlp.receive.listener import run_listener
from dicomnlp.receive.pdu import Connection, ConnectionClosedError, PDUType
from dicomnlp.receive.tls import HandshakeError, TLSTransport, expiry_of, server_context
from dicomnlp.store.database import Database


@pytest.fixture
def certificates(tmp_path):
    """Those of a service ("server") and of a client ("CT1")."""
    made = Certificates(tmp_path)
    made.issue("server", "localhost", "127.0.0.1")
    made.issue("CT1", common_name="CT1")
    return made


def _settings(certificates, **changes):
    return config.Settings(
        listener=config.ListenerSettings(tls=True), tls=config.TLSSettings(**certificates.table() | changes)
    )


def test_context_is_made_of_the_files(certificates):
    """Nothing is older than TLS 1.2, and a client has to show a certificate unless that is switched off."""
    context = server_context(_settings(certificates))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert all("GCM" in c["name"] or "CHACHA20" in c["name"] for c in context.get_ciphers())
    optional = server_context(_settings(certificates, require_client_certificate=False))
    assert optional.verify_mode == ssl.CERT_OPTIONAL
    none = server_context(_settings(certificates, require_client_certificate=False, client_ca=""))
    assert none.verify_mode == ssl.CERT_NONE
    assert server_context(config.Settings()) is None
    assert expiry_of(_settings(certificates)).year > 2026


@pytest.mark.parametrize("bits", [stat.S_IROTH, stat.S_IWOTH])
def test_a_key_that_others_may_read_is_refused(certificates, bits):
    """With what to do; its group may read it, as the ssl-cert group of Debian does."""
    key = certificates.folder / "server.key"
    key.chmod(0o640)
    assert server_context(_settings(certificates))
    key.chmod(0o600 | bits)
    with pytest.raises(ConfigurationError, match=r"tls\.key: others may read.*chmod o="):
        server_context(_settings(certificates))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"key": "none.key"}, r"tls\.key: .*none\.key can't be used: No such file"),
        ({"certificate": "none.pem"}, r"tls\.certificate: .*none\.pem is missing"),
        ({"certificate": "CT1.pem"}, r"tls\.certificate, tls\.key: .*key values mismatch"),
        ({"certificate": "noise.pem"}, r"tls\.certificate, tls\.key: .*can't be used"),
        ({"client_ca": "none.pem"}, r"tls\.client_ca: .*No such file"),
        ({"client_ca": "noise.pem"}, r"tls\.client_ca: .*can't be used"),
    ],
)
def test_files_that_can_not_be_used_are_named(certificates, changes, words):
    """And so is what is wrong with them."""
    folder = certificates.folder
    (folder / "noise.pem").write_bytes(b"\x30\x82 no certificate")
    with pytest.raises(ConfigurationError, match=words):
        server_context(_settings(certificates, **{key: str(folder / name) for key, name in changes.items()}))


def test_a_key_with_a_passphrase_is_refused_without_asking_for_it(certificates):
    """Nobody sits at a service's terminal."""
    path = certificates.folder / "server.key"
    key = load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    with pytest.raises(ConfigurationError, match="passphrase"):
        server_context(_settings(certificates))


@pytest.fixture
def serve(certificates, empty_database, tmp_path):
    """Runs a listener with a plain address and one with TLS; their ports, and what puts other settings into effect."""
    stop, threads, databases = threading.Event(), [], []

    def start(**tables):
        path = tmp_path / "dicomnlp.db"
        path.write_bytes(empty_database.read_bytes())
        plain, secured = free_port(), free_port()
        settings = config.Settings(
            listener=config.ListenerSettings(
                port=plain, ae_title_aliases=["OLDNAME"], also=[config.DICOMAddress(port=secured, tls=True)]
            ),
            database=config.DatabaseSettings(url=f"sqlite:///{path}"),
            tls=config.TLSSettings(**certificates.table()),
            **tables,
        )
        ready, found = threading.Event(), []
        databases.append(Database.open(settings))

        def on_ready(addresses):
            found.append(addresses)
            ready.set()

        thread = threading.Thread(
            target=run_listener,
            args=(settings, databases[-1]),
            kwargs={"on_ready": on_ready, "stop": stop, "on_reconfigurable": found.append},
        )
        thread.start()
        threads.append(thread)
        assert ready.wait(5)
        assert found[1] == f"127.0.0.1:{plain},tls:127.0.0.1:{secured}"
        return plain, secured, stop

    yield start
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    for database in databases:
        database.close()


def _secured(certificates, port):
    peer = RawPeer(port)
    peer.socket = certificates.client("CT1").wrap_socket(peer.socket)
    return peer


def test_plain_and_tls_are_served_side_by_side(serve, certificates):
    """By the same service under each of its AE titles; objects of both are in one database."""
    plain, secured, _ = serve()
    for number, called in enumerate((b"DICOMNLP", b"OLDNAME"), 1):
        with RawPeer(plain) as peer:
            peer.associate(called=called)
            assert peer.store(report(f"{number}1"), sop_instance_uid=f"2.25.{number}1") == 0
            peer.release()
        with _secured(certificates, secured) as peer:
            peer.associate(called=called)
            data = report(f"{number}2", padding=3_000_000)
            assert peer.store(data, sop_instance_uid=f"2.25.{number}2") == 0
            peer.release()


def test_an_association_by_tls_is_aborted_when_the_service_stops(serve, certificates):
    """The A-ABORT is sent by another thread than the one that reads; on OpenSSL's side they take turns."""
    _, secured, stop = serve()
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(_secured(certificates, secured)) for _ in range(8)]
        for peer in peers:
            peer.associate()
        stop.set()
        for peer in peers:
            assert peer.abort() == (2, 0)


def test_a_taken_port_frees_the_others(certificates, empty_database, tmp_path):
    """Nothing is left bound when one address can't be had."""
    path = tmp_path / "dicomnlp.db"
    path.write_bytes(empty_database.read_bytes())
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        settings = config.Settings(
            listener=config.ListenerSettings(port=free, also=[config.DICOMAddress(port=taken)]),
            database=config.DatabaseSettings(url=f"sqlite:///{path}"),
        )
        database = Database.open(settings)
        with pytest.raises(PortInUseError, match=r"set listener\.also\.0\.port to another"):
            run_listener(settings, database, on_ready=lambda _: None, stop=threading.Event())
        database.close()
    socket.create_server(("127.0.0.1", free)).close()


@contextlib.contextmanager
def _pair(certificates):
    """A TLS connection over a socket pair of TCP: this side's transport, and the client's raw socket."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
    transport = TLSTransport(accepted, server_context(_settings(certificates)))
    try:
        yield transport, client
    finally:
        transport.close()
        client.close()


def test_handshake_has_one_deadline_for_all_of_it(certificates):
    """A byte now and then doesn't put it off."""
    with _pair(certificates) as (transport, client):
        stop = threading.Event()

        def drip():
            client.sendall(b"\x16\x03\x01\x02\x00")
            with contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    client.sendall(b"\x01")

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        with pytest.raises(HandshakeError) as caught:
            transport.handshake(0.5)
        assert caught.value.reason_code == "tls_timeout"
        assert time.monotonic() - began < 2
        stop.set()
        thread.join()


def test_peer_that_is_gone_is_a_closed_connection(certificates):
    """Not a failed handshake: monitors connect and go."""
    with _pair(certificates) as (transport, client):
        client.close()
        with pytest.raises(ConnectionClosedError) as caught:
            transport.handshake(2)
        assert not isinstance(caught.value, HandshakeError)


def test_names_of_a_certificate_are_those_of_its_subject_and_alternatives(certificates):
    """Fingerprint, common name, DNS names in lower case; what isn't shown has none."""
    certificates.issue("MR1", "MR1.Example.Org", "10.1.2.3", common_name="MR1")
    with _pair(certificates) as (transport, client):
        thread = threading.Thread(target=lambda: certificates.client("MR1").wrap_socket(client).close())
        thread.start()
        certificate = transport.handshake(5)
        thread.join()
    assert certificate.names == {certificates.fingerprint("MR1"), "cn:MR1", "dns:mr1.example.org"}


def test_reading_waits_no_longer_than_it_is_told_to(certificates):
    """And what comes is read, however it is cut into records."""
    with _pair(certificates) as (transport, client):
        secured = []
        thread = threading.Thread(target=lambda: secured.append(certificates.client("CT1").wrap_socket(client)))
        thread.start()
        transport.handshake(5)
        thread.join()
        buffer = memoryview(bytearray(100))
        transport.settimeout(0.1)
        with pytest.raises(TimeoutError):
            transport.recv_into(buffer)
        secured[0].sendall(b"abc")
        secured[0].sendall(b"def")
        transport.settimeout(5)
        received = b""
        while len(received) < 6:
            received += bytes(buffer[: transport.recv_into(buffer)])
        assert received == b"abcdef"
        transport.sendall(b"x" * 100000)
        got = 0
        while got < 100000:
            got += len(secured[0].recv(65536))
        transport.shutdown(socket.SHUT_WR)
        assert secured[0].recv(1) == b""
        secured[0].close()


def test_what_is_decrypted_and_not_yet_read_has_arrived(certificates):
    """A record of 16 kB, of which one read takes a part: what a message in the rest needs is there already."""
    sent = b"".join(p_data(LAST, bytes(1000)) for _ in range(16))
    with _pair(certificates) as (transport, client):
        secured = []
        thread = threading.Thread(target=lambda: secured.append(certificates.client("CT1").wrap_socket(client)))
        thread.start()
        transport.handshake(5)
        thread.join()
        secured[0].sendall(sent)
        connection = Connection(transport, pending=transport.pending)
        connection.read_pdu({PDUType.P_DATA_TF: 2000}, time.monotonic() + 30)
        assert connection.bytes_taken < connection.bytes_received < len(sent)
        assert connection.bytes_arrived == len(sent)
        transport.close()
        assert connection.bytes_arrived == connection.bytes_received
        secured[0].close()
