"""Label sets: what a report's findings make of each label."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.analyse.engine import Engine
from dicomnlp.analyse.pack import LABELS, read_pack
from dicomnlp.errors import LanguagePackError
from dicomnlp.model import Narrative, Segment

SMALL = """
set = "small"
about = "Made for these tests"
elsewhere = ["carotid"]
[labels]
Anything = ["lesion", "opacity", "pneumonia"]
Lesion = [{ concept = "lesion", exactly = true }]
Opacity = [{ concept = "opacity", without = ["atelectasis"] }]
RibFracture = [{ concept = "fracture", at = ["rib"] }, { concept = "fracture", denies = true }]
Stenosis = ["stenosis"]
Clear = []
[nothing_else]
Clear = { besides = ["Stenosis"] }
"""


@pytest.fixture(scope="module")
def engine(module_folder: Path) -> Engine:
    """With the set above."""
    labels = module_folder.parent / "labels"
    (labels / "small.toml").write_text(SMALL, encoding="utf-8")
    return Engine(read_pack(module_folder, labels))


@pytest.fixture
def labels_of(engine: Engine) -> Callable[[str], dict[str, str | None]]:
    """Labels of a text by the set above."""
    return lambda text: engine.analyse(Narrative(text)).labels["small"]


@pytest.mark.parametrize(
    ("subject", "expected"), [("", "present"), ("specimen A", "present"), ("fetus B", None), ("device", None)]
)
def test_labels_are_of_the_patient(engine, subject, expected):
    """What a fetus has isn't what its mother has; a specimen is of the patient."""
    text = "Nodule."
    narrative = Narrative(text, (), (Segment(0, len(text), "1.1", subject),))
    assert engine.analyse(narrative).labels["small"]["Anything"] == expected


@pytest.mark.parametrize(
    ("text", "label", "expected"),
    [
        # descendants count, unless the label says otherwise
        ("Nodule.", "Anything", "present"),
        ("Nodule.", "Lesion", None),
        ("Lesion.", "Lesion", "present"),
        ("Opacity.", "Opacity", "present"),
        ("Atelectasis.", "Opacity", None),
        # the strongest statement wins
        ("Possible opacity. No opacity.", "Opacity", "possible"),
        ("No opacity. Opacity.", "Opacity", "present"),
        ("No opacity.", "Opacity", "absent"),
        # the site decides
        ("Fracture of a rib.", "RibFracture", "present"),
        ("Fracture.", "RibFracture", None),
        ("Fracture at the internal carotid artery.", "RibFracture", None),
        ("Stenosis.", "Stenosis", "present"),
        ("Stenosis of the internal carotid artery.", "Stenosis", None),
        # what is denied altogether is denied of its kinds; what is there may be of another kind
        ("No fracture.", "RibFracture", "absent"),
        ("Possible fracture.", "RibFracture", None),
        # only what is seen counts
        ("INDICATION: Opacity.", "Opacity", None),
        ("COMPARISON: Opacity.\nFINDINGS: No opacity.", "Opacity", "absent"),
        # nothing else: neither present nor possible, but for what may be
        ("Lungs are clear.", "Clear", "present"),
        ("Stenosis.", "Clear", "present"),
        ("No opacity.", "Clear", "present"),
        ("Possible opacity.", "Clear", None),
        ("Opacity.", "Clear", None),
        # a report without a word of what is seen doesn't say that nothing is
        ("INDICATION: Cough.", "Clear", None),
        ("", "Clear", None),
    ],
)
def test_label_of_a_text(labels_of, text: str, label: str, expected: str | None) -> None:
    """Each line of the label file acts as docs/reference/label-sets.md says."""
    assert labels_of(text)[label] == expected


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('without = ["atelectasis"]', 'without = ["haze"]', "Opacity names haze, which isn't a concept"),
        ('at = ["rib"]', 'at = ["ribs"]', "RibFracture names ribs, which isn't a site"),
        ('elsewhere = ["carotid"]', 'elsewhere = ["neck"]', "elsewhere names neck, which isn't a site"),
        ('besides = ["Stenosis"]', 'besides = ["Plaque"]', "nothing_else names Plaque, which isn't a label"),
        ("Clear = []", 'Clear = ["lesion"]', "Clear needs either concepts or a rule"),
        ('Stenosis = ["stenosis"]', "Stenosis = []", "Stenosis needs either concepts or a rule"),
        ("exactly = true", "exact = true", "labels.Lesion.0.exact"),
    ],
)
def test_a_broken_label_set_says_what_is_wrong(
    build: Callable[..., Engine], folder: Path, old: str, new: str, says: str
) -> None:
    """The pack refuses to load rather than leave a label without meaning."""
    assert old in SMALL
    (folder.parent / "labels/small.toml").write_text(SMALL.replace(old, new), encoding="utf-8")
    with pytest.raises(LanguagePackError, match="small") as raised:
        build()
    assert says in str(raised.value)


CASES = [
    # chest: a nodule, swelling or hernia of another region is no finding of the lungs
    ("chestxray14", "6 mm nodule in the right upper lobe.", {"Nodule": "present", "Mass": None}),
    ("chestxray14", "There is a nodule in the thyroid gland.", {"Nodule": None}),
    ("chestxray14", "Hiatal hernia. No edema.", {"Hernia": "present", "Edema": "absent"}),
    ("chestxray14", "Vasogenic edema. Inguinal hernia.", {"Hernia": None, "Edema": None}),
    ("chestxray14", "Bibasilar opacities may represent pneumonia.", {"Pneumonia": "possible"}),
    ("chexpert14", "Lungs are clear.", {"No Finding": "present", "Consolidation": "absent", "Fracture": None}),
    ("chexpert14", "Right picc in place. Lungs are clear.", {"No Finding": "present", "Support Devices": "present"}),
    ("chexpert14", "Possible pneumonia.", {"No Finding": None, "Pneumonia": "possible"}),
    ("chexpert14", "Left lower lobe consolidation.", {"Consolidation": "present", "Lung Opacity": None}),
    ("chexpert14", "Vascular congestion.", {"Edema": "present", "Cardiomegaly": None}),
    # head: what is denied of all bleeds is denied of each
    ("head_ct", "No acute intracranial hemorrhage.", {"ICH": "absent", "SDH": "absent", "MassEffect": None}),
    ("head_ct", "Left subdural hematoma.", {"ICH": "present", "SDH": "present", "EDH": None}),
    ("head_ct", "No midline shift or hydrocephalus.", {"MidlineShift": "absent", "Hydrocephalus": "absent"}),
    ("head_ct", "Depressed skull fracture.", {"Fracture": "present", "CalvarialFracture": "present"}),
    ("head_ct", "Fracture of the left calvarium.", {"Fracture": "present", "CalvarialFracture": "present"}),
    ("head_ct", "Nasal bone fracture.", {"Fracture": "present", "CalvarialFracture": None, "OtherFracture": "present"}),
    ("head_ct", "Old lacunar infarct. No acute infarct.", {"ChronicInfarct": "present", "AcuteInfarct": "absent"}),
    ("head_ct", "Uncal herniation.", {"MassEffect": "present", "Herniation": "present"}),
    # abdomen: stones by where they lie
    ("abdomen", "Stone in the right kidney.", {"Urolithiasis": "present", "Gallstones": None}),
    ("abdomen", "Gallstones without cholecystitis.", {"Gallstones": "present", "Cholecystitis": "absent"}),
    ("abdomen", "No free air or free fluid in the abdomen.", {"FreeAir": "absent", "Ascites": "absent"}),
    ("abdomen", "Possible appendicitis.", {"Appendicitis": "possible"}),
    ("abdomen", "Small bowel obstruction.", {"BowelObstruction": "present", "Ileus": None}),
    ("abdomen", "Acute pancreatitis. No hydronephrosis.", {"Pancreatitis": "present", "Hydronephrosis": "absent"}),
    ("abdomen", "Hepatic cyst. Right pleural effusion.", {"LiverLesion": "present", "Ascites": None}),
    ("abdomen", "Infrarenal abdominal aortic aneurysm.", {"AbdominalAorticAneurysm": "present"}),
]


@pytest.mark.parametrize(("name", "text", "expected"), CASES, ids=[f"{n}: {t}" for n, t, _ in CASES])
def test_labels_of_the_sets_that_come_with_the_pack(name: str, text: str, expected: dict[str, str | None]) -> None:
    """English sentences and the labels that a reader of each set would give."""
    got = analyse(Narrative("FINDINGS: " + text), language="en").labels[name]
    assert {label: got[label] for label in expected} == expected


def test_every_label_set_is_described() -> None:
    """docs/reference/label-sets.md names every set and label."""
    page = (Path(__file__).parents[2] / "docs/reference/label-sets.md").read_text(encoding="utf-8")
    for path in LABELS.glob("*.toml"):
        labels = tomllib.loads(path.read_text(encoding="utf-8"))
        assert f"## {labels['set']}" in page
        assert [label for label in labels["labels"] if f"`{label}`" not in page] == []
