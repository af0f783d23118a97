"""How well two readers agree who marked the same reports independently.

On the assertion of findings that both see, by kappa, which takes away what chance alone would give (Cohen, A
coefficient of agreement for nominal scales, Educational and Psychological Measurement 20, 1960). On which findings
there are, by F1 of one reader against the other: places where neither sees anything can't be counted, and as their
number grows, kappa goes towards F1 (Hripcsak and Rothschild, Agreement, the F-measure, and reliability in information
retrieval, JAMIA 12, 2005).
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_TWO_SIDED_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding as a reader sees it."""

    start: int
    end: int
    concept: str
    assertion: str


@dataclass(frozen=True, slots=True)
class Kappa:
    """Cohen's kappa with its 95 % interval."""

    value: float | None
    """None where there is nothing to compare, or both readers always give the one same answer."""
    low: float | None
    high: float | None
    agreed: float | None
    """Share of the answers that are equal."""
    answers: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two readers, over all reports that both are done with."""

    kappa: Kappa
    both: int
    """Findings that both see."""
    only_first: int
    only_second: int

    @property
    def f1(self) -> float | None:
        """Of one reader's findings against the other's, whichever way round; None where neither sees any."""
        every = 2 * self.both + self.only_first + self.only_second
        return 2 * self.both / every if every else None

    def to_json(self) -> dict[str, Any]:
        """The figures in the public form."""
        return {
            "spans": self.kappa.answers,
            "kappa": _rounded(self.kappa.value),
            "kappa_low": _rounded(self.kappa.low),
            "kappa_high": _rounded(self.kappa.high),
            "agreed": _rounded(self.kappa.agreed),
            "f1": _rounded(self.f1),
            "both": self.both,
            "only_first": self.only_first,
            "only_second": self.only_second,
        }


def agreement(reports: Iterable[tuple[Sequence[Seen], Sequence[Seen]]]) -> Agreement:
    """How well two readers agree.

    Parameters
    ----------
    reports
        Of each report what the first sees, and what the second sees.
    """
    pairs: list[tuple[str, str]] = []
    only_first = only_second = 0
    for first, second in reports:
        matched = match(first, second)
        pairs += [(one.assertion, other.assertion) for one, other in matched]
        only_first += len(first) - len(matched)
        only_second += len(second) - len(matched)
    return Agreement(kappa(pairs), len(pairs), only_first, only_second)


def match(first: Sequence[Seen], second: Sequence[Seen]) -> list[tuple[Seen, Seen]]:
    """Findings of two readers that are the same: of one concept, at places that overlap, each once.

    Those at the very same place are matched before others.
    """
    free = list(second)
    matched = []
    waiting = []
    for one in first:
        same = next((o for o in free if (o.start, o.end, o.concept) == (one.start, one.end, one.concept)), None)
        if same is None:
            waiting.append(one)
        else:
            free.remove(same)
            matched.append((one, same))
    for one in waiting:
        near = next((o for o in free if o.concept == one.concept and o.start < one.end and one.start < o.end), None)
        if near is not None:
            free.remove(near)
            matched.append((one, near))
    return matched


def kappa(pairs: Sequence[tuple[str, str]]) -> Kappa:
    """Cohen's kappa of pairs of answers, unweighted, with the interval by Cohen's standard error (1960, formula 7)."""
    answers = len(pairs)
    if not answers:
        return Kappa(None, None, None, None, 0)
    observed = sum(one == other for one, other in pairs) / answers
    firsts, seconds = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    expected = sum(firsts[answer] * seconds[answer] for answer in firsts) / answers**2
    if expected == 1:
        return Kappa(None, None, None, observed, answers)
    value = (observed - expected) / (1 - expected)
    error = _TWO_SIDED_95 * math.sqrt(observed * (1 - observed) / (answers * (1 - expected) ** 2))
    return Kappa(value, max(-1.0, value - error), min(1.0, value + error), observed, answers)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
