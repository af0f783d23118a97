"""One sentence read: its findings judged, with their cues and attributes.

What a sentence says depends on its text and the pack alone, so results are kept in a bounded cache: radiology repeats
itself. What the section adds is put on top by the caller.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from dicomnlp.analyse.attributed import Attributes
from dicomnlp.analyse.attributes import AttributeReader
from dicomnlp.analyse.context import (
    AFFIRMED,
    FAMILY,
    HISTORICAL,
    HYPOTHETICAL,
    NEGATED,
    UNCERTAIN,
    ClauseConText,
)
from dicomnlp.analyse.details import DetailReader, Lead, Place
from dicomnlp.analyse.ellipsis import ListReader
from dicomnlp.analyse.learned import Learned
from dicomnlp.analyse.lexicon import LABEL_AT_MOST, Lexicon
from dicomnlp.analyse.matches import Match, Matches
from dicomnlp.analyse.measures import MeasureReader
from dicomnlp.analyse.pack import TARGET, UNLISTED, Pack
from dicomnlp.analyse.records import cue
from dicomnlp.analyse.tokens import tokenize
from dicomnlp.model import Assertion, Change, Cue, Finding, Laterality, Measurement, SectionName

_NO_FLAGS: frozenset[str] = frozenset()
CACHE_SIZE = 8192
"""Sentences that a process keeps; at some 2 kB each about 16 MB."""
_NUMBERING = 2
"""Most tokens between a finding that labels a line and the colon: "Nodule #1:"."""


@dataclass(slots=True)
class Mention:
    """A finding in a sentence; offsets are into the sentence. Not frozen, as `Match`; none is ever changed."""

    concept: str
    start: int
    end: int
    assertion: Assertion | None
    """What the cues make of it, None without cues."""
    flags: frozenset[str]
    """ConText categories that act on it."""
    cues: tuple[Cue, ...]
    attributes: Attributes


@dataclass(slots=True, eq=False)
class SentenceReading:
    """All that one sentence says; offsets are into the sentence. Not frozen, as `Mention`."""

    mentions: tuple[Mention, ...]
    measurements: tuple[Measurement, ...]
    lead: Lead | None = None
    """What the label that it begins with says of what follows."""
    refers_back: bool = False
    """It names no finding and goes on about the one before: "It measures 4 mm"."""
    change: Change | None = None
    """Of such a sentence: how what it goes on about has changed, where it names one course."""
    found: dict[tuple[SectionName, Assertion | None], Sequence[Finding]] = field(default_factory=dict)
    """What comes of it in each kind of section, as far as it was asked for; see `findings.FindingJudge`."""


class SentenceReader:
    """Reads sentences by one pack. One per process: it isn't safe to share between threads.

    Parameters
    ----------
    pack
        The language.
    cache
        Whether to keep results.
    """

    def __init__(self, pack: Pack, *, cache: bool = True) -> None:
        self._learned: Learned | None = None
        self._keeps = cache
        self._common = frozenset(pack.about.common_words)
        self._fold = pack.about.folding
        self._lexicon = Lexicon(pack)
        self._lists = ListReader(pack, self._lexicon)
        self._context = ClauseConText(pack.context, frozenset(pack.about.common_words))
        self._attributes = AttributeReader(pack)
        self._measures = MeasureReader(pack.measures)
        self._details = DetailReader(pack.attributes)
        self._anatomy = pack.anatomy
        self._normal = frozenset(i for i, entry in pack.concepts.items() if entry.normal)
        self.read = lru_cache(CACHE_SIZE)(self._read) if cache else self._read

    def with_model(self, learned: Learned) -> "SentenceReader":
        """One that reads as this, and lets a trained model find what the lexicon doesn't list."""
        other = copy.copy(self)
        other._learned = learned  # noqa: SLF001  its own kind
        other.read = lru_cache(CACHE_SIZE)(other._read) if self._keeps else other._read  # noqa: SLF001
        return other

    def _read(self, sentence: str, targets: tuple[tuple[int, int], ...] = ()) -> SentenceReading:
        """What `sentence` says; with `targets` (character offsets) these spans are judged, not the lexicon's."""
        text = sentence if sentence.isascii() else sentence.translate(self._fold)
        measurements = self._measures.read(text)
        if text != sentence:
            measurements = tuple(replace(m, text=sentence[m.start : m.end]) for m in measurements)
        tokens = tokenize(text)
        if not len(tokens):
            return SentenceReading((), measurements)
        words = tokens.lower
        spelled = self._lexicon.respelled(words)
        matches = self._lists(spelled, self._lexicon(tokens.words, spelled))
        places = list(targets)
        measured = [(m, tokens.span(m.start, m.end)) for m in measurements]
        # a unit is no finding: "10.1 METS"
        found = list(matches.concepts)
        if measured:
            found = [m for m in found if not any(a < m.start and m.end <= b for _, (a, b) in measured)]
        if targets:
            found = [_target(matches.concepts, *tokens.span(a, b)) for a, b in targets]
        else:
            if self._learned is not None:
                found = self._with_unlisted(found, matches, words)
            places = [tokens.place(*m.predicate) for m in found]
        levels = self._details.levels(text, tokens) if found or ":" in words[:LABEL_AT_MOST] else []
        lead = self._sided(self._details.lead(words, matches, levels))
        if not found:
            refers_back = self._details.refers_back(text)
            courses = {c.identifier for c in matches.courses} if refers_back else set()
            change = Change(courses.pop()) if len(courses) == 1 else None
            return SentenceReading((), measurements, lead, refers_back, change)
        levels = [place for place in levels if lead is None or place.start >= lead.end]
        images = self._details.image_references(text, tokens)
        attributes = self._attributed(words, matches, found, measured, levels, images)
        mentions: list[Mention] = []
        read = zip(found, places, attributes, strict=True)
        instances = _distinct([(m, place, x) for m, place, xs in read for x in xs])
        acting = self._context.cues(words, [x.said_at or match.predicate for match, _, x in instances])
        for (match, (start, end), instance), cues in zip(instances, acting, strict=True):
            if not cues:
                mentions.append(Mention(match.identifier, start, end, None, _NO_FLAGS, (), instance))
                continue
            spans = [(*tokens.place(c.start, c.end), c.category) for c in cues]
            shown = tuple([cue(sentence[a:b], a, b, category) for a, b, category in spans])
            flags = frozenset([c.category for c in cues])
            mentions.append(Mention(match.identifier, start, end, judge(flags), flags, shown, instance))
        return SentenceReading(tuple(mentions), measurements, lead)

    def _with_unlisted(self, found: Sequence[Match], matches: Matches, words: Sequence[str]) -> list[Match]:
        """`found`, and in their places the spans of the model of which the lexicon knows no word.

        A span of words that most sentences have names nothing.
        """
        assert self._learned is not None
        known = (*found, *matches.sites, *matches.sides, *matches.degrees, *matches.courses, *matches.acuities)
        taken = {n for m in known for n in m.tokens}
        spans = [
            (a, b)
            for a, b in self._learned.spans(words)
            if taken.isdisjoint(range(a, b)) and any(w.isalpha() and w not in self._common for w in words[a:b])
        ]
        more = [Match(UNLISTED, a, b, (a, b)) for a, b in spans]
        return sorted([*found, *more], key=lambda m: m.start) if more else list(found)

    def _sided(self, lead: Lead | None) -> Lead | None:
        """`lead` with the side of its site: "LAD: 50% stenosis" is on the left."""
        if lead is None or lead.laterality or not lead.anatomy:
            return lead
        return replace(lead, laterality=self._anatomy[lead.anatomy].laterality)

    def _attributed(
        self,
        words: Sequence[str],
        matches: Matches,
        found: Sequence[Match],
        measured: Sequence[tuple[Measurement, tuple[int, int]]],
        levels: Sequence[Place],
        images: Sequence[Place],
    ) -> list[tuple[Attributes, ...]]:
        """The attributes of each of `found`; normal statements take none from findings, only what is left of sites."""
        words = _opened(words, found)
        normal = [m.identifier in self._normal for m in found]
        said = [m for m, n in zip(found, normal, strict=True) if not n]
        stated = [m for m, n in zip(found, normal, strict=True) if n]
        if not stated:
            return self._attributes.read(words, matches, said, measured, levels, images)
        bare = Matches(matches.concepts, matches.sites, matches.sides, (), (), (), ())
        if not said:
            return self._attributes.read(words, bare, stated, [], levels)
        outside = [s for s in matches.sites if not any(m.start <= s.start and s.end <= m.end for m in stated)]
        sited = replace(matches, sites=tuple(outside))
        findings = iter(self._attributes.read(words, sited, said, measured, levels, images))
        statements = iter(self._attributes.read(words, bare, stated, [], levels))
        return [next(statements) if n else next(findings) for n in normal]


def _distinct(
    instances: Sequence[tuple[Match, tuple[int, int], Attributes]],
) -> Sequence[tuple[Match, tuple[int, int], Attributes]]:
    """`instances`, none twice, and without those of no site where the same words name the same finding at one."""
    if len(instances) == 1 or len({m.identifier for m, _, _ in instances}) == len(instances):
        return instances
    sited = {(m.identifier, place) for m, place, x in instances if x.anatomy}
    first: dict[tuple[str, tuple[int, int], str | None, Laterality | None], int] = {}
    for number, (m, place, x) in enumerate(instances):
        if x.anatomy or (m.identifier, place) not in sited:
            first.setdefault((m.identifier, place, x.anatomy, x.laterality), number)
    return [instances[number] for number in first.values()]


def _opened(words: Sequence[str], found: Sequence[Match]) -> Sequence[str]:
    """`words` without the colon after a finding that labels the line: "Nodule 1: 8 mm, left lobe"."""
    if ":" not in words[:LABEL_AT_MOST]:
        return words
    colon = words.index(":")
    if not any(colon - _NUMBERING <= m.end <= colon for m in found):
        return words
    return [*words[:colon], "", *words[colon + 1 :]]


def _target(concepts: Sequence[Match], first: int, last: int) -> Match:
    """The span as a finding: the concept that stands on exactly these tokens, else the plain target."""
    exact = next((m for m in concepts if (m.start, m.end) == (first, last)), None)
    return exact or Match(TARGET, first, last, (first, last))


def judge(categories: frozenset[str]) -> Assertion | None:
    """The one label that a reader gives by the categories of the cues that act, None where none speaks.

    Another person's finding is that, whatever else is said. A finding that is only asked for isn't negated or hedged.
    Negation outweighs a hedge and the past ("no evidence of prior infarct").
    """
    if FAMILY in categories:
        return Assertion.FAMILY
    if NEGATED in categories:
        return Assertion.ABSENT
    if HYPOTHETICAL in categories:
        return Assertion.HYPOTHETICAL
    if HISTORICAL in categories:
        return Assertion.HISTORICAL
    if UNCERTAIN in categories:
        return Assertion.POSSIBLE
    return Assertion.PRESENT if AFFIRMED in categories else None
