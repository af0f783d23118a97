"""The few elements that identify an object, by a quick walk over the top level of a plainly written data set.

Most objects are written plainly: little endian, tags in rising order, sequences of defined length. Anything else is
left to `elements.scan`, which knows all of it and says what is wrong.
"""

import struct
from collections.abc import Container, Mapping
from typing import Final

from dicomnlp.extract.elements import MAX_ELEMENTS, may_nest_too_deep
from dicomnlp.extract.encodings import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    UNDEFINED_LENGTH,
    VRS,
    encoding_of_first_element,
)

_NOT_PLAIN: Final = frozenset({DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN})
_EXPLICIT_HEAD: Final = struct.Struct("<HH2sH").unpack_from
_IMPLICIT_HEAD: Final = struct.Struct("<HHI").unpack_from
_LENGTH: Final = struct.Struct("<I").unpack_from
_HAS_LONG_LENGTH: Final = {vr: is_long for vr, (_, is_long) in VRS.items()}
_CONTENT_SEQUENCE: Final = 0x0040A730
_ITEM_GROUP: Final = b"\xfe\xff"
_LAST_BEFORE: Final = 0x0000FFFF
"""Command elements, of group 0000, have no place in a data set."""
_FIRST_BEHIND: Final = 0xFFFE0000
"""Delimiters, and what is no tag at all."""


def values_of_plain(data: bytes, transfer_syntax_uid: str, tags: Container[int]) -> Mapping[int, bytes] | None:
    """Values of those elements of the top level that are wanted, or None where more has to be known to read it.

    Parameters
    ----------
    data
        The encoded data set.
    transfer_syntax_uid
        What it is said to be encoded in.
    tags
        The wanted ones: no sequences.

    Returns
    -------
    Mapping[int, bytes] | None
        By tag. When it isn't None the data set is whole, and `elements.scan` would find the same.
    """
    if transfer_syntax_uid in _NOT_PLAIN or len(data) > 8 * MAX_ELEMENTS:
        return None
    encoding = encoding_of_first_element(data)
    if encoding is None or encoding.big_endian or may_nest_too_deep(data, big_endian=False):
        return None
    return _explicit(data, tags) if encoding.explicit else _implicit(data, tags)


def _explicit(data: bytes, tags: Container[int]) -> Mapping[int, bytes] | None:
    found: dict[int, bytes] = {}
    size, position, last_tag = len(data), 0, _LAST_BEFORE
    while size - position >= 8:
        group, number, vr, length = _EXPLICIT_HEAD(data, position)
        tag = group << 16 | number
        is_long = _HAS_LONG_LENGTH.get(vr)
        if is_long is None or not last_tag < tag < _FIRST_BEHIND:
            return None
        position += 8
        if is_long:
            if size - position < 4 or tag in tags:
                return None
            (length,) = _LENGTH(data, position)
            if length == UNDEFINED_LENGTH:
                return None
            position += 4
        elif tag in tags:
            found[tag] = data[position : position + length]
        position += length
        last_tag = tag
    return found if position == size else None


def _implicit(data: bytes, tags: Container[int]) -> Mapping[int, bytes] | None:
    found: dict[int, bytes] = {}
    size, position, last_tag = len(data), 0, _LAST_BEFORE
    while size - position >= 8:
        group, number, length = _IMPLICIT_HEAD(data, position)
        tag = group << 16 | number
        if length == UNDEFINED_LENGTH or not last_tag < tag < _FIRST_BEHIND:
            return None
        position += 8
        if tag in tags:
            found[tag] = data[position : position + length]
        elif tag == _CONTENT_SEQUENCE and length and data[position : position + 2] != _ITEM_GROUP:
            return None
        position += length
        last_tag = tag
    return found if position == size else None
