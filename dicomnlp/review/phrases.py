"""Words of rules, looked for in text: Latin ones whole and in any case, Chinese ones anywhere."""

import functools
import re
from collections.abc import Iterable, Iterator

_lowered = functools.lru_cache(64)(str.lower)


class Phrases:
    """Any of some words.

    Most texts have none of a rule's words, and a substring is found faster than a pattern fails: the pattern is only
    asked where one of the words can be.

    Parameters
    ----------
    words
        Words or phrases; between the words of a phrase any blanks or hyphens.
    plural
        Latin ones also with an "s".
    beginnings
        Latin ones are beginnings of words: "surg" of "surgical".
    """

    def __init__(self, words: Iterable[str], *, plural: bool = False, beginnings: bool = False) -> None:
        self.words = tuple(sorted({w.lower() for w in words}, key=lambda w: (-len(w), w)))
        # the longest word of a phrase is the rarest
        parts = (tuple(sorted(re.split(r"[\s-]+", w), key=len, reverse=True)) for w in self.words)
        hints = dict.fromkeys((longest, tuple(others)) for longest, *others in parts)
        self._hints = tuple(hint for hint in hints if hint[0].isascii())
        self._others = tuple(hint for hint in hints if not hint[0].isascii())
        self.expression = "|".join(_expression(w, plural=plural, beginnings=beginnings) for w in self.words) or "(?!)"

    @functools.cached_property
    def _pattern(self) -> "re.Pattern[str]":
        return re.compile(self.expression, re.IGNORECASE)

    def _may_be_in(self, lowered: str) -> bool:
        # a loop: this is asked of every report for every rule, and a generator costs twice as much
        for longest, others in self._hints:
            if longest in lowered and all(word in lowered for word in others):
                return True
        if lowered.isascii():
            return False
        return any(longest in lowered and all(word in lowered for word in others) for longest, others in self._others)

    def search(self, text: str, start: int = 0, end: int | None = None) -> "re.Match[str] | None":
        """The first of the words in [start, end) of `text`."""
        if not self._may_be_in(_lowered(text)):
            return None
        return self._pattern.search(text, start, len(text) if end is None else end)

    def finditer(self, text: str, start: int = 0, end: int | None = None) -> "Iterator[re.Match[str]]":
        """All of them, as `search`."""
        if not self._may_be_in(_lowered(text)):
            return iter(())
        return self._pattern.finditer(text, start, len(text) if end is None else end)

    def within(self, text: str, stretches: Iterable[tuple[int, int]]) -> "Iterator[re.Match[str]]":
        """All of them inside of any of the stretches."""
        for start, end in stretches:
            yield from self.finditer(text, start, end)


def _expression(word: str, *, plural: bool, beginnings: bool) -> str:
    quoted = r"[\s-]+".join(re.escape(part) for part in re.split(r"[\s-]+", word) if part)
    ending = "s?" if plural and word.isascii() and word[-1:].isalpha() else ""
    # a Chinese character beside a Latin word is no part of it
    if not word.isascii():
        return quoted
    return rf"(?<![A-Za-z0-9]){quoted}" + ("" if beginnings else rf"{ending}(?![A-Za-z0-9])")
