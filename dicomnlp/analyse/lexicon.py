"""Which words of a sentence name a finding, a site, a side, a degree or a course.

Overlaps are settled here, longest first. A composed concept ("the heart is mildly enlarged") is found as two parts
that stand near each other in one clause: the part that is said (the predicate) is what cues act on.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter

from dicomnlp.analyse.pack import Pack
from dicomnlp.analyse.phrases import PhraseTable
from dicomnlp.analyse.tokens import tokenize

CONCEPT, SITE, PART, IDIOM = "concept", "site", "part", "idiom"
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


@dataclass(slots=True)
class Match:
    """Tokens [start, end) that name `identifier`. Not frozen, which takes three times as long: there are many."""

    identifier: str
    start: int
    end: int
    predicate: tuple[int, int]
    """What the finding's text is and cues act on: of a composed concept the part that is said, else all of it."""
    of: tuple[int, int] | None = None
    """Of a composed concept the part that it is said of."""

    @property
    def tokens(self) -> frozenset[int]:
        """What it occupies: of a composed concept its two parts, not what stands between them."""
        if self.of is None:
            return frozenset(range(self.start, self.end))
        return frozenset((*range(*self.predicate), *range(*self.of)))

    @property
    def size(self) -> int:
        """How many tokens it occupies."""
        return self.end - self.start if self.of is None else len(self.tokens)


@dataclass(slots=True)
class Matches:
    """All that the lexicon knows of one sentence, each kind free of overlaps and in order. Not frozen, as `Match`."""

    concepts: tuple[Match, ...]
    sites: tuple[Match, ...]
    sides: tuple[Match, ...]
    degrees: tuple[Match, ...]
    courses: tuple[Match, ...]
    acuities: tuple[Match, ...]
    counts: tuple[Match, ...]


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
        self._inflections = pack.about.inflections
        self._head_before = frozenset(pack.about.head_before)
        self._spellings = dict(pack.about.spellings)
        parts = "|".join(map(re.escape, sorted(self._spellings, key=len, reverse=True)))
        self._variant = re.compile(parts) if parts else None
        self._whole_words = dict(pack.about.abbreviated)
        self._respelled = lru_cache(_WORDS)(self._respell)
        # a phrase may belong to several concepts and parts: (kind, identifier)
        self._rules: dict[tuple[tuple[str, ...], bool], dict[tuple[str, str], None]] = {}
        self._compositions: list[tuple[str, str, str]] = []
        self._collect(pack)
        self._numbers = {said: number for number, (_, said, _) in enumerate(self._compositions)}
        self._plain: PhraseTable[tuple[tuple[str, str], ...]] = PhraseTable()
        self._cased: PhraseTable[tuple[tuple[str, str], ...]] = PhraseTable()
        for (words, cased), meanings in self._rules.items():
            (self._cased if cased else self._plain).add(words, tuple(meanings))
        self._rules.clear()

    def _collect(self, pack: Pack) -> None:
        for identifier, entry in pack.concepts.items():
            self._add(CONCEPT, identifier, entry.terms, plural=True)
            self._add(CONCEPT, identifier, entry.cased, plural=True, cased=True)
            for number, composition in enumerate(entry.compose):
                said, of = f"{identifier}.{number}.said", f"{identifier}.{number}.of"
                self._compositions.append((identifier, said, of))
                self._add(PART, said, composition.change, plural=True)
                self._add(PART, of, composition.of, plural=True)
        for identifier, site in pack.anatomy.items():
            self._add(SITE, identifier, site.terms, plural=True)
            self._add(SITE, identifier, site.cased, cased=True)
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
        for side, abbreviations in pack.attributes.cased_sides.items():
            self._add(SIDE, side.value, abbreviations, cased=True)
        self._add(SIDE, _NONE, pack.attributes.not_sides)

    def _add(
        self, kind: str, identifier: str, terms: Iterable[str], *, plural: bool = False, cased: bool = False
    ) -> None:
        for term in terms:
            words = tokenize(term).words
            if not cased:
                words = tuple(self.respelled([word.lower() for word in words]))
            for form in [words, *(self._plurals(words) if plural else ())]:
                self._rules.setdefault((form, cased), {})[kind, identifier] = None

    def _plurals(self, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """The term with its last word in the plural, and with the word before its first "of" in the plural."""
        heads = {len(words) - 1} | {i - 1 for i, word in enumerate(words) if i and word in self._head_before}
        for head in sorted(heads):
            for ending, replacement in self._inflections:
                if words[head].endswith(ending):
                    stem = words[head][: len(words[head]) - len(ending)]
                    yield (*words[:head], stem + replacement, *words[head + 1 :])
                    break

    def respelled(self, lower: Sequence[str]) -> Sequence[str]:
        """The words as the lexicon spells them: "oesophagus" as "esophagus", "fx" as "fracture"."""
        return [self._respelled(word) for word in lower]

    def _respell(self, word: str) -> str:
        word = self._whole_words.get(word, word)
        return self._variant.sub(lambda part: self._spellings[part.group()], word) if self._variant else word

    def __call__(self, words: Sequence[str], lower: Sequence[str]) -> Matches:
        """What the lexicon knows of a sentence, given its tokens as written, and in lower case and respelled."""
        found: dict[str, list[Match]] = defaultdict(list)
        parts: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for meanings, start, end in self._plain.find(lower) + self._cased.find(words):
            span = start, end
            for kind, identifier in meanings:
                if kind == PART:
                    parts[identifier].append(span)
                else:
                    found[kind].append(Match(identifier, start, end, span))
        if len(parts) > 1:
            places = frozenset(t for kind in (SITE, SIDE) for m in found[kind] for t in range(m.start, m.end))
            found[CONCEPT] += list(self._composed(lower, parts, found[CONCEPT], places))
        if SIDE in found:
            found[SIDE] = [side for side in longest(found[SIDE]) if side.identifier != _NONE]
        idioms = found.get(IDIOM, ())
        return Matches(
            *[_settled(found[kind], idioms, head_last=kind == SITE) if kind in found else () for kind in _KINDS]
        )

    def meanings(self, words: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """What `words` (lower case, respelled) mean as a whole: pairs (kind, identifier); none where no term."""
        return next(iter(self._plain.whole(words)), ())

    def _composed(
        self,
        lower: Sequence[str],
        parts: dict[str, list[tuple[int, int]]],
        named: list[Match],
        places: frozenset[int],
    ) -> Iterator[Match]:
        """Composed concepts: what is said, of what stands nearest to it and of what is joined to that.

        None reaches over a finding which the words name outright.
        """
        said_of: dict[tuple[int, int], list[Match]] = defaultdict(list)
        colon = lower.index(":") if ":" in lower[:LABEL_AT_MOST] else None
        for number in sorted(self._numbers[part] for part in parts if part in self._numbers):
            identifier, said, of = self._compositions[number]
            if of not in parts:
                continue
            for a in parts[said]:
                for b in parts[of]:
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
    taken: set[int] = set()
    said: set[tuple[int, int]] = set()
    bearers: set[tuple[int, int]] = set()
    for match in sorted(in_order, key=lambda m: (-m.size, _gap(m), -m.start if head_last else m.start)):
        tokens = match.tokens
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
