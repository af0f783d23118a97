"""How much a worker gets at a time."""

import pytest

from dicomnlp.work.pace import BATCH_SECONDS, Pace


@pytest.mark.parametrize(
    ("objects", "size", "seconds"),
    [
        (32, 60_000, 0.1),  # reports of two kilobytes, 3 ms each
        (4, 4_000_000, 8.0),  # PDFs of a megabyte, two seconds each
        (1, 900, 0.0005),
    ],
)
def test_batch_is_what_takes_half_a_second(objects, size, seconds):
    """After some tasks alike, by number and by bytes."""
    pace = Pace()
    for _ in range(40):
        pace.note(objects, size, seconds)
    most_objects, most_bytes = pace.limits(10_000, 100_000_000)
    assert most_objects == pytest.approx(max(1, BATCH_SECONDS / seconds * objects), rel=0.1, abs=1)
    assert most_bytes == pytest.approx(BATCH_SECONDS / seconds * size, rel=0.1)
    assert pace.expected(most_bytes) == pytest.approx(BATCH_SECONDS, rel=0.1)


def test_batch_stays_within_the_bounds_of_the_configuration_and_holds_something():
    """However fast or slow objects are, or seem to be."""
    pace = Pace()
    for _ in range(40):
        pace.note(1000, 10_000_000, 0.0)
    assert pace.limits(256, 4096) == (256, 4096)
    for _ in range(40):
        pace.note(1, 1, 100.0)
    assert pace.limits(256, 4096) == (1, 1)


def test_one_slow_task_makes_the_next_ones_smaller_and_quick_ones_larger_again():
    """A mixture is followed, within some tasks."""
    pace = Pace()
    for _ in range(20):
        pace.note(100, 200_000, 0.3)
    usual, _ = pace.limits(10_000, 10**9)
    pace.note(10, 20_000, 3.0)
    slowed, _ = pace.limits(10_000, 10**9)
    assert slowed < usual / 5
    for _ in range(20):
        pace.note(100, 200_000, 0.3)
    recovered, _ = pace.limits(10_000, 10**9)
    assert recovered > usual / 2
