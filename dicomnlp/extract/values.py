"""Single values of content items: codes, numbers, references, read leniently from scanned elements."""

import struct
from typing import Any

from dicomnlp.extract.charset import CharacterSets, Declared, declared_in
from dicomnlp.extract.elements import DataSet
from dicomnlp.extract.hygiene import printable
from dicomnlp.model import Code

CODE_VALUE = 0x00080100
_SCHEME = 0x00080102
_MEANING = 0x00080104
_LONG_CODE_VALUE = 0x00080119
_URN_CODE_VALUE = 0x00080120
_SOP_CLASS = 0x00081150
_SOP_INSTANCE = 0x00081155

NUMBER_FORMATS = {"FL": "f", "FD": "d", "UL": "I", "US": "H", "SL": "i", "SS": "h"}


class Reader:
    """Reads values of one object, whose character sets and byte order are known."""

    def __init__(self, character_sets: CharacterSets, *, big_endian: bool) -> None:
        self.character_sets = character_sets
        self.big_endian = big_endian

    def text(self, elements: DataSet, tag: int, declared: Declared | None = None) -> str:
        """The text of an element, its own padding and control characters removed; "" when it is absent."""
        element = elements.get(tag)
        if element is None or element.items is not None or not element.value:
            return ""
        return printable(self.character_sets.decode(element.value, declared))

    def word(self, elements: DataSet, tag: int) -> str:
        """A value of a VR that needs no character set (CS, UI, DA ...), surrounding blanks removed."""
        element = elements.get(tag)
        if element is None or not element.value:
            return ""
        return printable(element.value.decode("ascii", "replace")).strip()

    def numbers(self, elements: DataSet, tag: int) -> list[float]:
        """All values of a binary number element, [] when it is absent or misshapen."""
        element = elements.get(tag)
        if element is None or element.items is not None:
            return []
        kind = NUMBER_FORMATS.get(element.vr)
        if kind is None:
            return []
        width = struct.calcsize(kind)
        count = len(element.value) // width
        order = ">" if self.big_endian else "<"
        return list(struct.unpack(f"{order}{count}{kind}", element.value[: count * width]))

    def code(self, elements: DataSet, tag: int, declared: Declared | None = None) -> Code | None:
        """The first code of a code sequence (PS3.3 8.8): short, long or URN value; None when there is none."""
        item = first_item(elements, tag)
        if item is None:
            return None
        own = declared_in(item)
        scope = declared if own is None else own
        value = next(
            (v for t in (CODE_VALUE, _LONG_CODE_VALUE, _URN_CODE_VALUE) if (v := self.text(item, t, scope).strip())), ""
        )
        scheme = self.text(item, _SCHEME, scope).strip()
        meaning = self.text(item, _MEANING, scope).strip()
        if not (value or meaning):
            return None
        return Code(value, scheme, meaning)

    def reference(self, elements: DataSet, tag: int) -> dict[str, Any] | None:
        """The first SOP instance of a reference sequence; None when there is none."""
        item = first_item(elements, tag)
        if item is None:
            return None
        return {"sop_class_uid": self.word(item, _SOP_CLASS), "sop_instance_uid": self.word(item, _SOP_INSTANCE)}


def first_item(elements: DataSet, tag: int) -> DataSet | None:
    """The first item of a sequence; None when the sequence is absent, empty or not a sequence."""
    items = items_of(elements, tag)
    return items[0] if items else None


def items_of(elements: DataSet, tag: int) -> list[DataSet]:
    """The items of a sequence, [] when it is absent or not a sequence."""
    element = elements.get(tag)
    return element.items or [] if element is not None else []
