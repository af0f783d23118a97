"""Names of character sets: the defined terms of PS3.3 C.12.1.1.2, and what else systems write in their place."""

import re
from typing import NamedTuple


class CodeElement(NamedTuple):
    """What an escape sequence designates (PS3.3 tables C.12-3 and C.12-4)."""

    codec: str
    half: int
    """0: the left half (G0), 1: the right half (G1)."""
    width: int
    """Bytes a character."""


CODECS: dict[str, str] = {
    "6": "ascii",
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "144": "iso8859_5",
    "127": "iso8859_6",
    "126": "iso8859_7",
    "138": "iso8859_8",
    "148": "iso8859_9",
    "203": "iso8859_15",
    "166": "tis_620",
    "13": "shift_jis",
    "192": "utf_8",
    # each as the superset that writers really use: their text holds characters of the extensions
    "149": "cp949",
    "58": "gb18030",
    "87": "euc_jp",
    "159": "euc_jp",
}
"""Registration number (the tail of ISO_IR 100, ISO 2022 IR 100) -> Python codec."""

_OTHER_NAMES: dict[str, str] = {
    "GB18030": "gb18030",
    "GBK": "gb18030",
    "GB2312": "gb18030",
    "CP936": "gb18030",
    "UTF8": "utf_8",
    "BIG5": "big5",
    "SHIFTJIS": "cp932",
    "SJIS": "cp932",
    "EUCJP": "euc_jp",
    "EUCKR": "cp949",
    "KSC5601": "cp949",
    "KSX1001": "cp949",
    "ASCII": "ascii",
    "USASCII": "ascii",
}
_PREFIX = re.compile(r"^ISO(?:2022)?(?:IR)?")
_ISO8859 = re.compile(r"^(?:ISO)?8859P?(\d{1,2})$")
_LATIN = re.compile(r"^LATIN([1-9])$")
_LATIN_PARTS = {"1": "1", "2": "2", "3": "3", "4": "4", "5": "9", "9": "15"}
_WINDOWS = re.compile(r"^(?:WINDOWS|CP|WIN)(125[0-8])$")

WINDOWS_FORMS: dict[str, str] = {
    "latin_1": "cp1252",
    "iso8859_2": "cp1250",
    "iso8859_5": "cp1251",
    "iso8859_6": "cp1256",
    "iso8859_7": "cp1253",
    "iso8859_8": "cp1255",
    "iso8859_9": "cp1254",
    "euc_jp": "cp932",
    "shift_jis": "cp932",
}
"""Declared codec -> what Windows systems write under its name: letters and quotes where ISO 8859 has control codes."""

MULTI_BYTE_CODECS = frozenset({"gb18030", "cp949", "euc_jp", "big5", "cp932", "shift_jis"})

CODE_ELEMENTS: dict[bytes, CodeElement] = {
    b"\x1b(B": CodeElement("ascii", 0, 1),
    b"\x1b(J": CodeElement("jis_x_0201", 0, 1),
    b"\x1b)I": CodeElement("shift_jis", 1, 1),
    b"\x1b-A": CodeElement("latin_1", 1, 1),
    b"\x1b-B": CodeElement("iso8859_2", 1, 1),
    b"\x1b-C": CodeElement("iso8859_3", 1, 1),
    b"\x1b-D": CodeElement("iso8859_4", 1, 1),
    b"\x1b-L": CodeElement("iso8859_5", 1, 1),
    b"\x1b-G": CodeElement("iso8859_6", 1, 1),
    b"\x1b-F": CodeElement("iso8859_7", 1, 1),
    b"\x1b-H": CodeElement("iso8859_8", 1, 1),
    b"\x1b-M": CodeElement("iso8859_9", 1, 1),
    b"\x1b-b": CodeElement("iso8859_15", 1, 1),
    b"\x1b-T": CodeElement("tis_620", 1, 1),
    b"\x1b$B": CodeElement("euc_jp", 0, 2),
    b"\x1b$@": CodeElement("euc_jp", 0, 2),
    b"\x1b$(D": CodeElement("jis_x_0212", 0, 2),
    b"\x1b$)C": CodeElement("cp949", 1, 2),
    b"\x1b$)A": CodeElement("gb18030", 1, 2),
}


def codec_of(term: str) -> str | None:
    """The Python codec that a value of (0008,0005) means, however it is spelt; None when it means none.

    Case, spaces, hyphens and underscores don't count: "ISO-IR 100" and "ISO 2022 IR 100" are one set.
    """
    flat = re.sub(r"[\s_\-:.]", "", term.upper())
    if not flat:
        return "ascii"
    if flat in _OTHER_NAMES:
        return _OTHER_NAMES[flat]
    for pattern in (_ISO8859, _LATIN):
        match = pattern.match(flat)
        if match:
            part = match.group(1) if pattern is _ISO8859 else _LATIN_PARTS.get(match.group(1), "")
            return next((c for c in CODECS.values() if c in (f"iso8859_{part}", f"latin_{part}")), None)
    windows = _WINDOWS.match(flat)
    if windows:
        return f"cp{windows.group(1)}"
    tail = _PREFIX.sub("", flat)
    return CODECS.get(tail) or _OTHER_NAMES.get(tail)
