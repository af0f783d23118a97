"""The query part of DICOMweb searches (PS3.18 8.3.4), and what of it the Accept header says (8.3.3.1, 8.7)."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from dicomnlp.errors import UsageError
from dicomnlp.serve.multipart import MediaType, read_media_type
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store.dicomweb import ATTRIBUTES, Level, Match, read_match

DEFAULT_LIMIT: Final = 100
MAXIMUM_LIMIT: Final = 1000
_MAXIMUM_OFFSET = 10**9
_MAXIMUM_INCLUDED = 200
_TAG = re.compile(r"[0-9A-Fa-f]{8}\Z")
_NOT_FUZZY = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "limit": {
        "description": f"How many results at most; {DEFAULT_LIMIT} unless told, never more than {MAXIMUM_LIMIT}.",
        "schema": {"type": "integer", "minimum": 1, "examples": [25]},
    },
    "offset": {
        "description": "How many results are left out before these.",
        "schema": {"type": "integer", "minimum": 0, "maximum": _MAXIMUM_OFFSET, "examples": [0]},
    },
    "includefield": {
        "description": "Further attributes in the results, by keyword or tag, with commas; or `all`. May be repeated.",
        "schema": {"type": "string", "minLength": 1, "examples": ["StudyDescription"]},
    },
    "fuzzymatching": {
        "description": "`true` is answered with a Warning header: matching is always literal.",
        "schema": {"type": "string", "enum": ["true", "false"], "examples": ["false"]},
    },
    "accept": {
        "description": "In place of the Accept header.",
        "schema": {"type": "string", "examples": ["application/dicom+json"]},
    },
}
"""Parameters that aren't attributes."""
_EXAMPLES = {"DA": "20260101-20261231", "TM": "080000-170000", "UI": "1.2.826.0.1.3680043.8.498.1", "IS": "1"}
_A_TIME = r"([01][0-9]|2[0-3])(:?[0-5][0-9](:?[0-5][0-9](\.[0-9]{1,6})?)?)?"
_FORMS: Final[dict[str, dict[str, str]]] = {
    "DA": {"pattern": r"^([0-9]{8}|[0-9]{8}-|-[0-9]{8}|[0-9]{8}-[0-9]{8})?$"},
    "TM": {"pattern": rf"^({_A_TIME}|{_A_TIME}-|-{_A_TIME}|{_A_TIME}-{_A_TIME})?$"},
    "UI": {"pattern": r"^([0-2](\.(0|[1-9][0-9]*))+(,[0-2](\.(0|[1-9][0-9]*))+)*)?$"},
    "IS": {"pattern": r"^([+-]?[0-9]{1,11})?$"},
}
"""What is taken, for programs that make requests from the description."""
_VALUE_EXAMPLES = {"ModalitiesInStudy": "CT", "Modality": "SR", "PatientID": "P-17", "PatientSex": "F"}


@dataclass(frozen=True, slots=True)
class Query:
    """What a search asks for."""

    matches: tuple[Match, ...]
    included: frozenset[int]
    """Tags of attributes that are wanted beside the usual ones."""
    includes_all: bool
    limit: int
    is_cut: bool
    """The limit is this service's, not one that the client asked for."""
    offset: int
    warnings: tuple[str, ...]


def parameters_of(level: Level) -> list[dict[str, Any]]:
    """What a search of `level` takes, as the OpenAPI document lists it."""
    listed = [{"name": name, "in": "query", "required": False, **told} for name, told in OPTIONS.items()]
    for keyword, attribute in ATTRIBUTES.items():
        if attribute.level <= level:
            example = _VALUE_EXAMPLES.get(keyword) or _EXAMPLES.get(attribute.vr, "*")
            told = {"type": "string", **_FORMS.get(attribute.vr, {}), "examples": [example]}
            listed.append(
                {
                    "name": keyword,
                    "in": "query",
                    "required": False,
                    "description": f"({attribute.tag >> 16:04X},{attribute.tag & 0xFFFF:04X}), {attribute.vr}; "
                    "also by its tag.",
                    "schema": told,
                }
            )
    return listed


def read_query(request: Request, level: Level, fixed: Sequence[tuple[str, str]] = ()) -> Query:
    """The query of a search.

    Parameters
    ----------
    level
        What is searched for.
    fixed
        (keyword, UID) of what the path names.

    Raises
    ------
    ProblemError
        bad_request, unknown_parameter, repeated_parameter: an attribute that can't be matched is refused, because
        leaving it out would answer with more than was asked for.
    """
    given = request.query_params.multi_items()
    repeated = Counter(_name(name) for name, _ in given if name != "includefield")
    if any(number > 1 for number in repeated.values()):
        raise ProblemError("repeated_parameter")
    matches = [match for keyword, uid in fixed if (match := _match(keyword, uid)) is not None]
    included: set[int] = set()
    options: dict[str, str] = {}
    for name, text in given:
        if name == "includefield":
            included |= _included(text)
        elif name in OPTIONS:
            options[name] = text
        else:
            keyword = _name(name)
            match = _of_attribute(keyword, text, level)
            tag = tag_for_keyword(keyword)
            assert tag is not None
            included.add(int(tag))
            matches += [match] if match is not None else []
    if options.get("fuzzymatching", "false") not in {"true", "false"}:
        raise ProblemError("bad_request", "fuzzymatching is true or false.")
    limit = _whole_number(options, "limit", None, 10**9)
    if limit == 0:
        raise ProblemError("bad_request", "limit is 1 or more.")
    return Query(
        tuple(matches),
        frozenset(included),
        includes_all=any(text == "all" for name, text in given if name == "includefield"),
        limit=min(limit or DEFAULT_LIMIT, MAXIMUM_LIMIT),
        is_cut=limit is None or limit > MAXIMUM_LIMIT,
        offset=_whole_number(options, "offset", 0, _MAXIMUM_OFFSET) or 0,
        warnings=(_NOT_FUZZY,) if options.get("fuzzymatching") == "true" else (),
    )


def _name(name: str) -> str:
    """The keyword of an attribute that is named by its tag."""
    return keyword_for_tag(int(name, 16)) if _TAG.match(name) else name


def _of_attribute(keyword: str, text: str, level: Level) -> Match | None:
    attribute = ATTRIBUTES.get(keyword)
    if attribute is not None and attribute.level <= level:
        return _match(keyword, text)
    if not keyword or tag_for_keyword(keyword) is None:
        raise ProblemError("unknown_parameter", "Attributes are named by keyword or tag of PS3.6, one level deep.")
    if set(text.strip()) - {"*"}:
        known = ", ".join(name for name, a in ATTRIBUTES.items() if a.level <= level)
        raise ProblemError("bad_request", f"{keyword} can't be matched here; what can: {known}.")
    return None


def _match(keyword: str, text: str) -> Match | None:
    try:
        return read_match(keyword, text)
    except UsageError as error:
        raise ProblemError("bad_request", f"{error}.") from None


def _included(text: str) -> set[int]:
    if text == "all":
        return set()
    names = [name.strip() for name in text.split(",")]
    if len(names) > _MAXIMUM_INCLUDED:
        raise ProblemError("bad_request", f"includefield names at most {_MAXIMUM_INCLUDED} attributes.")
    tags = {int(name, 16) if _TAG.match(name) else tag_for_keyword(name) for name in names}
    if None in tags or "" in names:
        raise ProblemError("bad_request", "includefield names attributes by keyword or tag of PS3.6, or is all.")
    return {int(tag) for tag in tags if tag is not None}


def _whole_number(options: dict[str, str], name: str, default: int | None, greatest: int) -> int | None:
    text = options.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= greatest):
        raise ProblemError("bad_request", f"{name} is a whole number, 0 to {greatest}.")
    return int(text)


def accepted(request: Request, default: str) -> list[MediaType]:
    """The media types that a client takes, what it likes best first; `default` stands for what it doesn't say."""
    stated = request.query_params.get("accept") or ",".join(request.headers.getlist("accept")) or default
    found = []
    # commas also stand within quotes
    for entry in re.findall(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+', stated):
        media_type = read_media_type(entry)
        try:
            quality = float(media_type.parameters.get("q", "1"))
        except ValueError:
            continue
        if quality > 0 and media_type.name:
            found.append((quality, media_type))
    return [media_type for _, media_type in sorted(found, key=lambda pair: -pair[0])]


def accepts(request: Request, *offered: str) -> str:
    """The one of `offered` that a client likes best; the first of them where it takes anything.

    Parameters
    ----------
    offered
        Media types; "multipart/related; type=X" as that.

    Raises
    ------
    ProblemError
        not_acceptable.
    """
    for media_type in accepted(request, "*/*"):
        for offer in offered:
            wanted = read_media_type(offer)
            if media_type.name in {"*/*", wanted.name, wanted.name.partition("/")[0] + "/*"} and (
                "type" not in media_type.parameters
                or media_type.parameters["type"].lower() in {"*/*", wanted.parameters.get("type", "").lower()}
            ):
                return offer
    raise ProblemError("not_acceptable", f"Here is: {', '.join(offered)}.")
