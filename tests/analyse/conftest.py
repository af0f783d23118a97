"""A language pack small enough to read: the English rules over a handful of concepts."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomnlp.analyse.engine import Engine
from dicomnlp.analyse.pack import LANGUAGES, read_pack

CONCEPTS = """
[concepts]
lesion = { meaning = "Lesion", terms = ["lesion"] }
nodule = { meaning = "Nodule", code = "27925004", scheme = "SCT", parent = "lesion", terms = ["nodule"] }
opacity = { meaning = "Opacity", terms = ["opacity", "ground-glass opacity"] }
atelectasis = { meaning = "Atelectasis", parent = "opacity", terms = ["atelectasis"] }
pneumonia = { meaning = "Pneumonia", terms = ["pneumonia"] }
pleural_effusion = { meaning = "Pleural effusion", terms = ["pleural effusion", "effusion"] }
pneumothorax = { meaning = "Pneumothorax", critical = 2, terms = ["pneumothorax"] }
tension_pneumothorax = { meaning = "Tension pneumothorax", parent = "pneumothorax", terms = ["tension pneumothorax"] }
pulmonary_embolism = { meaning = "Pulmonary embolism", critical = 1, cased = ["PE"], terms = ["pulmonary embolism"] }
fracture = { meaning = "Fracture", terms = ["fracture"] }
stenosis = { meaning = "Stenosis", terms = ["stenosis"] }

[concepts.lungs_clear]
meaning = "Lungs clear"
normal = true
assertion = "absent"
implies = ["opacity"]
terms = ["lungs are clear"]

[concepts.cardiomegaly]
meaning = "Cardiomegaly"
terms = ["cardiomegaly"]
compose = [{ change = ["enlarged", "enlargement"], of = ["heart", "cardiac silhouette"] }]
"""

ANATOMY = """
[anatomy]
lung = { meaning = "Lung", terms = ["lung"] }
right_upper_lobe = { meaning = "Upper lobe of right lung", laterality = "right", terms = ["right upper lobe"] }
left_lower_lobe = { meaning = "Lower lobe of left lung", laterality = "left", terms = ["left lower lobe"] }
rib = { meaning = "Rib", terms = ["rib"] }
carotid = { meaning = "Internal carotid artery", terms = ["internal carotid artery"] }
"""

LABELS = """
set = "small"
about = "Two findings"
[labels]
Opacity = ["opacity"]
Effusion = ["pleural_effusion"]
"""

CASES = 'cases = [{ text = "No fracture.", span = "fracture", assertion = "absent" }]\n'


def write_pack(folder: Path) -> Path:
    """The small pack, and its label set beside it, in a folder that isn't there yet."""
    shutil.copytree(LANGUAGES / "en", folder)
    for name, text in (("concepts", CONCEPTS), ("anatomy", ANATOMY), ("cases", CASES)):
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    labels = folder.parent / "labels"
    labels.mkdir()
    (labels / "small.toml").write_text(LABELS, encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The small pack's folder, free to be changed."""
    return write_pack(tmp_path / "en")


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small pack's folder, for a module that changes it once: an engine takes seconds to make."""
    return write_pack(tmp_path_factory.mktemp("pack") / "en")


@pytest.fixture
def build(folder: Path) -> Callable[..., Engine]:
    """Makes an engine of the small pack as it then is."""

    def make(*, cache: bool = True) -> Engine:
        return Engine(read_pack(folder, folder.parent / "labels"), cache=cache)

    return make


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine of the small pack, shared."""
    folder = write_pack(tmp_path_factory.mktemp("pack") / "en")
    return Engine(read_pack(folder, folder.parent / "labels"))
