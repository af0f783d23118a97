"""Word vectors from a site's own reports, in floret's form, so that spaCy reads them and unknown words have one too.

Words and phrases are compared by what stands to their left and right: positive pointwise mutual information, its
context distribution smoothed, factorised by a truncated singular value decomposition, which is what skip-gram with
negative sampling does implicitly (Levy & Goldberg 2014) and does better than it on corpora of a hospital's size (Levy,
Goldberg & Dagan 2015). A table of hashed n-grams of letters (floret: Boyd & Warmerdam 2022, after Bojanowski et al.
2017) is then fitted to these vectors (Zhao, Mudgal & Liang 2018), so that a word's vector is the mean of its rows.
Nothing is random: the same sentences give the same table.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from spacy.vectors import Vectors  # type: ignore[import-not-found]  # of a compiled module

from dicomnlp.learn.units import Corpus, Words

Floats = npt.NDArray[np.float32]

DIMENSIONS = 100
ROWS = 50_000
"""Of the table, whatever the vocabulary: 20 MB."""
HASHES = 2
"""Rows of an n-gram: two seldom meet those of another."""
CONTEXTS = 1000
"""The commonest words, marks and numbers, each to the left and to the right."""
WINDOW = 5
WINDOW_UNSPACED = 8
SMOOTHING = 0.75
"""Power of the contexts' frequencies; without it rare contexts count for too much."""
WEIGHT = 0.5
"""Power of the singular values."""
RIDGE = 1e-3
STEPS = 60
"""Of the conjugate gradients, at most."""
TOLERANCE = 2e-2
_AT_ONCE = 20_000
_BOUNDARY = 0
"""The context beyond a sentence's ends."""


@dataclass(frozen=True, slots=True)
class Subwords:
    """Which letters' n-grams a unit's vector is made of."""

    least: int
    most: int

    def table(self, data: Floats) -> Vectors:
        """`data` as spaCy's vectors in floret mode."""
        return Vectors(data=data, mode="floret", minn=self.least, maxn=self.most, hash_count=HASHES)


SUBWORDS = Subwords(4, 5)
SUBWORDS_UNSPACED = Subwords(1, 3)


def train_vectors(
    corpus: Corpus,
    units: Mapping[Words, int],
    texts: Sequence[str],
    *,
    unspaced: bool = False,
    rows: int = ROWS,
    on_step: Callable[[str], None] = lambda _: None,
) -> Floats:
    """A floret table of `units`, rows by dimensions.

    Parameters
    ----------
    corpus
        Sentences that the units are in.
    units
        Tokens of each.
    texts
        How each is written: the key of its vector.
    unspaced
        Whether the language's words aren't set apart.
    rows
        Of the table.
    on_step
        Told what is being done.
    """
    on_step("counting neighbours")
    counts = count_contexts(corpus, units, WINDOW_UNSPACED if unspaced else WINDOW)
    on_step("factorising")
    vectors = factorised(associations(counts), min(DIMENSIONS, len(units)))
    on_step("fitting the table")
    return fit_table(texts, vectors, SUBWORDS_UNSPACED if unspaced else SUBWORDS, rows)


def count_contexts(corpus: Corpus, units: Mapping[Words, int], window: int) -> Floats:
    """How often what stands near which unit, nearer ones counting more; left and right apart.

    A sentence written n times counts 1 + ln n times: templates would drown what radiologists write themselves.
    """
    weights = {sentence: 1 + math.log(times) for sentence, times in corpus.sentences.items()}
    common: Counter[str] = Counter()
    for sentence, weight in weights.items():
        for word in sentence:
            common[word] += weight  # type: ignore[assignment]  # a weight, and sorted as a count is
    context_of = {w: n for n, (w, _) in enumerate(sorted(common.items(), key=lambda i: (-i[1], i[0]))[:CONTEXTS], 1)}
    width = len(context_of) + 1
    number_of = {words: n for n, words in enumerate(units)}
    sizes = sorted({len(words) for words in units})
    counts = np.zeros((len(units), 2 * width), dtype=np.float32)
    rest = iter(weights.items())
    while chunk := list(islice(rest, _AT_ONCE)):
        contexts: list[int] = [-1] * window
        found: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
        for sentence, weight in chunk:
            begins = len(contexts) + 1
            contexts += [_BOUNDARY, *(context_of.get(word, -1) for word in sentence), _BOUNDARY, *[-1] * window]
            for size in sizes:
                for start in range(len(sentence) - size + 1):
                    unit = number_of.get(sentence[start : start + size])
                    if unit is not None:
                        found[size].append((begins + start, unit, weight))
        beside = np.asarray(contexts, dtype=np.int64)
        for size, places in found.items():
            at, numbers, weight_of = (np.asarray(column) for column in zip(*places, strict=True))
            for step in range(1, window + 1):
                _add(counts, numbers, beside[at - step], weight_of / step, 0)
                _add(counts, numbers, beside[at + size - 1 + step], weight_of / step, width)
    return counts


def _add(counts: Floats, unit: npt.NDArray[np.int64], context: npt.NDArray[np.int64], weight: Any, first: int) -> None:
    there = context >= 0
    cells, inverse = np.unique(unit[there] * counts.shape[1] + context[there] + first, return_inverse=True)
    counts.ravel()[cells] += np.bincount(inverse, weights=weight[there], minlength=len(cells))


def associations(counts: Floats) -> Floats:
    """Positive pointwise mutual information of units and contexts, in place of the counts."""
    of_unit = counts.sum(axis=1, dtype=np.float64)
    of_context = counts.sum(axis=0, dtype=np.float64) ** SMOOTHING
    share = of_context / of_context.sum()
    for n in range(len(counts)):
        row = counts[n]
        there = row > 0
        information = np.log(row[there] / (of_unit[n] * share[there]))
        row[there] = np.maximum(information, 0)
    return counts


def factorised(matrix: Floats, dimensions: int) -> Floats:
    """The first left singular vectors of `matrix`, weighted by their values, each row of length 1."""
    values, vectors = np.linalg.eigh((matrix.T @ matrix).astype(np.float64))
    largest = np.argsort(values)[::-1][:dimensions]
    singular = np.sqrt(np.maximum(values[largest], 1e-12))
    return normalised((matrix @ (vectors[:, largest] * singular ** (WEIGHT - 1)).astype(np.float32)).astype(np.float32))


def normalised(vectors: Floats) -> Floats:
    """Each row divided by its length; rows of nothing stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    shortened: Floats = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return shortened


def fit_table(texts: Sequence[str], vectors: Floats, subwords: Subwords, rows: int) -> Floats:
    """The smallest table whose means over the rows of each text are its vector: ridge regression.

    In the dual form, since there are fewer texts than rows, by conjugate gradients over all dimensions at once.
    """
    table = subwords.table(np.zeros((rows, 1), dtype=np.float32))
    of_text = [
        # spaCy has no public name for them; a test compares with what its own look-up gives
        [h % rows for gram in table._get_ngrams(text) for h in table._get_ngram_hashes(gram)]  # noqa: SLF001
        for text in texts
    ]
    lengths = np.fromiter(map(len, of_text), dtype=np.int64, count=len(of_text))
    flat = np.fromiter((row for some in of_text for row in some), dtype=np.int64, count=int(lengths.sum()))
    owner = np.repeat(np.arange(len(of_text)), lengths)
    # each equation weighed by the square root of its number of rows: all are then of one length, which converges sooner
    share = (1 / np.sqrt(lengths)).astype(np.float32)
    wanted = vectors / share[:, None]

    def spread(dual: Floats) -> Floats:
        data = np.empty((vectors.shape[1], rows), dtype=np.float32)
        for column, scaled in zip(data, np.ascontiguousarray((dual * share[:, None]).T), strict=True):
            column[:] = np.bincount(flat, weights=scaled[owner], minlength=rows)
        return np.ascontiguousarray(data.T)

    def gathered(data: Floats) -> Floats:
        means = np.empty_like(vectors)
        ends = np.concatenate(([0], np.cumsum(lengths)))
        for first in range(0, len(of_text), 2000):
            last = min(first + 2000, len(of_text))
            part = data[flat[ends[first] : ends[last]]]
            means[first:last] = np.add.reduceat(part, ends[first:last] - ends[first], axis=0) * share[first:last, None]
        return means

    dual = np.zeros_like(vectors)
    residual = wanted.copy()
    direction = residual.copy()
    before = (residual * residual).sum(axis=0)
    for _ in range(STEPS):
        image = gathered(spread(direction)) + RIDGE * direction
        pace = before / np.maximum((direction * image).sum(axis=0), 1e-20)
        dual += pace * direction
        residual -= pace * image
        after = (residual * residual).sum(axis=0)
        if after.sum() < TOLERANCE * TOLERANCE * (wanted * wanted).sum():
            break
        direction = residual + after / np.maximum(before, 1e-20) * direction
        before = after
    return spread(dual)
