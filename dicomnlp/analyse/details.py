"""What a sentence says of its findings outside the finding's own phrase: levels, image references, the line's label.

"L4-L5: Disc bulge. Mild canal stenosis." speaks of one level in both sentences, "Right breast: Calcifications." of one
side. A label is what stands before the first colon of a line; it holds for the rest of the line.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dicomnlp.analyse.lexicon import LABEL_AT_MOST
from dicomnlp.analyse.matches import Match, Matches
from dicomnlp.analyse.schema import AttributesFile
from dicomnlp.analyse.tokens import WORD, WORD_ENDS, Tokens
from dicomnlp.model import Laterality

_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Lead:
    """What the label of a line says of the findings after it."""

    end: int = 0
    """The token after its colon."""
    anatomy: str | None = None
    laterality: Laterality | None = None
    levels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Words of the text, and their tokens [start, end)."""

    text: str
    start: int
    end: int


class DetailReader:
    """Reads details by the words of one pack.

    Parameters
    ----------
    words
        ``attributes.toml`` of the pack.
    """

    def __init__(self, words: AttributesFile) -> None:
        self._levels = _one(words.levels)
        self._images = _one(words.image_references)
        self._refers = re.compile(rf"(?:{'|'.join(map(re.escape, words.refers))}){WORD_ENDS}", re.IGNORECASE)
        self._goes_on = bool(words.refers)

    def levels(self, text: str, tokens: Tokens) -> list[Place]:
        """Levels ("L4-L5", "segment VII", "10 o'clock"), in order."""
        return _places(self._levels, text, tokens)

    def image_references(self, text: str, tokens: Tokens) -> list[Place]:
        """References to images ("series 3, image 47"), in order; each has a number."""
        return [] if _DIGIT.search(text) is None else _places(self._images, text, tokens)

    def refers_back(self, text: str) -> bool:
        """Whether the sentence goes on about the finding before: "It measures 4 mm"."""
        return self._goes_on and self._refers.match(text) is not None

    @staticmethod
    def lead(words: Sequence[str], matches: Matches, levels: Sequence[Place]) -> Lead | None:
        """The label that the sentence begins with, None where it has none."""
        end = words.index(":") if ":" in words[:LABEL_AT_MOST] else 0
        if not end or any(m.predicate[0] < end for m in matches.concepts):
            return None
        named = [place for place in levels if place.end <= end]
        # "L4-L5" is a level of all that is said there, not the site of each
        sites = {
            m.identifier
            for m in matches.sites
            if m.end <= end and not any(m.start < place.end and place.start < m.end for place in named)
        }
        sides = {m.identifier for m in matches.sides if m.end <= end}
        return Lead(
            end + 1,
            sites.pop() if len(sites) == 1 else None,
            Laterality(sides.pop()) if len(sides) == 1 else None,
            tuple(place.text for place in named),
        )


def owner(place: Place, targets: Sequence[Match], breaks: frozenset[str], words: Sequence[str]) -> int | None:
    """Which of `targets` an aside is of: the one before it in the clause, else the one after it."""
    before = next((i for i in reversed(range(len(targets))) if targets[i].start < place.end), None)
    if before is not None and breaks.isdisjoint(words[targets[before].end : place.start]):
        return before
    after = next((i for i, target in enumerate(targets) if target.start >= place.end), None)
    return after if after is not None else before


def _one(patterns: Sequence[str]) -> "re.Pattern[str] | None":
    joined = "|".join(f"(?:{pattern})" for pattern in patterns)
    return re.compile(rf"(?<![.])(?<!{WORD})(?:{joined}){WORD_ENDS}") if patterns else None


def _places(pattern: "re.Pattern[str] | None", text: str, tokens: Tokens) -> list[Place]:
    if pattern is None:
        return []
    return [Place(" ".join(m.group().split()), *tokens.span(*m.span())) for m in pattern.finditer(text)]
