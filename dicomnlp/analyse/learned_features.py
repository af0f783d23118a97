"""What a trained model sees of a sentence or report, as hashed words: the same in training and in use.

Words of a report are hashed (by spaCy's own 64 bit hash) and never kept: no table of strings grows, and a model's
files hold no word of a report.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from dicomnlp.analyse.labels import COUNTED, Labels
from dicomnlp.analyse.library import hash_string
from dicomnlp.analyse.tokens import tokenize
from dicomnlp.model import Assertion, Cue, Finding, Section, SectionName

REACH = 8
"""Tokens on either side of a finding whose order counts."""
_NEAR = 3
"""Of these, those whose exact distance counts."""
Keys = list[int]
"""Hashed features of one thing to be judged."""


def words_of(text: str) -> list[str]:
    """The tokens of `text` in lower case, every number as one: how large something is says nothing of these."""
    return ["#" if word[0].isdigit() else word for word in tokenize(text).lower]


def around(sentence: str, start: int, end: int, section: SectionName) -> Keys:
    """Of the characters [start, end) of `sentence`: its words, those around it, and its section."""
    first, last = tokenize(sentence).span(start, end)
    words = words_of(sentence)
    return [hash_string(feature) for feature in _around(words, first, last, section)]


def _around(words: Sequence[str], first: int, last: int, section: SectionName) -> Iterator[str]:
    for side, near in (("<", words[max(0, first - REACH) : first][::-1]), (">", words[last : last + REACH])):
        yield from _side(side, near)
    for word in words[:first]:
        yield f"before {word}"
    for word in words[last:]:
        yield f"after {word}"
    for word in words[first:last]:
        yield f"is {word}"
    yield f"in {section._value_}"


def _side(side: str, near: Sequence[str]) -> Iterator[str]:
    """Words on one side, the nearest first: alone, by distance, in twos and in threes."""
    for n, word in enumerate(near):
        yield f"{side} {word}"
        if n < _NEAR:
            yield f"{side}{n} {word}"
        if n + 1 < len(near):
            yield f"{side}2 {word} {near[n + 1]}"
        if n + 2 < len(near):
            yield f"{side}3 {word} {near[n + 1]} {near[n + 2]}"
    if len(near) < REACH:
        yield f"{side} ends {len(near)}"


def ruled(text: str, section: SectionName, assertion: Assertion, cues: Sequence[Cue]) -> Keys:
    """What the rules say of a finding: their assertion, and the cues that ConText decided it by."""
    said = assertion._value_
    features = [
        f"rules {said}",
        f"rules {said} in {section._value_}",
        *(f"rules {said} of {w}" for w in words_of(text)),
    ]
    features += [f"cue {cue.category}" for cue in cues]
    features += [f"cue {cue.category} {' '.join(words_of(cue.text))}" for cue in cues]
    if not cues:
        features.append("no cue")
    return [hash_string(feature) for feature in features]


def tokens_of(words: Sequence[str]) -> list[Keys]:
    """Of each of a sentence's `words`: how it looks and what stands around it."""
    padded = ["", "", *words, "", ""]
    found = []
    for n in range(2, len(padded) - 2):
        two_before, before, word, after, two_after = padded[n - 2 : n + 3]
        looks = (f"word {word}", f"ends {word[-3:]}", f"ends {word[-4:]}", f"begins {word[:4]}", f"begins {word[:3]}")
        stands = (
            f"-1 {before}", f"-2 {two_before}", f"+1 {after}", f"+2 {two_after}", f"-1 ends {before[-3:]}",
            f"+1 ends {after[-3:]}", f"-2 -1 {two_before} {before}", f"+1 +2 {after} {two_after}",
            f"-1 +1 {before} {after}",
        )  # fmt: skip
        found.append([hash_string(feature) for feature in (*looks, *stands)])
    return found


LOOKS = 5
"""The first of a token's keys tell how it looks; the rest what stands around it."""


def read(text: str, sections: Sequence[Section]) -> Keys:
    """Words, and words in twos, of the sections of a report that say what is seen."""
    features: set[str] = set()
    for section in sections:
        if section.name in COUNTED or len(sections) == 1:
            words = words_of(text[section.body_start : section.end])
            features.update(words)
            features.update(map(" ".join, pairwise(words)))
    return [hash_string(feature) for feature in sorted(features)]


def found(findings: Sequence[Finding], labels: Labels) -> Keys:
    """What the rules found in a report: concepts with their assertion and section, and the label sets."""
    features = {f"finds {f.concept.id} {f.assertion._value_}" for f in findings}
    features |= {f"finds {f.concept.id} {f.assertion._value_} in {f.section._value_}" for f in findings}
    features |= {f"label {name} {label} {value}" for name, said in labels.items() for label, value in said.items()}
    return [hash_string(feature) for feature in sorted(features)]
