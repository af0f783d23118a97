"""What remarks between documents are made of: preliminary reports with the final ones, reports with sided images."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import Analysis, Report
from dicomnlp.remarks import Discrepancy, DiscrepancyKind
from dicomnlp.store.batches import batches
from dicomnlp.store.database import Database
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.queries import findings_of_analysis, reports_by_id
from dicomnlp.store.remarks import discrepancy_row, load_discrepancies
from dicomnlp.store.schema import CURRENT_ANALYSIS, analysis, report_standing, sop_instance
from dicomnlp.store.schema_follow_up import image_study
from dicomnlp.store.schema_remarks import discrepancy
from dicomnlp.store.searchable import date_of

OF_IMAGES = "images"
"""The rule of discrepancies with headers of images."""


@dataclass(frozen=True, slots=True)
class ReadReport:
    """A report with its current analysis, findings included."""

    object_id: int
    analysis_id: int
    study_date: str
    report: Report
    analysis: Analysis


@dataclass(frozen=True, slots=True)
class Pair:
    """A preliminary report, and the final one that took its place."""

    preliminary: ReadReport
    final: ReadReport


@dataclass(frozen=True, slots=True)
class SidedStudy:
    """A report, and the one side that all images of its study that name one are of."""

    read: ReadReport
    laterality: str
    bodies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """All that is to be compared in some studies."""

    pairs: list[Pair]
    sided: list[SidedStudy]


def read_between(database: Database, study_instance_uids: Collection[str]) -> Between:
    """What is to be compared in these studies; nothing of most."""
    with database.read() as connection:
        found_pairs = _pairs(connection, study_instance_uids)
        found_sides = _sides(connection, study_instance_uids)
        objects = {i for pair in found_pairs for i in pair} | {i for i, _, _ in found_sides}
        read = _read(connection, sorted(objects))
    return Between(
        [Pair(read[a], read[b]) for a, b in found_pairs if a in read and b in read],
        [SidedStudy(read[i], side, bodies) for i, side, bodies in found_sides if i in read],
    )


def write_between(
    database: Database,
    study_instance_uids: Collection[str],
    found: Iterable[tuple[int, str, int | None, Discrepancy]],
) -> None:
    """Replace the discrepancies between documents of these studies.

    Parameters
    ----------
    found
        Analysis, date of its study, the preliminary report's object if there is one, and the discrepancy.
    """
    rows = [(*discrepancy_row(d), key, date, other) for key, date, other, d in found]
    with database.read() as connection:
        before = [i for batch in batches(study_instance_uids) for i in connection.scalars(_held(batch))]
    # of most studies nothing is told, and nothing was
    if not rows and not before:
        return

    def work(connection: Connection) -> None:
        for batch in batches(study_instance_uids):
            connection.execute(sa.delete(discrepancy).where(discrepancy.c.id.in_(_held(batch))))
        # an analysis may have been replaced meanwhile: its study is then looked at again
        held = {
            i
            for batch in batches({row[4] for row in rows})
            for i in connection.scalars(sa.select(analysis.c.id).where(analysis.c.id.in_(batch)))
        }
        load_discrepancies(connection, [row for row in rows if row[4] in held])

    database.transact(work)


def _held(study_instance_uids: Collection[str]) -> sa.Select[tuple[int]]:
    """Discrepancies between documents of these studies."""
    between = sa.or_(
        discrepancy.c.kind == DiscrepancyKind.PRELIMINARY_FINAL.value,
        sa.and_(discrepancy.c.kind == DiscrepancyKind.LATERALITY_HEADER.value, discrepancy.c.rule == OF_IMAGES),
    )
    return (
        sa.select(discrepancy.c.id)
        .join_from(discrepancy, analysis, analysis.c.id == discrepancy.c.analysis_id)
        .join(sop_instance, sop_instance.c.id == analysis.c.object_id)
        .where(sop_instance.c.study_instance_uid.in_(study_instance_uids), between)
    )


def _pairs(connection: Connection, studies: Collection[str]) -> list[tuple[int, int]]:
    """(object of a preliminary report, object of what took its place)."""
    standing, later = report_standing.c, sop_instance.alias()
    query = (
        sa.select(standing.object_id, later.c.id)
        .join_from(report_standing, later, later.c.sop_instance_uid == standing.superseded_by)
        .where(standing.is_preliminary, standing.status == ReportStatus.SUPERSEDED.value, later.c.is_current)
        .order_by(standing.object_id)
    )
    return [
        (row[0], row[1])
        for batch in batches(studies)
        for row in connection.execute(query.where(standing.study_instance_uid.in_(batch)))
    ]


def _sides(connection: Connection, studies: Collection[str]) -> list[tuple[int, str, tuple[str, ...]]]:
    """(object of a prevailing report, side of its study's images, body parts that they name)."""
    standing, sided = report_standing.c, image_study.c
    query = (
        sa.select(standing.object_id, sided.lateralities, sided.body_parts_examined)
        .join_from(image_study, report_standing, standing.study_instance_uid == sided.study_instance_uid)
        .where(standing.status == ReportStatus.PREVAILING.value, sided.lateralities.in_(["L", "R"]))
        .order_by(standing.object_id)
    )
    return [
        (row[0], row[1], tuple(row[2].split("\\")))
        for batch in batches(studies)
        for row in connection.execute(query.where(sided.study_instance_uid.in_(batch)))
    ]


def _read(connection: Connection, object_ids: list[int]) -> dict[int, ReadReport]:
    """Those of the objects that have a current analysis."""
    if not object_ids:
        return {}
    current: dict[int, Any] = {
        row.object_id: row
        for batch in batches(object_ids)
        for row in connection.execute(
            sa.select(
                analysis.c.id,
                analysis.c.object_id,
                sop_instance.c.study_date,
                sop_instance.c.content_date,
            )
            .join_from(analysis, sop_instance, sop_instance.c.id == analysis.c.object_id)
            .where(analysis.c.object_id.in_(batch), CURRENT_ANALYSIS)
        )
    }
    read: dict[int, ReadReport] = {}
    for stored in reports_by_id(connection, sorted(current)):
        if stored.report is None or stored.analysis is None:
            continue
        row = current[stored.object_id]
        findings = tuple(f.finding for f in findings_of_analysis(connection, row.id))
        read[stored.object_id] = ReadReport(
            stored.object_id, row.id, date_of(row), stored.report, _with(stored.analysis, findings)
        )
    return read


def _with(stored: Analysis, findings: tuple[Any, ...]) -> Analysis:
    return Analysis(
        language=stored.language,
        pipeline=stored.pipeline,
        sections=stored.sections,
        findings=findings,
        measurements=stored.measurements,
        recommendations=stored.recommendations,
        scores=stored.scores,
        communications=stored.communications,
        demographics=stored.demographics,
    )
