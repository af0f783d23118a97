"""Originals as they leave: a DICOM file (PS3.10 7.1) of the bytes held, or of the same data set in explicit VR."""

import re

from dicomnlp.errors import UnreadableObjectError
from dicomnlp.extract.elements import MAX_INFLATED, DataSet, Element, inflate, scan
from dicomnlp.extract.encodings import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    VRS,
)

_LONG_VRS = frozenset(vr for vr, is_long in VRS.values() if is_long)
_WIDTHS = {"AT": 2, "FD": 8, "FL": 4, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2}
_WIDTHS |= {"SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8}
"""VR -> bytes of each of its numbers."""
_TEXT = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"})
"""Padded by a blank, all others by zero (PS3.5 6.2)."""
_LONGEST_SHORT = 0xFFFE
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_PATH = re.compile(r"[0-9A-F]{8}(?:\.[1-9][0-9]{0,6}\.[0-9A-F]{8}){0,63}\Z")


def to_explicit(data: bytes, transfer_syntax_uid: str, *, max_inflated: int = MAX_INFLATED) -> bytes:
    """A data set in Explicit VR Little Endian, the transfer syntax that every client of DICOMweb takes.

    Values stay as they are; elements come in order, sequences and items get defined lengths, and what is longer than
    its VR can say becomes UN (PS3.5 6.2.2).

    Parameters
    ----------
    data
        The encoded data set.
    transfer_syntax_uid
        What it is in: an uncompressed transfer syntax.
    max_inflated
        Bytes that a deflated data set may have once inflated.

    Raises
    ------
    ObjectError
        As `elements.scan` raises it.
    """
    if transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN:
        return data
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        return inflate(data, max_inflated=max_inflated)
    found = scan(data, transfer_syntax_uid, keep_bulk=True)
    return _written(found.elements, big_endian=found.big_endian)


def _written(elements: DataSet, *, big_endian: bool) -> bytes:
    parts = []
    for tag in sorted(elements):
        if not tag & 0xFFFF:  # lengths of groups, which would be wrong now
            continue
        parts.append(_element(tag, elements[tag], big_endian=big_endian))
    return b"".join(parts)


def _element(tag: int, element: Element, *, big_endian: bool) -> bytes:
    vr, value = element.vr, element.value
    if element.items is not None:
        vr = "SQ"
        items = [_written(item, big_endian=big_endian) for item in element.items]
        value = b"".join(b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item for item in items)
    elif big_endian and (width := _WIDTHS.get(vr)):
        value = b"".join(value[n : n + width][::-1] for n in range(0, len(value), width))
    if len(value) % 2:
        value += b" " if vr in _TEXT else b"\0"
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
    if vr not in _LONG_VRS and len(value) > _LONGEST_SHORT:
        vr = "UN"
    if vr in _LONG_VRS:
        return head + vr.encode() + b"\0\0" + len(value).to_bytes(4, "little") + value
    return head + vr.encode() + len(value).to_bytes(2, "little") + value


def to_file(
    data: bytes,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    implementation_class_uid: str,
    implementation_version_name: str,
) -> bytes:
    """A data set as a DICOM file: preamble, file meta information (PS3.10 7.1), and `data` as it is."""
    meta = b"".join(
        _element(tag, Element(vr, value), big_endian=False)
        for tag, vr, value in (
            (0x00020001, "OB", b"\0\1"),
            (0x00020002, "UI", sop_class_uid.encode()),
            (0x00020003, "UI", sop_instance_uid.encode()),
            (0x00020010, "UI", transfer_syntax_uid.encode()),
            (0x00020012, "UI", implementation_class_uid.encode()),
            (0x00020013, "SH", implementation_version_name.encode()),
        )
    )
    length = _element(0x00020000, Element("UL", len(meta).to_bytes(4, "little")), big_endian=False)
    return bytes(128) + b"DICM" + length + meta + data


def bulk_value(elements: DataSet, path: str) -> Element:
    """The binary value that `dicom_json` names by `path`, such as "0040A730.2.00420011".

    Raises
    ------
    UnreadableObjectError
        There is no binary value at this path.
    """
    if _PATH.match(path) is None:
        raise _not_there()
    found, element = elements, None
    for tag, number in zip(path.split(".")[::2], [*path.split(".")[1::2], "0"], strict=True):
        element = found.get(int(tag, 16))
        items = element.items or [] if element is not None else []
        if number == "0":
            break
        if int(number) > len(items):
            raise _not_there()
        found = items[int(number) - 1]
    if element is None or element.items is not None or element.vr not in _BINARY:
        raise _not_there()
    return element


def _not_there() -> UnreadableObjectError:
    return UnreadableObjectError("The object has no binary value there.", reason_code="not_there")
