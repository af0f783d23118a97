"""The tables of config.toml that say how reports are read: character sets, languages, trained models."""

from pathlib import Path

from pydantic import Field

from dicomnlp.setting_tables import Table
from dicomnlp.setting_types import Codec


class ExtractSettings(Table):
    """Reading of objects."""

    character_set_fallbacks: list[Codec] = Field(
        ["gb18030", "cp1252"],
        description="Python codecs tried, in order of preference, for text that no declared character set fits.",
    )


class AnalyseSettings(Table):
    """Language processing."""

    language: str = Field(
        "en", description="Language of a text that declares none and whose script does not tell.", min_length=2
    )
    overlays: str = Field(
        "",
        description="Folder of the site's own terms, cues and headings: in it a folder for each language (`zh`), with"
        " files as a pack has them. Relative to this file. One with a fault is not used: `dicomnlp languages check`.",
    )


class LearnSettings(Table):
    """Models that are trained on the site's own reports, and what decides whether one is used."""

    models: Path = Field(
        Path("var/models"),
        description="Folder of the models and of their registry, which says which are used. Relative to this file.",
    )
    gold: str = Field(
        "",
        description="The site's annotated reports: a model is promoted only when it is ahead on them. Relative to"
        " this file; empty: none is promoted.",
    )
    margin: float = Field(
        0.01, ge=0, lt=1, description="By how much of F1 a model must be ahead of what is used, on one task at least."
    )
