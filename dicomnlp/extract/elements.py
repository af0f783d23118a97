"""A lenient, iterative scanner of encoded data sets (PS3.5 section 7), over raw bytes.

It splits a data set into elements and decodes none of their values: which character set the text is in is decided
later and over the whole object. It never recurses, checks every length against what is there, and says so when an
object is cut short; docs/decisions/0003-own-element-scanner.md says why it exists beside pydicom.
"""

import contextlib
import re
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from dicomnlp.errors import ObjectError, ObjectTooLargeError, UnreadableObjectError
from dicomnlp.extract.encodings import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_LITTLE,
    IMPLICIT_VR_LITTLE_ENDIAN,
    UNDEFINED_LENGTH,
    VRS,
    Encoding,
    Unpack,
    encoding_behind_unknown,
    encoding_of_first_element,
    implicit_vr,
    unpackers,
    vr_to_come,
)

MAX_INFLATED = 64 * 1024 * 1024
"""Bytes that a deflated data set may have once inflated, unless the caller allows more."""
MAX_INFLATE_RATIO = 200
"""Inflated to deflated size; judged from 1 MiB on, because a short repetitive report may well be above it."""
MAX_NESTING = 64
"""Sequences within sequences; the deepest template of PS3.16 has fewer than 20."""
MAX_ELEMENTS = 8_000_000

_ITEM = 0xFFFEE000
_ITEM_DELIMITATION = 0xFFFEE00D
_SEQUENCE_DELIMITATION = 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010
_ENCAPSULATED_DOCUMENT = 0x00420011
_CONTENT_SEQUENCE = 0x0040A730
_STUDY_INSTANCE_UID = 0x0020000D
CODE_SEQUENCES = frozenset({0x0040A043, 0x0040A168, 0x004008EA})
"""Concept names, concept codes and units: a report repeats a few of them all the time, so equal ones are read once."""
_LONGEST_CODE = 1024
_MOST_SHARED = 20_000
_MOST_REMEMBERED = 4_096
"""Codes kept from one object to the next, each of at most `_LONGEST_CODE` bytes."""
_BULK = 1024 * 1024
"""Values above this size that aren't text or an encapsulated document are passed over, not kept."""

_ITEM_GROUP = (b"\xfe\xff", b"\xff\xfe")
_ITEM_TAG_LITTLE = b"\xfe\xff\x00\xe0"
_ITEM_LITTLE = re.compile(re.escape(_ITEM_TAG_LITTLE))
_ITEM_IN_EITHER_ORDER = re.compile(rb"\xfe\xff\x00\xe0|\xff\xfe\xe0\x00")
"""In big endian data sets a sequence behind UN is still little endian; the simple pattern is ten times as fast."""
_BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


class Element(NamedTuple):
    """One data element: its VR, its value as encoded, and its items when it is a sequence."""

    vr: str
    value: bytes
    items: "list[DataSet] | None" = None


DataSet = dict[int, Element]
"""Elements by tag, group in the upper sixteen bits."""


@dataclass(slots=True)
class Scan:
    """A scanned data set: its elements, in which byte order their numbers stand, and what was odd about it."""

    elements: DataSet
    big_endian: bool = False
    warnings: list[str] = field(default_factory=list)


def inflate(data: bytes, *, max_inflated: int = MAX_INFLATED) -> bytes:
    """The data set inside a deflated one (PS3.5 A.5, RFC 1951), inflated in steps and never beyond the limits.

    Raises
    ------
    ObjectTooLargeError
        Above `max_inflated` bytes, or above 200 times its deflated size (reason code ``deflate_bomb``).
    UnreadableObjectError
        The stream ends early (``truncated``) or isn't a deflate stream (``bad_deflate``).
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    size = 0
    rest = data
    while not inflater.eof:
        try:
            part = inflater.decompress(rest, 1024 * 1024)
        except zlib.error:
            raise UnreadableObjectError(
                "The deflated data set can't be inflated; the sender should send it again.", reason_code="bad_deflate"
            ) from None
        size += len(part)
        if size > max_inflated or (size > 1024 * 1024 and size > MAX_INFLATE_RATIO * len(data)):
            raise ObjectTooLargeError(
                "The deflated data set grows beyond what is allowed when it is inflated.", reason_code="deflate_bomb"
            )
        parts.append(part)
        rest = inflater.unconsumed_tail
        if not part and not rest and not inflater.eof:
            raise _truncated("the deflated stream")
    return b"".join(parts)


def _truncated(place: str) -> UnreadableObjectError:
    return UnreadableObjectError(
        f"The object is cut short in {place}; the sender should send it again.", reason_code="truncated"
    )


def _damaged(place: str) -> UnreadableObjectError:
    return UnreadableObjectError(
        f"The object's structure is damaged at {place}; the sender should send it again.", reason_code="damaged"
    )


def _name(tag: int) -> str:
    return f"{tag:08X}"


def scan(
    data: bytes,
    transfer_syntax_uid: str,
    *,
    nested: bool = True,
    max_inflated: int = MAX_INFLATED,
    keep_bulk: bool = False,
) -> Scan:
    """Split an encoded data set into its elements.

    Parameters
    ----------
    data
        The data set as sent, without preamble and file meta information.
    transfer_syntax_uid
        What it is said to be encoded in. Encapsulated (compressed pixel data) syntaxes are explicit little endian.
        When the first element plainly says otherwise, what the bytes say is followed, with a warning.
    nested
        False: only the top level is kept; sequences of defined length are stepped over unless they may be too deep.
    max_inflated
        Bytes that a deflated data set may have once inflated.
    keep_bulk
        Also binary values of more than a megabyte, which nobody reads a report from.

    Raises
    ------
    UnreadableObjectError
        ``empty``, ``not_dicom``, ``truncated``, ``damaged``, ``nesting_too_deep``, ``bad_deflate``.
    ObjectTooLargeError
        ``deflate_bomb``, ``too_many_elements``.
    """
    if not data:
        raise UnreadableObjectError("The object is empty.", reason_code="empty")
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        data = inflate(data, max_inflated=max_inflated)
        if not data:
            raise UnreadableObjectError("The object is empty.", reason_code="empty")
    found = encoding_of_first_element(data)
    if found is None:
        raise UnreadableObjectError("The bytes are not a DICOM data set.", reason_code="not_dicom")
    if transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN:
        stated = IMPLICIT_LITTLE
    elif transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN:
        stated = EXPLICIT_BIG
    else:
        stated = EXPLICIT_LITTLE
    scanner = _Scanner(data, found, nested=nested or _may_nest_too_deep(data, big_endian=found.big_endian))
    result = scanner.run(len(data) if keep_bulk else _BULK)
    if found != stated:
        result.warnings.append("transfer_syntax_mismatch")
    return result


def _may_nest_too_deep(data: bytes, *, big_endian: bool) -> bool:
    """Whether more items than are allowed within each other may be: False is certain, True wants a closer look.

    Every item begins with its tag, so the stretches that all such bytes open, whether they are items or lie in a
    value, contain the real nesting. An item of undefined length counts as open to the end.
    """
    if not big_endian and data.count(_ITEM_TAG_LITTLE) <= MAX_NESTING:
        return False
    ends: list[int] = []
    for match in (_ITEM_IN_EITHER_ORDER if big_endian else _ITEM_LITTLE).finditer(data):
        start = match.end() + 4
        while ends and ends[-1] < start:
            ends.pop()
        length = int.from_bytes(data[start - 4 : start], "little" if match[0][0] == 0xFE else "big")
        ends.append(start + length)
        if len(ends) > MAX_NESTING:
            return True
    return False


def scan_readable_part(data: bytes, transfer_syntax_uid: str) -> DataSet:
    """The top-level elements that stand before the damage of an object that `scan` refuses; for saying which it is."""
    try:
        if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            data = inflate(data)
        found = encoding_of_first_element(data)
        if found is None:
            return {}
        scanner = _Scanner(data, found, nested=False)
    except ObjectError:
        return {}
    with contextlib.suppress(ObjectError):
        scanner.run()
    return scanner.root


class _Frame(NamedTuple):
    """Where the scanner goes on when the sequence or item now open ends."""

    end: int
    delimited: bool
    """Of undefined length: ends with a delimitation item, not at `end`."""
    elements: DataSet
    """Of the item, when the frame is one."""
    items: "list[DataSet] | None"
    """Of the sequence, when the frame is one."""
    encoding: Encoding
    last_tag: int


class _Scanner:
    """One pass over one data set."""

    def __init__(self, data: bytes, encoding: Encoding, *, nested: bool, sharing: bool = True) -> None:
        self.data = data
        self.encoding = encoding
        self.nested = nested
        self.sharing = sharing
        self.warnings: list[str] = []
        self.root: DataSet = {}

    def overrun(self, beyond: int, tag: int) -> UnreadableObjectError:
        """The error for a length that runs beyond its container: the object ends early, or contradicts itself."""
        return _truncated(f"element {_name(tag)}") if beyond > len(self.data) else _damaged(f"element {_name(tag)}")

    def run(self, bulk: int = _BULK) -> Scan:
        """Scan to the end of the data; binary values above `bulk` bytes are passed over.

        One loop and one explicit stack, because nesting is under the sender's control and Python's own stack isn't
        made for it; local names, because the receiver runs this for every object.
        """
        data, nested = self.data, self.nested
        size = len(data)
        root = elements = self.root
        items: list[DataSet] | None = None
        encoding = self.encoding
        explicit = encoding.explicit
        unpack_tag, unpack_16, unpack_32 = unpackers(encoding)
        stack: list[_Frame] = []
        shared: dict[bytes, Element] = {}
        words: dict[bytes, Element] = {}
        end, delimited, last_tag = size, False, 0
        position = count = depth = 0

        while True:
            if position >= end and not delimited:
                if not stack:
                    break
                end, delimited, elements, items, encoding, last_tag = stack.pop()
                depth -= items is None
                explicit = encoding.explicit
                unpack_tag, unpack_16, unpack_32 = unpackers(encoding)
                continue
            if end - position < 8:
                if delimited or stack or any(data[position:end]):
                    if not stack and self.is_trailing(data, position, last_tag, root, explicit):
                        break
                    raise _truncated(f"what follows element {_name(last_tag)}")
                self.warnings.append("trailing_bytes")
                break
            group, number = unpack_tag(data, position)
            tag = group << 16 | number

            if items is not None:
                length = unpack_32(data, position + 4)[0]
                position += 8
                if tag == _ITEM:
                    stop = end if length == UNDEFINED_LENGTH else position + length
                    if stop > end:
                        raise self.overrun(stop, last_tag)
                    if not nested and length != UNDEFINED_LENGTH:
                        position = stop
                        continue
                    stack.append(_Frame(end, delimited, elements, items, encoding, last_tag))
                    elements = {}
                    if nested:
                        items.append(elements)
                    items, end, delimited, last_tag = None, stop, length == UNDEFINED_LENGTH, 0
                    count += 1
                elif tag == _SEQUENCE_DELIMITATION:
                    if delimited:
                        end, delimited, elements, items, encoding, last_tag = stack.pop()
                        depth -= 1
                        explicit = encoding.explicit
                        unpack_tag, unpack_16, unpack_32 = unpackers(encoding)
                else:
                    raise _damaged(f"an item of sequence {_name(last_tag)}")
                continue

            if group in {0xFFFE, 0xFFFF, 0}:
                if tag == _ITEM_DELIMITATION and delimited:
                    position += 8
                    end, delimited, elements, items, encoding, last_tag = stack.pop()
                    continue
                if tag == _ITEM_DELIMITATION and stack and position + 8 == end:
                    position += 8
                    continue
                if not stack and self.is_trailing(data, position, last_tag, root, explicit):
                    break
                raise _damaged(f"what follows element {_name(last_tag)}")

            if explicit:
                known = VRS.get(data[position + 4 : position + 6]) or vr_to_come(data, position)
                if known is None:
                    if not stack and self.is_trailing(data, position, last_tag, root, explicit):
                        break
                    raise _damaged(f"what follows element {_name(last_tag)}")
                vr, is_long = known
                if is_long:
                    if end - position < 12:
                        raise self.overrun(position + 12, tag)
                    length = unpack_32(data, position + 8)[0]
                    start = position + 12
                else:
                    length = unpack_16(data, position + 6)[0]
                    start = position + 8
            else:
                vr = implicit_vr(tag)
                length = unpack_32(data, position + 4)[0]
                start = position + 8

            if tag <= last_tag:
                is_odd = not stack and (length > end - start or implicit_vr(tag) == "UN")
                if is_odd and self.is_trailing(data, position, last_tag, root, explicit):
                    break
                if tag in elements:
                    self.warnings.append(f"repeated_element at {_name(tag)}")
                else:
                    self.warnings.append(f"elements_out_of_order at {_name(tag)}")
            count += 1
            if count > MAX_ELEMENTS:
                raise ObjectTooLargeError("The object has too many elements.", reason_code="too_many_elements")

            if length == UNDEFINED_LENGTH:
                if tag == _PIXEL_DATA or vr in ("OB", "OW"):
                    position = self.end_of_fragments(start, end, tag, unpack_tag, unpack_32)
                    last_tag = tag
                    continue
                is_sequence, stop = True, end
            else:
                stop = start + length
                if stop > end:
                    # nothing that is read can stand in a private element behind the content
                    if (
                        not stack
                        and implicit_vr(tag) == "UN"
                        and self.is_trailing(data, position, last_tag, root, explicit)
                    ):
                        break
                    raise self.overrun(stop, tag)
                is_sequence = vr == "SQ" or (vr == "UN" and implicit_vr(tag) == "SQ")
                if is_sequence and length and data[start : start + 2] not in _ITEM_GROUP and not explicit:
                    # the dictionary says sequence, the writer put something else there
                    if tag == _CONTENT_SEQUENCE:
                        raise _damaged(f"an item of sequence {_name(tag)}")
                    self.warnings.append(f"not_a_sequence at {_name(tag)}")
                    is_sequence, vr = False, "UN"

            if tag in CODE_SEQUENCES and vr == "SQ" and nested and self.sharing and encoding is self.encoding:
                after = self.end_of_code(start, stop, end, delimited=length == UNDEFINED_LENGTH)
                known_code = None
                if after:
                    code_bytes = data[position:after]
                    known_code = shared.get(code_bytes)
                    if known_code is None:
                        known_code = _read_code(code_bytes, self.encoding, tag)
                        if known_code is not None and len(shared) < _MOST_SHARED:
                            shared[code_bytes] = known_code
                if known_code is not None:
                    elements.setdefault(tag, known_code)
                    position = after
                    last_tag = max(tag, last_tag)
                    continue

            if is_sequence and (nested or length == UNDEFINED_LENGTH):
                depth += 1
                if depth > MAX_NESTING:
                    raise UnreadableObjectError(
                        f"Sequences are nested more than {MAX_NESTING} deep.", reason_code="nesting_too_deep"
                    )
                stack.append(_Frame(end, delimited, elements, None, encoding, max(tag, last_tag)))
                new_items: list[DataSet] = []
                elements.setdefault(tag, Element("SQ", b"", new_items))
                items, end, delimited, last_tag, position = new_items, stop, length == UNDEFINED_LENGTH, tag, start
                if vr == "UN":
                    # PS3.5 6.2.2 note 4: a sequence behind UN is implicit VR little endian, whatever surrounds it
                    encoding = encoding_behind_unknown(data, start, stop)
                    explicit = encoding.explicit
                    unpack_tag, unpack_16, unpack_32 = unpackers(encoding)
                continue

            if is_sequence or (length > bulk and vr in _BINARY_VRS and tag != _ENCAPSULATED_DOCUMENT):
                elements.setdefault(tag, Element(vr, b""))
            elif tag not in elements:
                value = data[start:stop]
                if vr == "CS":
                    # a few words say what every item is and how it hangs together
                    word = words.get(value)
                    if word is None:
                        word = Element(vr, value)
                        if len(words) < _MOST_SHARED:
                            words[value] = word
                    elements[tag] = word
                else:
                    elements[tag] = Element(vr, value)
            position = stop
            last_tag = max(tag, last_tag)

        return Scan(root, self.encoding.big_endian, self.warnings)

    def end_of_code(self, start: int, stop: int, end: int, *, delimited: bool) -> int:
        """Where a code sequence whose items begin at `start` probably ends; 0 when it is too long for one."""
        if delimited:
            delimiter = b"\xff\xfe\xe0\xdd\0\0\0\0" if self.encoding.big_endian else b"\xfe\xff\xdd\xe0\0\0\0\0"
            found = self.data.find(delimiter, start, min(end, start + _LONGEST_CODE))
            return found + len(delimiter) if found >= 0 else 0
        return stop if 0 < stop - start <= _LONGEST_CODE else 0

    def is_trailing(self, data: bytes, position: int, last_tag: int, root: DataSet, explicit: bool) -> bool:
        """Whether what stands at `position` of the top level is junk after a whole object, rather than a part of it.

        Only an object that has come to its last usual element can be whole: a content tree or an encapsulated
        document must have been read, so that no narrative is lost among the junk. And what looks like the start of
        a further element is a cut, not junk.
        """
        if not (_STUDY_INSTANCE_UID in root and (_CONTENT_SEQUENCE in root or _ENCAPSULATED_DOCUMENT in root)):
            return False
        rest = data[position : position + 8]
        if 2 <= len(rest) < 8:
            group = int.from_bytes(rest[:2], "big" if self.encoding.big_endian else "little")
            if last_tag >> 16 <= group < 0xFFFC and group <= 0x7FE0:
                vr_seems_right = not explicit or len(rest) < 6 or rest[4:6] in VRS
                if vr_seems_right:
                    return False
        self.warnings.append("trailing_bytes")
        return True

    def end_of_fragments(self, position: int, end: int, tag: int, unpack_tag: Unpack, unpack_32: Unpack) -> int:
        """The position after encapsulated pixel data (PS3.5 A.4): fragments in items, then a delimitation item."""
        while end - position >= 8:
            group, number = unpack_tag(self.data, position)
            length = unpack_32(self.data, position + 4)[0]
            position += 8
            if group << 16 | number == _SEQUENCE_DELIMITATION:
                return position
            if group << 16 | number != _ITEM:
                raise _damaged(f"a fragment of element {_name(tag)}")
            position += length
        raise self.overrun(len(self.data) + 1, tag)


@lru_cache(maxsize=_MOST_REMEMBERED)
def _read_code(data: bytes, encoding: Encoding, tag: int) -> Element | None:
    """The code sequence that is all of `data`; None when it isn't a plain one to its last byte.

    Remembered from one object to the next, since reports of one sender share most of their codes. Nobody may change
    what it answers.
    """
    try:
        scan = _Scanner(data, encoding, nested=True, sharing=False).run()
    except ObjectError:
        return None
    element = scan.elements.get(tag)
    is_plain = (
        len(scan.elements) == 1
        and not scan.warnings
        and element is not None
        and all(inner.items is None for item in element.items or () for inner in item.values())
    )
    return element if is_plain else None
