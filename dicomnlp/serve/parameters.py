"""Query parameters: what the OpenAPI document does not list is refused rather than ignored."""

from collections import Counter
from typing import Annotated, Any

from fastapi import Depends, Path, Request

from dicomnlp.model import is_uid
from dicomnlp.serve.problems import ProblemError


async def check_query(request: Request) -> None:
    """Refuse parameters that the route does not declare, and ones given twice: both would be without effect.

    Raises
    ------
    ProblemError
        unknown_parameter or repeated_parameter; the detail names what is taken, not what was given.
    """
    operation = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
    known = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"]
    given = Counter(name for name, _ in request.query_params.multi_items())
    takes = f"This path takes {', '.join(known)}." if known else "This path takes no query parameters."
    if any(name not in known for name in given):
        raise ProblemError("unknown_parameter", takes)
    if any(count > 1 for count in given.values()):
        raise ProblemError("repeated_parameter")


async def require_json(request: Request) -> None:
    """Refuse a body that doesn't call itself JSON: a browser sends one of no type for any page, without asking first.

    Raises
    ------
    ProblemError
        unsupported_media_type.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ProblemError("unsupported_media_type")


_UID: dict[str, Any] = {"pattern": r"^[0-2](\.(0|[1-9][0-9]*))+$", "maxLength": 64}
"""PS3.5 9.1, for the description: what is none is answered 404, by `_uid`."""


async def _study_instance_uid(
    study_instance_uid: Annotated[
        str,
        Path(
            description="Study Instance UID (0020,000D).",
            examples=["1.2.826.0.1.3680043.8.498.1"],
            json_schema_extra=_UID,
        ),
    ],
) -> str:
    return _uid(study_instance_uid)


async def _series_instance_uid(
    series_instance_uid: Annotated[
        str,
        Path(
            description="Series Instance UID (0020,000E).",
            examples=["1.2.826.0.1.3680043.8.498.4"],
            json_schema_extra=_UID,
        ),
    ],
) -> str:
    return _uid(series_instance_uid)


async def _sop_instance_uid(
    sop_instance_uid: Annotated[
        str,
        Path(
            description="SOP Instance UID (0008,0018).",
            examples=["1.2.826.0.1.3680043.8.498.2"],
            json_schema_extra=_UID,
        ),
    ],
) -> str:
    return _uid(sop_instance_uid)


def _uid(text: str) -> str:
    if not is_uid(text):
        raise ProblemError("malformed_uid")
    return text


StudyInstanceUID = Annotated[str, Depends(_study_instance_uid)]
SeriesInstanceUID = Annotated[str, Depends(_series_instance_uid)]
SOPInstanceUID = Annotated[str, Depends(_sop_instance_uid)]
