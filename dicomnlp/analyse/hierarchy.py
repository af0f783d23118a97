"""What belongs to what: concepts with their descendants and sites with their parts, over all language packs.

Searches ask by it: who looks for fractures means those of the hip as well.
"""

import difflib
import tomllib
from collections import defaultdict
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

from dicomnlp.analyse.names import entries, folders
from dicomnlp.analyse.pack import TARGET, UNLISTED
from dicomnlp.errors import UsageError

PARTS = Path(__file__).parent / "anatomy_parts.toml"


def expand_concept(identifier: str) -> tuple[str, ...]:
    """`identifier` and all concepts that descend from it in any pack, in the order of the alphabet.

    Raises
    ------
    UsageError
        No pack has such a concept; the message suggests one that is written much alike, never what was given.
    """
    return _expand(identifier, _concepts(), "concept")


def expand_site(identifier: str) -> tuple[str, ...]:
    """`identifier` and all sites that are parts of it; raises as `expand_concept`."""
    return _expand(identifier, _sites(), "site")


def _expand(identifier: str, below: Mapping[str, Collection[str]], kind: str) -> tuple[str, ...]:
    if identifier not in below:
        close = difflib.get_close_matches(identifier, below, 1)
        suggestion = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"no language pack has a {kind} of that id{suggestion}")
    found, ahead = {identifier}, [identifier]
    while ahead:
        new = set(below[ahead.pop()]) - found
        found |= new
        ahead.extend(new)
    return tuple(sorted(found))


def _add_children(below: defaultdict[str, set[str]], kind: str) -> None:
    for folder in folders():
        for identifier, entry in entries(kind, folder).items():
            below[identifier] |= set()
            parent = entry.get("parent")
            if isinstance(parent, str):
                below[parent].add(identifier)


@cache
def _concepts() -> dict[str, set[str]]:
    """Each concept's children."""
    below: defaultdict[str, set[str]] = defaultdict(set)
    below[TARGET] = set()
    below[UNLISTED] = set()
    _add_children(below, "concepts")
    return dict(below)


@cache
def _sites() -> dict[str, set[str]]:
    """Each site's parts."""
    below: defaultdict[str, set[str]] = defaultdict(set)
    _add_children(below, "anatomy")
    for whole, parts in tomllib.loads(PARTS.read_text(encoding="utf-8"))["parts"].items():
        below[whole].update(parts)
    return dict(below)
