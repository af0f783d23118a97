"""Statements of a pack: its files are optional, and checked."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomnlp.analyse.engine import Engine
from dicomnlp.errors import LanguagePackError
from dicomnlp.model import Narrative

TEXT = (
    "HISTORY: 55-year-old woman.\nIMPRESSION: BI-RADS 3. Ultrasound in 6 months is recommended.\n"
    "Discussed with Dr. Lee at 10:15."
)
FILES = {
    "recommendations": "recommendations",
    "scores": "scores",
    "communication": "communications",
    "demographics": "demographics",
}


@pytest.mark.parametrize(("file", "key"), FILES.items())
def test_a_pack_without_a_file_of_statements_reads_none(
    small: Engine, build: Callable[..., Engine], folder: Path, file: str, key: str
) -> None:
    """The other statements are read as ever."""
    whole = small.analyse(Narrative(TEXT))
    (folder / f"{file}.toml").unlink()
    without = build().analyse(Narrative(TEXT))
    for each in FILES.values():
        assert len(getattr(whole, each)) == 1
        assert getattr(without, each) == (() if each == key else getattr(whole, each))


BROKEN = {
    "bad phrase": (
        "recommendations.toml",
        '"recommend", "recommends"',
        '"..2", "recommends"',
        "recommendations.toml: the phrase",
    ),
    "bad alternative": ("communication.toml", '"discussed with|by"', '"discussed with|w/o"', "must be a word"),
    "bad expression": ("scores.toml", "version = '(?:", "version = '((?:", "version"),
    "unknown key": ("demographics.toml", "female = [", "femal = [", "demographics.toml: femal"),
}


@pytest.mark.parametrize(("name", "old", "new", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_of_statements_is_refused(
    build: Callable[..., Engine], folder: Path, name: str, old: str, new: str, says: str
) -> None:
    """The message names what is wrong."""
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(LanguagePackError, match=re.escape(says)):
        build()


@pytest.mark.parametrize(
    "unit", ["LR-5 ", "BI-RADS ( ", "category is ", "6, 6, 6 ", "follow up CT and ", "Dr. A ", "1-2-"]
)
def test_the_cost_of_a_text_of_nothing_but_beginnings_is_bounded(small: Engine, unit: str) -> None:
    """Ten times the text costs about ten times the time, and never seconds."""
    text = (unit * 20_000)[:20_000]
    started = time.process_time()
    small.analyse(Narrative(text))
    assert time.process_time() - started < 5
