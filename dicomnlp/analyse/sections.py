"""Sections of a report: from coded headings of the SR tree and from headings in its text.

A heading is known by its words (``sections.toml``) and by its place: at the start of a line with a colon, or alone on
the line; in running text only with a colon, after the end of a sentence, written with a capital. Organ sub-headings
("LUNGS:") are not in the list of headings, so they stay within their section.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from dicomnlp.analyse.schema import SectionsFile
from dicomnlp.analyse.tokens import LOWER, WORD
from dicomnlp.model import Narrative, Section, SectionName

_LINE_LEAD = (
    r"(?:^|(?<=\n))[ \t]{0,20}"
    r"(?:[*#_>=\u2022]{1,8}[ \t]{0,4}|\(?(?:\d{1,2}|[ivxIVX]{1,4})[.)][ \t]{1,4})?[*_]{0,4}"
)
_LINE_TAIL = (
    r"[*_ \t]{0,8}"
    r"(?:(?P<colon>[:\uff1a]{1,2}[*_]{0,4}|[ \t]?[-\u2013\u2014][ \t]|\.(?=[ \t]{0,20}(?:\n|$)))"
    r"|(?=[ \t]{0,20}(?:\r?\n|$)))"
)
_INLINE_LEAD = rf"\s{{1,4}}(?-i:(?![{LOWER}]))"
_LETTERS = r"(?P<letters>[^\W\d_]*)"
_LINE_OPENS = re.compile(_LINE_LEAD + _LETTERS)
_INLINE_OPENS = re.compile(r"[.!?;:,)\]\u3002]" + _INLINE_LEAD + _LETTERS)
_UNSPACED_OPENS = re.compile(r"\s{0,4}" + _LETTERS)
"""What a heading could begin with: few lines and sentences begin with the first letters of one."""
_DECORATED = re.compile(r"[*#_]+[ \t]*$")
_BLANK = re.compile(r"\s*\n")
_PARAGRAPH = re.compile(r"[.!?\u3002][ \t]*\r?\n|\n[ \t]{0,80}\r?\n")
"""A line that ends with its sentence, or a blank line."""
_SENTENCE = re.compile(
    r"[.!?\u3002](?:[ \t]+(?:[-\u2013\u2014*\u2022][ \t]+)?|[ \t]*\r?\n)"
    rf"(?=[^\W{LOWER}\d_])|\n[ \t]{{0,80}}\r?\n"
)
_HEADING_AT_MOST = 90
"""Characters of the longest heading."""


class SectionFinder:
    """Finds sections by the words of one pack.

    Parameters
    ----------
    rules
        ``sections.toml`` of the pack.
    """

    def __init__(self, rules: SectionsFile) -> None:
        self.rules = rules
        self._names = {_key(words): name for name, all_words in rules.headings.items() for words in all_words}
        self._rank = {name: i for i, name in enumerate(rules.priority)}
        core = _alternatives(self._names)
        qualifier = _alternatives(rules.qualifiers)
        join = _alternatives(rules.joins)
        exam = _alternatives(rules.examinations)
        # "ADDENDUM (Dr. Lee):", "ADDENDUM 2/14/2023:"
        bracket = r"(?:[ \t]*\([^()\n]{1,40}\)|[ \t]+#?\d[\d/.\-: ]{0,18}(?=:))?"
        joined = rf"(?:[ \t]*(?:{join})[ \t]*(?:{qualifier}[ \t]+)?(?:{core})){{0,3}}"
        body = rf"(?:{qualifier}[ \t]+){{0,3}}(?:{core}){joined}{bracket}"
        named = rf"(?P<title>{body})(?!{WORD})"
        examined = rf"(?P<exam>(?:{exam})\b[^:\n.]{{0,60}}(?=:))" if rules.examinations else r"(?P<exam>(?!))"
        self._line = re.compile(_LINE_LEAD + rf"(?:{named}|{examined})" + _LINE_TAIL, re.IGNORECASE)
        self._inline = re.compile(_INLINE_LEAD + named + r"[ \t]*(?P<colon>[:\uff1a])", re.IGNORECASE)
        self._unspaced = re.compile(f"[{re.escape(rules.inline_after)}]") if rules.inline_after else None
        self._inline_unspaced = re.compile(r"\s{0,4}" + named + r"[ \t]*(?P<colon>[:\uff1a])", re.IGNORECASE)
        every = (*self._names, *rules.qualifiers, *rules.examinations)
        self._first_letters = frozenset(_first_letters(_key(words)) for words in every)
        self._core = re.compile(rf"(?<!{WORD})(?:{core})(?!{WORD})", re.IGNORECASE)
        nothing = _alternatives(rules.nothing)
        self._nothing = re.compile(rf"{nothing}\.?[ \t]+[-\u2013\u2014][ \t]+(?-i:(?=[^\W{LOWER}\d_]))", re.IGNORECASE)
        openings = "|".join(rules.openings)
        self._opening = re.compile(rf"(?<=[.!?\u3002])\s{{1,4}}(?=(?:{openings})\b)") if openings else None
        self._exam_sentence = re.compile(rf"\s*(?:{exam})\b[^\n.:]{{0,80}}\.\s(?=\s*\S)", re.IGNORECASE)
        self._exam_line = re.compile(rf"(?:^|(?<=\n))[ \t]*(?:{exam})\b[^\n]{{0,100}}(?=\n|$)", re.IGNORECASE)

    def find(self, narrative: Narrative) -> tuple[Section, ...]:
        """Sections that together cover the text, in order; none where there is no text."""
        text = narrative.text
        if not text.strip():
            return ()
        heads = self._heads(narrative)
        # "Abdomen:" names an examination, or an organ of what runs on without a heading for the findings
        has_findings = any(
            name is SectionName.FINDINGS and (title is None or self._core.search(title)) for _, _, title, name in heads
        )
        sections: list[Section] = []
        first = heads[0][0] if heads else len(text)
        if text[:first].strip():
            sections += self._untitled(text, 0, first, has_findings=has_findings)
        bounds = [*heads, (len(text), len(text), None, SectionName.OTHER)]
        for (start, body, title, name), (following, *_) in pairwise(bounds):
            if name in self.rules.one_paragraph and not has_findings:
                sections += self._one_paragraph(text, start, body, following, title, name)
            else:
                sections.append(Section(name, title, start, following, body))
        return tuple(sections)

    def _heads(self, narrative: Narrative) -> list[tuple[int, int, str | None, SectionName]]:
        """(start of heading, start of body, title, name), in order, without overlaps; coded sections first."""
        found: list[tuple[int, int, str | None, SectionName]] = [
            (s.start, s.body_start, s.title, s.name) for s in narrative.sections
        ]
        taken = [(start, max(body, start + 1)) for start, body, _, _ in found]
        ends = {s.end for s in narrative.sections} - {s.start for s in narrative.sections}
        found += [(e, e, None, SectionName.OTHER) for e in ends if narrative.text[e:].strip()]
        for head in self._text_heads(narrative.text):
            if all(head[1] <= a or b <= head[0] for a, b in taken):
                found.append(head)
        return sorted(found, key=lambda head: head[0])

    def _text_heads(self, text: str) -> Iterator[tuple[int, int, str | None, SectionName]]:
        matches = {m.start("title") if m["title"] else m.start("exam"): m for m in self._line_heads(text)}
        for m in self._inline_heads(text) if ":" in text or "\uff1a" in text else ():
            if not m["title"][0].islower():
                matches.setdefault(m.start("title"), m)
        end = 0
        for _, m in sorted(matches.items()):
            group = "title" if m["title"] else "exam"
            start = m.start(group)
            title = m[group].strip()
            if start < end or len(title) > _HEADING_AT_MOST:
                continue
            if not m["colon"] and not _stands_alone(title):
                continue
            name = SectionName.FINDINGS if group == "exam" else self._name(title)
            lead = _DECORATED.search(text[max(0, start - 4) : start])
            end = m.end()
            yield (start - len(lead.group()) if lead else start), end, title, name

    def _line_heads(self, text: str) -> Iterator["re.Match[str]"]:
        """What is written as a heading at the beginning of a line."""
        at = 0
        while True:
            if self._may_open(_LINE_OPENS.match(text, at)) and (match := self._line.match(text, at)):
                yield match
            at = text.find("\n", at) + 1
            if not at:
                return

    def _inline_heads(self, text: str) -> Iterator["re.Match[str]"]:
        """What is written as a heading after a mark."""
        end = 0
        last = max(text.rfind(":"), text.rfind("\uff1a"))
        first_letters = self._first_letters
        for mark in _INLINE_OPENS.finditer(text, 0, max(last, 0)):
            if mark["letters"].lower() not in first_letters:
                continue
            at = mark.start() + 1
            if at >= end and (match := self._inline.match(text, at)):
                yield match
                end = match.end()
        for mark in self._unspaced.finditer(text) if self._unspaced else ():
            opens = self._may_open(_UNSPACED_OPENS.match(text, mark.end()))
            if opens and (match := self._inline_unspaced.match(text, mark.end())):
                yield match

    def _may_open(self, opening: "re.Match[str] | None") -> bool:
        return opening is not None and opening["letters"].lower() in self._first_letters

    def _name(self, title: str) -> SectionName:
        if (key := _key(title)) in self._names:
            return self._names[key]
        names = [self._names[_key(m.group())] for m in self._core.finditer(title) if _key(m.group()) in self._names]
        return min(names, key=lambda name: self._rank.get(name, len(self._rank)), default=SectionName.OTHER)

    def _untitled(self, text: str, start: int, end: int, *, has_findings: bool) -> Iterator[Section]:
        """Text before the first heading: lines that name the examination, then findings that have no heading."""
        at = start
        while at < end:
            line = self._exam_line.match(text, at, end)
            blank = _BLANK.match(text, at, end)
            if line and len(line.group()) < end:
                at = min(line.end() + 1, end)
            elif blank and blank.end() > at:
                at = blank.end()
            else:
                break
        named = self._exam_sentence.match(text, at, end)
        if named and named.group().isupper() and not text[named.end() : end].isupper():
            at = named.end()
        if text[start:at].strip():
            yield Section(SectionName.EXAM, None, start, at, start)
        if text[at:end].strip():
            yield Section(SectionName.OTHER if has_findings else SectionName.FINDINGS, None, at, end, at)

    def _one_paragraph(
        self, text: str, start: int, body: int, end: int, title: str | None, name: SectionName
    ) -> Iterator[Section]:
        begin = body
        while begin < end and text[begin].isspace():
            begin += 1
        stop = _SENTENCE if name in self.rules.one_sentence else _PARAGRAPH
        gap = self._nothing.match(text, begin, end) or stop.search(text, begin, end)
        cut = gap.end() if gap else end
        if self._opening and (opening := self._opening.search(text, begin, cut)):
            cut = opening.end()
        yield Section(name, title, start, cut, body)
        if text[cut:end].strip():
            yield Section(SectionName.FINDINGS, None, cut, end, cut)


def _stands_alone(title: str) -> bool:
    """Without a colon, a heading alone on its line must look like one: capitals, or a capital at each main word."""
    return title.isupper() or title[0].isupper() or not title[0].isascii()


def _key(words: str) -> str:
    return " ".join(words.lower().split())


def _first_letters(key: str) -> str:
    return next((key[:i] for i, c in enumerate(key) if not c.isalpha()), key)


def _alternatives(words: Iterable[str]) -> str:
    """A regular expression for any of `words`, the longest that fits, white space of any width between their parts.

    It branches letter by letter: a list of hundreds is tried from its beginning at each place.
    """
    tree: dict[str, Any] = {}
    for word in words:
        node = tree
        for letter in _key(word):
            node = node.setdefault(letter, {})
        node[""] = {}
    return _branches(tree) or "(?!)"


def _branches(tree: "dict[str, Any]") -> str:
    branches = [
        (r"[ \t]+" if letter == " " else re.escape(letter)) + _branches(after)
        for letter, after in tree.items()
        if letter
    ]
    if branches and "" in tree:
        branches.append("")
    return "(?:" + "|".join(branches) + ")" if len(branches) > 1 else "".join(branches)
