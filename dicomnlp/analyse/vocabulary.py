"""The words of a text, and those that a language pack knows: what is told apart without reading a report."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from dicomnlp.analyse.pack import LANGUAGES
from dicomnlp.analyse.tokens import HAN, tokenize

LEAST_LETTERS = 3
"""Shorter ones are abbreviations and endings."""
MOST_LETTERS = 40
_HAN = re.compile(f"[{HAN}]")
_GAP = re.compile(r"\s")


def words_of(text: str) -> list[str]:
    """The words of `text` in lower case, without numbers and marks; of Han characters each pair that stands together.

    Chinese puts no blank between words, and most of them have two characters.
    """
    tokens = tokenize(text)
    words = [word for word in tokens.lower if LEAST_LETTERS <= len(word) <= MOST_LETTERS and word[0].isalpha()]
    places = zip(tokens.words, tokens.starts, strict=True)
    for (first, start), (second, follows) in pairwise(places):
        if _HAN.match(first) and _HAN.match(second) and not _GAP.search(text[start:follows]):
            words.append(first + second)
    return words


@cache
def lexicon_words(language: str, overlays: Path | None = None) -> frozenset[str]:
    """All words of the pack of a language, and of what the site lays over it: terms, cues, headings, sample sentences.

    Of a pack that is based on another, its own words alone; none where there is no such pack.
    """
    folders = [LANGUAGES / language, *([overlays / language] if overlays is not None else [])]
    found: set[str] = set()
    for folder in folders:
        for path in sorted(folder.rglob("*.toml")):
            for text in _texts(tomllib.loads(path.read_text(encoding="utf-8"))):
                found.update(words_of(text))
    return frozenset(found)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
