"""Categories of reporting systems and graded scales: BI-RADS 4A, LR-5, Fazekas 2, T-score -2.7.

A name is looked up among the phrases of the pack; what follows it, over words such as "category" and a version, must be
one of the system's categories, else what stands before it ("grade 3 by Kellgren-Lawrence"). A name that is explained
("BI-RADS categories: 0 = incomplete") gives no score.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from dicomnlp.analyse.passages import Hit, Passage, Phrases
from dicomnlp.analyse.statement_schema import ScoresFile, ScoreSystem
from dicomnlp.model import Score, Temporality

_NAME, _PHRASE = "name", "phrase"
_BETWEEN_AT_MOST = 14
"""Marks and words between a name and its category."""
_LOOK_BACK = 60
"""Characters before a name that are looked at for its category."""
_GAP = r"(?:\s[^\W\d_][\w-]{0,24}){0,3}?"
"""Words between a category and the name that follows it: "grade III splenic laceration (AAST)"."""
_PRIOR_WITHIN = 6
"""Tokens between a score and the word that dates it."""
_PRIOR_SCOPE = "prior"
_WORD, _GLUED = r"(?a:\w)", r"(?a:[^\W_])"
"""What goes on into its neighbour; and what does after a category, which then is none. Not `tokens.WORD`: each system
has a dozen of them, and large sets of characters take a millisecond each to compile."""


class _System:
    """A system and its patterns, each compiled when a report first asks for it: all would be half of a process's start.

    Parameters
    ----------
    rules
        ``scores.toml``.
    entry
        The system.
    """

    def __init__(self, rules: ScoresFile, entry: ScoreSystem) -> None:
        self.entry = entry
        self.with_words = frozenset(word.lower() for word in entry.with_words)
        self.signs = rules.signs
        self._rules = rules
        self._value = f"(?P<value>{entry.values})"
        if entry.modifiers:
            self._value += f"(?P<modifiers>(?:[\\s/,+-]{{0,3}}(?:{entry.modifiers})(?!{_WORD})){{0,4}})"
        self._ends = rf"(?!{_GLUED})(?!\.\d)(?!\s*=)(?!\s*-?\s*{_words(rules.not_after)})(?!\s*%)"
        self._link = rf"(?:[\s:=()\[\]#\u2013-]|(?<!{_WORD}){_words(rules.links)}"

    @cached_property
    def value(self) -> "re.Pattern[str]":
        """A category, whatever stands around it: where there is none, no other pattern fits."""
        return re.compile(self.entry.values, re.IGNORECASE)

    @cached_property
    def after(self) -> "re.Pattern[str]":
        """What follows a name."""
        version = rf"(?<!{_WORD})(?P<version>{self._rules.version})(?!{_WORD})"
        full = rf"{self._link}|{version}){{0,{_BETWEEN_AT_MOST}}}?"
        return re.compile(full + self._value + self._ends, re.IGNORECASE)

    @cached_property
    def before(self) -> "re.Pattern[str]":
        """What a name follows."""
        by = rf"(?P<by>(?:\s*{_words(self._rules.before_name)}){{0,2}})"
        nouns = rf"{_words(self._rules.nouns)}[\s:-]{{1,3}}" if not self.entry.plain else ""
        pattern = rf"(?<!{_WORD}){nouns}{self._value}(?!{_GLUED}){_GAP}[\s,(]{{1,3}}{by}\s{{0,2}}$"
        return re.compile(pattern, re.IGNORECASE)

    @cached_property
    def ranged(self) -> "re.Pattern[str]":
        """The second category of a range."""
        joined = _words(self._rules.ranges, end="")
        return re.compile(rf"\s*{joined}\s*{self._value}{self._ends}", re.IGNORECASE)

    @cached_property
    def listed(self) -> "re.Pattern[str]":
        """The second category of a list."""
        stops = rf"(?=\s*(?:$|[.,;)]|{_words(self._rules.listed)}))"
        return re.compile(rf"\s+{_words(self._rules.lists)}\s+{self._value}{self._ends}{stops}", re.IGNORECASE)

    @cached_property
    def formerly(self) -> "re.Pattern[str]":
        """The category of an earlier study."""
        bare = rf"{self._link}){{0,{_BETWEEN_AT_MOST}}}?"
        prior = _words(self._rules.prior_before)
        return re.compile(rf"[\s,;(]{{1,3}}{prior}{bare}{self._value}{self._ends}", re.IGNORECASE)


def _words(of: Sequence[str], end: str = rf"(?!{_WORD})") -> str:
    """A pattern for any of the words; a Han character needs no boundary: "分类4A"."""
    parts = [
        r"[\s-]{1,4}".join(map(re.escape, word.split())) + (end if word[-1].isascii() else "")
        for word in sorted(of, key=len, reverse=True)
    ]
    return "(?:" + "|".join(parts) + ")" if parts else "(?!)"


class ScoreReader:
    """Reads by the words of one pack.

    Parameters
    ----------
    rules
        ``scores.toml``.
    """

    def __init__(self, rules: ScoresFile) -> None:
        self._systems = [_System(rules, entry) for entry in rules.systems]
        self._wordlike = frozenset(rules.wordlike)
        self._bound = [
            (entry.system, tuple(name.lower() for name in entry.names), tuple(word.lower() for word in entry.about))
            for entry in rules.systems
            if entry.about
        ]
        self._meant = [(i, cat) for i, entry in enumerate(rules.systems) for cat in entry.phrases]
        entries: list[tuple[str, int, Sequence[str]]] = [
            (_NAME, i, entry.names) for i, entry in enumerate(rules.systems)
        ]
        entries += [(_PHRASE, i, rules.systems[s].phrases[cat]) for i, (s, cat) in enumerate(self._meant)]
        kinds = ("legends", "prior_before", "current_before", "prior_after")
        entries += [(kind, 0, getattr(rules, kind)) for kind in kinds]
        self._phrases = Phrases("scores.toml", entries, needed={_NAME, _PHRASE})
        self.signs = self._phrases.signs

    def names(self, passage: Passage) -> bool:
        """Whether a system is named in `passage`: a heading whose body is the category."""
        return any(hit.kind == _NAME for hit in self._phrases.find(passage.words))

    def read(self, passage: Passage) -> tuple[Score, ...]:
        """The scores of `passage`, one sentence, in order; offsets are into it."""
        hits = self._phrases.find(passage.words)
        if not any(hit.kind in (_NAME, _PHRASE) for hit in hits):
            return ()
        found: list[Score] = []
        for hit in hits:
            if hit.kind == _NAME and passage.starts[hit.start] >= max((s.end for s in found), default=0):
                found += self._named(passage, hits, hit, found)
        given = {score.system for score in found}
        for hit in hits:
            if hit.kind == _PHRASE:
                number, category = self._meant[hit.value]
                system = self._systems[number]
                if system.entry.system not in given and self._fits(passage, system):
                    start, end = passage.span(hit.start, hit.end)
                    found.append(_score(system, category, passage.text, (start, end), None, prior=False))
        return tuple(sorted(found, key=lambda s: s.start))

    def counts(self, score: Score, text: str) -> bool:
        """Whether `text`, the whole report, is about what the name that `score` begins with needs."""
        said = score.text.lower()
        for system, names, about in self._bound:
            if score.system == system and said.startswith(names):
                lowered = text.lower()
                return any(word in lowered for word in about)
        return True

    def _fits(self, passage: Passage, system: _System) -> bool:
        return not system.with_words or not system.with_words.isdisjoint(passage.words)

    def _named(self, passage: Passage, hits: Sequence[Hit], name: Hit, found: Sequence[Score]) -> Iterator[Score]:
        system = self._systems[name.value]
        if not self._fits(passage, system):
            return
        text = passage.text
        start, end = passage.span(name.start, name.end)
        explained = any(h.kind == "legends" and 0 <= h.start - name.end <= 1 for h in hits)
        match = None if explained or not system.value.search(text, end) else system.after.match(text, end)
        if match is None or (match["value"] in self._wordlike and _is_word(text, match)):
            low = max([start - _LOOK_BACK, 0, *(s.end for s in found)])
            match = system.before.search(text, low, start) if system.value.search(text, low, start) else None
            # "the categories are explained" is no score, "grade 3 by the criteria" is
            if match is not None and (match["by"].strip() or not explained):
                yield _score(system, _category(system, match), text, (match.start(), end), None, prior=False)
            return
        if _repeats(found, system, match, text, start):
            return
        category = _category(system, match)
        stop = match.end()
        prior = self._is_prior(passage, hits, name, stop)
        ranged = None if system.entry.single else system.ranged.match(text, stop)
        if ranged and prior:
            # "from PI-RADS 3 to 4" is no range
            yield _score(system, category, text, (start, stop), match["version"], prior=True)
            yield _score(system, _category(system, ranged), text, ranged.span("value"), None, prior=False)
            return
        if ranged:
            category = f"{category}-{_category(system, ranged)}"
            stop = ranged.end()
        yield _score(system, category, text, (start, stop), match["version"], prior=prior)
        formerly = system.formerly.match(text, stop)
        listed = None if system.entry.single else system.listed.match(text, stop)
        if formerly:
            span = formerly.span("value")
            yield _score(system, _category(system, formerly), text, span, None, prior=True)
        elif listed:
            span = listed.span("value")
            yield _score(system, _category(system, listed), text, span, None, prior=prior)

    def _is_prior(self, passage: Passage, hits: Sequence[Hit], name: Hit, stop: int) -> bool:
        """Whether the score that begins with `name` and ends at character `stop` is dated as an earlier one."""
        before = [
            h for h in hits if 0 <= name.start - h.end <= _PRIOR_WITHIN and h.kind in ("prior_before", "current_before")
        ]
        if before and ";" not in passage.words[before[-1].end : name.start]:
            return before[-1].kind == "prior_before"
        after = next((i for i, at in enumerate(passage.starts) if at >= stop), len(passage.words))
        return any(h.kind == "prior_after" and 0 <= h.start - after <= _PRIOR_WITHIN for h in hits)


def _is_word(text: str, match: "re.Match[str]") -> bool:
    """Whether a category is rather an article or a pronoun: "the density is a concern"."""
    following = text[match.end("value") : match.end("value") + 2]
    return len(following) == 2 and following[0].isspace() and following[1].isalnum()


def _category(system: _System, match: "re.Match[str]") -> str:
    groups = match.groupdict()
    said = " ".join((groups.get("category") or groups["value"]).split())
    for word, sign in system.signs.items():
        if said.lower().startswith(word):
            said = sign + said[len(word) :].lstrip()
    key = said.lower().replace(" ", "").replace("-", "")
    category = system.entry.write.get(key, said.upper().replace(",", ""))
    modifiers = re.findall(r"\w+\+?", groups.get("modifiers") or "")
    return " ".join([category, *(m.upper() for m in modifiers)])


def _repeats(found: Sequence[Score], system: _System, match: "re.Match[str]", text: str, start: int) -> bool:
    """Whether a score says the one right before it again: "LI-RADS 5 (LR-5)"."""
    last = found[-1] if found else None
    return (
        last is not None
        and (last.system, last.category) == (system.entry.system, _category(system, match))
        and not text[last.end : start].strip(" ([,:-/\n")
    )


def _score(
    system: _System, category: str, text: str, span: tuple[int, int], version: str | None, *, prior: bool
) -> Score:
    number = re.search(r"\d+(?:\.\d+)?", version or "")
    return Score(
        system=system.entry.system,
        category=category,
        text=text[slice(*span)],
        start=span[0],
        end=span[1],
        scope=_PRIOR_SCOPE if prior else system.entry.scope,
        version=number.group() if number else None,
        temporality=Temporality.PRIOR if prior else Temporality.CURRENT,
    )
