"""Which words and phrases a site uses like a term, or like all terms of a concept: what its lexicon lacks.

Two terms are alike when the same stands beside them (Harris 1954), which is also true of opposites and of findings
that are named together: what is proposed is for a person to accept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dicomnlp.analyse.pack import Pack
from dicomnlp.errors import NotFoundError
from dicomnlp.learn.features import joined, tokens_of
from dicomnlp.learn.units import Words
from dicomnlp.learn.vector_files import VectorFolder
from dicomnlp.learn.vectors import Floats, normalised

_LEAST_ALIKE = 0.2
"""Cosine below which nothing is alike."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A word or phrase that is used like what was asked for."""

    text: str
    similarity: float
    """Cosine, at most 1."""
    count: int
    """How often it was written."""
    concept: str | None
    """Which concept or site the lexicon reads it as; None: it doesn't know it."""
    part: bool
    """Whether the lexicon reads a part of it rather than all."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked for, and its neighbours."""

    asked: str
    concept: str | None
    """Of the lexicon: that whose terms were asked for together, or that which the term names."""
    terms: tuple[str, ...]
    """What the neighbours were compared with."""
    neighbours: tuple[Neighbour, ...]


class Lexicon:
    """What a pack knows, by tokens.

    Parameters
    ----------
    pack
        With the site's overlay.
    without
        Tokens of terms that count as unknown.
    """

    def __init__(self, pack: Pack, without: frozenset[Words] = frozenset()) -> None:
        self.pack = pack
        self._of: dict[Words, str] = {}
        self._terms: dict[str, list[Words]] = {}
        entries: list[tuple[str, Any]] = [*pack.concepts.items(), *pack.anatomy.items()]
        for identifier, entry in entries:
            for term in (*entry.terms, *(word.lower() for word in entry.cased)):
                for form in (term, pack.about.plural(term)):
                    words = tokens_of(form) if form else ()
                    if words and not any(_holds(words, other) for other in without):
                        self._of.setdefault(words, identifier)
                        if self._of[words] == identifier:
                            self._terms.setdefault(identifier, []).append(words)
        self._longest = max(map(len, self._of), default=0)

    def concept(self, words: Words) -> str | None:
        """What `words` as a whole name."""
        return self._of.get(words)

    def terms(self, identifier: str) -> list[Words]:
        """All forms of a concept's terms."""
        return self._terms.get(identifier, [])

    def inside(self, words: Words) -> str | None:
        """The concept that the longest part of `words` names; None where none does."""
        for size in range(min(len(words) - 1, self._longest), 0, -1):
            for start in range(len(words) - size + 1):
                identifier = self._of.get(words[start : start + size])
                if identifier in self.pack.concepts:
                    return identifier
        return None

    def proposes(self, neighbour: "Neighbour", concept: str | None) -> bool:
        """Whether the lexicon doesn't read `neighbour`, or reads it as what `concept` is a kind of ("stone")."""
        if neighbour.concept is None:
            return True
        above = set(self.pack.lineage(concept)) - {concept} if concept is not None else set()
        return neighbour.part and neighbour.concept in above


class Neighbourhood:
    """Finds neighbours among the units of trained vectors.

    Parameters
    ----------
    vectors
        Of a site.
    lexicon
        Of the same language.
    """

    def __init__(self, vectors: VectorFolder, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._counts = dict(vectors.units)
        self._units = list(vectors.units)
        self._words = [tokens_of(unit) for unit in self._units]
        self._at = {words: n for n, words in enumerate(self._words)}
        self._table = vectors.subwords.table(vectors.table)
        self._vectors = self._looked_up(self._units)

    def of(self, asked: str, limit: int = 10, *, unknown: bool = False) -> Answer:
        """Neighbours of a concept, by its identifier, or of a word or phrase, the nearest first.

        Phrases that hold a term of what was asked for, or a nearer neighbour, are left out ("small effusion"): who
        knows the part reads the whole.

        Parameters
        ----------
        asked
            Identifier of a concept, or a term.
        limit
            At most so many.
        unknown
            Whether to leave out what the lexicon reads.

        Raises
        ------
        NotFoundError
            The concept's terms aren't in the reports, or nothing of the term is like anything in them.
        """
        words = tokens_of(asked)
        concept: str | None = asked if asked in self._lexicon.pack.concepts else None
        if concept is not None:
            terms = [words for words in dict.fromkeys(self._lexicon.terms(concept)) if words in self._at]
            if not terms:
                raise NotFoundError(f"no term of {concept} is in the reports often enough")
            centre = normalised(np.mean([self._vectors[self._at[t]] for t in terms], axis=0, keepdims=True))[0]
        else:
            concept, terms = self._lexicon.concept(words), [words]
            centre = self._vectors[self._at[words]] if words in self._at else self._looked_up([joined(words)])[0]
        if not words or not np.any(centre):
            raise NotFoundError("the vectors know nothing of this term")
        found: list[Neighbour] = []
        listed: list[Words] = []
        known = [*terms, *(self._lexicon.terms(concept) if concept is not None and unknown else ())]
        for neighbour in self._nearest(centre, known):
            holds = tokens_of(neighbour.text)
            if any(_holds(holds, one) for one in listed):
                continue
            if not unknown or self._lexicon.proposes(neighbour, concept):
                found.append(neighbour)
                listed.append(holds)
            if len(found) == limit:
                break
        return Answer(asked, concept, tuple(map(joined, terms)), tuple(found))

    def _nearest(self, centre: Floats, without: Sequence[Words]) -> Iterator[Neighbour]:
        similarities = self._vectors @ centre
        for n in np.argsort(-similarities, kind="stable"):
            if similarities[n] < _LEAST_ALIKE:
                return
            words = self._words[n]
            if any(_holds(words, term) for term in without):
                continue
            whole = self._lexicon.concept(words)
            concept = whole or self._lexicon.inside(words)
            unit = self._units[n]
            yield Neighbour(unit, round(float(similarities[n]), 4), self._counts[unit], concept, concept != whole)

    def _looked_up(self, texts: Sequence[str]) -> Floats:
        return normalised(np.asarray(self._table.get_batch(list(texts)), dtype=np.float32))


def _holds(words: Words, part: Words) -> bool:
    """Whether `part` stands in `words`."""
    return any(words[start : start + len(part)] == part for start in range(len(words) - len(part) + 1))
