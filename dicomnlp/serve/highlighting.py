"""A report's text as HTML, with the words of its findings marked where they stand.

Findings may overlap in any way, and HTML elements can't: so the text is cut wherever a finding begins or ends, and a
piece that several findings share is marked for all of them. The pieces of one finding, put together, are its words.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from dicomnlp.analyse.names import states_normality
from dicomnlp.model import Assertion, Section, SectionName
from dicomnlp.store.answers import StoredFinding

_WEIGHT = {assertion: n for n, assertion in enumerate(Assertion)}


@dataclass(frozen=True, slots=True)
class Passage:
    """A section of a report, as HTML."""

    name: SectionName | None
    """None of text that stands in no section."""
    anchor: str
    """Its id in the page."""
    title: Markup
    """The heading's words; empty where there is none."""
    body: Markup
    title_start: int
    """Where the heading's words begin in the narrative."""
    body_start: int


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A report's text, ready to be shown."""

    passages: list[Passage]
    anchors: dict[int, str]
    """Finding -> id of the element in which its words begin."""


def marked_text(
    text: str,
    sections: Sequence[Section],
    findings: Sequence[StoredFinding],
    *,
    prefix: str = "",
    titles: Mapping[int, str] | None = None,
    verdicts: Mapping[int, str] | None = None,
) -> MarkedText:
    """`text` in its sections, with the words of `findings`, their cues and sizes marked.

    Parameters
    ----------
    text
        The narrative.
    findings
        Of this narrative.
    prefix
        Of the ids in the page, where there are several texts in one.
    titles
        Finding -> what is told of it in a word where no script runs.
    verdicts
        Finding -> what a reader said of it, in one word.
    """
    marker = _Marker(text, findings, titles or {}, verdicts or {})
    passages = []
    for number, (name, start, body_start, end) in enumerate(_ranges(text, sections)):
        of_title, of_body = _trimmed(text, start, body_start), _trimmed(text, body_start, end)
        title, body = marker.html(*of_title), marker.html(*of_body)
        if title or body:
            passages.append(Passage(name, f"{prefix}section-{number}", title, body, of_title[0], of_body[0]))
    return MarkedText(passages, marker.anchors)


def _ranges(text: str, sections: Sequence[Section]) -> Iterator[tuple[SectionName | None, int, int, int]]:
    """(name, start, where the body starts, end) of stretches that make up the whole text in its order."""
    at = 0
    for section in sorted(sections, key=lambda s: (s.start, s.end)):
        start, end = max(section.start, at), section.end
        if start > at:
            yield None, at, at, start
        if end > start:
            yield section.name, start, min(max(section.body_start, start), end), end
            at = end
    if at < len(text):
        yield None, at, at, len(text)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The same without empty lines around it."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


class _Marker:
    def __init__(
        self, text: str, findings: Sequence[StoredFinding], titles: Mapping[int, str], verdicts: Mapping[int, str]
    ) -> None:
        self._text = text
        self._titles = titles
        self._verdicts = verdicts
        self._found = {f.id: f for f in findings}
        self.anchors: dict[int, str] = {}
        marks = [(f.finding.start, f.finding.end, f.id) for f in findings]
        parts = [(c.start, c.end, f.id) for f in findings for c in f.finding.cues]
        sizes = [(m.start, m.end, f.id) for f in findings for m in f.finding.measurements]
        self._marks, self._cues, self._sizes = _Spans(marks), _Spans(parts), _Spans(sizes)

    def html(self, start: int, end: int) -> Markup:
        """The text from `start` to `end`."""
        found = []
        for low, high, ids in self._marks.pieces(start, end):
            words = Markup().join(self._parts(low, high))
            found.append(self._mark(low, ids, words) if ids else words)
        return Markup().join(found)

    def _mark(self, at: int, ids: Collection[int], words: Markup) -> Markup:
        of = [self._found[i] for i in sorted(ids)]
        # the most exact of several says how it looks; what is critical always shows
        first = min(of, key=lambda f: (f.finding.end - f.finding.start, _WEIGHT[f.finding.assertion], f.id))
        new = [f.id for f in of if f.id not in self.anchors]
        anchor = f"mark-{new[0]}" if new else ""
        self.anchors.update(dict.fromkeys(new, anchor))
        classes = ["mark", first.finding.assertion.value]
        if any(f.finding.critical and f.finding.assertion in {Assertion.PRESENT, Assertion.POSSIBLE} for f in of):
            classes.append("critical")
        if first.finding.assertion is Assertion.PRESENT and states_normality(first.finding.concept.id):
            classes.append("normal")
        if first.finding.start != at:
            classes.append("continued")
        if first.id in self._verdicts:
            classes.append(f"is-{self._verdicts[first.id]}")
        return Markup('<a class="{}" href="#finding-{}"{} data-findings="{}" title="{}">{}</a>').format(
            " ".join(classes),
            first.id,
            Markup(' id="{}"').format(anchor) if anchor else "",
            " ".join(str(f.id) for f in of),
            "; ".join(self._titles[f.id] for f in of if f.id in self._titles),
            words,
        )

    def _parts(self, start: int, end: int) -> Iterator[Markup]:
        for low, high, cue_of in self._cues.pieces(start, end):
            for first, last, size_of in self._sizes.pieces(low, high):
                words = _escaped(self._text[first:last])
                if cue_of or size_of:
                    kinds = [kind for kind, ids in (("cue", cue_of), ("size", size_of)) if ids]
                    yield Markup('<span class="{}" data-of="{}">{}</span>').format(
                        " ".join(kinds), " ".join(map(str, sorted({*cue_of, *size_of}))), words
                    )
                else:
                    yield words


class _Spans:
    """Stretches of a text that may overlap."""

    def __init__(self, spans: Sequence[tuple[int, int, int]]) -> None:
        self._bounds = sorted({offset for start, end, _ in spans for offset in (start, end)})
        begin: defaultdict[int, set[int]] = defaultdict(set)
        # which cover each stretch between two bounds
        for start, end, identifier in spans:
            for n in range(bisect_left(self._bounds, start), bisect_left(self._bounds, end)):
                begin[self._bounds[n]].add(identifier)
        self._covering = begin

    def pieces(self, start: int, end: int) -> Iterator[tuple[int, int, Collection[int]]]:
        """(start, end, what covers it) of the stretches that make up the text between two offsets."""
        if start >= end:
            return
        first = bisect_left(self._bounds, start + 1)
        at = start
        covering: Collection[int] = self._covering.get(self._bounds[first - 1], ()) if first else ()
        for bound in self._bounds[first : bisect_left(self._bounds, end)]:
            yield at, bound, covering
            at, covering = bound, self._covering.get(bound, ())
        yield at, end, covering


def _escaped(text: str) -> Markup:
    """Escaped, and with returns as such: a parser of HTML would make one character of a return and a line feed."""
    return Markup(str(escape(text)).replace("\r", "&#13;"))  # noqa: S704  escaped, and a reference put in
