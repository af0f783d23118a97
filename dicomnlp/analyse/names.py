"""What concepts and sites are called: in English their meaning, in another language the first of its pack's words.

Pages show these names and find concepts by them. Only the words of the packs are read, not their rules.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from dicomnlp.analyse.pack import LANGUAGES, files

_MEANING_IN = "en"


@dataclass(frozen=True, slots=True)
class Named:
    """A concept or site, and what it is called."""

    id: str
    name: str
    words: tuple[str, ...]
    """All its words, folded, in every language."""


def concept_name(identifier: str, language: str) -> str | None:
    """What a concept is called in `language`; None where the pack has no word for it."""
    return _names("concepts", language).get(identifier)


def site_name(identifier: str, language: str) -> str | None:
    """What a site is called in `language`; None where the pack has no word for it."""
    return _names("anatomy", language).get(identifier)


def states_normality(identifier: str) -> bool:
    """Whether a concept says that something is as it should be ("heart is normal in size")."""
    return identifier in _normal()


def site_words() -> Mapping[str, tuple[str, ...]]:
    """All sites by their id, with all that each is called in any pack, folded."""
    return _words("anatomy")


def find_concepts(words: str, language: str, limit: int = 20) -> list[Named]:
    """Concepts that are called by `words`, in any language or by their id; those most like it first.

    Parameters
    ----------
    language
        In which they are named in the answer.
    """
    return _find("concepts", words, language, limit)


def find_sites(words: str, language: str, limit: int = 20) -> list[Named]:
    """As `find_concepts`, of sites."""
    return _find("anatomy", words, language, limit)


def _find(kind: str, words: str, language: str, limit: int) -> list[Named]:
    wanted = " ".join(words.casefold().replace("_", " ").split())
    if not wanted:
        return []
    found: list[tuple[int, int, str]] = []
    for identifier, known in _words(kind).items():
        fits = [(_rank(word, wanted), len(word)) for word in known if wanted in word]
        if fits:
            found.append((*min(fits), identifier))
    names = _names(kind, language)
    return [
        Named(i, names.get(i) or _names(kind, _MEANING_IN)[i], _words(kind)[i]) for _, _, i in sorted(found)[:limit]
    ]


def _rank(word: str, wanted: str) -> int:
    if word == wanted:
        return 0
    if word.startswith(wanted):
        return 1
    return 2 if f" {wanted}" in word else 3


@cache
def entries(kind: str, language: str) -> Mapping[str, Mapping[str, object]]:
    """The entries of one pack's ``concepts`` or ``anatomy`` as written, without those of the pack that it builds on."""
    found: dict[str, Mapping[str, object]] = {}
    for path in files(LANGUAGES / language, kind):
        found.update(tomllib.loads(path.read_text(encoding="utf-8")).get(kind, {}))
    return found


@cache
def _names(kind: str, language: str) -> Mapping[str, str]:
    """Id -> name."""
    if language == _MEANING_IN:
        # other packs have concepts that English has no words for; they give the meaning in English themselves
        named = {
            i: entry["meaning"]
            for folder in (*folders(), language)
            for i, entry in entries(kind, folder).items()
            if "meaning" in entry
        }
        return {i: str(meaning) for i, meaning in named.items()}
    if language not in folders():
        return {}
    return {i: terms[0] for i, entry in entries(kind, language).items() if (terms := _texts(entry, "terms", "cased"))}


@cache
def _normal() -> frozenset[str]:
    return frozenset(
        i for folder in folders() for i, entry in entries("concepts", folder).items() if entry.get("normal")
    )


@cache
def folders() -> tuple[str, ...]:
    """The codes of all packs."""
    return tuple(sorted(path.parent.name for path in LANGUAGES.glob("*/pack.toml")))


def _texts(entry: Mapping[str, object], *keys: str) -> list[str]:
    found: list[str] = []
    for key in keys:
        value = entry.get(key)
        found += [value] if isinstance(value, str) else map(str, value) if isinstance(value, list) else []
    return found


@cache
def _words(kind: str) -> Mapping[str, tuple[str, ...]]:
    """Id -> all that it is called in any pack, folded."""
    found: dict[str, dict[str, None]] = {}
    for folder in folders():
        for identifier, entry in entries(kind, folder).items():
            words = found.setdefault(identifier, {identifier.replace("_", " "): None})
            words |= {word.casefold(): None for word in _texts(entry, "meaning", "terms", "cased")}
    return {i: tuple(words) for i, words in found.items() if i in _names(kind, _MEANING_IN)}
