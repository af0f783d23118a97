"""Dates in a text, in the forms of English, Chinese and German reports, and the same date a while earlier."""

import datetime as dt
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

_ENGLISH = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_GERMAN = (
    "Januar", "Februar", "Marz", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November",
    "Dezember",
)  # fmt: skip
"""Folded: März is Marz, see `folding`."""
_NUMBER_OF = {
    spelt.casefold(): number
    for months in (_ENGLISH, _GERMAN)
    for number, month in enumerate(months, 1)
    for spelt in (month, month[:3], *(("Sept",) if number == 9 else ()), *(("Maerz", "Mrz") if number == 3 else ()))
}
_MONTH = "(?P<month>(?i:" + "|".join(sorted(_NUMBER_OF, key=len, reverse=True)) + r"))(?![A-Za-z])\.?"
_DAY = r"(?P<day>\d{1,2})(?P<ordinal>(?i:st|nd|rd|th)?)"
_YEAR = r"(?P<year>(?:19|20)\d{2})(?!\d)"
_UNITS = r"(?!\s*(?:mm|cm|m[lL]|cc|kg|mg|HU|%|x\s?\d|×|\d|\.\d))"
_HAN_DIGITS = "〇一二三四五六七八九"
_HAN = f"[零{_HAN_DIGITS}]"


@dataclass(frozen=True, slots=True)
class DateMention:
    """A date in a text."""

    start: int
    end: int
    date: dt.date
    """Of a month without day its fifteenth."""
    write: Callable[[dt.date], str]
    """Another date in the form of this one."""


_Found = tuple[dt.date, Callable[[dt.date], str]]


def find_dates(text: str, known: Collection[dt.date] = (), year: int | None = None) -> list[DateMention]:
    """The dates in folded `text`, in their order; of what overlaps the longest.

    Parameters
    ----------
    known
        Dates of the object's header: they tell whether days or months come first in what could be either.
    year
        Of the study: that of dates that name none; without it these are left out.
    """
    found: list[DateMention] = []
    day_first = _is_day_first(text, known)
    for pattern, read in _FORMS:
        for match in pattern.finditer(text):
            for date, write in read(match, day_first, year):
                found.append(DateMention(*match.span(), date, write))
    found.sort(key=lambda m: (m.start, -m.end))
    kept: list[DateMention] = []
    for mention in found:
        if not kept or mention.start >= kept[-1].end:
            kept.append(mention)
    return kept


def _is_day_first(text: str, known: Collection[dt.date]) -> bool | None:
    """Whether 3/4/2026 is the third of April here; None when nothing tells."""
    votes = 0
    for match in _NUMERIC.finditer(text):
        first, second = int(match["first"]), int(match["second"])
        if first == second:
            continue
        year = _full_year(match["year"])
        as_day = _date(year, second, first)
        as_month = _date(year, first, second)
        # one reading only, or one that is a date of the header
        votes += (as_day is not None) - (as_month is not None)
        votes += 2 * ((as_day in known) - (as_month in known))
    return votes > 0 if votes else None


def _date(year: int, month: int, day: int) -> dt.date | None:
    try:
        return dt.date(year, month, day)
    except ValueError:
        return None


def _full_year(text: str) -> int:
    number = int(text)
    if len(text) > 2:
        return number
    return number + (2000 if number < 70 else 1900)


def _padded(number: int, like: str) -> str:
    """`number` with at least as many digits as `like` has."""
    return str(number).zfill(len(like))


def _plain(number: int, like: str) -> str:
    """`number` with a leading zero only where `like` has one."""
    return _padded(number, like) if like.startswith("0") else str(number)


def _year_like(year: int, like: str) -> str:
    return f"{year % 100:02d}" if len(like) == 2 else f"{year:04d}"


def _numeric(match: re.Match[str], day_first: bool | None, _year: int | None) -> Iterator[_Found]:
    first, second, year = match["first"], match["second"], match["year"]
    mark = match["mark"]
    days = day_first if day_first is not None else mark == "."
    readings = [(second, first), (first, second)] if days else [(first, second), (second, first)]
    for month, day in readings:
        date = _date(_full_year(year), int(month), int(day))
        if date is not None:
            is_days = (month, day) == (second, first) and (days or first != second)

            def write(other: dt.date, *, is_days: bool = is_days) -> str:
                one, two = (other.day, other.month) if is_days else (other.month, other.day)
                return f"{_padded(one, first)}{mark}{_padded(two, second)}{mark}{_year_like(other.year, year)}"

            yield date, write
            return


def _ordered(match: re.Match[str], _day_first: bool | None, _year: int | None) -> Iterator[_Found]:
    date = _date(int(match["year"]), int(match["second"]), int(match["third"]))
    if date is not None:
        mark = match["mark"]
        yield (
            date,
            lambda d: f"{d.year:04d}{mark}{_padded(d.month, match['second'])}{mark}{_padded(d.day, match['third'])}",
        )


def _of_month(match: re.Match[str], _day_first: bool | None, _year: int | None) -> Iterator[_Found]:
    """Numbers of a year and a month."""
    date = _date(int(match["year"]), int(match["second"]), 15)
    if date is not None:
        second = match["second"]
        text, start = match[0], match.start()
        year_at, second_at = match.start("year") - start, match.start("second") - start

        def write(d: dt.date) -> str:
            parts = {year_at: (4, f"{d.year:04d}"), second_at: (len(second), _padded(d.month, second))}
            written, at = [], 0
            for place in sorted(parts):
                length, number = parts[place]
                written += [text[at:place], number]
                at = place + length
            return "".join([*written, text[at:]])

        yield date, write


def _without_year(match: re.Match[str], day_first: bool | None, year: int | None) -> Iterator[_Found]:
    if year is None:
        return
    first, second = match["first"], match["second"]
    is_days = bool(day_first)
    month, day = (second, first) if is_days else (first, second)
    date = _date(year, int(month), int(day))
    if date is not None:
        before = match[0][: match.start("first") - match.start()]

        def write(d: dt.date) -> str:
            one, two = (d.day, d.month) if is_days else (d.month, d.day)
            return f"{before}{_padded(one, first)}/{_padded(two, second)}"

        yield date, write


def _named(match: re.Match[str], _day_first: bool | None, year: int | None) -> Iterator[_Found]:
    """A month by its name, with a day, a year, or both."""
    groups = match.groupdict()
    day = groups.get("day")
    year_group = "short" if groups.get("short") else "year"
    spelt_year = groups.get(year_group)
    used = _full_year(spelt_year) if spelt_year else year
    if used is None:
        return
    date = _date(used, _NUMBER_OF[match["month"].casefold()], int(day) if day else 15)
    if date is None:
        return

    def write(d: dt.date) -> str:
        written, at = [], match.start()
        parts = {"month": _month_like(d.month, match["month"])}
        if day:
            parts["day"] = _padded(d.day, day)
            parts["ordinal"] = _ordinal(d.day) if match["ordinal"] else ""
        if spelt_year:
            parts[year_group] = _year_like(d.year, spelt_year)
        for name in sorted(parts, key=match.start):
            written += [match.string[at : match.start(name)], parts[name]]
            at = match.end(name)
        return "".join([*written, match.string[at : match.end()]])

    yield date, write


def _month_like(number: int, like: str) -> str:
    plain = like.casefold()
    of_german = plain not in {m.casefold() for m in _ENGLISH} | {m[:3].casefold() for m in _ENGLISH} | {"sept"}
    full = (_GERMAN if of_german else _ENGLISH)[number - 1]
    is_short = len(like) <= 4 and plain not in {"may", "june", "july", "mai", "juni", "juli", "marz"}
    made = full[:3] if is_short else full
    return made.upper() if like.isupper() else made.lower() if like.islower() else made


def _ordinal(day: int) -> str:
    return "th" if 11 <= day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _han_number(text: str) -> int:
    """A number to 39 in Chinese numerals."""
    tens, ten, ones = text.rpartition("十")
    value = 10 * (_HAN_DIGITS.index(tens) if tens else 1) if ten else 0
    return value + (_HAN_DIGITS.index(ones) if ones else 0)


def _write_han(number: int) -> str:
    tens, ones = divmod(number, 10)
    return ("" if not tens else ("" if tens == 1 else _HAN_DIGITS[tens]) + "十") + (_HAN_DIGITS[ones] if ones else "")


def _chinese(match: re.Match[str], _day_first: bool | None, year: int | None) -> Iterator[_Found]:
    groups = match.groupdict()
    spelt_year, day = groups.get("year"), groups.get("day")
    used = _full_year(spelt_year) if spelt_year else year
    if used is None:
        return
    date = _date(used, int(match["month"]), int(day) if day else 15)
    if date is None:
        return

    def write(d: dt.date) -> str:
        text = f"{_year_like(d.year, spelt_year)}年" if spelt_year else ""
        text += f"{_plain(d.month, match['month'])}月"
        return text + (f"{_plain(d.day, day)}{match['unit']}" if day else "")

    yield date, write


def _chinese_numerals(match: re.Match[str], _day_first: bool | None, _year: int | None) -> Iterator[_Found]:
    year = int("".join(str(_HAN_DIGITS.index(c)) for c in match["year"].replace("零", "〇")))
    day = match["day"]
    try:
        date = _date(year, _han_number(match["month"]), _han_number(day) if day else 15)
    except ValueError:
        return
    if date is None:
        return

    def write(d: dt.date) -> str:
        text = "".join(_HAN_DIGITS[int(c)] for c in f"{d.year:04d}") + f"年{_write_han(d.month)}月"
        return text + (f"{_write_han(d.day)}{match['unit']}" if day else "")

    yield date, write


_NUMERIC = re.compile(
    r"(?<![\d.])(?<!\d/)(?P<first>\d{1,2})(?P<mark>[/.\-])(?P<second>\d{1,2})(?P=mark)"
    r"(?P<year>(?:19|20)\d{2}|(?<=[/\-])\d{2}|(?<=\d\d\.)\d{2})(?![\d/\-])(?!\.\d)"
)
_Reader = Callable[[re.Match[str], bool | None, int | None], Iterator[_Found]]
_FORMS: tuple[tuple[re.Pattern[str], _Reader], ...] = (
    (
        re.compile(
            r"(?<![\d.])(?P<year>(?:19|20)\d{2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<third>\d{1,2})(?!\d)"
        ),
        _ordered,
    ),
    (
        # DA, and the date of DT
        re.compile(
            r"(?<![\d.])(?P<year>(?:19|20)\d{2})(?P<mark>)(?P<second>\d{2})(?P<third>\d{2})(?=(?:\d{4}|\d{6})?(?!\d))"
        ),
        _ordered,
    ),
    (_NUMERIC, _numeric),
    (re.compile(r"(?<![\d./\-])(?P<second>0?[1-9]|1[0-2])[/.](?P<year>(?:19|20)\d{2})(?![\d/\-])"), _of_month),
    (re.compile(r"(?<![\d./\-])(?P<year>(?:19|20)\d{2})[/\-](?P<second>0[1-9]|1[0-2])(?![\d/\-])"), _of_month),
    (
        re.compile(
            r"(?<!\w)(?i:on|dated|since|from)\s+(?P<first>\d{1,2})/(?P<second>\d{1,2})(?![\d/])(?!\s*(?:mm|cm))"
        ),
        _without_year,
    ),
    (re.compile(rf"(?<![A-Za-z]){_MONTH}[\s\-]{{0,2}}{_DAY}[\s,\-]{{1,3}}{_YEAR}"), _named),
    (
        re.compile(
            rf"(?<![\d.]){_DAY}\.?[\s\-/]{{0,2}}(?:of\s+)?{_MONTH}[\s,\-/]{{0,2}}(?:{_YEAR}|(?<=[\-/])(?P<short>\d{{2}})(?!\d))"
        ),
        _named,
    ),
    (re.compile(rf"(?<![A-Za-z]){_MONTH}[\s,]{{1,3}}(?:of\s+)?{_YEAR}"), _named),
    # "may" and "march" are words too, so a month without year has its capital
    (re.compile(rf"(?<![A-Za-z])(?=[A-Z]){_MONTH}\s{{1,2}}{_DAY}(?!\d){_UNITS}"), _named),
    (re.compile(rf"(?<![\d.,]){_DAY}\.?\s{{1,2}}(?:of\s+)?(?=[A-Z]){_MONTH}"), _named),
    (
        re.compile(
            r"(?<!\d)(?P<year>(?:19|20)?\d{2})\s?年\s?(?P<month>\d{1,2})\s?月(?:\s?(?P<day>\d{1,2})\s?(?P<unit>[日号號]))?"
        ),
        _chinese,
    ),
    (re.compile(r"(?<![\d年])(?P<month>\d{1,2})\s?月\s?(?P<day>\d{1,2})\s?(?P<unit>[日号號])"), _chinese),
    (
        re.compile(
            rf"(?P<year>{_HAN}{{4}})年(?P<month>[一二三四五六七八九十]{{1,2}})月"
            r"(?:(?P<day>[一二三四五六七八九十]{1,3})(?P<unit>[日号號]))?"
        ),
        _chinese_numerals,
    ),
)
