"""A narrative to its analysis: pure, on medspaCy, one engine for every language.

The engine is imported when it is first needed: spaCy takes seconds and much memory, and who only asks what belongs to
what needs neither.

>>> from dicomnlp.model import Narrative
>>> [f.assertion.value for f in analyse(Narrative("No pneumothorax."), language="en").findings]
['absent']
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dicomnlp.analyse.hierarchy import expand_concept, expand_site
from dicomnlp.analyse.language import choose_language, languages
from dicomnlp.analyse.pack import Pack
from dicomnlp.analyse.pipelines import Source
from dicomnlp.analyse.public import analysis_to_json
from dicomnlp.errors import LanguageNotSupportedError, ModelRefusedError
from dicomnlp.model import Analysis, Narrative

if TYPE_CHECKING:
    from pathlib import Path

    from dicomnlp.analyse.engine import Engine
    from dicomnlp.analyse.overlay import Fault

__all__ = [
    "Pack",
    "Source",
    "analyse",
    "analysis_to_json",
    "choose_language",
    "expand_concept",
    "expand_site",
    "languages",
    "load_pack",
    "models_changed",
    "pipeline_name",
    "refused_models",
    "refused_overlays",
    "use_models",
    "use_overlays",
    "use_source",
]


def load_pack(language: str = "en") -> Pack:
    """The pack of `language`, checked and tried on its own cases; held for the life of the process.

    Raises
    ------
    LanguageNotSupportedError
        There is no such pack.
    LanguagePackError
        The pack is malformed, or fails its own cases.
    """
    _known(language)
    return _engine(language).pack


def analyse(
    narrative: Narrative,
    *,
    language: str | None = None,
    targets: Sequence[tuple[int, int]] = (),
    default_language: str = "en",
) -> Analysis:
    """What `narrative` says.

    Parameters
    ----------
    narrative
        The prose of a report; `narrative.sections` are taken as boundaries, and where its segments declare another
        language, that language's pack reads them. Where nothing is declared, paragraphs in another script are read by
        the pack of that script.
    language
        Declared language (RFC 5646); None or "" to go by the script.
    targets
        Half-open character offsets that are judged as findings, whatever the lexicon knows; the findings are then
        these spans alone.
    default_language
        The site's language, for a text that declares none and whose script doesn't tell.

    Raises
    ------
    LanguageNotSupportedError
        No pack reads the language.
    LanguagePackError
        The language's pack is malformed, or fails its own cases.
    ValueError
        A target is empty or outside the text.
    """
    if any(not 0 <= start < end <= len(narrative.text) for start, end in targets):
        raise ValueError("a target must be a non-empty span of the text")
    from dicomnlp.analyse.mixed import analyse_by_passage, mixes_scripts  # noqa: PLC0415  see above

    if any(segment.language for segment in narrative.segments) or (not language and mixes_scripts(narrative.text)):
        return analyse_by_passage(narrative, language or "", default_language, targets)
    return _engine(choose_language(narrative.text, language or "", default_language)).analyse(narrative, targets)


def pipeline_name(language: str = "en") -> str:
    """Pack, version and digest of everything that can change the answer: "en-2026.1+3f9c0d21a4b7"."""
    _known(language)
    return _engine(language).pipeline


def use_overlays(folder: "Path | None") -> None:
    """Lay what the site added to the packs over them, from here on: `folder` holds a folder for each language."""
    use_source(Source(overlays=folder))


def use_source(source: Source) -> None:
    """Read by these packs, overlays and models, from here on; what was loaded is loaded anew where they are others."""
    from dicomnlp.analyse import engine  # noqa: PLC0415  see above

    engine.use_source(source)


def refused_overlays() -> "dict[str, tuple[Fault, ...]]":
    """Language -> what is wrong in the site's overlay of it; languages whose overlay is used, or none, aren't there."""
    from dicomnlp.analyse import engine  # noqa: PLC0415  see above

    return engine.refused_overlays()


def use_models(folder: "Path | None") -> None:
    """Read with the models that the registry in `folder` says are promoted, from here on; None: by the rules alone."""
    from dicomnlp.analyse import learned_use  # noqa: PLC0415  see above

    learned_use.use_models(folder)


def models_changed() -> None:
    """Read with the models that are promoted now, from here on; those that were read before are let go."""
    from dicomnlp.analyse import engine  # noqa: PLC0415  see above

    engine.models_changed()


def refused_models() -> "dict[str, ModelRefusedError]":
    """Language -> why the model that was promoted for it isn't used; "" -> what is wrong with the registry."""
    from dicomnlp.analyse import engine  # noqa: PLC0415  see above

    return engine.refused_models()


def _engine(language: str) -> "Engine":
    from dicomnlp.analyse.engine import load_engine  # noqa: PLC0415  see above

    return load_engine(language)


def _known(language: str) -> None:
    if language not in languages():
        raise LanguageNotSupportedError(f"no language pack {language!r}; there are packs for {', '.join(languages())}")
