"""Reports in several languages: each passage is read by the pack of the language that its content items declare.

Where nothing is declared, a report whose paragraphs are in different scripts is read by their packs.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from dicomnlp.analyse.engine import Engine, load_engine
from dicomnlp.analyse.language import choose_language
from dicomnlp.analyse.tokens import HAN
from dicomnlp.errors import LanguageNotSupportedError
from dicomnlp.model import (
    PIPELINE_SEPARATOR,
    Analysis,
    Communication,
    Cue,
    Finding,
    Measurement,
    Narrative,
    PatientStatement,
    Recommendation,
    Score,
    Section,
    Segment,
)

_Placed = TypeVar("_Placed", Communication, Cue, Finding, Measurement, PatientStatement, Recommendation, Score)
_Stretch = TypeVar("_Stretch", Section, Segment)

NOT_SUPPORTED = "language_not_supported"
"""Warning, with the place, for a passage that no pack reads: nothing is found in it, which mustn't look like health."""
_LINE = re.compile(r"[^\n\r]+")
_HAN = re.compile(f"[{HAN}]")
_LATIN = re.compile(f"[^\\W\\d_{HAN}]{{2,}}")
_TELLING = 6
"""Fewest words or Han characters of a line that tells its script: "CT", "T2WI FLAIR" are said in any language."""
_EVEN = 0.2
"""Share of the other script up to which a line is plainly in one."""
MAX_WARNINGS = 100
"""After which `further_warnings` stands for the others."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Characters [start, end) of a narrative, in one language."""

    start: int
    end: int
    language: str | None
    """Code of the pack that reads it; None where none does."""
    path: str
    """Of the content item that it begins with, "" at the beginning of the text."""


def analyse_by_passage(
    narrative: Narrative, declared: str, default_language: str, targets: Sequence[tuple[int, int]]
) -> Analysis:
    """What `narrative` says, each passage read by the pack of its own language.

    Parameters
    ----------
    narrative
        The prose; its segments say where the declared language changes (PS3.16 TID 1204).
    declared, default_language
        Of the report, as `choose_language` takes them.
    targets
        As `Engine.analyse` takes them; each is judged in the passage that it begins in, and ends with it at the latest.

    Returns
    -------
    Analysis
        In the report's own language, which also counts the labels; what other packs found stands between, each
        finding with its language. Its pipeline names all packs that read the report. The warnings name passages that
        no pack reads.

    Raises
    ------
    LanguageNotSupportedError
        No pack reads the report's own language.
    """
    parted = any(s.language for s in narrative.segments)
    own = [narrative.text[s.start : s.end] for s in narrative.segments if not s.language]
    own_text = "".join(own) if parted else narrative.text
    main = load_engine(choose_language(own_text, declared, default_language))
    passages = passages_of(narrative, main.pack.language)
    if not declared and len(passages) == 1:
        passages = passages_by_script(narrative.text, main.pack.language)
    if [p.language for p in passages] == [main.pack.language]:
        return main.analyse(narrative, targets)
    parts: list[tuple[int, Analysis]] = []
    warnings: list[str] = []
    pipelines = {main.pipeline}
    for passage in passages:
        if passage.language is None:
            warnings.append(f"{NOT_SUPPORTED} at {passage.path or f'character {passage.start}'}")
            continue
        pipelines.add(load_engine(passage.language).pipeline)
        inside = [t for t in targets if passage.start <= t[0] < passage.end]
        if targets and not inside:
            continue
        parts.append((passage.start, _analyse(narrative, passage, inside)))
    return _joined(main, narrative.text, sorted(pipelines), parts, warnings)


def mixes_scripts(text: str) -> bool:
    """Whether some paragraphs are in Han characters and others in letters."""
    return not text.isascii() and len({han for _, _, han in _paragraphs(text)}) > 1


def passages_by_script(text: str, own: str) -> list[Passage]:
    """The passages that together cover the text, in order, each read by the pack of its script; `own` reads the rest.

    A paragraph is a line. One too short to tell belongs to the one before.
    """
    passages = [Passage(0, len(text), own, "")]
    for start, end, _ in _paragraphs(text):
        code = _code_of(text[start:end], own)
        last = passages[-1]
        if code == last.language:
            continue
        if start > last.start:
            passages[-1] = replace(last, end=start)
            passages.append(Passage(start, len(text), code, ""))
        else:
            passages[-1] = replace(last, language=code)
    return passages


def _paragraphs(text: str) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether in Han characters) of each line that is plainly in one script."""
    for line in _LINE.finditer(text):
        han = len(_HAN.findall(line.group()))
        words = len(_LATIN.findall(line.group()))
        if han + words >= _TELLING and not _EVEN < han / (han + words) < 1 - _EVEN:
            yield line.start(), line.end(), han > words


def _code_of(text: str, own: str) -> str | None:
    try:
        return choose_language(text, "", own)
    except LanguageNotSupportedError:
        return None


def passages_of(narrative: Narrative, own: str) -> list[Passage]:
    """The passages that together cover the text, in order; `own` reads what declares no language of its own.

    What stands between two content items belongs to the first.
    """
    passages = [Passage(0, len(narrative.text), own, "")]
    codes: dict[str, str | None] = {"": own}
    for segment in narrative.segments:
        if segment.language not in codes:
            codes[segment.language] = _code(segment.language)
        code = codes[segment.language]
        last = passages[-1]
        if code == last.language:
            continue
        if segment.start > last.start:
            passages[-1] = replace(last, end=segment.start)
            passages.append(Passage(segment.start, len(narrative.text), code, segment.path))
        else:
            passages[-1] = replace(last, language=code, path=segment.path)
    return passages


def _code(declared: str) -> str | None:
    try:
        return choose_language("", declared)
    except LanguageNotSupportedError:
        return None


def _analyse(narrative: Narrative, passage: Passage, targets: Sequence[tuple[int, int]]) -> Analysis:
    """What the passage says by its own pack; offsets count from its start."""
    assert passage.language is not None
    start, end = passage.start, passage.end
    inside = Narrative(
        narrative.text[start:end],
        tuple(_section_within(s, start, end) for s in _between(narrative.sections, start, end)),
        tuple(_segment_within(s, start, end) for s in _between(narrative.segments, start, end)),
    )
    return load_engine(passage.language).analyse(inside, [(a - start, min(b, end) - start) for a, b in targets])


def _between(records: Sequence[_Stretch], start: int, end: int) -> Sequence[_Stretch]:
    """Those that reach between `start` and `end`; `records` stand in order and apart."""
    return records[bisect_right(records, start, key=_end) : bisect_left(records, end, key=_start)]


def _start(record: Section | Segment) -> int:
    return record.start


def _end(record: Section | Segment) -> int:
    return record.end


def _section_within(section: Section, start: int, end: int) -> Section:
    """`section` as far as it is between `start` and `end`: one that goes on from before has no heading there."""
    return Section(
        section.name,
        section.title,
        max(section.start, start) - start,
        min(section.end, end) - start,
        min(max(section.body_start, start), end) - start,
    )


def _segment_within(segment: Segment, start: int, end: int) -> Segment:
    return replace(segment, start=max(segment.start, start) - start, end=min(segment.end, end) - start)


def _joined(
    main: Engine, text: str, pipelines: Sequence[str], parts: Sequence[tuple[int, Analysis]], warnings: Sequence[str]
) -> Analysis:
    sections = tuple(
        replace(s, start=s.start + by, end=s.end + by, body_start=s.body_start + by)
        for by, part in parts
        for s in part.sections
    )
    findings = tuple(_finding_at(f, by) for by, part in parts for f in part.findings)
    found = [warning for _, part in parts for warning in part.warnings]
    labels, rules_labels = main.labelled(text, sections, findings)
    return Analysis(
        language=main.pack.language,
        pipeline=PIPELINE_SEPARATOR.join(pipelines),
        sections=sections,
        findings=findings,
        measurements=tuple(_at(m, by) for by, part in parts for m in part.measurements),
        recommendations=tuple(_at(r, by) for by, part in parts for r in part.recommendations),
        scores=tuple(_at(s, by) for by, part in parts for s in part.scores),
        communications=tuple(_at(c, by) for by, part in parts for c in part.communications),
        demographics=tuple(_at(d, by) for by, part in parts for d in part.demographics),
        labels=labels,
        rules_labels=rules_labels,
        model=PIPELINE_SEPARATOR.join(sorted({part.model for _, part in parts} - {""})),
        warnings=tuple(dict.fromkeys([*found, *_few(warnings)])),
    )


def _few(warnings: Sequence[str]) -> Sequence[str]:
    return warnings if len(warnings) <= MAX_WARNINGS else [*warnings[:MAX_WARNINGS], "further_warnings"]


def _finding_at(finding: Finding, by: int) -> Finding:
    return replace(
        _at(finding, by),
        cues=tuple(_at(c, by) for c in finding.cues),
        measurements=tuple(_at(m, by) for m in finding.measurements),
    )


def _at(record: _Placed, by: int) -> _Placed:
    return replace(record, start=record.start + by, end=record.end + by)
