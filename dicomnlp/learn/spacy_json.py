"""Annotations in the JSON of spaCy, medspaCy and Prodigy.

============================  =========================================================================================
what writes it                how it looks
============================  =========================================================================================
``Doc.to_json(underscore)``   ``ents``: list of start, end, label; ``underscore_span``: attribute -> list of start, end,
                              value
medspaCy's DocConsumer        ``ents``: columns (``start_char``, ``end_char``, ``label_``, ``is_negated`` ...), with the
                              text under ``text`` or ``doc.text``
Prodigy                       ``spans``: list of start, end, label, and attributes of one's own
spaCy's training tuples       ``[text, {"entities": [[start, end, label]]}]``
============================  =========================================================================================
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from dicomnlp.errors import UsageError
from dicomnlp.learn.attributes import assertion_of, laterality_of
from dicomnlp.learn.gold import GoldFinding, GoldReport, checked_span, fields_of, text_of

_PLACE = frozenset({"start", "end", "start_char", "end_char", "label", "label_", "text", "token_start", "token_end"})


def read_record(record: Any, name: str) -> GoldReport:
    """The annotated report of one record; `name` is its id if it has none.

    Raises
    ------
    UsageError
        The record is of no known kind, or an annotation is malformed.
    """
    if isinstance(record, list):
        record = _training_tuple(record)
    doc = record.get("doc")
    if "text" not in record and isinstance(doc, dict):
        text = doc.get("text")
        record = {**record, "text": text[0] if isinstance(text, list) and text else text}
    text = text_of(record)
    try:
        spans = list(_spans(record))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError("neither the annotation format nor JSON of spaCy, medspaCy or Prodigy") from None
    underscore = _underscore(record)
    findings = []
    for first, last, label, said in spans:
        start, end = checked_span(first, last, text)
        attributes = {**underscore.get((start, end), {}), **said}
        concept = label if isinstance(label, str) else None
        findings.append(GoldFinding(start, end, (assertion_of(attributes),), concept, laterality_of(attributes)))
    meta = record.get("meta")
    return GoldReport(
        id=str(record.get("id", name)),
        text=text,
        language=record.get("language"),
        findings=tuple(sorted(findings, key=lambda f: (f.start, f.end))),
        fields={**fields_of(record), **(fields_of(meta) if isinstance(meta, dict) else {})},
    )


def _training_tuple(record: list[Any]) -> dict[str, Any]:
    if len(record) != 2 or not isinstance(record[1], dict):
        raise UsageError("a list that isn't [text, annotations]")
    return {"text": record[0], **record[1]}


def _spans(record: Mapping[str, Any]) -> Iterator[tuple[Any, Any, Any, dict[str, Any]]]:
    """(start, end, label, attributes) of each annotated span."""
    if "entities" in record:
        for start, end, *label in record["entities"]:
            yield start, end, label[0] if label else None, {}
        return
    spans = record["ents"] if "ents" in record else record["spans"]
    if isinstance(spans, dict) and "start_char" in spans:
        columns = list(spans)
        spans = [dict(zip(columns, row, strict=True)) for row in zip(*spans.values(), strict=True)]
    elif isinstance(spans, dict):
        spans = [span for group in spans.values() for span in group]
    for span in spans:
        start, end = span.get("start_char", span.get("start")), span.get("end_char", span.get("end"))
        own = {k: v for k, v in span.items() if k not in _PLACE and isinstance(v, str | bool | int)}
        nested = {k: v for key in ("_", "attributes", "attrs") for k, v in (span.get(key) or {}).items()}
        yield start, end, span.get("label_", span.get("label")), {**own, **nested}


def _underscore(record: Mapping[str, Any]) -> dict[tuple[int, int], dict[str, Any]]:
    """Custom attributes of spans, as spaCy writes them beside the spans."""
    attributes: dict[tuple[int, int], dict[str, Any]] = defaultdict(dict)
    for name, values in (record.get("underscore_span") or {}).items():
        for value in values:
            attributes[value["start"], value["end"]][name] = value["value"]
    return attributes
