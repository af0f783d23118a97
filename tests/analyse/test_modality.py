"""The modality that the name of an exam names."""

import pytest

from dicomnlp.analyse.modality import exam_modalities

EXAMS = [
    ("CT CHEST W/O CONTRAST", ("CT",)),
    ("Chest x-ray, PA and lateral views", ("DX",)),
    ("CR HAND", ("CR",)),
    ("PET/CT skull base to thigh", ("CT", "PT")),
    ("MRI BRAIN WITH AND WITHOUT CONTRAST", ("MR",)),
    ("Ultrasound of the abdomen", ("US",)),
    ("Bilateral screening mammogram", ("MG",)),
    ("Upper GI series", ("RF",)),
    # words of plain films and angiography within the name of a sectional exam
    ("CT angiography of the chest, coronal views", ("CT",)),
    ("Diagnostic Imaging Report", ()),
    ("CTX", ()),
    ("", ()),
    ("XR LEFT KNEE", ("DX",)),
    ("CTA HEAD", ("CT",)),
    # a code in a word of another script
    ("胸部CT平扫", ("CT",)),
]


@pytest.mark.parametrize(("title", "modalities"), EXAMS)
def test_modality_is_read_from_the_words_and_codes_of_an_exam(title, modalities):
    """None where no word names one."""
    assert exam_modalities([title], "en") == modalities


def test_first_text_that_names_one_counts_alone():
    """The title before the study's description before the section."""
    assert exam_modalities(["Report", "MR KNEE", "CT of the knee"], "en") == ("MR",)


def test_only_the_beginning_of_a_text_counts():
    """An exam section that goes on with the comparison."""
    assert exam_modalities(["MR KNEE" + " x" * 300 + " CT"], "en") == ("MR",)


def test_without_a_pack_codes_and_english_words_are_read():
    """Whatever the language, and English words."""
    assert exam_modalities(["CT du thorax"], "xx") == ("CT",)
    assert exam_modalities(["irm"], "xx") == ()
    assert exam_modalities(["mri"], "xx") == ("MR",)


@pytest.mark.parametrize(
    ("title", "modalities"), [("XR CHEST 2 VIEWS", ("DX",)), ("MAMMOGRAM SCREENING", ("MG",)), ("胸部正侧位", ("DX",))]
)
def test_headers_are_also_read_in_english(title, modalities):
    """Whatever the language of the report."""
    assert exam_modalities([title], "zh") == modalities
