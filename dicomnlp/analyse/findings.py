"""The mentions of a sentence as findings of a report: judged in their section, with what normal statements imply.

What comes of a sentence in a kind of section is the same wherever it stands, so it is kept with what was read of the
sentence, for as long as that is; `dicomnlp.analyse.records.moved_finding` puts it in its place.
"""

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache

from dicomnlp.analyse import records
from dicomnlp.analyse.attributed import led
from dicomnlp.analyse.context import FAMILY, HISTORICAL, HYPOTHETICAL, NEGATED, UNCERTAIN
from dicomnlp.analyse.details import Lead
from dicomnlp.analyse.learned import Learned
from dicomnlp.analyse.pack import TARGET, UNLISTED, Pack, concept_of
from dicomnlp.analyse.reading import Mention, SentenceReading
from dicomnlp.analyse.tokens import WORD
from dicomnlp.model import Assertion, Change, Concept, Finding, Section

_WITHOUT_ATTRIBUTES = (Assertion.ABSENT, Assertion.HYPOTHETICAL, Assertion.FAMILY)
_FIELDS = tuple(field.name for field in fields(Finding))
_TITLES = 256
"""Headings that a process keeps with what they assume."""


class FindingJudge:
    """Makes findings of mentions by one pack.

    Parameters
    ----------
    pack
        The language.
    sites
        Public forms of its anatomy.
    """

    def __init__(self, pack: Pack, sites: Mapping[str, Concept]) -> None:
        self._pack = pack
        self._learned: Learned | None = None
        self._sites = sites
        self._concepts = {i: concept_of(i, entry) for i, entry in pack.concepts.items()}
        self._concepts[TARGET] = Concept(TARGET, None, None, "Span given by the caller")
        self._concepts[UNLISTED] = Concept(UNLISTED, None, None, "Finding that the lexicon does not list")
        limits = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in pack.about.exceptions)
        self._exceptions = re.compile(rf"(?<!{WORD})(?:{limits})(?!{WORD})", re.IGNORECASE) if limits else None
        self._complaints = frozenset(word.lower() for word in pack.context.complaints)
        self._questions = {name: frozenset(words) for name, words in pack.context.questions.items()}
        self._titled = lru_cache(_TITLES)(self._title_assumes)
        self._implying = {i for i, entry in pack.concepts.items() if entry.implies}
        self._critical = {i for i in pack.concepts if pack.critical(i)}

    def with_model(self, learned: Learned) -> "FindingJudge":
        """One that judges as this, and lets a trained model correct or back the assertion."""
        other = copy.copy(self)
        other._learned = learned  # noqa: SLF001  its own kind
        return other

    def found(self, reading: SentenceReading, sentence: str, section: Section, lead: Lead | None) -> Sequence[Finding]:
        """What `sentence` says in `section`, with what it implies; offsets are into the sentence.

        Parameters
        ----------
        reading, sentence
            What was read of it, and its text.
        section
            Where it stands; its place doesn't matter.
        lead
            The label that holds for the sentence.
        """
        if lead is not None and lead is not reading.lead:
            return self._with_implied(self.judged(reading, sentence, section, lead))
        kind = section.name, self._titled(section.title)
        found = reading.found.get(kind)
        if found is None:
            found = reading.found[kind] = self._with_implied(self.judged(reading, sentence, section, lead))
        return found

    def judged(self, reading: SentenceReading, sentence: str, section: Section, lead: Lead | None) -> list[Finding]:
        """As `found`, without what is implied."""
        return [self._finding(section, sentence, mention, lead) for mention in reading.mentions]

    def target(self, section: Section, words: str, place: tuple[int, int], sentence: str) -> Finding:
        """A span given by the caller, at `place`, that stands in no sentence."""
        return Finding(
            concept=self._concepts[TARGET],
            text=words,
            start=place[0],
            end=place[1],
            sentence=sentence,
            section=section.name,
            assertion=self._uncued(section, words),
            language=self._pack.language,
        )

    def _finding(self, section: Section, sentence: str, mention: Mention, lead: Lead | None) -> Finding:
        text = sentence[mention.start : mention.end]
        read = led(mention.attributes, lead)
        assertion = mention.assertion or self._uncued(section, text, measured=bool(read.measurements))
        if assertion is Assertion.POSSIBLE and self._assumed(section) is Assertion.HYPOTHETICAL:
            assertion = Assertion.HYPOTHETICAL  # "Indication: possible pneumonia" asks
        questions = self._questions.get(section.name, ())
        if assertion is Assertion.POSSIBLE and any(c.text.lower() in questions for c in mention.cues):
            assertion = Assertion.HYPOTHETICAL  # "Clinical details: cough, ?pneumonia"
        entry = self._pack.concepts.get(mention.concept)
        if entry is not None and entry.assertion == "absent" and assertion is Assertion.PRESENT and not entry.implies:
            assertion = Assertion.ABSENT
        ruled, probability = None, None
        # a statement of normality says what it says; what it implies follows from the rules' answer
        if self._learned is not None and (entry is None or not entry.normal):
            place = mention.start, mention.end
            opinion = self._learned.assertion(sentence, place, section.name, assertion, mention.cues)
            if opinion is not None:
                ruled, assertion, probability = assertion, opinion.assertion, opinion.probability
        bare = assertion in _WITHOUT_ATTRIBUTES
        flags = mention.flags
        return records.finding(
            self._concepts[mention.concept],
            text,
            mention.start,
            mention.end,
            sentence,
            section.name,
            assertion,
            NEGATED in flags,
            UNCERTAIN in flags,
            HISTORICAL in flags,
            HYPOTHETICAL in flags,
            FAMILY in flags,
            mention.cues,
            self._sites[read.anatomy] if read.anatomy else None,
            read.laterality,
            None if bare else read.severity,
            read.change if not bare or read.change is Change.RESOLVED else None,
            read.measurements,
            self._is_critical(mention.concept, assertion),
            None,
            "",
            "",
            None if bare else read.acuity,
            None if bare else read.count,
            read.levels,
            read.image_references,
            self._pack.language,
            ruled,
            probability,
        )

    def _is_critical(self, concept: str, assertion: Assertion) -> bool:
        return concept in self._critical and assertion in (Assertion.PRESENT, Assertion.POSSIBLE)

    def _assumed(self, section: Section) -> Assertion:
        return self._pack.context.sections.get(section.name, Assertion.PRESENT)

    def _uncued(self, section: Section, words: str, *, measured: bool = False) -> Assertion:
        """What a mention without cues is in its section: an indication asks, a comparison remembers."""
        if measured and section.name in self._pack.context.present_when_measured:
            return Assertion.PRESENT
        assumed = self._titled(section.title) or self._assumed(section)
        if assumed is Assertion.PRESENT:
            return assumed
        last = words.lower().rsplit(maxsplit=1)[-1] if words.strip() else ""
        return Assertion.PRESENT if last in self._complaints else assumed

    def _title_assumes(self, title: str | None) -> Assertion | None:
        return self._pack.context.titles.get(" ".join((title or "").lower().split()))

    def _with_implied(self, found: list[Finding]) -> list[Finding]:
        """`found`, each with what it says is absent, unless the same sentence says that it is there after all."""
        if self._implying.isdisjoint([f.concept.id for f in found]):
            return found
        said = {
            concept
            for f in found
            if f.assertion in (Assertion.PRESENT, Assertion.POSSIBLE)
            for concept in self._pack.lineage(f.concept.id)
        }
        return [f for one in found for f in (one, *(i for i in self._implied(one) if i.concept.id not in said))]

    def _implied(self, finding: Finding) -> Iterable[Finding]:
        """What a normal statement says is absent ("lungs are clear")."""
        entry = self._pack.concepts.get(finding.concept.id)
        if entry is None or not entry.implies or finding.assertion is not Assertion.PRESENT:
            return
        if self._exceptions and self._exceptions.search(finding.sentence):
            return
        first = replace(
            finding,
            assertion=Assertion.ABSENT,
            is_negated=True,
            severity=None,
            change=None,
            measurements=(),
            critical=False,
            acuity=None,
            count=None,
            image_references=(),
            rules_assertion=None,
            model_probability=None,
        )
        said = [getattr(first, name) for name in _FIELDS[1:]]
        for identifier in entry.implies:
            yield records.finding(self._concepts[identifier], *said)
