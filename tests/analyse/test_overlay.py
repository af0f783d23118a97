"""A site's own words over a pack: what they add, and what is told of faults in them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnlp.analyse import analyse, load_pack, pipeline_name, refused_overlays, use_overlays
from dicomnlp.analyse.engine import loaded, loaded_by
from dicomnlp.analyse.overlay import lay
from dicomnlp.analyse.pack import read_pack
from dicomnlp.model import Assertion, Narrative, SectionName

SOUND = {
    "concepts.toml": """
[concepts]
nodule = { terms = ["spotlet"] }
site_marker = { meaning = "Marker of this site", parent = "lesion", terms = ["zebra sign"] }
""",
    "context.toml": """
[[cues]]
category = "NEGATED_EXISTENCE"
direction = "forward"
terms = ["nil of"]
""",
    "sections.toml": '[headings]\nimpression = ["take home"]\n',
    "cases.toml": """cases = [
    { text = "Nil of zebra sign.", span = "zebra sign", assertion = "absent", concept = "site_marker" },
]
""",
}

FAULTY = {
    "concepts.toml": """[concepts]
site_marker = { meaning = "Marker", parent = "lesionn", terms = ["zebra sign"] }
pneumonia = { terms = ["pleural effusion"] }
[concepts.nodule]
terms = ["spotlet"]
code = "123"
""",
    "context.toml": """[[cues]]
category = "NEGATED_EXISTENCE"
direction = "forwards"
terms = ["nil of"]

[[cues]]
category = "NEGATED_EXISTANCE"
direction = "forward"
terms = ["nix of"]

[[cues]]
category = "NEGATED_EXISTENCE"
direction = "forward"
terms = [
    "devoid of",
    "..2",
]
""",
    "sections.toml": '[headings]\nimpression = ["take home"]\nimpresion = ["summary so far"]\n',
    "anatomy.toml": "[anatomy\n",
    "cases.toml": """cases = [
    { text = "No pneumonia.", span = "pneumonia", assertion = "absent" },
    { text = "No nodule.", span = "nodule", assertion = "present" },
    { text = "No nodule.", span = "nodule" },
]
""",
    "colours.toml": "",
}
"""Ten faults of different kinds, each with its line."""

TOLD = [
    ("en/anatomy.toml", 1, "isn't TOML"),
    ("en/cases.toml", 3, "should be present, came out as absent"),
    ("en/cases.toml", 4, "cases.2.assertion: Field required"),
    ("en/colours.toml", None, "an overlay has no such file"),
    ("en/concepts.toml", 2, "there is no lesionn to descend from"),
    ("en/concepts.toml", 3, "'pleural effusion' already names pleural_effusion"),
    ("en/concepts.toml", 6, "is the pack's; its code can't be changed"),
    ("en/context.toml", 3, "cues.0.direction"),
    ("en/context.toml", 9, "NEGATED_EXISTANCE is no category that acts"),
    ("en/context.toml", 16, "'..2' can match nothing"),
    ("en/sections.toml", 3, "headings.impresion"),
]


def write(folder: Path, files: dict[str, str]) -> Path:
    """An overlay of English in `folder`."""
    (folder / "en").mkdir(parents=True)
    for name, text in files.items():
        (folder / "en" / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins and ends without overlays, over the small pack."""
    cases = 'cases = [{ text = "Stable nodule.", span = "nodule", assertion = "present", concept = "nodule" }]'
    (folder / "cases.toml").write_text(cases, encoding="utf-8")
    for name in ("recommendations", "scores", "communication", "demographics"):
        (folder / f"{name}.toml").unlink()  # they take longest to load, and no overlay touches them
    monkeypatch.setattr("dicomnlp.analyse.pack.LANGUAGES", folder.parent)
    monkeypatch.setattr("dicomnlp.analyse.engine.read_pack", lambda path: read_pack(path, folder.parent / "labels"))
    loaded_by.cache_clear()
    yield
    use_overlays(None)
    loaded_by.cache_clear()


def test_an_overlay_adds_terms_cues_headings_and_concepts(tmp_path: Path) -> None:
    """Its words count like the pack's own, which stay."""
    use_overlays(write(tmp_path / "site", SOUND))
    analysis = analyse(Narrative("Take home: Nil of spotlet. Zebra sign. Nodule."), language="en")
    assert refused_overlays() == {}
    assert analysis.sections[0].name is SectionName.IMPRESSION
    assert [(f.concept.id, f.assertion) for f in analysis.findings] == [
        ("nodule", Assertion.ABSENT),
        ("site_marker", Assertion.PRESENT),
        ("nodule", Assertion.PRESENT),
    ]


def test_the_pipeline_names_the_overlay(tmp_path: Path) -> None:
    """Reports read with other words can be told from those read without, and so be reprocessed."""
    alone = pipeline_name("en")
    use_overlays(write(tmp_path / "one", SOUND))
    with_one = pipeline_name("en")
    use_overlays(write(tmp_path / "two", {**SOUND, "sections.toml": '[headings]\nimpression = ["bottom line"]\n'}))
    assert len({alone, with_one, pipeline_name("en")}) == 3


def test_each_fault_is_told_with_its_line(tmp_path: Path) -> None:
    """Faults of different kinds in one overlay are all told, none hides another."""
    use_overlays(write(tmp_path / "site", FAULTY))
    faults = refused_overlays()["en"]
    assert len(faults) == len(TOLD)
    for (file, line, message), fault in zip(TOLD, sorted(faults, key=lambda f: (f.file, f.line or 0)), strict=True):
        assert (fault.file, fault.line) == (file, line)
        assert message in fault.message


def test_an_overlay_with_a_fault_is_not_used(tmp_path: Path) -> None:
    """Neither its sound parts: the pack reads as if there were none, under its own name."""
    alone = pipeline_name("en")
    use_overlays(write(tmp_path / "site", {**SOUND, "colours.toml": ""}))
    assert pipeline_name("en") == alone
    assert analyse(Narrative("Spotlet."), language="en").findings == ()
    assert loaded("en").faults


def test_an_overlay_may_not_break_the_pack(tmp_path: Path) -> None:
    """One whose cues make the pack fail its own cases is refused, with the case."""
    cue = '[[cues]]\ncategory = "NEGATED_EXISTENCE"\ndirection = "forward"\nterms = ["stable"]\n'
    use_overlays(write(tmp_path / "site", {"context.toml": cue}))
    assert "the pack fails its own case 'Stable nodule.'" in refused_overlays()["en"][0].message


def test_folders_that_are_no_language_or_not_there_are_told(tmp_path: Path) -> None:
    """A misspelt language or path would otherwise go unnoticed."""
    (tmp_path / "site" / "english").mkdir(parents=True)
    use_overlays(tmp_path / "site")
    assert "no language pack of that name" in refused_overlays()["english"][0].message
    use_overlays(tmp_path / "nowhere")
    assert "no such folder" in refused_overlays()[""][0].message


def test_entries_may_stand_in_several_files(tmp_path: Path) -> None:
    """A folder of a file's name is read as the file is."""
    folder = write(tmp_path / "site", {}) / "en"
    (folder / "concepts").mkdir()
    (folder / "concepts" / "a.toml").write_text('[concepts]\nlesion = { terms = ["spotlet"] }\n', encoding="utf-8")
    (folder / "concepts" / "b.toml").write_text('[concepts]\nnodule = { terms = ["streaklet"] }\n', encoding="utf-8")
    laid = lay(load_pack("en"), folder)
    assert laid.faults == ()
    assert "spotlet" in laid.pack.concepts["lesion"].terms
    assert "streaklet" in laid.pack.concepts["nodule"].terms
