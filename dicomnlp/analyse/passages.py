"""A sentence as the readers of statements see it: its tokens in lower case, with their places.

Statements (recommendations, scores, communications, age and sex) are found by phrases of the pack, looked up in
`dicomnlp.analyse.phrases.PhraseTable`; of overlapping phrases the longest counts, so that a pack can write an exception
("as recommended") as a longer phrase.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from dicomnlp.analyse.context import steps
from dicomnlp.analyse.phrases import PhraseTable, signs
from dicomnlp.analyse.tokens import HAN, Tokens, tokenize
from dicomnlp.errors import LanguagePackError

MARKS = frozenset(".,;:()[]。、")
"""Tokens that a gap of a phrase doesn't step over."""
_GLUED = re.compile(f"[^\\W\\d_{HAN}](?:\\d|[^\\W\\d_a-zA-Z\u00c0-\u024f{HAN}])")
"""What may make two words of a token: a letter and a digit, superior ones and what is seldom written among them."""


class Passage:
    """A text and its tokens.

    Parameters
    ----------
    text
        What is read.
    tokens
        Its tokens.
    words
        The same in lower case; letters and the digits glued to them are two ("TR4").
    written
        The text before its characters were folded, as long.
    """

    __slots__ = ("_tokens", "text", "words", "written")

    def __init__(self, text: str, tokens: Tokens, words: tuple[str, ...], written: str) -> None:
        self.text = text
        self.words = words
        self.written = written
        self._tokens = tokens

    @property
    def starts(self) -> Sequence[int]:
        """Where each word starts."""
        return self._tokens.starts

    @property
    def ends(self) -> Sequence[int]:
        """Where each word ends."""
        return self._tokens.ends

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the tokens [start, end)."""
        return self.starts[start], self.ends[end - 1]

    def said(self, start: int, end: int) -> str:
        """The tokens [start, end) as they were written."""
        return self.written[self.starts[start] : self.ends[end - 1]]


class Hit(NamedTuple):
    """Tokens [start, end) that a phrase of the pack matches, and what the pack says of it."""

    kind: str
    value: int
    """Which entry of the kind, where entries differ."""
    start: int
    end: int


def passage(text: str, written: str | None = None) -> Passage:
    """`text` cut into tokens; `written` is what it was before it was folded, where that differs."""
    tokens = tokenize(text)
    written = text if written is None else written
    if _GLUED.search(text) is None:
        return Passage(text, tokens, tokens.lower, written)
    words: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for word, start, end in zip(tokens.words, tokens.starts, tokens.ends, strict=True):
        pieces = [word]
        if end - start > 1 and word[-1].isdigit() and word[0].isalpha():
            pieces = ["".join(run) for _, run in groupby(word, str.isdigit)]
        at = start
        for piece in pieces:
            words.append(piece.lower())
            starts.append(at)
            at += len(piece)
            ends.append(at)
    glued = Tokens(text, words, words, (starts, ends))
    return Passage(text, glued, glued.words, written)


class Phrases:
    """The phrases of one file of a pack.

    Parameters
    ----------
    file
        Its name, for the message of a bad phrase.
    entries
        (kind, number of the entry, phrases); the syntax of a phrase is that of a cue in ``context.toml``.
    needed
        Kinds without one of which a sentence says nothing to the reader; most sentences are such, which their words
        alone tell. None where each kind is enough.
    """

    def __init__(
        self, file: str, entries: Iterable[tuple[str, int, Sequence[str]]], needed: Collection[str] | None = None
    ) -> None:
        self._table: PhraseTable[tuple[str, int]] = PhraseTable(MARKS)
        patterns = []
        for kind, number, phrases in entries:
            for phrase in phrases:
                pattern = list(steps(phrase))
                if not self._table.add_pattern(pattern, (kind, number)):
                    raise LanguagePackError(f"{file}: the phrase {phrase!r} can match nothing, or begins with a gap")
                if needed is None or kind in needed:
                    patterns.append(pattern)
        self.signs = signs(patterns)
        """Words one of which is in all that says something to the reader; None where there are no such."""

    def find(self, words: Sequence[str]) -> list[Hit]:
        """What is in `words`, without overlaps: the longest stays; in order; nothing where nothing needed can be."""
        if self.signs is not None and self.signs.isdisjoint(words):
            return []
        hits = [Hit(kind, value, start, end) for (kind, value), start, end in self._table.find(words)]
        if len(hits) < 2:
            return hits
        kept: list[Hit] = []
        taken: set[int] = set()
        for hit in sorted(hits, key=lambda h: (h.start - h.end, h.start, h.kind, h.value)):
            if taken.isdisjoint(range(hit.start, hit.end)):
                kept.append(hit)
                taken.update(range(hit.start, hit.end))
        return sorted(kept, key=lambda h: h.start)
