"""JSON answers with a strong entity tag, and the 304 that spares sending them again (RFC 9110 8.8.3, 13.1.2)."""

import hashlib
import json
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


def answer(request: Request, document: Any) -> Response:
    """`document` as JSON with its entity tag, or 304 without it when the client holds the same already.

    A cache may keep it for its one user, and has to ask again each time: findings change when an object is corrected.
    """
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    entity_tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": entity_tag, "Cache-Control": "private, no-cache"}
    held = ",".join(request.headers.getlist("if-none-match"))
    if held.strip() == "*" or entity_tag in _ENTITY_TAG.findall(held):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
