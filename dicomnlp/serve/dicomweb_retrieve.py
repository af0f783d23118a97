"""WADO-RS (PS3.18 10.4): originals, their metadata, their text as analysed, and binary values in them."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from dicomnlp.errors import NotFoundError, ObjectError
from dicomnlp.extract.charset import CharacterSets
from dicomnlp.extract.dicom_json import JsonDataSet, JsonWriter, to_xml
from dicomnlp.extract.elements import scan
from dicomnlp.extract.recode import bulk_value, to_explicit, to_file
from dicomnlp.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicomnlp.receive.contexts import (
    EXPLICIT_VR_LITTLE_ENDIAN,
)
from dicomnlp.serve.conditional import answer_bytes, not_modified
from dicomnlp.serve.dicomweb_query import accepted, accepts
from dicomnlp.serve.dicomweb_results import ROOT
from dicomnlp.serve.multipart import MediaType, write_parts
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store import queries
from dicomnlp.store.database import Database
from dicomnlp.store.dicomweb import Original, is_known, originals, read_data

DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
DICOM_XML: Final = "application/dicom+xml"
XML_PARTS: Final = f'multipart/related; type="{DICOM_XML}"'
DICOM_PARTS: Final = f'multipart/related; type="{DICOM}"'
BYTES: Final = "application/octet-stream"
BYTES_PARTS: Final = f'multipart/related; type="{BYTES}"'
_ONLY_HEADERS = "Of the images there only the headers are held; the images themselves are in the archive."


def held(
    database: Database, study_instance_uid: str, series_instance_uid: str | None, sop_instance_uid: str | None
) -> list[Original]:
    """The originals that an address names; at least one.

    Raises
    ------
    NotFoundError
        Nothing is held there.
    ProblemError
        not_found, of images whose headers alone are held.
    """
    found = originals(database, study_instance_uid, series_instance_uid, sop_instance_uid)
    if not found and is_known(database, study_instance_uid, series_instance_uid):
        raise ProblemError("not_found", _ONLY_HEADERS)
    if not found:
        raise NotFoundError(f"nothing is held of study {study_instance_uid}")
    return found


def whole(request: Request, database: Database, found: Sequence[Original]) -> Response:
    """The originals as DICOM files, in the transfer syntaxes that the client takes.

    An original that doesn't read to its end can't be encoded anew: it goes out as it came in, and its part says so.

    Raises
    ------
    ProblemError
        not_acceptable.
    """
    media_type, syntaxes = _selected(request, found)
    tag = _tag(request, found, media_type, *sorted(syntaxes))
    headers = not_modified(request, tag)
    if isinstance(headers, Response):
        return headers
    if media_type == DICOM:
        content, syntax = _file(database, found[0], syntaxes)
        return Response(content, headers={**headers, "Content-Type": f"{DICOM}; transfer-syntax={syntax}"})

    def parts() -> Iterator[tuple[str, dict[str, str], bytes]]:
        for original in found:
            content, syntax = _file(database, original, syntaxes)
            yield f"{DICOM}; transfer-syntax={syntax}", {"Content-Location": _path(original)}, content

    return _stream(write_parts(parts(), tag), f'{DICOM_PARTS}; boundary="{tag}"', headers)


def _selected(request: Request, found: Sequence[Original]) -> tuple[str, frozenset[str]]:
    """A media type for the answer, and the transfer syntaxes that it may have ("*": any)."""
    for entry in accepted(request, "*/*"):
        offer = _offer(entry)
        if offer is None or (offer == DICOM and len(found) > 1):
            continue
        stated = entry.parameters.get("transfer-syntax", EXPLICIT_VR_LITTLE_ENDIAN)
        syntaxes = frozenset(syntax.strip() for syntax in stated.split(","))
        if syntaxes & {"*", EXPLICIT_VR_LITTLE_ENDIAN} or all(o.transfer_syntax_uid in syntaxes for o in found):
            return offer, syntaxes
    raise ProblemError(
        "not_acceptable",
        f"Here is: {DICOM_PARTS}, of a single instance also {DICOM}; in Explicit VR Little Endian, or as it came in.",
    )


def _offer(entry: MediaType) -> str | None:
    if entry.name == "*/*" or (
        entry.name in {"multipart/related", "multipart/*"}
        and entry.parameters.get("type", DICOM).lower() in {DICOM, "*/*", "application/*"}
    ):
        return DICOM_PARTS
    return DICOM if entry.name in {DICOM, "application/*"} else None


def _file(database: Database, original: Original, syntaxes: frozenset[str]) -> tuple[bytes, str]:
    data, syntax = read_data(database, original), original.transfer_syntax_uid
    if not syntaxes & {"*", syntax}:
        try:
            data, syntax = to_explicit(data, syntax), EXPLICIT_VR_LITTLE_ENDIAN
        except ObjectError:
            syntax = original.transfer_syntax_uid
    content = to_file(
        data,
        sop_class_uid=original.sop_class_uid,
        sop_instance_uid=original.sop_instance_uid,
        transfer_syntax_uid=syntax,
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
    )
    return content, syntax


def metadata(request: Request, database: Database, found: Sequence[Original], base: str) -> Response:
    """All that the originals say, binary values of more than a kilobyte by their addresses.

    Raises
    ------
    ProblemError
        not_acceptable.
    """
    media_type = accepts(request, DICOM_JSON, "application/json", XML_PARTS)
    tag = _tag(request, found, media_type, base)
    headers = not_modified(request, tag)
    if isinstance(headers, Response):
        return headers
    if media_type == XML_PARTS:
        documents = (to_xml(_data_set(database, original, base)).encode() for original in found)
        parts = write_parts(((DICOM_XML, {}, document) for document in documents), tag)
        return _stream(parts, f'{XML_PARTS}; boundary="{tag}"', headers)

    def listed() -> Iterator[bytes]:
        before = b"["
        for original in found:
            yield before + json.dumps(_data_set(database, original, base), ensure_ascii=False).encode()
            before = b","
        yield b"]"

    return _stream(listed(), media_type, headers)


def _data_set(database: Database, original: Original, base: str) -> JsonDataSet:
    """One original in the DICOM JSON Model; of one that doesn't read to its end, its identity."""
    address = f"{base}{_path(original)}"
    try:
        found = scan(read_data(database, original), original.transfer_syntax_uid)
    except ObjectError:
        return {
            "00080016": {"vr": "UI", "Value": [original.sop_class_uid]},
            "00080018": {"vr": "UI", "Value": [original.sop_instance_uid]},
            "0020000D": {"vr": "UI", "Value": [original.study_instance_uid]},
        }
    writer = JsonWriter(
        CharacterSets.of(found.elements),
        big_endian=found.big_endian,
        address_of=lambda path: f"{address}/bulkdata/{path}",
    )
    return writer.write(found.elements)


def rendered(request: Request, database: Database, found: Sequence[Original]) -> Response:
    """The reports' text as it is analysed (PS3.18 10.4.1.1.3), one after the other.

    Raises
    ------
    NotFoundError
        None of them has a text: it wasn't read yet, or there is none.
    ProblemError
        not_acceptable.
    """
    media_type = accepts(request, "text/html", "text/plain")
    texts: list[tuple[str, str]] = []
    for original in found:
        reports = (stored.report for stored in queries.reports_of_instance(database, original.sop_instance_uid))
        texts += [(report.title, report.narrative.text) for report in reports if report and report.narrative.text]
    if not texts:
        raise NotFoundError("there is no text to render")
    if media_type == "text/plain":
        body = "\n\n".join("\n\n".join(filter(None, pair)) for pair in texts)
    else:
        articles = "".join(
            f"<article><h1>{escape(title)}</h1><pre>{escape(text)}</pre></article>" for title, text in texts
        )
        head = '<meta charset="utf-8"><title>Report</title><link rel="stylesheet" href="/style.css">'
        body = f"<!DOCTYPE html><html><head>{head}</head><body><main>{articles}</main></body></html>"
    return answer_bytes(request, body.encode(), f"{media_type}; charset=utf-8")


def bulk(request: Request, database: Database, original: Original, path: str) -> Response:
    """A binary value of an original, such as its encapsulated document, always as bytes of no certain type.

    Raises
    ------
    NotFoundError
        There is no such value.
    ProblemError
        not_acceptable.
    """
    media_type = accepts(request, BYTES, BYTES_PARTS)
    tag = _tag(request, [original], media_type, path)
    headers = not_modified(request, tag)
    if isinstance(headers, Response):
        return headers
    try:
        found = scan(read_data(database, original), original.transfer_syntax_uid, keep_bulk=True)
        element = bulk_value(found.elements, path)
    except ObjectError:
        raise NotFoundError("there is no such value") from None
    value = JsonWriter(CharacterSets.of({}), big_endian=found.big_endian).little_endian(element.vr, element.value)
    if media_type == BYTES_PARTS:
        return _stream(write_parts([(BYTES, {}, value)], tag), f'{BYTES_PARTS}; boundary="{tag}"', headers)
    return Response(value, headers={**headers, "Content-Type": BYTES, "Content-Disposition": "attachment"})


def _stream(content: Iterator[bytes], media_type: str, headers: dict[str, str]) -> Response:
    # the type as it is: a charset has no meaning for it
    return StreamingResponse(content, headers={**headers, "Content-Type": media_type})


def _tag(request: Request, found: Sequence[Original], *more: str) -> str:
    """An entity tag: originals don't change under their hash."""
    said = [request.url.path, *(f"{original.object_id} {original.sha256}" for original in found), *more]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:32]


def _path(original: Original) -> str:
    series = original.series_instance_uid
    if not series:
        return f"{ROOT}/studies/{original.study_instance_uid}"
    return f"{ROOT}/studies/{original.study_instance_uid}/series/{series}/instances/{original.sop_instance_uid}"
