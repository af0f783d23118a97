"""Which language a report is in: the declared one, else by its script."""

import re
from functools import cache

from dicomnlp.analyse.pack import LANGUAGES, read_about
from dicomnlp.analyse.schema import PackFile
from dicomnlp.analyse.tokens import HAN
from dicomnlp.errors import LanguageNotSupportedError

_WORD = re.compile(f"([{HAN}])|([^\\W\\d_{HAN}])[^\\W\\d_{HAN}]*")
"""Han characters and first letters: a Han character is as much as a word of letters."""
_SAMPLE = 20_000
"""Characters that are looked at: a report doesn't change its language after so many."""


@cache
def languages() -> tuple[str, ...]:
    """Codes of the languages that have a pack, in order."""
    return tuple(sorted(path.parent.name for path in LANGUAGES.glob("*/pack.toml")))


@cache
def _about(language: str) -> PackFile:
    return read_about(LANGUAGES / language)


def choose_language(text: str, declared: str = "", default: str = "en") -> str:
    """The code of the pack that reads `text`.

    Parameters
    ----------
    text
        The narrative.
    declared
        A language code as the object declares it (RFC 5646: "en-US"), "" where it declares none.
    default
        The site's language: taken where the script doesn't tell, because several packs read it or because there are
        no letters.

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
    words = [han or letter for han, letter in _WORD.findall(text[:_SAMPLE])]
    if not words:
        return default
    letters = "".join(words)
    fitting = [c for c in languages() if len(re.findall(_about(c).script, letters)) >= len(words) / 2]
    if not fitting:
        raise LanguageNotSupportedError(
            "the report is in a script that no language pack reads; there are packs for " + ", ".join(languages())
        )
    return default if default in fitting else fitting[0]
