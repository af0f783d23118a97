"""Text to tokens: one Han character, one number, one run of letters, or one mark.

Every language is cut in the same way, so that no word segmenter can glue a cue to its target. Tokens keep their own
character offsets; spaCy's are not used, because a hyphen inside a word leaves no token ("ground-glass" is two words)
and white space of any width is one gap.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from operator import add

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
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


class Tokens:
    """Tokens of a text with their half-open character offsets, which are found when they are first asked for.

    Parameters
    ----------
    text
        What they are of.
    words
        The tokens.
    lower
        The words in lower case.
    places
        Their starts and ends, where they are known already: else they stand one after another as `_TOKEN` finds them.
    """

    __slots__ = ("_ends", "_starts", "_text", "lower", "words")

    def __init__(
        self,
        text: str,
        words: Sequence[str],
        lower: Sequence[str],
        places: tuple[Sequence[int], Sequence[int]] | None = None,
    ) -> None:
        self._text = text
        self.words = tuple(words)
        self.lower = tuple(lower)
        self._starts: Sequence[int] | None = places[0] if places else None
        self._ends: Sequence[int] | None = places[1] if places else None

    @property
    def starts(self) -> Sequence[int]:
        """Where each token starts."""
        if self._starts is None:
            self._starts = [match.start() for match in _pattern(self._text).finditer(self._text)]
        return self._starts

    @property
    def ends(self) -> Sequence[int]:
        """Where each token ends."""
        if self._ends is None:
            self._ends = list(map(add, self.starts, map(len, self.words)))
        return self._ends

    def __len__(self) -> int:
        return len(self.words)

    def place(self, first: int, last: int) -> tuple[int, int]:
        """The characters of the tokens [first, last)."""
        starts = self._starts or self.starts
        ends = self._ends or self.ends
        return starts[first], ends[last - 1]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The tokens (first, past the last) that the characters [start, end) touch; empty where they touch none."""
        first = bisect_right(self.ends, start)
        last = bisect_left(self.starts, end, first)
        return first, last


@lru_cache(64)
def tokenize(text: str) -> Tokens:
    """Cut `text` into tokens; linear in its length. The last are kept: several readers ask for the same sentence."""
    pattern = _pattern(text)
    if _FOLDED.search(text) is None:
        found = pattern.findall(text)
        lowered = text.lower()
        if lowered == text:
            return Tokens(text, found, found)
        # of ASCII text each letter has one in lower case
        lower = pattern.findall(lowered) if text.isascii() else [word.lower() for word in found]
        return Tokens(text, found, lower)
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
    return Tokens(text, words, [word.lower() for word in words], (starts, ends))


def _pattern(text: str) -> "re.Pattern[str]":
    return _ASCII_TOKEN if text.isascii() else _TOKEN
