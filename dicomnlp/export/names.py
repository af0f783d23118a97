"""Names of persons in a text: patterns that find a name which is known, in whichever form somebody dictated it.

A DICOM person name (PS3.5 6.2.1) has up to three representations with five components each, and many senders write all
of a name into the first. So nothing is made of which component a word stands in: a name is its words, and any of them
found in any order, with initials and titles between, is the person.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dicomnlp.export.folding import fold

_HAN = "\u3400-\u9fff\uf900-\ufaff"
_IDEOGRAPHIC = f"{_HAN}\u3040-\u30ff\u3131-\u318e\uac00-\ud7a3"
_LETTER = r"[^\W\d_]"
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHIC}]")
TITLE = r"(?i:mrs?|ms|miss|mx|dr|doctor|prof(?:essor)?|rev|sir|herrn?|frau|hr|fr|dr\s?\.?\s?med)"
HONORIFIC = "先生|女士|小姐|太太|同志|老师|某某|某|医生|医师|大夫|主任|教授|护士|技师|様|さん|氏|님"
COMPOUND_SURNAMES = (
    "欧阳", "司马", "上官", "诸葛", "夏侯", "东方", "皇甫", "尉迟", "公孙", "慕容", "司徒", "令狐", "长孙", "宇文",
    "端木", "南宫", "歐陽", "司馬", "諸葛", "東方", "尉遲", "公孫", "長孫", "南宮",
)  # fmt: skip
_SEPARATOR = r"[ \t\u3000,.'=^\-·・]{0,4}"
_JOINT = r"[\s'\-]{0,2}"
_MAXIMUM_WORDS = 16
_MAXIMUM_LENGTH = 400


_WORDS = tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))
FUNCTION_WORDS, PARTICLES, ORDINARY_WORDS, PLACE_WORDS, NOT_NAMES = (
    frozenset(_WORDS[name].split()) for name in ("function", "particles", "ordinary", "places", "not_names")
)
"""Function words are never taken for a name alone, beside another part of one, an initial or a title they are."""


@dataclass(frozen=True, slots=True)
class NamePattern:
    """What finds one person's name in folded text."""

    joined: re.Pattern[str] | None
    """Two parts or more, or one with a title or initial."""
    alone: re.Pattern[str] | None
    """One word of the name."""
    ideographic: re.Pattern[str] | None

    def find(self, text: str, veiled: str) -> list[tuple[int, int]]:
        """Spans of the name in folded `text`; they may overlap.

        Parameters
        ----------
        veiled
            The text `without_ideographs`.
        """
        spans = [m.span() for m in self.joined.finditer(veiled)] if self.joined is not None else []
        if self.alone is not None:
            has_capitals = not veiled.islower()
            spans += [m.span() for m in self.alone.finditer(veiled) if _is_name(m[0], has_capitals=has_capitals)]
        if self.ideographic is not None:
            spans += [m.span() for m in self.ideographic.finditer(text)]
        return spans


def without_ideographs(text: str) -> str:
    """`text` with a mark for each ideograph, kana or hangul: beside these a word of letters begins and ends."""
    return text if text.isascii() else _IDEOGRAPH.sub("、", text)


def _is_name(word: str, *, has_capitals: bool) -> bool:
    """Whether a word that stands alone and is one of the name's is the name."""
    plain = word.casefold()
    if plain in ORDINARY_WORDS or len(plain) <= 3:
        return word.istitle() or word.isupper() or not has_capitals
    return True


@lru_cache(maxsize=1024)
def name_pattern(name: str) -> NamePattern:
    """The pattern of a person name as DICOM (PS3.5 6.2.1) or people write it."""
    words = _words(name)
    latin = [w for w in words if not re.match(f"[{_IDEOGRAPHIC}]", w)]
    joined = alone = None
    if latin:
        tokens = "|".join(sorted({_token(w) for w in latin}, key=len, reverse=True))
        initials = "".join(sorted({re.escape(w[0].upper()) for w in latin}))
        initial = f"(?:[{initials}](?:{_SEPARATOR}[{initials}])?(?!{_LETTER})\\.?)"
        token = f"(?i:{tokens})"
        before, after = f"(?<!{_LETTER})", f"(?!{_LETTER})"
        title = f"(?:{TITLE}\\.?\\s{{1,3}})"
        solid = "|".join(_solid(latin))
        joined = re.compile(
            f"{before}(?:"
            # title or initial, then a word, and what follows
            f"{title}{{1,3}}(?:{initial}{_SEPARATOR}){{0,3}}{token}(?:{_SEPARATOR}(?:{token}|{initial})){{0,5}}"
            f"|(?:{initial}{_SEPARATOR}){{1,3}}{token}(?:{_SEPARATOR}(?:{token}|{initial})){{0,5}}"
            f"|{token}(?:{_SEPARATOR}(?:{token}|{initial})){{1,6}}" + (f"|(?i:{solid})" if solid else "") + f"){after}"
        )
        single = [w for w in _parts(latin) if len(w) > 1 and w.casefold() not in FUNCTION_WORDS | PARTICLES]
        if single:
            listed = "|".join(sorted({_token(w) for w in single}, key=len, reverse=True))
            alone = re.compile(f"{before}(?i:{listed}){after}")
    return NamePattern(joined, alone, _ideographic(name))


def _words(name: str) -> list[str]:
    """The words of a name, folded: no titles, and no more of them than a name has."""
    folded = fold(name[:_MAXIMUM_LENGTH]).text
    found = [w.strip(".'-") for w in re.split(r"[\s^=,;/\\()\[\]\"]+", folded)]
    kept = [w for w in found if w and not re.fullmatch(TITLE, w) and re.search(r"[^\W\d_]", w)]
    return list(dict.fromkeys(kept))[:_MAXIMUM_WORDS]


def _token(word: str) -> str:
    """A word of a name with hyphens, apostrophes and capitals in its middle as they may be left out."""
    return _JOINT.join(re.escape(part) for part in _split(word))


def _split(word: str) -> list[str]:
    parts = [p for p in re.split(r"['\-.]+", word) if p]
    return [piece for part in parts for piece in re.findall(r"[^\W\d_][a-z]+(?=[A-Z][a-z])|.+", part)]


def _parts(words: list[str]) -> list[str]:
    """The words, and the halves of double-barrelled ones."""
    halves = [half for w in words if "-" in w for half in w.split("-") if len(half) > 2]
    return [*words, *halves]


def _solid(words: list[str]) -> list[str]:
    """How log-in names are made: initial and surname in one."""
    return sorted(
        {
            made
            for one in words
            for other in words
            if one != other and len(one) > 3 and one.casefold() not in ORDINARY_WORDS
            for made in (re.escape(other[0] + one), re.escape(one + other[0]))
        }
    )


def _ideographic(name: str) -> re.Pattern[str] | None:
    """The whole name, the given name where it has two characters, and the surname before a title."""
    forms: set[str] = set()
    surnames: set[str] = set()
    for group in re.split("=", fold(name[:_MAXIMUM_LENGTH]).text):
        components = [re.sub(rf"[^{_IDEOGRAPHIC}]", "", c) for c in re.split(r"[\^\s,]+", group)]
        components = [c for c in components if c]
        if not components:
            continue
        family, given = components[0], "".join(components[1:])
        if not given:
            size = 2 if family.startswith(COMPOUND_SURNAMES) and len(family) > 2 else 1
            family, given = family[:size], family[size:]
        gap = r"[\s·・^]{0,2}"
        forms.add(gap.join(map(re.escape, family + given)))
        if given:
            forms.add(gap.join(map(re.escape, given + family)))
        if len(given) > 1:
            forms.add(gap.join(map(re.escape, given)))
        if len(family) > 1:
            forms.add(re.escape(family))
        surnames.add(re.escape(family))
    if not forms:
        return None
    listed = "|".join(sorted((f for f in forms if len(f) > 1), key=len, reverse=True))
    titled = "|".join(sorted(surnames, key=len, reverse=True))
    pattern = f"(?:{titled})(?={HONORIFIC})"
    return re.compile(f"(?:{listed})|{pattern}" if listed else pattern)
