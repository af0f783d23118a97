"""Identities out of a text, with a map of where each character went so that what points into it stays true.

What is known of an object's header is found in every form that people write it in; what is generally of the form of an
identity is found by `patterns`. Dates are shifted by the same number of days throughout, so that intervals stay.
"""

import datetime as dt
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from dicomnlp.export import patterns
from dicomnlp.export.dates import find_dates
from dicomnlp.export.folding import Folded, fold
from dicomnlp.export.names import FUNCTION_WORDS, PLACE_WORDS, name_pattern, without_ideographs
from dicomnlp.export.patterns import Kind
from dicomnlp.export.pseudonyms import Pseudonyms

OLDEST_TOLD = 89
"""Years; older ages become `_OLD`."""
_OLD = "[90+]"
_SHORT_IDENTIFIER = 4
"""Identifiers shorter than this stand in every text as a number; they are found where a word announces them."""


@dataclass(frozen=True, slots=True)
class Identities:
    """What an object's header says of people and places: what is looked for in its text. Never logged."""

    patient_names: tuple[str, ...] = ()
    """Person names (PS3.5 6.2.1), or as people write them."""
    person_names: tuple[str, ...] = ()
    """Of physicians, operators, observers and relatives."""
    identifiers: tuple[str, ...] = ()
    """Of patient, visit, order, study; accession numbers."""
    phones: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    """Institutions and addresses."""
    birth_dates: tuple[str, ...] = ()
    """DA, YYYYMMDD."""
    dates: tuple[str, ...] = ()
    """Other dates, likewise, that of the study first."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """A stretch of the text and what stands in its place."""

    start: int
    end: int
    text: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class CleanedText:
    """A text without what identifies, and where everything went."""

    text: str
    replacements: tuple[Replacement, ...] = ()
    """In their order, in offsets of the original."""
    _starts: tuple[int, ...] = field(default=(), repr=False)
    _gains: tuple[int, ...] = field(default=(), repr=False)
    """By how much the text has grown before, and behind, each replacement."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where `original[start:end]` is in the cleaned text; it begins and ends with whole replacements."""
        return self._place(start, at_end=False), self._place(end, at_end=True)

    def _place(self, offset: int, *, at_end: bool) -> int:
        index = bisect_right(self._starts, offset - at_end) - 1
        if index < 0:
            return offset
        replacement = self.replacements[index]
        gain = self._gains[index]
        if offset < replacement.end or (at_end and offset <= replacement.end):
            # within it: all of it, or before it
            return replacement.start + gain + (len(replacement.text) if at_end else 0)
        return offset + gain + len(replacement.text) - (replacement.end - replacement.start)

    def counts(self) -> Counter[str]:
        """How many of each kind were replaced."""
        return Counter(r.kind.name.lower() for r in self.replacements)


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    rank: int
    """Of spans that overlap the lowest says what they are."""
    kind: Kind
    text: str


class Cleaner:
    """Takes the identities of one object, and what has the form of some, out of texts.

    Parameters
    ----------
    known
        What the object's header holds.
    salt
        The site's secret: UIDs in the text become the same as in the rest of the export.
    shift_days
        Added to every date, see `pseudonyms.Pseudonyms.shift_days`.
    """

    def __init__(self, known: Identities, salt: bytes, shift_days: int) -> None:
        self.known = known
        self.shift_days = shift_days
        self._pseudonyms = Pseudonyms(salt)
        self._birth_dates = {d for d in map(_date_of, known.birth_dates) if d is not None}
        self._dates = [d for d in map(_date_of, known.dates) if d is not None]

    def clean(self, text: str) -> CleanedText:
        """`text` without identities, dates shifted."""
        if not text:
            return CleanedText("")
        folded = fold(text)
        spans = [
            *self._known(folded),
            *self._dated(folded),
            *self._generic(folded),
        ]
        merged = _merge(sorted(spans, key=lambda s: (s.start, s.end)))
        return _replace(text, merged)

    def _spans(self, folded: Folded, found: Iterable[tuple[int, int]], rank: int, kind: Kind) -> Iterator[_Span]:
        for start, end in found:
            if start < end:
                yield _Span(*folded.span(start, end), rank, kind, f"[{kind.value}]")

    def _known(self, folded: Folded) -> Iterator[_Span]:
        known, veiled = self.known, without_ideographs(folded.text)
        for kind, names in ((Kind.PATIENT, known.patient_names), (Kind.PERSON, known.person_names)):
            for name in names:
                yield from self._spans(folded, name_pattern(name).find(folded.text, veiled), 0, kind)
        for kind, make, values in (
            (Kind.IDENTIFIER, identifier_pattern, known.identifiers),
            (Kind.PHONE, phone_pattern, known.phones),
            (Kind.PLACE, place_pattern, known.places),
        ):
            for value in values:
                pattern = make(value)
                if pattern is not None:
                    yield from self._spans(folded, (m.span() for m in pattern.finditer(folded.text)), 0, kind)

    def _dated(self, folded: Folded) -> Iterator[_Span]:
        text = folded.text
        year = self._dates[0].year if self._dates else None
        for mention in find_dates(text, {*self._dates, *self._birth_dates}, year):
            span = folded.span(mention.start, mention.end)
            is_birth = mention.date in self._birth_dates or patterns.BIRTH_CUE.search(
                text, max(0, mention.start - 30), mention.start
            )
            written = None if is_birth else self._shifted(mention.date)
            if written is None:
                kind = Kind.BIRTH_DATE if is_birth else Kind.DATE
                yield _Span(*span, 0 if is_birth else 2, kind, f"[{kind.value}]")
            else:
                yield _Span(*span, 2, Kind.DATE, mention.write(written))
        for start, end in patterns.ages(text):
            yield _Span(*folded.span(start, end), 2, Kind.AGE, _OLD)
        for match in patterns.UIDS.finditer(text):
            yield _Span(*folded.span(*match.span()), 1, Kind.UID, self._pseudonyms.uid(match[0]))

    def _shifted(self, date: dt.date) -> dt.date | None:
        try:
            return date + dt.timedelta(days=self.shift_days)
        except OverflowError:
            return None

    def _generic(self, folded: Folded) -> Iterator[_Span]:
        for rank, found in ((1, patterns.cued(folded.text)), (3, patterns.bare(folded.text))):
            for start, end, kind in found:
                yield from self._spans(folded, [(start, end)], rank, kind)


def _date_of(text: str) -> dt.date | None:
    try:
        return dt.date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None


def _merge(spans: list[_Span]) -> list[_Span]:
    """Spans of which none overlap: what overlaps becomes one, of the kind that ranks first (the longest of equals)."""
    merged: list[_Span] = []
    for span in spans:
        if not merged or span.start >= merged[-1].end:
            merged.append(span)
            continue
        last = merged[-1]
        first = min(last, span, key=lambda s: (s.rank, s.start - s.end))
        text = first.text
        end = max(last.end, span.end)
        if first.kind in {Kind.DATE, Kind.UID} and (first.start, first.end) != (last.start, end):
            # what is shifted stands for itself alone
            text = f"[{first.kind.value}]"
        merged[-1] = _Span(last.start, end, first.rank, first.kind, text)
    return merged


def _replace(text: str, spans: list[_Span]) -> CleanedText:
    parts: list[str] = []
    gains: list[int] = []
    at = gain = 0
    for span in spans:
        parts += [text[at : span.start], span.text]
        gains.append(gain)
        gain += len(span.text) - (span.end - span.start)
        at = span.end
    return CleanedText(
        "".join([*parts, text[at:]]),
        tuple(Replacement(s.start, s.end, s.text, s.kind) for s in spans),
        tuple(s.start for s in spans),
        tuple(gains),
    )


@lru_cache(maxsize=1024)
def identifier_pattern(value: str) -> re.Pattern[str] | None:
    """What finds an identifier with or without the marks and leading zeros that it has; None for one too short.

    Between digits of a number of six or more there may be a blank or a hyphen.
    """
    runs = re.findall(r"[A-Za-z]+|\d+|[^\W\d_A-Za-z]+", fold(value[:100]).text)
    size = sum(map(len, runs))
    if size < _SHORT_IDENTIFIER or (len(runs) == 1 and runs[0].casefold() in FUNCTION_WORDS):
        return None
    has_digit = any(run.isdigit() for run in runs)
    parts = []
    for index, run in enumerate(runs):
        if not run.isdigit():
            # an identifier without digits is a word: only as it is written
            parts.append(f"(?i:{re.escape(run)})" if has_digit else re.escape(run))
            continue
        stripped = run.lstrip("0")
        zeros = "0*" if index == 0 and len(stripped) + size - len(run) >= _SHORT_IDENTIFIER else ""
        digits = stripped if zeros else run
        parts.append(zeros + (r"[ \-]?".join(digits) if len(run) >= 6 else digits))
    before = r"(?<!\d)" if runs[0].isdigit() else r"(?<![A-Za-z])"
    after = r"(?!\d)" if runs[-1].isdigit() else r"(?![A-Za-z])"
    return re.compile(before + r"[\s\-./_^]{0,2}".join(parts) + after)


@lru_cache(maxsize=1024)
def phone_pattern(value: str) -> re.Pattern[str] | None:
    """What finds a telephone number with other marks between its digits, and without its country code."""
    digits = re.sub(r"\D", "", fold(value[:100]).text)
    if len(digits) < 5:
        return None
    own = digits[-10:] if len(digits) > 10 else digits
    gap = r"[\s().\-/]{0,3}"
    start = f"(?:{gap.join(digits[:-10])}{gap})?" if len(digits) > 10 else ""
    return re.compile(rf"(?<!\d)[+(]?{start}{gap.join(own)}(?!\d)")


@lru_cache(maxsize=1024)
def place_pattern(value: str) -> re.Pattern[str] | None:
    """What finds an institution or address; None for one that is all general words ("Radiology")."""
    words = re.findall(r"[^\W_]+", fold(value.replace("^", " ")[:400]).text)
    if not words or all(w.casefold() in PLACE_WORDS for w in words) or sum(map(len, words)) < 4:
        return None
    forms = [r"[\W_]{0,3}".join(map(re.escape, words))]
    if len(words) == 1 and not words[0].isascii():
        # without province, city and district before it
        rest = words[0]
        while (found := re.match(r".{1,6}?[省市县区縣區](?=.{3})", rest)) is not None:
            rest = rest[found.end() :]
            if rest not in PLACE_WORDS and len(rest) > 3:
                forms.append(re.escape(rest))
    return re.compile(rf"(?<![A-Za-z])(?i:{'|'.join(forms)})(?![A-Za-z])")
