"""Which text is written for people: TEXT items also carry numbers, identifiers, coordinates, JSON, XML and base64."""

import json
import re

from dicomnlp.model import UID_PATTERN

_DIGIT = re.compile(r"\d")
_LETTER = re.compile(r"[^\W\d_]")
_NUMBER_WITH_UNIT = re.compile(
    r"[<>≤≥~=±\s]*[-+]?\d[\d.,/ ]*\s*(?:[%°]|[a-zµ]{1,5}(?:/[a-z0-9]{1,4})?[23²³]?|mm\s?hg|bpm)?", re.IGNORECASE
)
_MARKUP = re.compile(r"<(?:\?xml|!DOCTYPE|([A-Za-z_][\w:.-]*)(?:\s[^<>]*)?>.*</\1>\s*$)", re.DOTALL)
_HTML = re.compile(
    r"<(?:!DOCTYPE\s+html|(?:html|body|p|br|div|span|table|ul|ol|h[1-6]|b|i|u|font|pre|center|strong|em|style|head)\b)",
    re.IGNORECASE,
)
_ENCODED = re.compile(r"[A-Za-z0-9+/]{60,}(?:\s+[A-Za-z0-9+/]{60,})*(?:\s+[A-Za-z0-9+/]+)?={0,2}")
_PLACEHOLDER = re.compile(r"#[0-9a-fA-F]{3,8}|[{<%$\[][\w.]+[}>%$\]]")
"""Colours and template variables, as viewers write them beside their annotations."""
_COORDINATES = re.compile(
    r"(?:[a-z]\d{0,2}\s*[:=]\s*[-+]?\d[\d.]*(?:e[-+]?\d+)?(?:\s*(?:mm|cm|px))?[\s,;)]*){2,}", re.IGNORECASE
)
"""x=12.5; y=13.7, and values by vertebra."""
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*://\S+|\{?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?)", re.IGNORECASE)
"""URLs and UUIDs."""
_ASSIGNMENT = re.compile(r"\w\)? = [^\s=]")
_BINARY_LIST = re.compile(r"bplist0|%PDF-|\{\\\*?\\?object", re.IGNORECASE)


def is_prose(text: str) -> bool:
    """Whether `text` is something that a person wrote or would read, rather than a machine's payload.

    Parameters
    ----------
    text
        A text value as decoded, markup included.
    """
    stripped = text.strip()
    if not stripped or not _LETTER.search(stripped):
        return False
    if UID_PATTERN.match(stripped) or (len(stripped) <= 60 and _NUMBER_WITH_UNIT.fullmatch(stripped)):
        return False
    if _PLACEHOLDER.fullmatch(stripped) or len(_ASSIGNMENT.findall(stripped)) > 2:
        return False
    if _ENCODED.fullmatch(stripped) or _BINARY_LIST.match(stripped):
        return False
    if _COORDINATES.fullmatch(stripped) or _ADDRESS.fullmatch(stripped):
        return False
    first = stripped[0]
    if first in "{[" and not stripped.startswith("{\\rtf") and _is_json_or_property_list(stripped):
        return False
    if first == "<" and not _HTML.match(stripped) and _MARKUP.match(stripped):
        return False
    # coordinates and value lists: hardly a letter among the digits
    beginning = stripped[:2000]
    return len(_DIGIT.findall(beginning)) <= 8 * len(_LETTER.findall(beginning))


def _is_json_or_property_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        # OpenStep property lists: { key = value; } and ( ... )
        return text[0] == "{" and (re.search(r"[\w\"]\s*=\s*[^;{}]*;", text) is not None or '":' in text)
