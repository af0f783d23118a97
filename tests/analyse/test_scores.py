"""Scores by the English words: the table is the specification."""

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.model import Narrative, Score

Row = tuple[str, str, str]
"""System, category, scope."""

SCORES: dict[str, list[Row]] = {
    "BI-RADS 2: Benign.": [("BI-RADS", "2", "exam")],
    "BI-RADS Category 1 - Negative.": [("BI-RADS", "1", "exam")],
    "BI-RADS ASSESSMENT CATEGORY: 4C - High suspicion for malignancy.": [("BI-RADS", "4C", "exam")],
    "Overall BI-RADS: 0": [("BI-RADS", "0", "exam")],
    "ACR BI-RADS category: 6 known biopsy-proven malignancy.": [("BI-RADS", "6", "exam")],
    "FINAL ASSESSMENT: BI-RADS 5, highly suggestive of malignancy.": [("BI-RADS", "5", "exam")],
    "BIRADS 4 B.": [("BI-RADS", "4B", "exam")],
    "Right breast BI-RADS 1, left breast BI-RADS 3.": [("BI-RADS", "1", "exam"), ("BI-RADS", "3", "exam")],
    # a legend
    "BI-RADS categories: 0 = incomplete, 1 = negative, 2 = benign.": [],
    # the words of BI-RADS without its name
    "Category 2: Benign.": [("BI-RADS", "2", "exam")],
    "Breast density: B.": [("BI-RADS density", "B", "exam")],
    "ACR density category D.": [("BI-RADS density", "D", "exam")],
    "BI-RADS density C.": [("BI-RADS density", "C", "exam")],
    # the words of density c
    "The breasts are heterogeneously dense, which may obscure small masses.": [("BI-RADS density", "C", "exam")],
    "There are scattered areas of fibroglandular density.": [("BI-RADS density", "B", "exam")],
    # "a" is an article
    "Breast density is a concern.": [],
    "Lung-RADS 4B, suspicious.": [("Lung-RADS", "4B", "exam")],
    "Lung-RADS v1.1 category 2.": [("Lung-RADS", "2", "exam")],
    "Lung-RADS 2022: 4X.": [("Lung-RADS", "4X", "exam")],
    # a modifier
    "Lung-RADS 2S.": [("Lung-RADS", "2 S", "exam")],
    "Lung-RADS 0: incomplete.": [("Lung-RADS", "0", "exam")],
    "LR-5 observation in segment VIII measuring 2.4 cm.": [("LI-RADS", "5", "lesion")],
    # said twice
    "LI-RADS 5 (LR-5).": [("LI-RADS", "5", "lesion")],
    "LI-RADS v2018 category LR-4.": [("LI-RADS", "4", "lesion")],
    "LR3 and LR4 observations.": [("LI-RADS", "3", "lesion"), ("LI-RADS", "4", "lesion")],
    "LR-TR viable.": [("LI-RADS", "TR viable", "lesion")],
    "LR-M.": [("LI-RADS", "M", "lesion")],
    "LI-RADS treatment response: LR-TR Nonviable.": [("LI-RADS", "TR nonviable", "lesion")],
    # no range: one was, one is
    "Upgraded from LR-3 to LR-4.": [("LI-RADS", "3", "prior"), ("LI-RADS", "4", "lesion")],
    "PI-RADS v2.1 score: 4.": [("PI-RADS", "4", "lesion")],
    # a version
    "PI-RADS 2.1 guidelines were used.": [],
    "PI-RADS assessment category 3.": [("PI-RADS", "3", "lesion")],
    "Lesion 1: PI-RADS 5. Lesion 2: PI-RADS 3.": [("PI-RADS", "5", "lesion"), ("PI-RADS", "3", "lesion")],
    # a range
    "PI-RADS 4/5 lesion in the left mid peripheral zone.": [("PI-RADS", "4-5", "lesion")],
    "PI-RADS: 2": [("PI-RADS", "2", "lesion")],
    "TI-RADS 4 nodule, 1.5 cm.": [("TI-RADS", "4", "lesion")],
    "TIRADS category 3.": [("TI-RADS", "3", "lesion")],
    "TR5.": [("TI-RADS", "5", "lesion")],
    # points are no category
    "ACR TI-RADS 5 points.": [],
    "ACR TI-RADS category TR3, mildly suspicious.": [("TI-RADS", "3", "lesion")],
    "K-TIRADS 4.": [("K-TIRADS", "4", "lesion")],
    "C-TIRADS 4a.": [("C-TIRADS", "4A", "lesion")],
    "O-RADS 3.": [("O-RADS", "3", "lesion")],
    "O-RADS US 4.": [("O-RADS US", "4", "lesion")],
    "O-RADS US v2022: 2.": [("O-RADS US", "2", "lesion")],
    "O-RADS MRI 2.": [("O-RADS MRI", "2", "lesion")],
    # colon and the rest
    "C-RADS C2, E1.": [("C-RADS", "C2", "exam"), ("C-RADS", "E1", "exam")],
    "C-RADS colonic: C1; extracolonic: E2.": [("C-RADS", "C1", "exam"), ("C-RADS", "E2", "exam")],
    "CAD-RADS 2/P1.": [("CAD-RADS", "2 P1", "exam")],
    "CAD-RADS 4A/V.": [("CAD-RADS", "4A V", "exam")],
    # version, category, modifiers
    "CAD-RADS 2.0: 3/P2/HRP.": [("CAD-RADS", "3 P2 HRP", "exam")],
    "CAD-RADS N.": [("CAD-RADS", "N", "exam")],
    "NI-RADS 1 at the primary site, NI-RADS 2 in the neck.": [("NI-RADS", "1", "exam"), ("NI-RADS", "2", "exam")],
    # primary site and neck
    "NI-RADS primary: 2a, neck: 1.": [("NI-RADS", "2A", "exam"), ("NI-RADS", "1", "exam")],
    "ASPECTS 8.": [("ASPECTS", "8", "exam")],
    "ASPECTS score is 10.": [("ASPECTS", "10", "exam")],
    # out of ten
    "ASPECTS: 7/10.": [("ASPECTS", "7", "exam")],
    "ASPECTS of 9 out of 10.": [("ASPECTS", "9", "exam")],
    "Agatston score of 0.": [("Agatston", "0", "exam")],
    "Total coronary calcium score is 1,245.": [("Agatston", "1245", "exam")],
    # the percentile is another number
    "Coronary artery calcium score: 87 (75th percentile).": [("Agatston", "87", "exam")],
    "T-score -2.7 at the femoral neck, Z-score -1.1.": [("T-score", "-2.7", "exam"), ("Z-score", "-1.1", "exam")],
    "T-score of minus 1.5.": [("T-score", "-1.5", "exam")],
    "Lumbar spine T-score: 0.4.": [("T-score", "0.4", "exam")],
    "Kellgren-Lawrence grade 3 osteoarthritis.": [("Kellgren-Lawrence", "3", "lesion")],
    # the name comes after
    "Grade 2 osteoarthritis by Kellgren-Lawrence criteria.": [("Kellgren-Lawrence", "2", "lesion")],
    "KL grade IV.": [("Kellgren-Lawrence", "IV", "lesion")],
    "Moderate white matter disease (Fazekas grade 2).": [("Fazekas", "2", "exam")],
    "Fazekas 1-2.": [("Fazekas", "1-2", "exam")],
    "Bosniak II cyst.": [("Bosniak", "II", "lesion")],
    "Bosniak category 3 lesion.": [("Bosniak", "3", "lesion")],
    "Bosniak class IIF, version 2019.": [("Bosniak", "IIF", "lesion")],
    "Bosniak 2F.": [("Bosniak", "2F", "lesion")],
    "Bosniak I and II cysts.": [("Bosniak", "I", "lesion"), ("Bosniak", "II", "lesion")],
    "Deauville 5.": [("Deauville", "5", "exam")],
    # the scale's length is no category
    "Deauville 5-point scale: 2.": [("Deauville", "2", "exam")],
    # likewise
    "Grade III splenic laceration (AAST).": [("AAST", "III", "lesion")],
    "AAST grade 2 liver injury.": [("AAST", "2", "lesion")],
    "SFU grade 1.": [("SFU", "1", "lesion")],
    "UTD A1.": [("UTD", "A1", "lesion")],
    "RECIST 1.1: stable disease.": [("RECIST", "SD", "exam")],
    # likewise, in words
    "Overall response: progressive disease by RECIST 1.1.": [("RECIST", "PD", "exam")],
    "CO-RADS 3.": [("CO-RADS", "3", "exam")],
    "Type A Stanford dissection.": [("Stanford", "A", "lesion")],
    "DeBakey type I dissection.": [("DeBakey", "I", "lesion")],
    "Graf type IIa hip.": [("Graf", "IIA", "lesion")],
    "Pfirrmann grade IV degeneration at L4-L5.": [("Pfirrmann", "IV", "lesion")],
    "Modic type 1 endplate changes.": [("Modic", "1", "lesion")],
    # two of one name
    "Modic type 1 and 2 changes.": [("Modic", "1", "lesion"), ("Modic", "2", "lesion")],
    "Meyerding grade I anterolisthesis.": [("Meyerding", "I", "lesion")],
    "Garden III femoral neck fracture.": [("Garden", "III", "lesion")],
    "Salter-Harris II fracture of the distal radius.": [("Salter-Harris", "II", "lesion")],
    "Schatzker VI tibial plateau fracture.": [("Schatzker", "VI", "lesion")],
    "Weber B fracture.": [("Weber", "B", "lesion")],
    "Goutallier grade 2 fatty atrophy.": [("Goutallier", "2", "lesion")],
    "Outerbridge grade 3 chondromalacia.": [("Outerbridge", "3", "lesion")],
    "Hinchey Ib diverticulitis.": [("Hinchey", "IB", "lesion")],
    "Spetzler-Martin grade III AVM.": [("Spetzler-Martin", "III", "lesion")],
    "Modified Fisher grade 3.": [("Fisher", "3", "exam")],
    "mTICI 2b reperfusion.": [("TICI", "2B", "exam")],
    # dated after it
    "BI-RADS 3 on the prior study, now BI-RADS 2.": [("BI-RADS", "3", "prior"), ("BI-RADS", "2", "exam")],
    # dated in a bracket, without the name
    "BI-RADS 4A (previously 3).": [("BI-RADS", "4A", "exam"), ("BI-RADS", "3", "prior")],
    "Prior PI-RADS 4 lesion is unchanged, currently PI-RADS 4.": [
        ("PI-RADS", "4", "prior"),
        ("PI-RADS", "4", "lesion"),
    ],
    "VI-RADS 2.": [("VI-RADS", "2", "lesion")],
    "PSMA-RADS 3B.": [("PSMA-RADS", "3B", "lesion")],
    "MTA score 2.": [("MTA", "2", "exam")],
    "The Lung-RADS recommendations were reviewed.": [],
    # repetition time of a sequence
    "TR 4000 ms, TE 80.": [],
    "LR test was positive.": [],
    # no words of BI-RADS
    "Category 3 findings.": [],
    # a place
    "Stanford University Hospital.": [],
    "T2 hyperintense lesion.": [],
    # the months are no second category
    "BI-RADS 3, 6 month follow-up.": [("BI-RADS", "3", "exam")],
    "Lung-RADS 3, 6 month low-dose CT.": [("Lung-RADS", "3", "exam")],
    # a person
    "Fisher was the referring physician.": [],
    "PI-RADS score is not assigned.": [],
}


def read(text: str) -> tuple[Score, ...]:
    """The scores of a report."""
    return analyse(Narrative(text), language="en").scores


@pytest.mark.parametrize(("text", "rows"), SCORES.items())
def test_a_score_is_the_category_of_its_system(text: str, rows: list[Row]) -> None:
    """Nothing else is; offsets give the words."""
    found = read(text)
    assert [(s.system, s.category, s.scope) for s in found] == rows
    assert all(text[s.start : s.end] == s.text for s in found)
    assert all((s.temporality.value == "prior") == (s.scope == "prior") for s in found)


HEADINGS = {
    "FINDINGS: Normal.\nBI-RADS CATEGORY: 2": [("BI-RADS", "2", "exam")],
    "BREAST DENSITY: B\nFINDINGS: Normal.": [("BI-RADS density", "B", "exam")],
    "FINDINGS: Normal.\nBI-RADS:\n4C - High suspicion.": [("BI-RADS", "4C", "exam")],
    "IMPRESSION:\n1. No mass.\n2. BI-RADS 1.": [("BI-RADS", "1", "exam")],
    "IMPRESSION:\n1. LR-5, segment 8.\n2. LR-3, segment 4.": [("LI-RADS", "5", "lesion"), ("LI-RADS", "3", "lesion")],
}


@pytest.mark.parametrize(("text", "rows"), HEADINGS.items())
def test_a_category_may_stand_under_a_heading_that_names_the_system(text: str, rows: list[Row]) -> None:
    """The heading is read with the first sentence below it."""
    found = read(text)
    assert [(s.system, s.category, s.scope) for s in found] == rows
    assert all(text[s.start : s.end] == s.text for s in found)


VERSIONS = {
    "PI-RADS v2.1 score: 4.": "2.1",
    "Lung-RADS 2022: 4X.": "2022",
    "LI-RADS version 2018 category LR-4.": "2018",
    "CAD-RADS 2.0: 3.": "2.0",
    "PI-RADS 4.": None,
}


@pytest.mark.parametrize(("text", "version"), VERSIONS.items())
def test_a_version_is_no_category(text: str, version: str | None) -> None:
    """It is given beside it, without its letter."""
    (found,) = read(text)
    assert found.version == version


OF_THE_BREAST = {
    "en: FINDINGS: Left breast mass.\nFINAL ASSESSMENT: Category 4: Suspicious.": ["4"],
    "en: FINDINGS: Left breast mass.\nAssessment: 2 - benign.": ["2"],
    # its own words name it wherever it stands
    "en: ASSESSMENT: Category 3, probably benign.": ["3"],
    # the first item of a list
    "en: FINDINGS: Left breast mass.\nASSESSMENT:\n1. Benign left breast mass.\n2. Cyst.": [],
    # of another part
    "en: FINDINGS: Left lung mass.\nAssessment: 2 - benign.": [],
    "zh: 检查所见：右乳见边缘毛刺肿块。\n评估：2类。": ["2"],
    "zh: 检查所见：右乳见边缘毛刺肿块。\n综合评估：4B类。": ["4B"],
    "zh: 检查所见：右乳见边缘毛刺肿块。\n评估：BI-RADS 2类。": ["2"],
    "zh: 检查所见：右肺肿块。\n心功能评估：2类。": [],
}


@pytest.mark.parametrize(("said", "categories"), OF_THE_BREAST.items())
def test_an_assessment_without_a_name_is_of_the_breast_in_a_report_of_it(said: str, categories: list[str]) -> None:
    """And nowhere else."""
    language, text = said.split(": ", 1)
    scores = analyse(Narrative(text), language=language).scores
    assert [s.category for s in scores if s.system == "BI-RADS"] == categories
