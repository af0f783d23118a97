"""Communication of results, and age and sex, by the English words: the tables are the specification."""

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.model import Narrative

Row = tuple[str | None, str | None, str | None, bool, bool]
"""Recipient, time, method, acknowledged, completed."""

COMMUNICATIONS: dict[str, Row | None] = {
    "Findings were discussed with Dr. Smith by telephone at 10:42 AM on 3/14/2021.": (
        "Dr. Smith",
        "at 10:42 AM on 3/14/2021",
        "by telephone",
        False,
        True,
    ),
    "Dr. Patel was notified of the critical findings at 14:30 hours.": (
        "Dr. Patel",
        "at 14:30 hours",
        None,
        False,
        True,
    ),
    "Results communicated to the ordering provider via secure chat at 2:15 p.m.": (
        "ordering provider",
        "at 2:15 p.m.",
        "via secure chat",
        False,
        True,
    ),
    "The results were called to the emergency department at 0945 hours with read back.": (
        "emergency department",
        "at 0945 hours",
        None,
        True,
        True,
    ),
    "Discussed with John Miller, NP at time of dictation.": (
        "John Miller, NP",
        "at time of dictation",
        None,
        False,
        True,
    ),
    "Critical result relayed to RN Jane Doe at 1530, who acknowledged receipt.": (
        "RN Jane Doe",
        "at 1530",
        None,
        True,
        True,
    ),
    "Dr Shah informed at the time of scan.": ("Dr Shah", "at the time of scan", None, False, True),
    "Orthopaedics paged.": ("Orthopaedics", None, None, False, True),
    "D/w ward nurse Kim 14:20h.": ("ward nurse", "14:20", None, False, True),
    "Dr. Brandt aware.": ("Dr. Brandt", None, None, False, True),
    "Surgical reg Dr. Pham bleeped.": ("Dr. Pham", None, None, False, True),
    "Results were communicated by secure message to NP Alvarez at 3:40 PM and read back.": (
        "NP Alvarez",
        "at 3:40 PM",
        "by secure message",
        True,
        True,
    ),
    # one who tells is not one who is told
    "The patient was informed of the results by Dr. Lindqvist.": ("The patient", None, None, False, True),
    "IR notified at 1:10 am by resident Dr. Chu.": ("IR", "at 1:10 am", None, False, True),
    # all in capitals
    "RESULT PHONED TO DR BHATT AT 0315 HRS.": ("DR BHATT", "AT 0315 HRS", None, False, True),
    # tried only
    "Dr. Patel was not able to be reached.": ("Dr. Patel", None, None, False, False),
    "Multiple attempts to reach the referring physician were unsuccessful.": (
        "referring physician",
        None,
        None,
        False,
        False,
    ),
    # still to be done
    "The ordering physician will be notified.": ("ordering physician", None, None, False, False),
    "The referring clinician was informed within 30 minutes of discovery.": (
        "referring clinician",
        "within 30 minutes of discovery",
        None,
        False,
        True,
    ),
    # a name with particles
    "I spoke with Dr. van der Berg on 12/01/2023 at 9:05 am and he verbalized understanding.": (
        "Dr. van der Berg",
        "on 12/01/2023 at 9:05 am",
        None,
        True,
        True,
    ),
    "Dr. Lee is aware of the findings.": ("Dr. Lee", None, None, False, True),
    # of a procedure, not of a result
    "The risks and benefits were discussed with the patient.": None,
    "Informed consent was obtained.": None,
    # anatomy
    "The cyst communicates with the joint.": None,
    # a finding
    "Communicating hydrocephalus.": None,
    "These findings were paged to the trauma team at 23:10.": ("trauma team", "at 23:10", None, False, True),
    "Finding discussed with the surgical team in person.": ("surgical team", None, "in person", False, True),
    "The primary care physician was alerted.": ("primary care physician", None, None, False, True),
    "Preliminary report was given to Dr. Jones.": ("Dr. Jones", None, None, False, True),
    "Message left with the physician's office.": ("physician's office", None, None, False, False),
    # whom is in another sentence
    "Read back was performed.": (None, None, None, True, True),
    "The patient was notified of the results.": ("The patient", None, None, False, True),
    "Findings were reviewed with the resident.": ("the resident", None, None, False, True),
    "The findings were called in to Dr. A. B. Chen, MD, immediately after the examination.": (
        "Dr. A. B. Chen, MD",
        "immediately after the examination",
        None,
        False,
        True,
    ),
    "Please notify the referring physician.": ("referring physician", None, None, False, False),
    "Results were called at 10:42.": (None, "at 10:42", None, False, True),
    # nobody was told
    "Pneumonia was discussed in the previous report.": None,
}

PATIENTS: dict[str, tuple[float | None, str | None] | None] = {
    "55-year-old woman with chest pain.": (55.0, "F"),
    "The patient is a 72 year old male.": (72.0, "M"),
    "HISTORY: 45yo F with cough.": (45.0, "F"),
    "63 y/o M s/p fall.": (63.0, "M"),
    # in years
    "3-month-old boy with fever.": (0.25, "M"),
    "2-week-old infant.": (0.04, None),
    # glued to its letter
    "34F with pain.": (34.0, "F"),
    "Age: 67": (67.0, None),
    "Age 67 years, sex: F": (67.0, "F"),
    "28-year-old pregnant female.": (28.0, "F"),
    "81-year-old African American gentleman.": (81.0, "M"),
    # another person
    "Mother diagnosed with breast cancer at age 55.": None,
    # another person
    "Patient's 60-year-old sister had breast cancer.": None,
    # a span
    "Stable for 5 years.": None,
    "Follow-up in 2 years.": None,
    # no age
    "30 pack-year history.": None,
    "This is a female patient.": (None, "F"),
    "The patient is a woman.": (None, "F"),
    # of the bones
    "Bone age is 12 years.": None,
    "Gestational age of 20 weeks.": None,
    "A 16-day-old male.": (0.04, "M"),
    # of women in general
    "Annual mammography is advised for women over 40 years of age.": None,
    "60 years old, male.": (60.0, "M"),
    # anatomy
    "Male pelvis.": None,
    "10 years status post mastectomy.": None,
    "66yof with dyspnea.": (66.0, "F"),
    "Technetium 99m sestamibi.": None,
    "Present 2 years after surgery.": None,
    "40 yrs male with cough.": (40.0, "M"),
}


@pytest.mark.parametrize(("text", "row"), COMMUNICATIONS.items())
def test_a_communication_says_whom_when_and_how(text: str, row: Row | None) -> None:
    """And whether it was acknowledged, or only tried."""
    found = analyse(Narrative(text), language="en").communications
    assert [(c.recipient, c.time, c.method, c.acknowledged, c.completed) for c in found] == ([row] if row else [])
    assert all(text[c.start : c.end] == c.text for c in found)


@pytest.mark.parametrize(("text", "row"), PATIENTS.items())
def test_age_and_sex_are_the_patients(text: str, row: tuple[float | None, str | None] | None) -> None:
    """In years, and as DICOM writes the sex; nobody else's."""
    found = analyse(Narrative(text), language="en").demographics
    assert [(p.age_years, p.sex) for p in found] == ([row] if row else [])
    assert all(text[p.start : p.end] == p.text for p in found)
