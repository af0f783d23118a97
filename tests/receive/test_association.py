"""The acceptor on the wire: negotiation, release, abort, and peers that break the rules (PS3.8)."""

import socket
import struct
import threading
import time

import pytest
import structlog.testing
from pynetdicom import AE
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from dicomnlp.export.reactor import hold_reactor
from dicomnlp.receive.contexts import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES
from dicomnlp.receive.negotiation import MAXIMUM_REQUEST_LENGTH
from dicomnlp.receive.pdu import Timeouts

SR, EXPLICIT = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.1.2.1"
VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
JPEG = "1.2.840.10008.1.2.4.50"
QUICK = Timeouts(artim=0.3, network=0.4, message=0.4, drain=0.3, half_close=0.05)


def test_each_offered_sop_class_is_accepted_in_each_transfer_syntax(start):
    """What contexts.py lists is what a requestor gets, over several associations of at most 128 contexts."""
    running = start()
    contexts = [(s, t) for s in STORAGE_SOP_CLASSES for t in TRANSFER_SYNTAXES]
    for begin in range(0, len(contexts), 128):
        part = contexts[begin : begin + 128]
        peer = running.peer()
        answer = peer.associate(*part)
        results = answer.presentation_context_definition_results_list
        assert [(c.result, c.transfer_syntax[0]) for c in results] == [(0, t) for _, t in part]
        peer.release()


def test_128_contexts_of_50_transfer_syntaxes_are_answered_at_once(start):
    """The largest sensible request is well below the length bound and takes no time."""
    running = start()
    syntaxes = [f"1.2.3.{n}" for n in range(49)] + [EXPLICIT]
    began = time.monotonic()
    answer = running.peer().associate(*[(SR, syntaxes)] * 128)
    assert {c.result for c in answer.presentation_context_definition_results_list} == {0}
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("sop_class_uid", "transfer_syntax_uid", "result"),
    [
        (CT, EXPLICIT, 3),  # abstract syntax not supported
        ("1.2.3.4.5", EXPLICIT, 3),
        (SR, JPEG, 4),  # transfer syntaxes not supported
        (VERIFICATION, "1.2.840.10008.1.2", 0),
    ],
)
def test_contexts_that_are_not_offered_are_refused_one_by_one(start, sop_class_uid, transfer_syntax_uid, result):
    """A context that can't be had doesn't spoil the others (PS3.8 9.3.3.2)."""
    peer = start().peer()
    answer = peer.associate((sop_class_uid, transfer_syntax_uid), (SR, EXPLICIT))
    results = answer.presentation_context_definition_results_list
    assert [c.result for c in results] == [result, 0]
    peer.release()


def _refusals(running, *contexts, **options):
    with structlog.testing.capture_logs() as lines:
        peer = running.peer()
        peer.associate(*contexts, **options)
        peer.release()
    return [
        (x["sop_class_uid"], x["transfer_syntax_uid"], x["reason_code"], x["count"])
        for x in lines
        if x["event"] == "presentation_context_refused"
    ]


def test_association_in_which_nothing_can_be_stored_says_what_was_proposed(start):
    """A few lines with the SOP class, its transfer syntax and the reason; Verification alone stores nothing."""
    running = start()
    assert _refusals(running, (CT, EXPLICIT), (VERIFICATION, EXPLICIT)) == [
        (CT, EXPLICIT, "abstract_syntax_not_supported", 1)
    ]
    assert _refusals(running, (SR, JPEG)) == [(SR, JPEG, "transfer_syntaxes_not_supported", 1)]
    # one context a transfer syntax, as some senders propose: one line a SOP class
    assert len(_refusals(running, (SR, JPEG), (SR, "1.2.3.4"))) == 1
    many = [(f"{CT}.{n}", EXPLICIT) for n in range(100)]
    assert _refusals(running, *many) == [(s, t, "abstract_syntax_not_supported", 100) for s, t in many[:3]]
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = SR, False, True
    assert _refusals(running, items=(role,)) == [(SR, EXPLICIT, "role_not_supported", 1)]


def test_refusals_beside_what_can_be_stored_are_said_of_offered_sop_classes_only(start):
    """To propose everything and get a part is how archives send; a report class that falls out is worth a line."""
    running = start()
    assert _refusals(running, (SR, EXPLICIT), (CT, EXPLICIT)) == []
    assert _refusals(running, (SR, EXPLICIT), (SR, JPEG)) == []
    enhanced = "1.2.840.10008.5.1.4.1.1.88.22"
    assert _refusals(running, (SR, EXPLICIT), (enhanced, JPEG), (CT, JPEG)) == [
        (enhanced, JPEG, "transfer_syntaxes_not_supported", 1)
    ]
    assert _refusals(running, (VERIFICATION, EXPLICIT)) == []


def test_explicit_vr_is_preferred_when_one_context_proposes_several(start):
    """Private elements keep their VR only in explicit VR."""
    answer = start().peer().associate((SR, ["1.2.840.10008.1.2", EXPLICIT]))
    assert answer.presentation_context_definition_results_list[0].transfer_syntax == [EXPLICIT]


@pytest.mark.parametrize(
    ("options", "rejection"),
    [
        ({"called": "SOMEONE"}, (1, 1, 7)),
        ({"application_context": "1.2.840.10008.3.1.1.2"}, (1, 1, 2)),
        ({"version": 2}, (1, 2, 2)),
    ],
)
def test_requests_for_something_else_are_rejected_with_their_reason(start, options, rejection):
    """Result, source and diagnostic of PS3.8 Table 9-21."""
    peer = start().peer()
    peer.send(peer.request(**options))
    kind, body = peer.receive()
    assert (kind, tuple(body[1:])) == (3, rejection)
    assert peer.receive() == (0, b"")


def test_version_with_more_bits_is_accepted(start):
    """Only bit 0 of the protocol version counts (PS3.8 9.3.2)."""
    peer = start().peer()
    peer.associate(version=3)
    peer.release()


def test_too_many_associations_are_told_to_come_later_and_find_a_place_again(start):
    """2/3/2 local limit exceeded, until one of the others ends."""
    running = start(maximum_associations=2)
    first, second, third = running.peer(), running.peer(), running.peer()
    first.associate()
    second.associate()
    third.send(third.request())
    kind, body = third.receive()
    assert (kind, tuple(body[1:])) == (3, (2, 3, 2))
    first.release()
    running.peer().associate()


def test_roles_windows_and_extended_negotiation_are_answered(start):
    """SCU role only, one operation at a time, full storage with bits preserved, no word on the user's identity."""
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = SR, True, True
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 0
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid, extended.service_class_application_information = SR, b"\x02\x00\x03\x00\x00"
    identity = UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field, identity.secondary_field = 2, b"user", b"word" * 10000
    identity.positive_response_requested = True
    peer = start().peer()
    answer = peer.associate(items=(role, window, extended, identity))
    by_type = {type(i): i for i in answer.user_information}
    assert UserIdentityNegotiation not in by_type
    assert by_type[SOPClassExtendedNegotiation].service_class_application_information == b"\x02\x00\x03\x00\x00"
    answered = by_type[AsynchronousOperationsWindowNegotiation]
    assert (answered.maximum_number_operations_invoked, answered.maximum_number_operations_performed) == (1, 1)
    answered = by_type[SCP_SCU_RoleSelectionNegotiation]
    assert (answered.scu_role, answered.scp_role) == (True, False)
    peer.release()


def test_requestor_that_wants_to_be_provider_only_gets_no_context(start):
    """Our side stores, it doesn't send."""
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = SR, False, True
    answer = start().peer().associate(items=(role,))
    assert answer.presentation_context_definition_results_list[0].result == 1


def test_user_information_items_of_unknown_types_are_ignored(start):
    """PS3.7 D.3.3: what a later edition adds must not end an association."""
    peer = start().peer()
    request = peer.request()
    unknown = struct.pack(">BxH", 0x77, 4) + b"next"
    position = request.index(b"\x50\x00", 74)  # the user information item is the last one
    (length,) = struct.unpack_from(">H", request, position + 2)
    request = request[: position + 2] + struct.pack(">H", length + len(unknown)) + request[position + 4 :] + unknown
    peer.send(request[:2] + struct.pack(">I", len(request) - 6) + request[6:])
    assert peer.receive()[0] == 2


def _request(peer, change):
    body = bytearray(peer.request((SR, EXPLICIT), (SR, EXPLICIT))[6:])
    change(body)
    return struct.pack(">BBI", 1, 0, len(body)) + bytes(body)


def _context_id(number, value):
    def change(body):
        position = 67  # behind the fixed fields
        for _ in range(number):
            position = body.index(b"\x20\x00", position + 1)
        body[position + 4] = value

    return change


def _title(value):
    def change(body):
        body[20:36] = value.ljust(16)

    return change


@pytest.mark.parametrize(
    "change",
    [
        _context_id(1, 2),  # even
        _context_id(2, 1),  # twice the same
        _title(b"A\x00\nB"),  # control characters in the calling AE title
        _title(b"   "),
        _title("Ä".encode()),
        lambda body: body.__delitem__(slice(60, None)),  # shorter than the fixed fields
        lambda body: body.__delitem__(slice(-3, None)),  # the last item is cut
        lambda body: body.__setitem__(slice(70, 72), b"\xff\xff"),  # an item longer than the PDU
        lambda body: body.__delitem__(slice(68, None)),  # no items at all
    ],
)
def test_malformed_requests_are_aborted(start, change):
    """A-ABORT 2/6, invalid PDU parameter value, and the next peer is served."""
    running = start()
    peer = running.peer()
    peer.send(_request(peer, change))
    kind, body = peer.receive()
    assert (kind, tuple(body[2:])) in {(7, (2, 6)), (3, (1, 2))}
    running.peer().associate()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n", (2, 1)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (2, 1)),  # a TLS client
        (b"\x09\x00\x00\x00\x00\x04abcd", (2, 1)),
        (b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x01\x03", (2, 2)),  # P-DATA before the association
        (b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00", (2, 2)),  # release likewise
        (b"\x02\x00\x00\x00\x00\x04\x00\x00\x00\x00", (2, 2)),
        (b"\x01\x00\xff\xff\xff\xf0", (2, 6)),  # 4 GB announced: refused before any of it is read
        (b"\x01\x00" + struct.pack(">I", MAXIMUM_REQUEST_LENGTH + 1), (2, 6)),
    ],
)
def test_what_is_no_association_request_is_aborted_at_its_header(start, sent, reason):
    """The answer comes at once, not after a deadline."""
    peer = start().peer()
    began = time.monotonic()
    peer.send(sent)
    assert peer.abort_reason() == reason
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("sent", [b"", b"\x01\x00\x00", b"\x01\x00\x00\x00\x01\x00\x00\x01"])
def test_silence_before_the_request_is_complete_ends_the_connection(start, sent):
    """ARTIM covers the whole request, however much of it has come."""
    peer = start(timeouts=QUICK).peer()
    began = time.monotonic()
    peer.send(sent)
    assert peer.receive() == (0, b"")
    assert 0.2 < time.monotonic() - began < 2


def test_request_that_trickles_in_is_not_waited_for(start):
    """A byte now and then doesn't move the deadline."""
    running = start(timeouts=QUICK)
    peer = running.peer()
    began = time.monotonic()
    with pytest.raises(OSError):  # noqa: PT011, PT012 - reset or broken pipe, as the kernel likes
        for byte in peer.request():
            peer.send(bytes([byte]))
            time.sleep(0.05)
    assert time.monotonic() - began < 3


def test_silent_connections_keep_nobody_out(start):
    """Connections without an association don't count as associations."""
    running = start(maximum_associations=2)
    for _ in range(40):
        running.peer().send(b"\x01\x00\x00")
    began = time.monotonic()
    running.peer().associate()
    assert time.monotonic() - began < 1


def test_flood_of_silent_connections_ends_the_oldest_of_them(start, monkeypatch):
    """The bound is kept by ending who waits longest, so that a newcomer is served."""
    monkeypatch.setattr("dicomnlp.receive.acceptor.MAXIMUM_WAITING", 5)
    running = start(maximum_associations=1)
    established = running.peer()
    established.associate()
    silent = [running.peer() for _ in range(10)]
    assert silent[0].receive() == (0, b"")
    second = running.peer()
    second.send(second.request())
    assert second.receive()[0] == 3  # no free place, but heard
    established.release()


def test_silence_within_an_association_is_aborted(start):
    """No traffic for the network timeout."""
    peer = start(timeouts=QUICK).peer()
    peer.associate()
    assert peer.abort_reason() == (2, 0)


def test_half_a_pdu_within_an_association_is_aborted(start):
    """Even while bytes trickle in."""
    peer = start(timeouts=QUICK).peer()
    peer.associate()
    peer.send(b"\x04\x00\x00\x00")
    time.sleep(0.2)
    peer.send(b"\x01\x00")
    assert peer.abort_reason() == (2, 0)


def test_unexpected_and_unknown_pdus_within_an_association_are_aborted(start):
    """Each with its reason (PS3.8 Table 9-26)."""
    running = start()
    for sent, reason in [
        (running.peer().request(), (2, 2)),
        (struct.pack(">BBI", 6, 0, 4) + bytes(4), (2, 2)),  # a release response that nobody asked for
        (struct.pack(">BBI", 0x2A, 0, 0), (2, 1)),
        (struct.pack(">BBI", 4, 0, 1000000), (2, 6)),  # longer than negotiated, refused at the header
        (struct.pack(">BBI", 4, 0, 0), (2, 6)),
        (struct.pack(">BBI", 4, 0, 6) + struct.pack(">IBB", 2, 2, 3), (2, 6)),  # even presentation context
        (struct.pack(">BBI", 4, 0, 6) + struct.pack(">IBB", 2, 99, 3), (2, 6)),  # one that wasn't accepted
        (struct.pack(">BBI", 4, 0, 6) + struct.pack(">IBB", 1, 1, 3), (2, 6)),
        (struct.pack(">BBI", 4, 0, 6) + struct.pack(">IBB", 900, 1, 3), (2, 6)),  # longer than its PDU
        (struct.pack(">BBI", 4, 0, 6) + struct.pack(">IBB", 2, 1, 2), (2, 5)),  # a data set before its command
    ]:
        peer = running.peer()
        peer.associate()
        peer.send(sent)
        assert peer.abort_reason() == reason


def test_abort_by_the_peer_ends_the_connection(start, eventually):
    """And gives its place back."""
    running = start(maximum_associations=1)
    peer = running.peer()
    peer.associate()
    peer.send(struct.pack(">BBI", 7, 0, 4) + bytes(4))
    assert peer.receive() == (0, b"")
    running.peer().associate()


def test_stop_lets_an_association_finish_its_object(start, objects):
    """New associations are told to come later meanwhile (2/3/1), and what was under way is answered."""
    running = start(timeouts=Timeouts(artim=2, network=5, drain=5, half_close=0.05))
    peer = running.peer()
    peer.associate()
    data_set = objects.data_set()
    data = objects.encode(data_set)
    peer.send(peer.data_pdu(3, peer.command(sop_instance_uid=data_set.SOPInstanceUID)))
    running.stop.set()
    time.sleep(0.4)
    late = running.peer()
    late.send(late.request())
    kind, body = late.receive()
    assert (kind, tuple(body[1:])) == (3, (2, 3, 1))
    peer.send(peer.data_pdu(2, data))
    assert peer.respond().Status == 0
    peer.release()
    running.thread.join(3)
    assert not running.thread.is_alive()


def test_stop_aborts_associations_that_do_not_end(start):
    """After the grace, with A-ABORT 2/0; silent connections are closed at once."""
    running = start(timeouts=Timeouts(artim=9, network=9, drain=0.3))
    peer, silent = running.peer(), running.peer()
    peer.associate()
    running.stop.set()
    assert silent.receive() == (0, b"")
    assert peer.abort_reason() == (2, 0)
    running.thread.join(3)
    assert not running.thread.is_alive()


def test_threads_and_connections_are_given_back(start, eventually):
    """A hundred connections of all kinds leave nothing behind."""
    running = start()
    before = threading.active_count()
    for number in range(100):
        peer = running.peer()
        if number % 4 == 1:
            peer.send(b"junk")
        elif number % 4 == 2:
            peer.associate()
        elif number % 4 == 3:
            peer.associate()
            peer.release()
        peer.close()
    eventually(lambda: threading.active_count() <= before)


def test_pynetdicom_requestor_echoes_and_releases(start):
    """Interoperation with another implementation's requestor."""
    running = start()
    ae = AE(ae_title="PYNETDICOM")
    ae.add_requested_context(VERIFICATION)
    association = ae.associate("127.0.0.1", running.port, ae_title="DICOMNLP")
    assert association.is_established
    hold_reactor(association)
    assert association.send_c_echo().Status == 0
    association.release()
    assert association.is_released


def test_pynetdicom_requestor_aborts(start):
    """Its abort is taken as such and the listener goes on."""
    running = start()
    ae = AE()
    ae.add_requested_context(SR)
    for _ in range(3):
        association = ae.associate("127.0.0.1", running.port, ae_title="DICOMNLP")
        assert association.is_established
        association.abort()
    peer = running.peer()
    peer.associate()
    peer.release()


def test_shortage_of_descriptors_is_survived(start, monkeypatch, eventually):
    """It is logged, the connection that waits longest is ended, and accepting goes on."""
    running = start()
    silent = running.peer()
    eventually(lambda: any(t.name == "association" for t in threading.enumerate()))
    real, failures = socket.socket.accept, [OSError(24, "too many open files")] * 2

    def accept(self):
        if failures:
            raise failures.pop()
        return real(self)

    with monkeypatch.context() as patch, structlog.testing.capture_logs() as lines:
        patch.setattr(socket.socket, "accept", accept)
        eventually(lambda: not failures)
        assert silent.receive() == (0, b"")
        running.peer().associate()
    assert "connection_not_served" in [line["event"] for line in lines]
