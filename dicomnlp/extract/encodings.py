"""How data elements are written (PS3.5 section 7): transfer syntaxes, value representations, byte order."""

import struct
from collections.abc import Callable
from typing import NamedTuple

from pydicom.datadict import dictionary_VR

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"


UNDEFINED_LENGTH = 0xFFFFFFFF

_LONG = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"
_SHORT = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US"
Unpack = Callable[[bytes, int], tuple[int, ...]]
VRS: dict[bytes, tuple[str, bool]] = {vr.encode(): (vr, True) for vr in _LONG.split()} | {
    vr.encode(): (vr, False) for vr in _SHORT.split()
}
"""Encoded VR -> (VR, whether two reserved bytes and a 32-bit length follow); PS3.5 table 7.1-1."""


class Encoding(NamedTuple):
    """How elements are written: with their VR or without, and in which byte order."""

    explicit: bool
    big_endian: bool = False


IMPLICIT_LITTLE = Encoding(explicit=False)
EXPLICIT_LITTLE = Encoding(explicit=True)
EXPLICIT_BIG = Encoding(explicit=True, big_endian=True)


_vr_of_tag: dict[int, str] = {}


def implicit_vr(tag: int) -> str:
    """The VR that the data dictionary (PS3.6) gives `tag`; "UN" for private and unknown ones, "OW" where it varies."""
    vr = _vr_of_tag.get(tag)
    if vr is None:
        if tag & 0xFFFF == 0:
            vr = "UL"
        elif tag & 0x10000:
            # a private creator names the block; every other private element is unknown here
            vr = "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
        else:
            try:
                vr = dictionary_VR(tag)
            except KeyError:
                vr = "UN"
            vr = vr if len(vr) == 2 else "OW"
        if len(_vr_of_tag) < 20_000:
            _vr_of_tag[tag] = vr
    return vr


def encoding_of_first_element(data: bytes) -> Encoding | None:
    """How a data set seems to be encoded, judged by its first element alone; None when it is none."""
    if len(data) < 8:
        return None
    for big_endian in (False, True):
        group, number = struct.unpack_from(">HH" if big_endian else "<HH", data)
        # the SOP Class UID is (0008,0016), so nothing that identifies itself starts far above it
        if not (0x0002 <= group <= 0x0020 and group % 2 == 0):
            continue
        if data[4:6] in VRS:
            return Encoding(explicit=True, big_endian=big_endian)
        length = struct.unpack_from("<I", data, 4)[0]
        vr = implicit_vr(group << 16 | number)
        if not big_endian and vr != "UN" and (length <= len(data) - 8 or (vr == "SQ" and length == UNDEFINED_LENGTH)):
            return IMPLICIT_LITTLE
    return None


_LITTLE = (struct.Struct("<HH").unpack_from, struct.Struct("<H").unpack_from, struct.Struct("<I").unpack_from)
_BIG = (struct.Struct(">HH").unpack_from, struct.Struct(">H").unpack_from, struct.Struct(">I").unpack_from)


def unpackers(encoding: Encoding) -> tuple[Unpack, Unpack, Unpack]:
    """What reads a tag, a 16-bit and a 32-bit length in this byte order."""
    return _BIG if encoding.big_endian else _LITTLE


def vr_to_come(data: bytes, position: int) -> tuple[str, bool] | None:
    """A VR that isn't known yet: two capitals, and by PS3.5 6.2 the long form, whose reserved bytes are zero."""
    vr = data[position + 4 : position + 6]
    return ("UN", True) if vr.isalpha() and vr.isupper() and data[position + 6 : position + 8] == b"\0\0" else None


def encoding_behind_unknown(data: bytes, start: int, stop: int) -> Encoding:
    """Implicit little endian, unless the first element of the first item shows a VR: some writers keep it."""
    if stop - start >= 16 and data[start : start + 4] == b"\xfe\xff\x00\xe0" and data[start + 12 : start + 14] in VRS:
        return EXPLICIT_LITTLE
    return IMPLICIT_LITTLE
