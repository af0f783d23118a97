"""A report as somebody annotates it: each place with what the pipeline says, what the reader did, and what others."""

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dicomnlp.analyse.names import find_concepts
from dicomnlp.errors import UsageError
from dicomnlp.model import Assertion, Concept, Finding, Section, SectionName
from dicomnlp.serve.highlighting import MarkedText, marked_text
from dicomnlp.serve.naming import Names
from dicomnlp.store.annotation_records import UNSAID, Annotation, Key, Mark, Reading, Verdict, key_of
from dicomnlp.store.answers import StoredFinding

_CANDIDATES = 50


@dataclass(frozen=True, slots=True)
class Judged:
    """A place of a report that is, or can be, judged."""

    stored: StoredFinding
    """As the reader has it: with his own words for it where he relabelled it, else as the pipeline found it."""
    key: Key
    said: Finding | None
    """What the pipeline says; None of what a reader added, or what is no longer found."""
    mine: Annotation | None
    others: tuple[Annotation, ...]
    """Nothing of them while the reader is blind."""
    adjudication: Annotation | None

    @property
    def id(self) -> int:
        """Of the finding; a negative one where there is none."""
        return self.stored.id

    @property
    def finding(self) -> Finding:
        """As the reader has it."""
        return self.stored.finding

    @property
    def verdict(self) -> str:
        """What the reader said of it; "" while he has said nothing."""
        return self.mine.verdict.value if self.mine else ""

    @property
    def is_added(self) -> bool:
        """Whether it is the reader's own: none that the pipeline found."""
        return self.mine is not None and not self.key[2]

    @property
    def address(self) -> str:
        """The key as a parameter of the page."""
        return "-".join(map(str, self.key))


def judged_places(reading: Reading) -> list[Judged]:
    """All places of `reading` in the order of its text: the pipeline's findings, and what readers put beside them."""
    own = {a.key: a for a in reading.own}
    settled = {a.key: a for a in reading.adjudications}
    others: defaultdict[Key, list[Annotation]] = defaultdict(list)
    for annotation in reading.others:
        others[annotation.key].append(annotation)
    found = {key_of(f): f for f in reading.findings}
    places = []
    for key in found.keys() | own.keys() | settled.keys() | others.keys():
        mine, at = own.get(key), found.get(key)
        if at is not None:
            stored = replace(at, finding=_relabelled(at.finding, mine)) if mine else at
        else:
            stored = _placed(reading, mine or settled.get(key) or others[key][0])
        said = at.finding if at else None
        places.append(Judged(stored, key, said, mine, tuple(others[key]), settled.get(key)))
    return sorted(places, key=lambda place: (place.key, place.id))


def marked(reading: Reading, places: Sequence[Judged], names: Names) -> MarkedText:
    """The report's text with all `places` marked, each as the reader judged it."""
    stored = reading.report
    narrative = stored.report.narrative.text if stored.report else ""
    titles = {
        p.id: f"{names.concept(p.finding.concept.id, p.finding.concept.meaning)}: "
        f"{names.word('assertion', p.finding.assertion)}"
        for p in places
    }
    verdicts = {p.id: p.verdict for p in places if p.verdict}
    return marked_text(narrative, _sections(reading), [p.stored for p in places], titles=titles, verdicts=verdicts)


def _sections(reading: Reading) -> Sequence[Section]:
    stored = reading.report
    return stored.analysis.sections if stored.analysis else stored.report.narrative.sections if stored.report else ()


def _relabelled(finding: Finding, mine: Annotation) -> Finding:
    if mine.verdict is not Verdict.RELABEL:
        return finding
    concept = finding.concept
    if mine.concept and mine.concept != concept.id:
        concept = Concept(mine.concept, None, None, "")
    return replace(finding, concept=concept, assertion=mine.assertion or finding.assertion, laterality=mine.laterality)


def _placed(reading: Reading, by: Annotation) -> StoredFinding:
    """What stands where the pipeline found nothing, as `by` has it."""
    section = next((s.name for s in _sections(reading) if s.start <= by.start < s.end), SectionName.OTHER)
    finding = Finding(
        concept=Concept(by.concept or by.finding_concept, None, None, ""),
        text=by.text,
        start=by.start,
        end=by.end,
        sentence="",
        section=section,
        assertion=by.assertion or Assertion.PRESENT,
        laterality=by.laterality,
    )
    return StoredFinding(-by.id, by.study_instance_uid, by.sop_instance_uid, finding, by.pipeline, by.annotated_at)


def relabelling(place: Judged, changes: Mark) -> Mark:
    """`changes` of a place put over what the reader has said of it before, so that nothing of that is lost."""
    finding = place.finding
    return replace(
        changes,
        concept=changes.concept or finding.concept.id,
        assertion=changes.assertion or finding.assertion,
        laterality=finding.laterality if changes.laterality is UNSAID else changes.laterality,
    )


def find_words(text: str, words: str, nth: int) -> tuple[int, int]:
    """Where `words` stand in `text` for the `nth` time, from 1; blanks and letter case may differ.

    Raises
    ------
    UsageError
        They don't stand there so often.
    """
    wanted = words.split()
    if not wanted:
        raise UsageError("Name the words of the report")
    pattern = re.compile(r"\s+".join(map(re.escape, wanted)), re.IGNORECASE)
    found = next(itertools.islice(pattern.finditer(text), nth - 1, None), None)
    if found is None:
        raise UsageError("The report doesn't have these words, or not so often")
    return found.span()


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """A place without the blanks at its ends.

    Raises
    ------
    UsageError
        It isn't in the text, or nothing else is in it.
    """
    words = text[start:end] if 0 <= start < end <= len(text) else ""
    if not words.strip():
        raise UsageError("Select words of the report")
    return start + len(words) - len(words.lstrip()), end - len(words) + len(words.rstrip())


def named_concept(words: str, language: str) -> str | None:
    """The id of the concept that has the id `words` or is called exactly so, in any language; None where none is.

    Part of a name isn't enough, unlike in a search: an annotation says what was meant.
    """
    wanted = " ".join(words.casefold().replace("_", " ").split())
    called = [c.id for c in find_concepts(words, language, _CANDIDATES) if wanted in c.words]
    return words if words in called else next(iter(called), None)
