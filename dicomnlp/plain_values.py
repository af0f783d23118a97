"""Records as plain JSON values."""

import dataclasses
import datetime as dt
import enum
import operator
from collections.abc import Callable
from typing import Any


def utc_text(moment: dt.datetime) -> str:
    """`moment` (aware) in UTC as RFC 3339 with seconds: "2026-11-22T06:00:00Z"."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_FIELDS: dict[type, Callable[[Any], tuple[Any, ...]] | None] = {}
_NAMES: dict[type, tuple[str, ...]] = {}
"""What reads the fields of each class seen by `to_json`, and their names; None for one that is no dataclass."""
_PLAIN = (str, int, float, bool, type(None))


def _reader(kind: type) -> Callable[[Any], tuple[Any, ...]] | None:
    if kind not in _FIELDS:
        if not dataclasses.is_dataclass(kind):
            _FIELDS[kind] = None
        else:
            names = _NAMES[kind] = tuple(f.name for f in dataclasses.fields(kind))
            # of one name it would give the value itself
            _FIELDS[kind] = operator.attrgetter(*names) if len(names) > 1 else _one_field(names)
    return _FIELDS[kind]


def _one_field(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda record: tuple(getattr(record, name) for name in names)


def to_json(record: Any) -> Any:
    """A record of `dicomnlp.model` as JSON values: dataclasses become objects, tuples arrays, enums their text."""
    kind = type(record)
    # most of what a record holds is plain already
    if kind in _PLAIN:
        return record
    read = _reader(kind)
    if read is not None:
        return {
            name: value if type(value) in _PLAIN else to_json(value)
            for name, value in zip(_NAMES[kind], read(record), strict=True)
        }
    if isinstance(record, enum.Enum):
        return record.value
    if isinstance(record, dict):
        return {str(k): to_json(v) for k, v in record.items()}
    if isinstance(record, tuple | list):
        return [to_json(v) for v in record]
    if isinstance(record, dt.datetime):
        return utc_text(record)
    return record
