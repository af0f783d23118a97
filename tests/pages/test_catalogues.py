"""The words of the interface: the same keys in every language, and all that templates ask for."""

import re
import string
from pathlib import Path

import pytest

from dicomnlp import serve
from dicomnlp.model import (
    Acuity,
    Assertion,
    Change,
    Door,
    Laterality,
    Outcome,
    RecommendationKind,
    SectionName,
    Severity,
    State,
)
from dicomnlp.serve.interface_language import LANGUAGES, catalogue, choose
from dicomnlp.store.prevailing import ReportStatus

TEMPLATES = Path(serve.__file__).parent / "templates"
CLOSED = {
    "acuity": Acuity,
    "assertion": Assertion,
    "change": Change,
    "door": Door,
    "laterality": Laterality,
    "outcome": [*Outcome, *ReportStatus],
    "recommendation": RecommendationKind,
    "section": SectionName,
    "severity": Severity,
    "state": State,
}
"""Groups of words that must be whole."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogues_have_the_same_keys_and_places(language):
    """A word that one language lacks would break its page."""
    english, other = catalogue("en").words, catalogue(language).words
    assert english.keys() == other.keys()
    for key, words in english.items():
        places = [{name for _, name, _, _ in string.Formatter().parse(w) if name} for w in (words, other[key])]
        assert places[0] == places[1], key
        assert other[key].strip()


@pytest.mark.parametrize("group", CLOSED)
def test_every_word_of_a_closed_list_is_named(group):
    """In each language: else its id with spaces would be shown."""
    for language in LANGUAGES:
        words = catalogue(language).words
        assert {f"{group}.{value}" for value in CLOSED[group]} <= words.keys()


def test_templates_ask_for_keys_that_there_are():
    """Those that are written out; the others are made of closed lists."""
    known = catalogue("en").words
    call = re.compile(r"""\bt\(["']([a-z_.]+)["'][,)]""")
    asked = {key for path in TEMPLATES.glob("*.html") for key in call.findall(path.read_text(encoding="utf-8"))}
    assert len(asked) > 100
    assert asked <= known.keys()


def test_values_are_escaped_in_their_places():
    """A reason or size of a report goes into a sentence as text."""
    assert catalogue("en")("report.failed", reason="<b>").count("&lt;b&gt;") == 1
    assert str(catalogue("zh").named("reason", "<i>_x")) == "&lt;i&gt; x"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("fr, en;q=0.3, zh;q=0.7", "zh"),
        ("en-GB;q=0.5, zh;q=0.4", "en"),
        ("zh;q=0", "en"),
        ("zh;q=high", "en"),
        (",;q=,zh", "zh"),
    ],
)
def test_language_is_the_one_that_the_browser_prefers(accepted, language):
    """Accept-Language, however it is written."""
    assert choose(accepted) == language
