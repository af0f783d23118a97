"""Which character set an object's text is in (PS3.5 6.1), decided on raw bytes and over the whole object.

What (0008,0005) declares is often wrong, missing or misspelt, so it is one witness among several. In this order:

1. escape sequences of ISO 2022 that decode throughout, whatever is declared;
2. strict UTF-8: bytes that happen to be valid UTF-8 and are something else hardly exist;
3. what is declared, if it decodes strictly and the result makes sense where it stands;
4. the best of a configured list of fallbacks, by `plausibility`;
5. whichever of these needs the fewest replacement characters.

An object without a byte above 0x7F needs no decision. Statistical detectors aren't used: they change right Latin-1.
"""

import re
from codecs import getincrementaldecoder, lookup
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from dicomnlp.errors import UsageError
from dicomnlp.extract.character_terms import MULTI_BYTE_CODECS, WINDOWS_FORMS, codec_of
from dicomnlp.extract.elements import CODE_SEQUENCES, DataSet
from dicomnlp.extract.iso2022 import ESCAPE, decode_iso2022
from dicomnlp.extract.plausibility import plausibility
from dicomnlp.model import CharacterSet

DEFAULT_FALLBACKS = ("gb18030", "cp1252")
"""Tried where nothing else fits: Chinese systems that declare Latin-1, and Western ones that declare nothing."""

SPECIFIC_CHARACTER_SET = 0x00080005
_TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
"""What no text value may hold (PS3.5 6.1.3) and `hygiene.printable` removes; ESC has its own rules."""
_SAMPLE = 64 * 1024
"""Bytes of text that plausibility is judged on; decoding is checked on all of it."""
_LAST_RESORT = "cp1252"
_MARGIN = 0.2
"""By how much a fallback must be more plausible than what is declared and decodes."""

Declared = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Decision:
    codec: str
    """A Python codec, or "iso2022"."""
    confidence: float
    warnings: tuple[str, ...] = ()
    initial_g1: str | None = None
    other_g1: str | None = None
    is_mixed: bool = False
    """Some values are UTF-8, and decoded as such."""


class CharacterSets:
    """The decisions about one object: one for each value of (0008,0005) that it or its items hold."""

    def __init__(self, declared: Declared, decisions: dict[Declared, _Decision], *, has_controls: bool = False) -> None:
        self.declared = declared
        self._decisions = decisions
        self._has_controls = has_controls

    @classmethod
    def of(
        cls, elements: DataSet, fallbacks: Sequence[str] = DEFAULT_FALLBACKS, override: str | None = None
    ) -> "CharacterSets":
        """Decide for a scanned data set.

        Parameters
        ----------
        elements
            The data set, nested ones included.
        fallbacks
            Python codecs to choose from where neither the declared one nor UTF-8 fits, likeliest first.
        override
            What the text is in, whatever it declares: a defined term or a Python codec.

        Raises
        ------
        UsageError
            `override` names no character set.
        """
        declared = declared_in(elements) or ()
        stated = stated_codecs(override) if override is not None else None
        values: dict[Declared, list[bytes]] = {declared: []}
        has_controls = False
        for scope, value in _text_values(elements, declared):
            has_controls = has_controls or _CONTROL.search(value.rstrip(b" \0")) is not None
            if not value.isascii() or b"\x1b" in value:
                values.setdefault(scope, []).append(value)
        if stated is not None:
            decisions = {scope: _obey(stated, found) for scope, found in values.items()}
        else:
            decisions = {scope: _decide(scope, found, fallbacks) for scope, found in values.items()}
        return cls(declared, decisions, has_controls=has_controls)

    def decode(self, value: bytes, declared: Declared | None = None) -> str:
        """The text of `value` without padding; `declared` is that of the item it stands in, if it has its own."""
        value = value.rstrip(b" \0")
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii")
        decision = self._decisions.get(self.declared if declared is None else declared)
        if decision is None:
            decision = _decide(declared or (), [value], DEFAULT_FALLBACKS)
        return _decode(value, decision)

    @property
    def summary(self) -> CharacterSet:
        """What is declared at the top, and what was used, at the lowest confidence that any part of the text has."""
        worst = min(self._decisions.values(), key=lambda decision: decision.confidence)
        used = worst.codec
        if used == "iso2022":
            used = "\\".join(("iso2022", *self.declared))
        return CharacterSet(self.declared, used, worst.confidence)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Stable codes of what was wrong with the declaration, or with the text itself."""
        found = dict.fromkeys(w for decision in self._decisions.values() for w in decision.warnings)
        return (*found, "control_characters_removed") if self._has_controls else tuple(found)


def declared_in(elements: DataSet) -> Declared | None:
    """The values of (0008,0005) in this data set or item; None when it has none of its own."""
    element = elements.get(SPECIFIC_CHARACTER_SET)
    if element is None:
        return None
    text = element.value.decode("ascii", "replace").strip("\0 ")
    return tuple(term.strip("\0 ") for term in text.split("\\")) if text else ()


def codec_of_undeclared(value: bytes) -> str:
    """The likeliest codec of text that declares none, or "iso2022"; for documents within an object."""
    return _decide((), [value], DEFAULT_FALLBACKS).codec


def decode_document(
    value: bytes, declared: Declared, fallbacks: Sequence[str] = DEFAULT_FALLBACKS, override: str | None = None
) -> tuple[str, CharacterSet, tuple[str, ...]]:
    """A document that declares its character set itself, and isn't a DICOM data set: text, what was used, warnings.

    Parameters
    ----------
    value
        All of it.
    declared
        Names of character sets; none when it declares none.
    fallbacks, override
        As of `CharacterSets.of`.

    Raises
    ------
    UsageError
        `override` names no character set.
    """
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii"), CharacterSet(declared, "ascii", 1.0), ()
    decision = _obey(stated_codecs(override), [value]) if override else _decide(declared, [value], fallbacks)
    return _decode(value, decision), CharacterSet(declared, decision.codec, decision.confidence), decision.warnings


def stated_codecs(override: str) -> tuple[str, ...]:
    """The codecs that an override names: a defined term, several joined by backslash, or a Python codec.

    Raises
    ------
    UsageError
        It names none.
    """
    found = []
    for term in override.split("\\"):
        codec = codec_of(term) if term.strip() or "\\" in override else None
        if codec is None:
            try:
                codec = lookup(term.strip()).name
                "".encode(codec)
            except (LookupError, ValueError):
                raise UsageError("The character set is neither a defined term of DICOM nor a Python codec.") from None
        found.append(codec)
    return tuple(dict.fromkeys(found))


def _obey(stated: Sequence[str], values: Sequence[bytes]) -> _Decision:
    """What somebody states is followed as far as the bytes allow; 0 confidence when they don't."""
    if len(stated) > 1 or any(ESCAPE.search(value) for value in values):
        decision = _decide_iso2022(stated, values, ())
        if decision is not None:
            return decision
    fits = _decodes(stated[0], values)
    return _Decision(stated[0], 1.0 if fits else 0.0, () if fits else ("undecodable_text",))


def _text_values(elements: DataSet, declared: Declared) -> Iterator[tuple[Declared, bytes]]:
    """Every text value with the declaration that holds for it (PS3.3 C.12.1.1.2: an item may have its own)."""
    stack = [(elements, declared)]
    seen: set[tuple[int, Declared]] = set()
    while stack:
        current, scope = stack.pop()
        for tag, element in current.items():
            if element.items is not None:
                if tag in CODE_SEQUENCES:
                    # equal codes are one object
                    if (id(element), scope) in seen:
                        continue
                    seen.add((id(element), scope))
                for item in element.items:
                    own = declared_in(item)
                    stack.append((item, scope if own is None else own))
            elif element.vr in _TEXT_VRS:
                yield scope, element.value


def _decide(declared: Declared, values: Sequence[bytes], fallbacks: Sequence[str]) -> _Decision:
    """The decision for values that share a declaration; those that are UTF-8 among others that aren't stand aside."""
    decision = _decide_as_one(declared, values, fallbacks)
    if decision.codec in {"iso2022", "utf_8", "ascii"} or _decodes("utf_8", values):
        return decision
    others = [value for value in values if not _is_utf_8_among(decision.codec, value)]
    if len(others) == len(values):
        return decision
    rest = _decide_as_one(declared, others, fallbacks)
    if rest.codec == "iso2022":
        return decision
    warnings = dict.fromkeys([*rest.warnings, "mixed_character_sets"])
    return replace(rest, confidence=min(rest.confidence, 0.7), warnings=tuple(warnings), is_mixed=True)


def _is_utf_8_among(codec: str, value: bytes) -> bool:
    """Whether `value` is in UTF-8, though what stands beside it is in `codec`."""
    if value.isascii() or ESCAPE.search(value):
        return False
    try:
        text = value.decode("utf_8")
    except UnicodeDecodeError:
        return False
    # two characters of a multi-byte set may look like three of UTF-8; letters of a single-byte one hardly do
    return codec not in MULTI_BYTE_CODECS or plausibility(text) > plausibility(value.decode(codec, "replace")) + _MARGIN


def _decide_as_one(declared: Declared, values: Sequence[bytes], fallbacks: Sequence[str]) -> _Decision:
    known = [(term, codec_of(term)) for term in declared]
    warnings = ["unknown_character_set"] if any(codec is None for _, codec in known) else []
    codecs = list(dict.fromkeys(codec for _, codec in known if codec is not None))
    if not values:
        return _Decision(codecs[0] if codecs else "ascii", 1.0, tuple(warnings))

    if any(ESCAPE.search(value) for value in values):
        decision = _decide_iso2022(codecs, values, warnings)
        if decision is not None:
            return decision
        warnings.append("invalid_code_extension")
        values = [ESCAPE.sub(b"", value) for value in values]

    sample = _sample(values)
    declared_codecs = [codec for codec in codecs if codec != "ascii"]
    if len(declared_codecs) == 1 and declared_codecs[0] in WINDOWS_FORMS:
        declared_codecs.append(WINDOWS_FORMS[declared_codecs[0]])
    scored = [(codec, _score(codec, values, sample)) for codec in declared_codecs if codec != "utf_8"]

    if _decodes("utf_8", values):
        if "utf_8" in codecs:
            return _Decision("utf_8", 1.0, tuple(warnings))
        utf_8 = plausibility(sample.decode("utf_8", "ignore"))
        if not any(codec in MULTI_BYTE_CODECS and score >= utf_8 for codec, score in scored):
            warnings.append("character_set_mismatch" if declared_codecs else "character_set_undeclared")
            return _Decision("utf_8", 0.9, tuple(warnings))

    best, best_score = max(scored, key=lambda pair: pair[1], default=("", -1.0))
    if best_score < 0.9:
        guesses = [(codec, _score(codec, values, sample)) for codec in fallbacks]
        if _LAST_RESORT not in fallbacks:
            # where no fallback fits well, Western letters are better than replacement characters or rare ideographs
            guesses.append((_LAST_RESORT, _score(_LAST_RESORT, values, sample) - _MARGIN))
        guess, guess_score = max(guesses, key=lambda pair: pair[1], default=("", -1.0))
        nearly = _nearly(["utf_8", *declared_codecs], values) if best_score < 0 else None
        if nearly is not None:
            return _Decision(nearly, 0.0, (*warnings, "undecodable_text"))
        if guess_score > best_score + _MARGIN or (best_score < 0 <= guess_score):
            warnings.append("character_set_mismatch" if declared_codecs else "character_set_undeclared")
            return _Decision(guess, round(0.3 + 0.5 * guess_score, 2), tuple(warnings))
    if best_score >= 0:
        if best != codecs[0] and len(codecs) > 1:
            return _Decision(best, 0.8, (*warnings, "missing_code_extension"))
        if best != codecs[0]:
            return _Decision(best, 0.9, (*warnings, "character_set_mismatch"))
        return _Decision(best, 1.0 if best_score >= 0.5 else 0.8, tuple(warnings))
    least_bad = min(["utf_8", *declared_codecs, *fallbacks], key=lambda codec: _replacements(codec, values))
    return _Decision(least_bad, 0.0, (*warnings, "undecodable_text"))


def _decide_iso2022(codecs: Sequence[str], values: Sequence[bytes], warnings: Sequence[str]) -> _Decision | None:
    """The decision for text with escape sequences; None when they lead nowhere."""
    first = codecs[0] if codecs else "ascii"
    initial = None if first in {"ascii", "utf_8"} or first in MULTI_BYTE_CODECS - {"shift_jis"} else first
    other = next((codec for codec in codecs if codec in MULTI_BYTE_CODECS), None)
    try:
        for value in values:
            decode_iso2022(value, initial, other)
    except UnicodeError:
        return None
    if len(codecs) > 1 or first in MULTI_BYTE_CODECS:
        return _Decision("iso2022", 1.0, tuple(warnings), initial, other)
    return _Decision("iso2022", 0.8, (*warnings, "undeclared_code_extension"), initial, other)


def _decode(value: bytes, decision: _Decision) -> str:
    if decision.codec == "iso2022":
        try:
            return decode_iso2022(value, decision.initial_g1, decision.other_g1)
        except UnicodeError:
            return ESCAPE.sub(b"", value).decode(decision.other_g1 or decision.initial_g1 or "ascii", "replace")
    if decision.is_mixed and _is_utf_8_among(decision.codec, value):
        return value.decode("utf_8").lstrip("\ufeff")
    # escape sequences that no rule explains are left out: they are no part of the text
    return ESCAPE.sub(b"", value).decode(decision.codec, "replace").lstrip("\ufeff")


def _sample(values: Iterable[bytes]) -> bytes:
    parts: list[bytes] = []
    size = 0
    for value in values:
        parts.append(value[: _SAMPLE - size])
        size += len(parts[-1])
        if size >= _SAMPLE:
            break
    return b"\n".join(parts)


def _decodes(codec: str, values: Iterable[bytes]) -> bool:
    try:
        for value in values:
            value.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _score(codec: str, values: Sequence[bytes], sample: bytes) -> float:
    """Plausibility of `values` in `codec`, -1 when they aren't valid in it."""
    if not _decodes(codec, values):
        return -1.0
    return plausibility(sample.decode(codec, "ignore"))


def _replacements(codec: str, values: Iterable[bytes]) -> int:
    return sum(value.decode(codec, "replace").count("\ufffd") for value in values)


def _nearly(codecs: Iterable[str], values: Sequence[bytes]) -> str | None:
    """A codec in which all but a stray byte or two is valid: a value cut within a character spoils no other."""
    for codec in codecs:
        bad = good = 0
        for value in values:
            # UTF-8 that is cut within its last character is UTF-8 beyond doubt
            decoder = getincrementaldecoder(codec)("replace")
            text = decoder.decode(value, final=codec != "utf_8")
            bad += text.count("\ufffd")
            good += sum(c >= "\x80" for c in text if c != "\ufffd")
        if good and good >= 10 * bad:
            return codec
    return None
