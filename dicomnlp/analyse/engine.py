"""A report's text to its analysis: sections, sentences, and what each sentence says in its section."""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache
from operator import attrgetter
from pathlib import Path

from dicomnlp.analyse.attributed import led
from dicomnlp.analyse.context import FAMILY, HISTORICAL, HYPOTHETICAL, NEGATED, UNCERTAIN
from dicomnlp.analyse.details import Lead
from dicomnlp.analyse.labels import Labeller
from dicomnlp.analyse.language import COMMON_SHARE, common_share
from dicomnlp.analyse.library import VERSIONS
from dicomnlp.analyse.overlay import Fault, languages_of, lay
from dicomnlp.analyse.pack import LABELS, LANGUAGES, TARGET, Pack, concept_of, read_pack
from dicomnlp.analyse.reading import Mention, SentenceReader, SentenceReading
from dicomnlp.analyse.schema import Case
from dicomnlp.analyse.sections import SectionFinder
from dicomnlp.analyse.sentences import SentenceSplitter
from dicomnlp.analyse.statements import Stated, StatementReader
from dicomnlp.analyse.tokens import WORD
from dicomnlp.errors import LanguagePackError
from dicomnlp.model import (
    Analysis,
    Assertion,
    Change,
    Concept,
    Cue,
    Finding,
    Measurement,
    Narrative,
    Section,
    SectionName,
    Segment,
)

_WITHOUT_ATTRIBUTES = (Assertion.ABSENT, Assertion.HYPOTHETICAL, Assertion.FAMILY)

_NOWHERE = Segment(0, 0, "")
_FIELDS = tuple(field.name for field in fields(Finding))

_TITLES = 256
"""Headings that a process keeps with what they assume."""


class Engine:
    """One language, ready to read.

    Parameters
    ----------
    pack
        The language's data.
    cache
        Whether to keep results of sentences.
    overlay
        Folder that `pack` holds the words of, beside its own.
    """

    def __init__(self, pack: Pack, *, cache: bool = True, overlay: Path | None = None) -> None:
        self.pack = pack
        base = pack.folder.parent / pack.about.base if pack.about.base else None
        self.pipeline = f"{pack.language}-{pack.about.version}+{digest(pack.folder, base, overlay)}"
        self._sections = SectionFinder(pack.sections)
        self._sentences = SentenceSplitter(pack.sentences, pack.about.limits.sentence_characters)
        self._reader = SentenceReader(pack, cache=cache)
        limits = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in pack.about.exceptions)
        self._exceptions = re.compile(rf"(?<!{WORD})(?:{limits})(?!{WORD})", re.IGNORECASE) if limits else None
        self.labels = Labeller(pack)
        """What findings count for in the label sets; concepts are the same in all languages."""
        self._fold = pack.about.folding
        self._common = frozenset(pack.about.common_words)
        self._complaints = frozenset(word.lower() for word in pack.context.complaints)
        self._questions = {name: frozenset(words) for name, words in pack.context.questions.items()}
        self._concepts = {i: concept_of(i, entry) for i, entry in pack.concepts.items()}
        self._concepts[TARGET] = Concept(TARGET, None, None, "Span given by the caller")
        self._sites = {i: concept_of(i, entry) for i, entry in pack.anatomy.items()}
        self._statements = StatementReader(pack, self._sites, cache=cache)
        self._titled = lru_cache(_TITLES)(self._title_assumes)
        self._implying = {i for i, entry in pack.concepts.items() if entry.implies}
        self._critical = {i for i in pack.concepts if pack.critical(i)}

    def analyse(self, narrative: Narrative, targets: Sequence[tuple[int, int]] = ()) -> Analysis:
        """What the narrative says; with `targets` these spans are the findings, whatever the lexicon knows."""
        # folded one to one, so that offsets stay true; what is shown is the text as written
        shown = narrative.text
        text = shown if shown.isascii() else shown.translate(self._fold)
        sections = self._sections.find(replace(narrative, text=text))
        if text != shown:
            sections = tuple(_titled(section, text, shown) for section in sections)
        findings: list[Finding] = []
        measurements: list[Measurement] = []
        stated = Stated()
        open_targets = sorted(set(targets))
        for section in sections:
            line = _Line(section.body_start)
            sentences = list(self._sentences.split(text, section.body_start, section.end))
            self._statements.collect(shown, section, sentences, stated)
            for start, end in sentences:
                inside: list[tuple[int, int]] = []
                here: tuple[tuple[int, int], ...] = ()
                if open_targets:
                    inside = [t for t in open_targets if t[0] < end and t[1] > start]
                    open_targets = [t for t in open_targets if t not in inside]
                    here = tuple([(max(a, start) - start, min(b, end) - start) for a, b in inside])
                reading = self._reader.read(shown[start:end], here)
                lead = line.lead(text, start, end, reading)
                measurements += [_shifted(m, start) for m in reading.measurements]
                if targets and not inside:
                    continue
                found = [self._finding(narrative, section, start, end, m, lead) for m in reading.mentions]
                if inside:
                    found = [_at(f, shown, _whole(f, inside)) for f in found]
                if reading.refers_back and findings and findings[-1].end > line.previous:
                    findings[-1] = _measured(findings[-1], reading, start)
                    self._course(findings, line.previous, reading.change)
                findings += found if targets else self._with_implied(found)
                line.previous = start
        findings += [self._unplaced(narrative, sections, target) for target in open_targets]
        findings.sort(key=attrgetter("start", "end"))
        return Analysis(
            language=self.pack.language,
            pipeline=self.pipeline,
            sections=sections,
            findings=tuple(findings),
            measurements=tuple(measurements),
            recommendations=tuple(stated.recommendations),
            scores=tuple(stated.scores),
            communications=tuple(stated.communications),
            demographics=tuple(stated.demographics),
            labels=self.labels(findings, {s.name for s in sections}),
            warnings=() if self._reads(text) else ("language_uncertain",),
        )

    def _reads(self, text: str) -> bool:
        """Whether the text looks like the pack's language.

        German has the script of English: next to nothing is found in it, which must not pass for a clean report.
        """
        return common_share(text, self._common) >= COMMON_SHARE

    def _finding(
        self, narrative: Narrative, section: Section, start: int, end: int, mention: Mention, lead: Lead | None
    ) -> Finding:
        text = narrative.text
        place = start + mention.start, start + mention.end
        read = led(mention.attributes, lead)
        assertion = mention.assertion or self._uncued(section, text[slice(*place)], measured=bool(read.measurements))
        if assertion is Assertion.POSSIBLE and self._assumed(section) is Assertion.HYPOTHETICAL:
            assertion = Assertion.HYPOTHETICAL  # "Indication: possible pneumonia" asks
        questions = self._questions.get(section.name, ())
        if assertion is Assertion.POSSIBLE and any(c.text.lower() in questions for c in mention.cues):
            assertion = Assertion.HYPOTHETICAL  # "Clinical details: cough, ?pneumonia"
        entry = self.pack.concepts.get(mention.concept)
        if entry is not None and entry.assertion == "absent" and assertion is Assertion.PRESENT and not entry.implies:
            assertion = Assertion.ABSENT
        bare = assertion in _WITHOUT_ATTRIBUTES
        change = read.change if not bare or read.change is Change.RESOLVED else None
        origin = _origin(narrative, place[0])
        return Finding(
            concept=self._concepts[mention.concept],
            text=text[slice(*place)],
            start=place[0],
            end=place[1],
            sentence=text[start:end],
            section=section.name,
            assertion=assertion,
            is_negated=NEGATED in mention.flags,
            is_uncertain=UNCERTAIN in mention.flags,
            is_historical=HISTORICAL in mention.flags,
            is_hypothetical=HYPOTHETICAL in mention.flags,
            is_family=FAMILY in mention.flags,
            cues=tuple([Cue(c.text, c.start + start, c.end + start, c.category) for c in mention.cues]),
            anatomy=self._sites[read.anatomy] if read.anatomy else None,
            laterality=read.laterality,
            severity=None if bare else read.severity,
            change=change,
            measurements=tuple([_shifted(m, start) for m in read.measurements]),
            critical=self._is_critical(mention.concept, assertion),
            item_path=origin.path or None,
            subject=origin.subject,
            observer=origin.observer,
            acuity=None if bare else read.acuity,
            count=None if bare else read.count,
            levels=read.levels,
            image_references=read.image_references,
            language=self.pack.language,
        )

    def _is_critical(self, concept: str, assertion: Assertion) -> bool:
        return concept in self._critical and assertion in (Assertion.PRESENT, Assertion.POSSIBLE)

    def _assumed(self, section: Section) -> Assertion:
        return self.pack.context.sections.get(section.name, Assertion.PRESENT)

    def _uncued(self, section: Section, words: str, *, measured: bool = False) -> Assertion:
        """What a mention without cues is in its section: an indication asks, a comparison remembers."""
        if measured and section.name in self.pack.context.present_when_measured:
            return Assertion.PRESENT
        assumed = self._titled(section.title) or self._assumed(section)
        if assumed is Assertion.PRESENT:
            return assumed
        last = words.lower().rsplit(maxsplit=1)[-1] if words.strip() else ""
        return Assertion.PRESENT if last in self._complaints else assumed

    def _title_assumes(self, title: str | None) -> Assertion | None:
        return self.pack.context.titles.get(" ".join((title or "").lower().split()))

    def _with_implied(self, found: list[Finding]) -> list[Finding]:
        """`found`, each with what it says is absent, unless the same sentence says that it is there after all."""
        if self._implying.isdisjoint([f.concept.id for f in found]):
            return found
        said = {
            concept
            for f in found
            if f.assertion in (Assertion.PRESENT, Assertion.POSSIBLE)
            for concept in self.pack.lineage(f.concept.id)
        }
        return [f for one in found for f in (one, *(i for i in self._implied(one) if i.concept.id not in said))]

    def _course(self, findings: list[Finding], previous: int, change: Change | None) -> None:
        """Give `change` to the finding of the sentence at `previous`, where that speaks of one alone.

        What "has resolved" would be absent after all; a sentence's cues don't act in another, so it is left as it is.
        """
        if change is None or change is Change.RESOLVED:
            return
        meant = [
            i
            for i, f in enumerate(findings)
            if f.start >= previous
            and f.assertion in (Assertion.PRESENT, Assertion.POSSIBLE)
            and not (f.concept.id in self.pack.concepts and self.pack.concepts[f.concept.id].normal)
        ]
        if len({(findings[i].start, findings[i].end) for i in meant}) == 1:
            for i in meant:
                findings[i] = replace(findings[i], change=findings[i].change or change)

    def _implied(self, finding: Finding) -> Iterable[Finding]:
        """What a normal statement says is absent ("lungs are clear")."""
        entry = self.pack.concepts.get(finding.concept.id)
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
        )
        # half of what `replace` takes for each; a normal statement implies some four
        said = {name: getattr(first, name) for name in _FIELDS}
        for identifier in entry.implies:
            said["concept"] = self._concepts[identifier]
            yield Finding(**said)

    def _unplaced(self, narrative: Narrative, sections: Sequence[Section], target: tuple[int, int]) -> Finding:
        """A target outside every sentence: in a heading, or white space."""
        i = bisect_right([s.start for s in sections], target[0]) - 1
        whole = Section(SectionName.OTHER, None, 0, len(narrative.text), len(narrative.text))
        section = sections[max(i, 0)] if sections else whole
        words = narrative.text[slice(*target)]
        origin = _origin(narrative, target[0])
        return Finding(
            concept=self._concepts[TARGET],
            text=words,
            start=target[0],
            end=target[1],
            sentence=narrative.text[section.start : section.body_start],
            section=section.name,
            assertion=self._uncued(section, words),
            item_path=origin.path or None,
            subject=origin.subject,
            observer=origin.observer,
            language=self.pack.language,
        )


class _Line:
    """What the label of the line says, while its sentences are read."""

    def __init__(self, start: int) -> None:
        self._lead: Lead | None = None
        self._end = start
        self._opened = False
        self.previous = start
        """Start of the sentence before."""

    def lead(self, text: str, start: int, end: int, reading: SentenceReading) -> Lead | None:
        """The label that holds for the sentence ``text[start:end]``: its own, else that of its line."""
        if not self._opened or "\n" in text[self._end : start]:
            self._lead = reading.lead  # it begins the line, so it holds for the rest of it
        elif reading.lead is not None:
            self._lead = None
        self._opened = True
        self._end = end
        return reading.lead or self._lead


def _titled(section: Section, text: str, shown: str) -> Section:
    """`section`, found in folded `text`, with its title as written."""
    at = text.find(section.title, section.start, section.body_start) if section.title else -1
    return section if at < 0 else replace(section, title=shown[at : at + len(section.title or "")])


def _measured(finding: Finding, reading: SentenceReading, start: int) -> Finding:
    """`finding` with the sizes of a sentence that goes on about it."""
    if finding.assertion not in (Assertion.PRESENT, Assertion.POSSIBLE):
        return finding
    sizes = tuple(_shifted(m, start) for m in reading.measurements if m.kind != "distance")
    return replace(finding, measurements=finding.measurements + sizes)


def _whole(finding: Finding, targets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The target that `finding` was clipped from at the sentence's ends."""
    return next(t for t in targets if t[0] <= finding.start and finding.end <= t[1])


def _at(finding: Finding, text: str, place: tuple[int, int]) -> Finding:
    return replace(finding, text=text[slice(*place)], start=place[0], end=place[1])


def _shifted(measurement: Measurement, by: int) -> Measurement:
    return replace(measurement, start=measurement.start + by, end=measurement.end + by)


def _origin(narrative: Narrative, place: int) -> Segment:
    """Where the character at `place` came from: a content item, of whom it speaks and who says it."""
    if not narrative.segments:
        return _NOWHERE
    i = bisect_right(narrative.segments, place, key=lambda s: s.start) - 1
    if i < 0 or place >= narrative.segments[i].end:
        return _NOWHERE
    return narrative.segments[i]


@cache
def digest(folder: Path, *others: Path | None) -> str:
    """Twelve hexadecimal digits over everything that can change the answer of the pack in `folder`.

    That is the pack's data, those of `others` (its base, an overlay) and the label sets', the source of analyse and
    extract, and the versions of spaCy and medspaCy.
    """
    package = Path(__file__).parents[1]
    code = [p for part in ("analyse", "extract") for p in sorted((package / part).rglob("*.py"))]
    data = [p for of in (folder, *others) if of is not None for p in sorted(of.rglob("*.toml"))]
    seen = hashlib.sha256(repr(sorted(VERSIONS.items())).encode())
    for path in [*data, *sorted(LABELS.glob("*.toml")), *code]:
        seen.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return seen.hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The engine of a language as it is used, and why the site's overlay of it isn't."""

    engine: Engine
    faults: tuple[Fault, ...] = ()


@dataclass(slots=True)
class _Process:
    """What holds for the life of a process."""

    overlays: Path | None = None


_PROCESS = _Process()


def use_overlays(folder: Path | None) -> None:
    """Lay what the site added to the packs over them, from here on: `folder` holds a folder for each language."""
    if folder != _PROCESS.overlays:
        _PROCESS.overlays = folder
        loaded.cache_clear()


def refused_overlays() -> dict[str, tuple[Fault, ...]]:
    """Language -> what is wrong in the site's overlay of it; languages whose overlay is used, or none, aren't there."""
    folder = _PROCESS.overlays
    if folder is None:
        return {}
    if not folder.is_dir():
        return {"": (Fault(folder.name, None, "there is no such folder"),)}
    found: dict[str, tuple[Fault, ...]] = {}
    for language in languages_of(folder):
        if not (LANGUAGES / language / "pack.toml").exists():
            found[language] = (Fault(language, None, "there is no language pack of that name"),)
        elif faults := loaded(language).faults:
            found[language] = faults
    return found


def load_engine(language: str) -> Engine:
    """The engine of `language`, read, checked and tried on the pack's own cases; one per process.

    The site's overlay is in it where that has no fault; see `loaded`.

    Raises
    ------
    LanguagePackError
        The pack is malformed, or fails its own cases.
    """
    return loaded(language).engine


@cache
def loaded(language: str) -> Loaded:
    """As `load_engine`, with what is wrong in the overlay."""
    pack = read_pack(LANGUAGES / language)
    folder = _PROCESS.overlays / language if _PROCESS.overlays is not None else None
    if folder is not None and folder.is_dir():
        engine, faults = overlaid(pack, folder)
        if engine is not None and not faults:
            return Loaded(checked(engine))
        return Loaded(checked(Engine(pack)), faults)
    return Loaded(checked(Engine(pack)))


def overlaid(pack: Pack, folder: Path) -> tuple[Engine | None, tuple[Fault, ...]]:
    """`pack` with the overlay in `folder`, tried on the cases of both, and all that is wrong.

    None where what is left of the overlay can't be read with at all.
    """
    laid = lay(pack, folder)
    try:
        engine = Engine(laid.pack, overlay=folder)
    except LanguagePackError as error:
        return None, (*laid.faults, Fault(folder.name, None, str(error)))
    faults = [
        Fault(file, line, wrong) for case, file, line in laid.cases if (wrong := failure(engine, case)) is not None
    ]
    broken = [wrong for case in pack.cases if (wrong := failure(engine, case)) is not None]
    faults += [Fault(folder.name, None, f"with this overlay the pack fails its own case {wrong}") for wrong in broken]
    return engine, (*laid.faults, *faults)


def checked(engine: Engine) -> Engine:
    """`engine`, if its pack passes its own cases.

    Raises
    ------
    LanguagePackError
        Names each case that fails.
    """
    failed = [wrong for case in engine.pack.cases if (wrong := failure(engine, case)) is not None]
    if failed:
        raise LanguagePackError(f"language pack {engine.pack.language} fails its own cases: " + "; ".join(failed))
    return engine


def failure(engine: Engine, case: Case) -> str | None:
    """Why `case` fails, None where it passes."""
    start = case.text.find(case.span)
    if start < 0:
        return f"{case.text!r}: {case.span!r} isn't in it"
    target = start, start + len(case.span)
    finding = engine.analyse(Narrative(case.text), targets=() if case.concept else (target,)).findings
    here = [f for f in finding if f.start < target[1] and f.end > target[0]]
    if case.concept:
        here = [f for f in here if f.concept.id == case.concept]
    got = [(f.assertion, f.laterality, f.change) for f in here]
    want = (case.assertion, case.laterality, case.change)
    if any(all(w is None or w is g for w, g in zip(want, have, strict=True)) for have in got):
        return None
    said = ", ".join(a.value for a, _, _ in got) or "nothing"
    return f"{case.text!r}: {case.span!r} should be {case.assertion.value}, came out as {said}"
