"""How reports are worded: examinations part by part, with what is planted in place of what is normal."""

import datetime as dt
import random
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
LANGUAGES = ("en", "zh")
AGED = 0.4
"""Share of reports whose indication begins with age and sex."""
ASIDE = 0.45
"""Share of reports without a story that tell something harmless."""
MILLIMETRES = 0.6
"""Share of sizes in millimetres; the others are in centimetres."""

Section = tuple[str, str, str]
"""Kind, heading and text of each."""


@cache
def words(language: str) -> dict[str, Any]:
    """The examinations and common words of a language."""
    return tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))


@cache
def stories(language: str) -> dict[str, Any]:
    """What stories plant in a language."""
    return tomllib.loads((FOLDER / f"{language}_stories.toml").read_text(encoding="utf-8"))


@cache
def exams() -> dict[str, dict[str, Any]]:
    """Examinations by name; what isn't wording is the same in all languages."""
    return dict(words("en")["exams"])


@dataclass(slots=True)
class Planting:
    """What a report says in place of what is normal."""

    parts: Mapping[str, str] = field(default_factory=dict)
    """Sentences by part."""
    say: Sequence[str] = ()
    """Conclusions; none: what a report without them says."""
    advice: Sequence[str] = ()
    indication: str = ""
    technique: str = ""
    description: str = ""
    keep: Sequence[str] = ()
    """Parts that are described at all; none: each of the examination."""
    described_as: str = ""
    """The examination whose parts are described, "" for its own."""
    compared: dt.date | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    """Further places to fill."""


@dataclass(frozen=True, slots=True)
class Written:
    """A report's words."""

    description: str
    sections: tuple[Section, ...]


class Pen:
    """Writes in one language.

    Parameters
    ----------
    language
        "en" or "zh".
    chance
        What decides between wordings.
    """

    def __init__(self, language: str, chance: random.Random) -> None:
        self.language, self.chance = language, chance
        self.words, self.stories = words(language), stories(language)

    def side(self) -> tuple[str, str]:
        """A side and the other one."""
        one, other = self.chance.sample(self.words["sides"], 2)
        return one, other

    def size(self, millimetres: int, *, style: str | None = None) -> str:
        """A length with its unit, "mm" or "cm" by `style` or by chance."""
        unit = style or self.style()
        gap = self.words["between"]
        return f"{millimetres}{gap}mm" if unit == "mm" else f"{millimetres / 10:.1f}{gap}cm"

    def style(self) -> str:
        """The unit of the next lengths."""
        return "mm" if self.chance.random() < MILLIMETRES else "cm"

    def person(self, sex: str) -> str:
        """A word for somebody of this sex."""
        return str(self.chance.choice(self.words["persons"][sex]))

    def one(self, several: Sequence[str]) -> str:
        """One of these."""
        return self.chance.choice(several)

    def write(
        self, exam: str, planting: Planting, *, sides: tuple[str, str], sex: str, age: int, quiet: bool = False
    ) -> Written:
        """A report of this examination.

        Parameters
        ----------
        sides
            The examination's side and the other one.
        quiet
            Nothing harmless is told beside what is planted.
        """
        own = self.words["exams"][exam]
        described = self.words["exams"][planting.described_as or exam]
        side, other = sides
        places = {**side_places(side, other), **planting.places}
        parts, say, close = dict(planting.parts), list(planting.say), self._closing(own)
        if not parts and not say and not quiet and self.chance.random() < ASIDE:
            aside = self.chance.choice(own["aside"])
            # of an examination without a side, any
            aside_places = places if own.get("sided") else {**places, **side_places(*self.side())}
            parts = {aside["part"]: fill(aside["find"], aside_places)}
            say = [fill(aside["say"], aside_places)]
            close = aside.get("close", close)
        elif say:
            close = ""
        findings = [
            parts.get(name) or self.one(sentences)
            for name, sentences in described["parts"].items()
            if not planting.keep or name in planting.keep or name in parts
        ]
        conclusions = [*(say or [self.one(self.words["unremarkable"])]), *planting.advice, *([close] if close else [])]
        headings = {kind: self.one(several) for kind, several in self.words["headings"].items()}
        texts = {
            "indication": planting.indication or self._indication(own, sex, age),
            "technique": planting.technique or self.one(own["technique"]),
            "comparison": self._comparison(planting.compared),
            "findings": self._joined(findings),
            "impression": self._listed(conclusions),
        }
        sections = tuple((kind, headings[kind], fill(text, places)) for kind, text in texts.items())
        description = planting.description or self.one(own["description"])
        return Written(fill(description, places), sections)

    def _closing(self, exam: Mapping[str, Any]) -> str:
        return self.one(exam["closing"]) if "closing" in exam else ""

    def _indication(self, exam: Mapping[str, Any], sex: str, age: int) -> str:
        plain = self.one(exam["indication"])
        if self.chance.random() > AGED:
            return plain
        return fill(self.one(self.words["aged"]), {"indication": plain, "age": str(age), "person": self.person(sex)})

    def _comparison(self, day: dt.date | None) -> str:
        if day is None:
            return self.one(self.words["comparison"])
        form = "{d:%Y-%m-%d}" if self.language == "zh" else self.chance.choice(["{d:%Y-%m-%d}", "{d:%B %d, %Y}"])
        return fill(self.one(self.words["compared"]), {"date": form.format(d=day)})

    def _joined(self, sentences: Iterable[str]) -> str:
        return self.chance.choice([str(self.words["between"]), "\n"]).join(sentences)

    def _listed(self, sentences: Sequence[str]) -> str:
        if len(sentences) == 1 or self.chance.random() < 0.5:
            return str(self.words["between"]).join(sentences)
        return "\n".join(f"{n}. {text}" for n, text in enumerate(sentences, start=1))


def fill(pattern: str, places: Mapping[str, str]) -> str:
    """`pattern` with its places filled; those that `places` doesn't name stay."""
    for name, value in places.items():
        pattern = pattern.replace("{" + name + "}", value)
    return pattern


def side_places(side: str, other: str) -> dict[str, str]:
    """What fills the places that name a side."""
    return {
        "side": side,
        "Side": side.capitalize(),
        "SIDE": {"右": "RT", "左": "LT"}.get(side, side.upper()),
        "other": other,
        "Other": other.capitalize(),
    }
