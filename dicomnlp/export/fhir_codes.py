"""Code systems of FHIR resources, and which code says what. docs/reference/fhir.md has the same tables for people."""

from typing import Any

from dicomnlp.model import Assertion, Change, Code, Concept, Laterality, Severity

OWN = "urn:dicomnlp:"
"""Begins every code system and extension of this project's own."""
CONCEPT = f"{OWN}concept"
ASSERTION = f"{OWN}assertion"
ATTRIBUTE = f"{OWN}attribute"
CHANGE, LATERALITY, SEVERITY = f"{OWN}change", f"{OWN}laterality", f"{OWN}severity"
SPAN = f"{OWN}text-span"
SUBJECT = f"{OWN}subject"
SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
DICOM_UID = "urn:dicom:uid"
SYSTEMS = {
    "SCT": SNOMED,
    "LN": LOINC,
    "DCM": DICOM,
    "UCUM": UCUM,
    "RADLEX": "http://www.radlex.org",
    "FMA": "urn:oid:2.16.840.1.113883.6.119",
}
"""Coding scheme designator (PS3.16 table 8-1) -> code system."""
INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
_INTERPRETATIONS = {
    Assertion.PRESENT: ("POS", "Positive"),
    Assertion.ABSENT: ("NEG", "Negative"),
    Assertion.POSSIBLE: ("IND", "Indeterminate"),
    Assertion.HYPOTHETICAL: ("IND", "Indeterminate"),
}
_CONTEXTS = {
    Assertion.PRESENT: ("410515003", "Known present"),
    Assertion.ABSENT: ("410516002", "Known absent"),
    Assertion.POSSIBLE: ("410590009", "Known possible"),
}
"""SNOMED CT finding contexts."""
_SIDES = {
    Laterality.LEFT: ("7771000", "Left"),
    Laterality.RIGHT: ("24028007", "Right"),
    Laterality.BILATERAL: ("51440002", "Right and left"),
}
"""PS3.16 CID 244."""
_DEGREES = {
    Severity.MINIMAL: ("255605001", "Minimal"),
    Severity.MILD: ("255604002", "Mild"),
    Severity.MODERATE: ("6736007", "Moderate"),
    Severity.SEVERE: ("24484000", "Severe"),
}
_WORDS = {
    Assertion.ABSENT: "No",
    Assertion.POSSIBLE: "Possible",
    Assertion.HYPOTHETICAL: "Asked for or conditional:",
    Assertion.HISTORICAL: "In the past:",
    Assertion.FAMILY: "In the family:",
}

Resource = dict[str, Any]


def coding(system: str, code: str, display: str) -> Resource:
    """One coding; the display is left out where there is none."""
    return {"system": system, "code": code, **({"display": display} if display else {})}


def concept_of(concept: Concept) -> Resource:
    """An entry of a lexicon: its code of a public system, if it has one, and its own id."""
    codings = [coding(CONCEPT, concept.id, concept.meaning)]
    if concept.code and concept.scheme in SYSTEMS:
        codings.insert(0, coding(SYSTEMS[concept.scheme], concept.code, concept.meaning))
    return {"coding": codings, "text": concept.meaning or concept.id}


def code_of(code: Code) -> Resource:
    """A coded entry of an object; one of a scheme without a known system is its text only."""
    system = SYSTEMS.get(code.scheme)
    text = code.meaning.strip() or code.value.strip()
    codings = (
        {"coding": [coding(system, code.value.strip(), code.meaning.strip())]} if system and code.value.strip() else {}
    )
    return {**codings, **({"text": text} if text else {})}


def finding_code(concept: Concept, assertion: Assertion) -> Resource:
    """What an Observation is of.

    Only what the report says is there has the code of the finding. Of anything else both code and system are others,
    so that who looks for the code of a finding never meets a report that denies it.
    """
    if assertion is Assertion.PRESENT:
        return concept_of(concept)
    text = f"{_WORDS[assertion]} {concept.meaning or concept.id}"
    own = coding(f"{OWN}{assertion.value}-finding", f"{assertion.value}-{concept.id}", text)
    return {"coding": [own], "text": text}


def assertion_value(assertion: Assertion) -> Resource:
    """How the report judges the finding, as the value of its Observation."""
    codings = [coding(ASSERTION, assertion.value, assertion.value.capitalize())]
    if assertion in _CONTEXTS:
        codings.append(coding(SNOMED, *_CONTEXTS[assertion]))
    return {"coding": codings, "text": assertion.value}


def interpretation(assertion: Assertion) -> list[Resource]:
    """POS, NEG or IND; none of what is in the past or the family."""
    found = _INTERPRETATIONS.get(assertion)
    return [{"coding": [coding(INTERPRETATION, *found)]}] if found else []


def side(laterality: Laterality) -> Resource:
    """A side as a component."""
    codings = [coding(LATERALITY, laterality.value, laterality.value.capitalize())]
    if laterality in _SIDES:
        codings.insert(0, coding(SNOMED, *_SIDES[laterality]))
    return _component(coding(SNOMED, "272741003", "Laterality"), codings)


def degree(severity: Severity) -> Resource:
    """A degree as a component."""
    codings = [coding(SNOMED, *_DEGREES[severity]), coding(SEVERITY, severity.value, severity.value.capitalize())]
    return _component(coding(SNOMED, "246112005", "Severity"), codings)


def course(change: Change) -> Resource:
    """A course since an earlier study as a component."""
    return _component(
        coding(ATTRIBUTE, "change", "Change since an earlier study"),
        [coding(CHANGE, change.value, change.value.capitalize())],
    )


def _component(of: Resource, codings: list[Resource]) -> Resource:
    return {"code": {"coding": [of]}, "valueCodeableConcept": {"coding": codings}}
