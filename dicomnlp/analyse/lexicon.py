"""Which words of a sentence name a finding, a site, a side, a degree or a course.

Overlaps are settled here, longest first. A composed concept ("the heart is mildly enlarged") is found as two parts
that stand near each other in one clause: the part that is said (the predicate) is what cues act on.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

from dicomnlp.analyse.matches import Match, Matches
from dicomnlp.analyse.pack import Pack
from dicomnlp.analyse.phrases import PhraseTable
from dicomnlp.analyse.schema import Comparison
from dicomnlp.analyse.tokens import tokenize
from dicomnlp.analyse.topics import Place, TopicReader

CONCEPT, SITE, PART, SAID, IDIOM = "concept", "site", "part", "said", "idiom"
SIDE, DEGREE, COURSE, ACUITY, COUNT = "side", "degree", "course", "acuity", "count"
_NONE = ""
"""Stands for the side of what names none."""
LABEL_AT_MOST = 8
"""Tokens of the longest label of a line."""
_WORDS = 8192
"""Words that a process keeps with their spelling."""
_ORDINAL = 2
"""Letters of the ending of an ordinal number."""
_LABEL_GAP = 5
"""Tokens that a composed concept may reach farther from the label of its line."""
_PLACE = attrgetter("start")
_KINDS = (CONCEPT, SITE, SIDE, DEGREE, COURSE, ACUITY, COUNT)


class _Meanings(NamedTuple):
    """What a phrase means, whatever stands around it."""

    named: tuple[tuple[str, str], ...]
    """(kind, identifier)."""
    parts: tuple[int, ...]
    """Halves of compositions: twice the number of one for what is said, and one more for what it is said of."""
    said: tuple[str, ...]
    """Predicates that mean something at a site."""


class _Spellings(dict[str, str]):
    """Words as `spell` gives them; the last are kept, which is quicker than to ask a cache for each."""

    def __init__(self, spell: Callable[[str], str]) -> None:
        super().__init__()
        self._spell = spell

    def __missing__(self, word: str) -> str:
        if len(self) >= _WORDS:
            self.clear()
        spelled = self[word] = self._spell(word)
        return spelled


class Lexicon:
    """The terms of one pack.

    Parameters
    ----------
    pack
        Where the terms come from.
    """

    def __init__(self, pack: Pack) -> None:
        self.gap = pack.about.limits.compose_gap
        self.breaks = frozenset(pack.attributes.clause_breaks)
        self._joins = frozenset(pack.attributes.joins)
        self._plural = pack.about.plural
        self._head_before = frozenset(pack.about.head_before)
        self._spellings = dict(pack.about.spellings)
        parts = "|".join(map(re.escape, sorted(self._spellings, key=len, reverse=True)))
        self._variant = re.compile(parts) if parts else None
        self._whole_words = dict(pack.about.abbreviated)
        self._known = _Spellings(self._respell)
        # a phrase may belong to several concepts and parts: (kind, identifier)
        self._rules: dict[tuple[tuple[str, ...], bool], dict[tuple[str, str], None]] = {}
        self._compositions: list[str] = []
        # predicate -> site -> concept, of compositions that name their sites
        self._said_at: dict[str, dict[str, str]] = defaultdict(dict)
        self._topics = TopicReader(pack.attributes, pack.anatomy)
        self._wider = {i: frozenset(pack.lineage(i)) for i in pack.concepts} if pack.attributes.topics else {}
        self._fold = pack.about.folding
        self._unspaced = pack.about.unspaced
        self._collect(pack)
        self._plain: PhraseTable[_Meanings] = PhraseTable()
        self._cased: PhraseTable[_Meanings] = PhraseTable()
        for (words, cased), meanings in self._rules.items():
            by_kind = _Meanings(
                named=tuple(m for m in meanings if m[0] not in (PART, SAID)),
                parts=tuple(int(i) for kind, i in meanings if kind == PART),
                said=tuple(i for kind, i in meanings if kind == SAID),
            )
            (self._cased if cased else self._plain).add(words, by_kind)
        self._rules.clear()

    def _collect(self, pack: Pack) -> None:
        for identifier, entry in pack.concepts.items():
            self._add(CONCEPT, identifier, entry.terms, plural=True)
            self._add(CONCEPT, identifier, entry.cased, plural=True, cased=True)
            for composition in entry.compose:
                if composition.at:
                    meant = dict.fromkeys(composition.at, identifier)
                    for term in composition.change:
                        self._said_at[term.translate(self._fold).lower()].update(meant)
                    continue
                half = 2 * len(self._compositions)
                self._compositions.append(identifier)
                self._add(PART, str(half), composition.change, plural=True)
                self._add(PART, str(half + 1), composition.of, plural=True)
        for identifier, site in pack.anatomy.items():
            self._add(SITE, identifier, site.terms, plural=True)
            self._add(SITE, identifier, site.cased, cased=True)
        for term in self._said_at:
            self._add(SAID, term, [term], plural=True)
        self._add(IDIOM, IDIOM, pack.about.idioms, plural=True)
        for kind, words in (
            (SIDE, pack.attributes.laterality),
            (DEGREE, pack.attributes.severity),
            (COURSE, pack.attributes.change),
            (ACUITY, pack.attributes.acuity),
            (COUNT, pack.attributes.count),
        ):
            for value, terms in words.items():
                self._add(kind, str(value), terms)
        if pack.attributes.comparison:
            for change, compared in _compared(pack.attributes.comparison):
                self._add(COURSE, change, compared)
        for side, abbreviations in pack.attributes.cased_sides.items():
            self._add(SIDE, side.value, abbreviations, cased=True)
        self._add(SIDE, _NONE, pack.attributes.not_sides)

    def _add(
        self, kind: str, identifier: str, terms: Iterable[str], *, plural: bool = False, cased: bool = False
    ) -> None:
        for term in terms:
            words = tokenize(term.translate(self._fold)).words
            if not cased:
                words = tuple(self.respelled([word.lower() for word in words]))
            for form in [words, *(self._plurals(words) if plural else ())]:
                self._rules.setdefault((form, cased), {})[kind, identifier] = None

    def _plurals(self, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """The term with its last word in the plural, and with the word before its first "of" in the plural."""
        heads = {len(words) - 1} | {i - 1 for i, word in enumerate(words) if i and word in self._head_before}
        for head in sorted(heads):
            plural = self._plural(words[head])
            if plural is not None:
                yield (*words[:head], plural, *words[head + 1 :])

    def respelled(self, lower: Sequence[str]) -> Sequence[str]:
        """The words as the lexicon spells them: "oesophagus" as "esophagus", "fx" as "fracture"."""
        return list(map(self._known.__getitem__, lower))

    def _respell(self, word: str) -> str:
        word = self._whole_words.get(word, word)
        return self._variant.sub(lambda part: self._spellings[part.group()], word) if self._variant else word

    def __call__(self, words: Sequence[str], lower: Sequence[str]) -> Matches:
        """What the lexicon knows of a sentence, given its tokens as written, and in lower case and respelled."""
        found: dict[str, list[Match]] = defaultdict(list)
        parts: dict[int, list[tuple[int, int]]] = defaultdict(list)
        said: list[tuple[str, int, int]] = []
        for (named, halves, predicates), start, end in self._plain.find(lower) + self._cased.find(words):
            span = start, end
            for kind, identifier in named:
                found[kind].append(Match(identifier, start, end, span))
            for half in halves:
                parts[half].append(span)
            if predicates:
                said += [(term, start, end) for term in predicates]
        # few sentences have both halves of one
        if len(parts) > len({half >> 1 for half in parts}):
            places = frozenset(t for kind in (SITE, SIDE) for m in found[kind] for t in range(m.start, m.end))
            found[CONCEPT] += list(self._composed(lower, parts, found[CONCEPT], places))
        if SIDE in found:
            found[SIDE] = [side for side in longest(found[SIDE]) if side.identifier != _NONE]
        if self._unspaced and SITE in found:
            found[SITE] = [s for s in longest(found[SITE]) if not _within(s.start, s.end, found[IDIOM])]
            said = [s for s in said if not _within(s[1], s[2], found[SITE])]
            found[CONCEPT] = [m for m in found[CONCEPT] if not _within(m.start, m.end, found[SITE])]
        if said:
            found[SITE] = list(longest(found[SITE]))
            found[CONCEPT] = self._with_composed(lower, said, found)
        idioms = found.pop(IDIOM, [])
        settled = {
            kind: _settled(named, idioms, head_last=kind == SITE) if idioms or len(named) > 1 else tuple(named)
            for kind, named in found.items()
        }
        return Matches(*[settled.get(kind, ()) for kind in _KINDS])

    def meanings(self, words: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """What `words` (lower case, respelled) mean as a whole: pairs (kind, identifier); none where no term."""
        meant = self._plain.whole(words)
        return meant[0].named if meant else ()

    def _with_composed(
        self, lower: Sequence[str], said: Sequence[tuple[str, int, int]], found: dict[str, list[Match]]
    ) -> list[Match]:
        """The named concepts and what predicates mean at sites.

        A name that says no more than one of several composed ones ("肝内胆管扩张" in "输尿管及肝内胆管扩张") goes.
        """
        composed = list(self._said_of_sites(lower, said, found[SITE], found[SIDE]))
        meant: dict[tuple[int, int], set[str]] = defaultdict(set)
        for match in composed:
            meant[match.predicate].add(match.identifier)
        several = [(place, concepts) for place, concepts in meant.items() if len(concepts) > 1]
        named = [
            m
            for m in found[CONCEPT]
            if not any(m.start <= a and b <= m.end and m.identifier in concepts for (a, b), concepts in several)
        ]
        return [self._narrower(m, composed) for m in named] + composed

    def _narrower(self, named: Match, composed: Sequence[Match]) -> Match:
        """`named`, or what its last words mean at the site where that is a kind of it: "胆囊多发结石"."""
        if any(match.predicate == named.predicate for match in composed):
            return named
        for match in composed:
            (start, end), of = match.predicate, match.of or match.predicate
            said = named.start < start and end == named.end and of[0] < named.start
            if said and named.identifier in self._wider[match.identifier]:
                return replace(named, identifier=match.identifier)
        return named

    def _said_of_sites(
        self, lower: Sequence[str], said: Sequence[tuple[str, int, int]], sites: Sequence[Match], sides: Sequence[Match]
    ) -> Iterator[Match]:
        """Concepts that a predicate means at the sites that the sentence says it of."""
        spans = list(dict.fromkeys((start, end) for _, start, end in said))
        topics = dict(zip(spans, self._topics.topics(lower, sites, sides, [Place(*s) for s in spans]), strict=True))
        for term, start, end in said:
            topic = topics[start, end]
            meant = self._said_at[term]
            # "肿大的淋巴结": right after it
            after = (s for s in sites if 0 <= s.start - end <= 1 and self.breaks.isdisjoint(lower[end : s.start]))
            for places in ([*reversed(topic.sites), *filter(None, (topic.whole,))], after):
                reached: dict[str, tuple[int, int]] = {}
                for site in places:
                    concept = next((meant[i] for i in self._topics.lineage(site.identifier) if i in meant), None)
                    if concept is not None:
                        reached.setdefault(concept, (site.start, site.end))
                if reached:
                    in_order = sorted(reached.items(), key=lambda item: item[1])
                    yield from (Match(c, start, end, (start, end), of, shares=True) for c, of in in_order)
                    break

    def _composed(
        self,
        lower: Sequence[str],
        parts: dict[int, list[tuple[int, int]]],
        named: list[Match],
        places: frozenset[int],
    ) -> Iterator[Match]:
        """Composed concepts: what is said, of what stands nearest to it and of what is joined to that.

        None reaches over a finding which the words name outright.
        """
        said_of: dict[tuple[int, int], list[Match]] = defaultdict(list)
        colon = lower.index(":") if ":" in lower[:LABEL_AT_MOST] else None
        for half in sorted(half for half in parts if not half & 1 and half + 1 in parts):
            identifier = self._compositions[half >> 1]
            for a in parts[half]:
                for b in parts[half + 1]:
                    first, second = min(a, b), max(a, b)
                    # what the label of a line names is what the rest of the sentence speaks of: "Liver: Enlarged"
                    labelled = first == b and first[1] == colon
                    gap = self.gap + _LABEL_GAP if labelled else self.gap
                    if second[0] < first[1] or _words_in(lower, first[1], second[0], places) > gap:
                        continue
                    if not self.breaks.isdisjoint(lower[first[1] + labelled : second[0]]):
                        continue
                    start, end = first[0], max(first[1], second[1])
                    over = [m for m in named if m.start < end and start < m.end]
                    if all(any(x <= m.start and m.end <= y for x, y in (a, b)) for m in over):
                        said_of[a].append(Match(identifier, start, end, a, b))
        for matches in said_of.values():
            reached: list[Match] = []
            for match in sorted(matches, key=lambda m: (self._joins_between(lower, m), _gap(m))):
                if not reached or any(self._joined(lower, match, other) for other in reached):
                    reached.append(match)
            yield from reached

    def _joins_between(self, lower: Sequence[str], match: Match) -> bool:
        """Whether a word that joins stands between the parts: "ribs, with fractures of the sixth rib" is no pair."""
        first, second = sorted((match.predicate, match.of or match.predicate))
        return any(word in self._joins for word in lower[first[1] : second[0]])

    def _joined(self, lower: Sequence[str], one: Match, other: Match) -> bool:
        """Whether both are said of the same words, or of two that a list joins ("heart and mediastinum")."""
        if one.of is None or other.of is None:
            return False
        first, second = min(one.of, other.of), max(one.of, other.of)
        return first[1] > second[0] or all(word in self._joins for word in lower[first[1] : second[0]])


def _within(start: int, end: int, longer: Iterable[Match]) -> bool:
    """Whether the tokens are part of a longer name."""
    return any(m.start <= start and end <= m.end and m.end - m.start > end - start for m in longer)


def _compared(comparison: Comparison) -> Iterator[tuple[str, list[str]]]:
    """Each change, and the phrases that tell it."""
    for change, words in comparison.change.items():
        yield change.value, [by + how + word for by in comparison.by for how in ("", *comparison.how) for word in words]


def _words_in(words: Sequence[str], start: int, end: int, places: frozenset[int]) -> int:
    """How many of the words [start, end) there are, apart from numbers, the ending of one ("6th"), sites and sides."""
    return sum(
        not words[i][0].isdigit()
        and i not in places
        and not (i > start and words[i - 1][0].isdigit() and len(words[i]) == _ORDINAL)
        for i in range(start, end)
    )


def _gap(match: Match) -> tuple[int, int]:
    """How far apart a composed concept's parts are; of equals the longer comes first."""
    if match.shares:
        return -1, 0  # says more than the predicate alone
    if match.of is None:
        return 0, 0
    first, second = min(match.predicate, match.of), max(match.predicate, match.of)
    return max(second[0] - first[1], 0), -match.size


def _settled(matches: Sequence[Match], idioms: Sequence[Match], *, head_last: bool) -> tuple[Match, ...]:
    """`matches` without overlaps, and without what stands in one of `idioms`."""
    if not idioms:
        return longest(matches, head_last=head_last)
    settled = longest([*idioms, *matches], head_last=head_last)
    return tuple(match for match in settled if match.identifier != IDIOM)


def longest(matches: Sequence[Match], *, head_last: bool = False) -> tuple[Match, ...]:
    """`matches` without overlaps: the longest stays, of equals the closest, then the first; in order of place.

    With `head_last` the last of equals stays: "basal ganglia" of "right basal ganglia", not "right basal".
    What is said of two things at once ("heart and mediastinum are normal") stays for both, and so do two things said
    of one ("the liver is enlarged and echogenic").
    """
    if len(matches) < 2:
        return tuple(matches)
    end = 0
    for match in matches:
        if match.start < end:
            break
        end = match.end
    else:
        return tuple(matches)
    in_order = sorted(matches, key=_PLACE)
    if all(one.end <= other.start for one, other in pairwise(in_order)):
        return tuple(in_order)
    kept: list[Match] = []
    if all(match.of is None for match in in_order):
        # none is composed: the longest first, each where it's free
        by_size = sorted(in_order, key=lambda m: (m.start - m.end, -m.start if head_last else m.start))
        for match in by_size:
            start, end = match.start, match.end
            if not any(start < other.end and other.start < end for other in kept):
                kept.append(match)
        return tuple(sorted(kept, key=_PLACE))
    taken: set[int] = set()
    said: set[tuple[int, int]] = set()
    bearers: set[tuple[int, int]] = set()
    for match in sorted(in_order, key=lambda m: (-m.size, _gap(m), -m.start if head_last else m.start)):
        tokens = match.tokens
        if match.shares and match.predicate in said:
            kept.append(match)
            continue
        if match.of is not None and match.predicate in said:
            tokens = tokens.difference(range(*match.predicate))
        elif match.of is not None and match.of in bearers:
            tokens = tokens.difference(range(*match.of))
        if tokens and taken.isdisjoint(tokens):
            kept.append(match)
            taken |= tokens
            if match.of is not None:
                said.add(match.predicate)
                bearers.add(match.of)
    return tuple(sorted(kept, key=_PLACE))
