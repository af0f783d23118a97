"""The scanner: what it splits right, and what it refuses to take for a data set."""

import contextlib
import os
import random
import struct
import time
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicomnlp.errors import ObjectError, ObjectTooLargeError, UnreadableObjectError
from dicomnlp.extract import elements, extract, read_identity


def test_every_value_that_pydicom_wrote_is_found_as_written(sr, small_report):
    """Tags, VRs and values agree with the data set that was encoded, at every level."""
    for syntax in (sr.EXPLICIT, sr.IMPLICIT):
        scanned = elements.scan(sr.encode(small_report, syntax), syntax)
        pairs = [(scanned.elements, small_report)]
        count = 0
        while pairs:
            found, written = pairs.pop()
            assert list(found) == [int(e.tag) for e in written]
            for entry in written:
                count += 1
                got = found[int(entry.tag)]
                assert got.vr == entry.VR
                if entry.VR == "SQ":
                    assert len(got.items) == len(entry.value)
                    pairs.extend(zip(got.items, entry.value, strict=True))
                else:
                    assert got.value.rstrip(b" \0").decode() == str(entry.value)
        assert count > 40
        assert not scanned.warnings


def test_undefined_lengths_read_as_defined_ones(sr, small_report):
    """The two ways to write sequences and items (PS3.5 7.5) give the same elements."""
    defined = elements.scan(sr.encode(small_report), sr.EXPLICIT).elements
    stack = [small_report]
    while stack:
        for entry in stack.pop():
            if entry.VR == "SQ":
                entry.is_undefined_length = True
                for item in entry.value:
                    item.is_undefined_length_sequence_item = True
                    stack.append(item)
    data = sr.encode(small_report)
    assert b"\xfe\xff\xdd\xe0" in data
    assert elements.scan(data, sr.EXPLICIT).elements == defined
    assert read_identity(data, sr.EXPLICIT).study_instance_uid == sr.STUDY


@pytest.mark.parametrize("undefined", [False, True])
def test_a_sequence_behind_unknown_vr_is_implicit_little_endian(sr, small_report, undefined):
    """PS3.5 6.2.2: a content sequence that a gateway wrote as UN is still read."""
    content = small_report.ContentSequence
    del small_report.ContentSequence
    inner = Dataset()
    inner.ContentSequence = content
    value = sr.encode(inner, sr.IMPLICIT)[8:]
    head = sr.encode(small_report) + struct.pack("<HH2sH", 0x0040, 0xA730, b"UN", 0)
    if undefined:
        data = head + b"\xff\xff\xff\xff" + value + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    else:
        data = head + struct.pack("<I", len(value)) + value
    assert "6 mm nodule" in extract(sr.stored(data)).narrative.text


@pytest.mark.parametrize("syntax", ["EXPLICIT", "IMPLICIT", "BIG", "DEFLATED"])
def test_an_object_cut_at_any_byte_is_never_taken_for_a_whole_one(sr, small_report, syntax):
    """Every cut raises, or, where it falls between two elements, leaves a report that says what is missing."""
    uid = getattr(sr, syntax)
    data = sr.encode(small_report, uid)
    whole = extract(sr.stored(data, uid))
    assert whole.narrative.text.endswith("No evidence of pneumothorax.")
    reasons = set()
    for cut in range(len(data)):
        try:
            report = extract(sr.stored(data[:cut], uid))
        except UnreadableObjectError as error:
            reasons.add(error.reason_code)
            continue
        assert {"no_content_sequence", "no_sop_class_uid"} & set(report.warnings)
        assert report.narrative.text == ""
    assert reasons <= {"empty", "not_dicom", "truncated", "damaged", "bad_deflate"}


def test_a_cut_object_has_no_identity_either(sr, small_report):
    """The receiver's quick look refuses what ends within an element."""
    data = sr.encode(small_report)
    for cut in (1, 100, len(data) - 1, len(data) - 30):
        with pytest.raises(UnreadableObjectError):
            read_identity(data[:cut], sr.EXPLICIT)


def test_a_length_beyond_the_end_is_a_cut(sr):
    """Two gigabytes announced, three bytes sent."""
    data = sr.raw_report(b"x", None) + struct.pack("<HH2sHI", 0x0042, 0x0011, b"OB", 0, 0x7FFFFFFF) + b"abc"
    for read in (lambda: read_identity(data, sr.EXPLICIT), lambda: extract(sr.stored(data))):
        with pytest.raises(UnreadableObjectError) as caught:
            read()
        assert caught.value.reason_code == "truncated"


@pytest.mark.parametrize("syntax", ["EXPLICIT", "IMPLICIT", "BIG"])
def test_random_bytes_are_not_an_object(sr, syntax):
    """Five kilobytes of noise are refused, by whichever check sees it first."""
    noise = random.Random(1)
    for _ in range(300):
        with pytest.raises(ObjectError):
            read_identity(noise.randbytes(5000), getattr(sr, syntax))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\0" * 5000, "not_dicom"),
        (b"GET / HTTP/1.1\r\n\r\n", "not_dicom"),
        (b"%PDF-1.4 something", "not_dicom"),
        (b"\x08\x00", "not_dicom"),  # less than one header
    ],
)
def test_what_is_no_data_set_says_so(sr, data, reason):
    """Other kinds of data end with a reason of their own."""
    with pytest.raises(UnreadableObjectError) as caught:
        extract(sr.stored(data))
    assert caught.value.reason_code == reason


@pytest.mark.parametrize(
    "junk", [b"\0" * 7, b"\0" * 512, b"\xff" * 40, b"junk after the object, from a broken disk buffer"]
)
@pytest.mark.parametrize("syntax", ["EXPLICIT", "IMPLICIT"])
def test_junk_behind_a_whole_object_is_tolerated_and_reported(sr, small_report, junk, syntax):
    """What follows the content tree can't be narrative: it is passed over with a warning."""
    uid = getattr(sr, syntax)
    report = extract(sr.stored(sr.encode(small_report, uid) + junk, uid))
    assert "trailing_bytes" in report.warnings
    assert "No evidence of pneumothorax." in report.narrative.text
    assert read_identity(sr.encode(small_report, uid) + junk, uid).study_instance_uid == sr.STUDY


def test_junk_before_the_content_is_damage(sr, small_report):
    """Were it passed over, the narrative behind it would be lost without a word."""
    content = small_report.ContentSequence
    del small_report.ContentSequence
    rest = Dataset()
    rest.ContentSequence = content
    with pytest.raises(UnreadableObjectError):
        extract(sr.stored(sr.encode(small_report) + b"\xff" * 16 + sr.encode(rest)))


def nested(depth, *, undefined):
    """A content tree of `depth` containers, by hand, since pydicom can't write deep ones."""
    value = b""
    for _ in range(depth):
        if undefined:
            length = 0xFFFFFFFF
            body = value + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
            value = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, length) + struct.pack(
                "<HHI", 0xFFFE, 0xE000, length
            )
            value += body + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        else:
            value = struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value
            value = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, len(value)) + value
    return value


@pytest.mark.parametrize(("depth", "undefined"), [(65, False), (65, True), (1000, False), (1000, True), (5000, True)])
def test_deep_nesting_is_refused(sr, depth, undefined):
    """Sixty-four levels are allowed; a thousand or more end at once, without recursion."""
    head = sr.element(0x00080016, "UI", sr.BASIC_TEXT_SR.encode()) + sr.element(0x0020000D, "UI", sr.STUDY.encode())
    assert elements.scan(head + nested(64, undefined=undefined), sr.EXPLICIT).elements
    with pytest.raises(UnreadableObjectError) as caught:
        extract(sr.stored(head + nested(depth, undefined=undefined)))
    assert caught.value.reason_code == "nesting_too_deep"


def deflate(data):
    """Raw deflate, as PS3.5 A.5 wants it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def test_a_deflate_bomb_ends_at_the_cap(sr):
    """100 MB of blanks in 100 kB: neither the size cap nor the ratio lets it through, and not for long."""
    head = sr.element(0x00080016, "UI", sr.BASIC_TEXT_SR.encode())
    bomb = deflate(head + struct.pack("<HH2sHI", 0x0040, 0xA160, b"UT", 0, 100_000_000) + b" " * 100_000_000)
    start = time.perf_counter()
    for read in (lambda: read_identity(bomb, sr.DEFLATED), lambda: extract(sr.stored(bomb, sr.DEFLATED))):
        with pytest.raises(ObjectTooLargeError) as caught:
            read()
        assert caught.value.reason_code == "deflate_bomb"
    assert time.perf_counter() - start < 5


def test_the_inflated_size_is_limited_where_the_ratio_is_harmless(sr):
    """Bytes that don't compress come through only up to the limit given."""
    data = sr.element(0x00080016, "UI", sr.BASIC_TEXT_SR.encode()) + sr.element(0x00420011, "OB", os.urandom(300_000))
    assert elements.scan(deflate(data), sr.DEFLATED).elements
    with pytest.raises(ObjectTooLargeError):
        elements.scan(deflate(data), sr.DEFLATED, max_inflated=100_000)


def test_what_was_sent_in_another_transfer_syntax_is_read_with_a_warning(sr, small_report):
    """Implicit sent as explicit and the reverse: the first element tells."""
    for sent, said in ((sr.IMPLICIT, sr.EXPLICIT), (sr.EXPLICIT, sr.IMPLICIT), (sr.BIG, sr.EXPLICIT)):
        report = extract(sr.stored(sr.encode(small_report, sent), said))
        assert "transfer_syntax_mismatch" in report.warnings
        assert "6 mm nodule" in report.narrative.text


def test_a_vr_of_a_later_edition_is_stepped_over(sr, small_report):
    """PS3.5 6.2: unknown VRs have the long form; anything else in its place is damage."""
    data = sr.encode(small_report)
    at = data.index(struct.pack("<HH", 0x0010, 0x0020))
    later = struct.pack("<HH2sHI", 0x0009, 0x1001, b"ZZ", 0, 4) + b"abcd"
    assert "6 mm nodule" in extract(sr.stored(data[:at] + later + data[at:])).narrative.text
    with pytest.raises(UnreadableObjectError):
        extract(sr.stored(data[:at] + later.replace(b"ZZ", b"\x01\x02") + data[at:]))


def test_pixel_data_is_stepped_over(sr, small_report):
    """Native and encapsulated pixel data behind the header leave the identity readable and aren't kept."""
    native = sr.element(0x7FE00010, "OW", b"\1" * 2_000_000)
    fragments = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    for size in (0, 1000, 2000):
        fragments += struct.pack("<HHI", 0xFFFE, 0xE000, size) + b"\2" * size
    fragments += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    for pixels in (native, fragments):
        scanned = elements.scan(sr.encode(small_report) + pixels, sr.EXPLICIT)
        assert sum(len(e.value) for e in scanned.elements.values()) < 10_000
        with pytest.raises(UnreadableObjectError):
            elements.scan((sr.encode(small_report) + pixels)[:-20], sr.EXPLICIT)


def test_an_element_twice_counts_once(sr):
    """The first one stands, and the second is reported."""
    data = sr.element(0x00080016, "UI", b"1.2.3") + sr.element(0x00080060, "CS", b"SR") * 2
    scanned = elements.scan(data, sr.EXPLICIT)
    assert scanned.warnings == ["repeated_element at 00080060"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damage=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
    syntax=st.sampled_from(["EXPLICIT", "IMPLICIT", "BIG", "DEFLATED"]),
)
def test_damage_ends_in_a_report_or_an_object_error(sr, small_report, damage, syntax):
    """Whatever bytes are changed, nothing but ObjectError is ever raised."""
    uid = getattr(sr, syntax)
    data = bytearray(sr.encode(small_report, uid))
    for place, byte in damage:
        data[place % len(data)] = byte
    for read in (lambda: extract(sr.stored(bytes(data), uid)), lambda: read_identity(bytes(data), uid)):
        with contextlib.suppress(ObjectError):
            read()


def test_messages_hold_nothing_of_the_object(sr):
    """An error's words reach logs and senders: text of the object must not."""
    data = sr.raw_report(b"CANARY7781", None)
    for cut in range(len(data) - 40, len(data)):
        with pytest.raises(ObjectError) as caught:
            extract(sr.stored(data[:cut]))
        assert "CANARY" not in str(caught.value)


def test_cost_is_linear_in_items(sr):
    """Ten times the items cost about ten times the time, never a hundred times."""

    def seconds(count):
        report = sr.document([])
        report.ContentSequence = Sequence([sr.item("TEXT", sr.FINDING, "No effusion.") for _ in range(count)])
        data = sr.encode(report)
        start = time.process_time()
        extract(sr.stored(data))
        return time.process_time() - start

    small, large = (min(seconds(count) for _ in range(3)) for count in (200, 2000))
    assert large < 40 * max(small, 0.005)
