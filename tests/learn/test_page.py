"""The page of an evaluation: whole, escaped, self-contained."""

import re
from html.parser import HTMLParser

import pytest

from dicomnlp.learn.evaluation import evaluate
from dicomnlp.learn.gold import read_record
from dicomnlp.learn.page import page

HOSTILE = "FINDINGS: <script>alert(1)</script> No <b onclick='x'>effusion</b> & \x1b[31m \u202emass. Nodule."
VOID = {"meta", "br"}


@pytest.fixture
def html():
    """Two reports, one hostile in text, id and field, with mistakes in all of them."""

    def marked(words, assertion, text):
        start = text.index(words)
        return {"start": start, "end": start + len(words), "assertion": assertion}

    other = "IMPRESSION: Pneumonia."
    records = [
        {"id": "<i>1</i>", "text": HOSTILE, "modality": "<u>CT</u>",
         "findings": [marked("effusion", "present", HOSTILE)]},
        {"id": "2", "text": other, "modality": "XR", "findings": [marked("Pneumonia", "present", other)],
         "labels": {"chexpert14": {"Edema": 1}}},
    ]  # fmt: skip
    return page(evaluate([read_record(r, "") for r in records]), "<set>.jsonl")


class Reader(HTMLParser):
    """Counts tags, and checks that they close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes = [], set(), set()

    def handle_starttag(self, tag, attrs):
        """One more is open."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Open and closed."""
        self.tags.add(tag)

    def handle_endtag(self, tag):
        """The last that was opened."""
        assert self.open.pop() == tag


def test_text_of_reports_is_escaped(html):
    """Nothing of a report becomes markup, nor steers the direction of text or a terminal."""
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert not {"script", "u", "set"} & reader.tags
    assert "onclick" not in reader.attributes
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;u&gt;CT&lt;/u&gt;" in html
    assert "&lt;i&gt;1&lt;/i&gt;" in html
    assert "&lt;set&gt;.jsonl" in html
    assert not {"\x1b", "\u202e"} & set(html)


def test_page_needs_nothing_besides_itself(html):
    """No script, no link to elsewhere, and a policy that would forbid them."""
    assert "default-src 'none'" in html
    assert not re.findall(r"(?:src|href)=[\"'](?!#)", html)
    assert "url(" not in html
    assert "prefers-color-scheme: dark" in html


def test_page_holds_plots_figures_and_mistakes(html):
    """For every task a plot, for every wrong answer its passage."""
    for task in ("assertion", "findings", "labels-chexpert14"):
        assert f'id="{task}"' in html
    assert html.count('<svg class="forest"') >= 4
    assert "By section" in html
    assert "By modality" in html
    assert "annotators: <strong>present</strong>, dicomnlp: <strong>absent</strong>" in html
    assert "<mark>effusion</mark>" in html
    assert "annotators: <strong>Edema</strong>, dicomnlp: <strong>not found</strong>" in html


def test_anchors_lead_somewhere(html):
    """Each link of the summary has its heading."""
    links = set(re.findall(r'href="#([^"]+)"', html))
    assert links
    assert links <= set(re.findall(r'id="([^"]+)"', html))
