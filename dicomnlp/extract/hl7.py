"""HL7 version 2 messages in the vertical bar encoding (chapter 2.6): bytes to segments, fields and their text.

A message is decoded before it is split: in GB 18030, Big5 and Shift JIS the second byte of a character may be that of a
separator. Nothing is copied that isn't asked for, so that a message of separators alone costs no more than another.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dicomnlp.errors import UnreadableObjectError
from dicomnlp.extract.character_terms import codec_of
from dicomnlp.extract.charset import DEFAULT_FALLBACKS, decode_document
from dicomnlp.model import CharacterSet

OWN_SCHEME = "99DICOMNLP"
"""The coding scheme of what this program writes itself: what is under it is no report."""
MAXIMUM_SEGMENTS = 200_000
MAXIMUM_REPETITIONS = 20_000
MAXIMUM_FIELDS = 100
"""No segment of the standard has as many; what comes after stays in the last."""
_MAXIMUM_COMPONENTS = 40

_TABLE_0211 = {
    "GB180302000": "GB18030",
    "UNICODEUTF8": "ISO_IR 192",
    "ISOIR14": "ISO_IR 13",
    "JIS2004": "ISO_IR 87",
}
"""Names of character sets (HL7 table 0211) that DICOM has other names for."""
_LINE = re.compile(r"[^\r\n]+")
_DESIGNATION = re.compile(rb"\\[CM]((?:[0-9A-Fa-f]{2}){2,3})\\")
"""\\Cxxyy\\ and \\Mxxyyzz\\ (2.7.2): an escape sequence of ISO 2022 without its first byte, which is ESC."""
_FORMATTING = re.compile(r"\.(br|sp|fi|nf|in|ti|sk|ce)([+-]?\d{0,4})")
_MAXIMUM_BLANKS = 80


@dataclass(frozen=True, slots=True)
class Separators:
    """MSH-1 and MSH-2."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""
    """Since version 2.7; "" where none is named."""

    @property
    def encoding_characters(self) -> str:
        """MSH-2."""
        return f"{self.component}{self.repetition}{self.escape}{self.subcomponent}{self.truncation}"

    def escaped(self, text: str) -> str:
        """`text` as the value of a field: separators as escape sequences, line ends as ``.br``.

        Other control characters can't be part of a message, and are left out.
        """
        escape = self.escape
        table = {ord(self.field): "F", ord(self.component): "S", ord(self.repetition): "R", ord(self.subcomponent): "T"}
        if self.truncation:
            table[ord(self.truncation)] = "P"
        if escape:
            table[ord(escape)] = "E"
        coded: dict[int, str] = {o: f"{escape}{letter}{escape}" if escape else " " for o, letter in table.items()}
        coded |= {o: "" for o in (*range(32), 127) if o not in (9, 10)}
        coded[10] = f"{escape}.br{escape}" if escape else " "
        return re.sub(r"\r\n?", "\n", text).translate(coded)

    def unescaped(self, value: str, codec: str = "utf_8") -> str:
        """The text that a value stands for; what is no escape sequence, and those of no standard meaning, stay.

        Parameters
        ----------
        codec
            Of characters that are written as hexadecimal digits.
        """
        if not self.escape or self.escape not in value:
            return value
        letters = {
            "F": self.field,
            "S": self.component,
            "T": self.subcomponent,
            "R": self.repetition,
            "E": self.escape,
            "P": self.truncation or "#",
            "H": "",
            "N": "",
        }
        e = re.escape(self.escape)

        def meaning(match: re.Match[str]) -> str:
            code = match[1]
            if code in letters:
                return letters[code]
            if code.startswith("X"):
                return _of_hexadecimal(code[1:], codec) or match[0]
            formatting = _FORMATTING.fullmatch(code)
            if formatting is not None:
                return _of_formatting(*formatting.groups())
            # locally defined (2.7.7): nobody but the sender knows what it means
            return "" if code.startswith("Z") and code.isalnum() else match[0]

        return re.sub(rf"{e}([FSTREPHN]|X[0-9A-Fa-f]+|Z\w*|\.[a-z]{{2}}[+-]?\d*){e}", meaning, value)


def _of_hexadecimal(digits: str, codec: str) -> str:
    if len(digits) % 2:
        return ""
    try:
        return re.sub(r"\r\n?", "\n", bytes.fromhex(digits).decode(codec))
    except (UnicodeDecodeError, LookupError):
        return bytes.fromhex(digits).decode("latin_1")


def _of_formatting(command: str, number: str) -> str:
    """What a formatting command (2.7.6) leaves in plain text."""
    count = min(int(number), _MAXIMUM_BLANKS) if number.lstrip("+").isdigit() else 1
    if command in {"br", "ce"}:
        return "\n"
    if command == "sp":
        return "\n" * max(1, count)
    return " " * count if command == "sk" else ""


@dataclass(frozen=True, slots=True)
class Field:
    """One repetition of a field, as it is encoded."""

    encoded: str
    separators: Separators
    codec: str = "utf_8"

    @property
    def text(self) -> str:
        """All of it as text, separators of components included: for types that have none (ST, TX, FT)."""
        # a value of two quotes says that there is none (2.5.3)
        return "" if self.encoded == '""' else self.separators.unescaped(self.encoded, self.codec)

    def component(self, number: int, subcomponent: int = 1) -> str:
        """The text of a component, or of a part of one, by its number from 1 on; "" when there is none."""
        components = self.encoded.split(self.separators.component, _MAXIMUM_COMPONENTS)
        if number > len(components):
            return ""
        parts = components[number - 1].split(self.separators.subcomponent, _MAXIMUM_COMPONENTS)
        if subcomponent > len(parts):
            return ""
        value = parts[subcomponent - 1]
        return "" if value == '""' else self.separators.unescaped(value, self.codec)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment; fields are counted as the standard counts them, those of MSH too."""

    name: str
    line: str
    separators: Separators
    codec: str = "utf_8"

    def encoded(self, number: int) -> str:
        """A field as it is encoded, all repetitions; "" when there is none."""
        fields = self.line.split(self.separators.field, MAXIMUM_FIELDS)
        if self.name == "MSH":
            if number == 1:
                return self.separators.field
            number -= 1
        return fields[number] if number < len(fields) else ""

    def repetitions(self, number: int) -> Iterator[Field]:
        """The repetitions of a field; none when it is empty."""
        encoded = self.encoded(number)
        if not encoded:
            return
        if self.name == "MSH" and number <= 2:
            yield Field(encoded, Separators(escape=""), self.codec)
            return
        for part in encoded.split(self.separators.repetition, MAXIMUM_REPETITIONS):
            yield Field(part, self.separators, self.codec)

    def field(self, number: int) -> Field:
        """The first repetition."""
        return next(self.repetitions(number), Field("", self.separators, self.codec))

    def component(self, number: int, component: int = 1, subcomponent: int = 1) -> str:
        """The text of a component of the first repetition."""
        return self.field(number).component(component, subcomponent)


@dataclass(frozen=True, slots=True)
class Message:
    """A message, taken apart as far as segments."""

    segments: tuple[Segment, ...]
    """The first is MSH."""
    separators: Separators
    character_set: CharacterSet
    warnings: tuple[str, ...] = ()

    @property
    def header(self) -> Segment:
        """MSH."""
        return self.segments[0]

    def all(self, name: str) -> list[Segment]:
        """The segments of a name, in order."""
        return [s for s in self.segments if s.name == name]

    def first(self, name: str) -> Segment:
        """The first segment of a name; an empty one when there is none."""
        return next((s for s in self.segments if s.name == name), Segment(name, name, self.separators))


def is_message(data: bytes) -> bool:
    """Whether bytes begin as a message does."""
    start = data[:64].lstrip(b"\xef\xbb\xbf\r\n\t \x0b")
    return start.startswith(b"MSH") and len(start) > 3 and not start[3:4].isalnum()


def read_separators(data: bytes) -> tuple[Separators, bytes]:
    """The separators that a message names, and the message from its header on.

    Raises
    ------
    UnreadableObjectError
        ``not_hl7``: it doesn't begin with MSH, or names separators that can't be any.
    """
    start = data.find(b"MSH")
    if not is_message(data):
        raise UnreadableObjectError("The message doesn't begin with a header (MSH).", reason_code="not_hl7")
    data = data[start:]
    field = chr(data[3])
    characters = data[4:16].split(data[3:4], 1)[0].decode("latin_1")
    characters = re.split(r"[\r\n]", characters, maxsplit=1)[0]
    named = field + characters
    is_usable = all("!" <= c <= "~" and not c.isalnum() for c in named) and len(set(named)) == len(named)
    if not (1 <= len(characters) <= 5 and is_usable):
        raise UnreadableObjectError("The message names no separators (MSH-1, MSH-2).", reason_code="not_hl7")
    # those left out can't come up
    component, repetition, escape, subcomponent, truncation = list(characters.ljust(5, "\0"))
    return Separators(field, component, repetition, escape.strip("\0"), subcomponent, truncation.strip("\0")), data


def parse_message(
    data: bytes, *, fallbacks: Sequence[str] = DEFAULT_FALLBACKS, character_set: str | None = None
) -> Message:
    """Take a message apart.

    Segments may end in CR as they should, in LF, or in both. A line that can't begin a segment goes on with the one
    before it: some systems write line ends into text as they are. ADD segments (2.10.2) are put together again.

    Parameters
    ----------
    data
        The message, without the frame of MLLP.
    fallbacks
        Python codecs to choose from where neither MSH-18 nor UTF-8 fits, likeliest first.
    character_set
        What the text is in, whatever MSH-18 says; None: decided from the message.

    Raises
    ------
    UnreadableObjectError
        ``not_hl7``: it is none; ``too_many_segments``.
    UsageError
        `character_set` names none.
    """
    separators, data = read_separators(data)
    data = _DESIGNATION.sub(lambda match: b"\x1b" + bytes.fromhex(match[1].decode("ascii")), data)
    declared = declared_in(data)
    text, used, warnings = decode_document(data, declared, fallbacks, character_set)
    lines, further = _lines(text, separators)
    codec = used.used
    if codec in {"ascii", "iso2022"}:
        # of what is written as hexadecimal digits the message may hold nothing else by which to tell
        codec = next((c for c in map(codec_of, declared) if c not in {None, "ascii"}), None) or "utf_8"
    segments = tuple(Segment(line[:3], line, separators, codec) for line in lines)
    return Message(segments, separators, used, tuple(dict.fromkeys((*warnings, *further))))


def declared_in(data: bytes) -> tuple[str, ...]:
    """The character sets of MSH-18, by names that DICOM has; none when it is empty."""
    separators, data = read_separators(data)
    header = re.split(rb"[\r\n]", data, maxsplit=1)[0].split(separators.field.encode(), 18)
    if len(header) < 18:
        return ()
    names = header[17].decode("ascii", "replace").split(separators.repetition)
    flat = [re.sub(r"[\s_/.-]", "", name.split(separators.component)[0]).upper() for name in names]
    return tuple(_TABLE_0211.get(name, name) for name in flat if name)


def _lines(text: str, separators: Separators) -> tuple[list[str], list[str]]:
    """A line for each segment."""
    begins = re.compile(rf"[A-Z][A-Z0-9]{{2}}{re.escape(separators.field)}")
    pieces: list[list[str]] = []
    warnings: list[str] = []
    end = 0
    for match in _LINE.finditer(text):
        line = match.group()
        if not pieces or begins.match(line):
            if line.startswith("ADD") and len(pieces) > 1:
                # what follows the separator goes on with the last field of the segment before (2.10.2)
                pieces[-1].append(line[4:])
            elif line.strip(" \t\x1a\x1c\0"):
                pieces.append([line])
        elif line.strip(" \t\x1a\x1c\0"):
            broken = text[end : match.start()].replace("\r\n", "\n").replace("\r", "\n")
            pieces[-1] += [separators.escape, ".br", separators.escape] * len(broken) if separators.escape else [" "]
            pieces[-1].append(line)
            warnings.append("hl7_line_end_in_field")
        end = match.end()
        if len(pieces) > MAXIMUM_SEGMENTS:
            raise UnreadableObjectError("The message has too many segments.", reason_code="too_many_segments")
    return ["".join(piece) for piece in pieces], warnings
