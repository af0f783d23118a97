"""SIGHUP while associations are open: what changes, what stays, and what a wrong configuration does (row 67)."""

import signal
import ssl
import time

import pytest
from support.certificates import Certificates
from support.guarded import Guarded
from support.raw_dicom import ASSOCIATE_RQ, RawPeer, associate_rq, pdu, report
from support.service import free_port


@pytest.fixture
def listener(tmp_path):
    """With one peer, CT1."""
    certificates = Certificates(tmp_path)
    certificates.issue("server", "localhost", "127.0.0.1")
    certificates.issue("CT1", common_name="CT1")
    guarded = Guarded(tmp_path, certificates, [{"ae_title": "CT1"}]).start()
    yield guarded
    assert guarded.stop() == 0


def _hang_up(listener, event):
    """Send SIGHUP; the line that tells what came of it."""
    lines = len(listener.log())
    listener.process.send_signal(signal.SIGHUP)
    return listener.awaited(event, lines)


def _is_accepted(listener, title):
    with RawPeer(listener.port) as peer:
        peer.send(pdu(ASSOCIATE_RQ, associate_rq(calling=title)))
        return peer.receive()[0] == 2


def _shown_certificate(listener):
    with listener.tls_peer("CT1") as peer:
        return peer.socket.getpeercert(binary_form=True)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("[[peers\n", "not valid TOML"),
        ("[[peers]]\nae_title = 'MR1'\nnetwroks = []\n", "did you mean networks?"),
        ("[[peers]]\nae_title = 'MR1'\nusers = {pacs = 'Zebulonqux-11'}\n", "hash-passcode"),
    ],
)
def test_row_67_a_wrong_configuration_keeps_the_old_and_says_why(listener, broken, words):
    """Senders notice nothing; the next right one is taken."""
    right = listener.config.read_text()
    with RawPeer(listener.port) as peer:
        peer.associate(calling=b"CT1")
        listener.config.write_text(right + broken)
        assert words in _hang_up(listener, "configuration_refused")["message"]
        assert "Zebulonqux" not in listener.log_file.read_text()
        assert peer.store(report("671"), sop_instance_uid="2.25.671") == 0
        assert _is_accepted(listener, b"CT1")
        assert not _is_accepted(listener, b"MR1")
        listener.configure([{"ae_title": "MR1"}])
        _hang_up(listener, "configuration_reloaded")
        assert peer.store(report("672"), sop_instance_uid="2.25.672") == 0
        peer.release()


def test_row_67_certificates_that_can_not_be_used_keep_the_old(listener):
    """A key of another certificate, and one that everybody may read; then a renewed pair."""
    folder = listener.certificates.folder
    before = _shown_certificate(listener)
    key = (folder / "server.key").read_bytes()
    (folder / "server.key").write_bytes((folder / "CT1.key").read_bytes())
    assert "key values mismatch" in _hang_up(listener, "configuration_refused")["message"]
    (folder / "server.key").write_bytes(key)
    (folder / "server.key").chmod(0o644)
    assert "chmod" in _hang_up(listener, "configuration_refused")["message"]
    assert _shown_certificate(listener) == before
    listener.certificates.issue("server", "localhost", "127.0.0.1")
    with listener.tls_peer("CT1") as peer:
        peer.associate(calling=b"CT1")
        _hang_up(listener, "configuration_reloaded")
        renewed = ssl.PEM_cert_to_DER_cert((folder / "server.pem").read_text())
        assert _shown_certificate(listener) == renewed != before
        # the association goes on under the certificate that it began with
        assert peer.store(report("673"), sop_instance_uid="2.25.673") == 0
        peer.release()


def test_an_address_with_tls_that_was_taken_out_goes_on_until_the_next_start(listener):
    """With the certificates it had; the first connection to it doesn't end the listener."""
    before = _shown_certificate(listener)
    text = listener.config.read_text()
    listener.config.write_text(text.replace(f"port = {listener.tls_port}\ntls = true\n", f"port = {free_port()}\n"))
    assert _hang_up(listener, "restart_needed")["message"].startswith("listener.also")
    assert _shown_certificate(listener) == before
    assert _is_accepted(listener, b"CT1")
    assert listener.process.poll() is None


def test_peers_and_titles_change_for_associations_to_come(listener):
    """Open ones go on, whoever they are."""
    with RawPeer(listener.port) as peer:
        peer.associate(calling=b"CT1")
        listener.configure([{"ae_title": "MR1", "networks": ["127.0.0.0/8"]}])
        assert _hang_up(listener, "configuration_reloaded")["message"] == "peers"
        assert not _is_accepted(listener, b"CT1")
        assert _is_accepted(listener, b"MR1")
        assert peer.store(report("674"), sop_instance_uid="2.25.674") == 0
        peer.release()


def test_what_can_not_change_while_it_runs_is_said(listener):
    """The port and the database; the rest of the file is in effect."""
    listener.configure([{"ae_title": "MR1"}])
    text = listener.config.read_text()
    text = text.replace(f"port = {listener.port}\n", f"port = {free_port()}\n", 1)
    text = text.replace("sqlite:///dicomnlp.db", "sqlite:///other.db")
    text = text.replace("[listener]\n", "[listener]\nprocesses = 2\n")
    listener.config.write_text(text)
    message = _hang_up(listener, "restart_needed")["message"]
    assert message.startswith("listener.port, listener.processes, database.url")
    assert _is_accepted(listener, b"MR1")


def test_many_hangups_at_once_are_survived(listener):
    """Signals are waited for, not handled in the middle of something."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        listener.process.send_signal(signal.SIGHUP)
        assert _is_accepted(listener, b"CT1")
    assert listener.process.poll() is None
