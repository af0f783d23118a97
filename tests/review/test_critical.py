"""Which findings are critical results: what is news, and of which category."""

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.model import Narrative
from dicomnlp.review.critical import critical_findings, documented
from dicomnlp.review.critical_rules import category_of, critical_rules, lineage_of, rule_of


def found(text, language="en"):
    """(category, concept) of what is critical in a text, the most urgent first."""
    findings = analyse(Narrative(text), language=language).findings
    return [(c.category, c.finding.concept.id) for c in critical_findings(findings)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IMPRESSION: Large right tension pneumothorax.", [(1, "tension_pneumothorax")]),
        ("IMPRESSION: Acute pulmonary embolism.", [(1, "pulmonary_embolism")]),
        ("IMPRESSION: Possible small pneumothorax.", [(1, "pneumothorax")]),  # a suspicion of it is told, too
        ("IMPRESSION: Acute calculous cholecystitis.", [(2, "cholecystitis")]),
        ("IMPRESSION: Acute appendicitis.", [(2, "appendicitis")]),
        ("IMPRESSION: Perforated appendicitis.", [(1, "perforated_appendicitis")]),
        ("IMPRESSION: Spiculated mass highly suspicious for malignancy.", [(3, "malignancy"), (3, "spiculated_mass")]),
        ("IMPRESSION: Enlarging abdominal aortic aneurysm of 60 mm.", [(2, "abdominal_aortic_aneurysm")]),
        ("IMPRESSION: Acute compression fracture of L1.", []),
        ("IMPRESSION: Acute subdural hematoma with midline shift.", [(1, "subdural_hematoma"), (1, "midline_shift")]),
    ],
)
def test_what_somebody_must_be_told(text, expected):
    """By the categories of the ACR."""
    assert sorted(found(text)) == sorted(expected)


@pytest.mark.parametrize(
    "text",
    [
        "IMPRESSION: No pneumothorax.",
        "INDICATION: Rule out pulmonary embolism. FINDINGS: Normal.",
        "HISTORY: Right pneumothorax, chest tube.\nIMPRESSION: Residual right pneumothorax.",  # that is known
        "IMPRESSION: Stable right pneumothorax.",
        "IMPRESSION: Right pneumothorax has decreased in size.",
        "FINDINGS: Chronic nonocclusive thrombus of the popliteal vein.\nIMPRESSION: Deep vein thrombosis.",
        "IMPRESSION: Old vertebral fracture.",
        "IMPRESSION: Vertebral compression fracture of L1, unchanged.",
        "HISTORY: Lung cancer.\nIMPRESSION: Lung cancer in the right upper lobe.",
        "IMPRESSION: Abdominal aortic aneurysm of 42 mm.",
        "IMPRESSION: 6 mm pulmonary nodule.",  # for follow-up, not for the telephone
        "IMPRESSION: Breast mass, probably benign.",
        "IMPRESSION: Pancreatic cyst.",
        "TECHNIQUE: Contrast extravasation occurred.",
        "IMPRESSION: Pleural effusion and pneumonia.",
    ],
)
def test_what_is_no_news(text):
    """A list that is full of it isn't read."""
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("影像诊断：右侧张力性气胸。", [(1, "tension_pneumothorax")]),
        ("影像诊断：急性硬膜下血肿。", [(1, "subdural_hematoma")]),
        ("影像诊断：右侧陈旧性肋骨骨折。", []),
        ("影像诊断：右侧胸腔少量积液。", []),
        ("影像诊断：腘静脉内附壁陈旧性血栓。", []),
        ("影像诊断：未见气胸。", []),
    ],
)
def test_chinese(text, expected):
    """By the same categories: what is actionable doesn't depend on who speaks of it."""
    assert found(text, "zh") == expected


@pytest.mark.parametrize(
    ("text", "recipient"),
    [
        ("IMPRESSION: Pneumothorax. Findings discussed with Dr. Smith at 10:20.", "Dr. Smith"),
        ("IMPRESSION: Pneumothorax. Attempted to reach Dr. Smith without success.", None),
        ("IMPRESSION: Pneumothorax.", None),
    ],
)
def test_what_a_report_documents(text, recipient):
    """That it was tried is not enough."""
    told = documented(analyse(Narrative(text), language="en").communications)
    assert (told.communication.recipient if told else None) == recipient


def test_rules_name_concepts_that_there_are_and_their_sources():
    """Checked when they are read; each concept has one rule at the most."""
    rules = critical_rules()
    named = [c for r in rules.rules for c in r.concepts]
    assert len(named) == len(set(named))
    assert all(r.source for r in rules.rules)
    assert all(category_of(c) == 3 for c in rules.third.concepts)


def test_category_is_that_of_the_nearest_ancestor_that_has_one():
    """And none where no ancestor has one."""
    assert category_of("tension_pneumothorax") == 1
    assert category_of("pleural_effusion") is None
    assert category_of("no_such_concept") is None
    assert "malignancy" in lineage_of("lung_cancer")
    assert rule_of("lung_cancer").news
    assert rule_of("pleural_effusion") is None
