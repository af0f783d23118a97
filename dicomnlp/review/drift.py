"""Whether a week's reports differ from those of a reference period, in what is found in them and how it is said.

Counts of a week are shares of reports: those that mention a concept, those of these in which it is present, those with
a section, and the shares of findings with each assertion and of words that nobody knows. Each share is compared with
that of the reference by Fisher's exact test (hypergeometric, twice the smaller tail). Findings and words of one report
aren't independent of each other: their shares are judged as if each report had been asked once. Weeks of a department
differ more among themselves than chance alone has it: where they did in the reference, the test allows for that, as
Laney's p' chart does (Quality Engineering 2002;14:531-537), and is never less strict than without it.

Of all tests of a week together the false discovery rate is held (Benjamini and Hochberg, J R Stat Soc B 1995;57:
289-300): while nothing drifts, a week raises an alarm with at most that probability. Of what is certain only that is
told which is large, too: by Cohen's h (Statistical Power Analysis, 1988, chapter 6: 0.2 is small, 0.5 medium), and for
a distribution as a whole by the population stability index, whose customary bound is 0.25 (Siddiqi, Credit Risk
Scorecards, 2006), with Pearson's chi-squared test for its certainty.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Any, Final

Counts = Mapping[tuple[str, str, str], int]
"""(source, measure, item) -> how many, of a week."""
ALL: Final = "all"
"""The source of which every report is; others are named like "calling_ae_title:CT1"."""
KNOWN, UNKNOWN = "known", "unknown"
"""Items of `Measure.WORDS`."""
LEAST_REFERENCE_WEEKS: Final = 4
LEAST_EXPECTED: Final = 5.0
"""Items of which fewer are to be expected in the week can't be told from chance, and aren't tried."""
_UNCERTAIN: Final = 0.05
"""Above it a test is surely not significant among others, so that the reference's own unrest needn't be looked at."""
_NORMAL = NormalDist()


class Measure(StrEnum):
    """What is counted of the reports of a source."""

    REPORTS = "reports"
    """Item ""."""
    CONCEPT = "concept"
    """Reports that mention it, by concept."""
    PRESENT = "present"
    """Reports in which it is said to be present, by concept."""
    ASSERTION = "assertion"
    """Findings, by assertion."""
    SECTION = "section"
    """Reports that have it under a heading of its own, by section."""
    WORDS = "words"
    """Words, by whether lexicon or reference know them."""
    PIPELINE = "pipeline"
    """Reports, by the pipeline that read them; not compared."""


_DISTRIBUTIONS = (Measure.ASSERTION, Measure.CONCEPT, Measure.SECTION)
_OF_A_STRANGER = (Measure.PRESENT, Measure.ASSERTION)
"""What a source that the reference doesn't know is held to: how all others write, not what they examine."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From when on a difference is one; see the settings of [drift]."""

    minimum_reports: int = 100
    false_alarms: float = 0.01
    least_change: float = 0.2
    least_instability: float = 0.25


@dataclass(frozen=True, slots=True)
class Move:
    """A share, or a distribution, that isn't what it was."""

    source: str
    measure: Measure
    item: str
    """"" for the distribution as a whole."""
    before: float | None
    """Share in the reference, likewise `now` in the week; None of a distribution."""
    now: float | None
    change: float
    """Cohen's h of a share, negative where it fell; the population stability index of a distribution."""
    p: float

    def to_json(self) -> dict[str, Any]:
        """In the public form."""
        return {
            "source": self.source,
            "measure": self.measure.value,
            "item": self.item,
            "before": None if self.before is None else round(self.before, 4),
            "now": None if self.now is None else round(self.now, 4),
            "change": round(self.change, 3),
            "p": float(f"{self.p:.3g}"),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a week's comparison."""

    reason_code: str | None
    """Why it wasn't compared: "no_reference" or "few_reports"."""
    tests: int = 0
    instability: Mapping[Measure, float] | None = None
    """Population stability indices over all reports."""
    moves: tuple[Move, ...] = ()
    """The largest first; any is an alarm."""


def judge(week: Counts, reference: Sequence[Counts], thresholds: Thresholds) -> Verdict:
    """Compare a week with the weeks of the reference."""
    now, history = _Tables(week), [_Tables(counts) for counts in reference]
    least = thresholds.minimum_reports
    if now.reports(ALL) < least:
        return Verdict("few_reports")
    before = _Tables(_sum(reference))
    if len(reference) < LEAST_REFERENCE_WEEKS or before.reports(ALL) < LEAST_REFERENCE_WEEKS * least:
        return Verdict("no_reference")
    tried: list[Move] = []
    instability: dict[Measure, float] = {}
    for source in now.sources():
        if now.reports(source) < least:
            continue
        stranger = before.reports(source) < least
        of = ALL if stranger else source
        tried += _shares(now, before, history, source, of, _OF_A_STRANGER if stranger else tuple(Measure))
        for measure in () if stranger else _DISTRIBUTIONS:
            index, p = _instability(now, before, source, measure)
            tried.append(Move(source, measure, "", None, None, index, p))
            if source == ALL:
                instability[measure] = round(index, 4)
    certain = discoveries([move.p for move in tried], thresholds.false_alarms)
    moves = [move for move, sure in zip(tried, certain, strict=True) if sure and _is_large(move, thresholds)]
    moves.sort(key=lambda m: (-abs(m.change), m.source, m.measure, m.item))
    return Verdict(None, len(tried), instability, tuple(moves))


def _is_large(move: Move, thresholds: Thresholds) -> bool:
    if move.before is None:
        return move.change >= thresholds.least_instability
    return abs(move.change) >= thresholds.least_change


class _Tables:
    """Counts by source, measure and item."""

    def __init__(self, counts: Counts) -> None:
        self._of: dict[str, dict[str, dict[str, int]]] = {}
        for (source, measure, item), count in counts.items():
            self._of.setdefault(source, {}).setdefault(measure, {})[item] = count

    def sources(self) -> list[str]:
        return sorted(self._of)

    def of(self, source: str, measure: Measure) -> Mapping[str, int]:
        return self._of.get(source, {}).get(measure, {})

    def reports(self, source: str) -> int:
        return self.of(source, Measure.REPORTS).get("", 0)

    def share(self, source: str, measure: Measure, item: str) -> tuple[int, int]:
        """(so many, of so many) reports."""
        reports = self.reports(source)
        counts = self.of(source, measure)
        count = counts.get(item, 0)
        if measure is Measure.PRESENT:
            return count, self.of(source, Measure.CONCEPT).get(item, 0)
        if measure in {Measure.ASSERTION, Measure.WORDS}:
            total = sum(counts.values())
            asked = min(reports, total)
            return (round(asked * count / total) if total else 0), asked
        return min(count, reports), reports


def _sum(weeks: Sequence[Counts]) -> Counts:
    total: dict[tuple[str, str, str], int] = {}
    for counts in weeks:
        for key, count in counts.items():
            total[key] = total.get(key, 0) + count
    return total


def _shares(
    now: _Tables, before: _Tables, history: Sequence[_Tables], source: str, of: str, measures: Iterable[Measure]
) -> Iterator[Move]:
    for measure in measures:
        if measure in {Measure.REPORTS, Measure.PIPELINE}:
            continue
        items = {UNKNOWN} if measure is Measure.WORDS else now.of(source, measure).keys() | before.of(of, measure)
        if measure is Measure.PRESENT:  # also where it is nowhere present any more
            items = now.of(source, Measure.CONCEPT).keys() & before.of(of, Measure.CONCEPT).keys()
        for item in sorted(items):
            x, n = now.share(source, measure, item)
            x0, n0 = before.share(of, measure, item)
            # by the margins, which are given in the exact test: what is left out for being rare biases none
            share = (x + x0) / (n + n0) if n and n0 else 0.0
            if min(share, 1 - share) * min(n, n0) < LEAST_EXPECTED:
                continue
            p = exact(x, n, x0, n0)
            if measure is Measure.WORDS and x * n0 <= x0 * n:
                p = 1.0  # words that everybody knows by now are no drift
            if p < _UNCERTAIN:
                p = _allowing(p, unrest([each.share(of, measure, item) for each in history]))
            yield Move(source, measure, item, x0 / n0, x / n, cohen_h(x0 / n0, x / n), p)


def exact(x: int, n: int, x0: int, n0: int) -> float:
    """Probability of a share at least so far from the other, if both were the same: Fisher's test, two tails."""
    successes, total = x + x0, n + n0
    mean = n * successes / total
    if abs(x - mean) < 1.0:
        return 1.0
    upwards = x > mean
    failures = total - successes
    term = math.exp(_choices(successes, x) + _choices(failures, n - x) - _choices(total, n))
    tail, k = 0.0, x
    while term > 1e-17 * tail and term > 0.0:
        tail += term
        if upwards:
            term *= (successes - k) * (n - k) / ((k + 1) * (failures - n + k + 1))
            k += 1
        else:
            term *= k * (failures - n + k) / ((successes - k + 1) * (n - k + 1))
            k -= 1
    return min(1.0, 2.0 * tail)


def _choices(n: int, k: int) -> float:
    """Logarithm of the binomial coefficient."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def cohen_h(before: float, now: float) -> float:
    """Difference of two shares on the scale on which it is equally easy to see everywhere; up to pi."""
    return 2.0 * (math.asin(math.sqrt(now)) - math.asin(math.sqrt(before)))


def unrest(weeks: Iterable[tuple[int, int]]) -> float:
    """How much more weeks differ among themselves than by chance: a standard deviation, 1.0 at least."""
    asked = [(x, n) for x, n in weeks if n > 0]
    total = sum(n for _, n in asked)
    share = sum(x for x, _ in asked) / total if total else 0.0
    if len(asked) < 2 or not 0.0 < share < 1.0:
        return 1.0
    squares = sum((x - n * share) ** 2 / (n * share * (1.0 - share)) for x, n in asked)
    return max(1.0, math.sqrt(squares / (len(asked) - 1)))


def _allowing(p: float, deviation: float) -> float:
    """`p` as it is where the standard deviation is so many times that of chance."""
    if deviation == 1.0:
        return p
    return 2.0 * _NORMAL.cdf(_NORMAL.inv_cdf(max(p, 1e-300) / 2.0) / deviation)


def discoveries(values: Sequence[float], rate: float) -> list[bool]:
    """Which of these p values are significant at this false discovery rate (Benjamini and Hochberg)."""
    order = sorted(values)
    bound = max((p for n, p in enumerate(order, 1) if p <= rate * n / len(order)), default=-1.0)
    return [p <= bound for p in values]


def _instability(now: _Tables, before: _Tables, source: str, measure: Measure) -> tuple[float, float]:
    """Population stability index of a distribution, and Pearson's p as if each report had one of its items."""
    new, old = now.of(source, measure), before.of(source, measure)
    n, n0 = sum(new.values()), sum(old.values())
    if not n or not n0:
        return 0.0, 1.0
    asked, asked0 = min(n, now.reports(source)), min(n0, before.reports(source))
    cells: dict[str, tuple[int, int]] = {}
    for item in new.keys() | old.keys():
        x, x0 = new.get(item, 0), old.get(item, 0)
        rare = (x + x0) / (n + n0) * asked < LEAST_EXPECTED
        others = cells.get("", (0, 0))
        cells["" if rare else item] = (x + others[0], x0 + others[1]) if rare else (x, x0)
    return stability_index(cells.values()), homogeneity([(x / n * asked, x0 / n0 * asked0) for x, x0 in cells.values()])


def stability_index(cells: Iterable[tuple[int, int]]) -> float:
    """Population stability index of pairs of counts; half a case more in each, for what isn't there at all."""
    pairs = [(x + 0.5, x0 + 0.5) for x, x0 in cells]
    n, n0 = (sum(pair[side] for pair in pairs) for side in (0, 1))
    return sum((x / n - x0 / n0) * math.log(x / n * n0 / x0) for x, x0 in pairs)


def homogeneity(cells: Sequence[tuple[float, float]]) -> float:
    """Pearson's chi-squared test whether pairs of counts are of one distribution: its p value."""
    n, n0 = (sum(cell[side] for cell in cells) for side in (0, 1))
    filled = [cell for cell in cells if sum(cell)]
    if len(filled) < 2:
        return 1.0
    statistic = 0.0
    for cell in filled:
        for count, total in zip(cell, (n, n0), strict=True):
            expected = sum(cell) * total / (n + n0)
            statistic += (count - expected) ** 2 / expected
    return chi_squared_tail(statistic, len(filled) - 1)


def chi_squared_tail(x: float, degrees: int) -> float:
    """Probability that a chi-squared variable is above `x` (Abramowitz and Stegun 26.4.4 and 26.4.5)."""
    if degrees % 2:
        tail, term, n = math.erfc(math.sqrt(x / 2.0)), math.sqrt(2.0 * x / math.pi) * math.exp(-x / 2.0), 3
    else:
        tail, term, n = math.exp(-x / 2.0), x / 2.0 * math.exp(-x / 2.0), 4
    while n <= degrees:
        tail += term
        term *= x / n
        n += 2
    return min(1.0, tail)
