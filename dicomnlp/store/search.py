"""Findings over all studies: what counts now, newest study first, page by page.

A page costs what it holds, not what there is: each combination of concept and assertion is read from an index that is
in the order of the answer, and the combinations are merged.
"""

import base64
import binascii
import datetime as dt
import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import UsageError
from dicomnlp.model import Assertion, Change, Laterality, SectionName, Severity
from dicomnlp.store.answers import StoredFinding
from dicomnlp.store.database import Database
from dicomnlp.store.fulltext import objects_with
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.queries import findings_by_id
from dicomnlp.store.schema import finding, image, report_standing, sop_instance
from dicomnlp.store.words import phrases_of

MAXIMUM_PAGE = 1000
STATED = (Assertion.PRESENT, Assertion.POSSIBLE, Assertion.HISTORICAL)
"""What `Filters.without` excludes: a patient of whom any report says that it is, may be or was there."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a finding must be; of several fields all must fit, of a field with several values one."""

    concepts: tuple[str, ...] = ()
    """Concept ids, descendants included by who asks."""
    assertions: tuple[Assertion, ...] = ()
    laterality: Laterality | None = None
    anatomy: tuple[str, ...] = ()
    """Ids of sites, parts included by who asks."""
    minimum_size: float | None = None
    """Millimetres: the greatest length that is stated of it now."""
    maximum_size: float | None = None
    severity: Severity | None = None
    change: Change | None = None
    section: SectionName | None = None
    critical: bool | None = None
    language: str | None = None
    modality: str | None = None
    """DICOM modality of the report object, or of an image of its study that was seen."""
    body_part: str | None = None
    """BodyPartExamined (0018,0015), without case."""
    patient_sex: str | None = None
    minimum_age: float | None = None
    """Years at the date of the study."""
    maximum_age: float | None = None
    station: str | None = None
    institution: str | None = None
    calling_ae_title: str | None = None
    date_from: dt.date | None = None
    """Of the study; both ends belong to the range."""
    date_to: dt.date | None = None
    text: str = ""
    """Words and quoted phrases that the report's narrative must have, see `words.phrases_of`."""
    patient_id: str | None = None
    study_instance_uid: str | None = None
    without: tuple[str, ...] = ()
    """Concept ids: patients of whom no prevailing report states any of these, see `STATED`."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of an answer."""

    findings: list[StoredFinding]
    next: str | None
    """What the next page is asked for with; None when this is the last."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many findings fit, and in how many reports, studies and patients they are."""

    findings: int
    reports: int
    studies: int
    patients: int


_Key = tuple[str, int]
"""Study date and id of a finding: the order of the answer, backwards."""

_F, _S, _R = finding.c, sop_instance.c, report_standing.c


def search_findings(database: Database, filters: Filters, *, after: str | None = None, limit: int = 100) -> Page:
    """One page of the findings of prevailing reports that fit, newest study first.

    Parameters
    ----------
    after
        `Page.next` of the page before. What has come in between is not seen, what has gone is left out; nothing comes
        twice.
    limit
        1 to `MAXIMUM_PAGE`.

    Raises
    ------
    UsageError
        `after` is none of ours.
    """
    if not 1 <= limit <= MAXIMUM_PAGE:
        raise UsageError(f"a page holds 1 to {MAXIMUM_PAGE} findings")
    with database.read() as connection:
        keys = _keys(connection, filters, _decode(after) if after else None, limit + 1)
        found = findings_by_id(connection, [finding_id for _, finding_id in keys[:limit]])
    return Page(found, _encode(keys[limit - 1]) if len(keys) > limit else None)


def iterate_findings(database: Database, filters: Filters, after: str | None = None) -> Iterator[Page]:
    """All pages of an answer, each read by itself: memory stays that of one, and no writer waits for the reader."""
    page = search_findings(database, filters, after=after, limit=MAXIMUM_PAGE)
    yield page
    while page.next:
        page = search_findings(database, filters, after=page.next, limit=MAXIMUM_PAGE)
        yield page


def count_findings(database: Database, filters: Filters) -> Counts:
    """How many fit. Unlike a page this costs what there is."""
    patient = _S.patient_id + sa.literal("\n") + _S.issuer_of_patient_id
    with database.read() as connection:
        row = connection.execute(
            _joined(
                connection,
                filters,
                sa.func.count(),
                sa.func.count(sa.distinct(_F.object_id)),
                sa.func.count(sa.distinct(_F.study_instance_uid)),
                sa.func.count(sa.distinct(sa.case((_S.patient_id != "", patient)))),
            )
        ).one()
    return Counts(*row)


def count_by(database: Database, filters: Filters, field: str, limit: int = 50) -> list[tuple[str, int]]:
    """The commonest values of a field among the findings that fit, with their numbers.

    Parameters
    ----------
    field
        One of `FACETS`.
    """
    column = FACETS[field]
    with database.read() as connection:
        rows = connection.execute(
            _joined(connection, filters, column, sa.func.count())
            .where(column.is_not(None), column != "")
            .group_by(column)
            .order_by(sa.func.count().desc(), column)
            .limit(limit)
        )
        return [(str(value), number) for value, number in rows]


FACETS: dict[str, sa.ColumnElement[Any]] = {
    "concept": _F.concept_id,
    "assertion": _F.assertion,
    "laterality": _F.laterality,
    "anatomy": _F.anatomy_id,
    "severity": _F.severity,
    "change": _F.change,
    "section": _F.section,
    "language": _F.language,
    "body_part": _S.body_part_examined,
    "patient_sex": _S.patient_sex,
    "station": _S.station_name,
    "institution": _S.institution_name,
}


def _keys(connection: Connection, filters: Filters, after: _Key | None, number: int) -> list[_Key]:
    """The first `number` keys after `after`, merged from one ordered query for each way to fit."""
    beyond = [] if after is None else [sa.tuple_(_F.study_date, _F.id) < sa.tuple_(sa.literal(after[0]), after[1])]
    queries = [
        _joined(connection, filters, _F.study_date, _F.id, apart=apart)
        .where(*beyond)
        .order_by(_F.study_date.desc(), _F.id.desc())
        .limit(number)
        for apart in _ways(filters)
    ]
    found: list[_Key] = []
    for query in queries:
        rows = [(row.study_date, row.id) for row in connection.execute(query)]
        found = list(itertools.islice(heapq.merge(found, rows, reverse=True), number))
    return found


def _ways(filters: Filters) -> Iterator[list[sa.ColumnElement[bool]]]:
    """Conditions under each of which an index is in the order of the answer; none fits two of them."""
    if filters.concepts:
        for concept in sorted(set(filters.concepts)):
            for assertion in sorted(set(filters.assertions) or set(Assertion)):
                yield [_F.concept_id == concept, _F.assertion == assertion.value]
    elif filters.anatomy:
        for site in sorted(set(filters.anatomy)):
            yield [_F.anatomy_id == site]
    else:
        yield []


def _joined(
    connection: Connection,
    filters: Filters,
    *columns: Any,
    apart: Sequence[sa.ColumnElement[bool]] | None = None,
) -> sa.Select[Any]:
    """`columns` of the findings that fit; `apart` stands for the conditions of concept, assertion and site."""
    query = (
        sa.select(*columns)
        .select_from(finding)
        .join(sop_instance, _S.id == _F.object_id)
        .join(report_standing, _R.object_id == _F.object_id)
        .where(_F.is_current, _S.is_current, _R.status == ReportStatus.PREVAILING.value)
    )
    if apart is None:
        chosen = [
            column.in_(sorted(set(values)))
            for column, values in ((_F.concept_id, filters.concepts), (_F.anatomy_id, filters.anatomy))
            if values
        ]
    else:
        chosen = [*apart, *([_F.anatomy_id.in_(sorted(set(filters.anatomy)))] if filters.anatomy else [])]
    if filters.assertions:
        chosen.append(_F.assertion.in_([a.value for a in filters.assertions]))
    return query.where(*chosen, *_of_findings(filters), *_of_reports(connection, filters))


def _of_findings(filters: Filters) -> Iterator[sa.ColumnElement[bool]]:
    equal = {
        _F.laterality: filters.laterality,
        _F.severity: filters.severity,
        _F.change: filters.change,
        _F.section: filters.section,
        _F.critical: filters.critical,
        _F.language: filters.language,
        _F.study_instance_uid: filters.study_instance_uid,
    }
    yield from (column == value for column, value in equal.items() if value is not None)
    if filters.minimum_size is not None:
        yield _F.size_mm >= filters.minimum_size
    if filters.maximum_size is not None:
        yield _F.size_mm <= filters.maximum_size
    if filters.date_from is not None:
        yield _F.study_date >= f"{filters.date_from:%Y%m%d}"
    if filters.date_to is not None:
        yield (_F.study_date <= f"{filters.date_to:%Y%m%d}") & (_F.study_date != "")


def _of_reports(connection: Connection, filters: Filters) -> Iterator[sa.ColumnElement[bool]]:
    equal = {
        _S.patient_sex: filters.patient_sex,
        _S.station_name: filters.station,
        _S.institution_name: filters.institution,
        _S.calling_ae_title: filters.calling_ae_title,
        _S.patient_id: filters.patient_id,
    }
    yield from (column == value for column, value in equal.items() if value is not None)
    if filters.body_part is not None:
        yield sa.func.upper(_S.body_part_examined) == filters.body_part.upper()
    if filters.modality is not None:
        seen = sa.exists().where(
            image.c.study_instance_uid == _S.study_instance_uid, image.c.modality == filters.modality
        )
        yield sa.or_(_S.modality == filters.modality, seen)
    if filters.minimum_age is not None:
        yield _age() >= filters.minimum_age
    if filters.maximum_age is not None:
        yield _age() < filters.maximum_age + 1
    if filters.text:
        if not phrases_of(filters.text):
            yield sa.false()
        else:
            yield _F.object_id.in_(objects_with(connection, filters.text))
    if filters.without:
        yield _states_none_of(filters.without)


def _age() -> sa.ColumnElement[float]:
    """Years at the study's date; NULL, which fits no range, where either date is missing or not one."""
    born, at = _S.patient_birth_date, _F.study_date

    def number(date: sa.ColumnElement[str]) -> sa.ColumnElement[int]:
        return sa.cast(date, sa.Integer)

    known = (sa.func.length(born) == 8) & (sa.func.length(at) == 8) & ~born.regexp_match("[^0-9]")
    # YYYYMMDD as numbers: the difference of two of them, by ten thousand, is the age in years
    return sa.case((known, (number(at) - number(born)) / 10000.0))


def _states_none_of(concepts: Sequence[str]) -> sa.ColumnElement[bool]:
    """No prevailing report of the patient states any of `concepts`; reports without a patient's id stand alone."""
    other, of, standing = finding.alias(), sop_instance.alias(), report_standing.alias()
    same = sa.or_(
        of.c.id == _S.id,
        (_S.patient_id != "")
        & (of.c.patient_id == _S.patient_id)
        & (of.c.issuer_of_patient_id == _S.issuer_of_patient_id),
    )
    stated = (
        sa.exists()
        .select_from(of)
        .join(other, other.c.object_id == of.c.id)
        .join(standing, standing.c.object_id == of.c.id)
        .where(
            same,
            of.c.is_current,
            other.c.is_current,
            standing.c.status == ReportStatus.PREVAILING.value,
            other.c.concept_id.in_(sorted(set(concepts))),
            other.c.assertion.in_([a.value for a in STATED]),
        )
        .correlate(sop_instance)
    )
    return ~stated


def _encode(key: _Key) -> str:
    return base64.urlsafe_b64encode(f"{key[0]}:{key[1]}".encode()).decode().rstrip("=")


def _decode(cursor: str) -> _Key:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        date, _, number = text.partition(":")
        if date and not (len(date) == 8 and date.isdigit()):
            raise ValueError
        return date, int(number)
    except (ValueError, binascii.Error):
        raise UsageError("this is no place in an answer; ask without it to begin anew") from None
