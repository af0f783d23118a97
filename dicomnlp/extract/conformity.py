"""Values that break the rules of their value representation (PS3.5 6.2): read all the same, and reported."""

import re

from dicomnlp.extract.elements import DataSet
from dicomnlp.extract.values import Reader
from dicomnlp.model import UID_PATTERN

_MAXIMUM_CHARACTERS = {"LO": 64, "SH": 16, "CS": 16}
_PERSON_NAME_COMPONENTS, _PERSON_NAME_GROUPS, _PERSON_NAME_CHARACTERS = 5, 3, 64
_DATE = re.compile(r"(\d{4})[-./]?(0[1-9]|1[0-2])[-./]?(0[1-9]|[12]\d|3[01])\Z")
_TIME = re.compile(r"([01]\d|2[0-3])(?::?([0-5]\d)(?::?([0-5]\d|60)(?:\.(\d{1,6}))?)?)?\Z")
_WRITTEN_DATE = re.compile(r"\d{8}\Z|\d{4}\.\d\d\.\d\d\Z")
"""The second is how ACR-NEMA wrote dates, which PS3.5 6.2 has readers take."""

_CHECKED: dict[int, str] = {
    0x00080016: "UI",
    0x00080018: "UI",
    0x00080020: "DA",
    0x00080023: "DA",
    0x00080030: "TM",
    0x00080033: "TM",
    0x00080050: "SH",
    0x00080060: "CS",
    0x00080080: "LO",
    0x00081030: "LO",
    0x0008103E: "LO",
    0x00100010: "PN",
    0x00100020: "LO",
    0x00100021: "LO",
    0x00100030: "DA",
    0x00100040: "CS",
    0x0020000D: "UI",
    0x0020000E: "UI",
}
"""What identifies or orders a report; a value anywhere else harms nobody by being too long."""


def date_of(text: str) -> str:
    """`text` as DA writes a date, YYYYMMDD, whatever stands between its parts; "" when it is none."""
    match = _DATE.match(text)
    return "".join(match.groups()) if match else ""


def time_of(text: str) -> str:
    """`text` as TM writes a time, HHMMSS.FFFFFF as far as it goes; "" when it is none."""
    match = _TIME.match(text)
    if match is None:
        return ""
    *parts, fraction = match.groups()
    return "".join(part for part in parts if part) + (f".{fraction}" if fraction else "")


def invalid_values(elements: DataSet, reader: Reader) -> list[str]:
    """A warning ``invalid_value at GGGGEEEE`` for each identifying value that its VR doesn't allow."""
    return [
        f"invalid_value at {tag:08X}"
        for tag, vr in _CHECKED.items()
        if tag in elements and not all(_is_valid(value, vr) for value in _values(elements, tag, vr, reader))
    ]


def _values(elements: DataSet, tag: int, vr: str, reader: Reader) -> list[str]:
    text = reader.word(elements, tag) if vr in {"UI", "DA", "TM", "CS"} else reader.text(elements, tag)
    return [value.strip() for value in text.split("\\") if value.strip()]


def _is_valid(value: str, vr: str) -> bool:
    if vr == "UI":
        return UID_PATTERN.match(value) is not None
    if vr == "DA":
        return _WRITTEN_DATE.match(value) is not None and bool(date_of(value))
    if vr == "TM":
        return bool(time_of(value))
    if vr == "PN":
        groups = value.split("=")
        return len(groups) <= _PERSON_NAME_GROUPS and all(
            len(group) <= _PERSON_NAME_CHARACTERS and group.count("^") < _PERSON_NAME_COMPONENTS for group in groups
        )
    return len(value) <= _MAXIMUM_CHARACTERS[vr]
