"""Lists that say a head once, on a pack of a few words: the rule knows no language."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomnlp.analyse.engine import Engine
from dicomnlp.analyse.pack import LANGUAGES, read_pack
from dicomnlp.model import Narrative

CONCEPTS = """
[concepts]
effusion = { meaning = "Effusion", terms = ["effusion", "积液"] }
pleural_effusion = { meaning = "Pleural effusion", parent = "effusion", terms = ["pleural effusion", "胸腔积液"] }
pericardial_effusion = { meaning = "Pericardial effusion", terms = ["pericardial effusion", "心包积液"] }
cyst = { meaning = "Cyst", terms = ["cyst"] }
thickening = { meaning = "Pleural thickening", terms = ["pleural thickening"] }
stenosis = { meaning = "Stenosis", terms = ["stenosis"] }
normal = { meaning = "Normal", normal = true, terms = ["pleural surfaces normal", "liver normal"] }
"""
ANATOMY = """
[anatomy]
lung = { meaning = "Lung", terms = ["lung"] }
right_upper_lobe = { meaning = "Right upper lobe", parent = "lung", laterality = "right", terms = ["right upper lobe"] }
right_lower_lobe = { meaning = "Right lower lobe", parent = "lung", laterality = "right", terms = ["right lower lobe"] }
lower_lobe = { meaning = "Lower lobe", parent = "lung", terms = ["lower lobe"] }
liver = { meaning = "Liver", terms = ["liver", "hepatic"] }
kidney = { meaning = "Kidney", terms = ["kidney", "renal"] }
joint = { meaning = "Joint", terms = ["joint"] }
"""
CASES = 'cases = [{ text = "No effusion.", span = "effusion", assertion = "absent" }]\n'


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine of the few words above, whose lists are English and Chinese."""
    folder = tmp_path_factory.mktemp("lists") / "en"
    shutil.copytree(LANGUAGES / "en", folder)
    for name, text in (("concepts", CONCEPTS), ("anatomy", ANATOMY), ("cases", CASES)):
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    attributes = (folder / "attributes.toml").read_text(encoding="utf-8")
    (folder / "attributes.toml").write_text(
        attributes.replace('coordinators = ["and",', 'coordinators = ["及", "and",'), encoding="utf-8"
    )
    (folder.parent / "labels").mkdir()
    return Engine(read_pack(folder, folder.parent / "labels"))


Row = tuple[str, str, str | None]

READ: dict[str, list[Row]] = {
    # a member with the head is a term
    "Pleural or pericardial effusion.": [
        ("Pleural", "pleural_effusion", None),
        ("pericardial effusion", "pericardial_effusion", None),
    ],
    "Small pleural and large pericardial effusions.": [
        ("pleural", "pleural_effusion", None),
        ("pericardial effusions", "pericardial_effusion", None),
    ],
    # no term: a site and the head
    "Hepatic and renal cysts.": [("Hepatic", "cyst", "liver"), ("cysts", "cyst", "kidney")],
    "Joint or pericardial effusion.": [
        ("Joint", "effusion", "joint"),
        ("pericardial effusion", "pericardial_effusion", None),
    ],
    # three, and a comma before "and"
    "Joint, pleural, and pericardial effusions.": [
        ("Joint", "effusion", "joint"),
        ("pleural", "pleural_effusion", None),
        ("pericardial effusions", "pericardial_effusion", None),
    ],
    # a word in front is shared
    "Pleural effusion or thickening.": [
        ("Pleural effusion", "pleural_effusion", None),
        ("thickening", "thickening", None),
    ],
    # sites are completed
    "Cyst in the right upper and lower lobes.": [
        ("Cyst", "cyst", "right_upper_lobe"),
        ("Cyst", "cyst", "right_lower_lobe"),
    ],
    # another language, where a character is a token
    "胸腔及心包积液": [("胸腔", "pleural_effusion", None), ("心包积液", "pericardial_effusion", None)],
    # no lists: no coordinator, a finding by itself, a noun after its preposition
    "Pleural, pericardial effusion.": [("pericardial effusion", "pericardial_effusion", None)],
    "Cyst and pleural effusion.": [("Cyst", "cyst", None), ("pleural effusion", "pleural_effusion", None)],
    "Stenosis of the liver and renal cysts.": [("Stenosis", "stenosis", "liver"), ("cysts", "cyst", "kidney")],
}


@pytest.mark.parametrize(("text", "rows"), READ.items())
def test_members_of_a_list_are_findings_by_their_own_words(engine: Engine, text: str, rows: list[Row]) -> None:
    """Each finding of the list, in order, with the words that name it and its site; the words are in the text."""
    findings = engine.analyse(Narrative(text)).findings
    assert [(f.text, f.concept.id, f.anatomy and f.anatomy.id) for f in findings] == rows
    assert all(text[f.start : f.end] == f.text for f in findings)


def test_cues_act_on_all_members_of_a_list(engine: Engine) -> None:
    """What denies the list denies what it names without a head."""
    for text in ("No pleural or pericardial effusion.", "Pleural and pericardial effusions are not seen."):
        assert [f.assertion.value for f in engine.analyse(Narrative(text)).findings] == ["absent", "absent"]


def test_a_pack_without_coordinators_completes_nothing(folder: Path, build: Callable[..., Engine]) -> None:
    """The words that make a list are the pack's alone."""
    path = folder / "attributes.toml"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("coordinators")]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    findings = build().analyse(Narrative("Pleural or tension pneumothorax and ground-glass opacity.")).findings
    assert [f.text for f in findings] == ["tension pneumothorax", "ground-glass opacity"]
