"""What is served by FHIR, as a CapabilityStatement (R4 5.1)."""

from typing import Any

from dicomnlp.serve.fhir_outcome import FHIR_JSON
from dicomnlp.serve.fhir_query import PARAMETERS

PUBLISHED = "2026-11-22"
"""When what is said here last changed."""
_TOLD = {
    "DiagnosticReport": "A report that prevails, with its text and the Observations that it states.",
    "Observation": (
        "A finding that a report states, denies, doubts or asks for. Only what is present in the patient has the code "
        "of the finding; anything else has another code, says so as its value, and carries a modifier extension."
    ),
    "ImagingStudy": "The study of a report, with the series of which images were seen.",
    "Patient": "Identifier, sex and birth date, as the newest report's header has them.",
}
_SHOWN_ELSEWHERE = {"_format", "after"}


def capability_statement(base: str, version: str) -> dict[str, Any]:
    """The statement of the service at `base`."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": PUBLISHED,
        "kind": "instance",
        "software": {"name": "dicomnlp", "version": version},
        "implementation": {"description": "Findings of radiology reports", "url": base},
        "fhirVersion": "4.0.1",
        "format": [FHIR_JSON, "json"],
        "rest": [
            {
                "mode": "server",
                "documentation": "Read and search only. Findings are made from reports by natural language processing.",
                "resource": [_resource(name) for name in PARAMETERS],
            }
        ],
    }


def _resource(name: str) -> dict[str, Any]:
    return {
        "type": name,
        "documentation": _TOLD[name],
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "versioning": "no-version",
        "conditionalRead": "not-match",
        "searchParam": [
            {
                "name": parameter,
                **({"definition": about.definition} if about.definition else {}),
                "type": about.type,
                "documentation": about.told,
            }
            for parameter, about in PARAMETERS[name].items()
            if parameter not in _SHOWN_ELSEWHERE and parameter != "_count"
        ],
    }
