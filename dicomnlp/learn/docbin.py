"""Annotated reports as spaCy's DocBin: what spaCy trains on, and back.

A span's label is its concept and its id the assertion, in the span group ``findings`` or ``targets``. A document's
tokens are spaCy's, so a span that ends within a token is widened to it there; its own offsets, and what else is known
of the report, are in the document's user data, which is read back. That is msgpack: nothing of it is run.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dicomnlp.analyse.library import spacy
from dicomnlp.errors import UsageError
from dicomnlp.learn.gold import assertion_of
from dicomnlp.model import Assertion

SUFFIX = ".spacy"
_KEY = "dicomnlp"
_GROUPS = ("findings", "targets")


def write_docbin(records: Iterable[dict[str, Any]], path: Path) -> int:
    """Write records of the annotation format; how many.

    Raises
    ------
    UsageError
        The file can't be written.
    """
    held = spacy.tokens.DocBin(store_user_data=True)
    pipelines: dict[str, Any] = {}
    count = 0
    for record in records:
        language = record.get("language") or "xx"
        if language not in pipelines:
            pipelines[language] = _blank(language)
        doc = pipelines[language].make_doc(record["text"])
        for group in _GROUPS:
            spans = [
                doc.char_span(
                    said["start"],
                    said["end"],
                    label=said.get("concept") or "",
                    span_id=said["assertion"],
                    alignment_mode="expand",
                )
                for said in record.get(group) or ()
            ]
            if group in record:
                doc.spans[group] = [span for span in spans if span is not None]
        doc.user_data[_KEY] = {name: value for name, value in record.items() if name != "text"}
        held.add(doc)
        count += 1
    try:
        path.write_bytes(held.to_bytes())
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from None
    return count


def read_docbin(path: Path) -> Iterator[dict[str, Any]]:
    """The documents of a DocBin as records of the annotation format, whoever wrote it.

    Of one that wasn't written here, the spans of the groups ``findings`` and ``targets`` are taken, else the entities;
    a span whose id isn't an assertion is present.

    Raises
    ------
    UsageError
        The file can't be read, or is none.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    try:
        docs = list(spacy.tokens.DocBin().from_bytes(data).get_docs(spacy.blank("xx").vocab))
    except Exception:  # noqa: BLE001  of zlib, msgpack, numpy and spaCy, each in its own words
        raise UsageError(f"{path} isn't a DocBin of spaCy") from None
    for number, doc in enumerate(docs, 1):
        own = doc.user_data.get(_KEY)
        if isinstance(own, dict):
            yield {**_listed(own), "text": doc.text}
            continue
        groups = {name: list(doc.spans[name]) for name in _GROUPS if name in doc.spans}
        spans = groups or {"findings": list(doc.ents)}
        yield {
            "id": f"{path.stem}:{number}",
            "text": doc.text,
            **{name: [_said(span) for span in found] for name, found in spans.items()},
        }


def _blank(language: str) -> Any:
    try:
        return spacy.blank(language)
    except ImportError:  # a language that spaCy doesn't know
        return spacy.blank("xx")


def _said(span: Any) -> dict[str, Any]:
    try:
        assertion = assertion_of(span.id_)
    except UsageError:
        assertion = Assertion.PRESENT
    return {
        "start": span.start_char,
        "end": span.end_char,
        "assertion": assertion.value,
        "concept": span.label_ or None,
    }


def _listed(value: Any) -> Any:
    """`value` as JSON has it: msgpack gives tuples for lists."""
    if isinstance(value, dict):
        return {name: _listed(inner) for name, inner in value.items()}
    return [_listed(inner) for inner in value] if isinstance(value, list | tuple) else value
