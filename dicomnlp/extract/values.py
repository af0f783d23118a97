"""Single values of content items: codes, numbers, references, read leniently from scanned elements."""

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from dicomnlp.extract.charset import CharacterSets, Declared, declared_in
from dicomnlp.extract.elements import DataSet
from dicomnlp.extract.hygiene import printable
from dicomnlp.model import Code

_CODE_TAGS = (0x00080100, 0x00080119, 0x00080120, 0x00080102, 0x00080104)
"""Code Value, Long Code Value, URN Code Value, Coding Scheme Designator, Code Meaning."""
_SOP_CLASS = 0x00081150
_SOP_INSTANCE = 0x00081155

_MOST_REMEMBERED = 20_000
_LONGEST_REMEMBERED = 1_024
_NUMBER_FORMATS = {"FL": "f", "FD": "d", "UL": "I", "US": "H", "SL": "i", "SS": "h"}


class Reader:
    """Reads values of one object, whose character sets and byte order are known."""

    def __init__(self, character_sets: CharacterSets, *, big_endian: bool) -> None:
        self.character_sets = character_sets
        self.big_endian = big_endian
        self._codes: dict[tuple[tuple[bytes, ...], Declared | None], Code | None] = {}
        self._code_items: dict[tuple[int, Declared | None], tuple[DataSet, Code | None]] = {}
        self._words: dict[bytes, str] = {}

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
        word = self._words.get(element.value)
        if word is None:
            word = printable(element.value.decode("ascii", "replace")).strip()
            if len(self._words) < _MOST_REMEMBERED:
                self._words[element.value] = word
        return word

    def numbers(self, elements: DataSet, tag: int) -> list[float]:
        """All values of a binary number element, [] when it is absent or misshapen."""
        element = elements.get(tag)
        if element is None or element.items is not None:
            return []
        kind = _NUMBER_FORMATS.get(element.vr)
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
        # equal codes are one object, which stays alive beside its answer so that its identity stays its own
        seen = self._code_items.get((id(item), declared))
        if seen is not None:
            return seen[1]
        own = declared_in(item)
        scope = declared if own is None else own
        raw = tuple(item[t].value if t in item else b"" for t in _CODE_TAGS)
        key = (raw, scope)
        # a report repeats a few codes all the time
        if key not in self._codes:
            self._codes[key] = self._decode_code(raw, scope)
        if len(self._code_items) < _MOST_REMEMBERED:
            self._code_items[(id(item), declared)] = (item, self._codes[key])
        return self._codes[key]

    def _decode_code(self, raw: tuple[bytes, ...], scope: Declared | None) -> Code | None:
        plain = b"".join(raw)
        if len(plain) <= _LONGEST_REMEMBERED and plain.isascii() and b"\x1b" not in plain:
            return _ascii_code(raw)
        return _code(printable(self.character_sets.decode(v, scope)).strip() for v in raw)

    def reference(self, elements: DataSet, tag: int) -> dict[str, Any] | None:
        """The first SOP instance of a reference sequence; None when there is none."""
        item = first_item(elements, tag)
        if item is None:
            return None
        return {"sop_class_uid": self.word(item, _SOP_CLASS), "sop_instance_uid": self.word(item, _SOP_INSTANCE)}


def _code(texts: Iterable[str]) -> Code | None:
    short, long, urn, scheme, meaning = texts
    value = short or long or urn
    return Code(value, scheme, meaning) if value or meaning else None


@lru_cache(maxsize=4096)
def _ascii_code(raw: tuple[bytes, ...]) -> Code | None:
    """A code that is the same in all character sets; remembered, as reports of one sender share most of theirs."""
    return _code(printable(v.rstrip(b" \0").decode("ascii")).strip() for v in raw)


def first_item(elements: DataSet, tag: int) -> DataSet | None:
    """The first item of a sequence; None when the sequence is absent, empty or not a sequence."""
    items = items_of(elements, tag)
    return items[0] if items else None


def items_of(elements: DataSet, tag: int) -> list[DataSet]:
    """The items of a sequence, [] when it is absent or not a sequence."""
    element = elements.get(tag)
    return element.items or [] if element is not None else []
