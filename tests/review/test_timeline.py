"""The same lesion over studies."""

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.courses import Course, CourseReport, Examination, Stated
from dicomnlp.model import Narrative
from dicomnlp.review.timeline import lesions_of


def course(*texts):
    """Studies half a year apart, each with its report."""
    examinations, reports = [], []
    for n, text in enumerate(texts, 1):
        language = "zh" if "。" in text else "en"
        read = analyse(Narrative(text), language=language)
        stated = tuple(
            Stated(
                f.concept, f.start, f.end, f.section, f.assertion, f.anatomy, f.laterality, f.change, f.measurements,
                f.text, f.sentence,
            )
            for f in read.findings
        )  # fmt: skip
        examinations.append(Examination(f"1.{n}", f"202{4 + n // 2}0{1 + 6 * (n % 2)}01", modalities=("CT",)))
        reports.append(CourseReport(n, f"2.{n}", f"1.{n}", (), stated, (f"1.{n}",)))
    return Course(tuple(examinations), tuple(reports))


def sizes(*texts):
    """Of each lesion its site, and its size in each study that tells of it."""
    return {
        (lesion.anatomy.id if lesion.anatomy else "", [p.size_mm for p in lesion.points].__repr__())
        for lesion in lesions_of(course(*texts))
    }


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        # by site and side
        (
            (
                "FINDINGS: 6 mm nodule in the right upper lobe. 4 mm nodule in the left lower lobe.",
                "FINDINGS: 4 mm nodule in the left lower lobe. 8 mm nodule in the right upper lobe.",
            ),
            {("right_upper_lobe", "[6.0, 8.0]"), ("left_lower_lobe", "[4.0, 4.0]")},
        ),
        # by the former size that is quoted, though the other is nearer
        (
            (
                "FINDINGS: 6 mm nodule in the right upper lobe. 12 mm nodule in the right upper lobe.",
                "FINDINGS: 11 mm nodule in the right upper lobe, previously 6 mm.",
            ),
            {("right_upper_lobe", "[6.0, 11.0]"), ("right_upper_lobe", "[12.0]")},
        ),
        # two languages, another name, a finer site
        (
            ("检查所见：右肺上叶见6mm结节。", "FINDINGS: Right lung mass measuring 2 cm, previously 6 mm."),
            {("right_upper_lobe", "[6.0, 20.0]")},
        ),
        # what is new is another
        (
            ("FINDINGS: 6 mm nodule in the right upper lobe.", "FINDINGS: New 6 mm nodule in the right upper lobe."),
            {("right_upper_lobe", "[6.0]")},
        ),
        # a cyst is no mass
        (
            ("FINDINGS: Hepatic cyst of 20 mm.", "FINDINGS: Mass of the liver of 22 mm."),
            {("liver", "[20.0]"), ("liver", "[22.0]")},
        ),
        # beyond what grows between two studies
        (
            ("FINDINGS: 5 mm nodule in the right upper lobe.", "FINDINGS: 40 mm mass in the right upper lobe."),
            {("right_upper_lobe", "[5.0]"), ("right_upper_lobe", "[40.0]")},
        ),
        # the findings and the impression of one study are one statement
        (
            ("FINDINGS: 6 mm nodule in the right upper lobe.\nIMPRESSION: Right upper lobe nodule, 6 mm.",),
            {("right_upper_lobe", "[6.0]")},
        ),
        # what is denied, or has no size and no change, has no course
        (("FINDINGS: No pulmonary nodule. Thyroid nodule.",), set()),
    ],
)
def test_statements_of_one_lesion_are_joined(texts, expected):
    """By concept, site, side, and size."""
    assert sizes(*texts) == expected


def test_a_change_is_told_without_a_size():
    """The point is there, without a length."""
    [lesion] = lesions_of(
        course("FINDINGS: 6 mm nodule in the right upper lobe.", "FINDINGS: Unchanged right upper lobe nodule.")
    )
    assert [(p.size_mm, p.change) for p in lesion.points] == [(6.0, None), (None, "stable")]
