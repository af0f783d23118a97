"""Text to tokens: one Han character, one number, one run of letters, or one mark.

Every language is cut in the same way, so that no word segmenter can glue a cue to its target. Tokens keep their own
character offsets; spaCy's are not used, because a hyphen inside a word leaves no token ("ground-glass" is two words)
and white space of any width is one gap.
"""

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
LOWER = "a-z\u00df-\u00f6\u00f8-\u00ff\u03b1-\u03c9\u0430-\u045f"
"""Small letters, for a class of a regular expression: Latin, Greek and Cyrillic."""
WORD = f"[^\\W{HAN}]"
"""A character that goes on into its neighbour: a word ends beside any other, and beside every Han character."""
WORD_BEGINS = f"(?:(?=[{HAN}])|(?<!{WORD}))"
WORD_ENDS = f"(?:(?<=[{HAN}])|(?!{WORD}))"
"""Before and after a word: a Han character has no need of a boundary ("原约6mm")."""
_LETTER = f"[^\\W\\d_{HAN}]"
_TOKEN = re.compile(
    f"[{HAN}]"
    r"|\d+(?:[.,]\d+)*"
    f"|{_LETTER}(?:{_LETTER}|\\d|['\u2019](?={_LETTER}))*"
    r"|[^\s\w]|_|\w"
)
_ASCII_TOKEN = re.compile(r"[A-Za-z][A-Za-z\d]*(?:'[A-Za-z][A-Za-z\d]*)*|\d+(?:[.,]\d+)*|\S")
"""The same in a text that is all ASCII, in a third of the time."""
_HYPHENS = frozenset("-\u2010\u2011")
_FOLDED = re.compile("[-\u2010\u2011\u2019]")
"""What makes a text's tokens differ from its characters; most sentences have none."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of a text with their half-open character offsets."""

    words: tuple[str, ...]
    lower: tuple[str, ...]
    """The words in lower case."""
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.words)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The tokens (first, past the last) that the characters [start, end) touch; empty where they touch none."""
        first = bisect_right(self.ends, start)
        last = bisect_left(self.starts, end, first)
        return first, last


@lru_cache(64)
def tokenize(text: str) -> Tokens:
    """Cut `text` into tokens; linear in its length. The last are kept: several readers ask for the same sentence."""
    pattern = _ASCII_TOKEN if text.isascii() else _TOKEN
    if _FOLDED.search(text) is None:
        spans = [match.span() for match in pattern.finditer(text)]
        return _tokens([text[a:b] for a, b in spans], [a for a, _ in spans], [b for _, b in spans])
    words: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for match in pattern.finditer(text):
        word = match.group()
        start, end = match.span()
        if word in _HYPHENS and start > 0 and end < len(text):
            before, after = text[start - 1], text[end]
            if before.isalnum() and after.isalnum() and not (before.isdigit() and after.isdigit()):
                continue
        words.append(word.replace("\u2019", "'"))
        starts.append(start)
        ends.append(end)
    return _tokens(words, starts, ends)


def _tokens(words: list[str], starts: list[int], ends: list[int]) -> Tokens:
    return Tokens(tuple(words), tuple([word.lower() for word in words]), tuple(starts), tuple(ends))
