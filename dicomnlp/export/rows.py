"""Rows of tables: one a finding, one a report, one a report with a column a label."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dicomnlp.model import to_json
from dicomnlp.store.answers import StoredFinding
from dicomnlp.store.exports import ExportedReport, ReportHeader
from dicomnlp.store.records import size_of

LABEL_VALUES = {"present": 1, "absent": 0, "possible": -1}
"""As the CheXpert labeler writes them; None for what isn't mentioned."""


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXTS = "texts"
    MEASUREMENTS = "measurements"
    CUES = "cues"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind = Kind.TEXT


Record = dict[str, Any]
"""A row as JSON values, nested as the public form is."""

_STUDY = (
    "patient_id", "accession_number", "study_date", "modality", "study_description", "body_part_examined",
    "patient_sex",
)  # fmt: skip
_STUDY_COLUMNS = (*map(Column, _STUDY), Column("patient_age", Kind.INTEGER))
FINDING_COLUMNS = (
    *(Column(n, Kind.INTEGER) if n in {"id", "start", "end"} else Column(n) for n in (
        "id", "study_instance_uid", "sop_instance_uid", "concept.id", "concept.code", "concept.scheme",
        "concept.meaning", "assertion", "text", "start", "end", "sentence", "section",
    )),
    *(Column(n, Kind.BOOLEAN) for n in (
        "is_negated", "is_uncertain", "is_historical", "is_hypothetical", "is_family", "critical",
    )),
    *map(Column, ("anatomy.id", "anatomy.code", "anatomy.scheme", "anatomy.meaning", "laterality", "severity", "change",
                  "acuity", "count")),
    Column("size_mm", Kind.NUMBER),
    Column("measurements", Kind.MEASUREMENTS),
    Column("levels", Kind.TEXTS),
    Column("image_references", Kind.TEXTS),
    Column("cues", Kind.CUES),
    *map(Column, ("subject", "observer", "language", "pipeline", "analysed_at")),
    *_STUDY_COLUMNS,
)  # fmt: skip
REPORT_COLUMNS = (
    *map(Column, ("sop_instance_uid", "study_instance_uid")),
    *_STUDY_COLUMNS,
    *map(Column, ("title", "completion_flag", "verification_flag", "preliminary_flag", "language", "text")),
    *(Column(n, Kind.JSON) for n in ("sections", "recommendations", "scores", "content")),
    Column("findings", Kind.INTEGER),
    *map(Column, ("pipeline", "analysed_at", "received_at")),
)
LABEL_IDENTITY = (*map(Column, ("sop_instance_uid", "study_instance_uid")), *_STUDY_COLUMNS)


def label_columns(labels: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a table of labels."""
    return (*LABEL_IDENTITY, *(Column(label, Kind.INTEGER) for label in labels))


def finding_record(stored: StoredFinding, header: ReportHeader) -> Record:
    """A finding in the public form, with what its report's header says of the study."""
    return {**stored.to_json(), "size_mm": size_of(stored.finding.measurements), **_study(header)}


def report_record(exported: ExportedReport) -> Record:
    """A report in the public form, with its content items, its findings, and what its header says of the study."""
    report = exported.report.report
    return {
        **exported.report.to_json(),
        **_study(exported.header),
        "content": to_json(report.items) if report else [],
        "findings": [f.to_json() for f in exported.findings],
    }


def label_record(exported: ExportedReport, label_set: str, labels: Sequence[str]) -> Record:
    """What a report says of each label: 1, 0, -1 or None."""
    analysis = exported.report.analysis
    said = analysis.labels.get(label_set, {}) if analysis else {}
    return {
        "sop_instance_uid": exported.report.sop_instance_uid,
        "study_instance_uid": exported.report.study_instance_uid,
        **_study(exported.header),
        **{label: LABEL_VALUES.get(said.get(label) or "") for label in labels},
    }


def _study(header: ReportHeader) -> Record:
    identity = header.identity
    return {
        **{name: getattr(identity, name) or None for name in _STUDY},
        "study_date": header.study_date or None,
        "modality": "\\".join(header.modalities) or identity.modality or None,
        "patient_age": header.patient_age,
    }


def pick(record: Record, column: Column) -> Any:
    """The value of a column, still nested where it is a list."""
    value: Any = record
    for key in column.name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if column.name == "findings" and isinstance(value, list):
        return len(value)
    return value


_FLAT: dict[Kind, Callable[[Any], Any]] = {
    Kind.TEXTS: "; ".join,
    Kind.MEASUREMENTS: lambda values: "; ".join(
        f"{m['comparator'] or ''}{'x'.join(f'{v:g}' for v in m['values'])} {m['unit']}"
        + (" (prior)" if m["temporality"] == "prior" else "")
        for m in values
    ),
    Kind.CUES: lambda cues: "; ".join(c["text"] for c in cues),
    Kind.JSON: lambda value: json.dumps(value, ensure_ascii=False),
}


def flat(record: Record, column: Column) -> Any:
    """The value of a column as one cell."""
    value = pick(record, column)
    make = _FLAT.get(column.kind)
    return make(value) if make is not None and value is not None else value
