"""Records as plain JSON values."""

import dataclasses
import datetime as dt
import enum
from typing import Any


def utc_text(moment: dt.datetime) -> str:
    """`moment` (aware) in UTC as RFC 3339 with seconds: "2026-11-22T06:00:00Z"."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_NAMES: dict[type, tuple[str, ...] | None] = {}
"""Field names of each class seen by `to_json`, None for one that is no dataclass: looked up many times a report."""


def _names(kind: type) -> tuple[str, ...] | None:
    if kind not in _NAMES:
        _NAMES[kind] = tuple(f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None
    return _NAMES[kind]


def to_json(record: Any) -> Any:
    """A record of `dicomnlp.model` as JSON values: dataclasses become objects, tuples arrays, enums their text."""
    if record is None or isinstance(record, str | int | float):
        return record.value if isinstance(record, enum.Enum) else record
    names = _names(type(record))
    if names is not None:
        return {name: to_json(getattr(record, name)) for name in names}
    if isinstance(record, dict):
        return {str(k): to_json(v) for k, v in record.items()}
    if isinstance(record, tuple | list):
        return [to_json(v) for v in record]
    if isinstance(record, dt.datetime):
        return utc_text(record)
    return record
