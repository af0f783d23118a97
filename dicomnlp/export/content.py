"""Content items of structured reports without what identifies (PS3.15 E.3.4, Clean Structured Content).

An item that corresponds to an attribute which the basic profile has removed loses its value; text is cleaned, dates are
shifted and UIDs replaced as everywhere else in the same export. Codes of public schemes stay; the meaning of any other
code is text that somebody wrote.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dicomnlp.export.concepts import CONCEPTS, Identifying
from dicomnlp.export.deidentify import OLDEST_TOLD, Cleaner
from dicomnlp.export.patterns import Kind
from dicomnlp.export.pseudonyms import Pseudonyms, shifted
from dicomnlp.model import Code, ContentItem

PUBLIC_SCHEMES = frozenset(
    {"SCT", "SRT", "SNM3", "SNOMED-CT", "LN", "DCM", "UCUM", "RADLEX", "FMA", "BI", "I10", "I9C", "I9", "RFC5646",
     "RFC3066", "ISO639_1", "ISO639_2", "ISO3166_1", "MDC", "NCIt", "UMLS", "HGNC"}
)  # fmt: skip
"""Coding scheme designators (PS3.16 table 8-1) whose meanings are published."""
_STANDS_FOR = {
    Identifying.PATIENT_NAME: Kind.PATIENT,
    Identifying.PERSON_NAME: Kind.PERSON,
    Identifying.IDENTIFIER: Kind.IDENTIFIER,
    Identifying.PLACE: Kind.PLACE,
    Identifying.BIRTH_DATE: Kind.BIRTH_DATE,
}


def clean_code(code: Code | None, cleaner: Cleaner) -> Code | None:
    """`code` with its meaning cleaned, unless a public scheme says what that is."""
    if code is None or code.scheme in PUBLIC_SCHEMES:
        return code
    return Code(cleaner.clean(code.value).text, code.scheme, cleaner.clean(code.meaning).text)


def clean_items(items: Iterable[ContentItem], cleaner: Cleaner, pseudonyms: Pseudonyms) -> tuple[ContentItem, ...]:
    """Each of `items`, cleaned; their tree stays as it is."""
    return tuple(
        replace(
            item,
            concept=clean_code(item.concept, cleaner),
            value=_clean_value(item, cleaner, pseudonyms),
            unit=clean_code(item.unit, cleaner),
        )
        for item in items
    )


def identifying(concept: Code | None, value_type: str) -> Identifying | None:
    """What of somebody an item of this concept name and value type holds; None for what may stay once it is clean."""
    what = CONCEPTS.get((concept.scheme, concept.value)) if concept else None
    return what or (Identifying.PERSON_NAME if value_type == "PNAME" else None)


def placeholder(what: Identifying) -> str:
    """What stands in the place of a value that is removed."""
    return f"[{_STANDS_FOR[what].value}]"


def _clean_value(item: ContentItem, cleaner: Cleaner, pseudonyms: Pseudonyms) -> Any:
    value = item.value
    if value is None:
        return None
    what = identifying(item.concept, item.value_type)
    if what is Identifying.AGE:
        return [clean_age(v) for v in value] if isinstance(value, list) else clean_age(str(value))
    if what is not None:
        return placeholder(what)
    if isinstance(value, dict):
        return _clean_object(value, cleaner, pseudonyms)
    if isinstance(value, list) or item.value_type in {"NUM", "TIME"}:
        return value
    if item.value_type == "UIDREF":
        return pseudonyms.uid(value.strip())
    if item.value_type in {"DATE", "DATETIME"}:
        date = shifted(value[:8], cleaner.shift_days)
        return date + value[8:] if date else f"[{Kind.DATE.value}]"
    return cleaner.clean(value).text


def _clean_object(value: dict[str, Any], cleaner: Cleaner, pseudonyms: Pseudonyms) -> dict[str, Any]:
    if "sop_instance_uid" in value:
        return {**value, "sop_instance_uid": pseudonyms.uid(value["sop_instance_uid"])}
    if "code" in value:
        code = clean_code(Code(value["code"], value["scheme"], value["meaning"]), cleaner)
        assert code is not None
        return {"code": code.value, "scheme": code.scheme, "meaning": code.meaning}
    return value


def clean_age(value: str) -> str:
    """An age in years, of which those above 89 are told as 90."""
    try:
        return value if float(value) <= OLDEST_TOLD else str(OLDEST_TOLD + 1)
    except ValueError:
        return f"[{Kind.AGE.value}]"
