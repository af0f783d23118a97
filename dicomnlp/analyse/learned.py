"""A trained model in use: what it makes of a finding, a sentence and a report.

Networks are spaCy's sparse linear layer (thinc) over hashed features with a softmax or logistic output. ConText's
answer is one of the features, and stays visible beside the model's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dicomnlp.analyse import learned_features as features
from dicomnlp.analyse.labels import Labels
from dicomnlp.analyse.learned_files import ModelFolder, Weights
from dicomnlp.analyse.library import thinc
from dicomnlp.model import Assertion, Cue, Finding, Section, SectionName

ASSERTIONS = tuple(Assertion)
OUTSIDE, FIRST, FURTHER = range(3)
"""Classes of a word for the finder of spans."""
NEVER = 2.0
"""Above every probability."""
Probabilities = npt.NDArray[np.float32]


class Network:
    """Hashed features to probabilities.

    Parameters
    ----------
    outputs
        How many classes or labels.
    length
        Rows of the table that features are hashed into.
    exclusive
        Whether one class is right (softmax) or each label by itself is (logistic).
    weights
        As `weights` gives them; None: nothing learned yet.
    """

    def __init__(self, outputs: int, length: int, *, exclusive: bool, weights: Weights | None = None) -> None:
        self._linear: thinc.Model[Any, Any] = thinc.SparseLinear_v2(outputs, length)
        output = thinc.softmax_activation() if exclusive else thinc.Logistic()
        self.model: thinc.Model[Any, Any] = thinc.chain(self._linear, output)
        self.model.initialize(X=packed([[0]]), Y=np.zeros((1, outputs), dtype=np.float32))
        if weights is not None:
            self._linear.set_param("W", weights[: outputs * length].copy())
            self._linear.set_param("b", weights[outputs * length :].copy())

    def probabilities(self, rows: Sequence[Sequence[int]]) -> Probabilities:
        """[rows, outputs]: of each row of keys."""
        found: Probabilities = self.model.predict(packed(rows))
        return found

    @property
    def weights(self) -> Weights:
        """All that was learned, as one array."""
        parts = [np.asarray(self._linear.get_param(name), dtype=np.float32).ravel() for name in ("W", "b")]
        return np.concatenate(parts)


def packed(rows: Sequence[Sequence[int]]) -> tuple[Any, Any, Any]:
    """Rows of keys as the sparse layer takes them: (keys, their weights, how many each row has)."""
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    keys = np.fromiter((key for row in rows for key in row), dtype=np.uint64, count=int(lengths.sum()))
    return keys, np.ones(len(keys), dtype=np.float32), lengths


@dataclass(frozen=True, slots=True)
class Opinion:
    """What comes of a finding, or of a label, when a model has had its say."""

    assertion: Assertion
    probability: float
    """That the model gives to `assertion`."""


class Learned:
    """The parts of one model.

    Parameters
    ----------
    folder
        As read.
    alone
        Whether the model answers without seeing what the rules say: for the comparison only.
    parts
        Which of its parts are used; all that it has unless told otherwise.
    """

    def __init__(self, folder: ModelFolder, *, alone: bool = False, parts: Sequence[str] | None = None) -> None:
        card = folder.card
        self.name = card.name
        self.digest = folder.digest
        limits = ["alone"] if alone else []
        self.identity = " ".join([folder.digest, *limits, *(parts if parts is not None else ())])
        """What of it can change an answer: the digest, and what it was told to leave out."""
        self.language = card.language
        self.alone = alone
        used = card.parts if parts is None else {name: part for name, part in card.parts.items() if name in parts}
        networks = {
            name: Network(part.outputs, part.length, exclusive=name != "labels", weights=folder.weights[name])
            for name, part in used.items()
        }
        self._assertion = networks.get("assertion")
        self._certain = card.assertion.certain if card.assertion else {}
        self._spans = networks.get("spans")
        self._inside = card.spans.certain if card.spans else 1.0
        self._labels = networks.get("labels")
        self._outputs = card.labels.labels if card.labels else ()

    @property
    def mark(self) -> str:
        """Name and digest, as analyses bear it."""
        return f"{self.name}@{self.digest[:12]}"

    def assertion(
        self, sentence: str, place: tuple[int, int], section: SectionName, ruled: Assertion, cues: Sequence[Cue]
    ) -> Opinion | None:
        """The assertion of the characters `place` of `sentence`, where the rules say `ruled`; None without this part.

        Beside the rules it overrules them only where it is certain enough.
        """
        if self._assertion is None:
            return None
        keys = features.around(sentence, *place, section)
        if not self.alone:
            keys += features.ruled(sentence[slice(*place)], section, ruled, cues)
        given = self._assertion.probabilities([keys])[0]
        best = int(given.argmax())
        if not self.alone and given[best] < self._certain.get(ruled, NEVER):
            best = ASSERTIONS.index(ruled)
        return Opinion(ASSERTIONS[best], round(float(given[best]), 4))

    def spans(self, words: Sequence[str]) -> list[tuple[int, int]]:
        """Tokens [start, end) of a sentence that look like findings, by its `words` in lower case."""
        if self._spans is None or not words:
            return []
        plain = ["#" if word[0].isdigit() else word for word in words]
        return runs(self._spans.probabilities(features.tokens_of(plain)), self._inside)

    @property
    def label_sets(self) -> dict[str, tuple[str, ...]]:
        """Label set -> the labels that it gives."""
        names = dict.fromkeys(output.set for output in self._outputs) if self._labels is not None else {}
        return {name: tuple(o.label for o in self._outputs if o.set == name) for name in names}

    def labels(
        self, text: str, sections: Sequence[Section], findings: Sequence[Finding], ruled: Labels, said: Labels
    ) -> Labels:
        """The label sets of a report.

        Parameters
        ----------
        text, sections
            What is read.
        findings, ruled
            What the rules alone find, and the labels that they make of it.
        said
            The labels by the assertions as they now are; the answer is these, with what the model adds or takes away.
        """
        if self._labels is None:
            return said
        keys = features.read(text, sections)
        if not self.alone:
            keys += features.found(findings, ruled)
        given = self._labels.probabilities([keys])[0]
        answer = {name: dict(values) for name, values in said.items()}
        for output, probability in zip(self._outputs, given, strict=True):
            values = answer.setdefault(output.set, {})
            if not output.ruled:
                values[output.label] = "present" if probability >= output.cut else "absent"
            elif self.alone:
                values[output.label] = "present" if probability >= output.cut else None
            elif probability >= output.high:
                values[output.label] = "present"
            elif probability <= output.low and values.get(output.label) == "present":
                values[output.label] = None
        return answer


def runs(given: Probabilities, certain: float) -> list[tuple[int, int]]:
    """Runs of words that belong to a finding with probability `certain`; a first word begins another."""
    found: list[tuple[int, int]] = []
    start: int | None = None
    for n, row in enumerate(given):
        inside = row[FIRST] + row[FURTHER] >= certain
        if start is not None and (not inside or row[FIRST] > row[FURTHER]):
            found.append((start, n))
            start = None
        if inside and start is None:
            start = n
    if start is not None:
        found.append((start, len(given)))
    return found
