"""What was looked at in an examination: what all its names, codes, headers and reports tell together."""

from dataclasses import dataclass

from dicomnlp.courses import Examination
from dicomnlp.model import Laterality
from dicomnlp.review.exam_names import (
    ExamName,
    as_meant,
    field_of,
    is_whole_body,
    names_file,
    read_name,
    regions_of,
    sites_of_code,
)

_SIDE_CODES = {"L": Laterality.LEFT, "R": Laterality.RIGHT, "B": Laterality.BILATERAL}
"""Laterality (0020,0060) and ImageLaterality (0020,0062)."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What is looked at in an examination."""

    sites: frozenset[str]
    sides: frozenset[Laterality]
    takes_tissue: bool
    is_whole_body: bool


def read_examination(examination: Examination) -> Examined:
    """What was looked at: by names and codes, and only where these tell no site, by what its reports speak of."""
    modalities = modalities_of(examination)
    named: list[ExamName] = [read_name(as_meant(name, modalities)) for name in examination.names]
    sites = frozenset().union(*(n.sites for n in named), *(sites_of_code(code) for code in examination.body_parts))
    if not sites:
        sites = frozenset(regions[0] for site in examination.sites if (regions := regions_of(site)))
    sides = frozenset().union(*(n.sides for n in named)) | {
        _SIDE_CODES[code] for code in examination.lateralities if code in _SIDE_CODES
    }
    body = names_file().body
    return Examined(
        frozenset(field_of(site, modalities) for site in sites) | sites,
        sides,
        any(n.takes_tissue for n in named),
        any(n.is_whole_body for n in named)
        or any(map(is_whole_body, examination.body_parts))
        or not set(body.modalities).isdisjoint(modalities),
    )


def modalities_of(examination: Examination) -> tuple[str, ...]:
    """Its modalities as the rules write them."""
    return tuple(m.strip().upper() for m in examination.modalities if m.strip())
