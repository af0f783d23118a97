"""Attacks on who is let in: one test a row of the table of hostile input, and threats T1 to T6 that belong to them.

The listener is a process of its own, with a plain address and one with TLS. DCMTK is the peer of good faith, openssl
the one that asks for less than BCP 195.
"""

import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import time

import pytest
from support.attacked import ECHOSCU
from support.certificates import Certificates
from support.guarded import Guarded
from support.raw_dicom import (
    ASSOCIATE_RQ,
    BASIC_TEXT_SR,
    COMMAND,
    LAST,
    RawPeer,
    associate_rq,
    command,
    context,
    item,
    p_data,
    pdu,
    report,
)
from support.service import make_report, write_report

from dicomnlp.receive.passcodes import hash_passcode

OPENSSL = shutil.which("openssl")
STORESCU = ECHOSCU and ECHOSCU.replace("echoscu", "storescu")
PASSCODE = "Korrekt-Pferd-77"
WRONG = "Zebulonqux-11"
KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"

pytestmark = [
    pytest.mark.dcmtk,
    pytest.mark.skipif(ECHOSCU is None or OPENSSL is None, reason="DCMTK or openssl is not installed"),
]


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    """One for all rows."""
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    certificates.issue("server", "localhost", "127.0.0.1")
    for name in ("CT1", "MR1", "STRAY"):
        certificates.issue(name, common_name=name)
    peers = [
        {"ae_title": "LEGIT", "networks": ["127.0.0.1"]},
        {"ae_title": "ATTACKER"},
        {"ae_title": "CT1", "certificates": ["cn:CT1"]},
        {"ae_title": "MR1", "certificates": [certificates.fingerprint("MR1")]},
        {"ae_title": "FAR", "networks": ["192.0.2.0/24"]},
        {"ae_title": "USER", "users": {"pacs": hash_passcode(PASSCODE.encode()), "reader": ""}},
        {"ae_title": "NOKOS", "refused_sop_classes": [KEY_OBJECT_SELECTION]},
    ]
    guarded = Guarded(tmp_path_factory.mktemp("guarded"), certificates, peers).start()
    guarded.echo_seconds()
    guarded.dcmtk(ECHOSCU, "CT1", "CT1")
    yield guarded
    assert guarded.stop() == 0


def _user_identity(kind, user, passcode=b"", *, respond=False):
    fields = struct.pack(">BBH", kind, int(respond), len(user)) + user + struct.pack(">H", len(passcode)) + passcode
    return item(0x58, fields)


def _rejection(listener, **options):
    with RawPeer(listener.port) as peer:
        peer.send(pdu(ASSOCIATE_RQ, associate_rq(**options)))
        return peer.rejection()


def test_row_7_tls_on_the_plain_port_and_plain_dicom_on_the_tls_port_are_closed_within_five_seconds(listener):
    """Each gets what no client of its kind understands, or nothing, and the end."""
    began = time.monotonic()
    with RawPeer(listener.port) as peer, pytest.raises((ssl.SSLError, OSError)):
        ssl.create_default_context().wrap_socket(peer.socket, server_hostname="localhost")
    with RawPeer(listener.tls_port) as peer:
        peer.send(pdu(ASSOCIATE_RQ, associate_rq()))
        with contextlib.suppress(ConnectionError):
            while peer.socket.recv(4096):
                pass
    assert time.monotonic() - began < 5


def test_row_8_silence_and_dripping_on_the_tls_port_cost_nobody_but_themselves(listener):
    """T6: a dozen sockets that never begin, one that begins and drips; all are gone after five seconds."""
    with listener.bounded(20), contextlib.ExitStack() as stack:
        began = time.monotonic()
        silent = [stack.enter_context(RawPeer(listener.tls_port)) for _ in range(12)]
        dripping = stack.enter_context(RawPeer(listener.tls_port))
        # a handshake record of 512 bytes, of which one comes every now and then
        dripping.send(b"\x16\x03\x01\x02\x00")
        assert listener.echo_seconds() < 1
        assert listener.tls_echo_seconds() < 1
        while time.monotonic() - began < 7 and dripping.send(b"\x01"):
            time.sleep(0.2)
        assert time.monotonic() - began < 7
        for peer in silent:
            peer.closed()
        assert time.monotonic() - began < 7
    assert {x["reason_code"] for x in listener.events("association_aborted")[-13:]} == {"tls_timeout"}


def test_row_17_an_unknown_calling_ae_title_is_rejected_and_an_alert(listener):
    """T1: 1/1/3; so is a known one from an address that isn't its own."""
    lines = len(listener.log())
    assert _rejection(listener, calling=b"ROGUE") == (1, 1, 3)
    assert _rejection(listener, calling=b"FAR") == (1, 1, 3)
    with RawPeer(listener.port) as peer:
        peer.associate(calling=b"ATTACKER")
    rejected = [(x["calling_ae_title"], x["reason_code"]) for x in listener.events("association_rejected", lines)]
    assert rejected == [("ROGUE", "calling_ae_title_not_recognized"), ("FAR", "network_not_allowed")]
    alerts = {x["reason_code"] for x in listener.events("security_alert")}
    assert {"calling_ae_title_not_recognized", "network_not_allowed"} <= alerts


def test_row_17_a_rogue_does_not_fill_the_log_with_alerts(listener):
    """One a minute for its address and reason; each rejection has its line all the same."""
    lines = len(listener.log())
    for number in range(20):
        assert _rejection(listener, calling=b"ROGUE%d" % number) == (1, 1, 3)
    assert len(listener.events("association_rejected", lines)) == 20
    assert len(listener.events("security_alert", lines)) <= 1


def test_row_18_an_unknown_called_ae_title_is_rejected(listener):
    """T2: 1/1/7."""
    assert _rejection(listener, called=b"WRONG") == (1, 1, 7)


@pytest.mark.parametrize("title", [b"A\nB", b"A\x1b[31m", b"A\\B", b"A\xe4", b""])
def test_row_19_ae_titles_that_are_none_are_aborted(listener, title):
    """2/6; and nothing of them is in the log as it came."""
    for options in ({"calling": title}, {"called": title}):
        with RawPeer(listener.port) as peer:
            peer.send(pdu(ASSOCIATE_RQ, associate_rq(**options)))
            assert peer.abort() == (2, 6)


def test_row_19_an_ae_title_that_is_a_path_is_somebody_unknown(listener):
    """1/1/3."""
    assert _rejection(listener, calling=b"../../etc") == (1, 1, 3)


@pytest.mark.parametrize(
    "identity",
    [
        b"",  # none where one is asked for
        _user_identity(2, b"pacs", WRONG.encode()),
        _user_identity(2, b"somebody", PASSCODE.encode()),
        _user_identity(1, b"pacs"),  # a name alone where there is a passcode
        _user_identity(2, b"reader", WRONG.encode()),  # a passcode where there is none
        _user_identity(3, b"a ticket"),
        _user_identity(2, b"pacs", PASSCODE.encode()) * 2,
        _user_identity(2, b"\xff\xfe", WRONG.encode()),
    ],
)
def test_row_21_a_wrong_user_identity_is_rejected_and_never_logged(listener, identity):
    """1/2/1; neither a passcode nor a user's name is told to anybody."""
    assert _rejection(listener, calling=b"USER", user_items=identity) == (1, 2, 1)
    log = listener.log_file.read_text()
    assert "user_identity_refused" in log
    assert not any(word in log for word in (WRONG, PASSCODE, "somebody", "reader"))


def test_row_21_the_right_user_identity_is_accepted_and_confirmed_if_asked_for(listener):
    """A User Identity item of the A-ASSOCIATE-AC, without a server response (PS3.7 D.3.3.7.2)."""
    for kind, user, passcode in ((2, b"pacs", PASSCODE.encode()), (1, b"reader", b"")):
        for respond in (True, False):
            with RawPeer(listener.port) as peer:
                identity = _user_identity(kind, user, passcode, respond=respond)
                peer.send(pdu(ASSOCIATE_RQ, associate_rq(calling=b"USER", user_items=identity)))
                answer, body = peer.receive()
                assert answer == 2
                assert (item(0x59, struct.pack(">H", 0)) in body) is respond
                peer.release()
    assert PASSCODE not in listener.log_file.read_text()


def test_row_21_storescu_is_accepted_with_user_and_passcode(listener, tmp_path):
    """DCMTK's, asking for the positive response, and getting none of its wishes with a wrong passcode."""
    path = write_report(make_report(2121, "No pneumothorax."), tmp_path / "report.dcm")
    command = [
        STORESCU,
        "-rsp",
        "-usr",
        "pacs",
        "-aet",
        "USER",
        "-aec",
        "DICOMNLP",
        "127.0.0.1",
        str(listener.port),
        path,
    ]
    for passcode, exits in ((PASSCODE, True), (WRONG, False)):
        done = subprocess.run([*command, "-pwd", passcode], capture_output=True, check=False, timeout=60)
        assert (done.returncode == 0) is exits, done.stderr
    log = listener.log_file.read_text()
    assert PASSCODE not in log
    assert WRONG not in log


def test_row_22_a_passcode_of_64_kilobytes_is_rejected_within_bounds(listener):
    """Without being hashed, and so is any number of them at a time."""
    identity = _user_identity(2, b"pacs", b"x" * 65500)
    with listener.bounded(16):
        for _ in range(20):
            assert _rejection(listener, calling=b"USER", user_items=identity) == (1, 2, 1)
        assert listener.echo_seconds() < 1


def test_row_21_guessing_passcodes_keeps_nobody_waiting(listener):
    """One hash at a time, and those that are known to be right need none."""
    right = _user_identity(2, b"pacs", PASSCODE.encode())
    with RawPeer(listener.port) as peer:
        peer.associate(calling=b"USER", user_items=right)
    with listener.bounded(40), contextlib.ExitStack() as stack:
        guesses = [stack.enter_context(RawPeer(listener.port)) for _ in range(30)]
        for number, peer in enumerate(guesses):
            wrong = _user_identity(2, b"pacs", f"{WRONG}{number}".encode())
            peer.send(pdu(ASSOCIATE_RQ, associate_rq(calling=b"USER", user_items=wrong)))
        began = time.monotonic()
        with RawPeer(listener.port) as peer:
            peer.associate(calling=b"USER", user_items=right)
        waited = time.monotonic() - began
        for peer in guesses:
            assert peer.rejection() == (1, 2, 1)
        assert waited < (time.monotonic() - began) / 2


def test_row_39_a_sop_class_that_the_peer_may_not_send_is_not_authorized(listener):
    """0124 for each object and a row in the ledger; another SOP class, and another peer, aren't touched."""
    contexts = (context(1, KEY_OBJECT_SELECTION), context(5, BASIC_TEXT_SR))
    with RawPeer(listener.port) as peer:
        assert peer.associate(*contexts, calling=b"NOKOS") == {1: 0, 5: 0}
        kos = report("391", sop_class_uid=KEY_OBJECT_SELECTION)
        options = {"sop_class_uid": KEY_OBJECT_SELECTION, "sop_instance_uid": "2.25.391"}
        assert peer.store(kos, **options) == 0x0124
        assert peer.store(report("392"), sop_instance_uid="2.25.392", context_id=5) == 0
        peer.release()
    assert ("refused", 0x0124, "sop_class_not_authorized") in listener.ledger()
    assert "2.25.391" not in listener.objects()
    with RawPeer(listener.port) as peer:
        peer.associate(*contexts, calling=b"ATTACKER")
        assert peer.store(kos, **options) == 0


def test_threat_3_a_certificate_is_good_for_its_own_ae_title_only(listener):
    """Swapped between two AE titles, or that of a third: 1/1/3 and an alert. Without TLS there is none to show."""
    lines = len(listener.log())
    for title, certificate, accepted in (
        ("CT1", "CT1", True),
        ("MR1", "MR1", True),
        ("CT1", "MR1", False),
        ("MR1", "CT1", False),
        ("MR1", "STRAY", False),
    ):
        exit_code, said = listener.dcmtk(ECHOSCU, title, certificate)
        assert (exit_code == 0) is accepted, (title, certificate, said)
        assert accepted or "Calling AE Title Not Recognized" in said
    assert _rejection(listener, calling=b"CT1") == (1, 1, 3)
    reasons = [x["reason_code"] for x in listener.events("association_rejected", lines)]
    assert reasons == ["certificate_not_of_ae_title"] * 4
    assert "certificate_not_of_ae_title" in {x["reason_code"] for x in listener.events("security_alert")}


@pytest.mark.parametrize(
    ("padding", "record"),
    [
        (0, 16384),
        (7800, 16384),  # its command is in what is decrypted and not yet read: the first takes all of one read
        (5000, 100),  # it is in many records, which the kernel holds
        (40_000, 16384),  # some of both
    ],
)
def test_row_42_a_message_id_that_is_pending_is_a_duplicate_invocation_by_tls_too(listener, padding, record):
    """0210 wherever the second waits while the first is answered; after the answer the ID is free again."""
    first, second, third = (42_000_000 + padding * 1000 + record * 10 + n for n in range(3))
    with listener.tls_peer("CT1") as peer:
        peer.associate(calling=b"CT1")
        both = b"".join(
            p_data(COMMAND | LAST, command(sop_instance_uid=f"2.25.{n}", message_id=5))
            + b"".join(
                p_data(LAST if begin + 4000 >= len(data) else 0, data[begin : begin + 4000])
                for begin in range(0, len(data), 4000)
            )
            for n in (first, second)
            for data in [report(n, padding=padding)]
        )
        for begin in range(0, len(both), record):
            peer.send(both[begin : begin + record])
        assert [peer.status(), peer.status()] == [0, 0x0210]
        assert peer.store(report(third), sop_instance_uid=f"2.25.{third}", message_id=5) == 0
        peer.release()
    stored = set(listener.objects())
    assert {f"2.25.{first}", f"2.25.{third}"} <= stored
    assert f"2.25.{second}" not in stored


def test_threat_3_storescu_sends_by_mutual_tls(listener, tmp_path):
    """An object of some size, so that it takes many TLS records."""
    dataset = make_report(5150, "FINDINGS: No pneumothorax. " * 20000)
    path = write_report(dataset, tmp_path / "report.dcm")
    exit_code, said = listener.dcmtk(STORESCU, "CT1", "CT1", path)
    assert exit_code == 0, said
    assert str(dataset.SOPInstanceUID) in listener.objects()


def test_threat_4_what_stands_in_an_object_is_not_readable_on_the_wire(listener):
    """The TLS address understands nothing else: see row 7. A client without a certificate gets no association."""
    lines = len(listener.log())
    with listener.tls_peer() as peer:
        peer.send(pdu(ASSOCIATE_RQ, associate_rq()))
        # in TLS 1.3 a client learns of it when it reads
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            assert not peer.socket.recv(1)
    assert listener.awaited("association_aborted", lines)["reason_code"] == "tls_peer_did_not_return_a_certificate"


def test_threat_4_a_certificate_of_another_authority_is_refused(listener, tmp_path):
    """However well-formed its holder's name is."""
    others = Certificates(tmp_path)
    others.issue("CT1", common_name="CT1")
    lines = len(listener.log())
    client = listener.certificates.client()
    client.load_cert_chain(tmp_path / "CT1.pem", tmp_path / "CT1.key")
    with RawPeer(listener.tls_port) as peer, contextlib.suppress(ssl.SSLError, ConnectionError):
        peer.socket = client.wrap_socket(peer.socket)
        assert not peer.socket.recv(1)
    assert listener.awaited("association_aborted", lines)["reason_code"] == "tls_certificate_verify_failed"


def _s_client(listener, *options, typed="Q\n"):
    folder = listener.certificates.folder
    done = subprocess.run(
        [
            OPENSSL,
            *("s_client", "-connect", f"127.0.0.1:{listener.tls_port}", "-CAfile", folder / "ca.pem"),
            *("-cert", folder / "CT1.pem", "-key", folder / "CT1.key", *options),
        ],
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.stdout + done.stderr


# the client's own rules are switched off, so that it is the listener that says no
_NO_RULES = ("-cipher", "ALL:@SECLEVEL=0")


@pytest.mark.parametrize(
    ("options", "alert"),
    [
        (("-tls1", *_NO_RULES), "alert protocol version"),
        (("-tls1_1", *_NO_RULES), "alert protocol version"),
        (("-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"), "alert handshake failure"),
        (("-tls1_2", "-cipher", "AES256-GCM-SHA384:@SECLEVEL=0"), "alert handshake failure"),  # no forward secrecy
        (("-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384:@SECLEVEL=0"), "alert handshake failure"),  # CBC
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"), "alert handshake failure"),
        (("-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384:@SECLEVEL=0"), "alert handshake failure"),
        (("-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"), "alert handshake failure"),
        (("-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"), "alert handshake failure"),
    ],
)
def test_threat_5_old_versions_and_weak_suites_are_refused(listener, options, alert):
    """By an alert of the listener's."""
    said = _s_client(listener, *options)
    assert alert in said
    assert "Cipher is (NONE)" in said


@pytest.mark.parametrize(
    ("options", "suite"),
    [
        (("-tls1_2",), "ECDHE-"),
        (("-tls1_2", "-cipher", "ECDHE+CHACHA20"), "CHACHA20-POLY1305"),
        (("-tls1_3",), "TLS_AES_256_GCM_SHA384"),
    ],
)
def test_threat_5_what_bcp_195_asks_for_is_accepted(listener, options, suite):
    """Without compression, resumption or renegotiation."""
    said = _s_client(listener, *options, typed="R\n" if "-tls1_2" in options else "Q\n")
    assert "Cipher is (NONE)" not in said
    assert suite in said
    assert "Compression: NONE" in said
    assert "TLS session ticket:" not in said
    if "-tls1_2" in options:
        assert "RENEGOTIATING" in said
        assert "no renegotiation" in said


def test_silence_after_the_handshake_is_ended_too(listener):
    """ARTIM counts from accept."""
    began = time.monotonic()
    with listener.tls_peer("CT1") as peer:
        peer.socket.settimeout(15)
        assert peer.socket.recv(1) == b""
    assert 8 < time.monotonic() - began < 13


def test_connections_that_come_and_go_leave_no_thread_and_no_descriptor(listener):
    """Bare connects, broken handshakes, and whole ones."""
    import psutil

    process = psutil.Process(listener.process.pid)
    threads, descriptors = process.num_threads(), process.num_fds()
    for number in range(60):
        with RawPeer(listener.tls_port) as peer:
            if number % 3 == 1:
                peer.send(b"\x16\x03\x01\x00\x05hello")
            elif number % 3 == 2:
                with contextlib.suppress(OSError):
                    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    peer.socket = listener.certificates.client("CT1").wrap_socket(peer.socket)
    deadline = time.monotonic() + 12
    while process.num_threads() > threads or process.num_fds() > descriptors:
        assert time.monotonic() < deadline, (process.num_threads(), process.num_fds())
        time.sleep(0.1)
