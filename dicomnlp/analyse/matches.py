"""Words of a sentence that the lexicon knows."""

from dataclasses import dataclass


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
    shares: bool = False
    """What it is said of may be said to be more: `start` and `end` are those of the predicate."""

    @property
    def tokens(self) -> frozenset[int]:
        """What it occupies: of a composed concept its two parts, not what stands between them."""
        if self.of is None or self.shares:
            return frozenset(range(self.start, self.end))
        return frozenset((*range(*self.predicate), *range(*self.of)))

    @property
    def size(self) -> int:
        """How many tokens it occupies."""
        return self.end - self.start if self.of is None or self.shares else len(self.tokens)


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
