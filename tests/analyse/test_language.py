"""Which pack reads a report."""

import pytest

from dicomnlp.analyse import analyse, choose_language, languages
from dicomnlp.errors import LanguageNotSupportedError
from dicomnlp.model import Narrative


@pytest.mark.parametrize(
    ("text", "declared"), [("No fracture.", ""), ("No fracture.", "en-US"), ("检查", "EN"), ("12 / 3", ""), ("", "")]
)
def test_the_declared_language_or_the_script_decides(text: str, declared: str) -> None:
    """A declared code counts whatever its region and case; without one the script does."""
    assert choose_language(text, declared) == "en"


@pytest.mark.parametrize(("text", "declared"), [("No fracture.", "tlh"), ("Перелома нет.", ""), ("骨折なし", "ja-JP")])
def test_a_language_without_pack_is_not_supported(text: str, declared: str) -> None:
    """The message names no word of the report."""
    with pytest.raises(LanguageNotSupportedError) as raised:
        choose_language(text, declared)
    assert raised.value.reason_code == "language_not_supported"
    assert text not in str(raised.value)


def test_languages_are_those_that_have_a_pack() -> None:
    """English is one of them."""
    assert "en" in languages()


@pytest.mark.parametrize("text", ["", "12.5 / 3", "Lungs are clear."])
def test_site_language_decides_where_the_script_does_not(text, monkeypatch):
    """No letters, or a script that several packs read."""
    from dicomnlp.analyse import language

    about = language._about("en")
    monkeypatch.setattr(language, "languages", lambda: ("de", "en"))
    monkeypatch.setattr(language, "_about", lambda _code: about)
    assert language.choose_language(text, "", "de") == "de"
    assert language.choose_language(text, "", "en") == "en"


MIXED = (
    "FINDINGS: There is a small nodule in the right upper lobe of the lung.\n"
    "检查所见：左侧胸腔少量积液，未见气胸及实变。\n"
)


def test_paragraphs_of_another_script_are_read_by_its_pack() -> None:
    """A bilingual report that declares nothing: each finding carries the language it was read in."""
    found = [(f.language, f.concept.id, f.assertion.value, f.text) for f in analyse(Narrative(MIXED)).findings]
    assert [(a, c) for a, _, c, _ in found[:1]] == [("en", "present")]
    assert [(a, b, c) for a, b, c, _ in found[1:]] == [
        ("zh", "pleural_effusion", "present"),
        ("zh", "pneumothorax", "absent"),
        ("zh", "consolidation", "absent"),
    ]
    assert all(f.text == MIXED[f.start : f.end] for f in analyse(Narrative(MIXED)).findings)


def test_a_chinese_report_full_of_latin_words_is_chinese() -> None:
    """Words are counted, not letters: sequences and abbreviations are in every Chinese report of MR."""
    text = "T1WI、T2WI、FLAIR及DWI序列未见异常，MRA未见狭窄，ADC未见异常，SWI未见微出血。"
    assert choose_language(text) == "zh"


def test_chinese_is_found_by_its_script_and_kept_when_declared() -> None:
    """What an object declares comes first; nothing found in the wrong language is no clean report."""
    assert analyse(Narrative("双肺未见实变。")).language == "zh"
    assert analyse(Narrative("双肺未见实变。"), language="zh-CN").findings[0].language == "zh"
