"""Errors of FHIR requests as OperationOutcome (R4 2.33) in place of problem documents; the words are the same."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response

from dicomnlp.serve.problems import MEDIA_TYPE

BASE = "/fhir"
FHIR_JSON = "application/fhir+json"
_CODES = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    422: "invalid",
    429: "throttled",
    503: "transient",
}

Handler = Callable[[Request, Exception], Response | Awaitable[Response]]


def install(app: FastAPI) -> None:
    """Let every problem of `app` that is foreseen so far be an OperationOutcome below /fhir."""
    for kind, handler in list(app.exception_handlers.items()):
        app.add_exception_handler(kind, _told_as_outcome(handler))


def describe(app: FastAPI) -> None:
    """Let the OpenAPI document of `app` say that problems below /fhir are outcomes."""
    document = app.openapi()
    document["components"]["schemas"]["OperationOutcome"] = _SCHEMA
    for path, methods in document["paths"].items():
        if not path.startswith(f"{BASE}/"):
            continue
        for operation in methods.values():
            # what a path or query parameter is refused for is a wrong value, and FHIR has 400 for that
            operation["responses"].pop("422", None)
            for response in operation["responses"].values():
                problem = response.get("content", {}).pop(MEDIA_TYPE, None)
                if problem is not None:
                    response["content"][FHIR_JSON] = {
                        "schema": {"$ref": "#/components/schemas/OperationOutcome"},
                        "examples": {
                            name: {**example, "value": outcome(example["value"])}
                            for name, example in problem.get("examples", {}).items()
                        },
                    }


_SCHEMA = {
    "title": "OperationOutcome",
    "type": "object",
    "required": ["resourceType", "issue"],
    "properties": {
        "resourceType": {"const": "OperationOutcome"},
        "issue": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["severity", "code"]}},
    },
}


def _told_as_outcome(handler: Any) -> Handler:
    async def handle(request: Request, error: Exception) -> Response:
        made = handler(request, error)
        response: Response = await made if isinstance(made, Awaitable) else made
        return outcome_of(request, response)

    return handle


def outcome_of(request: Request, response: Response) -> Response:
    """The problem document `response` as OperationOutcome, if it answers a request below /fhir; else itself."""
    path = request.url.path
    if response.media_type != MEDIA_TYPE or not (path == BASE or path.startswith(f"{BASE}/")):
        return response
    told = json.loads(bytes(response.body))
    status = 400 if response.status_code == 422 else response.status_code
    kept = {n: v for n, v in response.headers.items() if n not in {"content-type", "content-length"}}
    return Response(json.dumps(outcome(told)), status_code=status, media_type=FHIR_JSON, headers=kept)


def outcome(told: dict[str, Any]) -> dict[str, Any]:
    """A problem document as OperationOutcome."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": _CODES.get(told["status"], "exception" if told["status"] >= 500 else "processing"),
                "details": {
                    "coding": [{"system": "urn:dicomnlp:reason", "code": told["reason_code"]}],
                    "text": told["title"],
                },
                "diagnostics": told["detail"],
            }
        ],
    }
