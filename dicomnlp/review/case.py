"""A report as a second reader looks at it: what is stated now of this patient, by part of the report."""

import functools
import re
from collections.abc import Iterable

from dicomnlp.analyse.hierarchy import expand_concept, expand_site
from dicomnlp.errors import UsageError
from dicomnlp.model import Analysis, Assertion, Finding, Laterality, Measurement, Report, SectionName, Temporality
from dicomnlp.remarks import Place, PlaceKind

_ASIDE = frozenset(
    {
        SectionName.EXAM,
        SectionName.INDICATION,
        SectionName.HISTORY,
        SectionName.TECHNIQUE,
        SectionName.COMPARISON,
        SectionName.CONTRAST,
        SectionName.RECOMMENDATION,
        SectionName.ADDENDUM,
        SectionName.COMMUNICATION,
    }
)
"""Parts in which nothing is stated of what this study shows; addenda correct on purpose."""
HELD = frozenset({Assertion.PRESENT, Assertion.POSSIBLE})
_SENTENCE_END = re.compile(r"[。；;！？\n]|[.!?](?=\s|$)")
_SIDED = re.compile(r"(?:^|_)(?:left|right)(?=_|$)")


class Case:
    """A report and its analysis, and what is drawn from them once for all rules."""

    __slots__ = (
        "__weakref__",
        "analysis",
        "concluded",
        "described",
        "report",
        "stated",
        "stretches",
        "text",
    )

    def __init__(self, report: Report, analysis: Analysis) -> None:
        self.report = report
        self.analysis = analysis
        self.text = report.narrative.text
        own = [f for f in analysis.findings if f.section not in _ASIDE and not f.subject]
        self.concluded = tuple(f for f in own if f.section is SectionName.IMPRESSION)
        """Findings of the patient in the part that concludes."""
        self.described = tuple(f for f in own if f.section is not SectionName.IMPRESSION)
        """Findings of the patient in the part that describes."""
        self.stated = self.described + self.concluded
        """Both."""
        self.stretches = tuple((s.body_start, s.end) for s in analysis.sections if s.name not in _ASIDE)
        """Where the text describes or concludes: [start, end) without headings."""
        if not analysis.sections and self.text:
            self.stretches = ((0, len(self.text)),)

    def stretches_of(self, *names: SectionName) -> tuple[tuple[int, int], ...]:
        """Where sections of these names are, headings included."""
        return tuple((s.start, s.end) for s in self.analysis.sections if s.name in names)

    def section_at(self, offset: int) -> SectionName:
        """The section that a character stands in."""
        return next((s.name for s in self.analysis.sections if s.start <= offset < s.end), SectionName.OTHER)

    def sentence_around(self, start: int, end: int) -> str:
        """The sentence in which [start, end) stands, in any language's punctuation."""
        first, last = self.sentence_bounds(start, end)
        return self.text[first:last]

    def sentence_bounds(self, start: int, end: int) -> tuple[int, int]:
        """Where that sentence is."""
        begin = 0
        for match in _SENTENCE_END.finditer(self.text, max(0, start - 600), start):
            begin = match.end()
        begin = max(begin, start - 600)
        following = _SENTENCE_END.search(self.text, end, end + 600)
        return begin, following.start() if following else min(len(self.text), end + 600)

    def place(self, start: int, end: int) -> Place:
        """These characters."""
        return Place(PlaceKind.TEXT, self.text[start:end], start, end)

    def clause_of(self, finding: Finding) -> Place:
        """The finding with whatever in its sentence was attached to it: measurements, cues."""
        spans = [(finding.start, finding.end)]
        spans += [(m.start, m.end) for m in finding.measurements]
        spans += [(c.start, c.end) for c in finding.cues if abs(c.start - finding.start) < 120]
        start, end = min(s for s, _ in spans), max(e for _, e in spans)
        side = _SIDE_BEFORE.search(self.text, max(0, start - 40), start)
        if finding.laterality and side:
            start = side.start()
        return self.place(start, end)

    def missing(self, stretches: Iterable[tuple[int, int]]) -> Place:
        """That something isn't said in the longest of these stretches."""
        start, end = max(stretches, key=lambda s: s[1] - s[0], default=(0, len(self.text)))
        return Place(PlaceKind.TEXT, "", start, end)


_SIDE_BEFORE = re.compile(r"(?:left|right|bilateral|[左右双])[^.;。；,，]*\Z", re.IGNORECASE)


def header_place(field: str, words: str) -> Place:
    """A value of the report's header, by its DICOM keyword."""
    return Place(PlaceKind.HEADER, words, field=field)


@functools.lru_cache(4096)
def kinds_of(concept: str) -> frozenset[str]:
    """`concept` and all that descend from it; itself alone where no pack has it (a target of the caller)."""
    try:
        return frozenset(expand_concept(concept))
    except UsageError:
        return frozenset({concept})


@functools.lru_cache(4096)
def parts_of(site: str) -> frozenset[str]:
    """`site` and all that are parts of it, without their sides."""
    try:
        return frozenset(unsided(s) for s in expand_site(site)) | {unsided(site)}
    except UsageError:
        return frozenset({unsided(site)})


@functools.lru_cache(4096)
def unsided(site: str) -> str:
    """A site without its side: "left_kidney" is a kidney."""
    return _SIDED.sub("", site).strip("_") or site


def same_site(one: Finding, other: Finding) -> bool | None:
    """Whether two findings are of one site, or of a site and its part, sides aside; None where one names none."""
    if one.anatomy is None or other.anatomy is None:
        return None if (one.anatomy is None) != (other.anatomy is None) else True
    return sites_meet(one.anatomy.id, other.anatomy.id)


@functools.lru_cache(8192)
def sites_meet(one: str, other: str) -> bool:
    """Whether one site is the other or a part of it, sides aside."""
    return unsided(other) in parts_of(unsided(one)) or unsided(one) in parts_of(unsided(other))


def lengths(finding: Finding, *, up_to: bool = False) -> list[Measurement]:
    """Sizes in millimetres that the finding has now; with `up_to` also those that name the largest of several."""
    return [
        m
        for m in finding.measurements
        if m.kind == "size"
        and m.unit == "mm"
        and m.temporality is Temporality.CURRENT
        and (m.comparator is None or (up_to and m.comparator == "<="))
    ]


def one_side(finding: Finding) -> Laterality | None:
    """LEFT or RIGHT, where it is one of them."""
    return finding.laterality if finding.laterality in {Laterality.LEFT, Laterality.RIGHT} else None


def opposite(side: Laterality) -> Laterality:
    """The other of LEFT and RIGHT."""
    return Laterality.RIGHT if side is Laterality.LEFT else Laterality.LEFT
