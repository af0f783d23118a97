"""Site, side, degree and course of findings, on the small pack and the English words."""

import pytest

from dicomnlp.analyse.engine import Engine
from dicomnlp.model import Narrative

Row = tuple[str, str | None, str | None, str | None, str | None]

CASES: dict[str, list[Row]] = {
    # before the finding, after it, and through the site
    "Left pleural effusion.": [("pleural effusion", None, "left", None, None)],
    "Pneumothorax on the right.": [("Pneumothorax", None, "right", None, None)],
    "Nodule in the right upper lobe.": [("Nodule", "right_upper_lobe", "right", None, None)],
    "Fracture of the left seventh rib.": [("Fracture", "rib", "left", None, None)],
    "Bilateral effusions.": [("effusions", None, "bilateral", None, None)],
    "Effusions, right greater than left.": [("Effusions", None, "bilateral", None, None)],
    # each finding keeps its own
    "Right upper lobe opacity and left effusion.": [
        ("opacity", "right_upper_lobe", "right", None, None),
        ("effusion", None, "left", None, None),
    ],
    "Nodule in the right upper lobe, and a small left effusion.": [
        ("Nodule", "right_upper_lobe", "right", None, None),
        ("effusion", None, "left", "mild", None),
    ],
    "Small effusion, left lower lobe atelectasis.": [
        ("effusion", None, None, "mild", None),
        ("atelectasis", "left_lower_lobe", "left", None, None),
    ],
    "Severe stenosis of the left internal carotid artery and mild stenosis of the right.": [
        ("stenosis", "carotid", "left", "severe", None),
        ("stenosis", None, "right", "mild", None),
    ],
    # a list shares its site, before or after
    "Right upper lobe opacity and nodule.": [
        ("opacity", "right_upper_lobe", "right", None, None),
        ("nodule", "right_upper_lobe", "right", None, None),
    ],
    "Opacity and nodule in the right upper lobe.": [
        ("Opacity", "right_upper_lobe", "right", None, None),
        ("nodule", "right_upper_lobe", "right", None, None),
    ],
    # one word, two findings
    "Trace right and large left pleural effusions.": [
        ("pleural effusions", None, "right", "minimal", None),
        ("pleural effusions", None, "left", "severe", None),
    ],
    "Right and left pleural effusions.": [("pleural effusions", None, "bilateral", None, None)],
    # degree and course
    "Mild to moderate cardiomegaly.": [("cardiomegaly", None, None, "moderate", None)],
    "The effusion is unchanged.": [("effusion", None, None, None, "stable")],
    "New nodule.": [("nodule", None, None, None, "new")],
    "No significant change in the nodule.": [("nodule", None, None, None, "stable")],
    "The nodule is no larger.": [("nodule", None, None, None, "stable")],
    "Right effusion has decreased and left effusion has increased.": [
        ("effusion", None, "right", None, "decreased"),
        ("effusion", None, "left", None, "increased"),
    ],
    "The pneumothorax has resolved.": [("pneumothorax", None, None, None, "resolved")],
    "The effusion is slightly larger.": [("effusion", None, None, None, "increased")],
    # what isn't there is neither new nor mild
    "No new small nodule.": [("nodule", None, None, None, None)],
    # a normal statement takes nothing from a finding
    "Lungs are clear, stable nodule.": [
        ("Lungs are clear", "lung", None, None, None),
        ("Lungs are clear", "lung", None, None, None),
        ("nodule", None, None, None, "stable"),
    ],
}


@pytest.mark.parametrize(("text", "rows"), CASES.items())
def test_attributes_belong_to_the_finding_a_reader_gives_them_to(small: Engine, text: str, rows: list[Row]) -> None:
    """Text, site, side, degree and course of each finding in order."""
    findings = small.analyse(Narrative(text)).findings
    assert [(f.text, f.anatomy and f.anatomy.id, f.laterality, f.severity, f.change) for f in findings] == rows
