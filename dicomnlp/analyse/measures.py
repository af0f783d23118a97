"""Quantities in a sentence: sizes in one to three dimensions, ranges, lists, densities, volumes, ratios.

Lengths become millimetres. Numbers without a unit are no quantity, so series and image numbers, levels (L4-L5) and
sequences (T2) never are.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from dicomnlp.analyse.schema import MeasuresFile, UnitEntry
from dicomnlp.analyse.tokens import HAN, WORD, WORD_BEGINS, WORD_ENDS
from dicomnlp.model import Measurement, Temporality

_NUMBER = r"(?:(?<!\d )[-\u2212])?(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
_DIGIT = re.compile(r"\d")
_BEFORE_DIGIT = 2
"""Characters of a number before its first digit: "-.5"."""


class _Bounds(NamedTuple):
    """Where a word begins and ends, and where a number stands free."""

    word: str
    begins: str
    ends: str
    free: str


# a comma or colon before a number is the sentence's own ("Nodule,13 mm") unless a digit stands before it too
_SPACED = _Bounds(r"\w", r"(?<!\w)", r"(?!\w)", r"(?<![\w./])(?<!\d[,:])")
_UNSPACED = _Bounds(WORD, WORD_BEGINS, WORD_ENDS, rf"(?<![./])(?<!\d[,:])(?<!{WORD})")
"""Dearer to look for, so taken only where words aren't set apart."""


_LONGEST_DATE = 24
"""Characters before a quantity in which a date of it stands."""


@dataclass(frozen=True, slots=True)
class _Quantity:
    values: tuple[float, ...]
    unit: str
    kind: str
    start: int
    end: int


class MeasureReader:
    """Reads quantities by the words of one pack.

    Parameters
    ----------
    rules
        ``measures.toml`` of the pack.
    """

    def __init__(self, rules: MeasuresFile) -> None:
        self.rules = rules
        bounds = _UNSPACED if re.search(f"[{HAN}]", repr(rules)) else _SPACED
        self._units: dict[str, UnitEntry] = {}
        self._cased: dict[str, UnitEntry] = {}
        for entry in rules.units:
            for term in entry.terms:
                (self._cased if entry.cased else self._units)[_squeeze(term, cased=entry.cased)] = entry
        plain = _any([t for e in rules.units if not e.cased for t in e.terms])
        cased = _any([t for e in rules.units if e.cased for t in e.terms])
        unit = rf"(?:(?i:{plain})|{cased})(?!{bounds.word}|[/\u00b2\u00b3^])"
        number = bounds.free + _NUMBER
        follow = _NUMBER
        axes = rf"(?:\s*\(?(?i:{_any(rules.axes)})\)?){{0,2}}" if rules.axes else ""
        times = rf"\s*(?i:{_any(rules.times)})\s*"
        ranges = rf"\s*(?i:{_any(rules.ranges)})\s*"
        joins = rf"(?:\s*(?:{_any(rules.joins)}))+\s*" if rules.joins else r"(?!)"
        gap = r"[ \t\n\r-]{0,3}"
        units = rf"(?:{gap}(?P<u>{unit})\.?)?"
        self._first = re.compile(rf"(?P<n>{number}){units}{axes}")
        self._next = {
            "times": re.compile(rf"\.?{times}(?P<n>{follow}){units}{axes}"),
            "range": re.compile(rf"\.?{ranges}(?P<n>{follow}){units}{axes}"),
            "list": re.compile(rf"{gap}{joins}(?P<n>{follow}){units}{axes}"),
        }
        self._names = {_squeeze(term, cased=False): entry for entry in rules.names for term in entry.terms}
        names = _any([term for entry in rules.names for term in entry.terms])
        link = rf"(?:[\s(]*(?i:{_any(rules.links)}))*[\s(]*"
        bare = rf"(?P<n>{follow})(?!{bounds.word}|%)(?!{gap}{unit})"
        self._named = re.compile(rf"{bounds.begins}(?P<name>(?i:{names})){bounds.ends}{link}{bare}")
        again = rf"(?i:{_any([*rules.prior_before, *rules.current_before])})"
        self._again = re.compile(rf"[\s,(]*{again}{link}{bare}")
        self._not_after = re.compile(rf"\.?\s*(?i:{_any(rules.not_after)}){bounds.ends}") if rules.not_after else None
        self._joins = frozenset(word for word in rules.joins if word.isalpha())
        self._prior_before = _free(bounds, rules.prior_before)
        self._current_before = _free(bounds, rules.current_before)
        link = rf"(?:[\s(~]*(?i:{_any(rules.links)}){bounds.ends})*[\s(~]*"
        self._prior_links = re.compile(rf"{bounds.begins}(?i:{_any(rules.prior_links)}){bounds.ends}{link}\Z")
        dates = "|".join(f"(?:{date})" for date in rules.dates_after) or "(?!)"
        self._dated = re.compile(rf"[\s,(]*(?:{dates}){bounds.ends}")
        dates = "|".join(f"(?:{date})" for date in rules.dates_before) or "(?!)"
        self._dated_before = re.compile(rf"(?:{dates}){link}\Z")
        self._kinds = [(entry, _free(bounds, entry.before)) for entry in rules.kinds]
        self._prior_after = (
            re.compile(rf"\s*(?i:{_any(rules.prior_after)}){bounds.ends}") if rules.prior_after else None
        )
        self._bounds = {word.lower(): comparator for comparator, words in rules.bounds.items() for word in words}
        self._bound = re.compile(rf"{bounds.begins}(?P<bound>(?i:{_any(list(self._bounds))}))\s*\Z")
        self._distance_before = _free(bounds, rules.distance_before)
        after = _any(rules.distance_after)
        self._distance_after = re.compile(rf"\.?\s*(?i:{after}){bounds.ends}") if rules.distance_after else None
        self._change = re.compile(rf"{bounds.begins}(?i:{_any(rules.change_words)})") if rules.change_words else None
        self._from_to = [(_free(bounds, (a,)), _free(bounds, (b,))) for a, b in rules.from_to]
        self._then_now = [
            (re.compile(rf"{re.escape(a)}{link}\Z"), re.compile(rf"{re.escape(b)}{link}\Z")) for a, b in rules.then_now
        ]

    def read(self, text: str) -> tuple[Measurement, ...]:
        """The quantities that `text` states, in order; offsets are into `text`."""
        if not _DIGIT.search(text):
            return ()
        quantities = sorted([*self._quantities(text), *self._named_quantities(text)], key=lambda q: q.start)
        times = self._times(text, quantities)
        return tuple(
            Measurement(
                values=q.values,
                unit=q.unit,
                kind=self._kind(text, q),
                temporality=when,
                text=text[q.start : q.end],
                start=q.start,
                end=q.end,
                comparator=self._comparator(text, q),
            )
            for q, when in zip(quantities, times, strict=True)
        )

    def _times(self, text: str, quantities: list[_Quantity]) -> list[Temporality]:
        """When each of `quantities` was measured; what is joined to an older one is as old: "previously 9 and 4 mm"."""
        times: list[Temporality] = []
        for i, quantity in enumerate(quantities):
            time = self._temporality(text, quantity, quantities)
            between = text[quantities[i - 1].end : quantity.start].split() if i else []
            if i and times[-1] is Temporality.PRIOR and between and all(word in self._joins for word in between):
                time = Temporality.PRIOR
            times.append(time)
        return times

    def _quantities(self, text: str) -> Iterator[_Quantity]:
        at = 0
        while (digit := _DIGIT.search(text, at)) and (
            match := self._first.search(text, max(at, digit.start() - _BEFORE_DIGIT))
        ):
            chain = [match]
            shape = ""
            while True:
                options = [shape] if shape else ["times", "range", "list"]
                found = next(((o, m) for o in options if (m := self._next[o].match(text, chain[-1].end()))), None)
                if found is None or (found[0] == "range" and len(chain) > 1):
                    break
                shape = found[0]
                chain.append(found[1])
                if shape == "range" and self._turns(text, match.start(), text[chain[0].end() : found[1].start("n")]):
                    shape = "change"
                    break
            if shape == "change":
                # "grown from 4 to 7 mm": two quantities that may share a unit
                pair = self._quantity(text, chain, shape)
                if pair:
                    first, last = chain[0], chain[-1]
                    stop = first.end("u") if first["u"] else first.end("n")
                    yield replace(pair, values=pair.values[:1], end=stop)
                    yield replace(pair, values=pair.values[1:], start=last.start("n"))
                    at = pair.end
                    continue
            quantity = self._quantity(text, chain, shape)
            while quantity is None and len(chain) > 1:
                chain.pop()
                shape = shape if len(chain) > 1 else ""
                quantity = self._quantity(text, chain, shape)
            if quantity:
                yield quantity
                at = quantity.end
            else:
                at = match.end("n")

    def _named_quantities(self, text: str) -> Iterator[_Quantity]:
        """Quantities told by a name before them, with what they were before: "SUVmax 6.4 (previously 9.1)"."""
        for match in self._named.finditer(text):
            entry = self._names[_squeeze(match["name"], cased=False)]
            number: re.Match[str] | None = match
            while number:
                value = round(_number(number["n"]) * entry.factor, 6)
                yield _Quantity((value,), entry.unit, entry.kind, number.start("n"), number.end("n"))
                number = self._again.match(text, number.end("n"))

    def _turns(self, text: str, start: int, between: str) -> bool:
        """Whether the quantity at `start` is what something changed from, and `between` leads to what it is now."""
        before = text[max(0, start - 2 * self.rules.reach) : start].rstrip().lower()
        return any(
            before.endswith(first.lower()) and between.strip(" .").lower() == second.lower() and self._changes(before)
            for first, second in self.rules.from_to
        )

    def _changes(self, text: str) -> bool:
        return self._change is not None and self._change.search(text) is not None

    def _quantity(self, text: str, chain: Sequence["re.Match[str]"], shape: str) -> _Quantity | None:
        """The quantity of numbers that share or repeat a unit; None where the last has none."""
        last = chain[-1]
        if last["u"] is None:
            return None
        if self._not_after and self._not_after.match(text, last.end("u")):
            return None
        units = [self._unit(m["u"]) if m["u"] else None for m in chain]
        final = units[-1]
        assert final is not None
        if any(u is not None and u.kind != final.kind for u in units):
            return None
        if shape == "list" and any(units[:-1]):
            return None  # "0.9 cm, and 7 mm" are two quantities
        values: list[float] = []
        unit = final
        for match, own in zip(reversed(chain), reversed(units), strict=True):
            unit = own or unit
            values.insert(0, round(_number(match["n"]) * unit.factor, 6))
        return _Quantity(tuple(values), final.unit, final.kind, chain[0].start("n"), last.end("u"))

    def _unit(self, text: str) -> UnitEntry | None:
        return self._cased.get(_squeeze(text, cased=True)) or self._units.get(_squeeze(text, cased=False))

    def _kind(self, text: str, quantity: _Quantity) -> str:
        for entry, named in self._kinds:
            if entry.unit == quantity.unit and named and named.search(text, *self._reach(quantity.start)):
                return entry.kind
        if quantity.kind != "size" or len(quantity.values) > 1:
            return quantity.kind
        after = self._distance_after and self._distance_after.match(text, quantity.end)
        before = self._distance_before and self._distance_before.search(text, *self._reach(quantity.start))
        return "distance" if after or before else "size"

    def _reach(self, start: int) -> tuple[int, int]:
        return max(0, start - self.rules.reach), start

    def _comparator(self, text: str, quantity: _Quantity) -> str | None:
        """What kind of bound the words right before the quantity make it; None where it is the value itself."""
        low, high = self._reach(quantity.start)
        bound = self._bound.search(text[low:high])
        return self._bounds[" ".join(bound["bound"].lower().split())] if bound else None

    def _temporality(self, text: str, quantity: _Quantity, quantities: list[_Quantity]) -> Temporality:
        low, high = self._reach(quantity.start)
        low = max([low, *(q.end for q in quantities if q.end <= quantity.start)])
        prior = self._prior_before.search(text, low, high) if self._prior_before else None
        current = self._current_before.search(text, low, high) if self._current_before else None
        if prior and not (current and current.start() > prior.start()):
            return Temporality.PRIOR
        if self._prior_after and self._prior_after.match(text, quantity.end):
            return Temporality.PRIOR
        if self._prior_links.search(text[low:high]) or self._dated.match(text, quantity.end):
            return Temporality.PRIOR
        if self._dated_before.search(text[max(0, quantity.start - _LONGEST_DATE) : high]):
            return Temporality.PRIOR
        following = next((q.start for q in quantities if q.start > quantity.start and q.unit == quantity.unit), None)
        for first, second in self._from_to:
            opened = first.search(text, low, high) if first else None
            if not opened or following is None or second is None or not second.search(text, quantity.end):
                continue
            # "由10mm缩小至6mm" tells the change between the two
            if self._changes(text[max(0, low - 2 * self.rules.reach) : following]):
                return Temporality.PRIOR
        if self._then_and_now(text, quantity, quantities):
            return Temporality.PRIOR
        return Temporality.CURRENT

    def _then_and_now(self, text: str, quantity: _Quantity, quantities: list[_Quantity]) -> bool:
        """Whether a word that dates only in a pair stands right before it, and its other half before the next."""
        following = next((q for q in quantities if q.start > quantity.start and q.unit == quantity.unit), None)
        if following is None or not self._then_now:
            return False
        before = text[max(0, quantity.start - self.rules.reach) : quantity.start]
        between = text[quantity.end : following.start]
        return any(then.search(before) and now.search(between) for then, now in self._then_now)


def _free(bounds: _Bounds, words: Sequence[str]) -> "re.Pattern[str] | None":
    """A pattern for any of `words` standing free, None where there are none."""
    if not words:
        return None
    return re.compile(rf"{bounds.begins}(?i:{_any(words)}){bounds.ends}")


def _number(text: str) -> float:
    text = text.replace("\u2212", "-")
    if re.fullmatch(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", text):
        return float(text.replace(",", ""))
    return float(text.replace(",", "."))


def _any(words: Sequence[str]) -> str:
    """A pattern for any of `words`, longest first; white space in a word is any white space."""
    parts = sorted(set(words), key=lambda word: (-len(word), word))
    return "(?!)" if not parts else "(?:" + "|".join(r"\s*".join(map(re.escape, part.split())) for part in parts) + ")"


def _squeeze(text: str, *, cased: bool) -> str:
    squeezed = "".join(text.split())
    return squeezed if cased else squeezed.lower()
