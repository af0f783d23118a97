"""The filters of searches as query parameters, the same for every route that takes a selection."""

import datetime as dt
import inspect
from typing import Annotated, Any

from fastapi import Query

from dicomnlp.analyse import expand_concept, expand_site
from dicomnlp.errors import UsageError
from dicomnlp.model import Assertion, Change, Laterality, SectionName, Severity
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store.search_filters import PUBLIC_NAMES, Filters

_IDS = r"^[a-z0-9_]{1,64}(,[a-z0-9_]{1,64}){0,49}$"
_ASSERTIONS = "|".join(a.value for a in Assertion)
_TEXT = {"min_length": 1, "max_length": 64}
PIPELINE = "What this pipeline says, by its name or as `pipeline` of findings has it, whether or not it counts."
PIPELINE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9.+&/_-]{0,199}$"
PIPELINE_EXAMPLE = "thyroid-terms"
_PARAMETERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "concepts": (
        str,
        {"description": "Concept ids with commas between them; those that descend from them count too.",
         "pattern": _IDS, "examples": ["pulmonary_nodule"]},
    ),
    "assertions": (
        str,
        {"description": "How the finding is judged, with commas between several.",
         "pattern": rf"^({_ASSERTIONS})(,({_ASSERTIONS})){{0,5}}$", "examples": ["present,possible"]},
    ),
    "laterality": (Laterality, {"description": "Side.", "examples": ["right"]}),
    "anatomy": (
        str,
        {"description": "Ids of sites with commas between them; parts of them count too.",
         "pattern": _IDS, "examples": ["lung"]},
    ),
    "minimum_size": (float, {"description": "Least length in millimetres.", "ge": 0, "examples": [6]}),
    "maximum_size": (float, {"description": "Greatest length in millimetres.", "ge": 0, "examples": [30]}),
    "severity": (Severity, {"description": "Degree.", "examples": ["mild"]}),
    "change": (Change, {"description": "Course.", "examples": ["increased"]}),
    "section": (SectionName, {"description": "Section of the report.", "examples": ["impression"]}),
    "critical": (bool, {"description": "Concepts that are to be told at once, or others.", "examples": [True]}),
    "language": (str, {"description": "Language in which it is said.", "pattern": "^[a-z]{2,3}$", "examples": ["en"]}),
    "modality": (str, {"description": "Modality of the study.", "pattern": "^[A-Z0-9]{1,16}$", "examples": ["CT"]}),
    "body_part": (str, {"description": "BodyPartExamined of the study.", **_TEXT, "examples": ["CHEST"]}),
    "patient_sex": (str, {"description": "PatientSex.", "pattern": "^[A-Z]$", "examples": ["F"]}),
    "minimum_age": (int, {"description": "Least age in whole years.", "ge": 0, "le": 200, "examples": [18]}),
    "maximum_age": (int, {"description": "Greatest age in whole years.", "ge": 0, "le": 200, "examples": [80]}),
    "station": (str, {"description": "StationName of the report.", **_TEXT, "examples": ["CT01"]}),
    "institution": (str, {"description": "InstitutionName of the report.", **_TEXT, "examples": ["Clinic"]}),
    "calling_ae_title": (str, {"description": "Who sent the report.", "min_length": 1, "max_length": 16,
                               "examples": ["PACS"]}),
    "date_from": (dt.date, {"description": "Date of the study, the first.", "examples": ["2026-01-01"]}),
    "date_to": (dt.date, {"description": "Date of the study, the last.", "examples": ["2026-12-31"]}),
    "text": (
        str,
        {"description": 'Words and "quoted phrases" that the report has, all of them.', "min_length": 1,
         "max_length": 500, "examples": ['"upper lobe" spiculated']},
    ),
    "patient_id": (str, {"description": "PatientID, or one merged with it.", **_TEXT, "examples": ["P-17"]}),
    "study_instance_uid": (
        str,
        {"description": "Reports that belong to this study.", "pattern": r"^[0-9.]{1,64}$",
         "examples": ["1.2.826.0.1.3680043.8.498.1"]},
    ),
    "without": (
        str,
        {"description": "Patients of whom no report states these concepts (ids with commas between them).",
         "pattern": _IDS, "examples": ["lung_cancer"]},
    ),
    "pipeline": (str, {"description": PIPELINE, "pattern": PIPELINE_PATTERN, "examples": [PIPELINE_EXAMPLE]}),
}  # fmt: skip


def read_filters(**given: Any) -> Filters:
    """The filters of a request, as given; a dependency of routes.

    Raises
    ------
    ProblemError
        bad_request: filters that could fit nothing by mistake.
    """
    values = {name: value for name, value in given.items() if value is not None}
    for name in ("concepts", "anatomy", "without"):
        if name in values:
            values[name] = tuple(values[name].split(","))
    if "assertions" in values:
        values["assertions"] = tuple(Assertion(a) for a in values["assertions"].split(","))
    try:
        return Filters(**values)
    except UsageError as error:
        raise ProblemError("bad_request", f"{error}.") from None


# what FastAPI reads: one query parameter a filter, by its public name
read_filters.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[kind | None, Query(alias=PUBLIC_NAMES[name], **told)],
        )
        for name, (kind, told) in _PARAMETERS.items()
    ]
)


def expanded(filters: Filters) -> Filters:
    """`filters` with descendants of concepts and parts of sites, as searches take them.

    Raises
    ------
    ProblemError
        bad_request: an id isn't known to any language pack; the detail suggests one.
    """
    try:
        return filters.expanded(expand_concept, expand_site)
    except UsageError as error:
        raise ProblemError("bad_request", f"{error}.") from None
