"""`Filters` as SQL, and the choice of how a search reads: through the findings in order, or through few reports.

Filters of reports that fit few of them ("MG" of a site that sends one mammogram a week) would make a search in the
order of the answer read nearly everything. So the reports that fit are looked for first, and if they are few the
findings of these alone are read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.store.documents import BELONGS
from dicomnlp.store.fulltext import with_words
from dicomnlp.store.patients import any_merged, is_patient, merged_families
from dicomnlp.store.pipelines import analyses_by
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.schema import analysis, finding, image, report_profile, report_standing, report_study, sop_instance
from dicomnlp.store.scope import Scope, scope_of, visible
from dicomnlp.store.search_filters import STATED, Filters

FEW = 1000
"""Reports whose findings are read one by one rather than all findings in order."""
NOT_IMAGES = ("", "SR", "KO", "PR", "DOC", "OT", "SC", "SEG", "REG", "RWV", "M3D", "PLAN", "ASMT")
"""Modalities (PS3.3 C.7.3.1.1.1) that don't say how a study was made."""
CURRENT = sa.text("finding.is_current")
"""As the partial indices say it; "is_current = 1" would be another condition to SQLite."""
F, P, S = finding.c, report_profile.c, sop_instance.c
REPORT = report_standing.c.object_id
"""The object of what `select_reports` gives, in whose order SQLite reads it: by another table's key it would read all
and sort it for each page."""


def few_reports(connection: Connection, filters: Filters) -> list[int] | None:
    """The objects that the filters of reports fit, if there are such filters and the objects are at most `FEW`."""
    asked = replace(filters, without=())
    if not list(_of_reports(connection, asked, P.object_id, S.study_instance_uid)):
        return None
    source: sa.FromClause = report_profile
    conditions: list[sa.ColumnElement[bool]] = []
    if asked.text:
        # read first, not looked up for each report
        words, key, match = with_words(connection, asked.text)
        source = source.join(words, key == P.object_id)
        conditions.append(match)
        asked = replace(asked, text="")
    conditions += _of_reports(connection, asked, P.object_id, S.study_instance_uid)
    if asked.patient_id or asked.modality or asked.body_part:
        source = source.join(sop_instance, S.id == P.object_id)
    query = sa.select(P.object_id).select_from(source).where(*conditions, *_of_dates(filters, P.study_date))
    found = list(connection.scalars(query.limit(FEW + 1)))
    return found if len(found) <= FEW else None


def unindexed(connection: Connection, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """`column`, but SQLite doesn't look for it in an index: it knows nothing of how often a value occurs.

    PostgreSQL does, and is left to choose.
    """
    if connection.dialect.name != "sqlite":
        return column
    plus = sa.sql.operators.custom_op[Any]("+")
    return sa.sql.elements.UnaryExpression(column, operator=plus, type_=column.type)


def _that_count(connection: Connection, filters: Filters) -> Iterator[sa.ColumnElement[bool] | sa.TextClause]:
    """Findings that count; or, of reports that prevail, those of the pipeline asked for."""
    if filters.pipeline is None:
        yield CURRENT
        return
    columns, standing = analysis.c, report_standing.c
    named = columns.pipeline.in_(analyses_by(connection, filters.pipeline))
    yield F.analysis_id.in_(sa.select(sa.func.max(columns.id)).where(named).group_by(columns.object_id))
    prevailing = (
        sa.select(standing.object_id)
        .join_from(report_standing, sop_instance, S.id == standing.object_id)
        .where(standing.status == ReportStatus.PREVAILING, S.is_current)
    )
    yield F.object_id.in_(prevailing.correlate(None))


def _of_findings(connection: Connection, filters: Filters) -> Iterator[sa.ColumnElement[bool] | sa.TextClause]:
    """Conditions on the findings themselves, but for concepts and sites."""
    yield from _that_count(connection, filters)
    if filters.assertions:
        yield F.assertion.in_(sorted({a.value for a in filters.assertions}))
    equal = {
        F.laterality: filters.laterality,
        F.severity: filters.severity,
        F.change: filters.change,
        F.section: filters.section,
        F.language: filters.language,
    }
    yield from (column == value for column, value in equal.items() if value is not None)
    if filters.critical is not None:
        yield sa.text("finding.critical" if filters.critical else "NOT finding.critical")
    if filters.minimum_size is not None:
        yield F.size_mm >= filters.minimum_size
    if filters.maximum_size is not None:
        yield F.size_mm <= filters.maximum_size
    yield from _of_dates(filters, F.study_date)


def select_findings(
    connection: Connection, filters: Filters, few: Sequence[int] | None, *columns: Any, in_order: bool = False
) -> sa.Select[Any]:
    """`columns` of the findings that fit.

    Parameters
    ----------
    few
        What `few_reports` found.
    in_order
        Whether concepts and sites are only looked at, rather than looked for by their indices, because what is wanted
        is the beginning of another order.
    """
    source: sa.FromClause = finding
    conditions = list(_of_findings(connection, filters))
    for column, values in ((F.concept_id, filters.concepts), (F.anatomy_id, filters.anatomy)):
        if values:
            by_index = not in_order and few is None
            conditions.append((column if by_index else unindexed(connection, column)).in_(sorted(set(values))))
    if few is None:
        of_reports = list(_of_reports(connection, filters, F.object_id, F.study_instance_uid))
    else:
        conditions.append(F.object_id.in_(few))
        of_reports = list(_of_reports(connection, Filters(without=filters.without), F.object_id, F.study_instance_uid))
    if of_reports:
        source = source.join(report_profile, P.object_id == F.object_id)
    if filters.patient_id or filters.without:
        source = source.join(sop_instance, S.id == F.object_id)
    return sa.select(*columns).select_from(source).where(*conditions, *of_reports)


OF_FINDINGS = (
    "concepts", "assertions", "laterality", "anatomy", "minimum_size", "maximum_size", "severity", "change", "section",
    "critical", "language", "pipeline",
)  # fmt: skip
"""Fields of `Filters` that say something of a finding rather than of its report."""


def select_reports(connection: Connection, scope: Scope, filters: Filters, *columns: Any) -> sa.Select[Any]:
    """`columns` of the analysed reports that prevail and fit, from `report_profile` and `sop_instance`.

    Where filters say what a finding must be, those that have one which fits all of these.
    """
    standing = report_standing.c
    conditions: list[Any] = [S.is_current, standing.status == ReportStatus.PREVAILING, *visible(scope)]
    conditions += _of_reports(connection, filters, P.object_id, S.study_instance_uid)
    conditions += _of_dates(filters, P.study_date)
    if any(getattr(filters, name) != getattr(Filters(), name) for name in OF_FINDINGS):
        fitting = sa.select(sa.literal(1)).select_from(finding).where(F.object_id == P.object_id)
        for column, values in ((F.concept_id, filters.concepts), (F.anatomy_id, filters.anatomy)):
            if values:
                # by the report, not by all findings of the concept
                fitting = fitting.where(unindexed(connection, column).in_(sorted(set(values))))
        conditions.append(sa.exists(fitting.where(*_of_findings(connection, filters)).correlate(report_profile)))
    source = report_profile.join(sop_instance, S.id == P.object_id).join(
        report_standing, standing.object_id == P.object_id
    )
    return sa.select(*columns).select_from(source).where(*conditions)


def _of_dates(filters: Filters, column: sa.ColumnElement[str]) -> Iterator[sa.ColumnElement[bool]]:
    if filters.date_from is not None:
        yield column >= f"{filters.date_from:%Y%m%d}"
    if filters.date_to is not None:
        yield column <= f"{filters.date_to:%Y%m%d}"
        yield column > ""


def _of_reports(
    connection: Connection, filters: Filters, object_id: sa.ColumnElement[int], study: sa.ColumnElement[str]
) -> Iterator[sa.ColumnElement[bool]]:
    """Conditions on reports: of `report_profile`, `sop_instance`, and the columns given; the scope's among them."""
    yield from visible(scope_of(connection), report_profile)
    equal = {
        P.patient_sex: filters.patient_sex,
        P.station_name: filters.station,
        P.institution_name: filters.institution,
        P.calling_ae_title: filters.calling_ae_title,
    }
    yield from (column == value for column, value in equal.items() if value is not None)
    if filters.minimum_age is not None:
        yield P.patient_age >= filters.minimum_age
    if filters.maximum_age is not None:
        yield P.patient_age <= filters.maximum_age
    if filters.body_part is not None:
        body_part = filters.body_part.upper()
        seen = image.c.body_part_examined
        yield sa.or_(P.body_part_examined == body_part, _of_images(study, sa.func.upper(seen) == body_part))
    if filters.modality is not None:
        named = ("\\" + P.modality + "\\").contains(f"\\{filters.modality}\\", autoescape=True)
        yield sa.or_(
            _of_images(study, image.c.modality == filters.modality),
            named & ~_of_images(study, image.c.modality.not_in(NOT_IMAGES)),
        )
    if filters.patient_id is not None:
        yield is_patient(connection, filters.patient_id)
    if filters.study_instance_uid is not None:
        links = report_study.c
        belonging = sa.select(links.object_id).where(
            links.study_instance_uid == filters.study_instance_uid, links.kind.in_(BELONGS)
        )
        yield object_id.in_(belonging)
    if filters.text:
        words, key, match = with_words(connection, filters.text)
        yield sa.exists().select_from(words).where(key == object_id, match)
    if filters.without:
        yield from _states_none_of(connection, filters.without)


def _of_images(study: sa.ColumnElement[str], condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.exists().select_from(image).where(image.c.study_instance_uid == study, condition)


def _states_none_of(connection: Connection, concepts: Sequence[str]) -> Iterator[sa.ColumnElement[bool]]:
    """No prevailing report of the patient states any of `concepts`; reports without a patient's id stand alone."""
    scope = scope_of(connection)
    of = sop_instance.alias("of_patient")

    def stated(*same: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        other = finding.alias("stated")
        # alias: a subquery of its own, whatever stands around it
        return (
            sa.exists()
            .select_from(of.join(other, other.c.object_id == of.c.id))
            .where(
                *same,
                *visible(scope, of),
                other.c.is_current,
                other.c.concept_id.in_(sorted(set(concepts))),
                other.c.assertion.in_([a.value for a in STATED]),
            )
            .correlate(sop_instance)
        )

    yield ~stated(of.c.id == S.id)
    yield ~stated(
        S.patient_id != "", of.c.patient_id == S.patient_id, of.c.issuer_of_patient_id == S.issuer_of_patient_id
    )
    if any_merged(connection):
        one, other = merged_families().alias(), merged_families().alias()
        family = (
            sa.select(other.c.patient_id, other.c.issuer_of_patient_id)
            .join(
                one, (one.c.current == other.c.current) & (one.c.issuer_of_patient_id == other.c.issuer_of_patient_id)
            )
            .where(one.c.patient_id == S.patient_id, one.c.issuer_of_patient_id == S.issuer_of_patient_id)
            .correlate(sop_instance)
        )
        yield ~stated(sa.tuple_(of.c.patient_id, of.c.issuer_of_patient_id).in_(family))
