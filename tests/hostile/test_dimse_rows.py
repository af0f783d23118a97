"""Messages that break the rules of DIMSE: one test a row of the table of hostile input.

As in test_association_rows.py the listener is a process of its own, watched, with DCMTK's echoscu beside each attack
that lasts. Row 39 is in test_policy_rows.py, row 40 in tests/receive/test_images.py.
"""

import contextlib
import threading
import time

import pytest
from support.attacked import ECHOSCU, AttackedListener
from support.raw_dicom import (
    C_CANCEL,
    C_FIND,
    COMMAND,
    LAST,
    P_DATA,
    RawPeer,
    command,
    element,
    p_data,
    pdu,
    pdv,
    report,
)

from dicomnlp.receive.pdu import Timeouts

pytestmark = [
    pytest.mark.dcmtk,
    pytest.mark.skipif(ECHOSCU is None, reason="DCMTK is not installed"),
]

ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    """One for all rows."""
    listener = AttackedListener(
        tmp_path_factory.mktemp("attacked"), listener={"maximum_object_bytes": 16 * 1024 * 1024}
    ).start()
    for number in range(20):
        with RawPeer(listener.port) as peer:
            peer.associate()
            assert peer.store(report(f"9{number}", padding=300_000), sop_instance_uid=f"2.25.9{number}") == 0
    listener.echo_seconds()
    yield listener
    assert listener.stop() == 0


@contextlib.contextmanager
def attack(listener, megabytes=3):
    """A peer with an association, the listener watched."""
    with listener.bounded(megabytes), RawPeer(listener.port) as peer:
        peer.associate()
        yield peer


def goes_on(peer):
    """The association is as good as before."""
    assert peer.echo() == 0
    peer.release()


def test_row_25_a_store_without_data_set_is_not_understood(listener):
    """C000, a ledger row, and the association goes on."""
    with attack(listener) as peer:
        peer.send(p_data(COMMAND | LAST, command(data_set=False)))
        assert peer.status() == 0xC000
        goes_on(peer)
    assert listener.ledger()[-1] == ("refused", 0xC000, "no_data_set")


def test_row_26_a_data_set_that_does_not_come_ends_the_association(start):
    """A-ABORT 2/0 when the message timeout is over, which is half a minute where it isn't shortened for a test."""
    assert Timeouts().message <= 30
    running = start(timeouts=Timeouts(artim=2, network=60, message=1.0, drain=1, half_close=0.05))
    with RawPeer(running.port) as peer:
        peer.associate()
        began = time.monotonic()
        peer.send(p_data(COMMAND | LAST, command()))
        assert peer.abort() == (2, 0)
        assert 0.9 < time.monotonic() - began < 5
    assert running.ledger() == []


def test_row_26_a_data_set_that_trickles_in_ends_the_association(start):
    """A byte now and then isn't the least rate: the association is ended as if nothing came; a quick sender isn't."""
    running = start(
        timeouts=Timeouts(artim=2, network=60, message=1.0, bytes_per_second=2000, drain=1, half_close=0.05)
    )
    with RawPeer(running.port) as slow, RawPeer(running.port) as steady:
        slow.associate()
        steady.associate()
        began = time.monotonic()
        data = report("26", padding=9000)
        slow.send(p_data(COMMAND | LAST, command(sop_instance_uid="2.25.26")))
        steady.send(p_data(COMMAND | LAST, command(sop_instance_uid="2.25.26")))
        for begin in range(0, len(data), 500):
            slow.send(p_data(0, data[begin : begin + 2]))
            assert steady.send(p_data(LAST if begin + 500 >= len(data) else 0, data[begin : begin + 500]))
            time.sleep(0.1)
        assert steady.status() == 0
        assert slow.abort() == (2, 0)
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("field", [C_FIND, 0x0010, 0x0021, 0x0140, 0x7777])
def test_rows_27_28_operations_that_are_not_offered_are_answered_and_aborted(listener, field):
    """C-FIND and others, and one that doesn't exist: 0211, then A-ABORT."""
    with attack(listener) as peer:
        peer.send(p_data(COMMAND | LAST, command(field, data_set=False)))
        assert peer.status() == 0x0211
        assert peer.abort() == (0, 0)


@pytest.mark.parametrize("field", [0x8001, 0x8030, 0xFFFF])
def test_row_28_responses_that_nobody_asked_for_are_aborted(listener, field):
    """There is no answer to an answer."""
    with attack(listener) as peer:
        peer.send(p_data(COMMAND | LAST, command(field, data_set=False, extra=[(0x0120, b"\1\0"), (0x0900, b"\0\0")])))
        assert peer.abort() == (0, 0)


def test_a_cancellation_has_no_response(listener):
    """Nothing can be under way (PS3.7 9.3.2.3)."""
    with attack(listener) as peer:
        cancel = command(C_CANCEL, sop_class_uid=None, sop_instance_uid=None, data_set=False, extra=[(0x0120, b"\1\0")])
        peer.send(p_data(COMMAND | LAST, cancel))
        goes_on(peer)


@pytest.mark.parametrize(
    "uid",
    [
        "",  # row 29
        None,
        "1." + "2" * 70,  # row 30
        "../../../../tmp/x",  # row 31
        "1.2\n3.4",
        "1.2.3/../4",
        "1..2",
        "1.02",
        "%2e%2e%2f",
        "';DROP TABLE ledger;--",
    ],
)
def test_rows_29_30_31_a_sop_instance_uid_that_is_none_is_refused(listener, uid):
    """0117, a ledger row without it, no file, and the association goes on."""
    with attack(listener) as peer:
        assert peer.store(report("29"), sop_instance_uid=uid) == 0x0117
        goes_on(peer)
    assert listener.ledger()[-1] == ("refused", 0x0117, "invalid_sop_instance_uid")
    assert not uid or uid not in listener.log_file.read_text().replace("\\n", "\n")


def test_row_32_the_command_names_another_sop_class_than_the_context(listener):
    """0122."""
    with attack(listener) as peer:
        assert peer.store(report("32"), sop_class_uid=ENHANCED_SR, sop_instance_uid="2.25.32") == 0x0122
        goes_on(peer)


@pytest.mark.parametrize(
    ("number", "data", "status", "reason_code"),
    [
        (33, report("33", sop_class_uid=ENHANCED_SR), 0xA900, "identity_mismatch"),
        (34, report("3400"), 0xA900, "identity_mismatch"),
        (35, report("35", sop_class_uid=""), 0xC000, "no_sop_class_uid"),
        (35, report("35").replace(b"\x08\0\x18\0", b"\x08\0\x19\0"), 0xC000, "no_sop_instance_uid"),
        (36, report("36").replace(b"\x20\0\x0d\0", b"\x20\0\x0f\0"), 0xC000, None),
        (
            36,
            report("36").replace(element(0x0020000D, "UI", b"2.25.736"), element(0x0020000D, "UI", b"")),
            0xC000,
            None,
        ),
    ],
)
def test_rows_33_to_36_the_data_set_does_not_say_what_the_command_says(listener, number, data, status, reason_code):
    """A900 for another class or instance; C000 where it doesn't say, kept in quarantine unless it is of no class."""
    with attack(listener) as peer:
        assert peer.store(data, sop_instance_uid=f"2.25.{number}") == status
        goes_on(peer)
    outcome, recorded, reason = listener.ledger()[-1]
    assert recorded == status
    assert reason_code is None or reason == reason_code
    assert (outcome == "quarantined") == (reason in {"no_sop_instance_uid", "no_study_instance_uid"})


def test_row_37_a_pdu_above_the_negotiated_length_is_aborted_at_its_header(listener):
    """A-ABORT 2/6, before its body is sent; the same with a presentation data value longer than its PDU."""
    for header in (pdu(P_DATA, length=1024 * 1024), pdu(P_DATA, length=131073), pdu(P_DATA, length=0xFFFFFFFF)):
        with attack(listener, 2) as peer:
            peer.send(header)
            assert peer.abort() == (2, 6)
    with attack(listener, 2) as peer:
        peer.send(pdu(P_DATA, pdv(0, b"ab", length=131072)))
        assert peer.abort() == (2, 6)


def test_row_38_fragments_without_end_are_refused_at_the_limit(listener):
    """A700 at 16 MB as configured here, then A-ABORT; no more than that is held, however much is sent."""
    with attack(listener, 40) as peer:
        peer.send(p_data(COMMAND | LAST, command(sop_instance_uid="2.25.38")))
        fragment = p_data(0, bytes(16000)) * 32
        sent = 0
        while sent < 320 and peer.send(fragment):
            sent += 1
            if sent == 20:
                assert listener.echo_seconds() < 1
        assert sent * 32 * 16000 > 16 * 1024 * 1024
    with attack(listener, 40) as peer:
        peer.send(p_data(COMMAND | LAST, command(sop_instance_uid="2.25.38")))
        for _ in range(34):
            peer.send(fragment)
        assert peer.status() == 0xA700
        assert peer.abort() == (0, 0)
    assert listener.ledger()[-1] == ("refused", 0xA700, "object_too_large")


def test_row_41_requests_sent_without_waiting_are_served_one_after_the_other(listener):
    """One operation at a time is what is negotiated: each gets its answer, in order."""
    with attack(listener) as peer:
        numbers = range(4100, 4120)
        for message_id, number in enumerate(numbers, 1):
            peer.send(
                p_data(COMMAND | LAST, command(sop_instance_uid=f"2.25.{number}", message_id=message_id)),
                p_data(LAST, report(number)),
            )
        assert [peer.status() for _ in numbers] == [0] * len(numbers)
        goes_on(peer)
    assert set(listener.objects()) >= {f"2.25.{n}" for n in numbers}


def test_row_41_a_message_within_a_message_is_aborted(listener):
    """A command where the data set has to go on (A-ABORT 2/5)."""
    with attack(listener) as peer:
        peer.send(p_data(COMMAND | LAST, command()), p_data(0, b"ab"), p_data(COMMAND | LAST, command(message_id=2)))
        assert peer.abort() == (2, 5)


def test_row_42_a_message_id_that_is_pending_is_a_duplicate_invocation(listener):
    """0210 for the second that came before the first was answered; after the answer the ID is free again."""
    with attack(listener) as peer:
        both = b"".join(
            p_data(COMMAND | LAST, command(sop_instance_uid=f"2.25.{n}", message_id=5)) + p_data(LAST, report(n))
            for n in (4200, 4201)
        )
        peer.send(both)
        assert [peer.status(), peer.status()] == [0, 0x0210]
        assert peer.store(report(4202), sop_instance_uid="2.25.4202", message_id=5) == 0
        goes_on(peer)
    stored = listener.objects()
    assert "2.25.4200" in stored
    assert "2.25.4202" in stored
    assert "2.25.4201" not in stored


@pytest.mark.parametrize(
    "encoded",
    [
        b"\0\0\0\0\x04\0\0\0",  # cut within its first element
        command()[:-3],
        b"",
        command().replace(b"\0\0\0\1\2\0\0\0", b"\0\0\0\1\3\0\0\0"),  # a command field of three bytes
        b"\x08\0" + command()[2:],  # not of group 0000
        bytes(70000),
    ],
)
def test_command_sets_that_are_none_are_aborted(listener, encoded):
    """A message without command field and ID can't be answered."""
    with attack(listener) as peer:
        for begin in range(0, max(1, len(encoded)), 16000):
            last = LAST if begin + 16000 >= len(encoded) else 0
            peer.send(p_data(COMMAND | last, encoded[begin : begin + 16000]))
        assert peer.abort() == (0, 0)


def test_sixteen_attackers_at_once_keep_nobody_waiting(listener):
    """Endless fragments, unknown operations and garbage from sixteen sides, for three seconds."""
    stop = threading.Event()

    def harass(kind):
        while not stop.is_set():
            with RawPeer(listener.port) as peer:
                if kind % 4 == 0:
                    peer.send(b"\x99" * 5000)
                    continue
                peer.associate(calling=f"ATTACKER{kind}".encode())
                if kind % 4 == 1:
                    peer.send(p_data(COMMAND | LAST, command(0x7777, data_set=False)))
                    peer.status()
                    peer.abort()
                elif kind % 4 == 2:
                    peer.send(p_data(COMMAND | LAST, command(sop_instance_uid="2.25.1")), p_data(0, bytes(100_000)))
                else:
                    peer.store(b"\xff" * 10000, sop_instance_uid="2.25.1")

    with listener.bounded(60):
        threads = [threading.Thread(target=harass, args=(kind,), daemon=True) for kind in range(16)]
        for thread in threads:
            thread.start()
        try:
            seconds = [listener.echo_seconds() for _ in range(3)]
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)
        assert max(seconds) < 1
    assert not any(thread.is_alive() for thread in threads)
    with RawPeer(listener.port) as peer:
        assert peer.associate() == {1: 0, 3: 0}
        assert peer.echo() == 0
