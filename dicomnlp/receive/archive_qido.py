"""Asking an archive by QIDO-RS (PS3.18 10.6), page by page."""

import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any, Final

import httpx

from dicomnlp.config import Settings
from dicomnlp.errors import PacsError
from dicomnlp.export.pacs import read_bounded, web_client
from dicomnlp.model import is_uid
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.receive.archive import CUT_SHORT, UNREADABLE, Answer, ArchivedStudy

PAGE: Final = 500
"""Matches that are asked for at a time."""
MAXIMUM_PAGE_BYTES: Final = 64 * 1024 * 1024
MAXIMUM_MATCHES: Final = 200_000
"""Of one question."""

_MODALITY: Final = "00080060"
_MODALITIES_IN_STUDY: Final = "00080061"
_SOP_CLASS_UID: Final = "00080016"
_SOP_INSTANCE_UID: Final = "00080018"
_STUDY_INSTANCE_UID: Final = "0020000D"
_SERIES_INSTANCE_UID: Final = "0020000E"


@contextlib.contextmanager
def qido_session(settings: Settings, pacs: PacsSettings) -> Iterator["QidoSession"]:
    """A conversation by QIDO-RS; raises as `export.pacs.web_client`."""
    with web_client(settings, pacs) as client:
        yield QidoSession(pacs, client)


class QidoSession:
    """Questions to an archive.

    Parameters
    ----------
    pacs
        Whom they are put to.
    client
        Of its URLs.
    """

    is_over = False

    def __init__(self, pacs: PacsSettings, client: httpx.Client) -> None:
        self._pacs = pacs
        self._client = client

    def studies(self, day: dt.date) -> Answer:
        """As of `archive.Session`."""
        rows, is_cut = self._search(
            "/studies", _STUDY_INSTANCE_UID, StudyDate=f"{day:%Y%m%d}", includefield=_MODALITIES_IN_STUDY
        )
        answer = Answer(reason_code=CUT_SHORT if is_cut else None)
        for uid, row in rows.items():
            answer.studies[uid] = ArchivedStudy(uid, frozenset(_values(row, _MODALITIES_IN_STUDY)) or None)
        return answer

    def series(self, study_instance_uid: str) -> list[tuple[str, str]]:
        """As of `archive.Session`."""
        path = f"/studies/{study_instance_uid}/series"
        rows = self._whole(path, _SERIES_INSTANCE_UID, includefield=_MODALITY)
        return [(uid, _first(row, _MODALITY)) for uid, row in rows.items()]

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> list[tuple[str, str]]:
        """As of `archive.Session`."""
        path = f"/studies/{study_instance_uid}/series/{series_instance_uid}/instances"
        rows = self._whole(path, _SOP_INSTANCE_UID, includefield=_SOP_CLASS_UID)
        return [(uid, _first(row, _SOP_CLASS_UID)) for uid, row in rows.items()]

    def _whole(self, path: str, key: str, **parameters: str) -> dict[str, dict[str, Any]]:
        rows, is_cut = self._search(path, key, **parameters)
        if is_cut:
            raise PacsError(f"{self._pacs.name} ends its answer early", reason_code=CUT_SHORT)
        return rows

    def _search(self, path: str, key: str, **parameters: str) -> tuple[dict[str, dict[str, Any]], bool]:
        """Matches by the UID in their element `key`, and whether there may be more that can't be had."""
        found: dict[str, dict[str, Any]] = {}
        offset = 0
        while True:
            asked = {**parameters, "limit": str(PAGE), "offset": str(offset)}
            rows, has_more = self._page(path, asked)
            before = len(found)
            for row in rows:
                uid = _first(row, key)
                if not is_uid(uid):
                    raise PacsError(f"{self._pacs.name} answers without a UID", reason_code=UNREADABLE)
                found[uid] = row
            offset += len(rows)
            # a server may have smaller pages than were asked for, and one without pages begins anew
            if not rows or len(found) == before:
                return found, has_more
            if len(found) > MAXIMUM_MATCHES:
                return found, True

    def _page(self, path: str, parameters: dict[str, str]) -> tuple[list[dict[str, Any]], bool]:
        url = self._pacs.qido_url + path
        headers = {"Accept": "application/dicom+json"}
        response = read_bounded(
            self._client, self._pacs, url, params=parameters, headers=headers, maximum_bytes=MAXIMUM_PAGE_BYTES
        )
        # PS3.18 8.3.4.4: "there are additional results that can be requested"
        has_more = "299" in response.headers.get("warning", "")
        if response.status_code == httpx.codes.NO_CONTENT or not response.content:
            return [], has_more
        rows = _json(response)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise PacsError(f"{self._pacs.name} answers what is no DICOM JSON", reason_code=UNREADABLE)
        return rows, has_more


def _json(response: httpx.Response) -> Any:
    # UTF-8 by RFC 8259; of other encodings names are spoilt at the worst, which nobody looks at
    for encoding in ("utf-8-sig", "latin-1"):
        try:
            return json.loads(response.content.decode(encoding))
        except (ValueError, RecursionError):
            continue
    return None


def _values(row: dict[str, Any], tag: str) -> list[str]:
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return [value.strip() for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _first(row: dict[str, Any], tag: str) -> str:
    return next(iter(_values(row, tag)), "")
