"""The words of findings in a text, whatever the text and however the findings lie."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomnlp.model import Assertion, Concept, Cue, Finding, Section, SectionName
from dicomnlp.serve.highlighting import marked_text
from dicomnlp.store.answers import StoredFinding


class Pieces(HTMLParser):
    """The text of a page, and of it what is marked for each finding."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.text, self.marked, self.lit, self._open = "", {}, {}, []

    def handle_starttag(self, tag, attrs):
        """An element of ours."""
        given_ = dict(attrs)
        assert tag in {"a", "span"}
        self._open.append((given_.get("data-findings", ""), given_.get("data-of", "")))

    def handle_endtag(self, tag):
        """The latest closes."""
        self._open.pop()

    def handle_data(self, data):
        """Words."""
        self.text += data
        for findings, parts in self._open:
            for number in map(int, findings.split()):
                self.marked[number] = self.marked.get(number, "") + data
            for number in map(int, parts.split()):
                self.lit[number] = self.lit.get(number, "") + data


def stored(number, text, start, end, cues=()):
    """A finding of a text."""
    finding = Finding(
        Concept("nodule", None, None, "Nodule"), text[start:end], start, end, text, SectionName.FINDINGS,
        Assertion.PRESENT, cues=cues,
    )  # fmt: skip
    return StoredFinding(number, "1.2", "1.3", finding, "p", None)


def read(marked):
    """What a parser of HTML makes of the passages."""
    pieces = Pieces()
    for passage in marked.passages:
        pieces.feed(str(passage.title))
        pieces.feed(str(passage.body))
    pieces.close()
    return pieces


LETTERS = st.text("ab <>&\"'\r\n结节\U0001f600\U0001d6fc", min_size=1, max_size=40)


@settings(deadline=None)
@given(LETTERS, st.data())
def test_pieces_of_a_finding_are_its_words(text, data):
    """Findings and cues anywhere, within, across and equal to each other; markup stays text."""
    text = f"|{text}|"  # nothing to be trimmed at the ends
    offsets = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).filter(lambda pair: pair[0] < pair[1])
    spans = data.draw(st.lists(offsets, max_size=6))
    cues = data.draw(st.lists(offsets, max_size=3))
    found = [
        stored(n, text, start, end, tuple(Cue(text[a:b], a, b, "X") for a, b in cues))
        for n, (start, end) in enumerate(spans)
    ]
    pieces = read(marked_text(text, (), found))
    assert pieces.text == text
    assert {n: text[start:end] for n, (start, end) in enumerate(spans)} == pieces.marked
    covered = "".join(c for i, c in enumerate(text) if any(a <= i < b for a, b in cues))
    assert all(pieces.lit.get(f.id, "") == covered for f in found)


def test_sections_come_in_their_order_and_nothing_between_them_is_lost():
    """Text before, between and behind sections is shown, each once, though sections may overlap."""
    text = "Before.\nFINDINGS: One. Two.\nBetween.\nIMPRESSION: Three.\nAfter."
    at = text.index
    sections = (
        Section(SectionName.IMPRESSION, "IMPRESSION:", at("IMPR"), at("After"), at("Three")),
        Section(SectionName.FINDINGS, "FINDINGS:", at("FIND"), at("Between"), at("One")),
        Section(SectionName.OTHER, None, at("Two"), at("Between"), at("Two")),
    )
    passages = marked_text(text, sections, []).passages
    assert [(p.name, str(p.title), str(p.body)) for p in passages] == [
        (None, "", "Before."),
        (SectionName.FINDINGS, "FINDINGS:", "One. Two."),
        (None, "", "Between."),
        (SectionName.IMPRESSION, "IMPRESSION:", "Three."),
        (None, "", "After."),
    ]
    assert len({p.anchor for p in passages}) == 5


@pytest.mark.parametrize(
    ("assertion", "critical", "classes"),
    [
        (Assertion.PRESENT, True, "mark present critical"),
        # what is critical if it is there isn't when it is excluded
        (Assertion.ABSENT, True, "mark absent"),
        (Assertion.FAMILY, False, "mark family"),
    ],
)
def test_looks_follow_from_the_assertion(assertion, critical, classes):
    """Also of what is critical."""
    finding = Finding(
        Concept("nodule", None, None, "Nodule"), "nodule", 0, 6, "nodule", SectionName.FINDINGS, assertion,
        critical=critical,
    )  # fmt: skip
    marked = marked_text("nodule", (), [StoredFinding(7, "1.2", "1.3", finding, "p", None)], titles={7: '"<'})
    assert str(marked.passages[0].body) == (
        f'<a class="{classes}" href="#finding-7" id="mark-7" data-findings="7" title="&#34;&lt;">nodule</a>'
    )
    assert marked.anchors == {7: "mark-7"}
