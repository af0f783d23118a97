"""Which words of a sentence belong to which of its findings.

A word is given to the finding that follows when nothing joins or ends a clause between them ("left basilar
atelectasis"), else to the one before ("effusion in the left hemithorax"). Members of a list share what stands before
its first or after its last member ("right upper lobe nodule and mass").
"""

from collections.abc import Sequence

from dicomnlp.analyse.matches import Match

ADJECTIVES = 7
"""Most tokens between a word and the finding that follows it."""
_ON_THE = 2
"""Tokens of "on the"."""
_LIST_FILLERS = 2
"""Most tokens beside joins between two members of a list: articles, adjectives."""


class Clause:
    """Which word of a sentence belongs to which finding."""

    def __init__(
        self,
        words: Sequence[str],
        targets: Sequence[Match],
        joins: frozenset[str],
        breaks: frozenset[str],
        halts: frozenset[str],
        prepositions: frozenset[str],
        ties: frozenset[str],
        marked: frozenset[int],
        sided: frozenset[int],
    ) -> None:
        self.words = words
        self.targets = targets
        self.joins = joins
        self.breaks = breaks
        self.halts = halts
        self.prepositions = prepositions
        self.marked = marked
        self.sided = sided
        self.ties = ties
        self.lists = self._lists()

    def words_of(self, start: int, end: int, kind: frozenset[str]) -> bool:
        """Whether a word of `kind` is among the tokens [start, end)."""
        return not kind.isdisjoint(self.words[start:end])

    def unbroken(self, start: int, end: int) -> bool:
        """No clause break in the tokens [start, end)."""
        return not self.words_of(start, end, self.breaks)

    def free(self, start: int, target: int) -> bool:
        """Neither a clause break nor a join between `start` and the target: nothing but adjectives."""
        end = self.targets[target].start
        return not self.words_of(start, end, self.halts) and not self.words_of(start, end, self.ties)

    def count(self, target: Match, counts: Sequence[Match]) -> str | None:
        """How many: the last number word before the target with nothing but adjectives between."""
        if not counts:
            return None
        if named := [c for c in counts if inside(c, target)]:
            return named[0].identifier
        number = next((i for i, t in enumerate(self.targets) if t is target), None)
        near = [c for c in counts if c.end <= target.start and target.start - c.end <= ADJECTIVES]
        if number is None or not near or not self.free(near[-1].end, number):
            return None
        if any(near[-1].end <= t.start < target.start for t in self.targets):
            return None
        if not near[-1].identifier.isdigit():
            for place in (near[-1].end, target.predicate[1]):
                if [w.isdigit() or w for w in self.words[place : place + 3]] == ["(", True, ")"]:
                    return self.words[place + 1]  # "multiple (4) nodules"
        return near[-1].identifier

    def turns_to_a_site(self, end: int, start: int, sites: Sequence[Match]) -> bool:
        """Whether a phrase after token `end` names a site, whose size `start` then is: "肌层见结节，内膜厚8mm"."""
        phrase = max((i + 1 for i in range(end, start) if self.words[i] in self.halts), default=None)
        return phrase is not None and any(phrase <= s.start and s.end <= start for s in sites)

    def distance(self, word: Match, target: Match) -> int:
        """Tokens between the two, 0 where they touch or overlap."""
        return max(0, target.start - word.end, word.start - target.end)

    def _lists(self) -> list[list[int]]:
        """Runs of findings that only joins and a few words set apart."""
        if len(self.targets) == 1:
            return [[0]]
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
        targets = self.targets
        previous: tuple[Match, int | None] | None = None
        for word in words:
            start, end = word.start, word.end
            touching = [i for i, t in enumerate(targets) if start < t.end and t.start < end]
            # what stands in one name needs no owner; a list of sites goes on from it all the same
            owner = self._owner(word, nouns=nouns) if nouns or not touching else None
            if nouns and previous is not None and self._lists_on(previous[0], word, previous[1]):
                owner = previous[1]
            previous = word, owner
            if len(touching) > 1 and not shared:
                # between the parts of two composed findings: "Liver: Mildly enlarged, echogenic"
                touching = [min(touching, key=lambda i: self._from_predicate(word, self.targets[i]))]
            if touching and nouns:
                # "opacity right lower lobe, likely infarct": the lobe is of both, though the infarct is composed of it
                touching += [
                    i for i, t in enumerate(self.targets) if t.predicate[1] == word.start and i not in touching
                ]
            for number in touching or ([] if owner is None else [owner]):
                own[number].append(word)
        if not shared or len(self.targets) == 1:
            return own
        given = [list(words) for words in own]
        for members in self.lists:
            first, last = members[0], members[-1]
            before = [w for w in own[first] if w.end <= self.targets[first].predicate[0]]
            after = [w for w in own[last] if w.start >= self.targets[last].predicate[1]]
            for number in members:
                if not own[number]:
                    given[number] = after or ([] if self._described(number) else before)
        return given

    def _described(self, number: int) -> bool:
        """Whether a member of a list has a degree, an acuity ... of its own: "right infarct and chronic ischemia"."""
        start = self.targets[number - 1].end if number else self.targets[number].start
        return any(token in self.marked for token in range(start, self.targets[number].start + 1))

    def _lists_on(self, one: Match, other: Match, owner: int | None) -> bool:
        """Whether `other` goes on with the list of `one`: "foci in the lung, liver and pons are suspicious for"."""
        between = range(one.end, other.start)
        if (
            owner is None
            or self.targets[owner].start > one.start
            or not any(self.words[i] in self.joins for i in between)
        ):
            return False
        if not all(self.words[i] in self.joins or i in self.sided | self.marked for i in between):
            return False
        following = next((t.start for t in self.targets if t.start >= other.end), None)
        return following is None or not all(i in self.sided | self.marked for i in range(other.end, following))

    def _owner(self, word: Match, *, nouns: bool) -> int | None:
        following = preceding = None
        for i, target in enumerate(self.targets):
            if target.end <= word.start:
                preceding = i
            if following is None and target.start >= word.end:
                following = i
        while following is not None and not nouns and self._adjectival(following):
            following += 1
        behind = preceding is not None and self.unbroken(self.targets[preceding].end, word.start)
        tied = nouns and behind and self._attached(word)
        if following is not None and self._modifies(word, following) and not tied:
            return following
        if following is not None and not nouns and self._paired(word, following):
            return following
        if behind:
            return preceding
        if following is not None and self.unbroken(word.end, self.targets[following].start):
            return following
        return None

    @staticmethod
    def _from_predicate(word: Match, target: Match) -> tuple[bool, int]:
        """How far what is said of the target stands from the word; what follows comes first."""
        return target.predicate[0] < word.start, abs(target.predicate[0] - word.start)

    def _adjectival(self, target: int) -> bool:
        """Whether the finding stands right before another that it describes: "postoperative effusion"."""
        if target + 1 == len(self.targets):
            return False
        one, other = self.targets[target], self.targets[target + 1]
        return one.of is None and other.of is None and one.end == other.start

    def _modifies(self, word: Match, target: int) -> bool:
        """`word` stands before the target with nothing but adjectives, or "in", between."""
        end = self.targets[target].start
        near = end - word.end <= ADJECTIVES
        return near and not self.words_of(word.end, end, self.halts) and not self.words_of(word.end, end, self.joins)

    def _paired(self, word: Match, target: int) -> bool:
        """`word` belongs to the first of two sides before the target: "and severe left, moderate right stenosis"."""
        before = word.start
        while before and before - 1 in self.marked | self.sided:
            before -= 1
        between = range(word.end, self.targets[target].start)
        listed = all(i in self.marked or i in self.sided or self.words[i] in self.joins for i in between)
        return listed and any(i in self.sided for i in between) and (not before or self.words[before - 1] in self.joins)

    def _attached(self, word: Match) -> bool:
        """A preposition ties `word` to what is before it: "of the posterior right upper lobe"."""
        before = self.words[max(0, word.start - 4) : word.start]
        last_join = max((i for i, w in enumerate(before) if w in self.joins), default=-1)
        return any(w in self.prepositions for w in before[last_join + 1 :])


def nearest(target: Match, words: Sequence[Match]) -> Match | None:
    """The nearest of `words`; before the finding rather than after it."""
    if len(words) < 2:
        return words[0] if words else None
    return min(words, key=lambda w: (max(0, target.start - w.end, w.start - target.end), w.start), default=None)


def in_name(site: Match, target: Match) -> bool:
    """Whether the site is part of the finding's name; what a composed finding is said of isn't."""
    return target.of is None and inside(site, target)


def gap_between(one: Match, other: Match) -> tuple[int, int]:
    """The tokens between the two, from first to last."""
    return (one.end, other.start) if one.start < other.start else (other.end, one.start)


def inside(word: Match, whole: Match) -> bool:
    """Whether `word` stands within `whole`."""
    return whole.start <= word.start and word.end <= whole.end


def ending_at(matches: Sequence[Match], place: int) -> str | None:
    """What the match that ends before the token `place` names."""
    return next((m.identifier for m in matches if m.end == place), None)


def before_side(degrees: Sequence[Match], side: Match, low: int) -> str | None:
    """The degree right before a side, "on the" between; none that begins before the token `low`."""
    return next((d.identifier for d in degrees if d.start >= low and 0 <= side.start - d.end <= _ON_THE), None)


def length_at(matches: Sequence[Match], place: int) -> int:
    """Tokens of the match that ends before the token `place`."""
    return next((m.end - m.start for m in matches if m.end == place), 0)
