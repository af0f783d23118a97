"""Concept names of structured content (PS3.16) whose values identify, by what they are.

These are the content items that correspond to attributes which PS3.15 table E.1-1 has removed: "Clean Structured
Content" (PS3.15 E.3.4) removes both. Value types decide for the rest: whatever a PNAME item is called, it is a name.
"""

import enum


class Identifying(enum.Enum):
    """What a content item holds of somebody."""

    PATIENT_NAME = "patient name"
    PERSON_NAME = "person name"
    IDENTIFIER = "identifier"
    PLACE = "place"
    BIRTH_DATE = "birth date"
    AGE = "age"


_OF_DCM = {
    Identifying.PATIENT_NAME: (
        "121029",  # Subject Name
    ),
    Identifying.PERSON_NAME: (
        "113870",  # Person Name
        "121008",  # Person Observer Name
        "121036",  # Mother of fetus
        "121081",  # Physician
        "121114",  # Performing Physician
        "128774",  # Person Observer's Login Name
    ),
    Identifying.IDENTIFIER: (
        "110190",  # Issuer of Identifier
        "121016",  # Device Observer Serial Number
        "121022",  # Accession Number
        "121030",  # Subject ID
        "121040",  # Specimen Accession Number
        "121041",  # Specimen Identifier
        "121196",  # Device Subject Serial Number
        "128775",  # Identifier within Person Observer's Role
    ),
    Identifying.PLACE: (
        "113873",  # Organization Name
        "121009",  # Person Observer's Organization Name
        "121017",  # Device Observer Physical Location During Observation
        "121197",  # Device Subject Physical Location During Observation
    ),
    Identifying.BIRTH_DATE: (
        "121031",  # Subject Birth Date
    ),
    Identifying.AGE: (
        "121033",  # Subject Age
    ),
}
CONCEPTS: dict[tuple[str, str], Identifying] = {
    ("DCM", code): what for what, codes in _OF_DCM.items() for code in codes
}
"""(scheme, code value) -> what the value of an item of this name is."""
