"""Words and phrases of a corpus: which there are, how often, and in which sentences.

Radiology repeats itself, so sentences are kept once with how often they were written. A phrase is found by its
association, not by a segmenter, so that Chinese needs none; a word inside a phrase stays a unit of its own, since
nothing tells beforehand which of them the site uses as a term.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dicomnlp.learn.features import Preprocessor, is_word

Words = tuple[str, ...]

LEAST = 5
"""Times that a unit must be there: what is rarer has no company to be known by."""
MOST_UNITS = 20_000
ASSOCIATED = 0.2
"""Least normalised pointwise mutual information of a phrase's two parts (Bouma 2009), at its weakest joint."""
INSIDE = 0.8
"""A phrase that is in one longer phrase so often or oftener is a piece of it (after Frantzi 2000)."""
LONGEST = 3
LONGEST_UNSPACED = 6
"""Words of a phrase; Han characters."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Sentences, each once."""

    sentences: dict[Words, int]
    """How often each was written."""
    reports: int

    @property
    def written(self) -> int:
        """Sentences with their repetitions."""
        return sum(self.sentences.values())


def read_corpus(
    texts: Iterable[str], preprocessor: Preprocessor, on_report: Callable[[], None] = lambda: None
) -> Corpus:
    """The sentences of `texts`; memory grows with the distinct ones alone."""
    sentences: Counter[Words] = Counter()
    reports = 0
    for text in texts:
        sentences.update(preprocessor.sentences(text))
        reports += 1
        on_report()
    return Corpus(dict(sentences), reports)


def find_units(
    corpus: Corpus, preprocessor: Preprocessor, terms: Iterable[Words], least: int = LEAST
) -> dict[Words, int]:
    """Words and phrases that are used as one, the commonest first, with how often they were written.

    Parameters
    ----------
    corpus
        Where they are looked for.
    preprocessor
        Of its language.
    terms
        Tokens of what the lexicon knows: units whatever their association.
    least
        Times that one must be there.
    """
    unspaced = preprocessor.pack.about.unspaced
    longest = LONGEST_UNSPACED if unspaced else LONGEST
    # a phrase of the lexicon may be longer than one that association finds
    known = {term for term in terms if term}
    counts = _counted(corpus, longest, known, least)
    total = sum(count for words, count in counts.items() if len(words) == 1)
    edges = preprocessor.stop_words | preprocessor.cues
    links = frozenset(preprocessor.pack.about.head_before)
    pieces = _pieces(counts)

    def fits(words: Words) -> bool:
        if words in known:
            return True
        if len(words) == 1:
            # a character is a word by itself in few cases, and those the lexicon lists
            return is_word(words[0]) and not (unspaced and len(words[0]) == 1)
        if words[0] in edges or words[-1] in edges or words in pieces:
            return False
        if not all(is_word(word) and (word not in edges or word in links) for word in words):
            return False
        return _association(words, counts, total) >= ASSOCIATED

    chosen = sorted(((words, n) for words, n in counts.items() if fits(words)), key=lambda item: (-item[1], item[0]))
    return dict(chosen[:MOST_UNITS])


def _counted(corpus: Corpus, longest: int, known: set[Words], least: int) -> dict[Words, int]:
    """Runs of tokens that are there `least` times; those of n only where both parts of n - 1 are often enough."""
    counts: dict[Words, int] = {}
    for size in range(1, longest + 1):
        found: Counter[Words] = Counter()
        for sentence, times in corpus.sentences.items():
            for start in range(len(sentence) - size + 1):
                words = sentence[start : start + size]
                if size == 1 or (words[:-1] in counts and words[1:] in counts):
                    found[words] += times
        counts |= {words: n for words, n in found.items() if n >= least}
    sizes = sorted({len(term) for term in known if len(term) > longest})
    long: Counter[Words] = Counter()
    for sentence, times in corpus.sentences.items():
        for size in sizes:
            for start in range(len(sentence) - size + 1):
                if (words := sentence[start : start + size]) in known:
                    long[words] += times
    return counts | {words: n for words, n in long.items() if n >= least}


def _association(words: Words, counts: dict[Words, int], total: int) -> float:
    """At the weakest joint, from -1 to 1."""
    together = counts[words] / total
    return min(
        math.log(together * total * total / (counts[words[:cut]] * counts[words[cut:]])) / -math.log(together)
        for cut in range(1, len(words))
    )


def _pieces(counts: dict[Words, int]) -> frozenset[Words]:
    """Phrases that are seldom anything but a part of one longer phrase."""
    pieces = set()
    for words, count in counts.items():
        if not all(map(is_word, words)):
            continue
        for part in (words[:-1], words[1:]):
            if len(part) > 1 and part in counts and count >= INSIDE * counts[part]:
                pieces.add(part)
    return frozenset(pieces)
