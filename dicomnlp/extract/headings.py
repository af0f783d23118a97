"""From the concept name of a content item to the section of a report that it opens, by the table in headings.toml."""

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from dicomnlp.model import Code, SectionName

_SCHEMES = {"LOINC": "LN", "2.16.840.1.113883.6.1": "LN", "1.2.840.10008.2.16.4": "DCM", "99SDM": "SCT", "SRT": "SCT"}
"""Coding schemes by the designator that the table uses; SRT and SCT codes never coincide."""


_SECTION_OF_FINDINGS = re.compile(r"\s*findings\s*[:：]?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Heading:
    """What a concept name says of the text below it."""

    section: SectionName | None
    """None: it names the whole report, so that the text's own headings count."""
    is_generic: bool = False
    """It yields to the heading of the container that it stands in."""
    is_conflict: bool = False
    """Code and meaning name different sections; the meaning was followed."""


@dataclass(frozen=True, slots=True)
class _Table:
    codes: dict[tuple[str, str], SectionName]
    meanings: tuple[tuple[re.Pattern[str], SectionName], ...]
    whole: tuple[re.Pattern[str], ...]
    generic_codes: frozenset[tuple[str, str]]
    generic_meanings: frozenset[str]
    not_narrative: frozenset[tuple[str, str]]
    not_finding: frozenset[tuple[str, str]]


@lru_cache(maxsize=1)
def _table() -> _Table:
    raw = tomllib.loads(resources.files(__package__).joinpath("headings.toml").read_text("utf-8"))
    return _Table(
        codes={
            (scheme, code): SectionName(name)
            for scheme, sections in raw["codes"].items()
            for name, codes in sections.items()
            for code in codes
        },
        meanings=tuple(
            (re.compile("|".join(f"(?:{p})" for p in patterns), re.IGNORECASE), SectionName(name))
            for name, patterns in raw["meanings"].items()
        ),
        whole=tuple(re.compile(pattern, re.IGNORECASE) for pattern in raw["whole"]["meanings"]),
        generic_codes=frozenset((s, c) for s, c in (entry.split() for entry in raw["generic"]["codes"])),
        generic_meanings=frozenset(raw["generic"]["meanings"]),
        not_narrative=frozenset((s, code) for s, codes in raw["not_narrative"].items() for code in codes),
        not_finding=frozenset((s, code) for s, codes in raw["not_finding"].items() for code in codes),
    )


def _key(concept: Code) -> tuple[str, str]:
    scheme = concept.scheme.upper()
    return _SCHEMES.get(scheme, scheme), concept.value


@lru_cache(maxsize=4096)
def section_of_words(words: str) -> Heading | None:
    """The section that a heading's words name in any of the table's languages; None when they name none."""
    flat = re.sub(r"\s+", " ", words).strip(" :：.-#*").casefold()
    if not flat or len(flat) > 80:
        return None
    table = _table()
    is_generic = flat in table.generic_meanings
    if any(pattern.fullmatch(flat) for pattern in table.whole):
        return Heading(None, is_generic)
    for pattern, section in table.meanings:
        if pattern.fullmatch(flat):
            return Heading(section, is_generic)
    return Heading(None, is_generic=True) if is_generic else None


@lru_cache(maxsize=4096)
def heading_of(concept: Code) -> Heading | None:
    """The section that a concept name opens; None when the table knows neither its code nor its meaning."""
    table = _table()
    key = _key(concept)
    by_code = table.codes.get(key)
    by_meaning = section_of_words(concept.meaning)
    if by_code is None:
        return by_meaning
    is_generic = key in table.generic_codes
    if by_meaning is None or by_meaning.section == by_code:
        return Heading(by_code, is_generic)
    if not is_generic and _SECTION_OF_FINDINGS.fullmatch(concept.meaning):
        # one of the generic words, but as a heading plain enough; for previous ones it may be short
        section = by_code if by_code is SectionName.COMPARISON else by_meaning.section
        return Heading(section, is_conflict=True)
    if not by_meaning.is_generic:
        return Heading(by_meaning.section, is_conflict=True)
    return Heading(by_code, is_generic)


def is_never_narrative(concept: Code | None) -> bool:
    """Whether text under this concept name is an identifier, a device string or observation context.

    A meaning that names a section says that the code is abused, and the text may well be narrative.
    """
    if concept is None or _key(concept) not in _table().not_narrative:
        return False
    by_meaning = section_of_words(concept.meaning)
    return by_meaning is None or by_meaning.section is None


def is_never_finding(concept: Code | None) -> bool:
    """Whether a code under this concept name is context, wording or a matter of display, whatever the relationship."""
    return concept is not None and (_key(concept) in _table().not_finding or _key(concept) in _table().not_narrative)
