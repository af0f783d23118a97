"""Answers with a strong entity tag, the 304 that spares sending them again, and gzip (RFC 9110 8.8.3, 13.1.2, 8.4)."""

import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

MINIMUM_GZIP_BYTES: Final = 1400
"""What fits one packet isn't made smaller."""
_GZIP_LEVEL = 4
_COMPRESSIBLE = re.compile(r"application/(?:[a-z.+-]+\+)?(?:json|xml)\b|text/(?:plain|css|csv|javascript)\b")
"""Not HTML: its forms hold a secret, and beside it stands what the request says, by whose repetition in a compressed
answer the secret could be guessed from outside (BREACH)."""
_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')
_CODING = re.compile(r"\s*([a-z*][a-z0-9-]*)\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?\Z", re.IGNORECASE)


def answer(request: Request, document: Any, media_type: str = "application/json") -> Response:
    """`document` as JSON, see `answer_bytes`."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return answer_bytes(request, body, media_type)


def answer_bytes(
    request: Request, body: bytes, media_type: str, *, headers: Mapping[str, str] | None = None
) -> Response:
    """`body` with its entity tag, or 304 without it when the client holds the same already; by gzip if that is taken.

    A cache may keep it for its one user, and has to ask again each time: findings change when an object is corrected.

    Parameters
    ----------
    headers
        Of the answer, beside those made here; `Cache-Control` in place of the one made here.
    """
    found = not_modified(request, hashlib.sha256(body).hexdigest()[:32], headers)
    if isinstance(found, Response):
        return found
    if len(body) >= MINIMUM_GZIP_BYTES and _COMPRESSIBLE.match(media_type):
        found["Vary"] = "Accept-Encoding"
        if _takes_gzip(request):
            # bytes that differ are another representation, whose tag is another
            found |= {"ETag": found["ETag"][:-1] + '-gzip"', "Content-Encoding": "gzip"}
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
    return Response(body, media_type=media_type, headers=found)


def not_modified(request: Request, tag: str, headers: Mapping[str, str] | None = None) -> Response | dict[str, str]:
    """304 when the client holds what `tag` stands for, by gzip or not; else the headers for an answer that has it.

    Parameters
    ----------
    tag
        The same only for the same content: letters and digits.
    headers
        Further ones.
    """
    own = {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache", **(headers or {})}
    held = ",".join(request.headers.getlist("if-none-match"))
    known = _ENTITY_TAG.findall(held)
    for entity_tag in (own["ETag"], f'"{tag}-gzip"'):
        if entity_tag in known:
            return Response(status_code=304, headers={**own, "ETag": entity_tag})
    return Response(status_code=304, headers=own) if held.strip() == "*" else own


def _takes_gzip(request: Request) -> bool:
    codings: dict[str, float] = {}
    for part in ",".join(request.headers.getlist("accept-encoding")).split(","):
        match = _CODING.match(part)
        if match is not None:
            codings[match[1].lower()] = float(match[2] or 1)
    return codings.get("gzip", codings.get("x-gzip", codings.get("*", 0.0))) > 0
