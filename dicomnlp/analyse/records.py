"""Frozen records, made as fast as others.

A frozen dataclass sets each of its fields by a call of `object.__setattr__`, which for a finding is most of its cost;
a report has dozens of them. Here a twin that isn't frozen takes the fields in the same slots, and then becomes the
record: what comes out is one like any other.
"""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from dicomnlp.model import Cue, Finding, Measurement

_Record = TypeVar("_Record")


def maker(record: type[_Record]) -> Callable[..., _Record]:
    """What makes a `record`, a dataclass with slots, of the values of all its fields in their order."""
    names = [(field.name, field.type) for field in dataclasses.fields(record)]  # type: ignore[arg-type]
    twin = dataclasses.make_dataclass(record.__name__, names, slots=True)

    def make(*values: object) -> _Record:
        made: _Record = twin(*values)
        made.__class__ = record
        return made

    return make


finding = maker(Finding)
measurement = maker(Measurement)
cue = maker(Cue)


def moved(one: Measurement, by: int) -> Measurement:
    """`one`, `by` characters on."""
    return measurement(
        one.values, one.unit, one.kind, one.temporality, one.text, one.start + by, one.end + by, one.comparator
    )


def moved_finding(one: Finding, by: int, item_path: str | None, subject: str, observer: str) -> Finding:
    """`one`, `by` characters on, said where and of whom the other arguments tell."""
    return finding(
        one.concept,
        one.text,
        one.start + by,
        one.end + by,
        one.sentence,
        one.section,
        one.assertion,
        one.is_negated,
        one.is_uncertain,
        one.is_historical,
        one.is_hypothetical,
        one.is_family,
        tuple([cue(c.text, c.start + by, c.end + by, c.category) for c in one.cues]) if one.cues else (),
        one.anatomy,
        one.laterality,
        one.severity,
        one.change,
        tuple([moved(m, by) for m in one.measurements]) if one.measurements else (),
        one.critical,
        item_path,
        subject,
        observer,
        one.acuity,
        one.count,
        one.levels,
        one.image_references,
        one.language,
        one.rules_assertion,
        one.model_probability,
    )
