"""Fitting of networks: the same data give the same model, folds keep patients together, thresholds are chosen."""

import numpy as np
import pytest

from dicomnlp.analyse.learned import FIRST, FURTHER, OUTSIDE, runs
from dicomnlp.learn import training
from dicomnlp.learn.examples import FindingExample, SentenceExample
from dicomnlp.learn.training import Rows, fit, train_spans


def rows():
    """Two classes that one key tells apart, and a key that tells nothing."""
    keys = [[1, 3], [2, 3]] * 20
    right = np.eye(2, dtype=np.float32)[[0, 1] * 20]
    return Rows(keys, right, np.ones((40, 1), dtype=np.float32))


def test_what_tells_classes_apart_is_learned_the_same_each_time():
    """To the last bit."""
    first, second = (fit(rows(), exclusive=True, passes=1, rate=0.01) for _ in range(2))
    assert first.probabilities([[1], [2]]).argmax(axis=1).tolist() == [0, 1]
    assert (first.weights == second.weights).all()


def test_what_is_not_known_teaches_nothing():
    """A weight of nothing leaves a label where it was."""
    known = Rows([[1], [2]] * 8, np.eye(2, dtype=np.float32)[[0, 1] * 8], np.tile([[1.0, 0.0]], (16, 1)))
    network = fit(known, exclusive=False, passes=1, rate=0.01)
    given = network.probabilities([[1], [2]])
    assert given[0, 0] > 0.9
    assert given[1, 0] < 0.1
    assert given[:, 1].tolist() == [0.5, 0.5]


def test_folds_keep_a_patient_on_one_side():
    """And test each annotated example once; what the rules said is never tested."""
    examples = [FindingExample(f"p{n % 20}", [n], [], 0, (0,), 1.0) for n in range(60)]
    weak = [FindingExample("p1", [99], [], 0, (0,), 0.03)]
    tested = []
    for fitted, test in training._folds([*examples, *weak]):
        assert {e.patient for e in fitted}.isdisjoint(e.patient for e in test)
        tested += test
    assert sorted(e.around[0] for e in tested) == list(range(60))


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([OUTSIDE, FIRST, FURTHER, OUTSIDE], [(1, 3)]),
        ([FIRST, FIRST, FURTHER], [(0, 1), (1, 3)]),  # a first word begins another
        ([OUTSIDE, FURTHER, OUTSIDE, FIRST], [(1, 2), (3, 4)]),  # a beginning that was missed
        ([OUTSIDE], []),
    ],
)
def test_runs_of_words_are_spans(classes, expected):
    """From the probabilities of single words."""
    assert runs(np.eye(3, dtype=np.float32)[classes], 0.5) == expected


def test_a_finder_that_is_not_right_often_enough_is_left_out():
    """Words that mean nothing: on concepts that were withheld it guesses."""
    generator = np.random.default_rng(1)
    examples = []
    for n in range(200):
        tokens = [generator.integers(1, 50, 14).tolist() for _ in range(6)]
        place = int(generator.integers(0, 6))
        classes = [FIRST if i == place else OUTSIDE for i in range(6)]
        examples.append(SentenceExample(tokens, classes, ((place, place + 1, f"c{n % 10}"),), 0.03))
    assert train_spans(examples) is None
