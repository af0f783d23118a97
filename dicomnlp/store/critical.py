"""Reports that may hold critical results, with what is needed to judge them; and who answers for them.

The lexicon's flag finds the reports; which of their findings count is judged above (`review.critical`).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import Communication, Finding, utc_text
from dicomnlp.store.batches import batches
from dicomnlp.store.cursors import decode
from dicomnlp.store.database import Database
from dicomnlp.store.queries import findings_of_objects
from dicomnlp.store.records import from_json
from dicomnlp.store.schema import CURRENT_ANALYSIS, analysis, finding, report_profile, report_standing, sop_instance
from dicomnlp.store.schema_delivery import acknowledgement
from dicomnlp.store.scope import visible, visible_objects

MAXIMUM_WORDS: Final = 500
"""Characters of a recipient, and of a note."""

_CURRENT = sa.text("finding.is_current AND finding.critical")
"""As the partial index says it."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """That somebody answers for a critical result: it was told, or need not be."""

    concept_id: str
    acknowledged_at: dt.datetime
    acknowledged_by: str
    recipient: str
    note: str

    def to_json(self) -> dict[str, Any]:
        """In the public form."""
        return {
            "concept": self.concept_id,
            "acknowledged_at": utc_text(self.acknowledged_at),
            "acknowledged_by": self.acknowledged_by,
            "recipient": self.recipient,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class CriticalReport:
    """A prevailing report with a finding that the lexicon calls actionable, present or possible."""

    object_id: int
    study_instance_uid: str
    sop_instance_uid: str
    study_date: str
    """YYYYMMDD, "" where none is told."""
    received_at: dt.datetime
    patient_id: str
    patient_sex: str
    patient_age: int | None
    accession_number: str
    study_description: str
    modality: str
    institution_name: str
    calling_ae_title: str
    is_preliminary: bool
    findings: tuple[Finding, ...]
    """All of the report."""
    communications: tuple[Communication, ...]
    acknowledgements: tuple[Acknowledgement, ...]


@dataclass(frozen=True, slots=True)
class CriticalFilters:
    """Which reports; all fields that are given must fit."""

    date_from: dt.date | None = None
    """Of the study; both ends belong to the range."""
    date_to: dt.date | None = None
    study_instance_uid: str | None = None


Place = tuple[str, int]
"""Study date and object, by which the list is ordered: newest study first."""


def place_of(cursor: str) -> Place:
    """The place that a page begins after; raises UsageError as `cursors.decode`."""
    date, number = decode(cursor, "date", "number")
    return date, int(number)


def critical_reports(
    database: Database, filters: CriticalFilters, after: Place | None, limit: int
) -> list[CriticalReport]:
    """The next `limit` reports in their order, of those that fit; fewer when these are all."""
    columns = finding.c
    query = sa.select(columns.study_date, columns.object_id).where(_CURRENT).distinct()
    query = query.where(*visible_objects(database.scope, columns.object_id))
    if after is not None:
        query = query.where(sa.tuple_(columns.study_date, columns.object_id) < sa.tuple_(*map(sa.literal, after)))
    if filters.date_from is not None:
        query = query.where(columns.study_date >= f"{filters.date_from:%Y%m%d}")
    if filters.date_to is not None:
        query = query.where(columns.study_date <= f"{filters.date_to:%Y%m%d}", columns.study_date > "")
    if filters.study_instance_uid is not None:
        query = query.where(columns.study_instance_uid == filters.study_instance_uid)
    query = query.order_by(columns.study_date.desc(), columns.object_id.desc()).limit(limit)
    with database.read() as connection:
        rows = connection.execute(query).all()
        return _read(connection, [row.object_id for row in rows])


def critical_reports_of(database: Database, object_ids: Collection[int]) -> list[CriticalReport]:
    """Those of these objects that are such reports now."""
    found: list[int] = []
    with database.read() as connection:
        for batch in batches(object_ids):
            held = sa.select(finding.c.object_id).where(_CURRENT, finding.c.object_id.in_(batch)).distinct()
            found += connection.scalars(held.where(*visible_objects(database.scope, finding.c.object_id)))
        return _read(connection, sorted(found))


def critical_report(database: Database, sop_instance_uid: str) -> CriticalReport:
    """The one of a SOP instance.

    Raises
    ------
    NotFoundError
        There is no such report, or it has no such finding, or doesn't prevail.
    """
    columns = sop_instance.c
    query = sa.select(columns.id).where(
        columns.sop_instance_uid == sop_instance_uid, columns.is_current, *visible(database.scope)
    )
    with database.read() as connection:
        ids = list(connection.scalars(query))
    found = critical_reports_of(database, ids)
    if not found:
        raise NotFoundError("no report that counts holds a critical result under this SOP Instance UID")
    return found[0]


def _read(connection: Connection, object_ids: Sequence[int]) -> list[CriticalReport]:
    """The reports of these objects, in this order."""
    headers: dict[int, RowMapping] = {}
    communications: dict[int, Any] = {}
    findings: defaultdict[str, list[Finding]] = defaultdict(list)
    acknowledged: defaultdict[str, list[Acknowledgement]] = defaultdict(list)
    held, profile, told = sop_instance.c, report_profile.c, acknowledgement.c
    for batch in batches(object_ids):
        query = (
            sa.select(
                *(held[name] for name in _HELD),
                profile.patient_age,
                profile.modality.label("modality_of_study"),
                report_standing.c.is_preliminary,
            )
            .join_from(sop_instance, report_standing, report_standing.c.object_id == held.id)
            .outerjoin(report_profile, profile.object_id == held.id)
            .where(held.id.in_(batch))
        )
        headers |= {row["id"]: row for row in connection.execute(query).mappings()}
        query = sa.select(analysis.c.object_id, analysis.c.communications).where(
            analysis.c.object_id.in_(batch), CURRENT_ANALYSIS
        )
        communications |= {row.object_id: row.communications for row in connection.execute(query)}
    for stored in findings_of_objects(connection, object_ids):
        findings[stored.sop_instance_uid].append(stored.finding)
    for batch in batches([row["sop_instance_uid"] for row in headers.values()]):
        query = sa.select(acknowledgement).where(told.sop_instance_uid.in_(batch), told.undone_at.is_(None))
        for row in connection.execute(query.order_by(told.id)):
            acknowledged[row.sop_instance_uid].append(_acknowledgement(row))
    return [
        CriticalReport(
            object_id=i,
            **{name: headers[i][name] for name in _HELD if name not in {"id", "modality"}},
            modality=(headers[i]["modality_of_study"] or headers[i]["modality"] or "").replace("\\", " "),
            patient_age=headers[i]["patient_age"],
            is_preliminary=bool(headers[i]["is_preliminary"]),
            findings=tuple(findings[headers[i]["sop_instance_uid"]]),
            communications=tuple(from_json(Communication, c) for c in communications.get(i) or ()),
            acknowledgements=tuple(acknowledged[headers[i]["sop_instance_uid"]]),
        )
        for i in object_ids
        if i in headers
    ]


_HELD = (
    "id",
    "study_instance_uid",
    "sop_instance_uid",
    "study_date",
    "received_at",
    "patient_id",
    "patient_sex",
    "accession_number",
    "study_description",
    "modality",
    "institution_name",
    "calling_ae_title",
)


def _acknowledgement(row: Any) -> Acknowledgement:
    return Acknowledgement(row.concept_id, row.acknowledged_at, row.acknowledged_by, row.recipient, row.note)


def acknowledge(
    database: Database, sop_instance_uid: str, concept_ids: Collection[str], *, by: str, recipient: str, note: str
) -> list[Acknowledgement]:
    """Record that somebody answers for these results of a report; those that are acknowledged already stay as they are.

    Parameters
    ----------
    by
        Name of who says so.
    recipient, note
        Whom it was told to, and what else there is to say.

    Returns
    -------
    list of Acknowledgement
        All that are in force for the report.

    Raises
    ------
    UsageError
        The words are too long.
    """
    if max(len(recipient), len(note)) > MAXIMUM_WORDS:
        raise UsageError(f"recipient and note have at most {MAXIMUM_WORDS} characters")
    told = acknowledgement.c

    def work(connection: Connection) -> list[Acknowledgement]:
        active = (told.sop_instance_uid == sop_instance_uid, told.undone_at.is_(None))
        held = set(connection.scalars(sa.select(told.concept_id).where(*active)))
        new = sorted(set(concept_ids) - held)
        if new:
            shared = {
                "sop_instance_uid": sop_instance_uid,
                "acknowledged_at": dt.datetime.now(dt.UTC),
                "acknowledged_by": by,
                "recipient": recipient.strip(),
                "note": note.strip(),
            }
            connection.execute(sa.insert(acknowledgement), [{**shared, "concept_id": c} for c in new])
        rows = connection.execute(sa.select(acknowledgement).where(*active).order_by(told.id))
        return [_acknowledgement(row) for row in rows]

    return database.transact(work)


def undo_acknowledgement(database: Database, sop_instance_uid: str, *, by: str) -> int:
    """Take back what is acknowledged of a report; how many results are open again.

    Raises
    ------
    NotFoundError
        Nothing is.
    """
    told = acknowledgement.c

    def work(connection: Connection) -> int:
        done = connection.execute(
            sa.update(acknowledgement)
            .where(told.sop_instance_uid == sop_instance_uid, told.undone_at.is_(None))
            .values(undone_at=dt.datetime.now(dt.UTC), undone_by=by)
        )
        return int(done.rowcount)

    count = database.transact(work)
    if not count:
        raise NotFoundError("nothing is acknowledged of this report")
    return count
