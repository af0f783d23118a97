"""Which language a report is in: the declared one, else by its script."""

import re
from functools import cache

from dicomnlp.analyse.pack import LANGUAGES, read_about
from dicomnlp.analyse.schema import PackFile
from dicomnlp.errors import LanguageNotSupportedError

_SAMPLE = 20_000
"""Characters that are looked at: a report doesn't change its language after so many."""


@cache
def languages() -> tuple[str, ...]:
    """Codes of the languages that have a pack, in order."""
    return tuple(sorted(path.parent.name for path in LANGUAGES.glob("*/pack.toml")))


@cache
def _about(language: str) -> PackFile:
    return read_about(LANGUAGES / language)


def choose_language(text: str, declared: str = "") -> str:
    """The code of the pack that reads `text`.

    Parameters
    ----------
    text
        The narrative.
    declared
        A language code as the object declares it (RFC 5646: "en-US"), "" where it declares none.

    Raises
    ------
    LanguageNotSupportedError
        The declared language has no pack, or nothing is declared and no pack's script fills most of the text.
    """
    if declared:
        code = declared.replace("_", "-").split("-")[0].lower()
        if code in languages():
            return code
        raise LanguageNotSupportedError(
            f"no language pack for the declared language; there are packs for {', '.join(languages())}",
        )
    letters = sum(c.isalpha() for c in text[:_SAMPLE])
    if not letters:
        return languages()[0]  # numbers and marks say nothing, in any language
    share = {code: len(re.findall(_about(code).script, text[:_SAMPLE])) / letters for code in languages()}
    best = max(share, key=lambda code: share[code])
    if share[best] < 0.5:
        raise LanguageNotSupportedError(
            "the report is in a script that no language pack reads; there are packs for " + ", ".join(languages())
        )
    return best
