"""How mentions are asserted: one table for each group of rules, which is that group's specification.

Spans are given as targets, so the tables test the rules and not the lexicon.
"""

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.model import Narrative

Row = tuple[str, str, str]

HEADINGS: list[Row] = [
    # a heading is no cue: HISTORY doesn't make what follows past
    ("HISTORY: Cough for two weeks.", "Cough", "present"),
    ("CT CHEST WITHOUT CONTRAST\nFINDINGS: Lobar consolidation.", "consolidation", "present"),
    ("TECHNIQUE: CT without contrast. FINDINGS: Splenic laceration.", "laceration", "present"),
    # medspaCy's stock rules read ": no" as looking back
    ("IMPRESSION: No acute process.", "acute process", "absent"),
    ("Pleura: No effusion.", "effusion", "absent"),
    ("Bones: No fracture. Lungs: Apical bulla.", "bulla", "present"),
    ("Gallbladder: Sludge. No stones.", "Sludge", "present"),
]

PSEUDO_NEGATION: list[Row] = [
    ("No significant change in the ascites.", "ascites", "present"),
    ("There is no interval change in the subdural collection.", "subdural collection", "present"),
    ("No increase in size of the renal cyst.", "renal cyst", "present"),
    ("The hiatal hernia is without change.", "hiatal hernia", "present"),
    ("No more than trace pericardial fluid.", "pericardial fluid", "present"),
    ("Not only a rib fracture but also a hemothorax.", "rib fracture", "present"),
    ("There is no doubt about the perforation.", "perforation", "present"),
    ("The thyroid nodule has not changed.", "thyroid nodule", "present"),
    ("The hematoma is not significantly increased.", "hematoma", "present"),
    # going, but not gone
    ("The edema has nearly resolved.", "edema", "present"),
    ("Partial resolution of the pneumothorax.", "pneumothorax", "present"),
    ("The contusion has not resolved.", "contusion", "present"),
]

NEGATION: list[Row] = [
    ("No hydronephrosis, stone, or mass.", "hydronephrosis", "absent"),
    ("No hydronephrosis, stone, or mass.", "mass", "absent"),
    ("There is no evidence of bowel obstruction.", "bowel obstruction", "absent"),
    ("No CT findings to suggest diverticulitis.", "diverticulitis", "absent"),
    ("Negative for acute fracture.", "acute fracture", "absent"),
    ("The lungs are free of nodules.", "nodules", "absent"),
    ("Neither hemorrhage nor infarct is seen.", "infarct", "absent"),
    ("She denies chest pain and dyspnea.", "dyspnea", "absent"),
    ("Absence of free fluid.", "free fluid", "absent"),
    ("Scarring rather than recurrent tumor.", "recurrent tumor", "absent"),
    ("Interval resolution of the pleural fluid.", "pleural fluid", "absent"),
    ("Findings are not consistent with cholangitis.", "cholangitis", "absent"),
    # the cue reaches into its target and takes its adjective
    ("No suspicious mass.", "suspicious mass", "absent"),
    ("No acute fracture.", "acute fracture", "absent"),
    # a cue inside its target is part of the name
    ("Disc bulge without canal compromise is stable.", "Disc bulge without canal compromise", "present"),
    ("There is no demonstrated adenopathy.", "adenopathy", "absent"),
    ("Negative sonographic Murphy sign.", "Murphy sign", "absent"),
    # "no" and a hedge of the same finding: there is still none
    ("No lesion suspicious for metastasis.", "metastasis", "absent"),
]

AFTER: list[Row] = [
    ("Hydrocephalus is not seen.", "Hydrocephalus", "absent"),
    ("The right hilar mass is no longer evident.", "hilar mass", "absent"),
    ("The pneumomediastinum has resolved.", "pneumomediastinum", "absent"),
    ("Abscess is unlikely.", "Abscess", "absent"),
    ("Dissection was ruled out.", "Dissection", "absent"),
    ("Tamponade is absent.", "Tamponade", "absent"),
    ("Cholecystitis and cholangitis are not identified.", "Cholecystitis", "absent"),
    ("Pericolic stranding, resolved.", "Pericolic stranding", "absent"),
    ("Murphy sign: negative.", "Murphy sign", "absent"),
    ("Ascites: none.", "Ascites", "absent"),
    # what has resolved is not what the next clause speaks of
    ("The pneumonia has resolved; a small effusion remains.", "effusion", "present"),
    ("Cardiomegaly is stable and edema is not seen.", "Cardiomegaly", "present"),
    ("Cardiomegaly is stable and edema is not seen.", "edema", "absent"),
    ("Effusion resolved, atelectasis persists.", "atelectasis", "present"),
    # a comma ends what one verb says, unless a list is told
    ("Small effusion, pneumothorax is not seen.", "effusion", "present"),
    ("Effusion, pneumothorax, or fracture is not seen.", "Effusion", "absent"),
]

HEDGES: list[Row] = [
    ("Possible early appendicitis.", "appendicitis", "possible"),
    ("This may represent a hemangioma.", "hemangioma", "possible"),
    ("Findings are concerning for ischemia.", "ischemia", "possible"),
    ("Suspicious for osteomyelitis.", "osteomyelitis", "possible"),
    ("Hypodensity, likely a cyst.", "cyst", "possible"),
    ("Hypodensity, likely a cyst.", "Hypodensity", "present"),
    ("Question of a nondisplaced fracture.", "fracture", "possible"),
    ("Atelectasis versus infiltrate.", "Atelectasis", "possible"),
    ("Atelectasis versus infiltrate.", "infiltrate", "possible"),
    # what is seen is certain, what it is isn't
    ("A 5 mm nodule versus vessel.", "nodule", "present"),
    ("Differential includes abscess and lymphoma.", "lymphoma", "possible"),
    ("Torsion cannot be excluded.", "Torsion", "possible"),
    ("Ligament injury is not excluded.", "Ligament injury", "possible"),
    ("It is difficult to exclude a small leak.", "small leak", "possible"),
    ("Low probability for pulmonary embolism.", "pulmonary embolism", "possible"),
    ("Small effusion, pneumonia cannot be excluded.", "effusion", "present"),
    ("Findings suggestive of, but not diagnostic for, sarcoidosis.", "sarcoidosis", "possible"),
    ("Pneumonia is favored, though atelectasis could have a similar appearance.", "atelectasis", "possible"),
    # these say what it is
    ("Wedge defect, consistent with infarct.", "infarct", "present"),
    ("Wall thickening compatible with colitis.", "colitis", "present"),
]

ASKED: list[Row] = [
    ("INDICATION: Rule out stroke.", "stroke", "hypothetical"),
    ("REASON FOR EXAM: Evaluate for abscess.", "abscess", "hypothetical"),
    ("INDICATION: Pulmonary embolism.", "Pulmonary embolism", "hypothetical"),
    # a complaint is there, whatever is asked
    ("INDICATION: Chest pain.", "Chest pain", "present"),
    ("If fever develops, consider abscess.", "abscess", "hypothetical"),
    ("MRI is advised to exclude an occult fracture.", "occult fracture", "hypothetical"),
    ("Please correlate for infection.", "infection", "hypothetical"),
    ("The study was not tailored for aortic dissection.", "aortic dissection", "hypothetical"),
    ("If there is concern for ligament injury, MRI can be performed.", "ligament injury", "hypothetical"),
    ("CT is more sensitive for small stones.", "small stones", "hypothetical"),
    # the disclaimer of a mammogram
    ("A certain percentage of cancers escapes mammography.", "cancers", "hypothetical"),
    ("INDICATION: Fall, r/o hip fracture. IMPRESSION: Hip fracture.", "hip fracture", "hypothetical"),
]

SCOPE: list[Row] = [
    ("No cholecystitis with multiple gallstones.", "gallstones", "present"),
    ("No effusion, but there is atelectasis.", "atelectasis", "present"),
    ("No mass; cyst in the left kidney.", "cyst", "present"),
    ("No adenopathy except for a hilar node.", "hilar node", "present"),
    ("No fracture other than the known rib fracture.", "rib fracture", "present"),
    ("No obstruction and there is an umbilical hernia.", "umbilical hernia", "present"),
    ("No consolidation, mild cardiomegaly.", "cardiomegaly", "present"),
    ("No consolidation, stable cardiomegaly.", "cardiomegaly", "present"),
    ("No lymphadenopathy, 4 mm nodule.", "nodule", "present"),
    ("No effusion, likely atelectasis.", "atelectasis", "possible"),
    # adjectives within a negated list end nothing
    ("No focal consolidation, large effusion, or pneumothorax.", "pneumothorax", "absent"),
    ("No nodule, suspicious mass, or effusion.", "effusion", "absent"),
    # a bracket holds its own cues
    ("Cyst (no enhancement) in the upper pole.", "Cyst", "present"),
    ("Lesion (not seen before) and ascites.", "ascites", "present"),
    ("Interval resolution of edema and new consolidation.", "consolidation", "present"),
]

PAST: list[Row] = [
    ("History of deep venous thrombosis.", "deep venous thrombosis", "historical"),
    ("Status post nephrectomy for renal cell carcinoma.", "renal cell carcinoma", "historical"),
    ("Prior CT showed a pancreatic cyst.", "pancreatic cyst", "historical"),
    ("COMPARISON: CT 2019 with left lung nodule.", "lung nodule", "historical"),
    ("Previous tuberculosis.", "tuberculosis", "historical"),
    # old, and still to be seen
    ("Remote infarct of the left cerebellum.", "infarct", "present"),
    ("Previous rib fracture with callus.", "rib fracture", "present"),
    # seen before and still there
    ("When compared to the prior study, the mass is larger.", "mass", "present"),
    ("The previously seen nodule is unchanged.", "nodule", "present"),
    ("Compared to the prior study, the mass is larger.", "mass", "present"),
    ("The previously noted abscess is no longer seen.", "abscess", "absent"),
    # nothing of the kind ever
    ("No history of malignancy.", "malignancy", "absent"),
]

FAMILY: list[Row] = [
    ("Family history of breast cancer.", "breast cancer", "family"),
    ("Mother had ovarian cancer.", "ovarian cancer", "family"),
    ("Patient with a first-degree relative with colon cancer.", "colon cancer", "family"),
    # told to, not had by
    ("Perforation was discussed with the patient's daughter.", "Perforation", "present"),
    ("Sister with lymphoma; enlarged axillary node.", "axillary node", "present"),
]

FORM: list[Row] = [
    # numbers of a list, a missing full stop, capitals, hard-wrapped lines
    ("IMPRESSION:\n1. No embolism\n2. Renal infarct\n3. No leak", "Renal infarct", "present"),
    ("IMPRESSION: 1. No embolism. 2. Renal infarct.", "Renal infarct", "present"),
    ("NO FRACTURE\nDEGENERATIVE CHANGE OF THE HIP\nNO DISLOCATION", "DEGENERATIVE CHANGE", "present"),
    (
        "No evidence of an acute intracranial process or of a\nlarge vessel occlusion.",
        "vessel occlusion",
        "absent",
    ),
    ("Seen by Dr. Lee. No leak at approx. 3.5 cm from the hilum, stricture vs. spasm.", "leak", "absent"),
    ("Cyst measures 2.5 cm. No septation.", "Cyst", "present"),
    ("Brother has asthma at 50. No emphysema.", "emphysema", "absent"),
]

TABLES = {
    "headings": HEADINGS,
    "pseudo-negation": PSEUDO_NEGATION,
    "negation": NEGATION,
    "after the finding": AFTER,
    "hedges": HEDGES,
    "asked for": ASKED,
    "scope": SCOPE,
    "past": PAST,
    "family": FAMILY,
    "form": FORM,
}


@pytest.mark.parametrize(
    ("text", "span", "assertion"),
    [pytest.param(*row, id=f"{group}: {row[0]} [{row[1]}]") for group, rows in TABLES.items() for row in rows],
)
def test_mention_is_asserted_as_a_radiologist_reads_it(text: str, span: str, assertion: str) -> None:
    """Each row's span comes out with the row's assertion."""
    start = text.index(span)
    (finding,) = analyse(Narrative(text), language="en", targets=[(start, start + len(span))]).findings
    assert (finding.text, finding.assertion.value) == (span, assertion)


def test_cues_are_reported_where_they_stand() -> None:
    """A cue's offsets are into the narrative, and its category is ConText's."""
    text = "FINDINGS: Liver is normal. No evidence of ascites."
    (finding,) = analyse(Narrative(text), targets=[(42, 49)]).findings
    assert [(c.text, text[c.start : c.end], c.category) for c in finding.cues] == [
        ("No evidence of", "No evidence of", "NEGATED_EXISTENCE")
    ]
    assert finding.is_negated
    assert not finding.is_uncertain
