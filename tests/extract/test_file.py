"""DICOM files: with all that belongs around a data set, with some of it, and with none."""

import struct

import pytest

from dicomnlp.errors import UnreadableObjectError
from dicomnlp.extract import extract, read_file


def meta(sr, syntax):
    """File meta information with the transfer syntax."""
    body = sr.element(0x00020002, "UI", sr.BASIC_TEXT_SR.encode()) + sr.element(0x00020003, "UI", b"1.2.3")
    body += sr.element(0x00020010, "UI", syntax.encode())
    body = sr.element(0x00020001, "OB", b"\0\1") + body
    return sr.element(0x00020000, "UL", struct.pack("<I", len(body))) + body


@pytest.mark.parametrize("syntax", ["EXPLICIT", "IMPLICIT", "BIG", "DEFLATED"])
@pytest.mark.parametrize("preamble", [b"\0" * 128 + b"DICM", b"II*\0" + b"\0" * 124 + b"DICM", b"DICM", b""])
def test_a_file_is_its_data_set_and_what_is_said_of_it(sr, small_report, syntax, preamble, tmp_path):
    """With a preamble of any content, or without one (PS3.10 7.1)."""
    uid = getattr(sr, syntax)
    data = sr.encode(small_report, uid)
    path = tmp_path / "report.dcm"
    path.write_bytes(preamble + meta(sr, uid) + data)
    assert read_file(path) == (data, uid, sr.BASIC_TEXT_SR, "1.2.3")


@pytest.mark.parametrize("syntax", ["EXPLICIT", "IMPLICIT", "BIG"])
@pytest.mark.parametrize("preamble", [b"\0" * 128 + b"DICM", b""])
def test_without_meta_information_the_first_element_tells_the_encoding(sr, small_report, syntax, preamble):
    """A bare data set, as older archives export it."""
    uid = getattr(sr, syntax)
    data = sr.encode(small_report, uid)
    found = read_file(preamble + data)
    assert found == (data, uid, "", "")
    assert "6 mm nodule" in extract(sr.stored(found.data, found.transfer_syntax_uid)).narrative.text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not_dicom"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 500, "not_dicom"),
        (b"\0" * 128 + b"DICM", "not_dicom"),
        (b"\0" * 128 + b"DICM" + b"\2\0\2\0UI\x20\0" + b"1.2", "truncated"),
    ],
)
def test_what_is_no_file_of_ours_says_so(data, reason):
    """Each with its reason."""
    with pytest.raises(UnreadableObjectError) as caught:
        read_file(data)
    assert caught.value.reason_code == reason


def test_a_file_that_ends_before_its_data_set_is_truncated(sr):
    """Meta information alone is no object."""
    with pytest.raises(UnreadableObjectError) as caught:
        read_file(b"\0" * 128 + b"DICM" + meta(sr, sr.EXPLICIT))
    assert caught.value.reason_code == "truncated"
