"""Reports that declare several languages, on two small packs that share the rules of English."""

import shutil
from pathlib import Path

import pytest

from dicomnlp.analyse import analyse, analysis_to_json, language, mixed
from dicomnlp.analyse.engine import Engine
from dicomnlp.analyse.pack import read_pack
from dicomnlp.errors import LanguageNotSupportedError
from dicomnlp.model import Narrative, Section, SectionName, Segment

GERMAN = """
[concepts]
pleural_effusion = { meaning = "Pleural effusion", terms = ["erguss"] }
nodule = { meaning = "Nodule", code = "27925004", scheme = "SCT", terms = ["herd"] }
opacity = { meaning = "Opacity", terms = ["gift"] }
"""
"""The last word is an English one, too: it must count in German passages only."""


@pytest.fixture(scope="module")
def engines(module_folder: Path) -> dict[str, Engine]:
    """English, and German in the words above."""
    german = module_folder.parent / "de"
    shutil.copytree(module_folder, german)
    (german / "concepts.toml").write_text(GERMAN, encoding="utf-8")
    about = (german / "pack.toml").read_text(encoding="utf-8")
    (german / "pack.toml").write_text(about.replace('language = "en"', 'language = "de"'), encoding="utf-8")
    (german / "cases.toml").write_text(
        'cases = [{ text = "No erguss.", span = "erguss", assertion = "absent" }]\n', encoding="utf-8"
    )
    labels = module_folder.parent / "labels"
    return {code: Engine(read_pack(module_folder.parent / code, labels)) for code in ("en", "de")}


@pytest.fixture
def packs(engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    """English and German, and no other language."""
    english = language._about("en")
    monkeypatch.setattr(mixed, "load_engine", engines.__getitem__)
    monkeypatch.setattr(language, "languages", lambda: ("de", "en"))
    monkeypatch.setattr(language, "_about", lambda _code: english)


def narrative(*parts: tuple[str, str]) -> Narrative:
    """Content items with (text, declared language), a line each, under one coded heading."""
    text = "Findings:"
    segments = [Segment(0, len(text), "1.1")]
    for number, (words, declared) in enumerate(parts, 1):
        text += "\n"
        segments.append(Segment(len(text), len(text) + len(words), f"1.1.{number}", language=declared))
        text += words
    section = Section(SectionName.FINDINGS, "Findings", 0, len(text), len("Findings:\n"))
    return Narrative(text, (section,), tuple(segments))


def said(given: Narrative, declared: str = "en") -> list[tuple[str, str, str, str]]:
    """(words, assertion, section, language) of each finding; words as the offsets give them."""
    found = analyse(given, language=declared).findings
    assert all(given.text[f.start : f.end] == f.text and f.sentence in given.text for f in found)
    assert all(given.text[c.start : c.end] == c.text for f in found for c in f.cues)
    return [(f.text, f.assertion.value, f.section.value, f.language) for f in found]


def test_each_passage_is_read_by_the_pack_of_its_language(packs):
    """In the order of the text, with places in the whole text, in the section that goes on over the passages."""
    given = narrative(("No effusion. A gift.", ""), ("No Erguss. A gift.", "de-AT"), ("A 6 mm nodule. Erguss.", ""))
    assert said(given) == [
        ("effusion", "absent", "findings", "en"),
        ("Erguss", "absent", "findings", "de"),
        ("gift", "present", "findings", "de"),
        ("nodule", "present", "findings", "en"),
    ]
    analysis = analyse(given, language="en")
    [size] = analysis.measurements
    assert given.text[size.start : size.end] == size.text == "6 mm"
    assert analysis.findings[-1].measurements == (size,)
    assert analysis.findings[1].item_path == "1.1.2"
    assert analysis.language == "en"
    assert [f["language"] for f in analysis_to_json(None, given, analysis)["findings"]] == ["en", "de", "de", "en"]


def test_the_pipeline_names_all_packs_that_read_the_report(packs):
    """In an order of their own, so that a change of either shows, and the order of the passages doesn't."""
    german = analyse(narrative(("Kein Erguss.", "de")), language="de").pipeline
    english = analyse(narrative(("No effusion.", "en")), language="en").pipeline
    for own, other in (("en", "de"), ("de", "en")):
        both = narrative(("A nodule.", ""), ("Herd.", other), ("Norsk.", "nb"))
        assert analyse(both, language=own).pipeline == f"{german}&{english}"


def test_labels_count_the_findings_of_all_languages(packs):
    """Concepts are shared, so that what stands in the inserted language counts."""
    labels = analyse(narrative(("No effusion.", ""), ("Erguss. A gift.", "de")), language="en").labels
    assert labels == {"small": {"Opacity": "present", "Effusion": "present"}}


def test_a_passage_without_pack_is_named_and_not_read(packs):
    """Nothing is found in Klingon, and nobody can take that for health."""
    given = narrative(("No effusion.", ""), ("A nodule and pneumonia.", "tlh"), ("A fracture.", ""))
    assert [words for words, *_ in said(given)] == ["effusion", "fracture"]
    assert analyse(given, language="en").warnings == ("language_not_supported at 1.1.2",)


def test_a_report_without_declared_language_goes_by_the_script_of_the_rest(packs):
    """The inserted passage says nothing of the language of the others."""
    given = narrative(("No effusion.", ""), ("Перелома нет, перелома нет, перелома нет.", "ru"))
    assert said(given, "") == [("effusion", "absent", "findings", "en")]


@pytest.mark.parametrize("declared", ["en", "en-US", "EN"])
def test_the_same_language_in_other_letters_divides_nothing(packs, declared):
    """A sentence that runs over two items of one language stays whole."""
    given = narrative(("No effusion or", ""), ("pneumothorax.", declared))
    assert [(words, assertion) for words, assertion, *_ in said(given, "en-GB")] == [
        ("effusion", "absent"),
        ("pneumothorax", "absent"),
    ]


def test_the_report_in_a_language_without_pack_fails_as_before(packs):
    """An inserted English sentence doesn't make a Klingon report a readable one."""
    with pytest.raises(LanguageNotSupportedError):
        analyse(narrative(("A nodule.", "en"), ("Qapla.", "")), language="tlh")


def test_targets_are_judged_by_the_pack_of_their_passage(packs):
    """Given spans are the only findings, wherever they are."""
    given = narrative(("No zebra.", ""), ("A quagga.", "de"), ("No okapi.", "tlh"))
    targets = [(given.text.index(w), given.text.index(w) + len(w)) for w in ("zebra", "quagga", "okapi")]
    found = analyse(given, language="en", targets=targets).findings
    assert [(f.text, f.assertion.value, f.language) for f in found] == [
        ("zebra", "absent", "en"),
        ("quagga", "present", "de"),
    ]


def test_a_text_that_begins_with_another_language(packs):
    """The first passage has no empty one before it."""
    text = "Erguss.\nA nodule."
    given = Narrative(text, (), (Segment(0, 7, "1.1", language="de"), Segment(8, len(text), "1.2")))
    assert [(p.start, p.end, p.language) for p in mixed.passages_of(given, "en")] == [
        (0, 8, "de"),
        (8, len(text), "en"),
    ]
    assert [(words, code) for words, _, _, code in said(given)] == [("Erguss", "de"), ("nodule", "en")]


def test_many_passages_without_pack_earn_few_warnings(packs):
    """A writer that changes its language at every item doesn't fill the database with warnings."""
    given = narrative(*[("A nodule.", "tlh" if number % 2 else "") for number in range(300)])
    warnings = analyse(given, language="en").warnings
    assert len(warnings) == mixed.MAX_WARNINGS + 1
    assert warnings[-1] == "further_warnings"
    assert len(said(given)) == 150
