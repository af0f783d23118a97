"""Preliminary reports and the final ones that took their place; reports and the side of their images."""

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.model import Identity, Narrative, Report, State
from dicomnlp.review.case import Case
from dicomnlp.review.laterality import side_of_images
from dicomnlp.review.versions import between_versions


def case(text, uid="1.2.3", language="en", **header):
    """A report as a second reader sees it."""
    report = Report(Identity(sop_instance_uid=uid, **header), Narrative(text), State.PENDING)
    return Case(report, analyse(report.narrative, language=language))


FLAGGED = [
    ("FINDINGS: No pneumothorax.", "FINDINGS: Small right pneumothorax.", "en", "denied_before"),
    ("IMPRESSION: No pulmonary embolism.", "IMPRESSION: Acute pulmonary embolism.", "en", "denied_before"),
    ("IMPRESSION: Appendicitis.", "IMPRESSION: No appendicitis.", "en", "denied_after"),
    ("IMPRESSION: Left renal mass.", "IMPRESSION: Right renal mass.", "en", "other_side"),
    (
        "FINDINGS: Fracture of the right femoral neck.",
        "FINDINGS: Fracture of the left femoral neck.",
        "en",
        "other_side",
    ),
    (
        "IMPRESSION: Normal head CT.",
        "IMPRESSION: Acute subdural hematoma with midline shift.",
        "en",
        "urgent_only_after",
    ),
    ("IMPRESSION: Normal chest.", "IMPRESSION: Large right tension pneumothorax.", "en", "urgent_only_after"),
    ("IMPRESSION: Acute subdural hematoma.", "IMPRESSION: Atrophy.", "en", "urgent_only_before"),
    ("IMPRESSION: No hydronephrosis.", "IMPRESSION: Moderate right hydronephrosis.", "en", "denied_before"),
    ("IMPRESSION: Small bowel obstruction.", "IMPRESSION: No bowel obstruction.", "en", "denied_after"),
    ("FINDINGS: Left pleural effusion.", "FINDINGS: Right pleural effusion.", "en", "other_side"),
    ("IMPRESSION: No pneumonia.", "IMPRESSION: Right lower lobe pneumonia.", "en", "denied_before"),
    ("检查所见：未见气胸。", "检查所见：右侧气胸。", "zh", "denied_before"),
    ("诊断意见：未见肺栓塞。", "诊断意见：急性肺栓塞。", "zh", "denied_before"),
    ("诊断意见：急性阑尾炎。", "诊断意见：未见阑尾炎。", "zh", "denied_after"),
    ("诊断意见：左肾结石。", "诊断意见：右肾结石。", "zh", "other_side"),
    ("诊断意见：左侧胸腔积液。", "诊断意见：右侧胸腔积液。", "zh", "other_side"),
    ("诊断意见：右侧股骨颈骨折。", "诊断意见：左侧股骨颈骨折。", "zh", "other_side"),
    ("诊断意见：颅脑未见异常。", "诊断意见：急性硬膜下血肿。", "zh", "urgent_only_after"),
    ("检查所见：未见脑出血。", "检查所见：脑出血。", "zh", "denied_before"),
    ("检查所见：未见肾积水。", "检查所见：右肾积水。", "zh", "denied_before"),
    ("诊断意见：右侧张力性气胸。", "诊断意见：双肺未见异常。", "zh", "urgent_only_before"),
    ("诊断意见：左肺上叶结节。", "诊断意见：右肺上叶结节。", "zh", "other_side"),
    ("诊断意见：肠梗阻。", "诊断意见：未见肠梗阻。", "zh", "denied_after"),
]
FINE = [
    ("FINDINGS: No pneumothorax.", "FINDINGS: No pneumothorax.", "en"),
    ("IMPRESSION: Pneumonia.", "IMPRESSION: Right lower lobe pneumonia.", "en"),
    ("IMPRESSION: Left renal mass.", "IMPRESSION: Left renal mass, 3 cm.", "en"),
    ("IMPRESSION: No acute fracture.", "IMPRESSION: Old left rib fracture.", "en"),
    ("IMPRESSION: Possible appendicitis.", "IMPRESSION: Appendicitis.", "en"),
    ("IMPRESSION: Normal chest.", "IMPRESSION: 4 mm pulmonary nodule.", "en"),  # nothing to be told at once
    ("IMPRESSION: Bilateral pleural effusions.", "IMPRESSION: Right pleural effusion.", "en"),
    ("IMPRESSION: Left renal cyst.", "IMPRESSION: Left and right renal cysts.", "en"),
    ("HISTORY: Rule out pneumothorax.\nFINDINGS: Normal.", "FINDINGS: Normal.", "en"),
    ("IMPRESSION: Subdural hematoma.", "IMPRESSION: Acute subdural hematoma.", "en"),
    ("IMPRESSION: No left pleural effusion.", "IMPRESSION: Right pleural effusion.", "en"),
    ("IMPRESSION: Pulmonary embolism.", "IMPRESSION: Pulmonary embolism in the right lower lobe.", "en"),
    ("检查所见：未见气胸。", "检查所见：未见气胸。", "zh"),
    ("诊断意见：肺炎。", "诊断意见：右肺下叶肺炎。", "zh"),
    ("诊断意见：左肾结石。", "诊断意见：左肾结石，约8mm。", "zh"),
    ("诊断意见：未见新鲜骨折。", "诊断意见：左侧肋骨陈旧性骨折。", "zh"),
    ("诊断意见：双侧胸腔积液。", "诊断意见：右侧胸腔积液。", "zh"),
    ("诊断意见：双肺未见异常。", "诊断意见：左肺结节，约4mm。", "zh"),
    ("临床病史：气胸待排。\n检查所见：未见异常。", "检查所见：未见异常。", "zh"),
    ("诊断意见：左肾囊肿。", "诊断意见：双肾囊肿。", "zh"),
    ("诊断意见：阑尾炎可能。", "诊断意见：急性阑尾炎。", "zh"),
    ("诊断意见：左侧未见胸腔积液。", "诊断意见：右侧胸腔积液。", "zh"),
    ("诊断意见：硬膜下血肿。", "诊断意见：急性硬膜下血肿。", "zh"),
    ("诊断意见：脑萎缩。", "诊断意见：老年性脑萎缩。", "zh"),
]


@pytest.mark.parametrize(("before", "after", "language", "rule"), FLAGGED)
def test_tells_what_the_final_report_says_otherwise(before, after, language, rule):
    """With the place in each document."""
    found = {d.rule: d for d in between_versions(case(before, "1.2.1", language), case(after, "1.2.2", language))}
    assert rule in found
    assert (found[rule].first.sop_instance_uid, found[rule].second.sop_instance_uid) == ("1.2.1", "1.2.2")
    for place, text in ((found[rule].first, before), (found[rule].second, after)):
        assert not place.words or text[place.start : place.end] == place.words


@pytest.mark.parametrize(("before", "after", "language"), FINE)
def test_is_silent_where_the_final_report_says_it_better(before, after, language):
    """What is added, specified or left as it was contradicts nothing."""
    assert between_versions(case(before, "1.2.1", language), case(after, "1.2.2", language)) == ()


@pytest.mark.parametrize(
    ("text", "study", "side", "body", "language", "flagged"),
    [
        ("FINDINGS: Right knee effusion.", "XR KNEE", "L", "KNEE", "en", True),
        ("EXAM: Left foot.\nFINDINGS: Fracture.", "", "R", "FOOT", "en", True),
        ("FINDINGS: Effusion.", "XR KNEE RIGHT", "L", "KNEE", "en", True),
        ("影像所见：右膝关节积液。", "膝关节", "L", "KNEE", "zh", True),
        ("FINDINGS: Left knee effusion.", "XR KNEE", "L", "KNEE", "en", False),
        ("FINDINGS: Effusion.", "XR KNEE", "L", "KNEE", "en", False),
        ("FINDINGS: Both knees are normal.", "XR KNEE", "L", "KNEE", "en", False),
        ("FINDINGS: Effusion, compared with the right knee.", "XR KNEE", "L", "KNEE", "en", False),
        ("FINDINGS: Right pleural effusion.", "XR CHEST", "L", "CHEST", "en", False),
        ("影像所见：左膝关节积液。", "膝关节", "L", "KNEE", "zh", False),
        ("FINDINGS: Right knee effusion.", "XR KNEE", "B", "KNEE", "en", False),
    ],
)
def test_holds_a_report_against_the_side_of_its_images(text, study, side, body, language, flagged):
    """Where all images that name a side name one."""
    found = side_of_images(case(text, language=language, study_description=study), side, body)
    assert (found is not None) is flagged
