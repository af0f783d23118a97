"""Who is accepted: titles, networks, certificates, users, and how often an alert is said."""

import socket

import pytest
import structlog.testing
from pynetdicom.pdu_primitives import A_ASSOCIATE, UserIdentityNegotiation

from dicomnlp import config
from dicomnlp.config import PeerSettings
from dicomnlp.receive import policy as module
from dicomnlp.receive.negotiation import Rejection, Request
from dicomnlp.receive.passcodes import MAXIMUM_PASSCODE_BYTES, PasscodeCheck, hash_passcode
from dicomnlp.receive.policy import AlertLog, Policy, plain_address
from dicomnlp.receive.tls import PeerCertificate

CANARY = "Zebulonqux"


def _settings(*peers, **listener):
    return config.Settings(
        listener=config.ListenerSettings(**listener), peers=list(peers), tls=config.TLSSettings(client_ca="ca.pem")
    )


def _request(calling, called="DICOMNLP", identity=None):
    primitive = A_ASSOCIATE()
    primitive.user_information = [identity] if identity else []
    return Request(calling, called, 0, primitive)


def _verdict(policy, calling, address="10.0.0.1", certificate=None, **options):
    found = policy.judge(_request(calling, **options), address, certificate)
    return found.reason_code if isinstance(found, Rejection) else found.ae_title


def test_without_peers_everybody_is_accepted_from_everywhere():
    """Only the called AE title counts, or one of its aliases."""
    policy = Policy(_settings(ae_title="MAIN ", ae_title_aliases=["OLD", " NEW"]))
    assert policy.admits("203.0.113.9")
    for called, expected in (
        ("MAIN", "*"),
        ("OLD", "*"),
        ("NEW", "*"),
        ("DICOMNLP", "called_ae_title_not_recognized"),
        ("main", "called_ae_title_not_recognized"),
    ):
        assert _verdict(policy, "ANY", called=called) == expected


def test_peers_are_who_they_are_and_come_from_where_they_may():
    """A star stands for whoever isn't named, and doesn't widen what is said of those that are."""
    policy = Policy(
        _settings(
            PeerSettings(ae_title="CT1", networks=["10.1.0.0/16", "2001:db8::/32"]),
            PeerSettings(ae_title="*", networks=["10.2.0.0/16"]),
        )
    )
    for calling, address, expected in (
        ("CT1", "10.1.2.3", "CT1"),
        ("CT1", "2001:db8::7", "CT1"),
        ("CT1", "10.2.0.1", "network_not_allowed"),
        ("MR1", "10.2.0.1", "*"),
        ("MR1", "10.1.2.3", "network_not_allowed"),
        ("ct1", "10.1.2.3", "network_not_allowed"),  # AE titles are told apart by case (PS3.5 6.2)
    ):
        assert _verdict(policy, calling, address) == expected, (calling, address)
    assert policy.admits("10.2.255.255")
    assert not policy.admits("10.3.0.1")
    assert not policy.admits("2001:db9::7")


def test_certificates_of_a_peer_are_alternatives():
    """Any name that is listed will do; none is as bad as a wrong one."""
    policy = Policy(
        _settings(
            PeerSettings(ae_title="CT1", certificates=["cn:CT1", "dns:CT1.example.org"]), PeerSettings(ae_title="MR1")
        )
    )
    for names, expected in (
        ({"cn:CT1", "sha256:00"}, "CT1"),
        ({"dns:ct1.example.org"}, "CT1"),
        ({"cn:ct1"}, "certificate_not_of_ae_title"),
        ({"dns:CT1"}, "certificate_not_of_ae_title"),
        (set(), "certificate_not_of_ae_title"),
    ):
        assert _verdict(policy, "CT1", certificate=PeerCertificate(frozenset(names))) == expected
    assert _verdict(policy, "CT1") == "certificate_not_of_ae_title"
    assert _verdict(policy, "MR1") == "MR1"


def _identity(kind, name, passcode=b""):
    item = UserIdentityNegotiation()
    item.user_identity_type, item.primary_field, item.secondary_field = kind, name, passcode
    return item


def test_user_names_are_utf_8_and_passcodes_bytes():
    """As PS3.7 D.3.3.7 has them."""
    policy = Policy(_settings(PeerSettings(ae_title="A", users={"Jörg": hash_passcode(b"\xff\x00x"), "名": ""})))
    for kind, name, passcode, accepted in (
        (2, "Jörg".encode(), b"\xff\x00x", True),
        (2, "Jörg".encode("latin-1"), b"\xff\x00x", False),
        (2, "Jörg".encode(), b"\xff\x00y", False),
        (1, "名".encode(), b"", True),
        (1, b"", b"", False),
    ):
        verdict = _verdict(policy, "A", identity=_identity(kind, name, passcode))
        assert (verdict == "A") is accepted, (kind, name)


def test_request_does_not_show_what_was_sent_with_it():
    """In a traceback's or a debugger's repr."""
    assert CANARY not in repr(_request("A", identity=_identity(2, CANARY.encode(), CANARY.encode())))


def test_hash_of_a_passcode_is_salted_and_what_the_configuration_takes():
    """Two of the same passcode differ, and each is right for it."""
    first, second = hash_passcode(b"secret"), hash_passcode(b"secret")
    assert first != second
    check = PasscodeCheck()
    for hashed in (first, second):
        PeerSettings(ae_title="A", users={"pacs": hashed})
        assert check.is_right(b"secret", hashed)
        assert check.is_right(b"secret", hashed)  # now without hashing
        assert not check.is_right(b"Secret", hashed)
        assert not check.is_right(b"", hashed)


def test_long_passcodes_are_refused_unhashed(monkeypatch):
    """Their length is the peer's choice, the time to hash them would be ours."""
    from dicomnlp.receive import passcodes

    hashed = hash_passcode(b"x" * MAXIMUM_PASSCODE_BYTES)
    assert PasscodeCheck().is_right(b"x" * MAXIMUM_PASSCODE_BYTES, hashed)
    monkeypatch.setattr(passcodes, "_scrypt", None)
    assert not PasscodeCheck().is_right(b"x" * (MAXIMUM_PASSCODE_BYTES + 1), hashed)


def test_right_passcodes_are_remembered_up_to_a_number(monkeypatch):
    """Then the oldest is hashed again."""
    from dicomnlp.receive import passcodes

    monkeypatch.setattr(passcodes, "_KNOWN_PASSCODES", 2)
    check = PasscodeCheck()
    hashed = {p: hash_passcode(p) for p in (b"1", b"2", b"3")}
    calls = []
    scrypt = passcodes._scrypt
    monkeypatch.setattr(passcodes, "_scrypt", lambda *a: calls.append(a) or scrypt(*a))
    for passcode in (b"1", b"2", b"3", b"3", b"2", b"1"):
        assert check.is_right(passcode, hashed[passcode])
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_addresses_are_written_one_way(address, plain):
    """A dual-stack socket and a link-local peer have others."""
    assert plain_address(address) == plain


def test_alert_is_said_once_a_minute_with_how_often_it_happened(monkeypatch):
    """For each address and reason."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    alerts = AlertLog(lambda *_: None)
    with structlog.testing.capture_logs() as lines:
        for seconds in (0, 1, 2, 59, 60, 61):
            now[0] = 1000.0 + seconds
            alerts.report("network_not_allowed", "10.0.0.1")
        alerts.report("network_not_allowed", "10.0.0.2")
        alerts.report("calling_ae_title_not_recognized", "10.0.0.1", "ROGUE")
    assert [(x["peer_address"], x["reason_code"], x["count"]) for x in lines] == [
        ("10.0.0.1", "network_not_allowed", 1),
        ("10.0.0.1", "network_not_allowed", 4),
        ("10.0.0.2", "network_not_allowed", 1),
        ("10.0.0.1", "calling_ae_title_not_recognized", 1),
    ]


def test_alerts_of_many_addresses_take_no_more_memory(monkeypatch):
    """Whoever hasn't been seen for longest is forgotten."""
    monkeypatch.setattr(module, "_ALERTS_REMEMBERED", 10)
    alerts = AlertLog(lambda *_: None)
    with structlog.testing.capture_logs() as lines:
        for number in range(100):
            alerts.report("network_not_allowed", f"10.0.0.{number}")
    assert len(lines) == 100
    assert len(alerts._said) == 10


def test_connection_from_where_no_peer_may_be_is_dropped_unread(start):
    """Before a byte of it; one alert, no thread."""
    running = start(peers=[PeerSettings(ae_title="CT1", networks=["127.0.0.1"])])
    running.peer().associate(calling="CT1")
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            with socket.create_connection(
                ("127.0.0.1", running.port), timeout=5, source_address=("127.0.0.9", 0)
            ) as stranger:
                assert stranger.recv(1) == b""
    assert [(x["event"], x["reason_code"], x["peer_address"]) for x in lines] == [
        ("security_alert", "network_not_allowed", "127.0.0.9")
    ]


def test_a_peer_s_own_number_of_associations_holds_in_place_of_anybody_s(start):
    """Fewer, or more; those of another title count at the address that both come from."""
    running = start(
        maximum_associations=16,
        maximum_associations_per_peer=3,
        peers=[
            PeerSettings(ae_title="FEW", maximum_associations=1),
            PeerSettings(ae_title="MANY", maximum_associations=6),
        ],
    )
    running.peer().associate(calling="FEW")
    second = running.peer()
    second.send(second.request(calling="FEW"))
    kind, body = second.receive()
    assert (kind, tuple(body[1:])) == (3, (2, 3, 2))
    for _ in range(5):
        running.peer().associate(calling="MANY")
    seventh = running.peer()
    seventh.send(seventh.request(calling="MANY"))
    kind, body = seventh.receive()
    assert (kind, tuple(body[1:])) == (3, (2, 3, 2))
