"""Which finding a measurement is of."""

from collections.abc import Sequence

from dicomnlp.analyse.clause import ADJECTIVES, Clause
from dicomnlp.analyse.matches import Match
from dicomnlp.model import Measurement


class SizeReader:
    """Gives measurements to findings by the words of one pack.

    Parameters
    ----------
    asides
        Words between an organ's size and a finding that is beside the point: "with".
    amounts
        Words between a size and the finding that it is of: "of".
    turns
        Whether naming a site anew ends what was said of the finding before it.
    """

    def __init__(self, asides: frozenset[str], amounts: frozenset[str], *, turns: bool) -> None:
        self._asides = asides
        self._amounts = amounts
        self._turns = turns

    def owners(
        self,
        clause: Clause,
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
            elif (
                after is not None
                and targets[after].start - end < ADJECTIVES
                and (clause.free(end, after) or self._amount(clause, end, after))
            ):
                owners.append(after)
            elif before is not None and self._turns and clause.turns_to_a_site(targets[before].end, start, sites):
                owners.append(None)
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

    def _amount(self, clause: Clause, end: int, target: int) -> bool:
        """Whether a size that ends before `end` is of the finding that follows: "3 mm of retrolisthesis"."""
        return clause.words[end] in self._amounts and clause.free(end + 1, target)
