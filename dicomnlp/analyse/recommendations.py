"""What a report asks to be done next: what, where, when, and how firmly.

A clause recommends where it says so ("is recommended"), where it asks for a procedure ("should be obtained", "consider
MRI"), or where it names one at its beginning with a time, a purpose or a condition ("Repeat CT in 6 months."). It
doesn't where the procedure is denied, or was recommended before.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dicomnlp.analyse.passages import Hit, Passage, Phrases
from dicomnlp.analyse.schema import AnatomyEntry, PackFile
from dicomnlp.analyse.statement_schema import RecommendationsFile, TimesFile, TimeUnit
from dicomnlp.model import Concept, Recommendation, RecommendationKind

_PROCEDURE, _SITE, _PERIOD = "procedure", "site", "period"
_NEEDED = frozenset({_PROCEDURE, "recommends", "whole"})
"""Kinds of phrases one of which a sentence that recommends has."""
_ASKING = frozenset({"recommends", "requests", "hedges", "imperatives"})
"""Kinds of phrases that ask for a procedure."""
_ASKS = _ASKING | {"options", "whole"}
"""Kinds of phrases without which a clause that tells what was or is recommends nothing."""
_NUMBERS_AT_MOST = 6
"""Members of a list of times: "at 3, 6, 12 and 24 months"."""
_LONGEST_NUMBER = 3
"""Digits of a number of days, weeks, months or years."""
_LIST_MARKS = frozenset({".", ")", "、", ":"})
"""After the number of an item in a list."""
_BACK = 4
"""Tokens before a time that are looked at for what bars it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A recommendation, and whether only its section makes it one."""

    recommendation: Recommendation
    named_only: bool
    """It names a procedure without asking for it: counts in the section of recommendations alone."""


@dataclass(frozen=True, slots=True)
class _Time:
    start: int
    end: int
    days: tuple[int, int]


class TimeReader:
    """Finds times to come, in tokens.

    Parameters
    ----------
    rules
        ``[times]`` of ``recommendations.toml``.
    """

    def __init__(self, rules: TimesFile) -> None:
        self._units: dict[str, TimeUnit] = {w.lower(): unit for unit, words in rules.units.items() for w in words}
        self._numbers = {word.lower(): value for word, value in rules.numbers.items()}
        self._joins = frozenset(rules.joins)
        self._lists = frozenset(rules.lists)
        self._leads = frozenset(rules.leads)
        self._bars = frozenset(rules.bars)
        self._bars_after = frozenset(rules.bars_after)

    def find(self, words: Sequence[str]) -> Iterator[_Time]:
        """Times in `words`, in order; those that are past or a duration are left out."""
        at = 0
        while at < len(words):
            read = self._read(words, at) if words[at][0].isdigit() or words[at] in self._numbers else None
            if read is None:
                at += 1
                continue
            if not self._barred(words, read):
                yield read
            at = read.end

    def _number(self, word: str) -> float | None:
        if word[0].isdigit():
            whole = word.replace(".", "", 1)
            return float(word) if whole.isascii() and whole.isdigit() and len(whole) <= _LONGEST_NUMBER else None
        return self._numbers.get(word)

    def _read(self, words: Sequence[str], start: int) -> _Time | None:
        """The time whose first number is at `start`: numbers with joins between them, then a unit."""
        first = self._number(words[start])
        if first is None:
            return None
        values = [first]
        joins = self._joins
        if start and words[start - 1] in self._leads:
            joins |= self._lists  # elsewhere "category 3, 6 months" would be one list
        at = start + 1
        while at < len(words) and len(values) <= _NUMBERS_AT_MOST:
            for end in (at + 1, at + 2):  # "小时" is two tokens
                unit = self._units.get("".join(words[at:end]))
                if unit is not None:
                    days = sorted(_days(value, unit) for value in values)
                    return _Time(start, end, (days[0], days[-1]))
            value = self._number(words[at])
            if value is not None and (words[at - 1] in joins or words[at - 1] == "("):
                values.append(value)
            elif words[at] not in joins and words[at] not in "()":
                return None
            at += 1
        return None

    def _barred(self, words: Sequence[str], time: _Time) -> bool:
        after = words[time.end : time.end + 2]
        # "6周后来院": what bars it would stand at once behind it
        if not self._bars_after.isdisjoint(after[:1] if after and after[0] in self._leads else after):
            return True
        for word in reversed(words[max(0, time.start - _BACK) : time.start]):
            if word in self._leads:
                return False
            if word in self._bars:
                return True
        return False


def _days(value: float, unit: TimeUnit) -> int:
    """`value` units in days; twelve months are a year, other months have 30 days."""
    if unit == "hour":
        return math.ceil(value / 24)
    if unit == "month":
        years, months = divmod(value, 12)
        return round(years * 365 + months * 30)
    return round(value * {"day": 1, "week": 7, "year": 365}[unit])


class RecommendationReader:
    """Reads by the words of one pack.

    Parameters
    ----------
    rules
        ``recommendations.toml``.
    about
        ``pack.toml``.
    anatomy
        ``anatomy.toml``.
    sites
        Public forms of its entries.
    """

    def __init__(
        self,
        rules: RecommendationsFile,
        about: PackFile,
        anatomy: Mapping[str, AnatomyEntry],
        sites: Mapping[str, Concept],
    ) -> None:
        self._procedures = rules.procedures
        phrases = {name: getattr(rules.phrases, name) for name in type(rules.phrases).model_fields}
        self._sets = {name: frozenset(phrases.pop(name)) for name in ("breaks", "boundaries", "connects")}
        self._sets["leads"] = frozenset(rules.times.leads)
        entries = [(kind, 0, words) for kind, words in phrases.items()]
        entries += [(_PROCEDURE, i, entry.terms) for i, entry in enumerate(rules.procedures)]
        entries += [(_PERIOD, i, period.terms) for i, period in enumerate(rules.times.periods)]
        self._phrases = Phrases("recommendations.toml", entries, needed=_NEEDED)
        self.signs = self._phrases.signs
        self._periods = [period.days for period in rules.times.periods]
        self._identifiers = list(anatomy)
        self._anatomy = sites
        terms = [[*e.terms, *filter(None, map(about.plural, e.terms)), *e.cased] for e in anatomy.values()]
        self._sites = Phrases("anatomy.toml", [(_SITE, i, words) for i, words in enumerate(terms)])
        self._times = TimeReader(rules.times)

    def read(self, passage: Passage) -> tuple[Request, ...]:
        """What `passage`, one sentence, asks for; offsets are into it."""
        hits = self._phrases.find(passage.words)
        kinds = {hit.kind for hit in hits}
        if "inapplicable" in kinds or kinds.isdisjoint(_NEEDED):
            return ()
        sites: Sequence[Hit] | None = None
        found: list[Request] = []
        for start, end in self._clauses(passage.words):
            inside = [h for h in hits if start <= h.start and h.end <= end]
            said = {h.kind for h in inside}
            if said.isdisjoint(_NEEDED) or (said.isdisjoint(_ASKS) and ("refusals" in said or _reports(inside))):
                continue
            sites = self._sites.find(passage.words) if sites is None else sites
            clause = _Clause(passage, (start, end), inside, sites, self._times, self._periods, self._sets)
            kind = self._judge(clause)
            if kind is not None:
                found += self._requests(clause, *kind)
        return tuple(found)

    def _clauses(self, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        start = _after_number(words)
        for i, word in enumerate(words):
            if word in self._sets["breaks"]:
                if i > start:
                    yield start, i
                start = i + 1
        if start < len(words):
            yield start, len(words)

    def _judge(self, clause: "_Clause") -> tuple[RecommendationKind, bool] | None:
        """How the clause recommends, and whether only its section can make it so; None where it doesn't."""
        hits = clause.hits
        refused = max((h.end for h in hits if h.kind == "refusals"), default=None)
        live = clause.live
        if refused is not None:
            # "MRI isn't needed, CT is recommended": what follows a refusal still counts
            hits = [h for h in hits if h.start >= refused]
            live = [h for h in live if h.start >= refused]
        said = [h for h in hits if h.kind in ("recommends", "whole")]
        denied = bool(clause.denied) and not live
        kinds = {h.kind for h in hits}
        if said and not denied:
            if clause.quotes_guideline(said[0]):
                return RecommendationKind.GUIDELINE, False
            return (RecommendationKind.OPTIONAL if "options" in kinds else RecommendationKind.RECOMMENDED), False
        if not live:
            return None
        for kind, answer in (
            ("options", RecommendationKind.OPTIONAL),
            ("requests", RecommendationKind.RECOMMENDED),
            ("hedges", RecommendationKind.HEDGED),
        ):
            if kind in kinds:
                return answer, False
        orders = [h for h in hits if h.kind == "imperatives" and clause.opens(h)]
        if any(any(p.start >= h.end for p in live) for h in orders):
            return RecommendationKind.RECOMMENDED, False
        if refused is not None or clause.reports:
            return None
        live = [p for p in live if not self._procedures[p.value].asked_only]
        heads = [p for p in live if clause.opens(p)]
        if not live:
            return None
        if any(self._asks(clause, head) for head in heads):
            return RecommendationKind.RECOMMENDED, False
        return RecommendationKind.RECOMMENDED, True

    def _asks(self, clause: "_Clause", head: Hit) -> bool:
        """Whether a procedure at the beginning of a clause is asked for.

        With a colon after it, it is the title of what follows: "Gastric emptying study: Retention 82% at 1 h".
        """
        if clause.passage.words[head.end : head.end + 1] == (":",):
            return False
        if self._procedures[head.value].enough or clause.times:
            return True
        if any(h.kind in ("purposes", "conditions") and h.start >= head.end for h in clause.hits):
            return True
        general = self._procedures[head.value].general
        if general and any(h.kind == "partners" and h.start >= head.end for h in clause.hits):
            return True
        return any(
            h.kind == "commands" and h.end <= head.start and clause.covered(h.end, head.start) for h in clause.hits
        )

    def _requests(self, clause: "_Clause", kind: RecommendationKind, named_only: bool) -> Iterator[Request]:
        passage = clause.passage
        start, end = passage.span(*clause.trimmed())
        days = [d for time in clause.times for d in time.days]
        guideline = next((h for h in clause.hits if h.kind == "guidelines"), None)
        common = Recommendation(
            text=passage.text[start:end],
            start=start,
            end=end,
            procedure=None,
            modality=None,
            anatomy=None,
            interval_days_min=min(days, default=None),
            interval_days_max=max(days, default=None),
            conditional=any(h.kind == "conditions" for h in clause.hits),
            kind=kind,
            guideline=passage.said(guideline.start, guideline.end) if guideline else None,
        )
        phrases = self._named(clause)
        whole = next((h for h in clause.hits if h.kind == "whole"), None)
        for first, last, head in phrases:
            near = clause.site_near(first, last)
            yield Request(
                replace(
                    common,
                    procedure=passage.said(first, last),
                    modality=self._procedures[head.value].modality,
                    anatomy=self._anatomy[self._identifiers[near.value]] if near else None,
                ),
                named_only,
            )
        if not phrases:
            procedure = passage.said(whole.start, whole.end) if whole else None
            yield Request(replace(common, procedure=procedure), named_only)

    def _named(self, clause: "_Clause") -> list[tuple[int, int, Hit]]:
        """The procedures recommended: the first that is more than general, and those listed after it."""
        live = clause.live
        if not live:
            return []
        special = [h for h in live if not self._procedures[h.value].general]
        head = clause.chosen(special or live)
        runs = [(*clause.run(head), head)]
        for other in special:
            run = clause.run(other)
            if other.start >= runs[-1][1] and clause.listed(runs[-1][1], run[0]):
                runs.append((*run, other))
        return runs


class _Clause:
    """A clause, and what the pack's phrases say in it."""

    def __init__(
        self,
        passage: Passage,
        bounds: tuple[int, int],
        hits: Sequence[Hit],
        sites: Sequence[Hit],
        times: TimeReader,
        periods: Sequence[tuple[int, int]],
        sets: Mapping[str, frozenset[str]],
    ) -> None:
        self.passage = passage
        self.start, self.end = bounds
        self.hits = hits
        self.sites = [s for s in sites if self.start <= s.start and s.end <= self.end]
        words = passage.words[self.start : self.end]
        self.times = [_Time(t.start + self.start, t.end + self.start, t.days) for t in times.find(words)]
        named = [_Time(h.start, h.end, periods[h.value]) for h in hits if h.kind == _PERIOD]
        self.times += [n for n in named if not any(t.start < n.end and n.start < t.end for t in self.times)]
        self._sets = sets
        self._cover: dict[int, str] = {}
        for hit in (*self.sites, *hits):
            if hit.kind in (_SITE, _PROCEDURE, _PERIOD, "describes", "commands", "options"):
                self._cover.update((i, hit.kind) for i in range(hit.start, hit.end))
        for time in self.times:
            end = time.end
            # in Chinese what leads from a time to what is done then stands after it: "6个月后复查"
            while end < self.end and passage.words[end] in sets["leads"]:
                end += 1
            self._cover.update((i, "time") for i in range(time.start, end))
        procedures = [h for h in hits if h.kind == _PROCEDURE]
        self.denied = [h for h in procedures if self._preceded(h) == "denials"]
        # "CXR: Tube needs repositioning": the first names what is reported
        titles = [h for h in procedures[:-1] if passage.words[h.end : h.end + 1] == (":",)]
        self.live = [
            h for h in procedures if h not in titles and self._preceded(h) not in ("denials", "references", "reported")
        ]

    def chosen(self, procedures: Sequence[Hit]) -> Hit:
        """The procedure that is meant: the subject of the words that ask, else what follows them, else the first."""
        asked = next((h.start for h in self.hits if h.kind in _ASKING), None)
        if asked is None:
            return procedures[0]
        subjects = [p for p in procedures if p.end <= asked and not self._parted(p.end, asked)]
        return next(iter(subjects or [p for p in procedures if p.start > asked] or procedures))

    def _parted(self, start: int, end: int) -> bool:
        """Whether something else is said at [start, end): a verb, or more than members of a list after a comma."""
        if any(h.kind == "reports" and start <= h.start < end for h in self.hits):
            return True
        words = self.passage.words[start:end]
        known = self._sets["boundaries"] | self._sets["leads"] | self._sets["connects"]
        return "," in words and any(
            i not in self._cover and self.passage.words[i] not in known for i in range(start, end)
        )

    def covered(self, start: int, end: int) -> bool:
        """Whether all tokens [start, end) may stand in the name of a procedure."""
        return all(i in self._cover for i in range(start, end))

    def _lead(self, place: int) -> int:
        """Where the words that describe what is at `place` begin."""
        while place > self.start and (place - 1 in self._cover or self._joins_time(place - 1)):
            place -= 1
        return place

    def _joins_time(self, place: int) -> bool:
        """Whether the word at `place` only joins a time before it with what is done then."""
        return self._cover.get(place - 1) == "time" and self.passage.words[place] in self._sets["connects"]

    def _preceded(self, hit: Hit) -> str:
        """The kind of phrase that stands before the name of a procedure."""
        lead = self._lead(hit.start)
        # a word such as "prior" may stand inside the name as well: "on the prior chest CT"
        inside = [h.kind for h in self.hits if lead <= h.start and h.end <= hit.start]
        before = [h.kind for h in self.hits if h.end == lead]
        while lead > self.start and not before and self.passage.words[lead - 1] in self._sets["connects"]:
            lead -= 1
            before = [h.kind for h in self.hits if h.end == lead]
        kinds = [*before, *inside]
        return next((kind for kind in ("denials", "references", "reported") if kind in kinds), "")

    def opens(self, hit: Hit) -> bool:
        """Whether `hit`, with what describes it, begins the clause or follows a mark."""
        lead = self._lead(hit.start)
        return lead == self.start or self.passage.words[lead - 1] in self._sets["boundaries"]

    @property
    def reports(self) -> bool:
        """Whether the clause tells what was or is; see `_reports`."""
        return _reports(self.hits)

    def quotes_guideline(self, said: Hit) -> bool:
        """Whether a society is the one that recommends."""
        words = self.passage.words
        return any(
            h.kind == "guidelines" and 0 <= said.start - h.end <= 3 and "," not in words[h.end : said.start]
            for h in self.hits
        )

    def run(self, head: Hit) -> tuple[int, int]:
        """The tokens of the procedure's whole name, sites and adjectives included, times left out."""
        named = (_SITE, _PROCEDURE, "describes", "commands")
        first, last = head.start, head.end
        while first > self.start and self._cover.get(first - 1) in named:
            first -= 1
        at = last
        while at < self.end:
            if self._cover.get(at) in named:
                at += 1
                last = at
            elif self.passage.words[at] in self._sets["connects"]:
                at += 1
            else:
                break
        while first < head.start and self.passage.words[first] in self._sets["connects"]:
            first += 1
        while last > head.end and self.passage.words[last - 1] in self._sets["connects"]:
            last -= 1
        return first, last

    def listed(self, start: int, end: int) -> bool:
        """Whether only joins and times stand at [start, end)."""
        between = [self.passage.words[i] for i in range(start, end) if self._cover.get(i) not in ("time", _PERIOD)]
        joins = [word for word in between if word in self._sets["boundaries"]]
        return bool(joins) and all(word in self._sets["boundaries"] or word in self._sets["leads"] for word in between)

    def site_near(self, first: int, last: int) -> Hit | None:
        """The longest site in the name of a procedure, else the nearest of the clause after it."""
        inside = [s for s in self.sites if first <= s.start and s.end <= last]
        after = [s for s in self.sites if s.start >= last]
        return max(inside, key=lambda s: s.end - s.start, default=None) or next(iter(after), None)

    def trimmed(self) -> tuple[int, int]:
        """The clause's tokens without marks at its ends."""
        start, end = self.start, self.end
        while end - 1 > start and not self.passage.words[end - 1][0].isalnum():
            end -= 1
        while start < end - 1 and not self.passage.words[start][0].isalnum():
            start += 1
        return start, end


def _after_number(words: Sequence[str]) -> int:
    """Where a sentence begins behind its number in a list: "2. Repeat CT in 3 months."."""
    if len(words) > 1 and words[0].isdigit() and len(words[0]) <= _LONGEST_NUMBER and words[1] in _LIST_MARKS:
        return 2
    if len(words) > 2 and words[0] == "(" and words[1].isdigit() and words[2] == ")":
        return 3
    return 0


def _reports(hits: Sequence[Hit]) -> bool:
    """Whether a clause tells what was or is, outside what it says of a condition or purpose."""
    for hit in hits:
        if hit.kind in ("subordinates", "conditions", "purposes"):
            return False
        if hit.kind == "reports":
            return True
    return False
