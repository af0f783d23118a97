"""What `check --peer` finds: of our own listener, of DCMTK's servers, with TLS and without."""

import contextlib
import gc
import shutil
import socket
import subprocess
import threading
import time
import warnings

import pytest
from support.certificates import Certificates
from support.service import free_port

from dicomnlp import config
from dicomnlp.receive.listener import run_listener
from dicomnlp.receive.peer_check import check_peer
from dicomnlp.receive.tls import client_context
from dicomnlp.store.database import Database

SR, CT, VERIFICATION = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.1"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"


def check(port, *, called="DICOMNLP", **options):
    """What is found of a peer on this machine, its contexts by SOP class."""
    found = check_peer("127.0.0.1", port, calling_ae_title="CHECK", called_ae_title=called, **options)
    return found, {context.sop_class_uid: context for context in found.contexts}


def test_own_listener_takes_reports_in_four_transfer_syntaxes_and_no_images(start):
    """As it is by default; what it is refused says why."""
    running = start()
    found, contexts = check(running.port)
    assert found.problem is None
    assert found.ok
    assert (found.echo_status, found.tls) == (0, None)
    assert 0 < found.echo_seconds < 10
    assert (found.implementation_version_name, found.maximum_length_received) == ("DICOMNLP_2026_1", 131072)
    assert contexts[SR].transfer_syntaxes == (EXPLICIT, IMPLICIT, DEFLATED, BIG_ENDIAN)
    assert contexts[SR].refused == ()
    assert contexts[VERIFICATION].kind == "verification"
    images = [c for c in found.contexts if c.kind == "image"]
    assert {c.reason for c in images} == {"SOP class not supported"}
    assert running.ledger() == []


def test_images_are_shown_as_accepted_of_a_sender_that_may_send_them(start):
    """Seen with the sender's own title."""
    running = start(peers=[config.PeerSettings(ae_title="CHECK", images="index")])
    _, contexts = check(running.port)
    assert contexts[CT].transfer_syntaxes == (EXPLICIT,)
    assert contexts[CT].reason is None


@pytest.mark.parametrize(
    ("called", "peers", "words"),
    [
        ("SOMEONE", (), "called ae title not recogni"),
        ("DICOMNLP", (config.PeerSettings(ae_title="OTHER"),), "calling ae title not recogni"),
    ],
)
def test_rejection_is_told_with_its_reason(start, called, peers, words):
    """And its three numbers, by which a conformance statement can be searched."""
    running = start(peers=peers)
    found, contexts = check(running.port, called=called)
    assert words in found.problem
    assert "1, 1, " in found.problem
    assert not found.ok
    assert contexts == {}


def test_nobody_there_is_told_as_such():
    """A port on which nothing listens."""
    found, _ = check(free_port())
    assert found.problem.startswith("no connection")


def test_peer_that_closes_is_asked_about_tls():
    """The commonest reason for a port that takes a connection and nothing on it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up():
            with contextlib.suppress(OSError):
                while True:
                    server.accept()[0].close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        found, _ = check(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    with warnings.catch_warnings():
        # pynetdicom leaves a socket to the garbage collector that it can't shut down
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    assert "does the port speak TLS?" in found.problem


# --- TLS


@pytest.fixture
def secured(tmp_path, empty_database):
    """A listener that speaks TLS and asks for a certificate: its port and its certificates."""
    certificates = Certificates(tmp_path)
    certificates.issue("server", "127.0.0.1", common_name="dicomnlp")
    certificates.issue("check")
    port = free_port()
    shutil.copy(empty_database, tmp_path / "dicomnlp.db")
    settings = config.Settings(
        listener=config.ListenerSettings(port=port, tls=True),
        database=config.DatabaseSettings(url=f"sqlite:///{tmp_path}/dicomnlp.db"),
        tls=config.TLSSettings(**certificates.table()),
    )
    database = Database.open(settings)
    ready, stop = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=run_listener, args=(settings, database), kwargs={"on_ready": lambda _: ready.set(), "stop": stop}
    )
    thread.start()
    assert ready.wait(10)
    yield port, certificates
    stop.set()
    thread.join(30)
    database.close()


def tls_options(certificates, name=None, authority=True):
    """Of `check_peer`: with the certificate `name`, and with trust in the authority."""
    table = {}
    if name:
        table |= {
            "certificate": str(certificates.folder / f"{name}.pem"),
            "key": str(certificates.folder / f"{name}.key"),
        }
    if authority:
        table["client_ca"] = str(certificates.authority_file)
    settings = config.Settings(tls=config.TLSSettings(**table))
    return {"tls": lambda: client_context(settings), "is_trusting": not authority}


def test_tls_of_a_peer_is_told(secured):
    """Version, suite, certificate; and the association beneath it."""
    port, certificates = secured
    found, contexts = check(port, **tls_options(certificates, "check"))
    assert found.problem is None
    assert (found.tls.version, found.tls.versions) == ("TLSv1.3", ("TLSv1.2", "TLSv1.3"))
    assert found.tls.cipher_suite.startswith("TLS_")
    assert "dicomnlp" in found.tls.subject
    assert found.tls.names == ("127.0.0.1",)
    assert f"sha256:{found.tls.fingerprint}" == certificates.fingerprint("server")
    assert found.tls.is_trusted is True
    assert contexts[SR].transfer_syntaxes
    assert found.to_json()["tls"]["not_valid_after"].endswith("Z")


def test_without_authorities_any_certificate_is_shown_and_not_called_trusted(secured):
    """So that one can look before one trusts."""
    port, certificates = secured
    found, _ = check(port, **tls_options(certificates, "check", authority=False))
    assert found.tls.is_trusted is None
    assert found.ok


def test_certificate_of_a_strange_authority_is_not_trusted(secured, tmp_path_factory):
    """Nothing is sent to such a peer."""
    port, certificates = secured
    stranger = Certificates(tmp_path_factory.mktemp("stranger"))
    options = tls_options(certificates, "check") | {"tls": stranger.client}
    found, contexts = check(port, **options)
    assert "not trusted" in found.problem
    assert contexts == {}


def test_peer_that_wants_a_certificate_is_asked_about_it(secured):
    """It ends the association after the handshake, as TLS 1.3 has it."""
    port, certificates = secured
    found, _ = check(port, **tls_options(certificates))
    assert "certificate" in found.problem
    assert not found.ok


def test_plain_port_does_not_speak_tls(start, secured):
    """And says so within the time for an answer."""
    running = start()
    found, _ = check(running.port, **tls_options(secured[1], "check"))
    assert found.problem.startswith("TLS: no handshake")


# --- DCMTK


@contextlib.contextmanager
def dcmtk(command, *arguments, folder):
    """One of DCMTK's servers on a free port; the port."""
    port = free_port()
    process = subprocess.Popen(
        [f"/usr/bin/{command}", *[str(port) if a == "PORT" else a for a in arguments]],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.dcmtk
def test_dcmtk_storescp_takes_all_but_deflated(tmp_path):
    """As it is without options; images in a transfer syntax of theirs, none of them sent."""
    with dcmtk("storescp", "PORT", folder=tmp_path) as port:
        found, contexts = check(port, called="ANY-SCP")
    assert found.ok
    assert found.implementation_version_name.startswith("OFFIS_DCMTK")
    assert contexts[SR].transfer_syntaxes == (EXPLICIT, IMPLICIT, BIG_ENDIAN)
    assert contexts[SR].refused == (DEFLATED,)
    assert contexts[CT].transfer_syntaxes


@pytest.mark.dcmtk
def test_dcmtk_dcmqrscp_knows_its_peers(tmp_path):
    """An archive that rejects a wrong called title."""
    (tmp_path / "archive").mkdir()
    (tmp_path / "dcmqrscp.cfg").write_text(
        "NetworkTCPPort = 11112\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        "HostTable BEGIN\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nARCHIVE {tmp_path}/archive RW (9, 1024mb) ANY\nAETable END\n"
    )
    with dcmtk("dcmqrscp", "-c", "dcmqrscp.cfg", "PORT", folder=tmp_path) as port:
        found, contexts = check(port, called="ARCHIVE")
        wrong, _ = check(port, called="NOBODY")
    assert found.ok
    assert contexts[SR].transfer_syntaxes
    assert "called ae title not recogni" in wrong.problem


@pytest.mark.dcmtk
def test_dcmtk_storescp_over_tls(tmp_path):
    """Its certificate is trusted by its authority."""
    certificates = Certificates(tmp_path)
    certificate, key = certificates.issue("server", "127.0.0.1")
    certificates.issue("check")
    arguments = ("+tls", str(key), str(certificate), "+cf", str(certificates.authority_file), "PORT")
    with dcmtk("storescp", *arguments, folder=tmp_path) as port:
        found, _ = check(port, called="ANY-SCP", **tls_options(certificates, "check"))
    assert found.problem is None
    assert found.tls.version.startswith("TLSv1.")
