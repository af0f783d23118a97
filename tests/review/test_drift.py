"""Drift on counts: what is planted raises an alarm within a week, and chance raises no more than is promised."""

import math
import random
from collections import Counter

import numpy as np
import pytest

from dicomnlp.review import drift
from dicomnlp.review.drift import ALL, KNOWN, UNKNOWN, Measure, Thresholds, judge

CONCEPTS = {"effusion": (0.30, 0.20), "nodule": (0.12, 0.60), "fracture": (0.08, 0.35), "mass": (0.02, 0.5)}
"""Share of reports that mention it, and of these in which it is present."""
SECTIONS = {"findings": 0.97, "impression": 0.85, "technique": 0.40}
UNKNOWN_SHARE = 0.02
CERTAINTY_ALONE = Thresholds(least_change=0.0, least_instability=0.0)
"""Whatever is certain is told, however small: so that the promise is the statistic's own."""


def week(generator, sources, **changes):
    """Counts of a week of reports that don't drift, as the store would give them.

    Parameters
    ----------
    sources
        Name -> number of reports.
    changes
        Source -> (concepts, sections, share of unknown words) that it writes by in place of the usual.
    """
    counts = Counter()
    for source, reports in sources.items():
        concepts, sections, unknown = changes.get(source, (CONCEPTS, SECTIONS, UNKNOWN_SHARE))
        found = Counter({(Measure.REPORTS, ""): reports})
        for concept, (mentioned, present) in concepts.items():
            n = int(generator.binomial(reports, mentioned))
            x = int(generator.binomial(n, present))
            found[Measure.CONCEPT, concept], found[Measure.PRESENT, concept] = n, x
            found[Measure.ASSERTION, "present"] += x
            found[Measure.ASSERTION, "absent"] += n - x
        for section, share in sections.items():
            found[Measure.SECTION, section] = int(generator.binomial(reports, share))
        words = 150 * reports
        found[Measure.WORDS, UNKNOWN] = int(generator.binomial(words, unknown))
        found[Measure.WORDS, KNOWN] = words - found[Measure.WORDS, UNKNOWN]
        for (measure, item), count in found.items():
            counts[f"station_name:{source}", measure, item] += count
            counts[ALL, measure, item] += count
    return {(source, str(measure), item): count for (source, measure, item), count in counts.items()}


STATIONS = {"A": 400, "B": 300, "C": 200}


def past(generator, weeks=12):
    """A reference in which nothing drifts."""
    return [week(generator, STATIONS) for _ in range(weeks)]


# negation in other words: what was absent now looks present, and each concept is mentioned as often as before
WITHOUT_NEGATION = ({c: (mentioned, 0.9) for c, (mentioned, _) in CONCEPTS.items()}, SECTIONS, UNKNOWN_SHARE)
OTHER_TEMPLATE = (CONCEPTS, {**SECTIONS, "impression": 0.05, "technique": 0.95}, UNKNOWN_SHARE)
OTHER_WORDS = (CONCEPTS, SECTIONS, 0.12)
OTHER_PATIENTS = ({**CONCEPTS, "mass": (0.15, 0.5)}, SECTIONS, UNKNOWN_SHARE)


@pytest.mark.parametrize(
    ("stations", "changes", "expected"),
    [
        # a station says "no" in words that nobody knows
        (STATIONS, {"C": WITHOUT_NEGATION}, ("station_name:C", Measure.PRESENT, "effusion")),
        (STATIONS, {"C": WITHOUT_NEGATION}, ("station_name:C", Measure.ASSERTION, "absent")),
        # a device without a past, whose reports lose negations on their way, is held to how the others write
        ({**STATIONS, "NEW": 150}, {"NEW": WITHOUT_NEGATION}, ("station_name:NEW", Measure.PRESENT, "effusion")),
        (STATIONS, {"B": OTHER_TEMPLATE}, ("station_name:B", Measure.SECTION, "impression")),
        (STATIONS, {"B": OTHER_TEMPLATE}, ("station_name:B", Measure.SECTION, "technique")),
        (STATIONS, {"A": OTHER_WORDS}, ("station_name:A", Measure.WORDS, UNKNOWN)),
        (STATIONS, {"B": OTHER_PATIENTS}, ("station_name:B", Measure.CONCEPT, "mass")),
        # all of them: the whole is named, too
        (STATIONS, dict.fromkeys(STATIONS, WITHOUT_NEGATION), (ALL, Measure.ASSERTION, "")),
    ],
)
def test_what_is_planted_is_named_in_its_first_week(stations, changes, expected):
    """Station and what of it moved, whatever the chance of that week."""
    generator = np.random.default_rng(7)
    for _ in range(5):
        verdict = judge(week(generator, stations, **changes), past(generator), Thresholds())
        assert expected in {(m.source, m.measure, m.item) for m in verdict.moves}


def test_only_what_moved_is_named():
    """A template of one station doesn't accuse the others, nor its own findings."""
    generator = np.random.default_rng(8)
    verdict = judge(week(generator, STATIONS, B=OTHER_TEMPLATE), past(generator), Thresholds())
    assert {m.source for m in verdict.moves} <= {"station_name:B", ALL}
    assert {m.measure for m in verdict.moves} == {Measure.SECTION}
    moved = next(m for m in verdict.moves if (m.source, m.item) == ("station_name:B", "impression"))
    assert moved.before == pytest.approx(0.85, abs=0.03)
    assert moved.now == pytest.approx(0.05, abs=0.05)
    assert moved.change < -1.0


@pytest.mark.parametrize("thresholds", [Thresholds(), CERTAINTY_ALONE])
def test_a_year_without_drift_raises_no_more_alarms_than_promised(thresholds):
    """In five years of 52 weeks, each by the twelve before it, at most the promised share of weeks."""
    generator = np.random.default_rng(9)
    alarms, years = 0, 5
    for _ in range(years):
        weeks = past(generator, 12 + 52)
        alarms += sum(bool(judge(weeks[n], weeks[n - 12 : n], thresholds).moves) for n in range(12, 64))
    expected = years * 52 * thresholds.false_alarms
    assert alarms <= expected + 3 * math.sqrt(expected)
    if thresholds == Thresholds():
        assert alarms == 0  # what is certain by chance isn't large


def test_the_promise_would_be_broken_by_a_rate_of_a_half():
    """The simulation can fail: it counts alarms where the rate lets them be."""
    generator = np.random.default_rng(10)
    weeks = past(generator, 12 + 52)
    often = Thresholds(false_alarms=0.5, least_change=0.0, least_instability=0.0)
    assert sum(bool(judge(weeks[n], weeks[n - 12 : n], often).moves) for n in range(12, 64)) >= 5


def test_a_restless_reference_asks_for_more():
    """Where weeks differ among themselves, the same week that would be an alarm after calm ones is none."""
    generator = np.random.default_rng(11)
    seldom, often = ({**CONCEPTS, "effusion": (share, 0.2)} for share in (0.15, 0.45))
    restless = [week(generator, {"A": 500}, A=(concepts, SECTIONS, UNKNOWN_SHARE)) for concepts in (seldom, often) * 6]
    now = week(generator, {"A": 500}, A=(often, SECTIONS, UNKNOWN_SHARE))
    calm = [week(generator, {"A": 500}) for _ in range(12)]

    def effusion(reference):
        return {m.item for m in judge(now, reference, Thresholds()).moves if m.measure == Measure.CONCEPT}

    assert "effusion" in effusion(calm)
    assert "effusion" not in effusion(restless)


@pytest.mark.parametrize(
    ("weeks", "reports", "reason_code"),
    [
        (12, 99, "few_reports"),
        (3, 400, "no_reference"),
        (12, 100, None),
    ],
)
def test_weeks_that_say_little_are_not_judged(weeks, reports, reason_code):
    """Few reports, or no past to compare them with."""
    generator = np.random.default_rng(12)
    verdict = judge(week(generator, {"A": reports}), [week(generator, {"A": 300}) for _ in range(weeks)], Thresholds())
    assert verdict.reason_code == reason_code
    assert not verdict.moves


def test_fewer_unknown_words_are_no_drift():
    """A vocabulary that has grown is what the reference is for."""
    generator = np.random.default_rng(13)
    before = [week(generator, {"A": 500}, A=OTHER_WORDS) for _ in range(12)]
    assert not judge(week(generator, {"A": 500}), before, Thresholds()).moves


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        # twice the smaller tail of the hypergeometric distribution, by adding up integers
        ((3, 10, 15, 24), 0.175676678),
        ((0, 5, 10, 10), 2 / math.comb(15, 5)),
        ((5, 10, 50, 100), 1.0),
    ],
)
def test_exact_test_is_fishers(table, expected):
    """Small tables, whose probabilities can be counted."""
    assert drift.exact(*table) == pytest.approx(expected, rel=1e-6)


def test_exact_test_agrees_with_the_sum_of_integers():
    """Any table, in either direction."""
    generator = random.Random(1)
    for _ in range(200):
        n, n0 = generator.randint(1, 60), generator.randint(1, 60)
        x, x0 = generator.randint(0, n), generator.randint(0, n0)
        k, total = x + x0, n + n0
        upwards = x * total > n * k
        tail = range(x, min(n, k) + 1) if upwards else range(max(0, n - total + k), x + 1)
        p = 2 * sum(math.comb(k, i) * math.comb(total - k, n - i) for i in tail) / math.comb(total, n)
        if abs(x - n * k / total) >= 1:
            assert drift.exact(x, n, x0, n0) == pytest.approx(min(1.0, p), rel=1e-9)


def test_discoveries_are_those_of_benjamini_and_hochberg():
    """The example of their paper: of fifteen comparisons the first four, at a rate of 0.05."""
    values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    values += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert drift.discoveries(values, 0.05) == [True] * 4 + [False] * 11


@pytest.mark.parametrize(("x", "degrees"), [(3.841, 1), (5.991, 2), (7.815, 3), (18.307, 10), (31.410, 20)])
def test_chi_squared_tail_is_that_of_the_tables(x, degrees):
    """Where it is five percent."""
    assert drift.chi_squared_tail(x, degrees) == pytest.approx(0.05, abs=1e-4)


def test_stability_index_is_as_defined():
    """The sum over categories of the difference of shares, times the logarithm of their ratio."""
    cells = [(300_000, 500_000), (700_000, 500_000)]
    expected = (0.3 - 0.5) * math.log(0.3 / 0.5) + (0.7 - 0.5) * math.log(0.7 / 0.5)
    assert drift.stability_index(cells) == pytest.approx(expected, abs=1e-4)
    assert drift.stability_index([(30, 300), (70, 700)]) < 0.001
