"""What is recommended, by the English words: the table is the specification."""

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.model import Narrative, Recommendation

Row = tuple[str | None, str | None, str | None, tuple[int, int] | None, str]
"""Procedure, modality, site, days, and kind ("?": conditional)."""

RECOMMENDED: dict[str, list[Row]] = {
    "Follow-up chest CT in 3 months is recommended to document resolution.": [
        ("Follow-up chest CT", "CT", "chest", (90, 90), "recommended")
    ],
    "Recommend repeat chest radiograph in 6-8 weeks after treatment to ensure clearing.": [
        ("repeat chest radiograph", "DX", "chest", (42, 56), "recommended")
    ],
    # a number said twice
    "A follow-up ultrasound in six (6) weeks is suggested.": [
        ("follow-up ultrasound", "US", None, (42, 42), "recommended")
    ],
    "Short-interval follow-up mammogram in 6 months is recommended.": [
        ("Short-interval follow-up mammogram", "MG", None, (180, 180), "recommended")
    ],
    "Routine annual screening mammography is recommended.": [
        ("screening mammography", "MG", None, (365, 365), "recommended")
    ],
    "Annual screening mammogram in 1 year.": [("screening mammogram", "MG", None, (365, 365), "recommended")],
    "Right diagnostic mammogram in 6 months.": [("Right diagnostic mammogram", "MG", None, (180, 180), "recommended")],
    # "without" denies nothing
    "Recommend MRI brain with and without contrast.": [
        ("MRI brain with and without contrast", "MR", "brain", None, "recommended")
    ],
    "MRI may be helpful for further evaluation if clinically indicated.": [("MRI", "MR", None, None, "hedged?")],
    "Further evaluation with contrast-enhanced MRI of the abdomen is recommended.": [
        ("Further evaluation with contrast-enhanced MRI of the abdomen", "MR", "abdomen", None, "recommended")
    ],
    "Dedicated adrenal protocol CT could be obtained for further characterization.": [
        ("Dedicated adrenal protocol CT", "CT", "adrenal_gland", None, "hedged")
    ],
    "Consider PET/CT or tissue sampling.": [
        ("PET/CT", "PT", None, None, "hedged"),
        ("tissue sampling", None, None, None, "hedged"),
    ],
    "Tissue sampling is recommended.": [("Tissue sampling", None, None, None, "recommended")],
    "Stereotactic biopsy of the calcifications should be performed.": [
        ("Stereotactic biopsy", None, None, None, "recommended")
    ],
    "Correlate clinically.": [("Correlate clinically", None, None, None, "recommended")],
    "Please correlate with physical examination.": [("physical examination", None, None, None, "recommended")],
    "Correlation with LFTs is suggested.": [("Correlation", None, None, None, "recommended")],
    "Clinical correlation recommended.": [("Clinical correlation", None, None, None, "recommended")],
    "Clinical correlation.": [("Clinical correlation", None, None, None, "recommended")],
    "Correlate with point tenderness.": [("Correlate", None, None, None, "recommended")],
    "Attention on follow-up.": [("Attention on follow-up", None, None, None, "recommended")],
    "Attention on follow-up exams is advised.": [("Attention on follow-up exams", None, None, None, "recommended")],
    "Recommend attention to this area at the next scheduled examination.": [
        ("attention", None, None, None, "recommended")
    ],
    "Neurosurgical consultation is advised.": [("Neurosurgical consultation", None, None, None, "recommended")],
    # a procedure that is the title of what follows
    "Gastric emptying study: Retention 82% at 1 h.": [],
    "CXR: Dobhoff coiled in the esophagus - needs repositioning.": [("repositioning", None, None, None, "recommended")],
    "Immobilise and re-image in 10 days.": [("re-image", None, None, (10, 10), "recommended")],
    "Significant outflow vein stenosis, fistulagram recommended.": [("fistulagram", "XA", None, None, "recommended")],
    "MR-guided biopsy recommended.": [("MR-guided biopsy", None, None, None, "recommended")],
    "Recommend urology referral.": [("urology referral", None, None, None, "recommended")],
    "Gynecologic consultation may be considered.": [("Gynecologic consultation", None, None, None, "hedged")],
    "If symptoms persist, repeat radiographs in 10-14 days are recommended.": [
        ("repeat radiographs", "DX", None, (10, 14), "recommended?")
    ],
    "Repeat radiographs in 7 to 10 days if pain persists.": [
        ("Repeat radiographs", "DX", None, (7, 10), "recommended?")
    ],
    # "is" tells of MRI, "can be" asks for it
    "MRI is more sensitive for occult fracture and can be obtained if clinically warranted.": [
        ("MRI", "MR", None, None, "hedged?")
    ],
    # "should" is a condition here
    "Should symptoms persist, MRI would be helpful.": [("MRI", "MR", None, None, "hedged?")],
    # "indicated" belongs to the condition
    "Follow-up as clinically indicated.": [("Follow-up", None, None, None, "recommended?")],
    "Nonemergent pelvic ultrasound is recommended for further evaluation of the left ovarian cyst.": [
        ("Nonemergent pelvic ultrasound", "US", "pelvis", None, "recommended")
    ],
    "Bone density scan is recommended in 2 years.": [("Bone density scan", "BMD", "bone", (730, 730), "recommended")],
    "Repeat DEXA in two years.": [("Repeat DEXA", "BMD", None, (730, 730), "recommended")],
    # the time stands before the procedure
    "Return in 12 months for routine screening.": [("routine screening", None, None, (365, 365), "recommended")],
    "Continue annual screening with low-dose chest CT in 12 months.": [
        ("low-dose chest CT", "CT", "chest", (365, 365), "recommended")
    ],
    "Continued annual lung cancer screening with LDCT.": [("LDCT", "CT", None, (365, 365), "recommended")],
    # how often, not for how long
    "CT surveillance every 6 months for 2 years.": [("CT surveillance", "CT", None, (180, 180), "recommended")],
    "Consider CT at 6-12 months, then at 18-24 months.": [("CT", "CT", None, (180, 730), "hedged")],
    # the number of an item in a list stands before it
    "2. Repeat chest CT in 3 months.": [("Repeat chest CT", "CT", "chest", (90, 90), "recommended")],
    "(3) Suggest interval CT chest in six months to document stability.": [
        ("interval CT chest", "CT", "chest", (180, 180), "recommended")
    ],
    # a list: each is a recommendation
    "CT at 3 months, PET/CT, or tissue sampling should be considered.": [
        ("CT", "CT", None, (90, 90), "hedged"),
        ("PET/CT", "PT", None, (90, 90), "hedged"),
        ("tissue sampling", None, None, (90, 90), "hedged"),
    ],
    # the radiologist recommends, by a guideline
    "Per Fleischner guidelines, follow-up CT at 6-12 months is recommended.": [
        ("follow-up CT", "CT", None, (180, 365), "recommended")
    ],
    # a society recommends
    "The Fleischner Society recommends CT at 12 months for nodules of this size in high-risk patients.": [
        ("CT", "CT", None, (365, 365), "guideline?")
    ],
    "Immediate neurosurgical evaluation recommended.": [
        ("neurosurgical evaluation", None, None, (0, 0), "recommended")
    ],
    "Recommend repeat head CT in 6 hours.": [("repeat head CT", "CT", "head", (1, 1), "recommended")],
    # hours are days begun
    "Follow-up head CT in 24 hours is recommended.": [("Follow-up head CT", "CT", "head", (1, 1), "recommended")],
    "Follow up to resolution.": [("Follow up to resolution", None, None, None, "recommended")],
    "Recommend follow up to radiographic resolution.": [
        ("follow up to radiographic resolution", None, None, None, "recommended")
    ],
    "Recommend colonoscopy.": [("colonoscopy", "ES", None, None, "recommended")],
    "Direct visualization with colonoscopy is recommended.": [
        ("Direct visualization with colonoscopy", "ES", None, None, "recommended")
    ],
    "Barium swallow could be performed if clinical concern persists.": [
        ("Barium swallow", "RF", None, None, "hedged?")
    ],
    "HIDA scan can be obtained if there is continued concern for acute cholecystitis.": [
        ("HIDA scan", "NM", None, None, "hedged?")
    ],
    "Endoscopic ultrasound is suggested for further evaluation of the pancreatic duct.": [
        ("Endoscopic ultrasound", "ES", "pancreatic_duct", None, "recommended")
    ],
    "Suggest repositioning of the endotracheal tube.": [
        ("repositioning of the endotracheal tube", None, None, None, "recommended")
    ],
    # an action on a device
    "ET tube should be retracted by 2 cm.": [("ET tube", None, None, None, "recommended")],
    "Recommend advancement of the enteric tube by 10 cm.": [
        ("advancement of the enteric tube", None, None, None, "recommended")
    ],
    # no time
    "Thyroid ultrasound is recommended on a nonemergent basis.": [
        ("Thyroid ultrasound", "US", "thyroid", None, "recommended")
    ],
    "Needs additional imaging evaluation.": [("additional imaging evaluation", None, None, None, "recommended")],
    "Additional imaging is needed: spot compression views and ultrasound.": [
        ("spot compression views", "MG", None, None, "recommended"),
        ("ultrasound", "US", None, None, "recommended"),
    ],
    "Recommend left breast diagnostic mammogram and ultrasound.": [
        ("left breast diagnostic mammogram", "MG", "left_breast", None, "recommended"),
        ("ultrasound", "US", None, None, "recommended"),
    ],
    "The patient should return in 6 months for a follow-up ultrasound of the left breast.": [
        ("follow-up ultrasound of the left breast", "US", "left_breast", (180, 180), "recommended")
    ],
    "She should undergo annual breast MRI.": [("breast MRI", "MR", "breast", (365, 365), "recommended")],
    "One-year follow-up is recommended.": [("follow-up", None, None, (365, 365), "recommended")],
    "12-month follow-up CT recommended.": [("follow-up CT", "CT", None, (365, 365), "recommended")],
    "6 month follow-up CT chest.": [("follow-up CT chest", "CT", "chest", (180, 180), "recommended")],
    "Recommendation: CT abdomen in 3 months.": [("CT abdomen", "CT", "abdomen", (90, 90), "recommended")],
    "I recommend a follow-up renal ultrasound in 1 year.": [
        ("follow-up renal ultrasound", "US", "kidney", (365, 365), "recommended")
    ],
    "We would suggest a nuclear medicine bone scan.": [
        ("nuclear medicine bone scan", "NM", "bone", None, "recommended")
    ],
    "Please obtain dedicated left shoulder radiographs.": [
        ("dedicated left shoulder radiographs", "DX", "shoulder", None, "recommended")
    ],
    "An MRI of the right knee is advised.": [("MRI of the right knee", "MR", "knee", None, "recommended")],
    "Bilateral lower extremity venous duplex could be considered.": [
        ("Bilateral lower extremity venous duplex", "US", "lower_limb", None, "hedged")
    ],
    # the site is that of the procedure
    "Nodule in the right upper lobe, recommend CT chest in 3 months.": [
        ("CT chest", "CT", "chest", (90, 90), "recommended")
    ],
    "Small left pleural effusion, correlate clinically.": [("correlate clinically", None, None, None, "recommended")],
    "Indeterminate liver lesion; MRI abdomen with and without contrast is recommended.": [
        ("MRI abdomen with and without contrast", "MR", "abdomen", None, "recommended")
    ],
    "Further workup with cystoscopy is warranted.": [("cystoscopy", "ES", None, None, "recommended")],
    "This could be further evaluated with MRI.": [("MRI", "MR", None, None, "hedged")],
    "This is better evaluated with MRI.": [("MRI", "MR", None, None, "hedged")],
    # the CT was done
    "Recommend biopsy of the mass seen on CT.": [("biopsy", None, None, None, "recommended")],
    "Consider short-term follow-up.": [("short-term follow-up", None, None, None, "hedged")],
    "A repeat study is recommended when the patient can cooperate.": [
        ("repeat study", None, None, None, "recommended?")
    ],
    "Follow-up recommended.": [("Follow-up", None, None, None, "recommended")],
    "Repeat ultrasound in 1-2 weeks to assess viability.": [("Repeat ultrasound", "US", None, (7, 14), "recommended")],
    "Serial beta hCG and follow-up ultrasound are recommended.": [
        ("Serial beta hCG", None, None, None, "recommended"),
        ("follow-up ultrasound", "US", None, None, "recommended"),
    ],
    "Recommend airborne isolation.": [("airborne isolation", None, None, None, "recommended")],
    "Surgical excision is recommended.": [("Surgical excision", None, None, None, "recommended")],
    "Ultrasound follow-up in 1 year.": [("Ultrasound follow-up", "US", None, (365, 365), "recommended")],
    "Urgent vascular surgery consultation is recommended.": [
        ("vascular surgery consultation", None, None, (0, 0), "recommended")
    ],
    "Optional MRI of the pelvis.": [("MRI of the pelvis", "MR", "pelvis", None, "optional")],
    "Pulmonary function tests may be of benefit.": [("Pulmonary function tests", None, "lung", None, "hedged")],
    "Recommend dental evaluation.": [("dental evaluation", None, "tooth", None, "recommended")],
    "Annual surveillance imaging is suggested.": [("surveillance imaging", None, None, (365, 365), "recommended")],
    "Return to routine annual screening mammography at age-appropriate intervals.": [
        ("screening mammography", "MG", None, (365, 365), "recommended")
    ],
    "Bilateral screening mammogram is due in one year.": [
        ("Bilateral screening mammogram", "MG", None, (365, 365), "recommended")
    ],
    "MRI of the cervical spine for further evaluation.": [
        ("MRI of the cervical spine", "MR", "cervical_spine", None, "recommended")
    ],
    "Repeat imaging within 24-48 hours.": [("Repeat imaging", None, None, (1, 2), "recommended")],
    "Low-dose CT in 12 months.": [("Low-dose CT", "CT", None, (365, 365), "recommended")],
    "Recommendation: Return to routine screening in one year.": [
        ("routine screening", None, None, (365, 365), "recommended")
    ],
    "Recommend 6-month follow-up ultrasound of the right breast.": [
        ("follow-up ultrasound of the right breast", "US", "right_breast", (180, 180), "recommended")
    ],
    "Follow-up to ensure resolution is recommended.": [
        ("Follow-up to ensure resolution", None, None, None, "recommended")
    ],
    "Radiographic follow-up to resolution is suggested.": [
        ("follow-up to resolution", None, None, None, "recommended")
    ],
    "Dedicated CT of the temporal bones is suggested for further assessment.": [
        ("Dedicated CT of the temporal bones", "CT", "temporal_bone", None, "recommended")
    ],
    "Consider follow-up MRI in 3-6 months to assess stability.": [("follow-up MRI", "MR", None, (90, 180), "hedged")],
    "GI consultation for endoscopy is advised.": [("GI consultation", None, None, None, "recommended")],
    "Recommend clinical follow-up.": [("clinical follow-up", None, None, None, "recommended")],
    "Further characterization with nonemergent MRI is recommended.": [
        ("nonemergent MRI", "MR", None, None, "recommended")
    ],
    "Advise repeat scan in 2 weeks' time.": [("repeat scan", None, None, (14, 14), "recommended")],
    "It is recommended that the patient undergo MRI.": [("MRI", "MR", None, None, "recommended")],
    "Suggest correlation with PSA.": [("correlation with PSA", None, None, None, "recommended")],
    "Consider bronchoscopy for tissue diagnosis.": [("bronchoscopy", "ES", None, None, "hedged")],
    "If further evaluation is desired, contrast-enhanced CT may be obtained.": [
        ("contrast-enhanced CT", "CT", None, None, "hedged?")
    ],
    "MRCP may be helpful if there is concern for choledocholithiasis.": [("MRCP", "MR", None, None, "hedged?")],
    "Recommend short interval imaging follow-up within 3 months.": [
        ("short interval imaging follow-up", None, None, (90, 90), "recommended")
    ],
    "Imaging follow-up in 3 months is advised to confirm stability.": [
        ("Imaging follow-up", None, None, (90, 90), "recommended")
    ],
    "The nodule warrants follow-up CT in 12 months.": [("follow-up CT", "CT", None, (365, 365), "recommended")],
    "Suspicious mass warrants biopsy.": [("biopsy", None, None, None, "recommended")],
    "Requires further evaluation with ultrasound.": [("ultrasound", "US", None, None, "recommended")],
    "Ultrasound should be considered for further evaluation.": [("Ultrasound", "US", None, None, "hedged")],
    # first and last time named
    "A dedicated pancreatic protocol MRI is recommended in 6 months, then annually for 5 years.": [
        ("dedicated pancreatic protocol MRI", "MR", "pancreas", (180, 365), "recommended")
    ],
    "Recommend prompt surgical consultation.": [("prompt surgical consultation", None, None, None, "recommended")],
    "Recommend CT angiography of the head and neck.": [
        ("CT angiography of the head", "CT", "head", None, "recommended")
    ],
    "Recommend dedicated views of the left wrist.": [
        ("dedicated views of the left wrist", "DX", "wrist", None, "recommended")
    ],
    "Repeat chest X-ray in 4-6 weeks.": [("Repeat chest X-ray", "DX", "chest", (28, 42), "recommended")],
    "CXR follow-up in 6 weeks.": [("CXR follow-up", "DX", None, (42, 42), "recommended")],
    "Clinical correlation is needed.": [("Clinical correlation", None, None, None, "recommended")],
    "Clinical correlation is advised for infection.": [("Clinical correlation", None, None, None, "recommended")],
    "Correlation with prior outside imaging would be helpful.": [
        ("Correlation with prior outside imaging", None, None, None, "hedged")
    ],
    "Needs follow up in 1 yr.": [("follow up", None, None, (365, 365), "recommended")],
    "Rec: follow up US 6 mo.": [("follow up US", "US", None, (180, 180), "recommended")],
    "Suggest f/u CT 3 months.": [("f/u CT", "CT", None, (90, 90), "recommended")],
    "F/u ultrasound in 6 weeks.": [("F/u ultrasound", "US", None, (42, 42), "recommended")],
    # the category is no number of months
    "Lung-RADS 3: 6 month low-dose CT recommended.": [("low-dose CT", "CT", None, (180, 180), "recommended")],
    "Management: 6-month LDCT.": [("LDCT", "CT", None, (180, 180), "recommended")],
    # how short isn't said
    "BI-RADS 3: Short-interval follow-up suggested.": [("Short-interval follow-up", None, None, None, "recommended")],
    "Would advise tissue sampling.": [("tissue sampling", None, None, None, "recommended")],
    # the subject, not what comes after the verb
    "Percutaneous biopsy could be performed under CT guidance.": [("Percutaneous biopsy", None, None, None, "hedged")],
    "Patient may benefit from MRI.": [("MRI", "MR", None, None, "hedged")],
    "The patient would benefit from orthopedic referral.": [("orthopedic referral", None, None, None, "hedged")],
    "Would consider a dedicated breast MRI.": [("dedicated breast MRI", "MR", "breast", None, "hedged")],
    "One could consider MRI for further evaluation.": [("MRI", "MR", None, None, "hedged")],
    "Repeat examination after treatment is suggested to exclude an underlying mass.": [
        ("Repeat examination", None, None, None, "recommended")
    ],
    # the therapy isn't what is recommended
    "Follow up imaging after completion of antibiotic therapy is recommended.": [
        ("Follow up imaging", None, None, None, "recommended")
    ],
    "Additional evaluation with targeted ultrasound is recommended at this time.": [
        ("targeted ultrasound", "US", None, None, "recommended")
    ],
    "Recall for additional views.": [("additional views", None, None, None, "recommended")],
    "Recommend additional imaging.": [("additional imaging", None, None, None, "recommended")],
    "Close interval follow-up is advised.": [("Close interval follow-up", None, None, None, "recommended")],
    "Close clinical follow-up.": [("Close clinical follow-up", None, None, None, "recommended")],
    "Continued surveillance is recommended.": [("Continued surveillance", None, None, None, "recommended")],
    "Continued follow-up per oncology protocol.": [("Continued follow-up", None, None, None, "recommended")],
    "Recommend weight-bearing radiographs if there is concern for Lisfranc injury.": [
        ("weight-bearing radiographs", "DX", None, None, "recommended?")
    ],
    "Nonemergent outpatient MRI can be considered as clinically warranted.": [
        ("Nonemergent outpatient MRI", "MR", None, None, "hedged?")
    ],
    "Endoscopic correlation is recommended.": [("Endoscopic correlation", None, None, None, "recommended")],
    "Recommend correlation with urinalysis.": [("correlation with urinalysis", None, None, None, "recommended")],
    "Cardiology follow-up recommended.": [("Cardiology follow-up", None, None, None, "recommended")],
    "Echocardiogram recommended for further evaluation.": [("Echocardiogram", "US", None, None, "recommended")],
    "For this, an annual follow-up CT is recommended.": [("follow-up CT", "CT", None, (365, 365), "recommended")],
    "Follow-up imaging in 1 year could be considered in high-risk patients.": [
        ("Follow-up imaging", None, None, (365, 365), "hedged?")
    ],
    "Gynecological referral is suggested.": [("referral", None, None, None, "recommended")],
    "Recommend removal of the catheter.": [("removal of the catheter", None, None, None, "recommended")],
    "Chest tube repositioning is advised.": [("Chest tube repositioning", None, "chest", None, "recommended")],
    "Advance the NG tube 5 cm.": [("NG tube", None, None, None, "recommended")],
    "Recommend further advancement.": [("further advancement", None, None, None, "recommended")],
}

NOT_RECOMMENDED = [
    "Follow-up is not routinely recommended.",
    "Imaging follow-up is no longer needed.",
    "Further imaging would not be helpful.",
    "MRI is not necessarily indicated.",
    "Follow-up would not be required.",
    "Biopsy should not be performed.",
    "ACR guidelines recommend no follow-up for simple cysts of this size.",
    "Stable 4 mm nodule for 2 years, no further follow-up is needed.",
    "No follow-up is recommended.",
    "No further imaging is needed.",
    "No additional follow-up necessary.",
    "Follow-up imaging is not needed.",
    "Biopsy is not recommended.",
    "This does not require follow-up.",
    "No specific imaging follow-up is required for a simple cyst.",
    "Without need for further evaluation.",
    "There is no need for follow-up.",
    "No dedicated imaging follow-up recommended.",
    "As recommended on the prior study.",
    # an earlier recommendation
    "Follow-up CT was recommended on the prior examination.",
    "Previously recommended MRI has not been performed.",
    "The previously recommended biopsy showed benign tissue.",
    # a study that was done
    "Follow-up CT shows stable nodule.",
    # likewise, with a time
    "6-month follow-up CT demonstrates no change.",
    # "suggest" of a finding
    "Findings suggest pneumonia.",
    "Findings are suggestive of infection.",
    "This suggests prior biopsy.",
    # "consider" of a differential
    "Consider infection versus malignancy.",
    "Differential considerations include abscess and tumor.",
    "CT was performed with contrast.",
    "The patient underwent biopsy 6 months ago.",
    "Status post biopsy.",
    "Compared with CT from 6 months ago.",
    "Stable for 2 years.",
    "Patient is scheduled for MRI.",
    "Evaluation of the liver is limited.",
    "Evaluation is limited without intravenous contrast.",
    "This correlates with the palpable abnormality.",
    "Finding correlates with the CT abnormality.",
    "Nodule is unchanged since the follow-up CT.",
    "Surveillance of known aneurysm.",
    "CT of the chest was obtained.",
    "Biopsy clip is noted in the left breast.",
    "Recommended guidelines were reviewed.",
    "The mass was better seen on prior MRI.",
    # another study of today
    "Pulmonary nodules are better evaluated on the concurrent CT.",
    "See separately dictated CT report.",
    "The results and recommendations were discussed with the patient.",
    "Nodules smaller than 6 mm do not require routine follow-up in low-risk patients.",
    "Ultrasound guidance was used.",
    "Patient returns for short-interval follow-up.",
    "Findings meet criteria for benign cyst and need no follow-up.",
    "The patient was advised of the results.",
    "Nodule is too small to characterize.",
    "There has been interval removal of the chest tube.",
    # an action that was done
    "Interval removal of the endotracheal tube.",
    "Interval advancement of the feeding tube.",
    "Continued improvement in aeration.",
    "Repeat images were obtained.",
    "Continued follow-up shows resolution.",
    "PET/CT demonstrates uptake.",
    # holds "indicated"
    "MRI is contraindicated.",
    "Mammography does not detect all cancers.",
    # a disclaimer
    "A negative mammogram should not delay biopsy of a clinically suspicious finding.",
    "Ultrasound of the left breast at 3 o'clock demonstrates a cyst.",
    "Limited evaluation of the upper abdomen.",
    "Right breast ultrasound.",
    "No further evaluation is necessary.",
    "No follow-up imaging is indicated at this time.",
    "Routine follow-up is not necessary.",
    # denied through its reason
    "No suspicious finding to warrant biopsy.",
    "There is no indication for biopsy.",
    # denied after the verb
    "This is a benign finding and requires no further workup.",
    "No immediate intervention is required.",
    "Patient presents for follow-up of pulmonary nodule.",
    # by somebody, before
    "The patient has been recommended for biopsy.",
    "Recommendation for biopsy was made previously.",
    "These findings were discussed and follow-up has been arranged.",
    "Biopsy was recommended at the time of the prior exam.",
    "The patient is here for the recommended six month follow-up.",
    "Comparison is made to follow-up CT.",
    "CT follow-up has been stable.",
    "Ultrasound evaluation of the abdomen was performed.",
    "MRI is the study of choice.",
    "The examination is limited and cannot exclude fracture.",
    "Considered benign.",
    # a biopsy that was done
    "Findings suggest interval biopsy.",
    "Limited study due to motion.",
    "CT guided biopsy of the left lung mass.",
    "Ultrasound-guided thoracentesis was performed without complication.",
    "Post biopsy changes.",
    "Screening mammogram.",
    "Follow-up examination.",
    "Evaluation for pulmonary embolism.",
    "Suggestive of prior resection.",
    "This could be related to prior biopsy.",
    "Biopsy-proven carcinoma.",
    "Needle is seen in the lesion.",
    # requires no procedure that is known
    "Patient requires oxygen.",
    "Recommended views were obtained.",
    "She declined the recommended biopsy.",
    "No need for additional imaging.",
    "Does not need follow-up.",
    "Findings do not warrant further imaging.",
    "Follow-up is unnecessary.",
    "No mammographic evidence of malignancy.",
    "May represent prior biopsy site.",
]


def read(text: str, heading: str = "IMPRESSION") -> tuple[Recommendation, ...]:
    """The recommendations of a report of one section."""
    return analyse(Narrative(f"{heading}: {text}"), language="en").recommendations


def row(recommendation: Recommendation) -> Row:
    """A recommendation as the table writes it."""
    days = (recommendation.interval_days_min, recommendation.interval_days_max)
    return (
        recommendation.procedure,
        recommendation.modality,
        recommendation.anatomy.id if recommendation.anatomy else None,
        days if None not in days else None,  # type: ignore[return-value]
        recommendation.kind.value + "?" * recommendation.conditional,
    )


@pytest.mark.parametrize(("text", "rows"), RECOMMENDED.items())
def test_a_recommendation_says_what_where_when_and_how_firmly(text: str, rows: list[Row]) -> None:
    """One record for each procedure; its offsets give its words in the report."""
    found = read(text)
    assert [row(r) for r in found] == rows
    whole = f"IMPRESSION: {text}"
    assert all(whole[r.start : r.end] == r.text for r in found)


@pytest.mark.parametrize("text", NOT_RECOMMENDED)
def test_what_is_denied_done_or_recommended_before_is_no_recommendation(text: str) -> None:
    """Nothing is to be done."""
    assert read(text) == ()


@pytest.mark.parametrize("heading", ["INDICATION", "TECHNIQUE", "COMPARISON", "EXAM", "HISTORY"])
def test_sections_that_only_tell_what_was_asked_or_done_recommend_nothing(heading: str) -> None:
    """Such a section speaks of this study or an earlier one."""
    text = f"{heading}: Follow-up CT in 6 months recommended.\nFINDINGS: Normal."
    assert analyse(Narrative(text), language="en").recommendations == ()


@pytest.mark.parametrize(
    "text", ["CT chest.", "Diagnostic mammogram and ultrasound of the left breast.", "Biopsy.", "Routine screening."]
)
def test_a_section_of_recommendations_needs_no_words_that_recommend(text: str) -> None:
    """There, naming a procedure is enough; in the impression it isn't."""
    assert read(text, "RECOMMENDATION")
    assert read("No follow-up.", "RECOMMENDATION") == ()


def test_a_guideline_is_named() -> None:
    """Whose recommendation it is, or by which it is made."""
    (found,) = read("Optional CT at 12 months per Fleischner Society guidelines.")
    assert (found.guideline, found.kind.value) == ("Fleischner Society guidelines", "optional")


def test_each_clause_recommends_for_itself() -> None:
    """A refusal ends with its clause."""
    found = read("No follow-up is needed for the cyst; pelvic ultrasound in 6 weeks is recommended for the left ovary.")
    assert [(r.procedure, r.interval_days_min) for r in found] == [("pelvic ultrasound", 42)]


TIMES = {
    "Recommend CT in 6-12 months.": (180, 365),
    "Recommend CT in 6 to 12 months.": (180, 365),
    "Recommend CT in three to six months.": (90, 180),
    "Recommend CT in one year.": (365, 365),
    "Recommend CT in a year.": (365, 365),
    "Recommend CT in 18 months.": (545, 545),
    "Recommend CT in 24 months.": (730, 730),
    "Recommend CT within 3 months.": (90, 90),
    "Recommend CT at 3, 6 and 12 months.": (90, 365),
    "Recommend CT at 6-12 months and 18-24 months.": (180, 730),
    "Recommend CT in 6 months to 1 year.": (180, 365),
    "Recommend CT in 2-3 wks.": (14, 21),
    "Recommend CT in 10 days.": (10, 10),
    "Recommend CT within 48 hours.": (2, 2),
    "Recommend CT over the next 2 weeks.": (14, 14),
    "Recommend CT annually.": (365, 365),
    "Recommend CT twice a year.": (180, 180),
    "Recommend CT every 3 months.": (90, 90),
    "Recommend immediate CT.": (0, 0),
    # past times, spans, and numbers of another kind
    "Stable since 6 months ago, recommend CT.": None,
    "Stable for 2 years, recommend CT.": None,
    "Recommend CT for this 55 year old.": None,
    "6 mm nodule, recommend CT.": None,
    "Known for the past 3 years, recommend CT.": None,
    # the category is no member of the list of months
    "BI-RADS 3, 6 month follow-up is recommended.": (180, 180),
}


@pytest.mark.parametrize(("text", "days"), TIMES.items())
def test_times_are_days_from_the_study(text: str, days: tuple[int, int] | None) -> None:
    """A month has 30 days, twelve months 365; hours are days begun."""
    (found,) = read(text)
    assert (found.interval_days_min, found.interval_days_max) == (days or (None, None))
