"""Text with accents, ligatures and wide forms taken away, so that one spelling of a name or number finds the others."""

import unicodedata
from dataclasses import dataclass

_LETTERS = {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
            "đ": "d", "Đ": "D", "ð": "d", "þ": "th", "ı": "i"}  # fmt: skip
"""What Unicode doesn't decompose, as passports write it."""
_QUOTES = dict.fromkeys("’‘ʼ`´", "'")
_DASHES = dict.fromkeys("‐‑‒–—−", "-")


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text, and where each of its characters came from."""

    text: str
    starts: tuple[int, ...] | range
    """Index in the original of each character; one more than the text is long."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that became `text[start:end]`, `start` < `end`."""
        last = self.starts[end - 1] + 1
        # a base character takes its combining marks along
        return self.starts[start], max(last, self.starts[end])


def fold(text: str) -> Folded:
    """`text` without accents and compatibility forms (NFKD); letters keep their case."""
    if text.isascii():
        return Folded(text, range(len(text) + 1))
    parts: list[str] = []
    starts: list[int] = []
    for index, character in enumerate(text):
        plain = fold_character(character)
        parts.append(plain)
        starts.extend([index] * len(plain))
    starts.append(len(text))
    return Folded("".join(parts), tuple(starts))


def fold_character(character: str) -> str:
    """What one character becomes: one letter or several, or none for a combining mark."""
    if character.isascii():
        return character
    plain = _LETTERS.get(character) or _QUOTES.get(character) or _DASHES.get(character)
    if plain is not None:
        return plain
    if "가" <= character <= "힣":
        return character
    decomposed = unicodedata.normalize("NFKD", character)
    return "".join(_LETTERS.get(c, c) for c in decomposed if not unicodedata.combining(c))
