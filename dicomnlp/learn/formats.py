"""Annotated reports from a file or folder, in whichever format: its content tells."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dicomnlp.errors import UsageError
from dicomnlp.learn import brat, docbin, gold, spacy_json

_OWN_KEYS = frozenset({"findings", "targets", "labels", "sections", "measurements"})
_FOREIGN_KEYS = frozenset({"ents", "spans", "entities"})


def read_gold(path: Path) -> tuple[gold.GoldReport, ...]:
    """The annotated reports of a JSONL file, a brat folder, or JSON of spaCy, medspaCy or Prodigy, told by content.

    A file whose name ends in .spacy is a DocBin.

    Raises
    ------
    UsageError
        There is nothing to read, or a record can't be understood: the message names the file and the line.
    """
    if path.suffix == docbin.SUFFIX:
        reports: tuple[gold.GoldReport, ...] = tuple(
            gold.read_record(record, f"{path.stem}:{n}") for n, record in enumerate(docbin.read_docbin(path), 1)
        )
    elif path.is_dir():
        files = [*sorted(path.rglob("*.json")), *sorted(path.rglob("*.jsonl"))]
        annotated = any(path.rglob("*.ann"))
        reports = brat.read_folder(path) if annotated else tuple(r for f in files for r in _file(f))
    else:
        reports = tuple(_file(path))
    if not reports:
        raise UsageError(f"{path} holds no annotated report: neither .ann files nor JSON records")
    return reports


def _file(path: Path) -> Iterator[gold.GoldReport]:
    for place, name, record in _records(path):
        try:
            if not isinstance(record, dict | list):
                raise UsageError("not a JSON object")  # noqa: TRY301
            if isinstance(record, dict) and _OWN_KEYS & record.keys() and not _FOREIGN_KEYS & record.keys():
                yield gold.read_record(record, name)
            else:
                yield spacy_json.read_record(record, name)
        except UsageError as error:
            raise UsageError(f"{path}, {place}: {error}") from None


def _records(path: Path) -> Iterator[tuple[str, str, Any]]:
    """(place, name for want of an id, record) of each record of a JSON or JSONL file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} isn't UTF-8 text") from None
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, dict) or (isinstance(whole, list) and isinstance(next(iter(whole), None), str)):
        # a list that begins with a text is one of spaCy's training tuples
        yield "the only record", path.stem, whole
    elif isinstance(whole, list):
        yield from ((f"record {n}", f"{path.stem}:{n}", record) for n, record in enumerate(whole, 1))
    else:
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    yield f"line {number}", f"{path.stem}:{number}", json.loads(line)
                except ValueError:
                    raise UsageError(f"{path}, line {number}: not JSON") from None
