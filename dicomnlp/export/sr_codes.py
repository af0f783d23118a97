"""Codes of the measurement reports (PS3.16 TID 1500) that are written, and which code says what.

A code of this project's own stands where no public one is certain, under a coding scheme that each document identifies.
"""

from functools import cache
from typing import Final

from dicomnlp.analyse.names import entries, folders
from dicomnlp.model import Acuity, Assertion, Change, Code, Concept, Laterality, Measurement, Severity

OWN_SCHEME: Final = "99DICOMNLP"
"""Designates this project's codes: a private scheme's begins with 99 (PS3.3 8.2)."""
OWN_SCHEME_UID: Final = "2.25.318869368224018191516569834584887777996"
OWN_SCHEME_NAME: Final = "Concepts of dicomnlp's language packs"

SOURCE_DOCUMENT: Final = Code("121335", "DCM", "Source Document")
FINDING: Final = Code("121071", "DCM", "Finding")
COMMENT: Final = Code("121106", "DCM", "Comment")
LATERALITY: Final = Code("272741003", "SCT", "Laterality")
SEVERITY: Final = Code("246112005", "SCT", "Severity")
CHANGE: Final = Code("change", OWN_SCHEME, "Change since an earlier study")
ACUITY: Final = Code("acuity", OWN_SCHEME, "Acuity")
WITHDRAWN: Final = Code("withdrawn", OWN_SCHEME, "Withdrawn")
NOTHING_STATED: Final = Code("nothing_stated", OWN_SCHEME, "States nothing that is written here")

CONTEXTS: Final = {
    Assertion.PRESENT: Code("410515003", "SCT", "Known present"),
    Assertion.ABSENT: Code("410516002", "SCT", "Known absent"),
    Assertion.POSSIBLE: Code("410590009", "SCT", "Known possible"),
}
"""How the report judges a finding: SNOMED CT finding contexts."""

_SIDES: Final = {
    Laterality.LEFT: Code("7771000", "SCT", "Left"),
    Laterality.RIGHT: Code("24028007", "SCT", "Right"),
    Laterality.BILATERAL: Code("51440002", "SCT", "Bilateral"),
    Laterality.MIDLINE: Code("261129000", "SCT", "Midline"),
}
"""PS3.16 CID 244; midline is of CID 5."""
_DEGREES: Final = {
    Severity.MINIMAL: Code("255605001", "SCT", "Minimal"),
    Severity.MILD: Code("255604002", "SCT", "Mild"),
    Severity.MODERATE: Code("6736007", "SCT", "Moderate"),
    Severity.SEVERE: Code("24484000", "SCT", "Severe"),
}
PROCEDURES: Final = {
    "CT": Code("77477000", "SCT", "Computed tomography"),
    "MR": Code("113091000", "SCT", "Magnetic resonance imaging"),
    "CR": Code("168537006", "SCT", "Plain radiography"),
    "DX": Code("168537006", "SCT", "Plain radiography"),
    "US": Code("16310003", "SCT", "Diagnostic ultrasonography"),
    "MG": Code("71651007", "SCT", "Mammography"),
    "NM": Code("371572003", "SCT", "Nuclear medicine procedure"),
    "PT": Code("82918005", "SCT", "Positron emission tomography"),
}
_IMAGING: Final = Code("363679005", "SCT", "Imaging procedure")
"""PS3.16 CID 100."""

_LENGTH: Final = Code("410668003", "SCT", "Length")
_AXES: Final = (Code("103339001", "SCT", "Long axis"), Code("103340004", "SCT", "Short axis"))
QUANTITIES: Final = {
    "distance": Code("121206", "DCM", "Distance"),
    "volume": Code("118565006", "SCT", "Volume"),
    "area": Code("42798000", "SCT", "Area"),
    "density": Code("112031", "DCM", "Attenuation Coefficient"),
    "uptake": Code("126401", "DCM", "SUVbw"),
    "angle": Code("1483009", "SCT", "Angle"),
    "stenosis": Code("415582006", "SCT", "Stenosis"),
    "ejection_fraction": Code("70822001", "SCT", "Cardiac ejection fraction"),
}
"""By kind of measurement: PS3.16 CID 7469 and 7470 where they have it."""
_LONGEST_MEANING: Final = 64
"""Characters of LO (PS3.5 6.2)."""


def code_of(concept: Concept) -> Code:
    """An entry of a lexicon: its public code if it has one, else its own id."""
    meaning = (concept.meaning or concept.id)[:_LONGEST_MEANING]
    if concept.code and concept.scheme:
        return Code(concept.code, concept.scheme, meaning)
    return Code(concept.id, OWN_SCHEME, meaning)


def site_of(concept: Concept, laterality: Laterality | None) -> Code:
    """A site as `code_of`; one that has no public code but is a side of one that has ("left kidney") by that code.

    Parameters
    ----------
    laterality
        The side that is told beside the site.
    """
    if concept.code is None and laterality is not None:
        entry = _sites().get(concept.id, {})
        whole = _sites().get(entry.get("parent", ""), {})
        if entry.get("laterality") == laterality.value and whole.get("code"):
            return Code(whole["code"], whole["scheme"], whole["meaning"])
    return code_of(concept)


@cache
def _sites() -> dict[str, dict[str, str]]:
    """What the packs say of sites, by id: the English one where several do, since the others build on it."""
    found: dict[str, dict[str, str]] = {}
    for folder in sorted(folders(), key=lambda language: language == "en"):
        for identifier, entry in entries("anatomy", folder).items():
            found[identifier] = {name: value for name, value in entry.items() if isinstance(value, str)}
    return found


def side(laterality: Laterality) -> Code:
    """A side."""
    return _SIDES[laterality]


def degree(severity: Severity) -> Code:
    """A degree."""
    return _DEGREES[severity]


def course(change: Change) -> Code:
    """A course since an earlier study."""
    return Code(change.value, OWN_SCHEME, change.value.capitalize())


def acuity(value: Acuity) -> Code:
    """How long it has been there, by its look."""
    return Code(value.value, OWN_SCHEME, value.value.replace("_", " ").capitalize())


def procedures(modalities: tuple[str, ...]) -> tuple[Code, ...]:
    """By what the study was made, each once; imaging in general where that isn't known."""
    return tuple(dict.fromkeys(PROCEDURES[m] for m in modalities if m in PROCEDURES)) or (_IMAGING,)


def unit(measurement: Measurement) -> Code:
    """The UCUM unit of a measurement: the unity where it has none."""
    return Code(measurement.unit, "UCUM", measurement.unit) if measurement.unit else Code("1", "UCUM", "no units")


def quantities(measurement: Measurement) -> tuple[tuple[Code, float], ...]:
    """What each value of a measurement is of.

    Of two sizes the greater is the long axis; of three the text doesn't tell which is which, so each is a length.
    """
    values = measurement.values
    if measurement.kind == "size" and measurement.unit == "mm":
        if len(values) == 2:
            return tuple(zip(_AXES, sorted(values, reverse=True), strict=True))
        return tuple((_LENGTH, value) for value in values)
    own = Code(measurement.kind, OWN_SCHEME, measurement.kind.replace("_", " ").capitalize())
    return tuple((QUANTITIES.get(measurement.kind, own), value) for value in values)
