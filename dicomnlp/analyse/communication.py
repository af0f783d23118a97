"""Who was told of a result, when and how, and whether it was acknowledged; and the patient's age and sex as stated.

A sentence speaks of a communication where it says that somebody was told, and whom or when. What it was told of stays
with the findings.
"""

import re
from collections.abc import Sequence

from dicomnlp.analyse.passages import Hit, Passage, Phrases
from dicomnlp.analyse.statement_schema import CommunicationFile, DemographicsFile
from dicomnlp.model import Communication, PatientStatement

_TOLD = frozenset({"tells", "fails", "intends", "acknowledges"})
"""Kinds of phrases one of which a sentence of a communication has."""
_AGE_GAP = 4
"""Most tokens between an age and a sex."""
_OLDEST = 120
_YOUNGEST_GLUED = 10
"""Years; "3M" is rarely an age."""


class CommunicationReader:
    """Reads by the words of one pack.

    Parameters
    ----------
    rules
        ``communication.toml``.
    """

    def __init__(self, rules: CommunicationFile) -> None:
        kinds = ("tells", "fails", "intends", "acknowledges", "not_of", "titles", "roles", "credentials")
        entries = [(kind, 0, getattr(rules, kind)) for kind in kinds]
        self._phrases = Phrases("communication.toml", entries, needed=_TOLD)
        self.signs = self._phrases.signs
        # apart from the verbs, whose gaps reach over them: "communicated by secure message to", "已与王医生沟通"
        people = ("titles", "roles", "credentials")
        self._people = Phrases("communication.toml", [(kind, 0, getattr(rules, kind)) for kind in people])
        self._methods = Phrases("communication.toml", [("methods", 0, rules.methods)])
        self._not_names = frozenset(rules.not_names)
        self._agents = frozenset(rules.agents)
        self._particles = frozenset(rules.particles)
        self._name_words = rules.name_words
        self._time = re.compile("|".join(f"(?:{time})" for time in rules.times), re.IGNORECASE)

    def read(self, passage: Passage) -> tuple[Communication, ...]:
        """The communication that `passage`, one sentence, tells of; none or one."""
        hits = self._phrases.find(passage.words)
        kinds = {hit.kind for hit in hits}
        if kinds.isdisjoint(_TOLD) or "not_of" in kinds:
            return ()
        verbs = [h for h in hits if h.kind in ("tells", "fails", "intends")]
        around = [v for v in verbs if v.end - v.start > 2]
        within = [p for p in self._people.find(passage.words) if any(v.start < p.start < v.end for v in around)]
        hits = [*hits, *(p for p in within if not any(h.kind == p.kind and h.start == p.start for h in hits))]
        recipient = self._recipient(passage, hits, verbs)
        times = [m for m in self._time.finditer(passage.text) if m.group().strip()]
        acknowledged = "acknowledges" in kinds
        if not (recipient or (verbs and times) or acknowledged):
            return ()
        method = next(iter(self._methods.find(passage.words)), None)
        start, end = passage.span(0, len(passage.words))
        return (
            Communication(
                text=passage.text[start:end],
                start=start,
                end=end,
                recipient=recipient,
                time=passage.text[times[0].start() : times[-1].end()] if times else None,
                method=passage.said(method.start, method.end) if method else None,
                acknowledged=acknowledged,
                completed="fails" not in kinds and ("tells" in kinds or acknowledged),
            ),
        )

    def _recipient(self, passage: Passage, hits: Sequence[Hit], verbs: Sequence[Hit]) -> str | None:
        """Whom: the name or role after the verb, else the one before it ("Dr. Smith was notified")."""
        people: list[tuple[int, int]] = []
        for hit in hits:
            if hit.kind == "roles":
                people.append((hit.start, hit.end))
                continue
            if hit.kind not in ("titles", "credentials"):
                continue
            # some words are both: "RN Jane Doe", "Jane Doe, RN"
            start = self._name_before(passage, hit.start, verbs) if hit.kind == "credentials" else hit.start
            end = self._name(passage, hit.end) if start == hit.start else hit.end
            if (start, end) != (hit.start, hit.end):
                people.append((start, end))
        if not people:
            return None
        verb = verbs[0].start if verbs else 0
        told = [p for p in people if self._agents.isdisjoint(passage.words[max(0, p[0] - 2) : p[0]])]
        if not told:
            return None
        people = told
        start, end = min(people, key=lambda p: (p[0] < verb, abs(p[0] - verb)))
        # name and credentials are found apart: "Dr. John Smith, MD"
        end = max((e for s, e in people if start <= s <= end + 1), default=end)
        return passage.said(start, end)

    def _is_name(self, passage: Passage, at: int) -> bool:
        if passage.words[at] in self._not_names:
            return False
        first = passage.text[passage.starts[at]]
        return (first.isalpha() and not first.islower()) or passage.words[at] in self._particles

    def _name(self, passage: Passage, at: int) -> int:
        """Where the name that begins at token `at`, or after a full stop there, ends; `at` if there is none."""
        start = at
        count = 0
        while at < len(passage.words) and count < self._name_words:
            if passage.words[at] == "." and (at == start or len(passage.words[at - 1]) == 1):
                at += 1
            elif self._is_name(passage, at):
                at += 1
                count += 1
            else:
                break
        return at if count else start

    def _name_before(self, passage: Passage, at: int, verbs: Sequence[Hit]) -> int:
        start = at
        first = max((v.end for v in verbs if v.end <= at), default=0)
        if at and passage.words[at - 1] == ",":
            at -= 1
        count = 0
        while at > first and count < self._name_words and self._is_name(passage, at - 1):
            at -= 1
            count += 1
        return at if count else start


class DemographicsReader:
    """Reads by the words of one pack.

    Parameters
    ----------
    rules
        ``demographics.toml``.
    """

    def __init__(self, rules: DemographicsFile) -> None:
        units = {"years": 1.0, "months": 1 / 12, "weeks": 7 / 365, "days": 1 / 365}
        self._units = list(units.values())
        entries: list[tuple[str, int, Sequence[str]]] = [
            ("unit", i, getattr(rules, name)) for i, name in enumerate(units)
        ]
        kinds = ("female", "male", "patient", "before", "bare", "not_of")
        entries += [(kind, 0, getattr(rules, kind)) for kind in kinds]
        entries += [(f"letter {sex}", 0, words) for sex, words in rules.letters.items()]
        stated = {kind for kind, *_ in entries} - {"patient", "not_of"}
        self._phrases = Phrases("demographics.toml", entries, needed=stated)
        self.signs = self._phrases.signs
        self._numbers = rules.numbers
        self._between = frozenset(rules.between)
        self._sex_first = rules.sex_first

    def read(self, passage: Passage) -> tuple[PatientStatement, ...]:
        """Ages and sexes that `passage`, one sentence, states of the patient."""
        hits = self._phrases.find(passage.words)
        if not hits or any(hit.kind == "not_of" for hit in hits):
            return ()
        found: list[PatientStatement] = []
        for hit in hits:
            age = self._age(passage, hit)
            if age is not None:
                years, start, end = age
                sex, last = self._sex_after(passage, hits, end)
                if sex is None and self._sex_first:
                    sex, start = self._sex_before(passage, hits, start)
                named = any(h.kind == "before" and h.end in (start, start - 1) for h in hits)
                if hit.kind == "bare" and sex is None and not named:
                    continue
                found.append(_statement(passage, years, sex, start, max(end, last)))
        if not found:
            found += [s for s in (self._sex_alone(passage, hits),) if s is not None]
        return tuple(found)

    def _number(self, word: str) -> int | None:
        if word.isascii() and word.isdigit() and len(word) <= 3:
            return int(word)
        return self._numbers.get(word)

    def _age(self, passage: Passage, hit: Hit) -> tuple[float, int, int] | None:
        """(years, start, end) of an age whose unit, or whose "age", is `hit`."""
        words = passage.words
        if hit.kind in ("unit", "bare") and hit.start:
            number = self._number(words[hit.start - 1])
            if number is not None:
                years = number * (self._units[hit.value] if hit.kind == "unit" else 1.0)
                return (round(years, 2), hit.start - 1, hit.end) if years <= _OLDEST else None
        if hit.kind.startswith("letter") and hit.start:
            # "34F"; with a space it may be anything
            number = self._number(words[hit.start - 1])
            glued = passage.ends[hit.start - 1] == passage.starts[hit.start]
            # "Tc-99m" is no man
            letter = passage.said(hit.start, hit.end)
            glued = glued and (len(letter) > 1 or letter.isupper())
            if number is not None and _YOUNGEST_GLUED <= number <= _OLDEST and glued:
                return float(number), hit.start - 1, hit.start
        if hit.kind == "before":
            at = hit.end + (hit.end < len(words) and words[hit.end] == ":")
            number = self._number(words[at]) if at < len(words) else None
            followed = at + 1 < len(words) and (words[at + 1] in "-/" or words[at + 1] == "%")
            if number is not None and number <= _OLDEST and not followed and not self._unit_at(passage, at + 1):
                return float(number), hit.start, at + 1
        return None

    def _unit_at(self, passage: Passage, at: int) -> bool:
        """Whether a unit follows: the age is then read there."""
        return any(hit.kind in ("unit", "bare") and hit.start == 0 for hit in self._phrases.find(passage.words[at:]))

    def _sex_after(self, passage: Passage, hits: Sequence[Hit], end: int) -> tuple[str | None, int]:
        for hit in hits:
            sex = {"female": "F", "male": "M", "letter F": "F", "letter M": "M"}.get(hit.kind)
            between = passage.words[end : hit.start]
            if sex and hit.start >= end and len(between) <= _AGE_GAP and self._between.issuperset(between):
                return sex, hit.end
        return None, end

    def _sex_before(self, passage: Passage, hits: Sequence[Hit], start: int) -> tuple[str | None, int]:
        for hit in reversed(hits):
            sex = {"female": "F", "male": "M"}.get(hit.kind)
            between = passage.words[hit.end : start]
            if sex and hit.end <= start and len(between) <= _AGE_GAP and self._between.issuperset(between):
                return sex, hit.start
        return None, start

    def _sex_alone(self, passage: Passage, hits: Sequence[Hit]) -> PatientStatement | None:
        """A sex beside the word patient: "this female patient", "patient is a man"."""
        for hit in hits:
            if hit.kind not in ("female", "male"):
                continue
            for patient in hits:
                after = patient.kind == "patient" and 0 <= hit.start - patient.end <= 2
                if after or (patient.kind == "patient" and patient.start == hit.end):
                    ends = min(hit.start, patient.start), max(hit.end, patient.end)
                    return _statement(passage, None, "F" if hit.kind == "female" else "M", *ends)
        return None


def _statement(passage: Passage, years: float | None, sex: str | None, start: int, end: int) -> PatientStatement:
    first, last = passage.span(start, end)
    return PatientStatement(years, sex, passage.text[first:last], first, last)
