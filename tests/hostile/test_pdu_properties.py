"""Whatever bytes reach the port: whole PDUs in answer, then the end; no exception, no hang, the next one is served."""

import contextlib
import struct
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.damage import damage, harm
from support.raw_dicom import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    C_ECHO,
    COMMAND,
    LAST,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    VERIFICATION,
    RawPeer,
    associate_rq,
    command,
    item,
    p_data,
    pdu,
    pdv,
    report,
)

QUICK = {"deadline": 20_000, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}
"""A deadline of twenty seconds an example, twice what any wait of this listener may take."""

REQUEST = pdu(ASSOCIATE_RQ, associate_rq())
ECHO = p_data(COMMAND | LAST, command(C_ECHO, sop_class_uid=VERIFICATION, sop_instance_uid=None, data_set=False), 3)
RELEASE = pdu(RELEASE_RQ, bytes(4))
STORE = p_data(COMMAND | LAST, command(sop_instance_uid="2.25.1")) + p_data(LAST, report(1))
ANSWERS = {ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RP, ABORT}


@pytest.fixture
def port(start, monkeypatch):
    """A listener in this process, where an exception in a thread is seen; none may be raised."""
    raised = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_type))
    running = start()
    yield running.port
    assert raised == []
    with RawPeer(running.port) as peer:
        peer.associate()
        assert peer.echo() == 0


def converse(port, *parts):
    """Send parts, awaiting an answer to each but the last, then end; the types of the PDUs that came, all whole."""
    kinds = []
    with RawPeer(port, timeout=10) as peer:
        for part in parts:
            if not peer.send(part):
                break
            if part is not parts[-1]:
                answer = peer.receive()
                if answer is None:
                    break
                kinds.append(answer[0])
        with contextlib.suppress(OSError):
            peer.socket.shutdown(1)
        while (answer := peer.receive()) is not None:
            kinds.append(answer[0])
    assert set(kinds) <= ANSWERS
    # after an A-ABORT or a rejection nothing follows, but for the A-ABORT that Sta13 has for what still comes (AA-7)
    if ABORT in kinds or ASSOCIATE_RJ in kinds:
        end = next(n for n, kind in enumerate(kinds) if kind in {ABORT, ASSOCIATE_RJ})
        assert kinds[end + 1 :] in ([], [ABORT])
    return kinds


@settings(max_examples=150, **QUICK)
@given(junk=st.binary(max_size=600), associated=st.booleans())
def test_random_bytes_are_aborted_or_end_the_connection(port, junk, associated):
    """Instead of a request, and within an association."""
    kinds = converse(port, *([REQUEST] if associated else []), junk)
    assert kinds[: int(associated)] == [ASSOCIATE_AC] * associated
    assert P_DATA not in kinds


@settings(max_examples=200, **QUICK)
@given(kind=st.integers(0, 255), body=st.binary(max_size=300), length=st.none() | st.integers(0, 2**32 - 1))
def test_any_single_pdu_is_answered_by_the_rules(port, kind, body, length):
    """Any type, body and length, in both states: an A-ABORT unless the type has its place there."""
    sent = pdu(kind, body, length)
    assert converse(port, sent) in ([ABORT], [ASSOCIATE_RJ], [])
    whole = length is not None and length > len(body)
    kinds = converse(port, REQUEST, sent)
    assert kinds[0] == ASSOCIATE_AC
    if kind not in {P_DATA, RELEASE_RQ, ABORT} and not whole:
        assert kinds[1:] == [ABORT]


@settings(max_examples=250, **QUICK)
@given(steps=damage)
def test_a_damaged_request_is_accepted_rejected_or_aborted(port, steps):
    """Each item of an A-ASSOCIATE-RQ is read by code that others wrote."""
    user = item(0x54, struct.pack(">H", 17) + VERIFICATION.encode() + b"\1\1") + item(0x53, b"\0\2\0\2")
    user += item(0x58, b"\2\1\0\4user\0\4word") + item(0x56, struct.pack(">H", 17) + VERIFICATION.encode() + b"\0\0")
    body = harm(associate_rq(user_items=user), steps)
    assert converse(port, pdu(ASSOCIATE_RQ, body)) in ([ASSOCIATE_AC], [ASSOCIATE_RJ], [ABORT])


@settings(max_examples=250, **QUICK)
@given(steps=damage, relation=st.sampled_from(["command", "data set", "whole"]))
def test_a_damaged_message_is_answered_or_aborted(port, steps, relation):
    """Damage within the command set, the data set, and the PDUs around them."""
    if relation == "command":
        sent = p_data(COMMAND | LAST, harm(command(sop_instance_uid="2.25.1"), steps)) + p_data(LAST, report(1))
    elif relation == "data set":
        sent = p_data(COMMAND | LAST, command(sop_instance_uid="2.25.1")) + p_data(LAST, harm(report(1), steps))
    else:
        sent = harm(STORE + ECHO + RELEASE, steps)
    kinds = converse(port, REQUEST, sent)
    assert kinds[0] == ASSOCIATE_AC
    if relation == "data set":
        assert kinds[1:] == [P_DATA]


values = st.tuples(st.integers(0, 255), st.integers(0, 5), st.binary(max_size=60))


@settings(max_examples=150, **QUICK)
@given(described=st.lists(st.lists(values, min_size=1, max_size=4), min_size=1, max_size=4))
def test_any_presentation_data_values_are_answered_or_aborted(port, described):
    """Well-formed PDUs of fragments for any context, with any control header, in any order."""
    sent = b"".join(pdu(P_DATA, b"".join(pdv(c, data, i) for c, i, data in one)) for one in described)
    kinds = converse(port, REQUEST, sent)
    assert kinds[0] == ASSOCIATE_AC
