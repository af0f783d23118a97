"""Messages of several parts (RFC 2046 5.1, RFC 2387): read as they come in, within limits, and written."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

MAXIMUM_PART_HEADER_BYTES: Final = 4096
MAXIMUM_PREAMBLE_BYTES: Final = 4096
"""What may stand before the first part, for programs that know nothing of parts."""
_CRLF = b"\r\n"
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]\Z")
_PARAMETER = re.compile(r';\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]*)\s*')


class MultipartError(Exception):
    """The message isn't made of parts as it should be; the text says where, and nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type with its parameters (RFC 9110 8.3.1); names are in lower case."""

    name: str
    parameters: Mapping[str, str]


def read_media_type(text: str) -> MediaType:
    """A Content-Type, or one entry of an Accept header; what can't be read is left out."""
    name, _, _ = text.partition(";")
    rest = text[len(name) :]
    parameters = {
        match[1].lower(): re.sub(r"\\(.)", r"\1", match[2][1:-1]) if match[2].startswith('"') else match[2]
        for match in _PARAMETER.finditer(rest)
    }
    return MediaType(name.strip().lower(), parameters)


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its header fields by names in lower case, and its content."""

    headers: Mapping[str, str]
    content: bytes
    is_cut: bool = False
    """It was longer than what was allowed, and what came above that was passed over."""


class PartReader:
    """Cuts a message into parts while it comes in, with no more than one part in memory.

    Parameters
    ----------
    boundary
        As the Content-Type names it.
    maximum_part_bytes
        Of a longer part the first bytes only are kept.

    Raises
    ------
    MultipartError
        `boundary` is none.
    """

    def __init__(self, boundary: str, *, maximum_part_bytes: int) -> None:
        if _BOUNDARY.match(boundary) is None:
            raise MultipartError("the boundary is none by RFC 2046")
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._maximum = maximum_part_bytes
        # as if a line had ended before: so that the first boundary is found like any other
        self._buffer = bytearray(_CRLF)
        self._content = bytearray()
        self._headers: dict[str, str] = {}
        self._is_cut = False
        self._begins = False
        """Nothing of the part's content was looked at yet."""
        self._step: Callable[[], Part | bool] | None = self._preamble
        """Gives a part that is complete, else whether it got any further; None after the last boundary."""

    def feed(self, data: bytes) -> Iterator[Part]:
        """The parts that `data` completes.

        Raises
        ------
        MultipartError
            What comes can't be parts.
        """
        self._buffer += data
        while self._step is not None:
            found = self._step()
            if isinstance(found, Part):
                yield found
            elif not found:
                return
        self._buffer.clear()

    def finish(self) -> None:
        """Say that all has come.

        Raises
        ------
        MultipartError
            The last boundary is missing: something was cut off.
        """
        if self._step is not None:
            raise MultipartError("the message ends before its last boundary")

    def _preamble(self) -> bool:
        if self._to_delimiter() is None:
            if len(self._buffer) > MAXIMUM_PREAMBLE_BYTES:
                raise MultipartError("the boundary doesn't come")
            return False
        self._step = self._after_delimiter
        return True

    def _to_delimiter(self) -> bytes | None:
        """What stands before the next delimiter, which is taken off too; None while it isn't there."""
        place = self._buffer.find(self._delimiter)
        if place < 0:
            return None
        before = bytes(self._buffer[:place])
        del self._buffer[: place + len(self._delimiter)]
        return before

    def _after_delimiter(self) -> bool:
        """Two hyphens say that it was the last; blanks may follow either kind."""
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] == b"--":
            self._step = None
            return True
        end = self._buffer.find(_CRLF)
        if end < 0 and len(self._buffer) <= 80:
            return False
        if end < 0 or self._buffer[:end].strip(b" \t"):
            raise MultipartError("a boundary is followed by something else than the end of its line")
        # the line's end stays: headers that aren't there end at once
        del self._buffer[:end]
        self._step = self._part_headers
        return True

    def _part_headers(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > MAXIMUM_PART_HEADER_BYTES:
            if len(self._buffer) > MAXIMUM_PART_HEADER_BYTES:
                raise MultipartError("the header of a part is too long")
            return False
        self._headers = {}
        for line in self._buffer[:end].split(_CRLF):
            name, colon, value = line.decode("latin-1").partition(":")
            if line and (not colon or not name.strip()):
                raise MultipartError("the header of a part has a line that is no field")
            if line:
                self._headers[name.strip().lower()] = value.strip()
        # two line ends: the second may also begin a delimiter, where a part is empty
        del self._buffer[: end + 2]
        self._content, self._is_cut, self._begins = bytearray(), False, True
        self._step = self._part_content
        return True

    def _part_content(self) -> Part | bool:
        if self._begins:
            if len(self._buffer) < len(self._delimiter):
                return False
            if not self._buffer.startswith(self._delimiter):
                del self._buffer[:2]
            self._begins = False
        before = self._to_delimiter()
        if before is None:
            # the end of what is there may be the beginning of a delimiter
            certain = len(self._buffer) - len(self._delimiter) + 1
            if certain > 0:
                self._keep(self._buffer[:certain])
                del self._buffer[:certain]
            return False
        self._keep(before)
        part = Part(self._headers, bytes(self._content), self._is_cut)
        self._content, self._step = bytearray(), self._after_delimiter
        return part

    def _keep(self, data: bytes | bytearray) -> None:
        room = self._maximum - len(self._content)
        self._is_cut = self._is_cut or len(data) > room
        self._content += data[:room] if len(data) > room else data


async def read_parts(reader: PartReader, body: AsyncIterator[bytes]) -> AsyncIterator[Part]:
    """The parts of a request's body."""
    async for chunk in body:
        for part in reader.feed(chunk):
            yield part
    reader.finish()


def write_parts(parts: Iterable[tuple[str, Mapping[str, str], bytes]], boundary: str) -> Iterator[bytes]:
    """A message of `parts`, each of a Content-Type, further header fields and content, chunk by chunk."""
    for content_type, headers, content in parts:
        lines = [f"--{boundary}", f"Content-Type: {content_type}", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        yield "\r\n".join([*lines, "", ""]).encode("ascii") + content + _CRLF
    yield f"--{boundary}--\r\n".encode("ascii")
