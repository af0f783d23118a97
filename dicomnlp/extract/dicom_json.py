"""A scanned data set in the DICOM JSON Model (PS3.18 F.2), and that as the Native DICOM Model in XML (PS3.19 A.1).

It is made from the same scan that reading and analysis start from, so whatever intake takes can also be shown.
"""

import base64
import math
import re
import struct
from collections.abc import Callable, Collection, Iterator
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import keyword_for_tag

from dicomnlp.extract.charset import CharacterSets, Declared, declared_in
from dicomnlp.extract.elements import DataSet, Element
from dicomnlp.extract.encodings import implicit_vr
from dicomnlp.extract.hygiene import printable

MAXIMUM_INLINE_BYTES = 1024
"""Binary values above this size are named by an address in place of being quoted."""

JsonDataSet = dict[str, dict[str, Any]]
"""Attributes by tag, eight capital hexadecimal digits, in ascending order."""

_ONE_TEXT = frozenset({"LT", "ST", "UT", "UR"})
"""A backslash is part of the text."""
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_WIDTHS = {"OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2}
"""Of the numbers in a binary value, whose bytes are little endian outside of DICOM (PS3.18 8.7.3.5)."""
_NUMBERS = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}
_INTEGER = re.compile(r"[+-]?\d{1,18}\Z")
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?\Z")
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_NAME_PARTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class JsonWriter:
    """Writes data sets of one object.

    Parameters
    ----------
    character_sets
        Of the object.
    big_endian
        The byte order of its numbers.
    address_of
        Gives the address of a binary value from its path, such as "00420011" or "0040A730.2.00420011" (items are
        counted from 1); without it such values are left out.
    """

    def __init__(
        self,
        character_sets: CharacterSets,
        *,
        big_endian: bool = False,
        address_of: Callable[[str], str] | None = None,
    ) -> None:
        self._character_sets = character_sets
        self._big_endian = big_endian
        self._address_of = address_of

    def write(self, elements: DataSet, only: Collection[int] | None = None) -> JsonDataSet:
        """The attributes of a data set but for group lengths; with `only`, those of them that are there."""
        return self._write(elements, self._character_sets.declared, "", only)

    def _write(self, elements: DataSet, declared: Declared, path: str, only: Collection[int] | None) -> JsonDataSet:
        own = declared_in(elements)
        declared = declared if own is None else own
        tags = sorted(tag for tag in elements if tag & 0xFFFF and (only is None or tag in only))
        return {f"{tag:08X}": self._attribute(tag, elements[tag], declared, f"{path}{tag:08X}") for tag in tags}

    def _attribute(self, tag: int, element: Element, declared: Declared, path: str) -> dict[str, Any]:
        vr = element.vr
        if element.items is not None:
            items = [
                self._write(item, declared, f"{path}.{number}.", None) for number, item in enumerate(element.items, 1)
            ]
            return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        if vr == "UN":
            vr = implicit_vr(tag) if not tag & 0x10000 else vr
        if not element.value or vr == "SQ":
            return {"vr": vr}
        if vr in _BINARY:
            return self._binary(vr, element.value, path)
        values = self._values(vr, element.value, declared)
        return {"vr": vr, "Value": values} if any(value is not None for value in values) else {"vr": vr}

    def _binary(self, vr: str, value: bytes, path: str) -> dict[str, Any]:
        if len(value) <= MAXIMUM_INLINE_BYTES:
            return {"vr": vr, "InlineBinary": base64.b64encode(self.little_endian(vr, value)).decode()}
        return {"vr": vr, "BulkDataURI": self._address_of(path)} if self._address_of else {"vr": vr}

    def little_endian(self, vr: str, value: bytes) -> bytes:
        """A binary value with its numbers in little endian, whatever the object's byte order."""
        width = _WIDTHS.get(vr, 1)
        if not self._big_endian or width == 1:
            return value
        return b"".join(value[n : n + width][::-1] for n in range(0, len(value), width))

    def _values(self, vr: str, value: bytes, declared: Declared) -> list[Any]:
        if vr in _NUMBERS:
            width = struct.calcsize(_NUMBERS[vr])
            count = len(value) // width
            numbers = struct.unpack(f"{'>' if self._big_endian else '<'}{count}{_NUMBERS[vr]}", value[: count * width])
            # what JSON has no number for
            return [number if math.isfinite(number) else None for number in numbers]
        if vr == "AT":
            order = ">HH" if self._big_endian else "<HH"
            return ["{:04X}{:04X}".format(*pair) for pair in struct.iter_unpack(order, value[: len(value) // 4 * 4])]
        text = self._character_sets.decode(value, declared)
        if vr in _ONE_TEXT:
            return [printable(text).rstrip() or None]
        return [_one(vr, printable(part)) for part in text.split("\\")]


def _one(vr: str, text: str) -> Any:
    text = text.strip()
    if not text:
        return None
    if vr == "PN":
        groups = dict(zip(_NAME_GROUPS, (group.strip() for group in text.split("=")), strict=False))
        return {name: group for name, group in groups.items() if group} or None
    if vr == "IS" and _INTEGER.match(text):
        return int(text)
    if vr == "DS" and _DECIMAL.match(text) and math.isfinite(float(text)):
        return float(text)
    return text


def to_xml(data_set: JsonDataSet) -> str:
    """A data set in the Native DICOM Model, a whole XML document."""
    return '<?xml version="1.0" encoding="UTF-8"?>' + "".join(
        [
            '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">',
            *_xml_attributes(data_set),
            "</NativeDicomModel>",
        ]
    )


def _xml_attributes(data_set: JsonDataSet) -> Iterator[str]:
    for tag, attribute in data_set.items():
        keyword = keyword_for_tag(int(tag, 16))
        named = f" keyword={quoteattr(keyword)}" if keyword else ""
        yield f'<DicomAttribute tag="{tag}" vr="{attribute["vr"]}"{named}>'
        if "InlineBinary" in attribute:
            yield f"<InlineBinary>{attribute['InlineBinary']}</InlineBinary>"
        if "BulkDataURI" in attribute:
            yield f"<BulkData uri={quoteattr(attribute['BulkDataURI'])}/>"
        for number, value in enumerate(attribute.get("Value", ()), 1):
            yield from _xml_value(attribute["vr"], number, value)
        yield "</DicomAttribute>"


def _xml_value(vr: str, number: int, value: Any) -> Iterator[str]:
    if vr == "SQ":
        yield f'<Item number="{number}">'
        yield from _xml_attributes(value)
        yield "</Item>"
    elif vr == "PN":
        yield f'<PersonName number="{number}">'
        for group, text in (value or {}).items():
            parts = zip(_NAME_PARTS, text.split("^"), strict=False)
            written = "".join(f"<{name}>{_xml_text(part)}</{name}>" for name, part in parts if part)
            yield f"<{group}>{written}</{group}>"
        yield "</PersonName>"
    else:
        yield f'<Value number="{number}">{"" if value is None else _xml_text(str(value))}</Value>'


def _xml_text(text: str) -> str:
    return escape(_NOT_XML.sub("�", text))
