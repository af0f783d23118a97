"""Which concept the words of a sentence name."""

import pytest

from dicomnlp.analyse.engine import load_engine
from dicomnlp.model import Assertion, Narrative


def named(text: str) -> set[str]:
    """The concepts found in `text`, without what statements of normality imply."""
    return {f.concept.id for f in load_engine("en").analyse(Narrative(text)).findings}


@pytest.mark.parametrize(
    ("text", "concept"),
    [
        (
            "The right ventricle is dilated with a right to left ventricular ratio of 1.3.",
            "right_ventricular_enlargement",
        ),
        ("Complete rupture of the anterior cruciate ligament.", "anterior_cruciate_ligament_tear"),
        ("Old right middle cerebral artery infarct.", "chronic_infarct"),
        ("Multiple old left rib fractures.", "healed_fracture"),  # "rib fractures" is named outright, but shorter
        ("The heart is enlarged and the aorta is tortuous.", "tortuous_aorta"),
    ],
)
def test_what_is_said_belongs_to_the_nearest(text: str, concept: str) -> None:
    """A predicate takes the site next to it, and the more specific of two."""
    assert concept in named(text)


def test_the_farther_of_two_sites_is_left_alone() -> None:
    """Only what stands nearest is dilated."""
    text = "The right ventricle is dilated with a right to left ventricular ratio of 1.3."
    assert "left_ventricular_enlargement" not in named(text)


def test_what_is_said_of_two_things_holds_for_both() -> None:
    """A list of sites shares its predicate."""
    assert {"normal_heart_size", "normal_mediastinum"} <= named("The heart and mediastinum are normal.")


@pytest.mark.parametrize(
    "text",
    [
        "Referral to the thoracic tumor board is recommended.",
        "CT of the chest, trauma protocol.",
        "Screening mammography with tomosynthesis and CAD.",
        "CAD-RADS 3.",
        "ICD-10: R05.",
        "The left renal vein drains into the cava.",
        "The sagittal suture is open.",
        "Swan neck position.",
        "This aids in planning.",
        "Exercised to 10.1 METS.",
        "Adequate opacification of the pulmonary arteries.",
        "The collaterals are intact.",
        "The umbilical cord has three vessels.",
        "Urine pregnancy test was negative.",
        "The carotid stump pressure was measured.",
    ],
)
def test_an_idiom_names_no_finding(text: str) -> None:
    """In a tumor board there is no tumor."""
    assert named(text) == set()


@pytest.mark.parametrize(
    ("text", "concept"),
    [
        ("Oesophageal stricture.", "esophageal_stricture"),
        ("Germinal matrix haemorrhage.", "germinal_matrix_hemorrhage"),
        ("Marrow oedema of the talus.", "bone_marrow_edema"),
        ("Generalised osteopaenia.", "osteopenia"),
        ("Left clavicle fx.", "clavicle_fracture"),
        ("Broad-based disk bulge.", "disc_bulge"),
        ("Ischaemic cardiomyopathy.", "ischemic_cardiomyopathy"),
        ("Multiple PEs.", "pulmonary_embolism"),
    ],
)
def test_other_spellings_and_abbreviations_name_the_same(text: str, concept: str) -> None:
    """British spelling and common abbreviations are read as the lexicon spells them."""
    assert concept in named(text)


@pytest.mark.parametrize(
    ("text", "concept"),
    [
        ("Liver: Mildly enlarged.", "hepatomegaly"),
        ("TFCC: Central perforation.", "triangular_fibrocartilage_tear"),
        ("Medial meniscus: 4 mm of extrusion.", "meniscal_extrusion"),
        ("LA: Moderately dilated.", "left_atrial_enlargement"),
        ("ACL: Complete tear of the mid fibers.", "anterior_cruciate_ligament_tear"),
    ],
)
def test_the_label_of_a_line_is_part_of_what_is_said_after_it(text: str, concept: str) -> None:
    """A composed concept reaches to the label of its sentence."""
    assert concept in named(text)


def test_a_degree_inside_an_idiom_is_none() -> None:
    """A small bowel isn't a small obstruction."""
    (finding,) = load_engine("en").analyse(Narrative("There is a small bowel obstruction.")).findings
    assert finding.concept.id == "small_bowel_obstruction"
    assert finding.severity is None


def test_an_exception_takes_back_what_is_implied() -> None:
    """Lungs that are clear apart from atelectasis aren't free of it."""
    findings = load_engine("en").analyse(Narrative("The right lung is clear apart from linear atelectasis.")).findings
    assert [(f.concept.id, f.assertion) for f in findings if "atelectasis" in f.concept.id] == [
        ("plate_like_atelectasis", Assertion.PRESENT)
    ]


@pytest.mark.parametrize(
    ("text", "concept"),
    [
        ("Neutropenia.", "neutropenia"),
        ("Former smoker.", "former_smoker"),
        ("Fetus in cephalic presentation.", "cephalic_presentation"),
        ("Spina bifida.", "spina_bifida"),
        ("Fine needle aspiration was performed.", "fine_needle_aspiration"),
        ("No acute osseous abnormality.", "acute_bone_abnormality"),
        ("Low-lying placenta.", "low_lying_placenta"),
        ("Horseshoe kidney.", "horseshoe_kidney"),
    ],
)
def test_a_finding_is_called_by_its_own_name(text: str, concept: str) -> None:
    """What is merely of one topic isn't one concept."""
    assert named(text) == {concept}
