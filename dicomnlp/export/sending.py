"""Sending documents to the archives of [[pacs]]: by C-STORE (PS3.4 B) or STOW-RS (PS3.18 10.5)."""

import io
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
from pydicom import dcmread
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context

from dicomnlp.config import Settings
from dicomnlp.errors import PacsError
from dicomnlp.export.pacs import associate, require_success, web_client
from dicomnlp.pacs_settings import PacsSettings

OUT_OF_RESOURCES: Final = range(0xA700, 0xA800)
"""Statuses (PS3.4 B.2.3) after which the archive may take the object later."""
_SUCCESS: Final = 0x0000
_WARNINGS: Final = range(0xB000, 0xC000)
"""The object is stored, though not just as it was sent."""
_FAILED: Final = "00081198"
_FAILURE_REASON: Final = "00081197"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one document."""

    reason_code: str | None = None
    """None: it was taken."""
    may_be_taken_later: bool = False
    """What was wrong isn't the document's fault."""


TAKEN: Final = Answer()


def send(settings: Settings, pacs: PacsSettings, files: Sequence[bytes]) -> Iterator[Answer]:
    """Send DICOM files to an archive, one after the other: by STOW-RS where it has a URL for that, else by C-STORE.

    Yields
    ------
    Answer
        Of each file, in order, as soon as it is known.

    Raises
    ------
    PacsError
        The archive can't be reached, or no longer: files without an answer may have been taken or not.
    ConfigurationError
        What [[pacs]] says of it can't be used.
    """
    yield from (_by_stow if pacs.stow_url else _by_c_store)(settings, pacs, files)


def _by_c_store(settings: Settings, pacs: PacsSettings, files: Sequence[bytes]) -> Iterator[Answer]:
    contexts = [build_context(ComprehensiveSRStorage, [s]) for s in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)]
    with associate(settings, pacs, contexts) as association:
        for file in files:
            document = dcmread(io.BytesIO(file))
            status = association.send_c_store(document)
            if "Status" not in status:
                raise PacsError(f"{pacs.name} doesn't answer a C-STORE", reason_code="pacs_timeout")
            yield _of_status(int(status.Status))


def _of_status(status: int) -> Answer:
    if status == _SUCCESS or status in _WARNINGS:
        return TAKEN
    return Answer(f"status_{status:04x}", status in OUT_OF_RESOURCES)


def _by_stow(settings: Settings, pacs: PacsSettings, files: Sequence[bytes]) -> Iterator[Answer]:
    with web_client(settings, pacs) as client:
        for file in files:
            yield _store(client, pacs, file)


def _store(client: httpx.Client, pacs: PacsSettings, file: bytes) -> Answer:
    boundary = uuid.uuid4().hex
    body = b"".join(
        (f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode(), file, f"\r\n--{boundary}--\r\n".encode())
    )
    response = client.post(
        f"{pacs.stow_url}/studies",
        content=body,
        headers={
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
        },
    )
    # 202: something of it failed, or there are warnings; 409: all of it failed (PS3.18 table 10.5.3-1)
    if response.status_code != httpx.codes.CONFLICT:
        require_success(pacs, response)
    answer = _json(response)
    failures = [_value(item, _FAILURE_REASON) for item in _items(answer, _FAILED)]
    if failures:
        return _of_status(failures[0]) if isinstance(failures[0], int) and failures[0] else Answer("not_stored")
    if response.status_code == httpx.codes.CONFLICT:
        return Answer("http_409")
    return TAKEN


def _json(response: httpx.Response) -> dict[str, Any]:
    """The Store Instances Response Module; nothing of an archive that answers with another type than was asked for."""
    try:
        found = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    if isinstance(found, list) and found:
        found = found[0]
    return found if isinstance(found, dict) else {}


def _items(answer: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    sequence = answer.get(tag)
    values = sequence.get("Value", []) if isinstance(sequence, dict) else []
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []


def _value(item: dict[str, Any], tag: str) -> Any:
    attribute = item.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return values[0] if isinstance(values, list) and values else None
