"""Which language a report is in: the declared one, else by its script and its commonest words."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dicomnlp.analyse.pack import codes_in, folder_of, read_about
from dicomnlp.analyse.schema import PackFile
from dicomnlp.analyse.tokens import HAN
from dicomnlp.errors import LanguageNotSupportedError

_WORD = re.compile(f"([{HAN}])|([^\\W\\d_{HAN}])[^\\W\\d_{HAN}]*")
"""Han characters and first letters: a Han character is as much as a word of letters."""
_WORDS = re.compile(f"[{HAN}]|[^\\W\\d_{HAN}]+")
_ASCII_WORDS = re.compile(r"[a-z]+")
"""The same in a text in lower case that is all ASCII, in half of the time."""
_SAMPLE = 20_000
"""Characters that are looked at: a report doesn't change its language after so many."""
_FEWEST_WORDS = 12
COMMON_SHARE = 0.12
"""A text with fewer of its words among a language's commonest is hardly in it. Of 3,120 English reports at hand four
have fewer; of other languages' sentences nearly all."""


@dataclass(slots=True)
class _Process:
    """What holds for the process."""

    packs: Path | None = None


_PROCESS = _Process()


def use_packs(folder: Path | None) -> None:
    """Read languages that have a folder in `folder` by the pack there rather than by the program's, from here on."""
    _PROCESS.packs = folder


def pack_folder(language: str) -> Path:
    """The folder of the pack that reads `language` in this process."""
    return folder_of(language, _PROCESS.packs)


def languages() -> tuple[str, ...]:
    """Codes of the languages that have a pack, in order."""
    return _codes(_PROCESS.packs)


_codes = cache(codes_in)


def _about(language: str) -> PackFile:
    return _about_in(language, _PROCESS.packs)


@cache
def _about_in(language: str, packs: Path | None) -> PackFile:
    return read_about(folder_of(language, packs))


def choose_language(text: str, declared: str = "", default: str = "en") -> str:
    """The code of the pack that reads `text`.

    Parameters
    ----------
    text
        The narrative.
    declared
        A language code as the object declares it (RFC 5646: "en-US"), "" where it declares none.
    default
        The site's language: taken where the script doesn't tell, because there are no letters or several packs read
        it, unless the commonest words of another are plainly those of the text.

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
    if len(fitting) == 1:
        return fitting[0]
    # several languages in one script: another than the site's where its commonest words are plainly those of the text
    shares = {code: common_share(text, _commonest(code)) for code in fitting}
    likeliest = max(fitting, key=lambda code: (shares[code], code == default))
    if default not in fitting or shares[likeliest] > max(COMMON_SHARE, 2 * shares[default]):
        return likeliest
    return default


def common_share(text: str, common: frozenset[str]) -> float:
    """How much of a text's words are `common`, of 1; 1 as well where it has too few words to tell."""
    sample = text[:_SAMPLE].lower()
    words = (_ASCII_WORDS if sample.isascii() else _WORDS).findall(sample)
    if len(words) < _FEWEST_WORDS or not common:
        return 1.0
    return sum(map(common.__contains__, words)) / len(words)


def _commonest(language: str) -> frozenset[str]:
    return _commonest_in(language, _PROCESS.packs)


@cache
def _commonest_in(language: str, packs: Path | None) -> frozenset[str]:
    return frozenset(_about_in(language, packs).common_words)
