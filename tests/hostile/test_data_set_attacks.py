"""The data sets of rows 43 to 49 and 52 from four sides at once: what they do to the listener itself, and to others.

What becomes of each of them is in test_data_set_rows.py.
"""

import random
import struct
import threading
import zlib

import pytest
from support.attacked import ECHOSCU, AttackedListener
from support.raw_dicom import (
    BASIC_TEXT_SR,
    COMMAND,
    IMPLICIT,
    LAST,
    VERIFICATION,
    RawPeer,
    command,
    context,
    element,
    p_data,
    report,
)

pytestmark = [
    pytest.mark.dcmtk,
    pytest.mark.skipif(ECHOSCU is None, reason="DCMTK is not installed"),
]
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
CONTEXTS = [
    context(1),
    context(3, VERIFICATION, IMPLICIT),
    *(context(5 + 2 * n, BASIC_TEXT_SR, t) for n, t in enumerate([DEFLATED, IMPLICIT, BIG_ENDIAN])),
]


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    """With the default limits."""
    listener = AttackedListener(tmp_path_factory.mktemp("attacked")).start()
    with RawPeer(listener.port) as peer:
        peer.associate()
        assert peer.store(report(1, padding=5_000_000), sop_instance_uid="2.25.1") == 0
    listener.echo_seconds()
    yield listener
    assert listener.stop() == 0


def deflate(data):
    """Raw deflate (PS3.5 A.5)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def bomb():
    """500 MB in half a megabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    megabyte = b"x" * 1024 * 1024
    return b"".join([packer.compress(report(47)), *(packer.compress(megabyte) for _ in range(500)), packer.flush()])


def nested(depth, *, undefined):
    """Sequences in each other."""
    if undefined:
        opening = struct.pack("<HH2sHI", 0x0054, 0x0220, b"SQ", 0, 0xFFFFFFFF)
        return report(49) + (opening + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)) * depth
    data = b""
    for _ in range(depth):
        data = element(0x00540220, "SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data)
    return report(49) + data


def attacks():
    """(presentation context ID, data set, statuses that it may be answered with)."""
    noise = random.Random(43)
    return [
        (1, noise.randbytes(5000), {0xC000}),
        (9, noise.randbytes(5000), {0xC000}),
        (1, report(44) + struct.pack("<HH2sHI", 0x0042, 0x0011, b"OB", 0, 0x7FFFFFFF) + b"abc", {0xC000}),
        (1, report(45) + bytes(512), {0x0000}),
        (9, report(46), {0x0000, 0xC000}),
        (5, bomb(), {0xA700, 0xC000}),
        (5, deflate(report(48))[:-9], {0xC000}),
        (1, nested(2000, undefined=True), {0xC000}),
        (1, nested(1000, undefined=False), {0xC000}),
        (1, report(52) + element(0x00091001, "UN", bytes(12_000_000)), {0x0000, 0xA700}),
    ]


def test_rows_43_to_49_and_52_from_four_sides_keep_nobody_out(listener):
    """Four deflate bombs, giants, and all the rest at once: below 300 MB, echoscu within a second."""
    wrong, done = [], []

    def attack(number):
        made = attacks()
        for position in range(len(made)):
            context_id, data, statuses = made[(position + number) % len(made)]
            uid = data[data.find(b"2.25.") :][:7].rstrip(b"\0").decode("ascii", "replace") or "2.25.43"
            uid = uid if uid[5:].isdigit() else "2.25.43" if context_id != 5 else "2.25.47"
            with RawPeer(listener.port, timeout=60) as peer:
                peer.associate(*CONTEXTS, calling=f"ATTACKER{number}".encode())
                status = peer.store(data, sop_instance_uid=uid, context_id=context_id)
                if status not in statuses:
                    wrong.append((number, position, hex(status)))
        done.append(number)

    with listener.bounded(150):
        threads = [threading.Thread(target=attack, args=(number,), daemon=True) for number in range(4)]
        for thread in threads:
            thread.start()
        seconds = []
        while any(thread.is_alive() for thread in threads):
            seconds.append(listener.echo_seconds())
        for thread in threads:
            thread.join()
    assert sorted(done) == list(range(4))
    assert wrong == []
    assert max(seconds) < 1


def test_row_52_a_text_of_100_megabytes_is_refused_as_it_comes_in(listener):
    """A700 at the limit of 64 MB, then A-ABORT; the rest isn't waited for."""
    with listener.bounded(100), RawPeer(listener.port) as peer:
        peer.associate()
        peer.send(p_data(COMMAND | LAST, command(sop_instance_uid="2.25.52")))
        fragment = p_data(0, bytes(16000)) * 64
        for _ in range(66):
            assert peer.send(fragment)
        assert peer.status() == 0xA700
        assert peer.abort() == (0, 0)
