"""Search parameters of FHIR (R4 3.1.1): which there are for each resource, and what a query asks for."""

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import Request

from dicomnlp.export import fhir_codes as codes
from dicomnlp.model import Assertion, is_uid
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store.resources import CodedFinding, DateBound, MomentBound, ResourceQuery

MAXIMUM_COUNT: Final = 200
DEFAULT_COUNT: Final = 50
_MOST_VALUES: Final = 100
_MAXIMUM_LENGTH: Final = 4096
_OWN_FINDING = re.compile(re.escape(codes.OWN) + r"(?P<assertion>[a-z]+)-finding\Z")
_SCHEMES = {system: scheme for scheme, system in codes.SYSTEMS.items()}
_PRECISION = re.compile(
    r"(?P<prefix>eq|ge|gt|le|lt|sa|eb)?"
    r"(?P<value>[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2}(?:T[0-9:.]{5,15}(?:Z|[ +-][0-9]{2}:[0-9]{2}))?)?)?)\Z"
)
"""The plus of a zone that wasn't escaped has become a blank."""
_STATUSES = ("registered", "partial", "preliminary", "final", "amended", "corrected", "appended", "cancelled",
             "entered-in-error", "unknown")  # fmt: skip

_DAY = r"^(eq|ge|gt|le|lt|sa|eb)?(19|20)[0-9]{2}(-(0[1-9]|1[0-2])(-(0[1-9]|1[0-9]|2[0-8]))?)?$"
"""Others are days, too; whether a month has a thirtieth only the calendar tells."""
_STATES = "^(" + "|".join(_STATUSES) + ")(,(" + "|".join(_STATUSES) + "))*$"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A search parameter, as the CapabilityStatement and the OpenAPI document list it."""

    type: str
    """token, reference, date, number or special."""
    told: str
    example: str
    definition: str = ""
    """Canonical URL of the standard's SearchParameter."""
    pattern: str = r"^[^\x00-\x1f\x7f]*$"
    """What values are, as far as others are refused."""


def _of(resource: str, name: str) -> str:
    return f"http://hl7.org/fhir/SearchParameter/{resource}-{name}"


_ID = Parameter("token", "Ids, with commas between several.", "1.2.826.0.1.3680043.8.498.2", _of("Resource", "id"))
_UPDATED = Parameter(
    "date", "When the report was analysed: eq, ge, gt, le, lt.", "ge2026-11-01", _of("Resource", "lastUpdated"), _DAY
)
_COUNT = Parameter(
    "number", f"How many at most, 0 to {MAXIMUM_COUNT}; {DEFAULT_COUNT} if not given.", "50", pattern="^[0-9]{1,9}$"
)
_AFTER = Parameter("special", "Where the next page begins: of the link `next`.", "812", pattern="^[0-9]{1,18}$")
_FORMAT = Parameter(
    "special", "json or application/fhir+json.", "json", pattern=r"^(json|application/json|application/fhir\+json)$"
)
_PATIENT = Parameter("reference", "Patient/ID or ID.", "Patient/p12", _of("clinical", "patient"))
_PAGING = {"_count": _COUNT, "after": _AFTER, "_format": _FORMAT}
_DATE = Parameter(
    "date", "Date of the study: eq, ge, gt, le, lt; may be repeated.", "ge2026-01-01", _of("clinical", "date"), _DAY
)
_REPORT_UID = "Study or SOP Instance UID (urn:dicom:uid|urn:oid:UID, urn:oid:UID or UID), or accession number."
PARAMETERS: dict[str, dict[str, Parameter]] = {
    "DiagnosticReport": {
        "_id": _ID,
        "_lastUpdated": _UPDATED,
        "identifier": Parameter("token", _REPORT_UID, "1.2.826.0.1.3680043.8.498.1", _of("clinical", "identifier")),
        "patient": _PATIENT,
        "subject": Parameter("reference", "As patient.", "Patient/p12", _of("DiagnosticReport", "subject")),
        "date": _DATE,
        "code": Parameter("token", "Code of the document title.", "http://loinc.org|18748-4", _of("clinical", "code")),
        "status": Parameter("token", "States.", "final,amended", _of("DiagnosticReport", "status"), _STATES),
        **_PAGING,
    },
    "Observation": {
        "_id": Parameter("token", _ID.told, "f812", _ID.definition),
        "_lastUpdated": _UPDATED,
        "patient": _PATIENT,
        "subject": Parameter("reference", "As patient.", "Patient/p12", _of("Observation", "subject")),
        "date": _DATE,
        "code": Parameter(
            "token",
            "Code of the finding: only of those that are present; others have codes of their own.",
            "http://snomed.info/sct|427359005",
            _of("clinical", "code"),
        ),
        "status": Parameter("token", "States.", "final", _of("Observation", "status"), _STATES),
        "value-concept": Parameter("token", "How it is judged.", "absent", _of("Observation", "value-concept")),
        "derived-from": Parameter(
            "reference",
            "ImagingStudy/UID.",
            "ImagingStudy/1.2.826.0.1.3680043.8.498.1",
            _of("Observation", "derived-from"),
        ),
        **_PAGING,
    },
    "ImagingStudy": {
        "_id": Parameter("token", "Study Instance UIDs.", "1.2.826.0.1.3680043.8.498.1", _ID.definition),
        "identifier": Parameter("token", _REPORT_UID, "1.2.826.0.1.3680043.8.498.1", _of("clinical", "identifier")),
        "patient": _PATIENT,
        "subject": Parameter("reference", "As patient.", "Patient/p12", _of("ImagingStudy", "subject")),
        "started": Parameter("date", _DATE.told, _DATE.example, _of("ImagingStudy", "started"), _DAY),
        "modality": Parameter("token", "DICOM modality.", "CT", _of("ImagingStudy", "modality")),
        **_PAGING,
    },
    "Patient": {
        "_id": Parameter("token", _ID.told, "p12", _ID.definition),
        "identifier": Parameter("token", "Patient ID.", "DEMO-0001", _of("Patient", "identifier")),
        **_PAGING,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A search."""

    query: ResourceQuery
    count: int
    after: int | None
    used: tuple[tuple[str, str], ...]
    """The parameters that were looked at, as they were given."""


@dataclass
class _Read:
    values: dict[str, Any] = field(default_factory=dict)
    count: int = DEFAULT_COUNT
    after: int | None = None

    def narrow(self, name: str, found: Sequence[Any]) -> None:
        """Of a field that is asked for twice both must fit."""
        held = self.values.get(name)
        self.values[name] = tuple(found) if held is None else tuple(v for v in held if v in found)


def read_search(request: Request, resource: str) -> Asked:
    """What a request asks of a resource.

    A parameter that isn't known is refused, unless the header Prefer says handling=lenient (R4 3.1.1.4.4); a modifier
    or prefix that isn't is refused always, since without it the answer would be to another question.

    Raises
    ------
    ProblemError
        unknown_parameter or bad_request; the detail holds nothing that was given.
    """
    known = PARAMETERS[resource]
    lenient = "handling=lenient" in request.headers.get("prefer", "").replace(" ", "").lower()
    read, used = _Read(), []
    for name, value in request.query_params.multi_items():
        base, _, modifier = name.partition(":")
        if modifier and base in known:
            raise ProblemError("bad_request", f"{base} takes no modifier here.")
        if name not in known:
            if lenient:
                continue
            raise ProblemError("unknown_parameter", f"{resource} is searched by {', '.join(known)}.")
        if len(value) > _MAXIMUM_LENGTH or not value.isprintable():
            raise ProblemError("bad_request", f"{name} is too long, or has characters that no value has.")
        if not value:
            if lenient:
                continue
            raise ProblemError("bad_request", f"{name} has no value.")
        reader = _OF_RESOURCE[resource].get(name) or _READERS[name]
        reader(read, name, value)
        used.append((name, value))
    return Asked(ResourceQuery(**read.values), read.count, read.after, tuple(used))


def _values(value: str) -> list[str]:
    """The alternatives of a value: commas part them, a backslash takes their meaning away (R4 3.1.1.3)."""
    parts = [re.sub(r"\\(.)", r"\1", part) for part in re.findall(r"(?:\\.|[^,\\])+", value)]
    if len(parts) > _MOST_VALUES:
        raise ProblemError("bad_request", f"At most {_MOST_VALUES} values.")
    return parts


def _token(text: str) -> tuple[str | None, str]:
    """System, None where it doesn't matter, and code."""
    system, bar, code = text.partition("|")
    return (system, code) if bar else (None, text)


def _read_count(read: _Read, name: str, value: str) -> None:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise ProblemError("bad_request", f"{name} is a whole number.")
    read.count = min(int(value), MAXIMUM_COUNT)


def _read_special(read: _Read, name: str, value: str) -> None:
    if name == "_format":
        if value.partition(";")[0].replace(" ", "+") not in {"json", "application/json", "application/fhir+json"}:
            raise ProblemError("not_acceptable", "Resources are written as JSON.")
    elif not re.fullmatch(r"[0-9]{1,18}", value):
        raise ProblemError("bad_request", "after is taken from the link `next` of a page.")
    else:
        read.after = int(value)


def _read_ids(prefix: str, name_of_field: str) -> Callable[[_Read, str, str], None]:
    def read_ids(read: _Read, _name: str, value: str) -> None:
        found = [v.removeprefix(prefix) for v in _values(value) if v.startswith(prefix)]
        read.narrow(name_of_field, [int(v) for v in found if re.fullmatch(r"[0-9]{1,18}", v)])

    return read_ids


def _read_uids(read: _Read, _name: str, value: str) -> None:
    read.narrow("uids", [v for v in _values(value) if is_uid(v)])


def _read_studies(read: _Read, _name: str, value: str) -> None:
    read.narrow("studies", [v.rpartition("/")[2] for v in _values(value) if is_uid(v.rpartition("/")[2])])


def _read_identifiers(read: _Read, _name: str, value: str) -> None:
    found = []
    for text in _values(value):
        system, code = _token(text)
        plain = code.removeprefix("urn:oid:")
        if system not in {None, "", codes.DICOM_UID} or (system == codes.DICOM_UID and not is_uid(plain)):
            continue
        found.append(plain)
    read.narrow("identifiers", found)


def _read_patients(read: _Read, _name: str, value: str) -> None:
    ids = [re.fullmatch(r"(?:Patient/)?p([0-9]{1,18})", v) for v in _values(value)]
    read.narrow("patients", [int(found[1]) for found in ids if found])


def _read_date(read: _Read, name: str, value: str) -> None:
    if len(_values(value)) > 1:
        raise ProblemError("bad_request", f"{name} takes one value; repeat it for a range.")
    found = _PRECISION.match(value)
    if found is None:
        raise ProblemError("bad_request", f"{name} is a date with eq, ge, gt, le, lt, sa or eb before: ge2026-01-01.")
    try:
        first, last = _range(found["value"])
    except (ValueError, OverflowError):
        raise ProblemError("bad_request", f"{name} is no date of the calendar.") from None
    prefix = found["prefix"] or "eq"
    bounds = {
        "eq": [("ge", first), ("lt", last)],
        "ge": [("ge", first)],
        "gt": [("ge", last)],
        "sa": [("ge", last)],
        "le": [("lt", last)],
        "lt": [("lt", first)],
        "eb": [("lt", first)],
    }[prefix]
    if name == "_lastUpdated":
        read.values["updated"] = (*read.values.get("updated", ()), *(MomentBound(c, m) for c, m in bounds))
    else:
        # the study's date has no time: a moment within a day is that day
        days = [DateBound(c, f"{_day(m, is_end=c == 'lt'):%Y%m%d}") for c, m in bounds]
        read.values["dates"] = (*read.values.get("dates", ()), *days)


def _day(moment: dt.datetime, *, is_end: bool) -> dt.date:
    """The day that a bound at `moment` is at; one that ends within a day takes that day in."""
    is_midnight = moment.time() == dt.time()
    return moment.date() if is_midnight or not is_end else moment.date() + dt.timedelta(days=1)


def _range(value: str) -> tuple[dt.datetime, dt.datetime]:
    """When what a date says begins, and when it is over."""
    if "T" in value:
        moment = dt.datetime.fromisoformat(value.replace(" ", "+")).astimezone(dt.UTC)
        return moment, moment + dt.timedelta(seconds=1)
    year, month, day = (int(part) for part in (value + "-01-01").split("-")[:3])
    first = dt.datetime(year, month, day, tzinfo=dt.UTC)
    if len(value) == 4:
        return first, first.replace(year=year + 1)
    if len(value) == 7:
        return first, (first + dt.timedelta(days=31)).replace(day=1)
    return first, first + dt.timedelta(days=1)


def _read_titles(read: _Read, _name: str, value: str) -> None:
    found = []
    for text in _values(value):
        system, code = _token(text)
        scheme = _SCHEMES.get(system) if system else None
        if code and (not system or scheme):
            found.append((scheme, code))
    read.narrow("document_codes", found)


def _read_codes(read: _Read, _name: str, value: str) -> None:
    """A finding's code; only what is present has it."""
    found = []
    for text in _values(value):
        system, code = _token(text)
        own = _OWN_FINDING.match(system or "")
        by_words = re.fullmatch(r"([a-z]+)-([a-z0-9_]{1,64})", code)
        if own is not None or (system is None and by_words and by_words[1] in _JUDGED):
            if by_words and by_words[1] in _JUDGED and (own is None or own["assertion"] == by_words[1]):
                found.append(CodedFinding(Assertion(by_words[1]), concept_id=by_words[2]))
        elif system == codes.CONCEPT:
            found.append(CodedFinding(Assertion.PRESENT, concept_id=code))
        elif system in _SCHEMES:
            found.append(CodedFinding(Assertion.PRESENT, scheme=_SCHEMES[system], code=code))
        elif system is None:
            found += [CodedFinding(Assertion.PRESENT, concept_id=code), CodedFinding(Assertion.PRESENT, code=code)]
    read.narrow("findings", found)


_JUDGED = {a.value for a in Assertion if a is not Assertion.PRESENT}
_CONTEXTS = {
    (coded["system"], coded["code"]): assertion
    for assertion in Assertion
    for coded in codes.assertion_value(assertion)["coding"]
}


def _read_assertions(read: _Read, _name: str, value: str) -> None:
    found = []
    for text in _values(value):
        system, code = _token(text)
        found += [a for (s, c), a in _CONTEXTS.items() if c == code and system in {None, s}]
    read.narrow("assertions", list(dict.fromkeys(found)))


def _read_statuses(read: _Read, _name: str, value: str) -> None:
    found = [_token(text)[1] for text in _values(value)]
    if any(status not in _STATUSES for status in found):
        raise ProblemError("bad_request", f"A status is one of {', '.join(_STATUSES)}.")
    read.narrow("statuses", found)


def _read_modalities(read: _Read, _name: str, value: str) -> None:
    tokens = [_token(text) for text in _values(value)]
    read.narrow("modalities", [code for system, code in tokens if code and system in {None, "", codes.DICOM}])


_READERS: dict[str, Callable[[_Read, str, str], None]] = {
    "_count": _read_count,
    "after": _read_special,
    "_format": _read_special,
    "identifier": _read_identifiers,
    "patient": _read_patients,
    "subject": _read_patients,
    "date": _read_date,
    "started": _read_date,
    "_lastUpdated": _read_date,
    "status": _read_statuses,
    "value-concept": _read_assertions,
    "derived-from": _read_studies,
    "modality": _read_modalities,
}
"""By name; `code` and `_id` mean something else for each resource."""
_OF_RESOURCE: dict[str, dict[str, Callable[[_Read, str, str], None]]] = {
    "DiagnosticReport": {"_id": _read_uids, "code": _read_titles},
    "Observation": {"_id": _read_ids("f", "numbers"), "code": _read_codes},
    "ImagingStudy": {"_id": _read_studies},
    "Patient": {"_id": _read_ids("p", "patients")},
}


def openapi_parameters(resource: str) -> list[dict[str, Any]]:
    """What a search of `resource` takes, as the OpenAPI document lists it."""
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": parameter.told,
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": _MAXIMUM_LENGTH,
                "pattern": parameter.pattern,
                "examples": [parameter.example],
            },
        }
        for name, parameter in PARAMETERS[resource].items()
    ]
