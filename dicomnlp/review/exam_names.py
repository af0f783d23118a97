"""What the name of an examination tells: the sites that are looked at, the side, and whether tissue is taken.

>>> sorted(read_name("CT ABD/PELVIS W CONTRAST").sites)
['abdomen', 'pelvis']
>>> read_name("MAMMO DIAG LEFT").sides
frozenset({<Laterality.LEFT: 'left'>})
"""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from dicomnlp.analyse.hierarchy import expand_site
from dicomnlp.analyse.names import site_words
from dicomnlp.model import Laterality

FILE = Path(__file__).with_name("exam_names.toml")
_TOKEN = re.compile(r"[\u3400-\u9fff]+|b/l|v/q|[^\W_]+")
"""A word, or a run of Chinese characters."""
_CHINESE = re.compile(r"[\u3400-\u9fff]")
_CHARACTERS = 300
"""Of a name that are read: an exam is named at the beginning."""
_SHORTEST = 3
"""Characters of a pack's word: shorter ones are other things in a description."""

Word = Annotated[str, StringConstraints(min_length=1, pattern=r"^\S(.*\S)?$")]
Words = tuple[Word, ...]


class Table(BaseModel):
    """A table of a rules file: nothing but what is described."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Region(Table):
    site: Word
    words: Words = ()
    codes: Words = ()


class _Procedure(Table):
    sites: Words
    words: Words


class _Body(Table):
    words: Words
    codes: Words
    modalities: Words


class _Apart(Table):
    sites: Words
    modalities: dict[Word, Words]


class _Fields(Table):
    modalities: Words


class _Narrower(Table):
    words: Words
    modality: Word
    means: Word
    source: Word


class _Sides(Table):
    left: Words
    right: Words
    both: Words


class _Tissue(Table):
    words: Words


class NamesFile(Table):
    """``exam_names.toml``."""

    regions: tuple[_Region, ...] = Field(min_length=1)
    procedures: tuple[_Procedure, ...]
    body: _Body
    apart: _Apart
    fields: _Fields
    narrower: tuple[_Narrower, ...]
    sides: _Sides
    tissue: _Tissue


@cache
def names_file() -> NamesFile:
    """The rules, checked; every site is one of the language packs'."""
    rules = NamesFile.model_validate(tomllib.loads(FILE.read_text(encoding="utf-8")))
    named = [*(r.site for r in rules.regions), *(s for p in rules.procedures for s in p.sites)]
    for site in (*named, *rules.apart.sites, *rules.apart.modalities):
        expand_site(site)
    return rules


@dataclass(frozen=True, slots=True)
class ExamName:
    """What a name tells."""

    sites: frozenset[str] = frozenset()
    sides: frozenset[Laterality] = frozenset()
    """Left, right, both of them, or bilateral."""
    takes_tissue: bool = False
    is_whole_body: bool = False


@lru_cache(65536)
def read_name(name: str) -> ExamName:
    """What `name`, the description of a study or a procedure, tells."""
    tokens = tuple(_TOKEN.findall(name[:_CHARACTERS].casefold()))
    sites: set[str] = set()
    used: set[int] = set()
    for found, places in _phrases().find(tokens):
        sites |= found
        used.update(places)
    rules = names_file()
    # the l of "l spine" is no side
    others = [token for n, token in enumerate(tokens) if n not in used or len(token) > 1]
    return ExamName(
        frozenset(sites),
        _sides(others),
        _has(tokens, rules.tissue.words),
        _has(tokens, rules.body.words),
    )


def as_meant(name: str, modalities: Iterable[str]) -> str:
    """`name` with words that mean less by one modality put as what they mean: by ultrasound "全腹部" has no pelvis."""
    for rule in names_file().narrower:
        if set(modalities) == {rule.modality}:
            for word in sorted(rule.words, key=len, reverse=True):
                name = name.replace(word, rule.means)
    return name


def sites_of_code(body_part_examined: str) -> frozenset[str]:
    """The regions that a value of BodyPartExamined (0018,0015) means; by its words where it is no defined term."""
    code = body_part_examined.strip().upper()
    found = {r.site for r in names_file().regions if code in r.codes}
    return frozenset(found) or read_name(body_part_examined).sites


def is_whole_body(body_part_examined: str) -> bool:
    """Whether a value of BodyPartExamined means that all of the patient is looked at."""
    return body_part_examined.strip().upper() in names_file().body.codes


@lru_cache(4096)
def parts_of(site: str) -> frozenset[str]:
    """`site` and its parts; a site that no pack knows any more is itself alone."""
    return frozenset(expand_site(site)) if site in site_words() else frozenset({site})


@lru_cache(4096)
def regions_of(site: str) -> tuple[str, ...]:
    """The regions that `site` is part of, the smallest first."""
    holding = [r.site for r in names_file().regions if site in parts_of(r.site)]
    return tuple(sorted(holding, key=lambda region: len(parts_of(region))))


def field_of(site: str, modalities: Iterable[str]) -> str:
    """What an examination of `site` shows: with some modalities the whole region, whatever organ it is named for."""
    regions = regions_of(site)
    return regions[0] if regions and not set(modalities).isdisjoint(names_file().fields.modalities) else site


def shows(examined: str, site: str, modalities: Iterable[str]) -> str | None:
    """How an examination of `examined` shows `site`: "whole", "part" of it, or None.

    Parameters
    ----------
    modalities
        Of the examination: some sites are shown by some modalities alone where what they are part of is examined.
    """
    if site in parts_of(examined):
        return "whole" if _reaches(examined, site, modalities) else None
    if examined in parts_of(site):
        return "part" if _reaches(site, examined, modalities) else None
    return None


def _reaches(whole: str, part: str, modalities: Iterable[str]) -> bool:
    apart = names_file().apart
    for alone in apart.sites:
        if part in parts_of(alone) and whole not in parts_of(alone):
            return not set(modalities).isdisjoint(apart.modalities.get(alone, ()))
    return True


def side_of_site(site: str) -> Laterality | None:
    """The side that the id of a site tells: "right_upper_lobe" is right."""
    words = site.split("_")
    sides = {"left": Laterality.LEFT, "right": Laterality.RIGHT}
    return next((side for word, side in sides.items() if word in words), None)


def _sides(tokens: Sequence[str]) -> frozenset[Laterality]:
    rules = names_file().sides
    found: set[Laterality] = set()
    for words, sides in (
        (rules.left, {Laterality.LEFT}),
        (rules.right, {Laterality.RIGHT}),
        (rules.both, {Laterality.BILATERAL}),
    ):
        if _has(tokens, words):
            found |= sides
    return frozenset(found)


def has_words(text: str, words: Iterable[str]) -> bool:
    """Whether one of `words` stands in `text`: as whole words, in Chinese anywhere."""
    return _has(tuple(_TOKEN.findall(text.casefold())), words)


def _has(tokens: Sequence[str], words: Iterable[str]) -> bool:
    spaced = f" {' '.join(tokens)} "
    return any(
        word in spaced if _CHINESE.search(word) else f" {' '.join(_TOKEN.findall(word.casefold()))} " in spaced
        for word in words
    )


class _Phrases:
    """Words that name sites, the longest first."""

    def __init__(self, named: Mapping[str, Iterable[str]]) -> None:
        self._by_first: defaultdict[str, list[tuple[tuple[str, ...], frozenset[str]]]] = defaultdict(list)
        of_phrase: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for site, words in named.items():
            for word in words:
                tokens = tuple(_TOKEN.findall(word.casefold()))
                if tokens:
                    of_phrase[tokens].add(site)
        for tokens, sites in of_phrase.items():
            first = tokens[0][0] if _CHINESE.match(tokens[0]) else tokens[0]
            self._by_first[first].append((tokens, frozenset(sites)))
        for phrases in self._by_first.values():
            phrases.sort(key=lambda each: -sum(map(len, each[0])))

    def find(self, tokens: Sequence[str]) -> Iterator[tuple[frozenset[str], range]]:
        """The sites that each phrase names and the tokens that it is, from the left, none inside another."""
        at = 0
        while at < len(tokens):
            if _CHINESE.match(tokens[at]):
                for sites in self._in_chinese(tokens[at]):
                    yield sites, range(at, at + 1)
                at += 1
                continue
            for phrase, sites in self._by_first.get(tokens[at], ()):
                if tuple(tokens[at : at + len(phrase)]) == phrase:
                    yield sites, range(at, at + len(phrase))
                    at += len(phrase)
                    break
            else:
                at += 1

    def _in_chinese(self, run: str) -> Iterator[frozenset[str]]:
        at = 0
        while at < len(run):
            for phrase, sites in self._by_first.get(run[at], ()):
                if len(phrase) == 1 and run.startswith(phrase[0], at):
                    yield sites
                    at += len(phrase[0])
                    break
            else:
                at += 1


@cache
def _phrases() -> _Phrases:
    rules = names_file()
    own: defaultdict[str, set[str]] = defaultdict(set)
    for region in rules.regions:
        own[region.site].update(region.words)
    for procedure in rules.procedures:
        for site in procedure.sites:
            own[site].update(procedure.words)
    taken = {word.casefold() for words in own.values() for word in words}
    for site, words in site_words().items():
        own[site].update(w for w in words if (len(w) >= _SHORTEST or _CHINESE.search(w)) and w not in taken)
    return _Phrases(own)
