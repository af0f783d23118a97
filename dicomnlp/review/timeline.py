"""The course of a lesion: statements of several studies that are about the same one, with its sizes.

Two statements can be of one lesion if their concepts are of one family, the site of one is or contains that of the
other, and their sides don't differ. Which of several it is, is told best by a former size that the later report quotes,
then by site and size. No lesion is stated twice in a study, and what fits none begins a lesion of its own.
"""

import math
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import Field

from dicomnlp.analyse.hierarchy import expand_concept
from dicomnlp.courses import Course, CourseReport, Examination, Stated
from dicomnlp.model import Assertion, Change, Concept, Laterality, Measurement, Temporality
from dicomnlp.review.exam_names import Table, Word, Words, parts_of

FILE = Path(__file__).with_name("timeline.toml")
_OPPOSITE = {frozenset({Laterality.LEFT, Laterality.RIGHT})}


class _Family(Table):
    name: Word
    concepts: Words
    source: Word


class _Matching(Table):
    same_mm: float = Field(ge=0)
    same_mm_source: Word
    largest_ratio: float = Field(gt=1)
    largest_ratio_source: Word


class _Rules(Table):
    families: tuple[_Family, ...]
    matching: _Matching


@cache
def _rules() -> _Rules:
    return _Rules.model_validate(tomllib.loads(FILE.read_text(encoding="utf-8")))


@cache
def _families() -> dict[str, str]:
    """Concept -> its family."""
    found: dict[str, str] = {}
    for family in _rules().families:
        for concept in family.concepts:
            for below in expand_concept(concept):
                found.setdefault(below, family.name)
    return found


@dataclass(frozen=True, slots=True)
class Point:
    """What one study says of a lesion."""

    study_instance_uid: str
    study_date: str
    """YYYYMMDD, "" where nothing tells it."""
    modalities: tuple[str, ...]
    sop_instance_uid: str
    start: int
    end: int
    """Where it stands in the report."""
    text: str
    sentence: str
    assertion: Assertion
    change: Change | None
    values: tuple[float, ...]
    """Millimetres, as stated for this study."""
    prior_mm: float | None
    """The greatest length of the earlier study that is quoted."""

    @property
    def size_mm(self) -> float | None:
        """The greatest length now."""
        return max(self.values, default=None)


@dataclass(frozen=True, slots=True)
class Lesion:
    """The same thing over studies."""

    concept: Concept
    """As last called."""
    family: str
    anatomy: Concept | None
    """The most exact site that is told."""
    laterality: Laterality | None
    points: tuple[Point, ...]
    """By date; one a study."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A lesion as one study states it."""

    family: str
    stated: Stated
    point: Point


def lesions_of(course: Course) -> list[Lesion]:
    """The lesions of a patient that have a size, or of which a change is told; the latest seen first."""
    examinations = {e.study_instance_uid: e for e in course.examinations}
    by_study: defaultdict[str, list[CourseReport]] = defaultdict(list)
    for report in course.reports:
        by_study[report.study_instance_uid].append(report)
    ordered = sorted(by_study, key=lambda uid: _moment(examinations.get(uid), uid))
    lesions: list[Lesion] = []
    for uid in ordered:
        examination = examinations.get(uid) or Examination(uid, "")
        lesions = _grow(lesions, _seen_in(examination, by_study[uid]))
    told = [lesion for lesion in lesions if any(p.values or p.change is not None for p in lesion.points)]
    return sorted(told, key=lambda x: (x.points[-1].study_date, len(x.points), x.concept.id), reverse=True)


def _moment(examination: Examination | None, uid: str) -> tuple[str, str, str]:
    return (examination.study_date, examination.study_time, uid) if examination else ("", "", uid)


def _seen_in(examination: Examination, reports: Sequence[CourseReport]) -> list[_Seen]:
    """What a study's reports say of lesions, each once."""
    seen: list[_Seen] = []
    for report in reports:
        for stated in report.stated:
            family = _families().get(stated.concept.id)
            if family is None or stated.subject or not _is_told(stated):
                continue
            seen.append(_Seen(family, stated, _point(examination, report, stated)))
    kept: list[_Seen] = []
    # what has a size and an exact site first, so that shorter mentions find it
    for one in sorted(seen, key=lambda s: (not s.point.values, s.stated.anatomy is None, s.stated.start)):
        for n, other in enumerate(kept):
            if _is_same_mention(one, other):
                kept[n] = _joined(other, one)
                break
        else:
            kept.append(one)
    return kept


def _is_told(stated: Stated) -> bool:
    if stated.assertion in {Assertion.PRESENT, Assertion.POSSIBLE}:
        return True
    return stated.change is Change.RESOLVED


def _point(examination: Examination, report: CourseReport, stated: Stated) -> Point:
    now = [m for m in stated.measurements if _is_length(m) and m.temporality is Temporality.CURRENT]
    then = [m for m in stated.measurements if _is_length(m) and m.temporality is Temporality.PRIOR]
    largest = max(now, key=lambda m: max(m.values), default=None)
    return Point(
        study_instance_uid=examination.study_instance_uid,
        study_date=examination.study_date,
        modalities=examination.modalities,
        sop_instance_uid=report.sop_instance_uid,
        start=stated.start,
        end=stated.end,
        text=stated.text,
        sentence=stated.sentence,
        assertion=stated.assertion,
        change=stated.change,
        values=largest.values if largest else (),
        prior_mm=max((value for m in then for value in m.values), default=None),
    )


def _is_length(measurement: Measurement) -> bool:
    return measurement.kind == "size" and measurement.unit == "mm" and bool(measurement.values)


def _is_same_mention(one: _Seen, other: _Seen) -> bool:
    """Whether two statements of one study are of one lesion: the findings and the impression, say."""
    if one.family != other.family or not _fits_place(one.stated, other.stated.anatomy, other.stated.laterality):
        return False
    sizes = one.point.size_mm, other.point.size_mm
    return None in sizes or _same_length(*sizes)


def _joined(kept: _Seen, other: _Seen) -> _Seen:
    return replace(
        kept,
        stated=replace(
            kept.stated,
            anatomy=_finer(kept.stated.anatomy, other.stated.anatomy),
            laterality=kept.stated.laterality or other.stated.laterality,
        ),
        point=replace(
            kept.point,
            change=kept.point.change or other.point.change,
            prior_mm=kept.point.prior_mm if kept.point.prior_mm is not None else other.point.prior_mm,
        ),
    )


def _grow(lesions: Sequence[Lesion], seen: Iterable[_Seen]) -> list[Lesion]:
    """`lesions` with what the next study says of them, and what it says of others."""
    waiting = list(seen)
    pairs = [
        (score, n, m)
        for n, one in enumerate(waiting)
        for m, lesion in enumerate(lesions)
        if (score := _score(one, lesion)) is not None
    ]
    taken: set[int] = set()
    grown = dict(enumerate(lesions))
    # without a size the choice between several would be a guess
    choices = {n: sum(1 for _, k, _ in pairs if k == n) for n in range(len(waiting))}
    for _, n, m in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        one = waiting[n]
        if n in taken or grown[m] is not lesions[m]:
            continue
        if not one.point.values and one.point.prior_mm is None and choices[n] > 1 and not _at(one, lesions[m]):
            continue
        taken.add(n)
        grown[m] = replace(
            lesions[m],
            concept=one.stated.concept,
            anatomy=_finer(lesions[m].anatomy, one.stated.anatomy),
            laterality=lesions[m].laterality or one.stated.laterality,
            points=(*lesions[m].points, one.point),
        )
    new = [
        Lesion(one.stated.concept, one.family, one.stated.anatomy, one.stated.laterality, (one.point,))
        for n, one in enumerate(waiting)
        if n not in taken
    ]
    return [*grown.values(), *new]


def _at(one: _Seen, lesion: Lesion) -> bool:
    return one.stated.anatomy is not None and lesion.anatomy is not None and one.stated.anatomy.id == lesion.anatomy.id


def _score(one: _Seen, lesion: Lesion) -> float | None:
    """How well a statement fits a lesion; None: not at all."""
    if one.point.change is Change.NEW:
        return None
    if one.family != lesion.family or not _fits_place(one.stated, lesion.anatomy, lesion.laterality):
        return None
    score = 2.0 if _at(one, lesion) else 1.0 if one.stated.anatomy and lesion.anatomy else 0.0
    score += 0.5 if one.stated.concept.id == lesion.concept.id else 0.0
    last = next((p.size_mm for p in reversed(lesion.points) if p.size_mm is not None), None)
    if last is None:
        return score
    if one.point.prior_mm is not None:
        if _same_length(one.point.prior_mm, last):
            return score + 5.0
        score -= 1.0
    size = one.point.size_mm
    if size is not None and size > 0 and last > 0:
        ratio = max(size, last) / min(size, last)
        if ratio > _rules().matching.largest_ratio:
            return None
        score += 1.0 - math.log2(ratio)
    return score


def _fits_place(stated: Stated, anatomy: Concept | None, laterality: Laterality | None) -> bool:
    if frozenset({stated.laterality, laterality}) in _OPPOSITE:
        return False
    if stated.anatomy is None or anatomy is None:
        return True
    return stated.anatomy.id in parts_of(anatomy.id) or anatomy.id in parts_of(stated.anatomy.id)


def _finer(one: Concept | None, other: Concept | None) -> Concept | None:
    if one is None or other is None:
        return one or other
    return other if other.id in parts_of(one.id) else one


def _same_length(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= _rules().matching.same_mm
