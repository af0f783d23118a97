"""What annotation tools call an assertion, and which assertion a span's attributes make together."""

from collections.abc import Iterable, Mapping

from dicomnlp.errors import UsageError
from dicomnlp.learn.gold import SYNONYMS
from dicomnlp.model import Assertion, Laterality

_NAMES = {
    Assertion.FAMILY: ("family", "isfamily", "familyhistory"),
    Assertion.HYPOTHETICAL: ("hypothetical", "ishypothetical", "conditional", "isconditional"),
    Assertion.ABSENT: ("negation", "negated", "isnegated", "negative", "negex", "absent"),
    Assertion.HISTORICAL: ("historical", "ishistorical", "history", "past"),
    Assertion.POSSIBLE: (
        "uncertainty",
        "uncertain",
        "isuncertain",
        "possible",
        "speculation",
        "speculated",
        "hedge",
        "hedged",
    ),
}
"""Attributes that are flags, under each assertion; first come those that outweigh the later ones."""
_VALUED: dict[str, dict[str, Assertion | None]] = {
    "assertion": {**SYNONYMS, "associatedwithsomeoneelse": Assertion.FAMILY},
    "status": {**SYNONYMS},
    "certainty": {
        "certain": None, "definite": None, "positive": None, "probable": Assertion.POSSIBLE,
        "uncertain": Assertion.POSSIBLE, "possible": Assertion.POSSIBLE, "low": Assertion.POSSIBLE,
        "negative": Assertion.ABSENT, "negated": Assertion.ABSENT, "absent": Assertion.ABSENT,
        "hypothetical": Assertion.HYPOTHETICAL,
    },
    "polarity": {"positive": None, "affirmed": None, "negative": Assertion.ABSENT, "negated": Assertion.ABSENT},
    "temporality": {
        "current": None, "recent": None, "historical": Assertion.HISTORICAL, "past": Assertion.HISTORICAL,
        "hypothetical": Assertion.HYPOTHETICAL, "future": Assertion.HYPOTHETICAL,
    },
    "experiencer": {
        "patient": None, "self": None, "family": Assertion.FAMILY, "familymember": Assertion.FAMILY,
        "other": Assertion.FAMILY,
    },
}  # fmt: skip
"""Attributes with a value, and what each value says; None says nothing against "present"."""
_ALIASES = {"existence": "status", "subject": "experiencer", "temporal": "temporality", "assertionstatus": "assertion"}
_YES = frozenset({"true", "yes", "1", "negated", "negative", "uncertain", "possible", "historical", "hypothetical"})
_NO = frozenset({"false", "no", "0", "", "none", "affirmed", "positive", "certain"})


def assertion_of(attributes: Mapping[str, object]) -> Assertion:
    """The assertion that `attributes` (name -> value; True for a bare flag) make together; present if none speaks.

    Where several speak, family outweighs hypothetical, absent, historical and possible, in this order.

    Raises
    ------
    UsageError
        An attribute that is known has a value that isn't.
    """
    said = set(_said(attributes))
    return next((a for a in _NAMES if a in said), Assertion.PRESENT)


def laterality_of(attributes: Mapping[str, object]) -> Laterality | None:
    """The value of an attribute Laterality or Side."""
    for name, value in attributes.items():
        if _plain(name) in {"laterality", "side"} and _plain(value) in set(Laterality):
            return Laterality(_plain(value))
    return None


def _said(attributes: Mapping[str, object]) -> Iterable[Assertion]:
    for name, value in attributes.items():
        key, word = _plain(name), _plain(value)
        key = _ALIASES.get(key, key)
        if key in _VALUED:
            if word not in _VALUED[key]:
                raise UsageError(f"attribute {name} has an unknown value; known are {', '.join(_VALUED[key])}")
            said = _VALUED[key][word]
            if said is not None:
                yield said
            continue
        for assertion, names in _NAMES.items():
            if key in names:
                if word not in _YES | _NO:
                    raise UsageError(f"attribute {name} has an unknown value; known are true and false")
                if word in _YES:
                    yield assertion


def _plain(value: object) -> str:
    """A name or value without case, spaces, hyphens and underscores."""
    return "".join(c for c in str(value).lower() if c.isalnum())
