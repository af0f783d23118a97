"""How many findings fit a search, and what they are: counted over all that fit, so they cost what there is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.store.database import Database
from dicomnlp.store.patients import any_merged, merged_families
from dicomnlp.store.schema import image, report_profile, sop_instance
from dicomnlp.store.search_conditions import NOT_IMAGES, F, P, S, few_reports, select_findings, unindexed
from dicomnlp.store.search_filters import Filters


@dataclass(frozen=True, slots=True)
class Counts:
    """How many findings fit, and in how many reports, studies and patients they are."""

    findings: int
    reports: int
    studies: int
    patients: int
    """Those whose identifier is known; merged ones are one."""


OF_FINDINGS = {
    "concept": (F.concept_id, "concepts"),
    "assertion": (F.assertion, "assertions"),
    "laterality": (F.laterality, "laterality"),
    "anatomy": (F.anatomy_id, "anatomy"),
    "severity": (F.severity, "severity"),
    "change": (F.change, "change"),
    "section": (F.section, "section"),
    "language": (F.language, "language"),
}
"""Facets of findings: column, and field of `Filters`."""
OF_REPORTS = {
    "modality": (P.modality, "modality"),
    "body_part": (P.body_part_examined, "body_part"),
    "sex": (P.patient_sex, "patient_sex"),
    "station": (P.station_name, "station"),
    "institution": (P.institution_name, "institution"),
    "calling_ae_title": (P.calling_ae_title, "calling_ae_title"),
}
"""Facets of reports; each finding counts with what its report is."""
FACETS = (*OF_FINDINGS, *OF_REPORTS)
_MANY_VALUES = ("concept", "anatomy")


def count_findings(database: Database, filters: Filters) -> Counts:
    """How many fit. Unlike a page this costs what there is."""
    with database.read() as connection:
        by_report = _by_report(connection, filters)
        patient: sa.ColumnElement[str] = S.patient_id
        source = by_report.join(sop_instance, S.id == by_report.c.object_id)
        if any_merged(connection):
            family = merged_families().alias("family")
            source = source.outerjoin(
                family,
                (family.c.patient_id == S.patient_id) & (family.c.issuer_of_patient_id == S.issuer_of_patient_id),
            )
            patient = sa.func.coalesce(family.c.current, S.patient_id)
        known = sa.case((S.patient_id != "", patient + "\n" + S.issuer_of_patient_id))
        row = connection.execute(
            sa.select(
                sa.func.coalesce(sa.func.sum(by_report.c.findings), 0),
                sa.func.count(),
                sa.func.count(sa.distinct(S.study_instance_uid)),
                sa.func.count(sa.distinct(known)),
            ).select_from(source)
        ).one()
    return Counts(*(int(value) for value in row))


def facets(
    database: Database, filters: Filters, names: Sequence[str] = FACETS, limit: int = 50
) -> dict[str, list[tuple[str, int]]]:
    """The commonest values of fields among the findings that fit, with their numbers, the commonest first.

    Each field is counted without its own filter, so that one sees what other values of it would find.

    Parameters
    ----------
    names
        Of `FACETS`.
    limit
        Values a field at most.
    """
    unfiltered = Filters()
    alone: list[tuple[str, ...]] = []
    shared: list[str] = []
    for name in names:
        field = (OF_FINDINGS | OF_REPORTS)[name][1]
        if name in _MANY_VALUES or getattr(filters, field) != getattr(unfiltered, field):
            alone.append((name,))
        else:
            shared.append(name)
    # what has few values is counted together, in one reading of the findings, and one of the reports
    together = [tuple(n for n in shared if n in table) for table in (OF_FINDINGS, OF_REPORTS)]
    counted: dict[str, Counter[str]] = {}
    with database.read() as connection:
        for group in filter(None, [*alone, *together]):
            counted |= _count_by(connection, filters, group)
    return {name: sorted(counted[name].items(), key=lambda pair: (-pair[1], pair[0]))[:limit] for name in names}


def _count_by(connection: Connection, filters: Filters, names: Sequence[str]) -> dict[str, Counter[str]]:
    """The values of `names`, all of findings or all of reports, and how many findings have each."""
    field = (OF_FINDINGS | OF_REPORTS)[names[0]][1]
    others = replace(filters, **{field: getattr(Filters(), field)}) if len(names) == 1 else filters
    rows = (_of_findings if names[0] in OF_FINDINGS else _of_reports)(connection, others, names)
    counted: dict[str, Counter[str]] = {name: Counter() for name in names}
    for *values, number in rows:
        for name, value in zip(names, values, strict=True):
            for one in set((value or "").split("\\")) - {""}:
                counted[name][one] += int(number)
    return counted


def _of_findings(connection: Connection, filters: Filters, names: Sequence[str]) -> Sequence[Any]:
    columns = [OF_FINDINGS[name][0] for name in names]
    few = few_reports(connection, filters)
    return connection.execute(
        select_findings(connection, filters, few, *columns, sa.func.count()).group_by(*columns)
    ).all()


def _of_reports(connection: Connection, filters: Filters, names: Sequence[str]) -> Sequence[Any]:
    by_report = _by_report(connection, filters)
    source: sa.FromClause = by_report.join(report_profile, P.object_id == by_report.c.object_id)
    if {"modality", "body_part"} & set(names):
        source = source.join(sop_instance, S.id == by_report.c.object_id)
    values = [
        (_seen(name, OF_REPORTS[name][0]) if name in ("modality", "body_part") else OF_REPORTS[name][0]).label(name)
        for name in names
    ]
    each = sa.select(*values, by_report.c.findings).select_from(source).subquery()
    columns = [each.c[name] for name in names]
    return connection.execute(sa.select(*columns, sa.func.sum(each.c.findings)).group_by(*columns)).all()


def _seen(name: str, stated: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """What images of the study say, else what the report does."""
    columns = image.c
    column = columns.modality if name == "modality" else sa.func.upper(columns.body_part_examined)
    of_images = (
        sa.select(sa.func.min(column))
        .where(columns.study_instance_uid == S.study_instance_uid, column.not_in(NOT_IMAGES))
        .correlate(sop_instance)
        .scalar_subquery()
    )
    if name == "modality":
        return sa.func.coalesce(of_images, stated)
    return sa.func.coalesce(sa.func.nullif(stated, ""), of_images)


def _by_report(connection: Connection, filters: Filters) -> sa.Subquery:
    """Objects with findings that fit, and how many."""
    few = few_reports(connection, filters)
    return (
        select_findings(connection, filters, few, F.object_id, sa.func.count().label("findings"))
        .group_by(unindexed(connection, F.object_id))
        .subquery()
    )
