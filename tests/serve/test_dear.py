"""Counts that take long are read the less often, and those that don't each time."""

import threading

import pytest

from dicomnlp.serve.dear import TIMES, Dear


class Reading:
    """Takes `seconds` by its own clock."""

    def __init__(self, seconds):
        self.seconds, self.now, self.times = seconds, 100.0, 0

    def __call__(self):
        """How often it was read."""
        self.now += self.seconds
        self.times += 1
        return self.times

    def clock(self):
        """Seconds."""
        return self.now


def test_what_takes_no_time_is_read_each_time():
    """A small site sees each change at once."""
    reading = Reading(0.05)
    dear = Dear(reading, clock=reading.clock)
    assert [dear(), dear(), dear()] == [1, 2, 3]


def test_an_answer_is_good_for_many_times_what_it_took():
    """And not for longer: then it is read again."""
    reading = Reading(2.0)
    dear = Dear(reading, clock=reading.clock)
    assert dear() == 1
    reading.now += TIMES * 2.0 - 0.1
    assert dear() == 1
    reading.now += 0.2
    assert dear() == 2


def test_those_who_ask_at_the_same_time_get_one_answer():
    """Ten that wait for the first reading don't each begin one."""
    go_on, reading = threading.Event(), Reading(1.0)

    def read():
        assert go_on.wait(10)
        return reading()

    dear = Dear(read, clock=reading.clock)
    answers = []
    asking = [threading.Thread(target=lambda: answers.append(dear())) for _ in range(10)]
    for thread in asking:
        thread.start()
    go_on.set()
    for thread in asking:
        thread.join(10)
    assert answers == [1] * 10


def test_a_failure_is_told_and_not_kept():
    """The next one reads again."""
    reading = Reading(1.0)

    def read():
        if reading() == 2:
            raise OSError("away")
        return reading.times

    dear = Dear(read, clock=reading.clock)
    assert dear() == 1
    reading.now += TIMES * 1.0 + 1
    with pytest.raises(OSError, match="away"):
        dear()
    assert dear() == 3


def test_a_failure_is_that_of_all_who_waited_for_it():
    """They don't each wait for a database that is away."""
    under_way, go_on, reading = threading.Event(), threading.Event(), Reading(30.0)

    def read():
        under_way.set()
        assert go_on.wait(10)
        reading()
        raise OSError("away")

    looks = threading.Semaphore(0)

    def clock():
        looks.release()
        return reading.now

    dear = Dear(read, clock=clock)
    told = []

    def ask():
        with pytest.raises(OSError, match="away"):
            dear()
        told.append(reading.times)

    asking = [threading.Thread(target=ask) for _ in range(5)]
    asking[0].start()
    assert under_way.wait(10)
    for thread in asking[1:]:
        thread.start()
    # who reads has looked twice by now, and each of the others once
    assert all(looks.acquire(timeout=10) for _ in range(6))
    go_on.set()
    for thread in asking:
        thread.join(10)
    assert told == [1] * 5
