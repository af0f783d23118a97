"""A report's findings for another FHIR server: a transaction Bundle (R4 3.1.0.11.2).

Each resource is put by an identifier of its own (a conditional update), so that sending it again changes nothing.
Patient and study are referred to by their identifiers: they are the other server's, and are neither made nor changed
there. Whatever an earlier bundle said and this one doesn't, is marked as entered in error.
"""

import copy
import hashlib
import json
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any, Final

import httpx

from dicomnlp.config import Settings
from dicomnlp.export.fhir import report_bundle
from dicomnlp.export.fhir_codes import OWN, Resource
from dicomnlp.export.pacs import require_success, web_client
from dicomnlp.export.sending import TAKEN, Answer
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.store.exports import ExportedReport

REPORT_SYSTEM: Final = f"{OWN}report"
FINDING_SYSTEM: Final = f"{OWN}finding"
_OF_OTHERS: Final = {"Patient": "subject", "ImagingStudy": "imagingStudy"}
_REFERENCES: Final = ("subject", "imagingStudy", "derivedFrom")
_IN_ERROR: Final = "entered-in-error"
_BAD: Final = frozenset({400, 409, 412, 413, 422})
"""Answers by which the server says that it is the bundle's fault."""


def transaction_of(exported: ExportedReport, earlier: Sequence[bytes] = ()) -> bytes:
    """The bundle that says what was found in a report.

    Parameters
    ----------
    exported
        The report with its findings.
    earlier
        Bundles in whose place it stands.
    """
    collection = report_bundle(exported)
    resources = [entry["resource"] for entry in collection["entry"]]
    logical = {
        entry["fullUrl"]: _logical(entry["resource"])
        for entry in collection["entry"]
        if entry["resource"]["resourceType"] in _OF_OTHERS
    }
    source = exported.report.sop_instance_uid
    keys = _finding_keys(exported, source)
    entries = []
    for full_url, resource in zip((e["fullUrl"] for e in collection["entry"]), resources, strict=True):
        kind = resource["resourceType"]
        if kind in _OF_OTHERS:
            continue
        system, value = (
            (REPORT_SYSTEM, source) if kind == "DiagnosticReport" else (FINDING_SYSTEM, keys[resource["id"]])
        )
        put = {name: v for name, v in resource.items() if name not in {"id", "meta"}}
        put["identifier"] = [{"system": system, "value": value}, *put.get("identifier", [])]
        for name in _REFERENCES:
            if name in put:
                put[name] = _referring(put[name], logical)
        entries.append(_entry(kind, system, value, put, full_url))
    return _bundle(entries, _left(earlier, entries))


def withdrawal_of(earlier: Sequence[bytes]) -> bytes:
    """The bundle that marks all that earlier ones said as entered in error."""
    return _bundle([], _left(earlier, []))


def digest_of(bundle: bytes) -> str:
    """SHA-256 over what a bundle says, but for when it was found and by which pipeline."""
    said = json.loads(bundle)
    for entry in said["entry"]:
        for name in ("issued", "method"):
            entry["resource"].pop(name, None)
        entry.pop("fullUrl")
        for result in entry["resource"].get("result", []):
            result.pop("reference", None)
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def send(settings: Settings, server: PacsSettings, bundles: Sequence[bytes]) -> Iterator[Answer]:
    """Send bundles to a FHIR server, one after the other.

    Yields
    ------
    Answer
        Of each bundle, in order, as soon as it is known.

    Raises
    ------
    PacsError
        The server can't be reached, doesn't let this service in, or fails.
    ConfigurationError
        What [[pacs]] says of it can't be used.
    """
    with web_client(settings, server) as client:
        for bundle in bundles:
            headers = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
            response = client.post(server.fhir_url, content=bundle, headers=headers)
            if response.status_code in _BAD:
                yield Answer(f"http_{response.status_code}", response.status_code == httpx.codes.CONFLICT)
                continue
            require_success(server, response)
            yield TAKEN


def _finding_keys(exported: ExportedReport, source: str) -> dict[str, str]:
    """The identifier of each Observation by its id: by place in the text, the same however often it is analysed."""
    keys: dict[str, str] = {}
    seen: dict[str, int] = {}
    for stored in exported.findings:
        finding = stored.finding
        key = f"{source}/{finding.start}-{finding.end}/{finding.concept.id}"
        seen[key] = seen.get(key, 0) + 1
        keys[f"f{stored.id}"] = key if seen[key] == 1 else f"{key}/{seen[key]}"
    return keys


def _logical(resource: Resource) -> Resource:
    """A reference to another's resource by its identifier (R4 2.3.0.3)."""
    identifier = {k: v for k, v in resource["identifier"][0].items() if k in {"type", "system", "value", "assigner"}}
    return {"type": resource["resourceType"], "identifier": identifier}


def _referring(value: Any, logical: dict[str, Resource]) -> Any:
    if isinstance(value, list):
        return [_referring(each, logical) for each in value]
    return logical.get(value.get("reference", ""), value)


def _entry(kind: str, system: str, value: str, resource: Resource, full_url: str) -> Resource:
    token = urllib.parse.quote(f"{system}|{value}", safe="")
    return {
        "fullUrl": full_url,
        "resource": resource,
        "request": {"method": "PUT", "url": f"{kind}?identifier={token}"},
    }


def _left(earlier: Sequence[bytes], entries: Sequence[Resource]) -> list[Resource]:
    """What earlier bundles said that these entries don't, marked as entered in error."""
    said = {entry["request"]["url"] for entry in entries}
    left: dict[str, Resource] = {}
    for bundle in earlier:
        for entry in json.loads(bundle)["entry"]:
            if entry["request"]["url"] not in said:
                wrong = copy.deepcopy(entry)
                wrong["resource"]["status"] = _IN_ERROR
                left[entry["request"]["url"]] = wrong
    return list(left.values())


def _bundle(entries: Sequence[Resource], left: Sequence[Resource]) -> bytes:
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [*entries, *left]}
    return json.dumps(bundle, ensure_ascii=False).encode()
