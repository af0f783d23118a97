"""ISO 2022 code extension as DICOM uses it (PS3.5 6.1.2.5): an own state machine, because writers bend the rules.

Python's ISO 2022 codecs know neither the sets that DICOM allows nor its resets at line ends, and pydicom leaves escape
sequences in the text where a set is announced at the start of a value only.
"""

import re

from dicomnlp.extract.character_terms import CODE_ELEMENTS, CodeElement

ESCAPE = re.compile(rb"\x1b[\x20-\x2f]{1,2}[\x30-\x7e]")
_RUN = re.compile(rb"[\x00-\x7f]+|[\x80-\xff]+")
_RESETS = re.compile(rb"([\r\n\f\t])")


class UnknownEscapeError(UnicodeError):
    """An escape sequence names a character set that DICOM doesn't allow."""


def decode_iso2022(value: bytes, initial_g1: str | None, other_g1: str | None) -> str:
    """Decode a value with code extensions.

    Parameters
    ----------
    value
        The value as encoded; PN component separators need no reset here, since their codes are the same in every G0.
    initial_g1
        Codec of the right half before any escape sequence: the first value of (0008,0005); None when it has none.
    other_g1
        Codec for high bytes where nothing is designated to the right half: a multi-byte set that is declared, because
        many writers leave out the escape sequence, or don't repeat it after a line end.

    Raises
    ------
    UnicodeError
        The bytes aren't valid in the sets that they announce.
    """
    out: list[str] = []
    for piece in _RESETS.split(value):
        # line ends and tabs return to the initial sets (PS3.5 6.1.2.5.3)
        g0: CodeElement | None = None
        g1: str | None = initial_g1
        position = 0
        while position < len(piece):
            escape = ESCAPE.match(piece, position)
            if escape:
                found = CODE_ELEMENTS.get(escape.group())
                if found is None:
                    raise UnknownEscapeError
                if found.half == 0:
                    g0 = found
                else:
                    g1 = found.codec
                    other_g1 = found.codec if found.width == 2 else other_g1
                position = escape.end()
                continue
            following = ESCAPE.search(piece, position)
            stop = following.start() if following else len(piece)
            for run in _RUN.findall(piece[position:stop]):
                if run[0] >= 0x80:
                    out.append(run.decode(g1 or other_g1 or "ascii"))
                elif g0 is None or g0.codec == "ascii":
                    out.append(run.decode("ascii"))
                else:
                    out.append(_decode_g0(run, g0))
            position = stop
    return "".join(out)


def _decode_g0(run: bytes, g0: CodeElement) -> str:
    """Left-half bytes of a set other than ASCII."""
    if g0.width == 1:
        # JIS X 0201 romaji: ASCII but for yen and overline, and systems mean a backslash by the first
        return run.decode("ascii")
    if len(run) % 2:
        raise UnicodeError
    raised = bytes(b | 0x80 for b in run)
    if g0.codec == "jis_x_0212":
        return b"".join(b"\x8f" + raised[i : i + 2] for i in range(0, len(raised), 2)).decode("euc_jp")
    return raised.decode(g0.codec)
