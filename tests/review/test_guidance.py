"""Guidelines applied to findings: what the text tells, what it leaves out, and what the report recommends."""

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.model import Identity, Narrative, Report, State
from dicomnlp.review.reading import Switches, read_again


def remarks(text, modality="CT", language="en", switches=None, **header):
    """What is remarked on a report of this text."""
    identity = Identity(study_date="20261122", **header)
    report = Report(identity, Narrative(text), State.PENDING)
    analysis = analyse(report.narrative, language=language)
    return read_again(report, analysis, (modality,), switches or Switches())


def only(text, language="en", **header):
    """The one guidance of a text."""
    [guidance] = remarks(text, language=language, **header).guidance
    return guidance


SMOKER, NEVER = "HISTORY: Smoker.\n", "HISTORY: Never smoker.\n"

# text, guideline, answers that remain, what is missing, outcome
ENGLISH = [
    # Fleischner 2017, table of solid nodules
    (
        SMOKER + "FINDINGS: 5 mm solid nodule in the right upper lobe.",
        "fleischner_2017",
        ["solid_single_small_high_risk"],
        [],
        "none_needed",
    ),
    (
        NEVER + "FINDINGS: 5 mm solid nodule in the right upper lobe.",
        "fleischner_2017",
        ["solid_single_small_low_risk"],
        [],
        "none_needed",
    ),
    (
        NEVER + "FINDINGS: 7 mm solid nodule in the left lung.\nIMPRESSION: Nodule. Recommend CT chest in 6-12 months.",
        "fleischner_2017",
        ["solid_single_medium_low_risk"],
        [],
        "followed",
    ),
    (
        SMOKER + "FINDINGS: 7 mm solid nodule in the right upper lobe.",
        "fleischner_2017",
        ["solid_single_medium_high_risk"],
        [],
        "not_stated",
    ),
    (
        "FINDINGS: 12 mm solid nodule in the right upper lobe.\nIMPRESSION: Nodule. Recommend CT chest in 12 months.",
        "fleischner_2017",
        ["solid_single_large"],
        [],
        "different",
    ),
    (
        "FINDINGS: 12 mm solid nodule in the right upper lobe.\nIMPRESSION: Nodule. Recommend PET/CT.",
        "fleischner_2017",
        ["solid_single_large"],
        [],
        "followed",
    ),
    (
        SMOKER
        + "FINDINGS: Multiple solid nodules in the lung up to 7 mm.\nIMPRESSION: Recommend CT chest in 3-6 months.",
        "fleischner_2017",
        ["solid_multiple_high_risk"],
        [],
        "followed",
    ),
    # subsolid
    (
        "FINDINGS: 5 mm ground-glass nodule in the left upper lobe.",
        "fleischner_2017",
        ["subsolid_single_small"],
        [],
        "none_needed",
    ),
    (
        "FINDINGS: 12 mm ground-glass nodule in the left upper lobe. Recommend CT chest in 6 months.",
        "fleischner_2017",
        ["ground_glass_single"],
        [],
        "followed",
    ),
    (
        "FINDINGS: 12 mm part-solid nodule in the left upper lobe.",
        "fleischner_2017",
        ["part_solid_single"],
        [],
        "not_stated",
    ),
    # what the text leaves out
    (
        "FINDINGS: 7 mm solid nodule in the right upper lobe.",
        "fleischner_2017",
        ["solid_single_medium_low_risk", "solid_single_medium_high_risk"],
        ["risk"],
        "not_stated",
    ),
    (
        "FINDINGS: Solid nodule in the right upper lobe.",
        "fleischner_2017",
        [
            "solid_single_small_low_risk",
            "solid_single_small_high_risk",
            "solid_single_medium_low_risk",
            "solid_single_medium_high_risk",
            "solid_single_large",
        ],
        ["risk", "size_mm"],
        "undecided",
    ),
    # the mean of both axes: 6.5 is rounded to even, 6
    (
        NEVER + "FINDINGS: 7 x 4 mm solid nodule in the right upper lobe.",
        "fleischner_2017",
        ["solid_single_medium_low_risk"],
        [],
        "not_stated",
    ),
    (
        NEVER + "FINDINGS: 6 x 4 mm solid nodule in the right upper lobe.",
        "fleischner_2017",
        ["solid_single_small_low_risk"],
        [],
        "none_needed",
    ),
    # adrenal
    ("FINDINGS: 8 mm left adrenal nodule.", "acr_adrenal_2017", ["small"], [], "none_needed"),
    ("FINDINGS: 1.5 cm left adrenal nodule measuring 5 HU.", "acr_adrenal_2017", ["low_density"], [], "none_needed"),
    (
        "HISTORY: No history of malignancy.\nFINDINGS: 1.5 cm left adrenal nodule, 25 HU.",
        "acr_adrenal_2017",
        ["one_to_two_cm"],
        [],
        "not_stated",
    ),
    (
        "HISTORY: No known cancer.\nFINDINGS: 3 cm indeterminate adrenal mass, 30 HU. Recommend adrenal protocol CT.",
        "acr_adrenal_2017",
        ["two_to_four_cm"],
        [],
        "followed",
    ),
    (
        "HISTORY: Lung cancer.\nFINDINGS: 5 cm adrenal mass, 35 HU.",
        "acr_adrenal_2017",
        ["large_with_cancer"],
        [],
        "not_stated",
    ),
    (
        "FINDINGS: 1.5 cm left adrenal nodule.",
        "acr_adrenal_2017",
        ["low_density", "one_to_two_cm", "up_to_four_cm_with_cancer"],
        ["history_of_cancer", "hu"],
        "undecided",
    ),
    # kidney
    (
        "FINDINGS: 2.4 cm enhancing left renal mass.\nIMPRESSION: Renal mass, urology consultation recommended.",
        "acr_renal_2018",
        ["solid"],
        [],
        "followed",
    ),
    ("FINDINGS: 2 cm indeterminate renal lesion, 40 HU.", "acr_renal_2018", ["between"], [], "not_stated"),
    ("FINDINGS: 2 cm renal lesion measuring 85 HU.", "acr_renal_2018", ["high_density"], [], "none_needed"),
    # liver
    (
        "HISTORY: No known malignancy.\nFINDINGS: 8 mm hepatic lesion.",
        "acr_liver_2017",
        ["small_low_risk"],
        [],
        "none_needed",
    ),
    ("HISTORY: Cirrhosis.\nFINDINGS: 8 mm hepatic lesion.", "acr_liver_2017", ["small_high_risk"], [], "not_stated"),
    (
        "HISTORY: Cirrhosis.\nFINDINGS: 2 cm suspicious hepatic lesion. MRI of the liver is recommended.",
        "acr_liver_2017",
        ["suspicious_high_risk"],
        [],
        "followed",
    ),
]
CHINESE = [
    (
        "临床病史：吸烟史。\n检查所见：右肺上叶实性结节，大小约5mm。",
        "fleischner_2017",
        ["solid_single_small_high_risk"],
        [],
        "none_needed",
    ),
    (
        "临床病史：无吸烟史。\n检查所见：右肺上叶实性结节，大小约7mm。",
        "fleischner_2017",
        ["solid_single_medium_low_risk"],
        [],
        "not_stated",
    ),
    (
        "检查所见：右肺上叶实性结节，大小约7mm。\n诊断意见：右肺上叶结节，建议6个月后复查CT。",
        "fleischner_2017",
        ["solid_single_medium_low_risk", "solid_single_medium_high_risk"],
        ["risk"],
        "followed",
    ),
    ("检查所见：左肺上叶磨玻璃结节，大小约12mm。", "fleischner_2017", ["ground_glass_single"], [], "not_stated"),
    ("检查所见：左肺上叶磨玻璃结节，大小约4mm。", "fleischner_2017", ["subsolid_single_small"], [], "none_needed"),
    (
        "检查所见：左肺上叶部分实性结节，大小约12mm。\n诊断意见：左肺上叶结节，建议3个月后复查CT。",
        "fleischner_2017",
        ["part_solid_single"],
        [],
        "followed",
    ),
    (
        "检查所见：右肺上叶实性结节，大小约12mm。\n诊断意见：右肺上叶结节，建议12个月后复查CT。",
        "fleischner_2017",
        ["solid_single_large"],
        [],
        "different",
    ),
    (
        "临床病史：无肿瘤病史。\n检查所见：左肾上腺结节，大小约18mm，CT值约25HU。",
        "acr_adrenal_2017",
        ["one_to_two_cm"],
        [],
        "not_stated",
    ),
    ("检查所见：左肾上腺结节，大小约18mm，CT值约5HU。", "acr_adrenal_2017", ["low_density"], [], "none_needed"),
    ("检查所见：左肾上腺结节，大小约8mm。", "acr_adrenal_2017", ["small"], [], "none_needed"),
    ("检查所见：左肾肿块，大小约24mm，增强后明显强化。", "acr_renal_2018", ["solid"], [], "not_stated"),
    ("临床病史：肝硬化。\n检查所见：肝右叶结节，大小约8mm。", "acr_liver_2017", ["small_high_risk"], [], "not_stated"),
]
AGED = [
    ("FINDINGS: 12 mm thyroid nodule.", "19500301", "en", "acr_thyroid_2015", "small", "none_needed"),
    ("FINDINGS: 12 mm thyroid nodule.", "19990301", "en", "acr_thyroid_2015", "young_large", "not_stated"),
    (
        "FINDINGS: 18 mm thyroid nodule. Thyroid ultrasound is recommended.",
        "19500301",
        "en",
        "acr_thyroid_2015",
        "large",
        "followed",
    ),
    ("检查所见：甲状腺右叶结节，大小约18mm。", "19500301", "zh", "acr_thyroid_2015", "large", "not_stated"),
    ("检查所见：甲状腺右叶结节，大小约8mm。", "19500301", "zh", "acr_thyroid_2015", "small", "none_needed"),
    (
        "FINDINGS: 1.2 cm cyst in the pancreatic tail.",
        "19700301",
        "en",
        "acr_pancreas_2017",
        "small_under_65",
        "not_stated",
    ),
    (
        "FINDINGS: 1.2 cm cyst in the pancreatic tail. Recommend MRI abdomen in 2 years.",
        "19550301",
        "en",
        "acr_pancreas_2017",
        "small_65_to_79",
        "followed",
    ),
    (
        "FINDINGS: 2.1 cm cyst in the pancreatic tail.",
        "19550301",
        "en",
        "acr_pancreas_2017",
        "medium_under_80",
        "not_stated",
    ),
    (
        "FINDINGS: 3.4 cm pancreatic cyst with an enhancing mural nodule. Recommend endoscopic ultrasound.",
        "19550301",
        "en",
        "acr_pancreas_2017",
        "worrisome",
        "followed",
    ),
    ("检查所见：胰腺囊肿，大小约12mm。", "19700301", "zh", "acr_pancreas_2017", "small_under_65", "not_stated"),
]


@pytest.mark.parametrize(("text", "guideline", "answers", "missing", "outcome"), ENGLISH)
def test_applies_a_guideline_to_an_english_report(text, guideline, answers, missing, outcome):
    """The answers that remain possible, what would decide between them, and how the report stands to them."""
    found = only(text)
    assert (found.guideline, [a.rule for a in found.advice]) == (guideline, answers)
    assert (list(found.missing), found.outcome) == (missing, outcome)


@pytest.mark.parametrize(("text", "guideline", "answers", "missing", "outcome"), CHINESE)
def test_applies_a_guideline_to_a_chinese_report(text, guideline, answers, missing, outcome):
    """By the same rules."""
    found = only(text, "zh")
    assert (found.guideline, [a.rule for a in found.advice]) == (guideline, answers)
    assert (list(found.missing), found.outcome) == (missing, outcome)


@pytest.mark.parametrize(("text", "born", "language", "guideline", "answer", "outcome"), AGED)
def test_asks_the_age_where_a_guideline_does(text, born, language, guideline, answer, outcome):
    """By the header's dates."""
    found = only(text, language, patient_birth_date=born)
    assert (found.guideline, [a.rule for a in found.advice], found.outcome) == (guideline, [answer], outcome)


def test_an_unknown_age_is_missing():
    """Neither header nor text tells it."""
    assert only("FINDINGS: 12 mm thyroid nodule.").missing == ("age",)


@pytest.mark.parametrize(
    ("text", "modality"),
    [
        ("FINDINGS: No pulmonary nodule.", "CT"),
        ("FINDINGS: 7 mm calcified nodule in the right upper lobe.", "CT"),
        ("FINDINGS: 7 mm solid nodule in the right upper lobe.", "CR"),  # for CT only
        ("HISTORY: History of lung cancer.\nFINDINGS: 7 mm solid nodule in the right upper lobe.", "CT"),
        ("HISTORY: Lung cancer screening.\nFINDINGS: 7 mm solid nodule in the right upper lobe.", "CT"),
        ("HISTORY: 25-year-old man.\nFINDINGS: 7 mm solid nodule in the right upper lobe.", "CT"),
        ("HISTORY: Immunosuppressed.\nFINDINGS: 7 mm solid nodule in the right upper lobe.", "CT"),
        ("FINDINGS: Prior thyroidectomy. 18 mm thyroid nodule.", "CT"),
        ("FINDINGS: 2 cm pancreatic cyst, a pseudocyst.", "CT"),
        ("INDICATION: Pulmonary nodule.\nFINDINGS: Clear lungs.", "CT"),
        ("FINDINGS: 18 mm thyroid nodule.", "US"),
        ("检查所见：右肺上叶钙化结节，大小约7mm。", "CT"),
        ("检查所见：未见肺结节。", "CT"),
        ("临床病史：肺癌术后。\n检查所见：右肺上叶实性结节，大小约7mm。", "CT"),
    ],
)
def test_is_silent_where_a_guideline_is_not_for_the_patient(text, modality):
    """What isn't incidental, or not of the kind, is nothing for it."""
    assert remarks(text, modality, "zh" if "检" in text else "en").guidance == ()


def test_a_guideline_that_is_off_is_not_asked():
    """Each has a switch."""
    off = Switches(guidelines_off=frozenset({"fleischner_2017"}))
    assert remarks("FINDINGS: 7 mm solid nodule in the right upper lobe.", switches=off).guidance == ()


def test_tells_where_finding_and_recommendation_stand():
    """In the text's own words."""
    text = "FINDINGS: 12 mm solid nodule in the right upper lobe.\nIMPRESSION: Nodule. Recommend PET/CT."
    found = only(text)
    assert text[found.finding.start : found.finding.end] == found.finding.words == "12 mm solid nodule"
    assert found.recommendation.words == "Recommend PET/CT"
    assert dict(found.known) == {"texture": "solid", "count": "single", "size_mm": "12"}


# text, modality, measure, met
MEASURES = [
    ("IMPRESSION: BI-RADS 2.", "MG", "mammography_assessment", True),
    ("IMPRESSION: Normal.", "MG", "mammography_assessment", False),
    ("FINDINGS: Heterogeneously dense breasts.", "MG", "mammography_density", True),
    ("FINDINGS: No mass.", "MG", "mammography_density", False),
    ("EXAM: Screening mammogram.\nIMPRESSION: BI-RADS 3.", "MG", "mips_146", False),
    ("EXAM: Screening mammogram.\nIMPRESSION: BI-RADS 1.", "MG", "mips_146", True),
    ("FINDINGS: Fluoroscopy time 2.3 minutes. Normal esophagram.", "RF", "mips_145", True),
    ("FINDINGS: Normal esophagram.", "RF", "mips_145", False),
    ("EXAM: Bone scan.\nFINDINGS: Uptake in L2. Correlation with CT of 2026.", "NM", "mips_147", True),
    ("EXAM: Bone scan.\nFINDINGS: Uptake in L2.", "NM", "mips_147", False),
    (
        "EXAM: Carotid ultrasound.\nFINDINGS: 60% stenosis of the carotid artery. Peak systolic velocity 210 cm/s.",
        "US",
        "mips_195",
        True,
    ),
    ("EXAM: CTA carotid.\nFINDINGS: 60% stenosis of the left internal carotid artery.", "CT", "mips_195", False),
    ("FINDINGS: 7 mm pulmonary nodule. CT chest in 12 months is recommended.", "CT", "mips_364", True),
    ("FINDINGS: 7 mm pulmonary nodule.", "CT", "mips_364", False),
    ("FINDINGS: 8 mm adrenal nodule. Recommend adrenal CT.", "CT", "mips_405", False),
    ("FINDINGS: 8 mm adrenal nodule.", "CT", "mips_405", True),
    ("FINDINGS: 8 mm thyroid nodule. Thyroid ultrasound is recommended.", "CT", "mips_406", False),
    ("FINDINGS: 8 mm thyroid nodule.", "CT", "mips_406", True),
    ("TECHNIQUE: Automated exposure control was used.\nFINDINGS: Normal.", "CT", "mips_436", True),
    ("FINDINGS: Normal.", "CT", "mips_436", False),
    ("检查技术：采用迭代重建。\n检查所见：未见异常。", "CT", "mips_436", True),
    ("EXAM: Lung cancer screening CT.\nIMPRESSION: Lung-RADS 2.", "CT", "screening_lung_rads", True),
    ("EXAM: MRI prostate.\nIMPRESSION: PI-RADS 3.", "MR", "prostate_pi_rads", True),
    ("EXAM: MRI prostate.\nIMPRESSION: Normal.", "MR", "prostate_pi_rads", False),
    (
        "FINDINGS: Large right tension pneumothorax. Findings were discussed with Dr. Smith by telephone at 10:30.",
        "CR",
        "critical_communication",
        True,
    ),
    ("FINDINGS: Large right tension pneumothorax.", "CR", "critical_communication", False),
]


@pytest.mark.parametrize(("text", "modality", "measure", "met"), MEASURES)
def test_measures_what_reports_have(text, modality, measure, met):
    """For the reports that the measure is for; of an inverse one, met is not having it."""
    found = remarks(text, modality, "zh" if "检" in text else "en").quality_measures
    [(told, because)] = [(m.met, m.because) for m in found if m.measure == measure]
    assert told is met
    assert because is None or text[because.start : because.end] == because.words


@pytest.mark.parametrize("measure", ["mammography_assessment", "mips_145", "mips_364", "critical_communication"])
def test_a_measure_is_not_for_every_report(measure):
    """A normal CT of the head is for none of these."""
    found = remarks("EXAM: CT head.\nFINDINGS: Normal.").quality_measures
    assert measure not in {m.measure for m in found}
