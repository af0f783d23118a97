"""PS3.8 Table 9-10: each state that an acceptor waits in, against each event, and what must come of it.

Sta1 has no connection. In Sta8 nothing is waited for: the release is answered in the same breath, which leads to Sta13.
Sta4 and Sta5 are a requestor's; Sta7 and Sta9 to Sta12 are those of a side that has asked for a release, which this one
never does.
"""

import threading

import pytest
from support.raw_dicom import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    C_ECHO,
    RELEASE_RP,
    RELEASE_RQ,
    VERIFICATION,
    RawPeer,
    associate_rq,
    command,
    p_data,
    pdu,
)

from dicomnlp.receive.pdu import Timeouts

REQUEST = pdu(ASSOCIATE_RQ, associate_rq())
RELEASE = pdu(RELEASE_RQ, bytes(4))
ECHO = p_data(3, command(C_ECHO, sop_class_uid=VERIFICATION, sop_instance_uid=None, data_set=False), 3)
EVENTS = {
    "A-ASSOCIATE-RQ": REQUEST,
    "A-ASSOCIATE-AC": pdu(ASSOCIATE_AC, associate_rq()),
    "A-ASSOCIATE-RJ": pdu(ASSOCIATE_RJ, b"\0\1\1\1"),
    "P-DATA-TF": ECHO,
    "A-RELEASE-RQ": RELEASE,
    "A-RELEASE-RP": pdu(RELEASE_RP, bytes(4)),
    "A-ABORT": pdu(ABORT, bytes(4)),
    "unknown PDU": pdu(0x0B, b"what"),
    "transport closed": None,
    "ARTIM expired": b"",
}

# What each action comes to on the wire:
#   accept   AE-6, AE-7: an A-ASSOCIATE-AC                 answer   DT-2: the message is taken and answered
#   release  AR-2, AR-4: an A-RELEASE-RP                   ignore   AA-6: nothing, and the connection stays open
#   abort    AA-1, AA-7, AA-8: an A-ABORT, then the end    close    AA-2 to AA-5, AR-5: the end, without a word
#   -        the timer doesn't run in this state
TABLE = """
                    Sta2     Sta3     Sta6     Sta13
    A-ASSOCIATE-RQ  accept   abort    abort    abort
    A-ASSOCIATE-AC  abort    abort    abort    ignore
    A-ASSOCIATE-RJ  abort    abort    abort    ignore
    P-DATA-TF       abort    abort    answer   ignore
    A-RELEASE-RQ    abort    abort    release  ignore
    A-RELEASE-RP    abort    abort    abort    ignore
    A-ABORT         close    close    close    close
    unknown PDU     abort    abort    abort    abort
    transport closed  close  close    close    close
    ARTIM expired   close    -        -        close
"""


def cases():
    """(state, event, action) of each cell that has an action; Sta13 once for each way that leads there."""
    head, *rows = TABLE.strip().splitlines()
    for row in rows:
        event = next(e for e in EVENTS if row.strip().startswith(e))
        for state, action in zip(head.split(), row.strip().removeprefix(event).split(), strict=True):
            if action != "-":
                yield from ((s, event, action) for s in ([state] if state != "Sta13" else ["Sta13 r", "Sta13 j"]))


def bring_to(peer, state):
    """Bring an association to a state; what is to be sent together with the next event."""
    if state == "Sta2":
        return b""
    if state == "Sta3":
        return REQUEST  # what follows in the same segment is there before the answer
    if state == "Sta13 j":
        peer.send(pdu(ASSOCIATE_RQ, associate_rq(called=b"SOMEBODY")))
        assert peer.rejection() == (1, 1, 7)
        return b""
    peer.associate()
    if state == "Sta13 r":
        peer.release()
    return b""


@pytest.mark.parametrize(("state", "event", "action"), list(cases()))
def test_each_event_in_each_state_has_its_action(start, eventually, state, event, action):
    """As the table above says."""
    running = start(timeouts=Timeouts(artim=1.0, network=20, message=20, drain=0.3, half_close=20))
    with RawPeer(running.port) as peer:
        before = bring_to(peer, state)
        if EVENTS[event] is not None:
            peer.send(before + EVENTS[event])
        else:
            peer.send(before)
            peer.socket.close()
            eventually(lambda: not any(t.name == "association" for t in threading.enumerate()))
            return
        if action == "ignore":
            peer.socket.settimeout(0.2)
            with pytest.raises(TimeoutError):
                peer.receive()
        elif action == "abort":
            assert peer.abort() == ((2, 1) if event == "unknown PDU" else (2, 2))
        elif action == "close":
            peer.closed()
        elif action == "answer":
            assert peer.status() == 0
        else:
            kind, _ = peer.receive()
            assert kind == {"accept": ASSOCIATE_AC, "release": RELEASE_RP}[action]


def test_what_follows_a_release_at_once_is_passed_over(start):
    """Sta8 isn't waited in: the release is answered, and the rest met in Sta13."""
    running = start()
    with RawPeer(running.port) as peer:
        peer.associate()
        peer.send(RELEASE + ECHO)
        kind, _ = peer.receive()
        assert kind == RELEASE_RP
        peer.closed()


def test_peer_that_does_not_close_is_shown_the_end(start):
    """Half a close after a moment, for peers that wait for this side; ARTIM ends those that don't close even then."""
    running = start(timeouts=Timeouts(artim=1.0, network=20, drain=0.3, half_close=0.1))
    with RawPeer(running.port) as peer:
        peer.associate()
        peer.release()
        peer.closed()


def test_peer_that_goes_on_sending_after_the_end_is_cut_off(start, monkeypatch):
    """Not after ARTIM only: what it may still send is bounded."""
    monkeypatch.setattr("dicomnlp.receive.pdu._DISCARDED_BYTES", 1_000_000)
    running = start(timeouts=Timeouts(artim=15.0, network=20, drain=0.3, half_close=0.1))
    with RawPeer(running.port) as peer:
        peer.associate()
        peer.send(pdu(0x55))
        sent = 0
        while sent < 200 and peer.send(bytes(100_000)):
            sent += 1
        assert sent < 200
