"""Sentences of a report: prose, numbered lists, lists without full stops, hard-wrapped lines.

Lines come first: a line break ends a sentence unless the next line plainly goes on (it begins in lower case, or the
line was broken only because it was full). Then full stops are judged inside the joined lines. Linear in the text.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator

from dicomnlp.analyse.schema import SentencesFile
from dicomnlp.analyse.tokens import HAN

_LINE = re.compile(r"[^\n\r]+")
_LABEL = re.compile(r"[^\W\d_][\w /&,()'-]{0,50}:(?!\d)")
_BULLET = re.compile(r"[-*\u2022\u00b7>]\s+")
_HAN = re.compile(f"[{HAN}]")
_WORD_AT_MOST = 40
"""Characters before a full stop that are looked at for the word that it ends."""
_PARTS = re.compile(r"[\d.\s]")


class SentenceSplitter:
    """Splits by the rules of one pack.

    Parameters
    ----------
    rules
        ``sentences.toml`` of the pack.
    limit
        The most characters of a sentence.
    """

    def __init__(self, rules: SentencesFile, limit: int) -> None:
        self.limit = limit
        self.abbreviations = frozenset(word.lower().rstrip(".") for word in rules.abbreviations)
        self.units = frozenset(word.lower().rstrip(".") for word in rules.units)
        self.marker = re.compile(rules.list_marker)
        self.ends_anywhere = frozenset(rules.ends_anywhere)
        ends = re.escape(rules.ends)
        anywhere = f"|[{re.escape(rules.ends_anywhere)}]+" if rules.ends_anywhere else ""
        also = f"|{rules.ends_also}" if rules.ends_also else ""
        self.end = re.compile(f"[{ends}]+[\"'\u201d\u2019)\\]]*(?=\\s|$){anywhere}{also}")
        self.also = re.compile(rules.ends_also) if rules.ends_also else None
        self.item = re.compile(rules.inline_items) if rules.inline_items else None
        self.goes_on = tuple(rules.goes_on)
        self.wrap_at_least = rules.wrap_at_least
        self.clause = re.compile(f"[{re.escape(rules.clause_marks)}]|\\s")
        self.clause_marks = frozenset(rules.clause_marks)

    def split(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Half-open offsets of the sentences of ``text[start:end]``, white space trimmed, never empty."""
        for first, last in self._blocks(text, start, end):
            for a, b in self._sentences(text, first, last):
                if b - a <= self.limit:
                    yield a, b
                else:
                    yield from self._bounded(text, a, b)

    def _blocks(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Runs of lines that belong together."""
        lines = [m.span() for m in _LINE.finditer(text, start, end) if not m.group().isspace()]
        if len(lines) < 2:
            yield from lines
            return
        width = max(b - a for a, b in lines)
        full = sum(b - a >= width - 1 for a, b in lines)
        begins, before = lines[0][0], lines[0]
        for line in lines[1:]:
            if not self._goes_on(text, before, line, width, full):
                yield begins, before[1]
                begins = line[0]
            before = line
        yield begins, before[1]

    def _goes_on(self, text: str, before: tuple[int, int], line: tuple[int, int], width: int, full: int) -> bool:
        """Whether `line` belongs to the block that the line `before` ends so far."""
        if text.count("\n", before[1], line[0]) > 1:
            return False
        following = text[line[0] : line[1]].lstrip()
        if self.marker.match(following) or _BULLET.match(following) or _LABEL.match(following):
            return False
        previous = text[before[0] : before[1]].rstrip()
        if previous.endswith(self.goes_on):
            return True
        if following[0].islower() or (following[0].isdigit() and not previous.endswith((".", ":"))):
            return True
        if previous[-1] in ".:!?;":
            return previous.endswith(".")  # the full stop decides inside the block
        if width < self.wrap_at_least:
            return False
        if _HAN.match(following):
            # characters are set one by one: a line that was broken is full, and hardly the only one
            return full > 1 and len(previous) >= width - 1
        return len(previous) + 1 + len(following.split(maxsplit=1)[0]) > width * 0.85

    def _sentences(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        cuts = [match.end() for match in self.end.finditer(text, start, end) if self._ends(text, match, start, end)]
        if self.item is not None and (items := [match.start() for match in self.item.finditer(text, start, end)]):
            cuts = sorted({*cuts, *items})
        at = start
        for cut in [*cuts, end]:
            a, b = _trim(text, at, cut)
            if a < b:
                yield a, b
            at = cut

    def _ends(self, text: str, match: "re.Match[str]", start: int, end: int) -> bool:
        at = match.start()
        if text[at] == "?" and (at == start or text[at - 1].isspace()):
            return False  # a question mark before a word doubts the word
        if text[at] in self.ends_anywhere or text[at] != "." or (self.also and self.also.match(text, at)):
            return True
        after = match.end()
        while after < end and text[after].isspace():
            after += 1
        if after >= end:
            return True
        following = text[after]
        # what stands before the full stop, without white space
        lead = text[max(start, at - _WORD_AT_MOST) : at]
        word = "" if lead[-1:].isspace() else lead.split()[-1] if lead else ""
        before = at - len(word)
        word = word.lstrip("([\"'").lower()
        if word.isdigit() and len(word) <= 2 and _opens(text, before, start):
            return False  # the number of a list item
        if word in self.abbreviations or (len(word) == 1 and word.isalpha()):
            return False
        last = word if word.isalpha() else _PARTS.split(word)[-1]
        if last in self.units and not (following.isupper() or (following.isdigit() and word == last)):
            return False
        return not (following in ",;" or (following.islower() and len(word) <= 2))

    def _bounded(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The sentence, which is longer than the limit, cut at clause marks or white space."""
        marks = [m.end() for m in self.clause.finditer(text, start, end)]
        strong = [m for m in marks if text[m - 1] in self.clause_marks]
        at = start
        while end - at > self.limit:
            cut = _last_before(strong, at + self.limit // 2, at + self.limit)
            cut = cut or _last_before(marks, at + self.limit // 2, at + self.limit) or at + self.limit
            a, b = _trim(text, at, cut)
            if a < b:
                yield a, b
            at = cut
        a, b = _trim(text, at, end)
        if a < b:
            yield a, b


def _last_before(cuts: list[int], low: int, high: int) -> int | None:
    """The greatest of the sorted `cuts` that is at most `high` and above `low`."""
    i = bisect_left(cuts, high + 1) - 1
    return cuts[i] if i >= 0 and cuts[i] > low else None


def _opens(text: str, place: int, start: int) -> bool:
    """Whether a sentence or a list item may begin at `place`."""
    while place > start and text[place - 1].isspace():
        place -= 1
    return place <= start or text[place - 1] in ".:;!?,"


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
