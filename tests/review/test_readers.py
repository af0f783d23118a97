"""Agreement of two readers: kappa, F1, and which findings are the same."""

import pytest

from dicomnlp.review.readers import Seen, agreement, kappa, match


def seen(start, end, concept="nodule", assertion="present"):
    """A finding as a reader sees it."""
    return Seen(start, end, concept, assertion)


def pairs(both, first, second, neither):
    """A fourfold table as pairs of answers."""
    return (
        [("present", "present")] * both
        + [("present", "absent")] * first
        + [("absent", "present")] * second
        + [("absent", "absent")] * neither
    )


# worked by hand: observed 0.7, expected 0.5 * 0.6 + 0.5 * 0.4 = 0.5
def test_kappa_takes_away_what_chance_gives():
    """With the interval of Cohen's standard error."""
    found = kappa(pairs(20, 5, 10, 15))
    assert found.value == pytest.approx(0.4)
    assert (found.agreed, found.answers) == (0.7, 50)
    error = 1.959964 * (0.7 * 0.3 / (50 * 0.5**2)) ** 0.5
    assert (found.low, found.high) == (pytest.approx(0.4 - error), pytest.approx(0.4 + error))


@pytest.mark.parametrize(
    ("table", "value"),
    [
        ((10, 0, 0, 10), 1.0),
        # no better than chance, though half of the answers are equal
        ((5, 5, 5, 5), 0.0),
        ((0, 10, 10, 0), -1.0),
        # nine in ten are equal, nearly all by chance
        ((90, 5, 5, 0), -0.0526),
        # always the one same answer: chance alone would give it
        ((10, 0, 0, 0), None),
        ((0, 0, 0, 0), None),
    ],
)
def test_kappa_at_its_ends(table, value):
    """It isn't told where it means nothing."""
    found = kappa(pairs(*table))
    assert found.value == (None if value is None else pytest.approx(value, abs=1e-4))
    if found.value is not None:
        assert -1 <= found.low <= found.value <= found.high <= 1


def test_findings_are_the_same_that_overlap_and_have_one_concept():
    """Each once; those at the very same place first."""
    first = [seen(0, 10), seen(0, 4), seen(20, 30), seen(40, 50, "mass")]
    second = [seen(0, 4), seen(28, 35), seen(40, 50), seen(2, 8)]
    matched = {(a.start, a.end, b.start, b.end) for a, b in match(first, second)}
    assert matched == {(0, 4, 0, 4), (20, 30, 28, 35), (0, 10, 2, 8)}


def test_agreement_is_over_all_reports():
    """Kappa of the assertions of what both see; F1 of what each sees, the same whichever way round."""
    reports = [
        ([seen(0, 4), seen(10, 14, assertion="absent")], [seen(0, 4), seen(10, 14, assertion="present")]),
        ([seen(0, 4)], []),
        ([], [seen(5, 9), seen(20, 24)]),
        ([seen(0, 4, assertion="absent")], [seen(0, 4, assertion="absent")]),
    ]
    found = agreement(reports)
    assert (found.both, found.only_first, found.only_second, found.kappa.answers) == (3, 1, 2, 3)
    assert found.f1 == pytest.approx(6 / 9)
    assert agreement([(b, a) for a, b in reports]).f1 == found.f1
    assert found.kappa.value == pytest.approx(0.4)
    assert agreement([]).f1 is None
    assert agreement([]).to_json()["kappa"] is None
