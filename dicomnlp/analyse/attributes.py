"""Where a finding is, on which side, how marked, and how it changed: the nearest words in its clause.

A word belongs to a finding when no clause break and no other finding stands between them, unless those others are
members of one list ("right upper lobe nodule and mass").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dicomnlp.analyse.lexicon import Match, Matches
from dicomnlp.analyse.pack import Pack
from dicomnlp.model import Change, Laterality, Measurement, Severity


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a sentence says of one finding beside its assertion."""

    anatomy: str | None = None
    """Id of the site."""
    laterality: Laterality | None = None
    severity: Severity | None = None
    change: Change | None = None
    measurements: tuple[Measurement, ...] = ()


class AttributeReader:
    """Attaches attributes by the words of one pack."""

    def __init__(self, pack: Pack) -> None:
        self._anatomy = pack.anatomy
        self._joins = frozenset(word.lower() for word in pack.attributes.joins)
        self._breaks = frozenset(word.lower() for word in pack.attributes.clause_breaks)

    def read(
        self,
        words: Sequence[str],
        matches: Matches,
        targets: Sequence[Match],
        measurements: Sequence[tuple[Measurement, tuple[int, int]]],
    ) -> list[tuple[Attributes, ...]]:
        """The attributes of each of `targets`: one entry, or one for each side of a list ("small right and large left").

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
        """
        sentence = _Sentence(words, targets, self._joins, self._breaks)
        owners = self._owners(sentence, targets, measurements)
        read: list[tuple[Attributes, ...]] = []
        for number, target in enumerate(targets):
            inside = [s for s in matches.sites if target.start <= s.start and s.end <= target.end]
            sites = [s for s in matches.sites if not any(_overlap(s, t) for t in targets)]
            site = sentence.nearest(target, sites, shared=True) or (inside[0] if inside else None)
            sides = [s for s in matches.sides if not any(_overlap(s, x) for x in matches.sites if x is not site)]
            common = Attributes(
                anatomy=site.identifier if site else None,
                severity=self._severity(sentence, target, matches.degrees),
                change=self._change(sentence, target, matches.courses),
                measurements=tuple(m for (m, _), owner in zip(measurements, owners, strict=True) if owner == number),
            )
            read.append(self._sided(sentence, target, site, sides, matches.degrees, common))
        return read

    def _sided(
        self,
        sentence: "_Sentence",
        target: Match,
        site: Match | None,
        sides: Sequence[Match],
        degrees: Sequence[Match],
        common: Attributes,
    ) -> tuple[Attributes, ...]:
        before = [s for s in sides if s.end <= target.start and sentence.reaches(s, target)]
        for left, right in pairwise(before):
            between = [w for w in sentence.words[left.end : right.start] if w in self._joins]
            if between and {left.identifier, right.identifier} == {"left", "right"} and target.start - right.end <= 2:
                own = [_ending_at(degrees, left.start), _ending_at(degrees, right.start)]
                if any(own):
                    return tuple(
                        _with(common, laterality=Laterality(side.identifier), severity=Severity(d) if d else None)
                        for side, d in zip((left, right), own, strict=True)
                    )
                return (_with(common, laterality=Laterality.BILATERAL),)
        nearest = sentence.nearest(target, sides, shared=True)
        side = Laterality(nearest.identifier) if nearest else None
        if side is None and site is not None:
            side = self._anatomy[site.identifier].laterality
        return (_with(common, laterality=side),)

    def _severity(self, sentence: "_Sentence", target: Match, degrees: Sequence[Match]) -> Severity | None:
        near = [d for d in degrees if target.start - 6 <= d.start and d.end <= target.end + 4]
        found = sentence.nearest(target, near, shared=False, adjectives=True)
        return Severity(found.identifier) if found else None

    def _change(self, sentence: "_Sentence", target: Match, courses: Sequence[Match]) -> Change | None:
        found = sentence.nearest(target, courses, shared=True)
        return Change(found.identifier) if found else None

    def _owners(
        self,
        sentence: "_Sentence",
        targets: Sequence[Match],
        measurements: Sequence[tuple[Measurement, tuple[int, int]]],
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
            direct = after is not None and targets[after].start - end <= 5 and sentence.clear(end, targets[after].start)
            if inside is not None:
                owners.append(inside)
            elif direct:
                owners.append(after)
            elif before is not None and sentence.unbroken(targets[before].end, start):
                owners.append(before)
            elif owners and owners[-1] is not None:
                owners.append(owners[-1])
            elif after is not None and sentence.unbroken(end, targets[after].start):
                owners.append(after)
            else:
                owners.append(None)
        return owners


class _Sentence:
    """Reachability between the tokens of one sentence."""

    def __init__(
        self, words: Sequence[str], targets: Sequence[Match], joins: frozenset[str], breaks: frozenset[str]
    ) -> None:
        self.words = words
        self.targets = targets
        self.joins = joins
        self.breaks = breaks

    def unbroken(self, start: int, end: int) -> bool:
        """No clause break in the tokens [start, end)."""
        return not any(word in self.breaks for word in self.words[start:end])

    def clear(self, start: int, end: int) -> bool:
        """No clause break and no comma: nothing but adjectives in the tokens [start, end)."""
        return self.unbroken(start, end) and not any(w in self.joins for w in self.words[start:end])

    def reaches(self, word: Match, target: Match) -> bool:
        """No clause break between the two."""
        low, high = (word.end, target.start) if word.start < target.start else (target.end, word.start)
        return self.unbroken(low, high)

    def nearest(self, target: Match, words: Sequence[Match], *, shared: bool, adjectives: bool = False) -> Match | None:
        """The nearest of `words` that belongs to `target`; with `shared`, also over other members of its list."""
        best: tuple[int, Match] | None = None
        for word in words:
            if _overlap(word, target):
                return word
            low, high = (word.end, target.start) if word.start < target.start else (target.end, word.start)
            if not self.unbroken(low, high):
                continue
            others = [t for t in self.targets if low <= t.start and t.end <= high]
            if others and not (shared and self._listed(low, high, others)):
                continue
            if adjectives and word.start > target.start and any(w in self.joins for w in self.words[low:high]):
                continue
            if best is None or high - low < best[0]:
                best = (high - low, word)
        return best[1] if best else None

    def _listed(self, low: int, high: int, others: Sequence[Match]) -> bool:
        """Between the tokens stand other findings joined to this one as a list."""
        inside = {i for t in others for i in range(t.start, t.end)}
        rest = [self.words[i] for i in range(low, high) if i not in inside]
        return any(w in self.joins for w in rest) and len(rest) <= 2 * len(others) + 2


def _overlap(a: Match, b: Match) -> bool:
    return a.start < b.end and b.start < a.end


def _ending_at(matches: Sequence[Match], place: int) -> str | None:
    return next((m.identifier for m in matches if m.end == place), None)


def _with(common: Attributes, *, laterality: Laterality | None, severity: Severity | None = None) -> Attributes:
    return Attributes(common.anatomy, laterality, severity or common.severity, common.change, common.measurements)
