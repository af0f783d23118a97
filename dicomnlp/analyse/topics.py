"""What a finding is said of, in a language whose sites and sides come first and hold until the next ones.

"右肺上叶见一结节，边缘毛糙，考虑肺癌" names the site once: the clauses after it go on about it. A sentence is cut into
phrases at the pack's `phrase_breaks`; the last site of a phrase before a finding, with what a list joins to it, is what
the finding is said of, else what the phrase before spoke of. A break of clauses (；) ends it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from operator import attrgetter

from dicomnlp.analyse.matches import Match
from dicomnlp.analyse.schema import AnatomyEntry, AttributesFile
from dicomnlp.analyse.tokens import tokenize
from dicomnlp.model import Laterality

_BRACKET_REACH = 3
"""Most tokens from a finding to a site in brackets after it: "积液（右侧）"."""
_TIED_REACH = 8
"""Most tokens from a finding to a site that a preposition ties to it: "结节位于右肺上叶"."""
_OF_AT_MOST = 2
"""Most tokens between an organ and a tissue of it: "回旋支近段管壁"."""
_SIDED = frozenset({Laterality.LEFT, Laterality.RIGHT, Laterality.BILATERAL})
_PLACE = attrgetter("start", "end")


@dataclass(slots=True)
class Topic:
    """What something is said of. Not frozen, as `Match`; none is ever changed."""

    sites: tuple[Match, ...] = ()
    """The site, and those that a list joins to it; the nearest last."""
    side: Laterality | None = None
    whole: Match | None = None
    """The site in the narrowest words: of "右肺上叶肺癌" the lobe."""


_UNKNOWN = Topic()
_LATERALITIES = {str(side): side for side in Laterality}
"""An enumeration is slow to call."""


@dataclass(slots=True)
class Place:
    """Tokens [start, end) that something is said by, and the site that it is known to be said of."""

    start: int
    end: int
    of: tuple[int, int] | None = None


def _without(items: Sequence[Match], sites: Sequence[Match]) -> list[Match]:
    """`items` without `sites` and the sides right before them."""
    if not sites:
        return list(items)
    return [i for i in items if i not in sites and not any(s.start == i.end for s in sites)]


class TopicReader:
    """Finds topics by the words of one pack.

    Parameters
    ----------
    words
        ``attributes.toml`` of the pack.
    anatomy
        ``anatomy.toml`` of the pack.
    """

    def __init__(self, words: AttributesFile, anatomy: Mapping[str, AnatomyEntry]) -> None:
        self._anatomy = anatomy
        self._sides = {i: entry.laterality for i, entry in anatomy.items() if entry.laterality in _SIDED}
        self._vague = frozenset(i for i, entry in anatomy.items() if entry.vague)
        self._only_one = frozenset(i for i, entry in anatomy.items() if entry.unpaired)
        self._joins = frozenset(words.joins)
        self._marks = frozenset(words.phrase_breaks)
        self._breaks = frozenset(words.clause_breaks)
        self._cuts = self._marks | self._breaks
        self._adjuncts = frozenset(words.adjuncts)
        self._landmarks: dict[str, list[list[str]]] = defaultdict(list)
        """By the first token."""
        for phrase in words.landmarks:
            tokens = list(tokenize(phrase).words)
            self._landmarks[tokens[0]].append(tokens)
        self._prepositions = frozenset(words.prepositions)
        self.lineage = cache(self._lineage)

    def _lineage(self, site: str) -> tuple[str, ...]:
        """`site` and the wider ones, nearest first."""
        seen: list[str] = []
        at: str | None = site
        while at is not None and at not in seen:
            seen.append(at)
            entry = self._anatomy.get(at)
            at = entry.parent if entry else None
        return tuple(seen)

    def topics(
        self, words: Sequence[str], sites: Sequence[Match], sides: Sequence[Match], places: Sequence[Place]
    ) -> list[Topic]:
        """What each of `places` is said of.

        Parameters
        ----------
        words
            The sentence's tokens, in lower case.
        sites, sides
            What the lexicon knows of them, in order.
        places
            What is said, in any order; several may share their tokens.
        """
        read = [_UNKNOWN] * len(places)
        if not sites and not sides:
            return read
        if sides and sites:
            sided = [t for t in sites if t.identifier in self._sides]
            if sided:
                sides = [s for s in sides if not any(t.start <= s.start and s.end <= t.end for t in sided)]
        items = sorted([*sites, *sides], key=_PLACE) if sites and sides else (sites or sides)
        if len(places) == 1 and self._cuts.isdisjoint(words):
            return [self._alone(words, items, places[0])]
        order = sorted(range(len(places)), key=lambda i: (places[i].start, places[i].end))
        running = _UNKNOWN
        for first, last, opens in self._phrases(words):
            if opens:
                running = _UNKNOWN
            here = [item for item in items if first <= item.start < last]
            inside = [i for i in order if first <= places[i].start < last]
            if not here:
                # nothing is named anew
                for index in inside:
                    of = places[index].of
                    read[index] = self._narrowed(words, running, (), of, places[index].start) if of else running
                continue
            done: list[tuple[int, Topic]] = []
            for (start, end), same in groupby(inside, key=lambda i: (places[i].start, places[i].end)):
                # one that begins with another ("肿大" of "肿大淋巴结") doesn't stand behind it
                before, said = max(((at, n) for n, (at, _) in enumerate(done) if at <= start), default=(first, None))
                own = [i for i in here if i.start >= before and (i.end <= start or (i.start < end and start < i.end))]
                known = running if said is None else done[said][1]
                topic = self._topic(words, self._outside(own, (start, end), known), known) if own else known
                if here[-1].start >= end:
                    topic = self._behind(words, topic, [i for i in here if i.start >= end], end)
                for index in same:
                    of = places[index].of
                    read[index] = self._narrowed(words, topic, own, of, start) if of else topic
                done.append((end, topic))
            last_said = done[-1][1] if done else self._topic(words, here, running)
            if last_said.sites or last_said.side:
                running = last_said
        return read

    def _alone(self, words: Sequence[str], items: Sequence[Match], place: Place) -> Topic:
        """The topic of the only thing that is said in a sentence of one phrase."""
        start, end = place.start, place.end
        own = [i for i in items if i.end <= start or i.start < end]
        topic = self._topic(words, self._outside(own, (start, end), _UNKNOWN), _UNKNOWN) if own else _UNKNOWN
        if items and items[-1].start >= end:
            topic = self._behind(words, topic, [i for i in items if i.start >= end], end)
        return self._narrowed(words, topic, own, place.of, start) if place.of else topic

    def _phrases(self, words: Sequence[str]) -> Iterator[tuple[int, int, bool]]:
        """(first, past the last, whether a break stands before it) of each phrase."""
        start, opens = 0, True
        for i, word in enumerate(words):
            if word in self._cuts:
                yield start, i, opens
                start, opens = i + 1, word in self._breaks
        yield start, len(words), opens

    def _sided(self, item: Match) -> Laterality | None:
        """The side of a site of which there is one on each side."""
        return self._sides.get(item.identifier)

    def _is_site(self, item: Match) -> bool:
        return item.identifier in self._anatomy

    def _outside(self, own: Sequence[Match], said: tuple[int, int], carried: Topic) -> list[Match]:
        """`own` without sites inside the words that are said, where a better one is known: the lobe in "右肺上叶肺癌".

        A region of the body or a tissue ("软组织肿块") gives way to what the phrase before spoke of, too, unless the
        words are a name of the place as well ("腹水").
        """
        start = said[0]
        if any((i.start, i.end) == said and self._is_site(i) for i in own):
            return list(own)
        before = any(i.end <= start and self._is_site(i) for i in own)
        narrow = any(self._is_site(i) and i.identifier not in self._vague for i in own)
        return [
            i
            for i in own
            if i.end <= start
            or not self._is_site(i)
            or not (before or ((carried.sites or narrow) and i.identifier in self._vague))
        ]

    def _marks_a_place(self, words: Sequence[str], site: Match) -> bool:
        """Whether a landmark's words stand behind the site."""
        phrases = self._landmarks.get(words[site.end], ()) if site.end < len(words) else ()
        return any(list(words[site.end : site.end + len(phrase)]) == phrase for phrase in phrases)

    def _near_only(self, words: Sequence[str], site: Match, items: Sequence[Match]) -> bool:
        """Whether the site only tells what is near: "近右肺门处"."""
        if self._adjuncts.isdisjoint(words[: site.start]):
            return False
        start = site.start
        while side := next((i for i in items if i.end == start and not self._is_site(i)), None):
            start = side.start
        return start > 0 and words[start - 1] in self._adjuncts

    def _topic(self, words: Sequence[str], own: Sequence[Match], carried: Topic) -> Topic:
        """The topic of words that name `own`, `carried` where there are none."""
        if len(own) == 1 and carried is _UNKNOWN:
            [only] = own
            if self._is_site(only):
                return Topic((only,), self._sided(only), only)
            named = _LATERALITIES[only.identifier]
            return Topic((), named if named in _SIDED else None)
        marks = [i for i in own if self._is_site(i) and self._marks_a_place(words, i)]
        if marks and (carried.sites or any(self._is_site(i) and i not in marks for i in own)):
            own = _without(own, marks)
        near = [i for i in own if self._is_site(i) and self._near_only(words, i, own)]
        kept = _without(own, near) or list(own)
        sites = [i for i in kept if self._is_site(i)]
        side = self._side(words, kept, sites[-1] if sites else None)
        if not kept:
            return carried
        if not sites:
            fits = tuple(s for s in carried.sites if self._sided(s) in (None, side))
            return Topic(fits, side, fits[-1] if fits else None)
        group = [sites[-1]]
        for site in reversed(sites[:-1]):
            between = range(site.end, group[0].start)
            if not any(words[i] in self._joins for i in between) or not self._fills(words, between, own):
                break
            group.insert(0, site)
        whole = next(
            (
                s
                for s in reversed(sites[:-1])
                if sites[-1].identifier in self.lineage(s.identifier) or self._of(words, s, sites[-1])
            ),
            sites[-1],
        )
        if (
            side is None
            and len(group) == 1
            and group[0].identifier not in self._only_one
            and self._related(carried, group[0])
        ):
            side = carried.side
            if carried.whole and group[0].identifier in self.lineage(carried.whole.identifier):
                whole = carried.whole
        return Topic(tuple(group), side, whole)

    def _fills(self, words: Sequence[str], between: range, items: Sequence[Match]) -> bool:
        """Whether nothing but joins and sides stands there."""
        return all(words[i] in self._joins or any(s.start <= i < s.end for s in items) for i in between)

    def _of(self, words: Sequence[str], organ: Match, tissue: Match) -> bool:
        """Whether a tissue is that of the organ named right before it: "回旋支管壁"."""
        between = words[organ.end : tissue.start]
        close = tissue.start >= organ.end and len(between) <= _OF_AT_MOST and self._joins.isdisjoint(between)
        return close and tissue.identifier in self._vague and organ.identifier not in self._vague

    def _related(self, carried: Topic, site: Match) -> bool:
        own = self._organs(site)
        return any(not own.isdisjoint(self._organs(s)) for s in carried.sites)

    def _organs(self, site: Match) -> set[str]:
        """The site and what it is a part of, as far as that is an organ and no region of the body."""
        lineage = self.lineage(site.identifier)
        return {i for i in lineage if i == site.identifier or not (i == lineage[-1] or i in self._vague)}

    def _side(self, words: Sequence[str], items: Sequence[Match], site: Match | None) -> Laterality | None:
        """The side named among `items`, of which `site` is the nearest site."""
        named: list[tuple[Match, Laterality]] = []
        for item in items:
            side = self._sided(item) if self._is_site(item) else _LATERALITIES[item.identifier]
            if side in _SIDED:
                named.append((item, side))
        if site is not None and site.identifier in self._only_one:
            # "左侧胸膜及纵隔": the side is the first's alone
            named = [
                (i, s)
                for i, s in named
                if i.end > site.start or not any(words[at] in self._joins for at in range(i.end, site.start))
            ]
        if not named:
            return None
        # of a list the sides count together: "双侧上颌窦、左侧筛窦"
        first, last = named[0][0], named[-1][0]
        listed = any(words[at] in self._joins for at in range(first.end, last.start))
        sides = {s for _, s in named}
        both = sides >= {Laterality.LEFT, Laterality.RIGHT} or (listed and Laterality.BILATERAL in sides)
        return Laterality.BILATERAL if both else named[-1][1]

    def _behind(self, words: Sequence[str], topic: Topic, after: Sequence[Match], end: int) -> Topic:
        """`topic` with what stands behind the finding: in brackets, or tied by a preposition."""
        for item in after:
            gap = item.start - end
            bracketed = end < len(words) and words[end] == "(" and gap <= _BRACKET_REACH
            tied = gap <= _TIED_REACH and words[item.start - 1] in self._prepositions
            if not (bracketed or tied):
                continue
            side = self._sided(item) if self._is_site(item) else _LATERALITIES[item.identifier]
            if topic.side is None and side in _SIDED:
                topic = replace(topic, side=side)
            if not topic.sites and self._is_site(item):
                topic = replace(topic, sites=(item,), whole=item)
        return topic

    def _narrowed(
        self, words: Sequence[str], topic: Topic, own: Sequence[Match], of: tuple[int, int], start: int
    ) -> Topic:
        """`topic` for one that is said of the site `of` alone, of several."""
        site = next((s for s in (*own, *topic.sites) if (s.start, s.end) == of), None)
        if site is None or len(topic.sites) < 2:
            return topic
        before = [i for i in own if i.end <= site.end]
        if not any(words[at] in self._joins for at in range(site.end, start)):
            before = list(own)
        return Topic((site,), self._side(words, before, site), site)
