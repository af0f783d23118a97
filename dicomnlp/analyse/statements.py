"""What a sentence states beside findings: recommendations, scores, communications, the patient's age and sex.

As with findings, what a sentence says depends on its text and the pack alone, so results are kept in a bounded cache;
what the section adds is put on top by `collect`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeVar

from dicomnlp.analyse.communication import CommunicationReader, DemographicsReader
from dicomnlp.analyse.pack import Pack
from dicomnlp.analyse.passages import passage
from dicomnlp.analyse.recommendations import RecommendationReader, Request
from dicomnlp.analyse.scores import ScoreReader
from dicomnlp.model import Communication, Concept, PatientStatement, Recommendation, Score, Section, SectionName

CACHE_SIZE = 8192
"""Sentences that a process keeps; most state nothing and cost their text alone."""

_Statement = TypeVar("_Statement", Recommendation, Score, Communication, PatientStatement)


@dataclass(frozen=True, slots=True)
class Statements:
    """All that one sentence states; offsets are into the sentence."""

    requests: tuple[Request, ...] = ()
    scores: tuple[Score, ...] = ()
    communications: tuple[Communication, ...] = ()
    demographics: tuple[PatientStatement, ...] = ()


NOTHING = Statements()


class StatementReader:
    """Reads statements by one pack.

    Parameters
    ----------
    pack
        The language; files of statements that it lacks are not read for.
    sites
        Public forms of the pack's anatomy.
    cache
        Whether to keep results.
    """

    def __init__(self, pack: Pack, sites: Mapping[str, Concept], *, cache: bool = True) -> None:
        self._rules = pack.recommendations
        # folded one to one, so that offsets stay true; the words shown are those of the text
        self._fold = pack.about.folding
        self._recommendations = (
            RecommendationReader(pack.recommendations, pack.about, pack.anatomy, sites)
            if pack.recommendations
            else None
        )
        self._scores = ScoreReader(pack.scores) if pack.scores else None
        self._communications = CommunicationReader(pack.communication) if pack.communication else None
        self._demographics = DemographicsReader(pack.demographics) if pack.demographics else None
        readers = (self._recommendations, self._scores, self._communications, self._demographics)
        asked = [reader.signs for reader in readers if reader]
        # without one of these words no reader finds anything: true of most sentences
        self._signs = frozenset().union(*(s for s in asked if s is not None)) if None not in asked else None
        self.read = lru_cache(CACHE_SIZE)(self._read) if cache else self._read
        self.names_score = lru_cache(CACHE_SIZE)(self._names_score) if cache else self._names_score

    def _read(self, sentence: str) -> Statements:
        """What `sentence` states."""
        folded = sentence if sentence.isascii() else sentence.translate(self._fold)
        text = passage(folded, sentence)
        if self._signs is not None and self._signs.isdisjoint(text.words):
            return NOTHING
        read = Statements(
            requests=self._recommendations.read(text) if self._recommendations else (),
            scores=self._scores.read(text) if self._scores else (),
            communications=self._communications.read(text) if self._communications else (),
            demographics=self._demographics.read(text) if self._demographics else (),
        )
        if read == NOTHING:
            return NOTHING
        return read if folded == sentence else _as_written(read, sentence)

    def _names_score(self, title: str) -> bool:
        """Whether a heading names a scoring system, so that its body may be a bare category ("BI-RADS: 2")."""
        return self._scores is not None and self._scores.names(passage(title.translate(self._fold)))

    def collect(self, text: str, section: Section, spans: Iterable[tuple[int, int]], into: "Stated") -> None:
        """Add what the sentences of `section` at `spans` of `text` state, each with its place in the text."""
        heading = section.start if section.title and self.names_score(section.title) else None
        opening = len(text) - len(text.lstrip())
        for start, end in spans:
            read = self.read(text[start:end])
            if read is NOTHING and heading is None:
                continue
            if heading is not None:
                into.scores += _placed(self._of_report(self.read(text[heading:end]).scores, text), heading)
                heading = None
            elif read.scores:
                into.scores += _placed(self._of_report(read.scores, text), start)
            if read is NOTHING:
                continue
            if start != opening or not _is_title(text, start, end):
                into.recommendations += _placed(self._counting(read.requests, section.name), start)
            into.communications += _placed(read.communications, start)
            into.demographics += _placed(read.demographics, start)

    def _of_report(self, scores: Iterable[Score], text: str) -> list[Score]:
        """The scores whose system is that of what the report is about."""
        return [score for score in scores if self._scores is not None and self._scores.counts(score, text)]

    def _counting(self, requests: Iterable[Request], section: SectionName) -> Iterator[Recommendation]:
        """The recommendations that count in a section."""
        rules = self._rules
        if rules is not None and section not in rules.ignored:
            yield from (r.recommendation for r in requests if not r.named_only or section in rules.trusted)


_HAN = re.compile(r"[\u3400-\u9fff]")


def _is_title(text: str, start: int, end: int) -> bool:
    """Whether the sentence that a report begins with is its title: "EMERGENT PELVIC US"."""
    said = text[start:end]
    # "复查胸部CT" is in capitals for want of other letters
    return said.isupper() and not _HAN.search(said) and not text[end:].isupper()


@dataclass(slots=True)
class Stated:
    """What a report states, gathered section by section; offsets are into its text."""

    recommendations: list[Recommendation] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    communications: list[Communication] = field(default_factory=list)
    demographics: list[PatientStatement] = field(default_factory=list)


def _as_written(read: Statements, sentence: str) -> Statements:
    """`read`, which was read in folded text, in the words of `sentence`."""

    def written(statements: Iterable[_Statement]) -> tuple[_Statement, ...]:
        return tuple(replace(s, text=sentence[s.start : s.end]) for s in statements)

    return Statements(
        tuple(replace(r, recommendation=next(iter(written([r.recommendation])))) for r in read.requests),
        written(read.scores),
        written(read.communications),
        written(read.demographics),
    )


def _placed(statements: Iterable[_Statement], by: int) -> Iterator[_Statement]:
    return (replace(s, start=s.start + by, end=s.end + by) for s in statements)
