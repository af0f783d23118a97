"""What can be exported, and as what."""

from enum import StrEnum


class What(StrEnum):
    """What a row is of."""

    FINDINGS = "findings"
    REPORTS = "reports"
    LABELS = "labels"


class Format(StrEnum):
    """What a file is written as."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    FHIR = "fhir"
