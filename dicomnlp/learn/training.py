"""Training of a model's three parts, on one processor core in minutes.

The networks are spaCy's sparse linear layers (thinc), trained by its Adam; the order of examples is drawn with a fixed
seed, so the same data give the same model. Each finding and report is shown twice, with and without what the rules
say of it: so the model learns to correct ConText, and can still be asked what it would say alone.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicomnlp.analyse.learned import ASSERTIONS, Network, packed, runs
from dicomnlp.analyse.learned_features import LOOKS, Keys
from dicomnlp.analyse.learned_files import AssertionPart, LabelOutput, LabelsPart, SpansPart, Weights
from dicomnlp.analyse.library import thinc
from dicomnlp.learn.examples import FindingExample, ReportExample, SentenceExample
from dicomnlp.model import Assertion

SEED = 20261122
LENGTH = 1 << 16
"""Rows of each network's table."""
_FOLDS = 5
_STEP = 32
"""Examples between two changes of the weights."""
_LEAST_STEPS = 150
"""Fewer changes leave the weights near nothing, however few examples there are."""
_CERTAIN = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_TELLING = 10
"""Answers of a kind from which on something can be chosen by them."""
_INSIDE = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_CUTS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_LOWS = (-1.0, 0.001, 0.01, 0.05, 0.1)
_HIGHS = (2.0, 0.999, 0.99, 0.95, 0.9)
ONE_IN = 5
"""One concept in so many is withheld from the finder, to see whether it finds what it hasn't been told of."""
_HIDDEN = 0.5
"""Share of words whose looks are hidden while the finder learns: so it goes by what stands around them, too."""
LEAST_PRECISION = 0.6
"""A finder that is right less often about withheld concepts isn't worth a reader's time, and is left out."""
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rows:
    """What a network is fitted to: keys, the right probabilities, and what each row weighs."""

    keys: Sequence[Keys]
    right: Array
    weights: Array
    """[rows, outputs] or [rows, 1]: 0 where the right answer isn't known."""


def fit(rows: Rows, *, exclusive: bool, passes: int, rate: float) -> Network:
    """A network fitted to `rows`, each seen at least `passes` times in an order drawn anew."""
    passes = max(passes, -(-_LEAST_STEPS * _STEP // len(rows.keys)))
    network = Network(rows.right.shape[1], LENGTH, exclusive=exclusive)
    optimizer = thinc.Adam(rate, grad_clip=0.0, use_averages=False)
    order = list(range(len(rows.keys)))
    generator = random.Random(SEED)  # noqa: S311  an order of examples is no secret
    for _ in range(passes):
        generator.shuffle(order)
        for start in range(0, len(order), _STEP):
            some = order[start : start + _STEP]
            given, backpropagate = network.model.begin_update(packed([rows.keys[n] for n in some]))
            wrong = (given - rows.right[some]) * rows.weights[some]
            backpropagate(np.ascontiguousarray(wrong, dtype=np.float32))
            network.model.finish_update(optimizer)
    return network


# --- the assertion of a finding ------------------------------------------------------------------------------------


def train_assertion(examples: Sequence[FindingExample]) -> tuple[AssertionPart, Weights]:
    """The part that corrects or backs ConText.

    How certain it must be to overrule each answer is chosen by cross-validation over the patients of the annotations.
    """
    given, said = [], []
    for fitted, tested in _folds(examples):
        network = _fit_assertion([*fitted, *(e for e in examples if e.weight < 1)])
        given.append(network.probabilities([e.around + e.ruled for e in tested]))
        said += tested
    certain = _chosen_certainties(np.concatenate(given), said) if given else {}
    network = _fit_assertion(examples)
    return AssertionPart(length=LENGTH, certain=certain), network.weights


def _fit_assertion(examples: Sequence[FindingExample]) -> Network:
    right = np.zeros((2 * len(examples), len(ASSERTIONS)), dtype=np.float32)
    for n, example in enumerate(examples):
        right[2 * n : 2 * n + 2, example.accepted[0]] = 1
    keys = [k for e in examples for k in (e.around, e.around + e.ruled)]
    weights = np.repeat(np.array([[e.weight] for e in examples], dtype=np.float32), 2, axis=0)
    return fit(Rows(keys, right, weights), exclusive=True, passes=4, rate=0.002)


def _chosen_certainties(given: Array, examples: Sequence[FindingExample]) -> dict[Assertion, float]:
    """For each answer of the rules the certainty by which most are right.

    Of equals the highest is taken, which leaves most to the rules; where no certainty makes more right than the rules
    are alone, or too few are seen to tell, the rules always stand.
    """
    chosen = {}
    for place, ruled in enumerate(ASSERTIONS):
        here = [n for n, e in enumerate(examples) if e.ruled_assertion == place]
        if len(here) < _TELLING:
            continue
        best, sure = given[here].argmax(axis=1), given[here].max(axis=1)
        right = {
            certain: sum(
                (int(b) if s >= certain else place) in examples[n].accepted
                for n, b, s in zip(here, best, sure, strict=True)
            )
            for certain in _CERTAIN
        }
        certain = max(_CERTAIN, key=lambda c: (right[c], c))
        if right[certain] > sum(place in examples[n].accepted for n in here):
            chosen[ruled] = certain
    return chosen


# --- findings that the lexicon doesn't list ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Withheld:
    """How the finder does on concepts of the lexicon that it wasn't told of."""

    concepts: int
    found: int
    missed: int
    wrong: int
    """Spans that overlap no finding of the lexicon."""

    @property
    def precision(self) -> float:
        """Of what it found."""
        return self.found / (self.found + self.wrong) if self.found + self.wrong else 0.0

    @property
    def recall(self) -> float:
        """Of what was withheld."""
        return self.found / (self.found + self.missed) if self.found + self.missed else 0.0


def train_spans(examples: Sequence[SentenceExample]) -> tuple[SpansPart, Weights, Withheld] | None:
    """The part that finds what the lexicon doesn't list; None where it isn't right often enough.

    How sure it must be is chosen on one concept in `ONE_IN`, which is withheld while it learns from the others.
    """
    concepts = sorted({concept for e in examples for _, _, concept in e.listed})
    withheld = frozenset(concepts[::ONE_IN])
    tested = [e for e in examples if any(concept in withheld for _, _, concept in e.listed)]
    fitted = [e for e in examples if not any(concept in withheld for _, _, concept in e.listed)]
    if not fitted or not tested:
        return None
    network = _fit_spans(fitted)
    lengths = np.cumsum([len(e.tokens) for e in tested])[:-1]
    given = np.split(network.probabilities([k for e in tested for k in e.tokens]), lengths)
    tried = {certain: _withheld(tested, given, certain, withheld) for certain in _INSIDE}
    certain, score = max(tried.items(), key=lambda t: (_weighted(t[1]), t[0]))
    if score.precision < LEAST_PRECISION or not score.found:
        return None
    return SpansPart(length=LENGTH, certain=certain), _fit_spans(examples).weights, score


def _weighted(score: Withheld) -> float:
    """F0.5: precision counts twice."""
    p, r = score.precision, score.recall
    return 1.25 * p * r / (0.25 * p + r) if p + r else 0.0


def _fit_spans(examples: Sequence[SentenceExample]) -> Network:
    generator = random.Random(SEED)  # noqa: S311  as in `fit`
    keys = [k[LOOKS:] if generator.random() < _HIDDEN else k for e in examples for k in e.tokens]
    classes = [c for e in examples for c in e.classes]
    right = np.eye(3, dtype=np.float32)[classes]
    weights = np.array([[max(e.weight, 0.5)] for e in examples for _ in e.tokens], dtype=np.float32)
    return fit(Rows(keys, right, weights), exclusive=True, passes=3, rate=0.005)


def _withheld(
    examples: Sequence[SentenceExample], given: Sequence[Array], certain: float, withheld: frozenset[str]
) -> Withheld:
    found = missed = wrong = 0
    for example, probabilities in zip(examples, given, strict=True):
        spans = runs(probabilities, certain)
        for start, end, concept in example.listed:
            if concept in withheld:
                hit = any(a < end and start < b for a, b in spans)
                found, missed = found + hit, missed + (not hit)
        wrong += sum(not any(a < end and start < b for start, end, _ in example.listed) for a, b in spans)
    return Withheld(len(withheld), found, missed, wrong)


# --- labels of a report --------------------------------------------------------------------------------------------


def train_labels(examples: Sequence[ReportExample]) -> tuple[LabelsPart, Weights] | None:
    """The part that labels reports; None where nobody says what is present and what isn't.

    From which probability a label is present is chosen by cross-validation over the patients of the annotations.
    """
    values: dict[tuple[str, str], set[bool]] = {}
    for example in examples:
        for key, value in example.truth.items():
            values.setdefault(key, set()).add(value)
    outputs = sorted(key for key, said in values.items() if len(said) > 1)
    if not outputs:
        return None
    alone, beside, said = [], [], []
    for fitted, tested in _folds(examples):
        network = _fit_labels([*fitted, *(e for e in examples if e.weight < 1)], outputs)
        alone.append(network.probabilities([e.read for e in tested]))
        beside.append(network.probabilities([e.read + e.found for e in tested]))
        said += tested
    network = _fit_labels(examples, outputs)
    labels = []
    for n, (name, label) in enumerate(outputs):
        known = [i for i, e in enumerate(said) if (name, label) in e.truth]
        truth = np.array([said[i].truth[name, label] for i in known], dtype=bool)
        ruled = any((name, label) in e.ruled for e in examples)
        cut, low, high = 0.5, -1.0, 2.0
        if known and truth.any():
            bare = np.concatenate(alone)[known, n]
            with_rules = np.concatenate(beside)[known, n]
            cut = _chosen_cut(bare if ruled else with_rules, truth)
            if ruled:
                rules = np.array([said[i].ruled.get((name, label)) == "present" for i in known], dtype=bool)
                low, high = _chosen_bounds(with_rules, rules, truth)
        labels.append(LabelOutput(set=name, label=label, ruled=ruled, cut=cut, low=low, high=high))
    return LabelsPart(length=LENGTH, labels=tuple(labels)), network.weights


def _fit_labels(examples: Sequence[ReportExample], outputs: Sequence[tuple[str, str]]) -> Network:
    right = np.zeros((2 * len(examples), len(outputs)), dtype=np.float32)
    weights = np.zeros_like(right)
    for n, example in enumerate(examples):
        for j, key in enumerate(outputs):
            if key in example.truth:
                right[2 * n : 2 * n + 2, j] = example.truth[key]
                weights[2 * n : 2 * n + 2, j] = example.weight
    keys = [k for e in examples for k in (e.read, e.read + e.found)]
    return fit(Rows(keys, right, weights), exclusive=False, passes=6, rate=0.003)


def _chosen_cut(given: Array, truth: npt.NDArray[np.bool_]) -> float:
    return max(_CUTS, key=lambda cut: (_f1(given >= cut, truth), -abs(cut - 0.5)))


def _chosen_bounds(given: Array, ruled: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """(low, high) by which F1 is best; the rules' own answer unless the model is better than it."""
    pairs = [(low, high) for low in _LOWS for high in _HIGHS]
    return max(pairs, key=lambda p: (_f1((ruled & (given > p[0])) | (given >= p[1]), truth), -_LOWS.index(p[0]), p[1]))


def _f1(given: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    right = int((given & truth).sum())
    return 2 * right / (int(given.sum()) + int(truth.sum())) if right else 0.0


# --- cross-validation ----------------------------------------------------------------------------------------------


def _folds(
    examples: Sequence[FindingExample] | Sequence[ReportExample],
) -> Iterator[tuple[list, list]]:  # type: ignore[type-arg]  # of the same kind as `examples`
    """(fitted, tested) of the annotated examples, no patient in both; nothing where there are too few patients."""
    mine = [e for e in examples if e.weight >= 1 and e.patient]
    always = [e for e in examples if e.weight >= 1 and not e.patient]
    patients = sorted({e.patient for e in mine})
    if len(patients) < 2 * _FOLDS:
        return
    random.Random(SEED).shuffle(patients)  # noqa: S311  as in `fit`
    place = {patient: n % _FOLDS for n, patient in enumerate(patients)}
    for fold in range(_FOLDS):
        tested = [e for e in mine if place[e.patient] == fold]
        yield [*always, *(e for e in mine if place[e.patient] != fold)], tested
