"""Which pack reads a report."""

import pytest

from dicomnlp.analyse import choose_language, languages
from dicomnlp.errors import LanguageNotSupportedError


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
