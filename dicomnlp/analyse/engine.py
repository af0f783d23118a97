"""A report's text to its analysis: sections, sentences, and what each sentence says in its section."""

import copy
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from operator import attrgetter
from pathlib import Path

from dicomnlp.analyse import learned_use
from dicomnlp.analyse.details import Lead
from dicomnlp.analyse.findings import FindingJudge
from dicomnlp.analyse.labels import Labeller, Labels
from dicomnlp.analyse.language import COMMON_SHARE, common_share, pack_folder, use_packs
from dicomnlp.analyse.learned import Learned
from dicomnlp.analyse.overlay import Fault, languages_of, lay
from dicomnlp.analyse.pack import UNLISTED, Pack, concept_of, folder_of, read_pack
from dicomnlp.analyse.pipelines import Source, name_of
from dicomnlp.analyse.reading import SentenceReader, SentenceReading
from dicomnlp.analyse.records import moved, moved_finding
from dicomnlp.analyse.schema import Case
from dicomnlp.analyse.sections import SectionFinder
from dicomnlp.analyse.sentences import SentenceSplitter
from dicomnlp.analyse.statements import Stated, StatementReader
from dicomnlp.errors import LanguagePackError, ModelRefusedError
from dicomnlp.model import (
    Analysis,
    Assertion,
    Change,
    Finding,
    Measurement,
    Narrative,
    Section,
    SectionName,
    Segment,
)

_NOWHERE = Segment(0, 0, "")


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
        self.pipeline = name_of(pack.folder, overlay)
        self.overlay = overlay
        self._learned: Learned | None = None
        self._sections = SectionFinder(pack.sections)
        self._sentences = SentenceSplitter(pack.sentences, pack.about.limits.sentence_characters)
        self._reader = SentenceReader(pack, cache=cache)
        self.labels = Labeller(pack)
        """What findings count for in the label sets; concepts are the same in all languages."""
        self._fold = pack.about.folding
        self._common = frozenset(pack.about.common_words)
        sites = {i: concept_of(i, entry) for i, entry in pack.anatomy.items()}
        self._judge = FindingJudge(pack, sites)
        self._statements = StatementReader(pack, sites, cache=cache)

    def with_model(self, learned: Learned) -> "Engine":
        """An engine that reads as this one, with a trained model that has its say beside the rules."""
        other = copy.copy(self)
        other._learned = learned  # noqa: SLF001  its own kind
        other._reader = self._reader.with_model(learned)  # noqa: SLF001  its own kind
        other._judge = self._judge.with_model(learned)  # noqa: SLF001  its own kind
        other.pipeline = learned_use.named(self.pipeline, learned.identity)
        return other

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
            line = _Line(section.body_start, len(findings))
            sentences = list(self._sentences.split(text, section.body_start, section.end))
            self._statements.collect(shown, section, sentences, stated)
            for start, end in sentences:
                inside: list[tuple[int, int]] = []
                here: tuple[tuple[int, int], ...] = ()
                if open_targets:
                    inside = [t for t in open_targets if t[0] < end and t[1] > start]
                    open_targets = [t for t in open_targets if t not in inside]
                    here = tuple([(max(a, start) - start, min(b, end) - start) for a, b in inside])
                sentence = shown[start:end]
                reading = self._reader.read(sentence, here)
                lead = line.lead(text, start, end, reading)
                if reading.measurements:
                    measurements += [moved(m, start) for m in reading.measurements]
                if targets and not inside:
                    continue
                if reading.refers_back and len(findings) > line.before:
                    findings[-1] = _measured(findings[-1], reading, start)
                    self._course(findings, line.before, reading.change)
                line.before = len(findings)
                if not reading.mentions:
                    continue
                judge = self._judge.judged if targets else self._judge.found
                for said in judge(reading, sentence, section, lead):
                    origin = _origin(narrative, said.start + start) if narrative.segments else _NOWHERE
                    findings.append(moved_finding(said, start, origin.path or None, origin.subject, origin.observer))
                if inside:
                    findings[line.before :] = [_at(f, shown, _whole(f, inside)) for f in findings[line.before :]]
        findings += [self._unplaced(narrative, sections, target) for target in open_targets]
        findings.sort(key=attrgetter("start", "end"))
        labels, rules_labels = self.labelled(shown, sections, findings, aimed=bool(targets))
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
            labels=labels,
            warnings=() if self._reads(text) else ("language_uncertain",),
            rules_labels=rules_labels,
            model="" if self._learned is None else self._learned.mark,
        )

    @property
    def model_labels(self) -> dict[str, tuple[str, ...]]:
        """Label set -> labels that a model answers; the rules may know them too."""
        return {} if self._learned is None else self._learned.label_sets

    def labelled(
        self, text: str, sections: Sequence[Section], findings: Sequence[Finding], *, aimed: bool = False
    ) -> tuple[Labels, Labels | None]:
        """The label sets of a report, and what the rules alone make of them where a model had its say.

        A model has none where the findings are but the spans that were asked for (`aimed`).
        """
        names = {s.name for s in sections}
        said = self.labels(findings, names)
        if self._learned is None or aimed:
            return said, None
        plain = [_ruled(f) for f in findings if f.concept.id != UNLISTED]
        ruled = self.labels(plain, names)
        return self._learned.labels(text, sections, plain, ruled, said), ruled

    def _reads(self, text: str) -> bool:
        """Whether the text looks like the pack's language.

        German has the script of English: next to nothing is found in it, which must not pass for a clean report.
        """
        return common_share(text, self._common) >= COMMON_SHARE

    def _course(self, findings: list[Finding], first: int, change: Change | None) -> None:
        """Give `change` to the finding of the sentence before, where that speaks of one alone.

        Its findings are those from number `first` on. What "has resolved" would be absent after all; a sentence's cues
        don't act in another, so it is left as it is.
        """
        if change is None or change is Change.RESOLVED:
            return
        meant = [
            i
            for i, f in enumerate(findings[first:], first)
            if f.assertion in (Assertion.PRESENT, Assertion.POSSIBLE)
            and not (f.concept.id in self.pack.concepts and self.pack.concepts[f.concept.id].normal)
        ]
        if len({(findings[i].start, findings[i].end) for i in meant}) == 1:
            for i in meant:
                findings[i] = replace(findings[i], change=findings[i].change or change)

    def _unplaced(self, narrative: Narrative, sections: Sequence[Section], target: tuple[int, int]) -> Finding:
        """A target outside every sentence: in a heading, or white space."""
        i = bisect_right([s.start for s in sections], target[0]) - 1
        whole = Section(SectionName.OTHER, None, 0, len(narrative.text), len(narrative.text))
        section = sections[max(i, 0)] if sections else whole
        said = self._judge.target(
            section, narrative.text[slice(*target)], target, narrative.text[section.start : section.body_start]
        )
        origin = _origin(narrative, target[0])
        return replace(said, item_path=origin.path or None, subject=origin.subject, observer=origin.observer)


class _Line:
    """What the label of the line says, while its sentences are read."""

    def __init__(self, start: int, before: int) -> None:
        self._lead: Lead | None = None
        self._end = start
        self._opened = False
        self.before = before
        """How many findings there were before those of the sentence before."""

    def lead(self, text: str, start: int, end: int, reading: SentenceReading) -> Lead | None:
        """The label that holds for the sentence ``text[start:end]``: its own, else that of its line."""
        if not self._opened or "\n" in text[self._end : start]:
            self._lead = reading.lead  # it begins the line, so it holds for the rest of it
        elif reading.lead is not None:
            self._lead = None
        self._opened = True
        self._end = end
        return reading.lead or self._lead


def _ruled(finding: Finding) -> Finding:
    """`finding` as the rules alone say it."""
    ruled = finding.rules_assertion
    return finding if ruled is None or ruled is finding.assertion else replace(finding, assertion=ruled)


def _titled(section: Section, text: str, shown: str) -> Section:
    """`section`, found in folded `text`, with its title as written."""
    at = text.find(section.title, section.start, section.body_start) if section.title else -1
    return section if at < 0 else replace(section, title=shown[at : at + len(section.title or "")])


def _measured(finding: Finding, reading: SentenceReading, start: int) -> Finding:
    """`finding` with the sizes of a sentence that goes on about it."""
    if finding.assertion not in (Assertion.PRESENT, Assertion.POSSIBLE):
        return finding
    sizes = tuple(moved(m, start) for m in reading.measurements if m.kind != "distance")
    return replace(finding, measurements=finding.measurements + sizes)


def _whole(finding: Finding, targets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The target that `finding` was clipped from at the sentence's ends."""
    return next(t for t in targets if t[0] <= finding.start and finding.end <= t[1])


def _at(finding: Finding, text: str, place: tuple[int, int]) -> Finding:
    return replace(finding, text=text[slice(*place)], start=place[0], end=place[1])


def _origin(narrative: Narrative, place: int) -> Segment:
    """Where the character at `place` came from: a content item, of whom it speaks and who says it."""
    if not narrative.segments:
        return _NOWHERE
    i = bisect_right(narrative.segments, place, key=lambda s: s.start) - 1
    if i < 0 or place >= narrative.segments[i].end:
        return _NOWHERE
    return narrative.segments[i]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The engine of a language as it is used, and why the site's overlay of it isn't."""

    engine: Engine
    faults: tuple[Fault, ...] = ()


@dataclass(slots=True)
class _Process:
    """What holds for the process."""

    source: Source
    known: tuple[Source, ...]
    """Those whose engines may be loaded."""


_PROCESS = _Process(Source(), (Source(),))
_KNOWN = 2
"""A pipeline and another beside it, in turn, are each loaded once."""


def use_source(source: Source) -> None:
    """Read by these packs, overlays and models, from here on."""
    if source == _PROCESS.source:
        return
    if source not in _PROCESS.known and len(_PROCESS.known) >= _KNOWN:
        loaded_by.cache_clear()
        _PROCESS.known = ()
    if source not in _PROCESS.known:
        _PROCESS.known += (source,)
    _PROCESS.source = source
    use_packs(source.packs)
    learned_use.use_own(source.models)


def refused_overlays() -> dict[str, tuple[Fault, ...]]:
    """Language -> what is wrong in the site's overlay of it; languages whose overlay is used, or none, aren't there."""
    folder = _PROCESS.source.overlays
    if folder is None:
        return {}
    if not folder.is_dir():
        return {"": (Fault(folder.name, None, "there is no such folder"),)}
    found: dict[str, tuple[Fault, ...]] = {}
    for language in languages_of(folder):
        if not (pack_folder(language) / "pack.toml").exists():
            found[language] = (Fault(language, None, "there is no language pack of that name"),)
        elif faults := loaded(language).faults:
            found[language] = faults
    return found


def load_engine(language: str) -> Engine:
    """The engine of `language`, read, checked and tried on the pack's own cases; one per process.

    The site's overlay is in it where that has no fault, see `loaded`, and the model that was promoted for it where
    that is what was registered and breaks no protected case, see `learned_use`.

    Raises
    ------
    LanguagePackError
        The pack is malformed, or fails its own cases.
    """
    engine = loaded(language).engine
    learned = learned_use.model_of(language)
    return engine if learned is None else _with_model(engine, learned)


@lru_cache(8)
def _with_model(engine: Engine, learned: Learned) -> Engine:
    found = engine.with_model(learned)
    broken = broken_cases(found) if learned_use.is_checked(learned) else []
    if not broken:
        return found
    message = f"model {learned.name} fails {len(broken)} protected cases: {broken[0]}"
    learned_use.refuse(learned, ModelRefusedError(message, reason_code="model_fails_cases"))
    return engine


def models_changed() -> None:
    """Read with the models that are promoted now."""
    learned_use.forget_models()
    _with_model.cache_clear()


def refused_models() -> dict[str, ModelRefusedError]:
    """Language -> why the model that was promoted for it isn't used; "" -> what is wrong with the registry."""
    for language in learned_use.promoted_languages():
        if (folder_of(language, _PROCESS.source.packs) / "pack.toml").exists():
            load_engine(language)
    return learned_use.refusals()


def broken_cases(engine: Engine) -> list[str]:
    """What `engine` gets wrong of the protected cases."""
    return [wrong for case in protected_cases(engine) if (wrong := failure(engine, case)) is not None]


def protected_cases(engine: Engine) -> list[Case]:
    """The cases of the pack of `engine`, and those of the site's overlay of it."""
    laid = lay(read_pack(engine.pack.folder), engine.overlay).cases if engine.overlay is not None else ()
    return [*engine.pack.cases, *(case for case, _, _ in laid)]


def loaded(language: str) -> Loaded:
    """As `load_engine`, with what is wrong in the overlay."""
    return loaded_by(language, _PROCESS.source)


@cache
def loaded_by(language: str, source: Source) -> Loaded:
    """As `loaded`, of what `source` is made of, which must be what the process reads by."""
    pack = read_pack(folder_of(language, source.packs))
    folder = source.overlays / language if source.overlays is not None else None
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
