"""The quick walk over a header: it reads what the scanner reads, or leaves the object to it."""

import random

import pytest

from dicomnlp.extract import elements
from dicomnlp.extract.identity import IDENTITY_TAGS
from dicomnlp.extract.plain_header import values_of_plain

TAGS = frozenset(IDENTITY_TAGS.values())


def _scanned(data, uid):
    found = elements.scan(data, uid, nested=False).elements
    return {tag: found[tag].value for tag in TAGS if tag in found}


@pytest.mark.parametrize("syntax", ["EXPLICIT", "IMPLICIT"])
def test_a_plain_object_is_read_as_the_scanner_reads_it(sr, small_report, syntax):
    """The same values of the same elements, without the scanner."""
    uid = getattr(sr, syntax)
    small_report.StudyDescription, small_report.BodyPartExamined = "CT Thorax", "CHEST"
    data = sr.encode(small_report, uid)
    values = values_of_plain(data, uid, TAGS)
    assert values == _scanned(data, uid)
    assert len(values) > 8


@pytest.mark.parametrize("syntax", ["EXPLICIT", "IMPLICIT"])
def test_what_is_damaged_is_left_to_the_scanner_or_read_as_it_does(sr, small_report, syntax):
    """Bytes changed, cut off, doubled and left out, four thousand times: never another answer than the scanner's."""
    uid = getattr(sr, syntax)
    whole = sr.encode(small_report, uid)
    chance = random.Random(3)
    read = 0
    for _ in range(4000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            place, length = chance.randrange(len(data)), chance.choice([1, 2, 4, 8, 30])
            match chance.randrange(4):
                case 0:
                    data[place : place + length] = chance.randbytes(length)
                case 1:
                    data[place] = chance.choice(b"\x00\xff\xfe\x08\x40")
                case 2:
                    data[place:place] = data[place : place + length]
                case 3:
                    del data[place : place + length]
        values = values_of_plain(bytes(data), uid, TAGS)
        if values is not None:
            read += 1
            assert values == _scanned(bytes(data), uid)
    assert 400 < read < 3600


@pytest.mark.parametrize("syntax", ["EXPLICIT", "IMPLICIT"])
def test_a_cut_object_is_left_to_the_scanner(sr, small_report, syntax):
    """But where the cut falls between two elements, which nobody can see."""
    uid = getattr(sr, syntax)
    data = sr.encode(small_report, uid)
    whole = 0
    for cut in range(len(data)):
        values = values_of_plain(data[:cut], uid, TAGS)
        if values is not None:
            whole += 1
            assert values == _scanned(data[:cut], uid)
    assert whole < len(small_report)


@pytest.mark.parametrize(
    ("syntax", "data"),
    [
        # big endian, whatever is stated
        ("BIG", b"\x00\x08\x00\x16UI\x00\x061.2.3\x00"),
        ("EXPLICIT", b"\x00\x08\x00\x16UI\x00\x061.2.3\x00"),
        # a sequence of undefined length
        ("EXPLICIT", b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\xdd\xe0\0\0\0\0"),
        # tags that fall, and one that comes again
        ("EXPLICIT", b"\x08\x00\x18\x00UI\x02\x001\x00\x08\x00\x16\x00UI\x02\x001\x00"),
        ("EXPLICIT", b"\x08\x00\x16\x00UI\x02\x001\x00\x08\x00\x16\x00UI\x02\x001\x00"),
        # a VR that isn't known yet
        ("EXPLICIT", b"\x08\x00\x16\x00UI\x02\x001\x00\x08\x00\x18\x00XX\0\0\x00\x00\x00\x00"),
        # a wanted element of a VR with a long length
        ("EXPLICIT", b"\x08\x00\x16\x00UI\x02\x001\x00\x08\x00\x18\x00UN\0\0\x02\x00\x00\x001\x00"),
        # a content sequence that has no items
        ("IMPLICIT", b"\x08\x00\x16\x00\x02\x00\x00\x001\x00\x40\x00\x30\xa7\x04\x00\x00\x00\x00\x00\x00\x00"),
        # padding behind the last element, none at all, and less than an element
        ("EXPLICIT", b"\x08\x00\x16\x00UI\x02\x001\x00\x00\x00"),
        ("EXPLICIT", b""),
        ("EXPLICIT", b"\x08\x00\x16"),
    ],
)
def test_what_is_not_plain_is_left_to_the_scanner(sr, syntax, data):
    """Whether it is wrong or only rare."""
    assert values_of_plain(data, getattr(sr, syntax), TAGS) is None


def test_items_nested_too_deep_are_left_to_the_scanner(sr):
    """A sequence of defined length is stepped over only when it is shallow."""
    deep = b""
    for _ in range(elements.MAX_NESTING + 2):
        item = b"\xfe\xff\x00\xe0" + len(deep).to_bytes(4, "little") + deep
        deep = b"\x40\x00\x30\xa7SQ\0\0" + len(item).to_bytes(4, "little") + item
    data = sr.element(0x00080016, "UI", b"1.2.3") + deep
    assert values_of_plain(data, sr.EXPLICIT, TAGS) is None
