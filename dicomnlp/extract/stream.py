"""The header of a data set that is too large to be held: read as the bytes pass by, which are then let go.

`elements.scan` needs the whole object; this reads the few elements that are asked for out of a stream of fragments,
steps over all others by their lengths, and keeps nothing else, whatever the size of the pixel data.
"""

import zlib
from collections.abc import Collection
from typing import Final

from dicomnlp.errors import ObjectError, ObjectTooLargeError, UnreadableObjectError
from dicomnlp.extract.elements import MAX_NESTING, DataSet, Element
from dicomnlp.extract.encodings import (
    UNDEFINED_LENGTH,
    VRS,
    Encoding,
    encoding_behind_unknown,
    encoding_of_first_element,
    implicit_vr,
    unpackers,
    vr_to_come,
)

DEFLATED_TRANSFER_SYNTAXES: Final = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.205"})
"""Deflated Explicit VR Little Endian, and JPIP HTJ2K Referenced Deflate (PS3.5 A.5, A.10)."""

LONGEST_VALUE: Final = 16384
"""Bytes; a longer one isn't what a wanted element holds, and is stepped over."""

_MOST_VALUES: Final = 16
"""Different values of a nested element that are kept: those that are asked for have a handful of defined terms."""

TagPath = tuple[int, ...]
"""Tags of the sequences that an element stands in, from the outermost on, and its own."""

_FIRST_BULK_GROUP: Final = 0x7FE0
"""Pixel data and what goes with it, and what vendors put behind it."""
_ITEM: Final = 0xFFFEE000
_ITEM_DELIMITATION: Final = 0xFFFEE00D
_SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD
_LONGEST_ELEMENT_HEADER: Final = 12
_LOOK_AHEAD: Final = 16
_INFLATED_STEP: Final = 65536


class _Frame:
    """A sequence, an item of it, or fragments that are open: of undefined length, or gone into for what is in them."""

    __slots__ = ("encoding", "end", "is_fragments", "is_item", "path")

    def __init__(
        self,
        encoding: Encoding,
        *,
        end: int | None = None,
        path: TagPath | None = None,
        is_item: bool = False,
        is_fragments: bool = False,
    ) -> None:
        self.encoding = encoding
        self.end = end
        """Where it ends in the data set, in bytes; None where a delimitation item says so."""
        self.path = path
        """Of the sequence; None when nothing in it is wanted."""
        self.is_item = is_item
        self.is_fragments = is_fragments


class HeaderReader:
    """Reads chosen elements of an encoded data set that comes in fragments (PS3.5 section 7).

    Memory is bounded by `LONGEST_VALUE`, the number of `tags` and the nesting that is allowed, not by the data set. Of
    a deflated data set what stands before the pixel data is inflated, and the rest passes by as it is.

    Parameters
    ----------
    transfer_syntax_uid
        What the data set is said to be encoded in; encapsulated syntaxes are explicit little endian. When the first
        element plainly says otherwise, what the bytes say is followed.
    tags
        The elements of the top level that are wanted.
    maximum_header_bytes
        Bytes that all that isn't pixel data may have, inflated.
    nested
        The elements within sequences that are wanted.
    """

    def __init__(
        self,
        transfer_syntax_uid: str,
        tags: Collection[int],
        *,
        maximum_header_bytes: int,
        nested: Collection[TagPath] = (),
    ) -> None:
        self._tags = frozenset(tags)
        self._nested: dict[TagPath, dict[bytes, None]] = {path: {} for path in nested}
        self._on_the_way = frozenset(path[:depth] for path in nested for depth in range(1, len(path)))
        self._maximum = maximum_header_bytes
        self._inflater = (
            zlib.decompressobj(-zlib.MAX_WBITS) if transfer_syntax_uid in DEFLATED_TRANSFER_SYNTAXES else None
        )
        self._elements: DataSet = {}
        self._encoding: Encoding | None = None
        self._stack: list[_Frame] = []
        self._pending = b""
        self._passed = 0
        """Bytes of the data set before `_pending`."""
        self._skip = 0
        self._header_bytes = 0
        self._in_bulk = False
        self._is_trailing = False

    def feed(self, fragment: bytes | memoryview) -> None:
        """Read on.

        Raises
        ------
        UnreadableObjectError
            ``not_dicom``, ``damaged``, ``nesting_too_deep``, ``bad_deflate``.
        ObjectTooLargeError
            ``object_too_large``: the header is above its bound.
        """
        if self._inflater is None:
            self._parse(fragment)
            return
        rest: bytes | memoryview = fragment
        while not self._inflater.eof and not self._in_bulk:
            try:
                inflated = self._inflater.decompress(rest, _INFLATED_STEP)
            except zlib.error:
                raise UnreadableObjectError(
                    "The deflated data set can't be inflated; the sender should send it again.",
                    reason_code="bad_deflate",
                ) from None
            rest = self._inflater.unconsumed_tail
            self._parse(inflated)
            if not rest and len(inflated) < _INFLATED_STEP:
                return

    def finish(self) -> DataSet:
        """The wanted elements, when the data set has come to its end.

        Raises
        ------
        UnreadableObjectError
            ``empty``, or ``truncated``: the data set ends within an element.
        """
        if self._inflater is not None:
            if self._in_bulk:
                return self._elements
            if not self._inflater.eof:
                raise _truncated()
        if self._encoding is None and not self._pending:
            raise UnreadableObjectError("The object is empty.", reason_code="empty")
        self._close_ended(self._passed)
        if not self._is_trailing and (self._skip or self._stack or any(self._pending)):
            raise _truncated()
        return self._elements

    def nested_values(self, path: TagPath) -> tuple[bytes, ...]:
        """The different values of a wanted element within sequences, in all their items so far, as they came."""
        return tuple(self._nested[path])

    def _parse(self, fragment: bytes | memoryview) -> None:
        if self._is_trailing:
            return
        if self._skip >= len(fragment):
            self._skip -= len(fragment)
            self._passed += len(fragment)
            return
        data = self._pending + bytes(fragment[self._skip :])
        self._passed += self._skip
        self._skip = 0
        position = 0
        while position < len(data) and not self._is_trailing:
            used = self._step(data, position)
            if not used:
                break
            position += used
            passed = min(self._skip, len(data) - position)
            position += passed
            self._skip -= passed
        self._pending = data[position:]
        self._passed += position

    def _step(self, data: bytes, position: int) -> int:
        """Read what begins at `position`: how many bytes it took, 0 when more of it must come first.

        What needn't be looked at is left to `_skip`.
        """
        available = len(data) - position
        if available < 8:
            return 0
        if self._encoding is None:
            self._encoding = _first_encoding(data)
        here = self._passed + position
        self._close_ended(here)
        frame = self._stack[-1] if self._stack else None
        if frame is not None:
            _check_end(frame, here + 8)
        encoding = frame.encoding if frame else self._encoding
        unpack_tag, unpack_16, unpack_32 = unpackers(encoding)
        group, number = unpack_tag(data, position)
        tag = group << 16 | number
        if frame is not None and not frame.is_item:
            return self._step_in_sequence(frame, tag, unpack_32(data, position + 4)[0], here + 8)
        if group in {0xFFFE, 0xFFFF, 0}:
            # one of defined length may have a delimitation item at its end that it doesn't need
            if frame is not None and tag == _ITEM_DELIMITATION and frame.end in {None, here + 8}:
                self._stack.pop()
                self._count(8)
                return 8
            return self._odd()
        if encoding.explicit:
            known = VRS.get(data[position + 4 : position + 6]) or vr_to_come(data, position)
            if known is None:
                return self._odd()
            vr, is_long = known
            if is_long:
                if available < _LONGEST_ELEMENT_HEADER:
                    return 0
                size, length = 12, unpack_32(data, position + 8)[0]
            else:
                size, length = 8, unpack_16(data, position + 6)[0]
        else:
            vr, size, length = implicit_vr(tag), 8, unpack_32(data, position + 4)[0]
        is_bulk = frame is None and group >= _FIRST_BULK_GROUP
        path = self._path_of(frame, tag)
        start = position + size
        if frame is not None and length != UNDEFINED_LENGTH:
            _check_end(frame, here + size + length)
        if length == UNDEFINED_LENGTH or (length and vr in {"SQ", "UN"} and path in self._on_the_way):
            if vr == "UN" and available < size + min(length, _LOOK_AHEAD):
                return 0
            end = None if length == UNDEFINED_LENGTH else here + size + length
            self._open(_Frame(encoding, end=end, path=path), tag, vr, data, start)
        elif length <= LONGEST_VALUE and (path in self._nested if frame else tag in self._tags):
            if available < size + length:
                return 0
            value = data[start : start + length]
            if frame is None:
                self._elements.setdefault(tag, Element(vr, value))
            elif path is not None and len(self._nested[path]) < _MOST_VALUES:
                self._nested[path][value] = None
            size += length
        else:
            self._skip = length
        self._in_bulk = self._in_bulk or is_bulk
        if not is_bulk:
            self._count(size + self._skip)
        return size

    def _close_ended(self, here: int) -> None:
        while self._stack and self._stack[-1].end == here:
            self._stack.pop()

    def _path_of(self, frame: _Frame | None, tag: int) -> TagPath | None:
        """Of an element in `frame`, when it is wanted or something in it may be."""
        above = () if frame is None else frame.path
        if above is None:
            return None
        path = (*above, tag)
        return path if path in self._on_the_way or path in self._nested else None

    def _step_in_sequence(self, frame: _Frame, tag: int, length: int, start: int) -> int:
        if tag == _SEQUENCE_DELIMITATION:
            # one of defined length ends where it said
            if frame.end is None:
                self._stack.pop()
        elif tag != _ITEM:
            raise _damaged()
        elif length != UNDEFINED_LENGTH:
            _check_end(frame, start + length)
            if frame.path is None:
                self._skip = length
            else:
                self._stack.append(_Frame(frame.encoding, end=start + length, path=frame.path, is_item=True))
        elif frame.is_fragments:
            raise _damaged()
        else:
            self._stack.append(_Frame(frame.encoding, path=frame.path, is_item=True))
        if not self._in_bulk:
            self._count(8 + self._skip)
        return 8

    def _open(self, frame: _Frame, tag: int, vr: str, data: bytes, start: int) -> None:
        """Go into an element: a sequence, or fragments of pixel data (PS3.5 A.4), which has no defined length."""
        if sum(not frame.is_item for frame in self._stack) >= MAX_NESTING:
            raise UnreadableObjectError(
                f"Sequences are nested more than {MAX_NESTING} deep.", reason_code="nesting_too_deep"
            )
        if tag >> 16 == _FIRST_BULK_GROUP or vr in {"OB", "OW"}:
            frame.is_fragments, frame.path = True, None
        elif vr == "UN":
            frame.encoding = encoding_behind_unknown(data, start, len(data))
        self._stack.append(frame)

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self._maximum:
            raise ObjectTooLargeError("The header of the object is above the limit.", reason_code="object_too_large")

    def _odd(self) -> int:
        """What is no element: junk behind the pixel data is no loss, anywhere else the object is damaged."""
        if self._stack or not self._in_bulk:
            raise _damaged()
        self._is_trailing = True
        return 0


def _check_end(frame: _Frame, end: int) -> None:
    """See that what ends at `end` lies within `frame`."""
    if frame.end is not None and end > frame.end:
        raise _damaged()


def _first_encoding(data: bytes) -> Encoding:
    # the first value may be still to come, and isn't looked at
    length = int.from_bytes(data[4:8], "little")
    found = encoding_of_first_element(data[:8] + bytes(min(length, LONGEST_VALUE)))
    if found is None:
        raise UnreadableObjectError("The bytes are not a DICOM data set.", reason_code="not_dicom")
    return found


def _truncated() -> ObjectError:
    return UnreadableObjectError("The object is cut short; the sender should send it again.", reason_code="truncated")


def _damaged() -> ObjectError:
    return UnreadableObjectError(
        "The object's structure is damaged; the sender should send it again.", reason_code="damaged"
    )
