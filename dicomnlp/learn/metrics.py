"""Precision, recall and F1 with confidence intervals.

Intervals are percentile bootstrap intervals over patients (Efron and Tibshirani, An Introduction to the Bootstrap,
1993, chapter 13): patients are drawn, not findings, because findings of one report, and reports of one patient, are not
independent. A report that names no patient stands for itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
SEED = 20261122
"""Fixed: the same answers give the same intervals."""
CONFIDENCE = 0.95
_AT_ONCE = 100

Counts = npt.NDArray[np.float64]
"""[reports, classes, 3]: true positives, false positives, false negatives."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its confidence interval; None where it isn't defined (nothing found, nothing to find)."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Precision, recall and F1 of a class, a slice or the whole."""

    precision: Estimate
    recall: Estimate
    f1: Estimate
    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def support(self) -> int:
        """How many the annotators marked."""
        return self.true_positives + self.false_negatives


def count(entries: Sequence[tuple[int, str | None, str | None, bool]], reports: int, classes: Sequence[str]) -> Counts:
    """Counts a report and class of `entries` (report, gold class, given class, whether right).

    Right counts as a true positive of the gold class; wrong as a false negative of the gold class and a false
    positive of the given class, each where there is one.
    """
    place = {name: i for i, name in enumerate(classes)}
    counts: Counts = np.zeros((reports, len(classes), 3))
    for report, gold, given, right in entries:
        if right and gold is not None:
            counts[report, place[gold], 0] += 1
            continue
        if given is not None:
            counts[report, place[given], 1] += 1
        if gold is not None:
            counts[report, place[gold], 2] += 1
    return counts


def rates(counts: Counts) -> tuple[Rates, Estimate, list[Rates]]:
    """Micro-averaged rates, macro-averaged F1, and the rates of each class, with intervals.

    The macro average is over the classes that annotators marked at least once.
    """
    drawn = resampled(counts)
    whole = counts.sum(axis=0)
    micro = _rates(whole.sum(axis=0), drawn.sum(axis=1))
    supported = (whole[:, 0] + whole[:, 2]) > 0
    macro = Estimate(None, None, None)
    if supported.any():
        value = float(np.mean(_f1(whole[supported])))
        macro = _estimate(value, _mean(_f1(drawn[:, supported])))
    return micro, macro, [_rates(whole[i], drawn[:, i]) for i in range(whole.shape[0])]


def resampled(counts: Counts, resamples: int = RESAMPLES) -> Counts:
    """[resamples, classes, 3]: the counts of as many reports, drawn with replacement, again and again."""
    generator = np.random.default_rng(SEED)
    reports = counts.shape[0]
    flat = counts.reshape(reports, -1)
    parts = []
    for done in range(0, resamples, _AT_ONCE):
        n = min(_AT_ONCE, resamples - done)
        weights = generator.multinomial(reports, np.full(reports, 1 / reports), size=n).astype(np.float64)
        parts.append(weights @ flat)
    return np.concatenate(parts).reshape(resamples, *counts.shape[1:])


def _rates(whole: Counts, drawn: Counts) -> Rates:
    tp, fp, fn = (int(n) for n in whole)
    precision, recall, f1 = (_estimate(float(f(whole)), f(drawn)) for f in (_precision, _recall, _f1))
    return Rates(precision, recall, f1, tp, fp, fn)


def _precision(counts: Counts) -> Counts:
    return _ratio(counts[..., 0], counts[..., 0] + counts[..., 1])


def _recall(counts: Counts) -> Counts:
    return _ratio(counts[..., 0], counts[..., 0] + counts[..., 2])


def _f1(counts: Counts) -> Counts:
    return _ratio(2 * counts[..., 0], 2 * counts[..., 0] + counts[..., 1] + counts[..., 2])


def _ratio(part: Counts, whole: Counts) -> Counts:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _mean(values: Counts) -> Counts:
    """Mean over classes of each resample, without those that the resample doesn't hold."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))


def _estimate(value: float, drawn: Counts) -> Estimate:
    known = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not known.size:
        return Estimate(None, None, None)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, (tail, 1 - tail))
    return Estimate(value, float(low), float(high))


@dataclass(frozen=True, slots=True)
class Difference:
    """How much one way of reading is ahead of another on the same reports."""

    f1: Estimate
    """Difference of micro-averaged F1, the second's less the first's."""
    p_value: float
    """Of approximate randomization: how often as large a difference comes about when answers are swapped at random."""


def paired(first: Counts, second: Counts) -> Difference:
    """Compare two ways of reading the same reports, both as `count` gives them.

    The interval is of the same resamples of reports for both. The significance is by approximate randomization over
    reports (Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989; Yeh, COLING 2000).
    """
    one, two = first.sum(axis=1), second.sum(axis=1)
    value = float(_f1(two.sum(axis=0)) - _f1(one.sum(axis=0)))
    drawn = _f1(resampled(two[:, None])[:, 0]) - _f1(resampled(one[:, None])[:, 0])
    generator = np.random.default_rng(SEED)
    swapped = generator.random((RESAMPLES, len(one))) < 0.5
    change = two - one
    moved = np.where(swapped, 1.0, 0.0) @ change
    shuffled = _f1(two.sum(axis=0) - moved) - _f1(one.sum(axis=0) + moved)
    known = shuffled[~np.isnan(shuffled)]
    as_large = int((np.abs(known) >= abs(value) - 1e-12).sum())
    return Difference(_estimate(value, drawn), (as_large + 1) / (len(known) + 1))


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of about the same probability."""

    low: float
    high: float
    answers: int
    probability: float
    """Mean of what the model says."""
    right: float
    """Share of them that is right."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether a model's probabilities mean what they say."""

    bins: tuple[Bin, ...]
    expected_error: float
    """Mean distance of probability and share right, each bin by its answers (Guo et al., ICML 2017)."""
    brier: float
    """Mean squared distance of probability and truth (Brier, 1950)."""


def calibration(answers: Sequence[tuple[float, bool]], bins: int = 10) -> Calibration | None:
    """How well the probabilities of `answers` (probability, whether right) fit; None of none."""
    if not answers:
        return None
    given = np.array([p for p, _ in answers])
    right = np.array([r for _, r in answers], dtype=np.float64)
    place = np.minimum((given * bins).astype(int), bins - 1)
    found = []
    for n in range(bins):
        here = place == n
        if here.any():
            mean, share = float(given[here].mean()), float(right[here].mean())
            found.append(Bin(n / bins, (n + 1) / bins, int(here.sum()), mean, share))
    error = sum(b.answers * abs(b.probability - b.right) for b in found) / len(answers)
    return Calibration(tuple(found), error, float(np.mean((given - right) ** 2)))
