"""A pack that is broken, or fails its own cases, refuses to load and says why."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomnlp.analyse import load_pack
from dicomnlp.analyse.engine import Engine, checked
from dicomnlp.errors import LanguageNotSupportedError, LanguagePackError


def change(path: Path, old: str, new: str) -> None:
    """Replace `old`, which must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


BROKEN = {
    "unknown key": ("concepts.toml", 'meaning = "Lesion"', 'meening = "Lesion"', "concepts.lesion.meening"),
    "wrong type": ("concepts.toml", "critical = 1", "critical = 7", "concepts.pulmonary_embolism.critical"),
    "not TOML": ("concepts.toml", "[concepts]", "[concepts", "isn't TOML"),
    "unknown parent": ("concepts.toml", 'parent = "lesion"', 'parent = "lesions"', "nodule descends from lesions"),
    "own ancestor": (
        "concepts.toml",
        'lesion = { meaning = "Lesion",',
        'lesion = { meaning = "Lesion", parent = "nodule",',
        "its own ancestor",
    ),
    "half a code": ("concepts.toml", 'code = "27925004", ', "", "both code and scheme"),
    "unknown implied": ("concepts.toml", 'implies = ["opacity"]', 'implies = ["haze"]', "implies haze"),
    "bad expression": ("sentences.toml", "list_marker = '", "list_marker = '(", "list_marker"),
    "bad direction": ("context.toml", 'direction = "backward"', 'direction = "back"', "direction"),
    "bad alternative": ("context.toml", "raises|raise|raising ..4", "raises|raise-up|raising ..4", "must be a word"),
    "no negation": ("context.toml", '"NEGATED_EXISTENCE"', '"DENIED"', "no negation cues"),
    "two characters folded": ("pack.toml", '"\\u2013" = "-"', '"\\u2013" = "--"', "pack.toml: fold"),
    "unknown label concept": ("../labels/small.toml", '["opacity"]', '["haze"]', "Opacity names haze"),
}


@pytest.mark.parametrize(("name", "old", "new", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_pack_says_where_it_is_broken(
    build: Callable[..., Engine], folder: Path, name: str, old: str, new: str, says: str
) -> None:
    """The message names the file, the key and what is wrong."""
    change(folder / name, old, new)
    with pytest.raises(LanguagePackError, match=re.escape(says)) as raised:
        build()
    assert raised.value.reason_code == "language_pack"


def test_a_missing_file_is_named(build: Callable[..., Engine], folder: Path) -> None:
    """A pack needs all its files."""
    (folder / "measures.toml").unlink()
    with pytest.raises(LanguagePackError, match=r"en/measures\.toml is missing"):
        build()


def test_a_pack_that_fails_its_cases_names_each(build: Callable[..., Engine], folder: Path) -> None:
    """Every failed case is named with what came out; passing ones aren't."""
    cases = [
        '{ text = "No fracture.", span = "fracture", assertion = "present" }',
        '{ text = "Nodule.", span = "Nodule", assertion = "present", concept = "opacity" }',
        '{ text = "Nodule.", span = "Mass", assertion = "present" }',
        '{ text = "Left effusion.", span = "effusion", assertion = "present", laterality = "right" }',
        '{ text = "Possible PE.", span = "PE", assertion = "possible" }',
    ]
    (folder / "cases.toml").write_text(f"cases = [{', '.join(cases)}]", encoding="utf-8")
    with pytest.raises(LanguagePackError) as raised:
        checked(build())
    message = str(raised.value)
    assert message.count("should be") == 3
    assert "'No fracture.': 'fracture' should be present, came out as absent" in message
    assert "'Nodule.': 'Mass' isn't in it" in message
    assert "Possible PE" not in message


def test_a_pack_without_negation_fails_its_cases(build: Callable[..., Engine], folder: Path) -> None:
    """Rules that don't work are caught even where the files are well formed."""
    change(folder / "context.toml", '"no", "not", "without"', '"nix", "nought", "sans"')
    with pytest.raises(LanguagePackError, match=r"No fracture\."):
        checked(build())


def test_the_english_pack_is_whole() -> None:
    """It loads, passes its own cases, and every code has its scheme."""
    pack = load_pack("en")
    assert len(pack.concepts) >= 150
    assert {labels.set for labels in pack.label_sets} >= {"chestxray14", "chexpert14"}


def test_a_language_without_pack_is_refused() -> None:
    """The message says which packs there are."""
    with pytest.raises(LanguageNotSupportedError, match="en"):
        load_pack("xx")
