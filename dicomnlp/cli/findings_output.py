"""Findings for programs, written as they are read: a JSON array, or CSV that no spreadsheet runs as a formula."""

import csv
import json
from collections.abc import Iterable
from typing import Any, TextIO

from dicomnlp.cli.context import write_text
from dicomnlp.export.cells import cell
from dicomnlp.store.answers import StoredFinding

COLUMNS = (
    "id", "study_instance_uid", "sop_instance_uid", "concept.id", "concept.code", "concept.scheme", "concept.meaning",
    "text", "start", "end", "sentence", "section", "assertion", "is_negated", "is_uncertain", "is_historical",
    "is_hypothetical", "is_family", "anatomy.id", "laterality", "severity", "change", "measurements", "critical",
    "language", "pipeline", "analysed_at", "status", "superseded_by", "subject", "observer",
)  # fmt: skip


def write_findings_json(pages: Iterable[Iterable[StoredFinding]]) -> None:
    """Write one array, a finding a line."""
    separator = "["
    for page in pages:
        for found in page:
            write_text(separator + json.dumps(found.to_json(), ensure_ascii=False))
            separator = ",\n"
    write_text("[]\n" if separator == "[" else "]\n")


class FindingsCsv:
    """Writes findings below a header line, as they come.

    Parameters
    ----------
    stream
        Where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._writer = csv.writer(stream)
        self._writer.writerow(COLUMNS)

    def write(self, findings: Iterable[StoredFinding]) -> None:
        """Write a line for each of `findings`."""
        for found in findings:
            record = found.to_json()
            self._writer.writerow([cell(_pick(record, column)) for column in COLUMNS])


def _pick(record: dict[str, Any], column: str) -> Any:
    value: Any = record
    for key in column.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if column == "measurements":
        return "; ".join(f"{'x'.join(f'{v:g}' for v in m['values'])} {m['unit']}" for m in value)
    return value
