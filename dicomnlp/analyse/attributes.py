"""Where a finding is, on which side, how marked, and how it changed.

Each word of the sentence that names a site, a side, a degree or a course is given to one finding: to the one that
follows when nothing joins or ends a clause between them ("left basilar atelectasis"), else to the one before
("effusion in the left hemithorax"). Members of a list share what stands before its first or after its last member
("right upper lobe nodule and mass").
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from dicomnlp.analyse.details import Lead, Place, owner
from dicomnlp.analyse.matches import Match, Matches
from dicomnlp.analyse.pack import Pack
from dicomnlp.analyse.tokens import tokenize
from dicomnlp.analyse.topics import Place as TopicPlace
from dicomnlp.analyse.topics import TopicReader
from dicomnlp.model import Acuity, Change, Laterality, Measurement, Severity

_ADJECTIVES = 7
"""Most tokens between a word and the finding that follows it."""
_QUALIFIED = 3
"""Most tokens between "increased" and what is more: "increased hepatic echogenicity"."""
_LIST_FILLERS = 2
"""Most tokens beside joins between two members of a list: articles, adjectives."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a sentence says of one finding beside its assertion."""

    anatomy: str | None = None
    """Id of the site."""
    laterality: Laterality | None = None
    severity: Severity | None = None
    change: Change | None = None
    measurements: tuple[Measurement, ...] = ()
    acuity: Acuity | None = None
    count: str | None = None
    levels: tuple[str, ...] = ()
    image_references: tuple[str, ...] = ()
    said_at: tuple[int, int] | None = None
    """Of the first of two sides: its tokens, on which cues act instead of the noun ("no right and mild left ...")."""


class AttributeReader:
    """Attaches attributes by the words of one pack."""

    def __init__(self, pack: Pack) -> None:
        self._anatomy = pack.anatomy
        words = pack.attributes
        self._joins = frozenset(word.lower() for word in words.joins)
        self._breaks = frozenset(word.lower() for word in words.clause_breaks)
        self._prepositions = frozenset(word.lower() for word in words.prepositions)
        self._denials = frozenset(word.lower() for word in words.denials)
        self._asides = frozenset(word.lower() for word in words.asides)
        self._halts = self._breaks | frozenset(words.phrase_breaks)
        self._topics = TopicReader(words, pack.anatomy) if words.topics else None
        self._qualities = frozenset(word.lower() for word in words.qualities)
        self._amounts = frozenset(word.lower() for word in words.amounts)
        self._size_words = frozenset(tokenize(words).words for words in words.size_words)
        self._sized = {i for i in pack.concepts if any(pack.concepts[p].sized for p in pack.lineage(i))}

    def read(
        self,
        words: Sequence[str],
        matches: Matches,
        targets: Sequence[Match],
        measurements: Sequence[tuple[Measurement, tuple[int, int]]],
        levels: Sequence[Place] = (),
        image_references: Sequence[Place] = (),
    ) -> list[tuple[Attributes, ...]]:
        """The attributes of each of `targets`: one entry, or one for each side of "small right and large left".

        Parameters
        ----------
        words
            The sentence's tokens, in lower case.
        matches
            What the lexicon knows of the sentence.
        targets
            The findings, in order.
        measurements
            The sentence's quantities with their tokens.
        levels, image_references
            Its levels and references to images.
        """
        if not targets:
            return []
        clause = _Clause(words, targets, self._joins, self._breaks, self._halts, self._prepositions)
        owners = self._owners(clause, targets, measurements, matches.sites)
        leveled = [Match(place.text, place.start, place.end, (place.start, place.end)) for place in levels]
        at_levels = clause.given(leveled, shared=True, nouns=True)
        shown = [(place, owner(place, targets, self._breaks, words)) for place in image_references]
        acuities = clause.given(matches.acuities, shared=True)
        sites = clause.given(matches.sites, shared=True, nouns=True)
        sided = [site for site in matches.sites if self._anatomy[site.identifier].laterality]
        free = [s for s in matches.sides if not any(_inside(s, site) for site in sided)]
        sides = clause.given(free, shared=True)
        # "slightly smaller" tells how far it changed, not how large it is
        own = [d for d in matches.degrees if not any(c.start == d.end for c in matches.courses)]
        own = [d for d in own if not self._of_an_aside(clause, d) and not self._of_a_quality(clause, d, 0)]
        degrees = clause.given(own, shared=False)
        courses = clause.given(
            [c for c in matches.courses if c.end - c.start > 1 or not self._of_a_quality(clause, c, _QUALIFIED)],
            shared=True,
        )
        read: list[tuple[Attributes, ...]] = []
        topics = self._topics_of(words, matches, targets)
        for number, target in enumerate(targets):
            outside = [s for s in sites[number] if not _inside(s, target)]
            site = _nearest(target, outside or sites[number])
            side = self._side(target, sides[number], site, clause)
            if site and self._anatomy[site.identifier].laterality not in (None, side):
                site = None  # a list's site is not that of a member on the other side
            if topics is not None:
                site, side = topics[number]
            degree = _nearest(target, [d for d in degrees[number] if not self._sizes(target, d, words)])
            course = _nearest(target, courses[number])
            common = Attributes(
                anatomy=site.identifier if site else None,
                laterality=side,
                severity=Severity(degree.identifier) if degree else None,
                change=Change(course.identifier) if course else None,
                measurements=tuple(m for (m, _), own in zip(measurements, owners, strict=True) if own == number),
                acuity=Acuity(acuity.identifier) if (acuity := _nearest(target, acuities[number])) else None,
                count=clause.count(target, matches.counts),
                levels=tuple(level.identifier for level in at_levels[number]),
                image_references=tuple(place.text for place, own in shown if own == number),
            )
            read.append(self._instances(clause, target, matches, common))
        return read

    def _topics_of(
        self, words: Sequence[str], matches: Matches, targets: Sequence[Match]
    ) -> list[tuple[Match | None, Laterality | None]] | None:
        """Site and side of each target, in a language that names them first; None in others."""
        if self._topics is None:
            return None
        # what is said of two things at once is said of each of them
        said = Counter(t.predicate for t in targets)
        places = [TopicPlace(*t.predicate, t.of if said[t.predicate] > 1 else None) for t in targets]
        read: list[tuple[Match | None, Laterality | None]] = []
        for topic in self._topics.topics(words, matches.sites, matches.sides, places):
            site = topic.whole
            own = self._anatomy[site.identifier].laterality if site else None
            read.append((site, topic.side or own))
        return read

    def _sizes(self, target: Match, degree: Match, words: Sequence[str]) -> bool:
        """Whether the word tells how large the finding is, and no degree of it: "a small cyst"."""
        return target.identifier in self._sized and tuple(words[degree.start : degree.end]) in self._size_words

    def _of_a_quality(self, clause: "_Clause", word: Match, reach: int) -> bool:
        """Whether `word` speaks of a quality that follows it: "mildly displaced", "increased T2 signal"."""
        for place, after in enumerate(clause.words[word.end : word.end + reach + 1], word.end):
            if after in clause.breaks or after in clause.joins or after in clause.prepositions:
                return False
            if after in self._qualities:
                return reach > 0 or not any(t.start <= place < t.end for t in clause.targets)
        return False

    def _of_an_aside(self, clause: "_Clause", degree: Match) -> bool:
        """Whether the degree is of something that isn't a finding: "a nodule with punctate foci"."""
        before = max((t.end for t in clause.targets if t.end <= degree.start), default=None)
        follows = any(t.start >= degree.end for t in clause.targets)
        return before is not None and not follows and clause.words_of(before, degree.start, self._asides)

    def _side(self, target: Match, sides: Sequence[Match], site: Match | None, clause: "_Clause") -> Laterality | None:
        """The side named for the finding, else that of its site.

        The side that a site names beats a side word that is farther away: "right lung nodule, left unaffected".
        """
        named = _nearest(target, sides)
        of_site = self._anatomy[site.identifier].laterality if site else None
        if named is None or (of_site and site and clause.distance(site, target) < clause.distance(named, target)):
            return of_site
        if {s.identifier for s in sides} == {Laterality.LEFT.value, Laterality.RIGHT.value}:
            first, second = sides[0], sides[-1]
            between = clause.words[first.end : second.start]
            if len(between) == 1 and between[0] in self._joins:
                return Laterality.BILATERAL
        return Laterality(named.identifier)

    def _instances(
        self, clause: "_Clause", target: Match, matches: Matches, common: Attributes
    ) -> tuple[Attributes, ...]:
        """`common`, or two where two sides with their own degrees stand before the finding."""
        before = [s for s in matches.sides if target.start - _ADJECTIVES <= s.start and s.end <= target.start]
        for one, other in pairwise(before):
            degrees = [_ending_at(matches.degrees, side.start) for side in (one, other)]
            start = other.start - (_length(matches.degrees, other.start))
            between = clause.words[one.end : start]
            opposite = {one.identifier, other.identifier} == {Laterality.LEFT.value, Laterality.RIGHT.value}
            denied = bool(between) and between[-1] in self._denials
            listed = bool(between) and all(word in self._joins for word in (between[:-1] if denied else between))
            if opposite and listed and any(degrees) and not clause.words_of(other.end, target.start, self._joins):
                return tuple(
                    replace(
                        common,
                        laterality=Laterality(side.identifier),
                        severity=Severity(degree) if degree else None if denied else common.severity,
                        said_at=said_at,
                    )
                    for side, degree, said_at in zip((one, other), degrees, ((one.start, one.end), None), strict=True)
                )
        return (common,)

    def _owners(
        self,
        clause: "_Clause",
        targets: Sequence[Match],
        measurements: Sequence[tuple[Measurement, tuple[int, int]]],
        sites: Sequence[Match],
    ) -> list[int | None]:
        """Which target each measurement is of."""
        owners: list[int | None] = []
        for measurement, (start, end) in measurements:
            if measurement.kind == "distance":
                owners.append(None)
                continue
            after = next((i for i, t in enumerate(targets) if t.start >= end), None)
            before = next((i for i in reversed(range(len(targets))) if targets[i].end <= start), None)
            inside = next((i for i, t in enumerate(targets) if t.start < end and start < t.end), None)
            if inside is not None and clause.words_of(end, targets[inside].predicate[0], self._asides):
                owners.append(None)  # "the liver measures 17 cm with steatosis": the size is the organ's
                continue
            if inside is not None:
                owners.append(inside)
            elif after is not None and targets[after].start - end < _ADJECTIVES and clause.free(end, after):
                owners.append(after)
            elif after is not None and targets[after].start - end < _ADJECTIVES and self._amount(clause, end, after):
                owners.append(after)
            elif before is not None and clause.unbroken(targets[before].end, start):
                owners.append(before)
            elif owners and owners[-1] is not None:
                owners.append(owners[-1])
            elif after is not None and clause.unbroken(end, targets[after].start):
                # "the appendix measures 12 mm, with fat stranding": the size is the organ's
                of_site = any(s.start < targets[after].start and s.end < targets[after].end for s in sites)
                owners.append(None if of_site else after)
            else:
                owners.append(None)
        return owners


    def _amount(self, clause: "_Clause", end: int, target: int) -> bool:
        """Whether a size that ends before `end` is of the finding that follows: "3 mm of retrolisthesis"."""
        return clause.words[end] in self._amounts and clause.free(end + 1, target)


class _Clause:
    """Which word of a sentence belongs to which finding."""

    def __init__(
        self,
        words: Sequence[str],
        targets: Sequence[Match],
        joins: frozenset[str],
        breaks: frozenset[str],
        halts: frozenset[str],
        prepositions: frozenset[str],
    ) -> None:
        self.words = words
        self.targets = targets
        self.joins = joins
        self.breaks = breaks
        self.halts = halts
        self.prepositions = prepositions
        self.lists = self._lists()

    def words_of(self, start: int, end: int, kind: frozenset[str]) -> bool:
        """Whether a word of `kind` is among the tokens [start, end)."""
        return any(word in kind for word in self.words[start:end])

    def unbroken(self, start: int, end: int) -> bool:
        """No clause break in the tokens [start, end)."""
        return not self.words_of(start, end, self.breaks)

    def free(self, start: int, target: int) -> bool:
        """Neither a clause break nor a join between `start` and the target: nothing but adjectives."""
        end = self.targets[target].start
        return not self.words_of(start, end, self.halts | self.joins | self.prepositions)

    def count(self, target: Match, counts: Sequence[Match]) -> str | None:
        """How many: the last number word before the target with nothing but adjectives between."""
        if named := [c for c in counts if _inside(c, target)]:
            return named[0].identifier
        number = next((i for i, t in enumerate(self.targets) if t is target), None)
        near = [c for c in counts if c.end <= target.start and target.start - c.end <= _ADJECTIVES]
        if number is None or not near or not self.free(near[-1].end, number):
            return None
        others = any(near[-1].end <= t.start < target.start for t in self.targets)
        return None if others else near[-1].identifier

    def distance(self, word: Match, target: Match) -> int:
        """Tokens between the two, 0 where they touch or overlap."""
        return max(0, target.start - word.end, word.start - target.end)

    def _lists(self) -> list[list[int]]:
        """Runs of findings that only joins and a few words set apart."""
        lists: list[list[int]] = []
        for number, target in enumerate(self.targets):
            between = self.words[self.targets[number - 1].end : target.start] if number else []
            joined = [word for word in between if word in self.joins]
            if (
                number
                and joined
                and len(between) - len(joined) <= _LIST_FILLERS
                and not any(word in self.breaks or word in self.prepositions for word in between)
            ):
                lists[-1].append(number)
            else:
                lists.append([number])
        return lists

    def given(self, words: Sequence[Match], *, shared: bool, nouns: bool = False) -> list[list[Match]]:
        """For each finding the words that belong to it, in order of place.

        Nouns (sites) may end a phrase that a preposition ties to the finding before; adjectives go with what follows.
        """
        own: list[list[Match]] = [[] for _ in self.targets]
        if not words:
            return own
        for word in words:
            touching = [i for i, t in enumerate(self.targets) if word.start < t.end and t.start < word.end]
            owner = self._owner(word, nouns=nouns)
            for number in touching or ([] if owner is None else [owner]):
                own[number].append(word)
        if not shared:
            return own
        given = [list(words) for words in own]
        for members in self.lists:
            first, last = members[0], members[-1]
            before = [w for w in own[first] if w.end <= self.targets[first].predicate[0]]
            after = [w for w in own[last] if w.start >= self.targets[last].predicate[1]]
            for number in members:
                if not own[number]:
                    given[number] = after or before
        return given

    def _owner(self, word: Match, *, nouns: bool) -> int | None:
        following = next((i for i, t in enumerate(self.targets) if t.start >= word.end), None)
        preceding = next((i for i in reversed(range(len(self.targets))) if self.targets[i].end <= word.start), None)
        behind = preceding is not None and self.unbroken(self.targets[preceding].end, word.start)
        tied = nouns and behind and self._attached(word)
        if following is not None and self._modifies(word, following) and not tied:
            return following
        if behind:
            return preceding
        if following is not None and self.unbroken(word.end, self.targets[following].start):
            return following
        return None

    def _modifies(self, word: Match, target: int) -> bool:
        """`word` stands before the target with nothing but adjectives, or "in", between."""
        end = self.targets[target].start
        near = end - word.end <= _ADJECTIVES
        return near and not self.words_of(word.end, end, self.halts | self.joins)

    def _attached(self, word: Match) -> bool:
        """A preposition ties `word` to what is before it: "of the posterior right upper lobe"."""
        before = self.words[max(0, word.start - 4) : word.start]
        last_join = max((i for i, w in enumerate(before) if w in self.joins), default=-1)
        return any(w in self.prepositions for w in before[last_join + 1 :])


def led(attributes: Attributes, lead: Lead | None) -> Attributes:
    """`attributes` with what the label of the line adds: it fills what the sentence leaves open.

    Its level counts before one of the sentence, which may be a nerve's or a neighbour's.
    """
    if lead is None or not (lead.anatomy or lead.laterality or lead.levels):
        return attributes
    return replace(
        attributes,
        anatomy=attributes.anatomy or lead.anatomy,
        laterality=attributes.laterality or lead.laterality,
        levels=lead.levels or attributes.levels,
    )


def _nearest(target: Match, words: Sequence[Match]) -> Match | None:
    """The nearest of `words`; before the finding rather than after it."""
    return min(words, key=lambda w: (max(0, target.start - w.end, w.start - target.end), w.start), default=None)


def _inside(word: Match, whole: Match) -> bool:
    return whole.start <= word.start and word.end <= whole.end


def _ending_at(matches: Sequence[Match], place: int) -> str | None:
    return next((m.identifier for m in matches if m.end == place), None)


def _length(matches: Sequence[Match], place: int) -> int:
    return next((m.end - m.start for m in matches if m.end == place), 0)
