"""The words of the pages: one catalogue a language, TOML tables in ``interface/``, all with the same keys."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

LANGUAGES = {"en": "English", "zh": "中文"}
"""Code -> what speakers of it call it."""
HTML_LANGUAGES = {"en": "en", "zh": "zh-Hans"}
"""For the lang attribute, by which a browser chooses the shapes of Chinese characters."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The words of one language."""

    language: str
    words: Mapping[str, str]

    def __call__(self, key: str, **values: Any) -> Markup:
        """The words under `key`, with `values` in their places; these are escaped.

        Raises
        ------
        KeyError
            The catalogue has no such key: a mistake of a template.
        """
        words = escape(self.words[key])
        return words.format(**values) if values else words

    def named(self, group: str, name: str | None) -> Markup:
        """What `name`, a word of a closed or open list `group`, is called; an unknown one is told with spaces."""
        if not name:
            return Markup()
        return escape(self.words.get(f"{group}.{name}") or name.replace("_", " "))


@cache
def catalogue(language: str) -> Catalogue:
    """The catalogue of one of `LANGUAGES`."""
    text = files("dicomnlp.serve").joinpath("interface", f"{language}.toml").read_text(encoding="utf-8")
    return Catalogue(language, dict(_flat(tomllib.loads(text))))


def _flat(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tables.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def choose(accepted: str) -> str:
    """The language of `LANGUAGES` that an Accept-Language header prefers (RFC 9110 12.5.4); English without one."""
    best, weight = "en", 0.0
    for entry in accepted.split(",")[:20]:
        tag, _, parameter = entry.strip().partition(";")
        language = tag.strip().lower().split("-")[0]
        quality = _quality(parameter)
        if language in LANGUAGES and quality > weight:
            best, weight = language, quality
    return best


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
