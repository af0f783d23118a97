"""The tables of config.toml that say how language is processed, and what it learns from."""

from pathlib import Path

from pydantic import Field

from dicomnlp.setting_tables import Table


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
