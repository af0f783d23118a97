"""DICOMweb (PS3.18 chapter 10): STOW-RS in, QIDO-RS of what is held, WADO-RS of the originals."""

import json
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Query, Request, Response

from dicomnlp.audit.events import Kind
from dicomnlp.config import is_loopback
from dicomnlp.extract.dicom_json import to_xml
from dicomnlp.serve import dicomweb_examples as examples
from dicomnlp.serve import dicomweb_retrieve as retrieve
from dicomnlp.serve import schemas
from dicomnlp.serve.access import Principal, Role, audited, require
from dicomnlp.serve.conditional import answer, answer_bytes
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.dicomweb_query import accepts, parameters_of, read_query
from dicomnlp.serve.dicomweb_results import ROOT, result
from dicomnlp.serve.dicomweb_store import StoreDoor, answer_of
from dicomnlp.serve.multipart import write_parts
from dicomnlp.serve.parameters import SeriesInstanceUID, SOPInstanceUID, StudyInstanceUID, check_query
from dicomnlp.serve.problems import RETRY_AFTER_SECONDS, ProblemError
from dicomnlp.store import dicomweb
from dicomnlp.store.dicomweb import Level

_BOUNDARY: Final = "dicomnlp-result"
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "What If-None-Match names is still so."}}
_READING = {**_NOT_MODIFIED, **schemas.refused("bad_request", "not_acceptable", *schemas.DATABASE_PROBLEMS)}
_SEARCHING = {
    204: {"description": "Nothing fits."},
    **_READING,
    **schemas.refused("unknown_parameter", "repeated_parameter", "bad_request"),
}
_OF_ADDRESS = {
    **_READING,
    **schemas.refused("not_found", "malformed_uid", "unknown_parameter", "repeated_parameter", "invalid_parameter"),
}
Reader = Annotated[Principal, Depends(require(Role.READER))]
Accept = Annotated[
    str | None,
    Query(min_length=1, max_length=500, description="In place of the Accept header.", examples=["*/*"]),
]
_STUDY = ROOT + "/studies/{study_instance_uid}"
_SERIES = _STUDY + "/series/{series_instance_uid}"
_INSTANCE = _SERIES + "/instances/{sop_instance_uid}"


def register(app: FastAPI, connection: Connection, door: StoreDoor) -> None:
    """Add the routes of this module to `app`."""
    _register_store(app, door)
    _register_search(app, connection)
    _register_retrieve(app, connection)


def _base(request: Request) -> str:
    """Address of this service as the client knows it."""
    url, server = request.base_url, request.scope.get("server")
    if url.port is None and server is not None and is_loopback(url.hostname or ""):
        # some clients leave the port out of the Host header
        url = url.replace(port=server[1])
    return str(url).rstrip("/")


# --- STOW-RS


def _register_store(app: FastAPI, door: StoreDoor) -> None:
    responses: dict[int | str, dict[str, Any]] = {
        **schemas.answered("All are stored.", examples.STORED, retrieve.DICOM_JSON),
        **{
            status: {"description": told, "content": {retrieve.DICOM_JSON: {"example": examples.REFUSED}}}
            for status, told in ((202, "Some are stored."), (409, "None is stored."))
        },
        **schemas.refused(
            "bad_request",
            "unknown_parameter",
            "body_too_large",
            "unsupported_media_type",
            "unsupported_content_coding",
            "not_acceptable",
            *schemas.DATABASE_PROBLEMS,
        ),
    }
    about: dict[str, Any] = {
        "tags": ["dicomweb"],
        "dependencies": [Depends(check_query)],
        "response_class": Response,
        "openapi_extra": {"requestBody": examples.STORE_BODY},
    }
    operator = Annotated[Principal, Depends(require(Role.OPERATOR))]

    @app.post(ROOT + "/studies", summary="Store objects (STOW-RS)", responses=responses, **about)
    async def store(request: Request, principal: operator) -> Response:
        """Take DICOM files, each by the same checks as on the DICOM port; those stored are durable with the answer.

        FailureReason (0008,1197) is the status that C-STORE would have answered. Images are not taken.
        """
        return await _store(request, principal, "")

    @app.post(
        _STUDY,
        summary="Store objects of a study (STOW-RS)",
        responses={**responses, **schemas.refused("malformed_uid")},
        **about,
    )
    async def store_in_study(
        request: Request,
        principal: operator,
        study_instance_uid: StudyInstanceUID,
    ) -> Response:
        """The same for objects that are all of one study; others are refused with A900."""
        return await _store(request, principal, study_instance_uid)

    async def _store(request: Request, principal: Principal, study_instance_uid: str) -> Response:
        if not principal.scope.is_everything:
            # another version of an object of a sender that they may not see would take its place
            raise ProblemError("not_allowed", "Objects are stored by those who may see all of them.")
        media_type = accepts(request, retrieve.DICOM_JSON, "application/json", retrieve.DICOM_XML)
        stored = await door.take(request, study_instance_uid)
        audited(request, Kind.TRANSFER, count=len(stored))
        status, module = answer_of(stored, _base(request))
        is_xml = media_type == retrieve.DICOM_XML
        body = to_xml(module) if is_xml else json.dumps(module)
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else {}
        return Response(body.encode(), status, {**headers, "Content-Type": media_type})


# --- QIDO-RS


def _register_search(app: FastAPI, connection: Connection) -> None:
    def about(level: Level) -> dict[str, Any]:
        return {
            "tags": ["dicomweb"],
            "response_class": Response,
            "openapi_extra": {"parameters": parameters_of(level)},
        }

    found: dict[Level, dict[int | str, dict[str, Any]]] = {
        level: {
            **schemas.answered("What fits.", examples.RESULTS[level], retrieve.DICOM_JSON),
            **_SEARCHING,
        }
        for level in Level
    }
    below = {level: {**responses, **schemas.refused("malformed_uid")} for level, responses in found.items()}

    @app.get(ROOT + "/studies", summary="Search studies (QIDO-RS)", responses=found[Level.STUDY], **about(Level.STUDY))
    def search_studies(request: Request, principal: Reader) -> Response:
        """Studies of which a report or the header of an image is held, the newest first."""
        return _search(request, principal, Level.STUDY)

    @app.get(ROOT + "/series", summary="Search series (QIDO-RS)", responses=found[Level.SERIES], **about(Level.SERIES))
    def search_series(request: Request, principal: Reader) -> Response:
        """Series over all studies."""
        return _search(request, principal, Level.SERIES)

    @app.get(
        ROOT + "/instances",
        summary="Search instances (QIDO-RS)",
        responses=found[Level.INSTANCE],
        **about(Level.INSTANCE),
    )
    def search_instances(request: Request, principal: Reader) -> Response:
        """Reports and headers of images over all studies."""
        return _search(request, principal, Level.INSTANCE)

    @app.get(
        _STUDY + "/series",
        summary="Search series of a study (QIDO-RS)",
        responses=below[Level.SERIES],
        **about(Level.SERIES),
    )
    def search_series_of_study(request: Request, principal: Reader, study_instance_uid: StudyInstanceUID) -> Response:
        """Series of a study."""
        return _search(request, principal, Level.SERIES, study_instance_uid)

    @app.get(
        _STUDY + "/instances",
        summary="Search instances of a study (QIDO-RS)",
        responses=below[Level.INSTANCE],
        **about(Level.INSTANCE),
    )
    def search_instances_of_study(
        request: Request, principal: Reader, study_instance_uid: StudyInstanceUID
    ) -> Response:
        """Reports and headers of images of a study."""
        return _search(request, principal, Level.INSTANCE, study_instance_uid)

    @app.get(
        _SERIES + "/instances",
        summary="Search instances of a series (QIDO-RS)",
        responses=below[Level.INSTANCE],
        **about(Level.INSTANCE),
    )
    def search_instances_of_series(
        request: Request,
        principal: Reader,
        study_instance_uid: StudyInstanceUID,
        series_instance_uid: SeriesInstanceUID,
    ) -> Response:
        """Reports or headers of images of a series."""
        return _search(request, principal, Level.INSTANCE, study_instance_uid, series_instance_uid)

    def _search(request: Request, principal: Principal, level: Level, *uids: str) -> Response:
        fixed = tuple(zip(("StudyInstanceUID", "SeriesInstanceUID"), uids, strict=False))
        query = read_query(request, level, fixed)
        media_type = accepts(request, retrieve.DICOM_JSON, "application/json", retrieve.XML_PARTS)
        database = connection.within(principal.scope)
        entities, more = dicomweb.find(database, level, query.matches, limit=query.limit, offset=query.offset)
        warnings = list(query.warnings)
        if more and query.is_cut:
            number = dicomweb.count(database, level, query.matches) - query.offset - len(entities)
            warnings.append(f"There are {number} additional results that can be requested.")
        # of HTTP's own form: code, who warns, text (RFC 7234 5.5)
        headers = {"Warning": ", ".join(f'299 dicomnlp "{text}"' for text in warnings)} if warnings else {}
        audited(request, count=len(entities))
        if not entities:
            return Response(status_code=204, headers=headers)
        above = Level(min(len(uids) + 1, level))
        results = [result(database, _base(request), level, entity, query, above) for entity in entities]
        if media_type != retrieve.XML_PARTS:
            found = answer(request, results, media_type)
            found.headers.update(headers)
            return found
        documents = (to_xml(each).encode() for each in results)
        body = b"".join(write_parts(((retrieve.DICOM_XML, {}, each) for each in documents), _BOUNDARY))
        return answer_bytes(request, body, f'{retrieve.XML_PARTS}; boundary="{_BOUNDARY}"', headers=headers)


# --- WADO-RS


def _register_retrieve(app: FastAPI, connection: Connection) -> None:
    for level, path in ((Level.STUDY, _STUDY), (Level.SERIES, _SERIES), (Level.INSTANCE, _INSTANCE)):
        for what in ("", "/metadata", "/rendered"):
            _register_one(app, connection, level, path + what, what.strip("/"))

    @app.get(
        _INSTANCE + "/bulkdata/{place}",
        tags=["dicomweb"],
        summary="Retrieve a binary value (WADO-RS)",
        responses={**schemas.answered("Its bytes.", "…", retrieve.BYTES), **_OF_ADDRESS},
        response_class=Response,
        dependencies=[Depends(check_query)],
    )
    def bulkdata(
        request: Request,
        principal: Reader,
        study_instance_uid: StudyInstanceUID,
        series_instance_uid: SeriesInstanceUID,
        sop_instance_uid: SOPInstanceUID,
        place: str,
        accept: Accept = None,  # noqa: ARG001  read with the header
    ) -> Response:
        """What metadata names by BulkDataURI: an encapsulated document, say."""
        database = connection.within(principal.scope)
        found = retrieve.held(database, study_instance_uid, series_instance_uid, sop_instance_uid)
        return retrieve.bulk(request, database, found[0], place)


_WORDS = {
    "": ("Retrieve", "DICOM files as they came in, or in Explicit VR Little Endian.", retrieve.DICOM_PARTS, "…"),
    "metadata": ("Metadata of", "All that the originals say.", retrieve.DICOM_JSON, examples.METADATA),
    "rendered": ("Text of", "The reports' text as it is analysed.", "text/html", examples.RENDERED),
}
_NAMES = {Level.STUDY: "a study", Level.SERIES: "a series", Level.INSTANCE: "an instance"}


def _register_one(app: FastAPI, connection: Connection, level: Level, path: str, what: str) -> None:
    verb, told, media_type, example = _WORDS[what]

    def respond(request: Request, principal: Principal, *uids: str) -> Response:
        database = connection.within(principal.scope)
        study, series, instance = (*uids, None, None)[:3]
        assert study is not None
        found = retrieve.held(database, study, series, instance)
        audited(request, Kind.EXPORT if not what else None, study_instance_uid=study, count=len(found))
        if what == "metadata":
            return retrieve.metadata(request, database, found, _base(request))
        return (retrieve.rendered if what == "rendered" else retrieve.whole)(request, database, found)

    def of_study(
        request: Request,
        principal: Reader,
        study_instance_uid: StudyInstanceUID,
        accept: Accept = None,  # noqa: ARG001  read with the header
    ) -> Response:
        return respond(request, principal, study_instance_uid)

    def of_series(
        request: Request,
        principal: Reader,
        study_instance_uid: StudyInstanceUID,
        series_instance_uid: SeriesInstanceUID,
        accept: Accept = None,  # noqa: ARG001
    ) -> Response:
        return respond(request, principal, study_instance_uid, series_instance_uid)

    def of_instance(
        request: Request,
        principal: Reader,
        study_instance_uid: StudyInstanceUID,
        series_instance_uid: SeriesInstanceUID,
        sop_instance_uid: SOPInstanceUID,
        accept: Accept = None,  # noqa: ARG001
    ) -> Response:
        return respond(request, principal, study_instance_uid, series_instance_uid, sop_instance_uid)

    endpoints: dict[Level, Any] = {Level.STUDY: of_study, Level.SERIES: of_series, Level.INSTANCE: of_instance}
    app.add_api_route(
        path,
        endpoints[level],
        methods=["GET"],
        name=f"{what or 'retrieve'}_{level.name.lower()}",
        tags=["dicomweb"],
        summary=f"{verb} {_NAMES[level]} (WADO-RS)",
        description=told,
        responses={**schemas.answered(told, example, media_type), **_OF_ADDRESS},
        response_class=Response,
        dependencies=[Depends(check_query)],
    )
