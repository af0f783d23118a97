"""Categories of reporting systems and graded scales: BI-RADS 4A, LR-5, Fazekas 2, T-score -2.7.

A name is looked up among the phrases of the pack; what follows it, over words such as "category" and a version, must be
one of the system's categories, else what stands before it ("grade 3 by Kellgren-Lawrence"). A name that is explained
("BI-RADS categories: 0 = incomplete") gives no score.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

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


@dataclass(frozen=True, slots=True)
class _System:
    entry: ScoreSystem
    after: re.Pattern[str]
    before: re.Pattern[str]
    ranged: re.Pattern[str]
    listed: re.Pattern[str]
    formerly: re.Pattern[str]
    with_words: frozenset[str]
    signs: Mapping[str, str]


class ScoreReader:
    """Reads by the words of one pack.

    Parameters
    ----------
    rules
        ``scores.toml``.
    """

    def __init__(self, rules: ScoresFile) -> None:
        # compiled when a report first names it: all of them would take half of a process's start
        self._system = cache(lambda number: _compiled(rules, rules.systems[number]))
        self._wordlike = frozenset(rules.wordlike)
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
                system = self._system(number)
                if system.entry.system not in given and self._fits(passage, system):
                    start, end = passage.span(hit.start, hit.end)
                    found.append(_score(system, category, passage.text, (start, end), None, prior=False))
        return tuple(sorted(found, key=lambda s: s.start))

    def _fits(self, passage: Passage, system: _System) -> bool:
        return not system.with_words or not system.with_words.isdisjoint(passage.words)

    def _named(self, passage: Passage, hits: Sequence[Hit], name: Hit, found: Sequence[Score]) -> Iterator[Score]:
        system = self._system(name.value)
        if not self._fits(passage, system):
            return
        text = passage.text
        start, end = passage.span(name.start, name.end)
        explained = any(h.kind == "legends" and 0 <= h.start - name.end <= 1 for h in hits)
        match = None if explained else system.after.match(text, end)
        if match is None or (match["value"] in self._wordlike and _is_word(text, match)):
            low = max([start - _LOOK_BACK, 0, *(s.end for s in found)])
            match = system.before.search(text, low, start)
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


def _compiled(rules: ScoresFile, entry: ScoreSystem) -> _System:
    def words(of: Sequence[str], end: str = rf"(?!{_WORD})") -> str:
        # a Han character needs no boundary: "分类4A"
        parts = [
            r"[\s-]{1,4}".join(map(re.escape, word.split())) + (end if word[-1].isascii() else "")
            for word in sorted(of, key=len, reverse=True)
        ]
        return "(?:" + "|".join(parts) + ")" if parts else "(?!)"

    value = f"(?P<value>{entry.values})"
    if entry.modifiers:
        value += f"(?P<modifiers>(?:[\\s/,+-]{{0,3}}(?:{entry.modifiers})(?!{_WORD})){{0,4}})"
    ends = rf"(?!{_GLUED})(?!\.\d)(?!\s*=)(?!\s*-?\s*{words(rules.not_after)})(?!\s*%)"
    link = rf"(?:[\s:=()\[\]#\u2013-]|(?<!{_WORD}){words(rules.links)}"
    full = rf"{link}|(?<!{_WORD})(?P<version>{rules.version})(?!{_WORD})){{0,{_BETWEEN_AT_MOST}}}?"
    bare = rf"{link}){{0,{_BETWEEN_AT_MOST}}}?"
    joined = words(rules.ranges, end="")
    by = rf"(?P<by>(?:\s*{words(rules.before_name)}){{0,2}})"
    noun = rf"(?<!{_WORD}){words(rules.nouns)}[\s:-]{{1,3}}" if not entry.plain else rf"(?<!{_WORD})"
    flags = re.IGNORECASE
    return _System(
        entry,
        after=re.compile(full + value + ends, flags),
        before=re.compile(rf"{noun}{value}(?!{_GLUED}){_GAP}[\s,(]{{1,3}}{by}\s{{0,2}}$", flags),
        ranged=re.compile(rf"\s*{joined}\s*{value}{ends}", flags),
        listed=re.compile(rf"\s+{words(rules.lists)}\s+{value}{ends}(?=\s*(?:$|[.,;)]|{words(rules.listed)}))", flags),
        formerly=re.compile(rf"[\s,;(]{{1,3}}{words(rules.prior_before)}{bare}{value}{ends}", flags),
        with_words=frozenset(word.lower() for word in entry.with_words),
        signs=rules.signs,
    )


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
