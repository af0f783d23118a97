"""FHIR R4: reports, findings, studies and patients, read and searched; docs/reference/fhir.md has the mapping."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Path, Request, Response

from dicomnlp import __version__
from dicomnlp.config import is_loopback
from dicomnlp.errors import NotFoundError
from dicomnlp.export.fhir import Mapping, relative
from dicomnlp.model import is_uid
from dicomnlp.serve import fhir_examples as examples
from dicomnlp.serve import schemas
from dicomnlp.serve.access import ForAnybody, ForReaders, Principal, audited
from dicomnlp.serve.conditional import answer
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.fhir_capability import capability_statement
from dicomnlp.serve.fhir_outcome import BASE, FHIR_JSON
from dicomnlp.serve.fhir_query import Asked, openapi_parameters, read_search
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store import resources
from dicomnlp.store.database import Database
from dicomnlp.store.exports import ExportedReport, ReportHeader, exported_reports
from dicomnlp.store.images import series_of_study
from dicomnlp.store.resources import ResourceQuery

Resource = dict[str, Any]
_Find = Callable[[Database, ResourceQuery, int | None, int], tuple[list[int], list[Resource]]]
"""Keys, by which pages are parted, and resources, in the same order."""
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "What If-None-Match names is still so."}}
_ID = Annotated[
    str,
    Path(
        description="Id of the resource.", pattern=r"^[A-Za-z0-9\-.]{1,64}$", examples=["1.2.826.0.1.3680043.8.498.2"]
    ),
]


def register(app: FastAPI, connection: Connection) -> None:
    """Add the routes of this module to `app`."""

    @app.get(
        f"{BASE}/metadata",
        tags=["fhir"],
        summary="CapabilityStatement",
        responses={
            **schemas.answered("What is served.", examples.CAPABILITY, FHIR_JSON),
            **_NOT_MODIFIED,
            **schemas.refused("not_acceptable"),
        },
        response_class=Response,
    )
    def metadata(request: Request, _principal: ForAnybody) -> Response:
        """Resources, interactions and search parameters."""
        _check_accept(request)
        return answer(request, capability_statement(_base(request), __version__), FHIR_JSON)

    for resource, find in _FINDERS.items():
        _register_resource(app, connection, resource, find)


def _register_resource(app: FastAPI, connection: Connection, resource: str, find: _Find) -> None:
    @app.get(
        f"{BASE}/{resource}",
        tags=["fhir"],
        summary=f"Search {resource}",
        operation_id=f"search_{resource}",
        responses={
            **schemas.answered("A Bundle (searchset).", examples.BUNDLES[resource], FHIR_JSON),
            **_NOT_MODIFIED,
            **_ERRORS,
        },
        response_class=Response,
        openapi_extra={"parameters": openapi_parameters(resource)},
    )
    def search(request: Request, principal: ForReaders) -> Response:
        """Resources of prevailing reports that fit all parameters, the newest first; the link `next` leads on."""
        _check_accept(request)
        asked = read_search(request, resource)
        keys, found = find(connection.within(principal.scope), asked.query, asked.after, asked.count + 1)
        audited(request, count=min(len(found), asked.count))
        return answer(request, _bundle(request, resource, asked, keys, found), FHIR_JSON)

    @app.get(
        f"{BASE}/{resource}/{{identifier}}",
        tags=["fhir"],
        summary=f"Read a {resource}",
        operation_id=f"read_{resource}",
        responses={
            **schemas.answered("The resource.", examples.RESOURCES[resource], FHIR_JSON),
            **_NOT_MODIFIED,
            **_ERRORS,
        },
        response_class=Response,
    )
    def read(request: Request, identifier: _ID, principal: ForReaders) -> Response:
        """The resource of this id, with its version as entity tag."""
        _check_accept(request)
        if request.query_params.keys() - {"_format"}:
            raise ProblemError("unknown_parameter", "Only _format goes with a read.")
        found = _read(connection, principal, resource, find, identifier)
        version = found["meta"]["versionId"]
        headers = {"ETag": f'W/"{version}"', "Cache-Control": "private, no-cache"}
        held = request.headers.get("if-none-match", "")
        if f'"{version}"' in held or held.strip() == "*":
            return Response(status_code=304, headers=headers)
        response = answer(request, found, FHIR_JSON)
        response.headers.update(headers)
        return response


_ERRORS = schemas.refused("bad_request", "unknown_parameter", "not_found", "not_acceptable", *schemas.DATABASE_PROBLEMS)


def _check_accept(request: Request) -> None:
    accepted = request.headers.get("accept", "*/*")
    kinds = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
    if not kinds & {"*/*", "application/*", "application/json", FHIR_JSON, ""}:
        raise ProblemError("not_acceptable", f"Resources are written as {FHIR_JSON}.")


def _base(request: Request) -> str:
    """Address of the FHIR service as the client knows it."""
    url, server = request.base_url, request.scope.get("server")
    if url.port is None and server is not None and is_loopback(url.hostname or ""):
        # some clients leave the port out of the Host header
        url = url.replace(port=server[1])
    return str(url).rstrip("/") + BASE


def _read(connection: Connection, principal: Principal, resource: str, find: _Find, identifier: str) -> Resource:
    queries = {
        "DiagnosticReport": lambda: ResourceQuery(uids=(identifier,)) if is_uid(identifier) else None,
        "ImagingStudy": lambda: ResourceQuery(studies=(identifier,)) if is_uid(identifier) else None,
        "Observation": lambda: _numbered(identifier, "f", "numbers"),
        "Patient": lambda: _numbered(identifier, "p", "patients"),
    }
    query = queries[resource]()
    found = find(connection.within(principal.scope), query, None, 1)[1] if query is not None else []
    if not found or found[0]["id"] != identifier:
        raise NotFoundError(f"no {resource} of this id is held")
    return found[0]


def _numbered(identifier: str, prefix: str, name: str) -> ResourceQuery | None:
    number = identifier.removeprefix(prefix)
    is_number = identifier.startswith(prefix) and number.isascii() and number.isdigit() and len(number) <= 18
    return ResourceQuery(**{name: (int(number),)}) if is_number else None  # type: ignore[arg-type]


def _bundle(request: Request, resource: str, asked: Asked, keys: Sequence[int], found: Sequence[Resource]) -> Resource:
    base = _base(request)
    used = [(name, value) for name, value in asked.used if name not in {"after", "_count"}]
    counted = [*used, ("_count", str(asked.count))]
    links = [{"relation": "self", "url": f"{base}/{resource}?{urlencode([*asked.used])}"}]
    if len(found) > asked.count > 0:
        links.append(
            {
                "relation": "next",
                "url": f"{base}/{resource}?{urlencode([*counted, ('after', str(keys[asked.count - 1]))])}",
            }
        )
    shown = found[: asked.count]
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if asked.after is None and len(found) <= asked.count:
        bundle["total"] = len(found)
    if shown:
        bundle["entry"] = [
            {"fullUrl": f"{base}/{resource}/{r['id']}", "resource": r, "search": {"mode": "match"}} for r in shown
        ]
    return bundle


def _mapping(database: Database, headers: Sequence[ReportHeader]) -> Mapping:
    numbers = resources.patient_numbers(database, {h.patient for h in headers})

    def patient_id(header: ReportHeader) -> str | None:
        number = numbers.get(header.patient)
        return f"p{number}" if number is not None else None

    return Mapping(relative, patient_id)


def _find_reports(
    database: Database, query: ResourceQuery, after: int | None, limit: int
) -> tuple[list[int], list[Resource]]:
    ids = resources.find_reports(database, query, after, limit)
    exported = exported_reports(database, ids)
    mapping = _mapping(database, [e.header for e in exported])
    return [e.header.object_id for e in exported], [mapping.diagnostic_report(e) for e in exported]


def _find_findings(
    database: Database, query: ResourceQuery, after: int | None, limit: int
) -> tuple[list[int], list[Resource]]:
    keys = resources.find_findings(database, query, after, limit)
    exported = exported_reports(database, sorted({object_id for _, object_id in keys}))
    mapping = _mapping(database, [e.header for e in exported])
    # what was analysed anew since has other findings
    by_id = {f.id: (f, e) for e in exported for f in e.findings}
    found = [(number, *by_id[number]) for number, _ in keys if number in by_id]
    return [number for number, _, _ in found], [mapping.observation(f, e) for _, f, e in found]


def _find_studies(
    database: Database, query: ResourceQuery, after: int | None, limit: int
) -> tuple[list[int], list[Resource]]:
    ids = resources.find_studies(database, query, after, limit)
    exported = exported_reports(database, ids)
    mapping = _mapping(database, [e.header for e in exported])
    made = [(e.header.object_id, _study(database, mapping, e)) for e in exported]
    return [key for key, study in made if study], [study for _, study in made if study]


def _study(database: Database, mapping: Mapping, exported: ExportedReport) -> Resource | None:
    series = series_of_study(database, exported.header.identity.study_instance_uid)
    return mapping.imaging_study(exported.header, series, exported.report.analysed_at)


def _find_patients(
    database: Database, query: ResourceQuery, after: int | None, limit: int
) -> tuple[list[int], list[Resource]]:
    numbers = resources.find_patients(database, query, after, limit)
    newest = resources.objects_of_patients(database, numbers)
    exported = {e.header.object_id: e for e in exported_reports(database, newest)}
    headers = [exported[object_id].header for object_id in newest if object_id in exported]
    mapping = _mapping(database, headers)
    made = [mapping.patient(h) for h in headers]
    kept = [p for p in made if p is not None]
    return [int(p["id"].removeprefix("p")) for p in kept], kept


_FINDERS: dict[str, _Find] = {
    "DiagnosticReport": _find_reports,
    "Observation": _find_findings,
    "ImagingStudy": _find_studies,
    "Patient": _find_patients,
}
