"""Which report to annotate next: what teaches most first.

Each reason has a query of its own that follows an index and ends after a few reports (`_EACH`), so the queue costs the
same however much is held. What several reasons ask for comes first. The same archive and annotations give the same
queue, so that two readers are led to the same reports, and agreement can be told.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from dicomnlp.store.cursors import check_page
from dicomnlp.store.database import Database
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.schema import (
    CURRENT_ANALYSIS,
    analysis,
    finding,
    report_standing,
    sop_instance,
)
from dicomnlp.store.schema_annotations import annotation, annotation_reading
from dicomnlp.store.schema_remarks import discrepancy
from dicomnlp.store.scope import scope_of, visible

MAXIMUM_ITEMS = 100
RARE: Final = 5
"""A concept with at most so many findings in the archive is rare."""
UNCERTAIN: Final = 0.7
"""A model that gives its answer less is uncertain."""
UNLISTED: Final = "unlisted_finding"
"""Concept of what a model found and no lexicon lists."""
_EACH: Final = 4 * MAXIMUM_ITEMS
"""Rows that a reason's query gives at most."""
_NEWEST: Final = 2000
"""Objects among which reports without any reason are looked for."""


class Reason(enum.StrEnum):
    """Why a report is asked for."""

    BEGUN = "begun"
    """The reader has annotated it and not marked it as read."""
    MODELS_DISAGREE = "models_disagree"
    """Rules and model say different things of a finding."""
    SECOND_READING = "second_reading"
    """One other reader is done with it."""
    UNKNOWN_WORDING = "unknown_wording"
    """A model found something that the lexicon doesn't list."""
    CONTRADICTION = "contradiction"
    """It contradicts itself, by what was read."""
    UNCERTAIN = "uncertain"
    """The model isn't sure of a finding."""
    RARE_CONCEPT = "rare_concept"
    """It has a finding of which there are few."""
    UNREAD = "unread"
    """It is one of the newest; for where nothing else asks."""


WEIGHTS: Final = {
    Reason.BEGUN: 16.0,
    Reason.MODELS_DISAGREE: 8.0,
    Reason.SECOND_READING: 6.0,
    Reason.UNKNOWN_WORDING: 5.0,
    Reason.CONTRADICTION: 4.0,
    Reason.UNCERTAIN: 3.0,
    Reason.RARE_CONCEPT: 2.0,
    Reason.UNREAD: 0.0,
}
"""A report's score is the sum over its reasons, each once."""


@dataclass(frozen=True, slots=True)
class Why:
    """One reason, with the finding that it is about, where it is about one."""

    reason: Reason
    start: int | None = None
    end: int | None = None
    text: str | None = None
    concept: str | None = None
    assertion: str | None = None
    rules_assertion: str | None = None
    probability: float | None = None
    kind: str | None = None
    """Of the contradiction."""

    def to_json(self) -> dict[str, Any]:
        """The reason in the public form."""
        return {
            "reason": self.reason.value,
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "concept": self.concept,
            "assertion": self.assertion,
            "rules_assertion": self.rules_assertion,
            "probability": self.probability,
            "kind": self.kind,
        }


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A report that is asked for."""

    sop_instance_uid: str
    study_instance_uid: str
    study_date: str
    """YYYYMMDD, "" where none is told."""
    study_description: str
    score: float
    round: int
    """1, or 2 for one that another reader is done with."""
    why: tuple[Why, ...]

    def to_json(self) -> dict[str, Any]:
        """The item in the public form."""
        date = f"{self.study_date[:4]}-{self.study_date[4:6]}-{self.study_date[6:]}" if self.study_date else None
        return {
            "sop_instance_uid": self.sop_instance_uid,
            "study_instance_uid": self.study_instance_uid,
            "study_date": date,
            "study_description": self.study_description,
            "score": self.score,
            "round": self.round,
            "why": [why.to_json() for why in self.why],
        }


def read_queue(database: Database, reader: str, limit: int = 20) -> list[QueueItem]:
    """The reports to annotate next, what teaches most first, of two alike the one received last.

    Never one that the reader has marked as read.

    Raises
    ------
    UsageError
        `limit` isn't within 1 to `MAXIMUM_ITEMS`.
    """
    check_page(limit, MAXIMUM_ITEMS, "reports")
    found: dict[int, dict[Reason, Why]] = {}
    headers: dict[int, RowMapping] = {}
    with database.read() as connection:
        for reason, query in _QUERIES.items():
            is_last = reason is Reason.UNREAD
            if is_last and len(found) >= limit:
                continue
            for row in connection.execute(query(connection, reader)).mappings():
                if is_last and row["object_id"] in found:
                    continue
                headers[row["object_id"]] = row
                found.setdefault(row["object_id"], {}).setdefault(reason, _why(reason, row))
    scores = {i: sum(WEIGHTS[reason] for reason in reasons) for i, reasons in found.items()}
    best = sorted(found, key=lambda i: (-scores[i], -i))[:limit]
    return [_item(headers[i], scores[i], found[i]) for i in best]


def next_for(database: Database, reader: str, *, besides: str = "") -> QueueItem | None:
    """The first of the queue whose SOP Instance UID isn't `besides`; None when nothing is left to annotate."""
    return next((i for i in read_queue(database, reader, 2) if i.sop_instance_uid != besides), None)


def _item(header: RowMapping, score: float, reasons: dict[Reason, Why]) -> QueueItem:
    return QueueItem(
        header["sop_instance_uid"],
        header["study_instance_uid"],
        header["study_date"],
        header["study_description"],
        score,
        2 if Reason.SECOND_READING in reasons else 1,
        tuple(sorted(reasons.values(), key=lambda w: -WEIGHTS[w.reason])),
    )


def _why(reason: Reason, row: RowMapping) -> Why:
    if reason is Reason.CONTRADICTION:
        return Why(reason, kind=row["kind"])
    if "start_offset" not in row:
        return Why(reason)
    return Why(
        reason,
        row["start_offset"],
        row["end_offset"],
        row["text"],
        row["concept_id"],
        row["assertion"],
        row["rules_assertion"],
        row["model_probability"],
    )


# --- a query of each reason -----------------------------------------------------------------------------------------

_HEADER = (
    sop_instance.c.id.label("object_id"),
    sop_instance.c.sop_instance_uid,
    sop_instance.c.study_instance_uid,
    sop_instance.c.study_date,
    sop_instance.c.study_description,
)
_OF_FINDING = tuple(
    finding.c[name]
    for name in (
        "start_offset",
        "end_offset",
        "text",
        "concept_id",
        "assertion",
        "rules_assertion",
        "model_probability",
    )
)


def _wanted(
    connection: Connection, reader: str, table: sa.FromClause, key: sa.ColumnElement[Any], *columns: Any
) -> sa.Select[Any]:
    """Rows of `table`, whose object is `key`, of prevailing reports that the reader isn't done with."""
    # by another name: the table may be the one that is read
    held, done = sop_instance.c, annotation_reading.alias("done").c
    is_done = sa.exists().where(done.reader == reader, done.object_id == key, done.reopened_at.is_(None))
    return (
        sa.select(*_HEADER, *columns)
        .select_from(table)
        .join(sop_instance, held.id == key)
        .join(report_standing, report_standing.c.object_id == key)
        .where(
            held.is_current,
            report_standing.c.status == ReportStatus.PREVAILING.value,
            ~is_done,
            *visible(scope_of(connection)),
        )
        .limit(_EACH)
    )


def _findings(connection: Connection, reader: str, where: str) -> sa.Select[Any]:
    return _wanted(connection, reader, finding, finding.c.object_id, *_OF_FINDING).where(sa.text(where))


_IS_OVERRULED = "finding.is_current AND finding.rules_assertion <> finding.assertion"
_HAS_PROBABILITY = "finding.is_current AND finding.model_probability IS NOT NULL"
"""As their partial indexes say it."""
_BY_CONCEPT = (finding.c.assertion, finding.c.study_date, finding.c.object_id, finding.c.id)
"""The order of the index by concept, within one."""
_NEWEST_FIRST = (finding.c.study_date.desc(), finding.c.object_id.desc(), finding.c.id.desc())


def _models_disagree(connection: Connection, reader: str) -> sa.Select[Any]:
    return _findings(connection, reader, _IS_OVERRULED).order_by(*_NEWEST_FIRST)


def _uncertain(connection: Connection, reader: str) -> sa.Select[Any]:
    """The least sure first: below one half it would say something else, were it as sure as it must be to overrule."""
    columns = finding.c
    return (
        _findings(connection, reader, _HAS_PROBABILITY)
        .where(columns.model_probability < UNCERTAIN)
        .order_by(columns.model_probability, columns.study_date, columns.object_id, columns.id)
    )


def _unknown_wording(connection: Connection, reader: str) -> sa.Select[Any]:
    return (
        _findings(connection, reader, "finding.is_current")
        .where(finding.c.concept_id == UNLISTED)
        .order_by(*(column.desc() for column in _BY_CONCEPT))
    )


def _contradiction(connection: Connection, reader: str) -> sa.Select[Any]:
    columns = discrepancy.c
    read = sa.join(discrepancy, analysis, analysis.c.id == columns.analysis_id)
    return (
        _wanted(connection, reader, read, analysis.c.object_id, columns.kind)
        .where(CURRENT_ANALYSIS)
        .order_by(columns.study_date.desc(), columns.id.desc())
    )


def _rare_concept(connection: Connection, reader: str) -> sa.Select[Any]:
    """Findings of rare concepts. Which these are is told by one look into the index for each concept there is."""
    rare = connection.scalars(_RARE, {"rare": RARE, "concepts": _EACH}).all()
    return (
        _findings(connection, reader, "finding.is_current")
        .where(finding.c.concept_id.in_(rare))
        .order_by(finding.c.concept_id, *_BY_CONCEPT)
    )


_RARE = sa.text(
    """
    WITH RECURSIVE held (id) AS (
        SELECT min(concept_id) FROM finding WHERE is_current
        UNION ALL
        SELECT (SELECT min(finding.concept_id) FROM finding WHERE is_current AND finding.concept_id > held.id)
        FROM held WHERE held.id IS NOT NULL
    )
    SELECT id FROM (
        SELECT held.id AS id, (
            SELECT count(*) FROM (
                SELECT 1 FROM finding WHERE is_current AND finding.concept_id = held.id LIMIT :rare + 1
            ) AS capped
        ) AS number
        FROM held WHERE held.id IS NOT NULL
    ) AS counted
    WHERE number <= :rare ORDER BY number, id LIMIT :concepts
    """
)


def _second_reading(connection: Connection, reader: str) -> sa.Select[Any]:
    """Reports with one reader, who isn't this one, the longest done first."""
    done = annotation_reading.c
    other = annotation_reading.alias("other")
    is_second = sa.exists().where(
        other.c.object_id == done.object_id, other.c.reader != done.reader, other.c.reopened_at.is_(None)
    )
    return (
        _wanted(connection, reader, annotation_reading, done.object_id)
        .where(sa.text("annotation_reading.reopened_at IS NULL"), ~is_second)
        .order_by(done.id)
    )


def _begun(connection: Connection, reader: str) -> sa.Select[Any]:
    columns = annotation.c
    return (
        _wanted(connection, reader, annotation, columns.object_id)
        .where(columns.annotated_by == reader, columns.undone_at.is_(None), ~columns.adjudicates)
        .distinct()
        .order_by(sop_instance.c.id)
    )


def _unread(connection: Connection, reader: str) -> sa.Select[Any]:
    newest = connection.scalar(sa.select(sa.func.max(sop_instance.c.id))) or 0
    held = sop_instance.c
    return (
        _wanted(connection, reader, analysis, analysis.c.object_id)
        .where(CURRENT_ANALYSIS, held.id > newest - _NEWEST, analysis.c.language.is_not(None))
        .order_by(held.id.desc())
    )


_QUERIES: dict[Reason, Callable[[Connection, str], sa.Select[Any]]] = {
    Reason.BEGUN: _begun,
    Reason.MODELS_DISAGREE: _models_disagree,
    Reason.SECOND_READING: _second_reading,
    Reason.UNKNOWN_WORDING: _unknown_wording,
    Reason.CONTRADICTION: _contradiction,
    Reason.UNCERTAIN: _uncertain,
    Reason.RARE_CONCEPT: _rare_concept,
    Reason.UNREAD: _unread,
}
