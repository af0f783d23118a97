"""What a pipeline is made of, and the name that tells it from every other: without loading any of it.

A pipeline reads a report by the packs and overlays that are laid down in folders, those of the program and the site or
others in their place; its name ends with a digest of all that can change what it says.
"""

import hashlib
import importlib.metadata
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dicomnlp.analyse.overlay import languages_of
from dicomnlp.analyse.pack import LABELS, base_of, codes_in, folder_of, read_about

VERSIONS = {name: importlib.metadata.version(name) for name in ("medspacy", "spacy")}

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Source:
    """What reports are read by."""

    packs: Path | None = None
    """Folder with a folder for each language whose pack is another than the program's; None where none is."""
    overlays: Path | None = None
    """Folder of what is laid over the packs, likewise; None for none."""
    models: Path | None = None
    """Folder of trained models with a registry of its own, in place of the site's; None: the site's."""


@cache
def digest(folder: Path, *others: Path | None) -> str:
    """Twelve hexadecimal digits over everything that can change the answer of the pack in `folder`.

    That is the pack's data, those of `others` (its base, an overlay) and the label sets', the source of analyse and
    extract, and the versions of spaCy and medspaCy.
    """
    package = Path(__file__).parents[1]
    code = [p for part in ("analyse", "extract") for p in sorted((package / part).rglob("*.py"))]
    data = [p for of in (folder, *others) if of is not None for p in sorted(of.rglob("*.toml"))]
    seen = hashlib.sha256(repr(sorted(VERSIONS.items())).encode())
    for path in [*data, *sorted(LABELS.glob("*.toml")), *code]:
        seen.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return seen.hexdigest()[:12]


def name_of(folder: Path, overlay: Path | None = None) -> str:
    """Pack, version and digest of the pack in `folder` with an overlay, "en-2026.1+3f9c0d21a4b7".

    Raises
    ------
    LanguagePackError
        There is no pack in the folder.
    """
    about = read_about(folder)
    return f"{about.language}-{about.version}+{digest(folder, base_of(folder, about), overlay)}"


def is_name(text: str) -> bool:
    """Whether a pipeline can be added under this name."""
    return _NAME.fullmatch(text) is not None


def pipeline_names(source: Source, models: Path | None = None) -> dict[str, str]:
    """Language -> name of the pipeline by which `source` reads it, its overlays and models being taken for sound.

    Parameters
    ----------
    source
        Packs and overlays, and models where it has its own.
    models
        The site's folder of trained models, of which the promoted ones stand beside the rules.

    Raises
    ------
    LanguagePackError
        A folder of `source.packs` holds no pack.
    """
    laid = set(languages_of(source.overlays)) if source.overlays is not None else set()
    names = {
        code: name_of(
            folder_of(code, source.packs), source.overlays / code if source.overlays and code in laid else None
        )
        for code in codes_in(source.packs)
    }
    folder = source.models or models
    if folder is None:
        return names
    from dicomnlp.analyse.learned_use import names_beside  # noqa: PLC0415  numpy, which few commands need

    return names_beside(folder, names)
