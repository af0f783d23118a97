"""What the pipeline says against what annotators say: one decision for each thing that can be right or wrong."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dicomnlp.analyse import Pack
from dicomnlp.learn.gold import GoldFinding, GoldReport
from dicomnlp.model import Analysis, Finding

SPANS, FINDINGS, CONCEPTS, LATERALITY = "assertion", "findings", "concepts", "laterality"
SECTIONS, MEASUREMENTS, LABELS = "sections", "measurements", "labels"
HEADING_TOLERANCE = 2
"""Characters by which the start of a heading may differ."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer: right, or wrong in the gold's class, or the answer's, or both."""

    task: str
    report: int
    gold: str | None
    """The annotator's class; None where the pipeline found what no annotator marked."""
    got: str | None
    """The pipeline's class; None where it found nothing."""
    right: bool
    section: str | None = None
    span: tuple[int, int] | None = None
    what: str | None = None
    """Of a label or quantity, which has no span: what it is."""
    probability: float | None = None
    """That a trained model gives to its answer."""


def judge_targets(
    report: int, gold: GoldReport, marked: Sequence[GoldFinding], analysis: Analysis
) -> Iterator[Decision]:
    """The assertion of each marked span, when the pipeline was given the spans."""
    by_span = {(f.start, f.end): f for f in analysis.findings}
    for target in marked:
        if not target.accepted:
            continue
        found = by_span[target.start, target.end]
        got = found.assertion
        yield Decision(
            SPANS,
            report,
            target.accepted[0].value,
            got.value,
            got in target.accepted,
            section_at(gold, analysis, target.start),
            (target.start, target.end),
            probability=found.model_probability,
        )


def judge_findings(report: int, gold: GoldReport, analysis: Analysis, pack: Pack) -> Iterator[Decision]:
    """Findings of the whole report: found at all, with the right assertion, concept and side.

    A finding answers the marked span that it overlaps, one to one: the same span first, then the largest overlap, of
    equals the one that agrees. Several readings of one span count once. A statement of normality ("lungs are clear")
    that nobody marked isn't counted as wrong.
    """
    marked = gold.findings or ()
    pairs = _matched(marked, analysis.findings, pack)
    for i, wanted in enumerate(marked):
        found = analysis.findings[pairs[i]] if i in pairs else None
        if not wanted.accepted:
            continue
        place = section_at(gold, analysis, wanted.start), (wanted.start, wanted.end)
        got = found.assertion.value if found else None
        right = found is not None and found.assertion in wanted.accepted
        yield Decision(FINDINGS, report, wanted.accepted[0].value, got, right, *place)
        if wanted.concept in pack.concepts:
            same = found is not None and wanted.concept in set(pack.lineage(found.concept.id))
            named = None if found is None else wanted.concept if same else found.concept.id
            yield Decision(CONCEPTS, report, wanted.concept, named, same and right, *place)
        if wanted.laterality is not None and found is not None:
            side = found.laterality.value if found.laterality else None
            yield Decision(LATERALITY, report, wanted.laterality.value, side, side == wanted.laterality, *place)
    names_concepts = any(f.concept in pack.concepts for f in marked)
    for extra in _spurious(analysis.findings, set(pairs.values()), pack):
        place = section_at(gold, analysis, extra.start), (extra.start, extra.end)
        yield Decision(FINDINGS, report, None, extra.assertion.value, False, *place)
        if names_concepts:
            yield Decision(CONCEPTS, report, None, extra.concept.id, False, *place)


def _matched(marked: Sequence[GoldFinding], found: Sequence[Finding], pack: Pack) -> dict[int, int]:
    """Marked span -> finding, by index, one to one."""
    candidates = []
    for i, wanted in enumerate(marked):
        for j, finding in enumerate(found):
            overlap = min(finding.end, wanted.end) - max(finding.start, wanted.start)
            if overlap > 0:
                agreement = (
                    (finding.start, finding.end) == (wanted.start, wanted.end),
                    overlap,
                    wanted.concept in set(pack.lineage(finding.concept.id)),
                    finding.assertion in wanted.accepted,
                    wanted.laterality is not None and finding.laterality == wanted.laterality,
                )
                candidates.append((agreement, -i, -j))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(candidates, reverse=True):
        if -i not in pairs and -j not in taken:
            pairs[-i] = -j
            taken.add(-j)
    return pairs


def _spurious(found: Sequence[Finding], matched: Collection[int], pack: Pack) -> Iterator[Finding]:
    seen = {(found[j].start, found[j].end) for j in matched}
    for j, finding in enumerate(found):
        entry = pack.concepts.get(finding.concept.id)
        if j in matched or (finding.start, finding.end) in seen:
            continue
        # what a statement of normality implies shares its span
        seen.add((finding.start, finding.end))
        if entry is None or not entry.normal:
            yield finding


def judge_labels(
    report: int, gold: Mapping[str, str | None], got: Mapping[str, str | None], task: str, value: str
) -> Iterator[Decision]:
    """Which labels have `value`; those that neither side gives it are right without saying."""
    for label, said in gold.items():
        wanted, given = said == value, got.get(label) == value
        if wanted or given:
            yield Decision(
                task, report, label if wanted else None, label if given else None, wanted and given, what=label
            )


def judge_sections(report: int, gold: GoldReport, analysis: Analysis) -> Iterator[Decision]:
    """Headings: the name, and the start within two characters; headings that the pipeline calls "other" don't count."""
    heads = [(s.name.value, s.start) for s in analysis.sections if s.title and s.name.value != "other"]
    for name, start in gold.sections or ():
        near = [h for h in heads if abs(h[1] - start) <= HEADING_TOLERANCE]
        got = name if any(h[0] == name for h in near) else near[0][0] if near else None
        heads = [h for h in heads if h not in near]
        if name != "other":
            yield Decision(SECTIONS, report, name, got, got == name, got or name, _line(gold.text, start))
    for name, start in heads:
        yield Decision(SECTIONS, report, None, name, False, name, _line(gold.text, start))


def _line(text: str, start: int) -> tuple[int, int]:
    """From `start` to the end of its line or colon, where a heading ends."""
    stops = [i for mark in ":\n" if (i := text.find(mark, start)) >= 0]
    return start, max(min(stops, default=len(text)), start)


def judge_measurements(report: int, gold: GoldReport, analysis: Analysis) -> Iterator[Decision]:
    """Quantities by values, to a tenth, and unit; where they stand doesn't matter."""
    wanted = Counter((tuple(round(v, 1) for v in values), unit) for values, unit in gold.measurements or ())
    got = Counter((tuple(round(v, 1) for v in m.values), m.unit) for m in analysis.measurements)
    for sides, right in ((wanted & got, True), (wanted - got, False)):
        for (values, unit), n in sides.items():
            what = f"{' x '.join(f'{v:g}' for v in values)} {unit}"
            yield from [Decision(MEASUREMENTS, report, unit, unit if right else None, right, what=what)] * n
    units = {unit for _, unit in wanted} or {"mm"}
    for (values, unit), n in (got - wanted).items():
        # quantities of a kind that nobody marked in this report aren't wrong
        if unit in units:
            what = f"{' x '.join(f'{v:g}' for v in values)} {unit}"
            yield from [Decision(MEASUREMENTS, report, None, unit, False, what=what)] * n


def section_at(gold: GoldReport, analysis: Analysis, place: int) -> str | None:
    """The section at `place`: the annotator's where sections were marked, else the pipeline's."""
    heads = gold.sections or [(s.name.value, s.start) for s in analysis.sections]
    heads = sorted(heads, key=lambda h: h[1])
    i = bisect_right([start for _, start in heads], place) - 1
    return heads[i][0] if i >= 0 else None
