"""Precision, recall, F1 and their intervals, against figures worked out by hand."""

import numpy as np
import pytest

from dicomnlp.learn.metrics import calibration, count, paired, rates, resampled

ENTRIES = [
    # (report, annotators' class, given class, right)
    (0, "a", "a", True),
    (0, "a", "a", True),
    (0, "a", "b", False),  # a miss of a and a false alarm of b
    (1, "b", "b", True),
    (1, None, "a", False),  # found, not marked
    (2, "b", None, False),  # marked, not found
    (2, "a", "b", True),  # another answer that was accepted: right for a
]


def test_rates_are_those_worked_out_by_hand():
    """a: 3 right, 1 false alarm, 1 missed; b: 1 right, 1 false alarm, 1 missed."""
    micro, macro, (a, b) = rates(count(ENTRIES, 3, ["a", "b"]))
    assert (a.true_positives, a.false_positives, a.false_negatives, a.support) == (3, 1, 1, 4)
    assert (b.true_positives, b.false_positives, b.false_negatives, b.support) == (1, 1, 1, 2)
    assert a.precision.value == a.recall.value == a.f1.value == pytest.approx(0.75)
    assert b.f1.value == pytest.approx(0.5)
    assert micro.precision.value == pytest.approx(4 / 6)
    assert micro.recall.value == pytest.approx(4 / 6)
    assert macro.value == pytest.approx((0.75 + 0.5) / 2)


def test_precision_and_recall_differ_where_they_should():
    """Two of four found, one of three found is right no more."""
    micro, _, _ = rates(
        count([(0, "a", "a", True)] * 2 + [(0, "a", None, False)] * 2 + [(0, None, "a", False)], 1, ["a"])
    )
    assert micro.precision.value == pytest.approx(2 / 3)
    assert micro.recall.value == pytest.approx(2 / 4)
    assert micro.f1.value == pytest.approx(4 / 7)


def test_what_nobody_marked_has_no_recall_and_no_part_in_the_mean():
    """Nothing to find: recall isn't 0 but undefined; the class doesn't pull the mean down."""
    _, macro, (a, b) = rates(count([(0, "a", "a", True), (0, None, "b", False)], 1, ["a", "b"]))
    assert (b.recall.value, b.recall.low, b.recall.high) == (None, None, None)
    assert b.precision.value == 0
    assert macro.value == a.f1.value == 1


def test_nothing_at_all_is_undefined():
    """Reports without a single decision: no figures, no error."""
    micro, macro, classes = rates(count([], 4, []))
    assert micro.f1.value is macro.value is None
    assert classes == []


def test_intervals_hold_their_figure_and_are_the_same_each_time():
    """A fixed seed; the interval is within 0 to 1 and around the figure."""
    entries = [(i, "a", "a" if i % 5 else "b", bool(i % 5)) for i in range(60)]
    counts = count(entries, 60, ["a", "b"])
    first, second = rates(counts), rates(counts)
    assert first == second
    f1 = first[0].f1
    assert f1.value == pytest.approx(0.8)
    assert 0 <= f1.low < f1.value < f1.high <= 1


def test_interval_of_a_proportion_is_as_wide_as_theory_says():
    """80 % of 400 reports, one decision each: the standard error is sqrt(.8 * .2 / 400) = .02."""
    entries = [(i, "a", "a" if i % 5 else None, bool(i % 5)) for i in range(400)]
    recall = rates(count(entries, 400, ["a"]))[0].recall
    assert recall.low == pytest.approx(0.8 - 1.96 * 0.02, abs=0.008)
    assert recall.high == pytest.approx(0.8 + 1.96 * 0.02, abs=0.008)


def test_reports_are_drawn_not_findings():
    """Ten findings of one report are right or wrong together: the interval is that of reports."""
    alone = [(i, "a", "a" if i % 2 else None, bool(i % 2)) for i in range(40)]
    together = [(i // 10, "a", "a" if (i // 10) % 2 else None, bool((i // 10) % 2)) for i in range(40)]
    narrow = rates(count(alone, 40, ["a"]))[0].recall
    wide = rates(count(together, 4, ["a"]))[0].recall
    assert narrow.value == wide.value == 0.5
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_perfect_answers_have_no_spread():
    """Whatever is drawn, all is right."""
    f1 = rates(count([(i, "a", "a", True) for i in range(9)], 9, ["a"]))[0].f1
    assert (f1.low, f1.value, f1.high) == (1, 1, 1)


def test_each_resample_draws_as_many_reports_as_there_are():
    """With one count a report, each resample's counts add up to the number of reports."""
    drawn = resampled(np.ones((7, 1, 3)), resamples=250)
    assert drawn.shape == (250, 1, 3)
    assert np.all(drawn == 7)


def test_a_paired_difference_is_of_the_same_reports():
    """Where one is always right and the other half the time, the difference is sure; of equals there is none."""
    entries = [(n, "a", "a" if n % 2 else "b", n % 2 == 1) for n in range(60)]
    half = count(entries, 60, ["a", "b"])
    right = count([(n, "a", "a", True) for n in range(60)], 60, ["a", "b"])
    ahead = paired(half, right)
    assert ahead.f1.value == pytest.approx(0.5)
    assert ahead.f1.low > 0.3
    assert ahead.p_value < 0.01
    none = paired(half, half)
    assert (none.f1.value, none.f1.low, none.f1.high, none.p_value) == (0.0, 0.0, 0.0, 1.0)
    behind = paired(right, half)
    assert behind.f1.value == pytest.approx(-0.5)


def test_a_difference_by_chance_is_not_significant():
    """One answer in sixty changed."""
    entries = [(n, "a", "a", True) for n in range(60)]
    one = count(entries, 60, ["a", "b"])
    two = count([*entries[:-1], (59, "a", "b", False)], 60, ["a", "b"])
    assert paired(one, two).p_value > 0.3


def test_probabilities_that_mean_what_they_say_have_no_error():
    """Of the answers with 0.75, three in four are right; of those with 0.25 none is."""
    found = calibration([(0.75, n % 4 != 0) for n in range(40)] + [(0.25, False)] * 40)
    assert [(b.answers, b.probability, b.right) for b in found.bins] == [(40, 0.25, 0.0), (40, 0.75, 0.75)]
    assert found.expected_error == pytest.approx(0.125)
    assert found.brier == pytest.approx((40 * 0.0625 + 30 * 0.0625 + 10 * 0.5625) / 80)
    assert calibration([]) is None
