"""What is held of a study."""

import datetime as dt
import functools
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from dicomnlp.errors import NotFoundError
from dicomnlp.model import Assertion, State, is_uid
from dicomnlp.store.answers import ReportStanding, StoredFinding, StoredReport, StudyLink
from dicomnlp.store.batches import batches, select_in
from dicomnlp.store.cursors import check_page, decode, place_after
from dicomnlp.store.database import Database
from dicomnlp.store.documents import BELONGS
from dicomnlp.store.past import Known, known_at, study_links
from dicomnlp.store.pipelines import analyses_by
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.records import stored_finding, stored_report
from dicomnlp.store.schema import CURRENT_ANALYSIS, analysis, finding, report_standing, report_study, sop_instance
from dicomnlp.store.scope import Scope, scope_of, visible

_STANDING = tuple(
    report_standing.c[name].label(f"standing_{name}") for name in ("status", "superseded_by", "reason_code")
)
_PREVAILED = ReportStanding(ReportStatus.PREVAILING)
"""Of whatever is answered for a moment in the past: what did not prevail then isn't."""
_FINDINGS = (
    sa.select(finding, *_STANDING, sop_instance.c.is_current.label("is_current_version"))
    .join_from(finding, sop_instance, sop_instance.c.id == finding.c.object_id)
    .outerjoin(report_standing, report_standing.c.object_id == finding.c.object_id)
    .order_by(finding.c.object_id, finding.c.analysis_id, finding.c.start_offset, finding.c.id)
)


_LINKS = sa.select(report_study.c.object_id, report_study.c.study_instance_uid, report_study.c.kind).where(
    report_study.c.object_id.in_(sa.bindparam("object_ids", expanding=True))
)
MAXIMUM_PAGE = 5000
"""Findings of a study at once: more than reports of people have, and little enough to be held in memory."""
_ORDER = (finding.c.object_id, finding.c.analysis_id, finding.c.start_offset, finding.c.id)
_ORDER_NAMES = tuple(column.name for column in _ORDER)


@dataclass(frozen=True, slots=True)
class StudyPage:
    """A part of the findings of a study."""

    findings: list[StoredFinding]
    next: str | None
    """What the next page is asked for with; None when this is the last."""


def findings_of_study(
    database: Database,
    study_instance_uid: str,
    *,
    assertion: Assertion | None = None,
    concept: str | None = None,
    all_versions: bool = False,
    as_of: dt.datetime | None = None,
    pipeline: str | None = None,
) -> list[StoredFinding]:
    """All that `page_of_study` gives, page by page; raises as it."""
    asked: dict[str, Any] = {
        "assertion": assertion,
        "concept": concept,
        "all_versions": all_versions,
        "as_of": as_of,
        "pipeline": pipeline,
    }
    page = page_of_study(database, study_instance_uid, **asked)
    found = page.findings
    while page.next:
        page = page_of_study(database, study_instance_uid, **asked, after=page.next)
        found += page.findings
    return found


def page_of_study(
    database: Database,
    study_instance_uid: str,
    *,
    assertion: Assertion | None = None,
    concept: str | None = None,
    all_versions: bool = False,
    as_of: dt.datetime | None = None,
    pipeline: str | None = None,
    after: str | None = None,
    limit: int = MAXIMUM_PAGE,
) -> StudyPage:
    """Findings of the reports that prevail and belong to a study, report by report, in the order of the text.

    A report belongs to its own study and to those of its evidence and requests, not to those that it compares with.

    Parameters
    ----------
    assertion, concept
        Only findings with this assertion, with this concept id.
    all_versions
        Also those of superseded and withdrawn reports, of replaced objects, and of earlier analyses.
    as_of
        What this would have answered at that moment; not with `all_versions`.
    pipeline
        What this pipeline says, whether or not it counts, see `pipelines.analyses_by`; with neither of these.
    after
        `StudyPage.next` of the page before.
    limit
        1 to `MAXIMUM_PAGE`.

    Raises
    ------
    NotFoundError
        Nothing is held under this study, or was at that moment (as against: held, and without findings); or nothing
        is known of the pipeline.
    UsageError
        `after` is none of ours, or `limit` isn't within its bounds.
    """
    check_page(limit, MAXIMUM_PAGE, "findings")
    given: dict[str, Any] = {}
    if after is not None:
        place = decode(after, "number", "number", "number", "number")
        given |= {f"after_{n}": int(value) for n, value in enumerate(place)}
    given |= {name: value for name, value in (("assertion", assertion), ("concept", concept)) if value is not None}
    query = _page_query(tuple(given), database.scope).limit(limit + 1)
    with database.read() as connection:
        if as_of is not None:
            known = _known(connection, study_instance_uid, as_of)
            of_analyses = query.params(**given)
            rows = _of_analyses(connection, known, of_analyses, finding.c.analysis_id)[: limit + 1]
            found = [
                replace(stored_finding(row, known.links[row["object_id"]]), standing=_PREVAILED) for row in rows[:limit]
            ]
            return StudyPage(found, place_after(rows, limit, *_ORDER_NAMES))
        given["study"] = study_instance_uid
        if pipeline is not None:
            given["pipelines"] = analyses_by(connection, pipeline)
        query = _study_page_query(tuple(given), database.scope, limit, current=not all_versions)
        rows = list(connection.execute(query, given).mappings())
        if not rows:
            _require_study(connection, study_instance_uid)
        return StudyPage(_findings(connection, rows[:limit]), place_after(rows, limit, *_ORDER_NAMES))


@functools.lru_cache(64)
def _page_query(names: tuple[str, ...], scope: Scope) -> sa.Select[Any]:
    """Findings that fit what is given under `names`: to build a statement takes longer than to execute it."""
    conditions: list[Any] = list(visible(scope))
    if "after_0" in names:
        place = sa.tuple_(*(sa.bindparam(f"after_{n}", type_=sa.BigInteger()) for n in range(len(_ORDER))))
        conditions.append(sa.tuple_(*_ORDER) > place)
    if "assertion" in names:
        conditions.append(finding.c.assertion == sa.bindparam("assertion"))
    if "concept" in names:
        conditions.append(finding.c.concept_id == sa.bindparam("concept"))
    return _FINDINGS.where(*conditions)


@functools.lru_cache(64)
def _study_page_query(names: tuple[str, ...], scope: Scope, limit: int, *, current: bool) -> sa.Select[Any]:
    """The same of one study."""
    query = _page_query(names, scope).where(finding.c.object_id.in_(_belonging(sa.bindparam("study"))))
    if "pipelines" in names:
        query = query.where(
            finding.c.pipeline.in_(sa.bindparam("pipelines", expanding=True)),
            sop_instance.c.is_current,
            report_standing.c.status == ReportStatus.PREVAILING,
        )
    elif current:
        query = query.where(finding.c.is_current.is_(True))
    return query.limit(limit + 1)


def findings_of_instance(database: Database, sop_instance_uid: str) -> list[StoredFinding]:
    """Findings of the current analysis of a SOP instance's current version, whether or not it prevails.

    Raises
    ------
    NotFoundError
        Nothing is held under this SOP instance.
    """
    columns = sop_instance.c
    current = (
        sa.select(analysis.c.id)
        .join_from(sop_instance, analysis, (analysis.c.object_id == columns.id) & CURRENT_ANALYSIS)
        .where(columns.sop_instance_uid == sop_instance_uid, columns.is_current)
    )
    with database.read() as connection:
        query = _FINDINGS.where(finding.c.analysis_id.in_(current), *visible(database.scope))
        rows = connection.execute(query).mappings().all()
        if not rows:
            _require_instance(connection, sop_instance_uid)
        return _findings(connection, rows)


def uids_of_objects(database: Database, object_ids: Collection[int]) -> list[str]:
    """The SOP Instance UIDs of those of these objects that are current versions."""
    columns = sop_instance.c
    with database.read() as connection:
        return select_in(connection, columns.sop_instance_uid, columns.id, object_ids, columns.is_current)


def findings_by_id(connection: Connection, ids: Sequence[int]) -> list[StoredFinding]:
    """The findings with these ids, in this order; those that are gone are left out."""
    held: dict[int, RowMapping] = {}
    for batch in batches(ids):
        held.update((row["id"], row) for row in connection.execute(_FINDINGS.where(finding.c.id.in_(batch))).mappings())
    return _findings(connection, [held[i] for i in ids if i in held])


def findings_of_objects(connection: Connection, object_ids: Collection[int]) -> list[StoredFinding]:
    """The findings that count of these objects, object by object, in the order of the text."""
    found: list[StoredFinding] = []
    for batch in batches(sorted(object_ids)):
        query = _FINDINGS.where(finding.c.object_id.in_(batch), finding.c.is_current)
        found += _findings(connection, connection.execute(query).mappings().all())
    return found


def reports_by_id(connection: Connection, object_ids: Sequence[int]) -> list[StoredReport]:
    """These objects with their current analysis, in this order; those that are gone are left out."""
    held: dict[int, RowMapping] = {}
    for batch in batches(object_ids):
        query = _reports_query(current=True).where(sop_instance.c.id.in_(batch))
        held.update((row["id"], row) for row in connection.execute(query).mappings())
    return _reports(connection, [held[i] for i in object_ids if i in held])


def findings_of_analysis(connection: Connection, analysis_id: int) -> list[StoredFinding]:
    """Findings of one analysis."""
    return _findings(
        connection, connection.execute(_FINDINGS.where(finding.c.analysis_id == analysis_id)).mappings().all()
    )


def reports_of_study(
    database: Database, study_instance_uid: str, *, all_versions: bool = False, as_of: dt.datetime | None = None
) -> list[StoredReport]:
    """Reports that prevail and belong to a study, in the order in which they came; those pending or failed too.

    Parameters
    ----------
    all_versions
        Also superseded and withdrawn reports and versions, and each analysis of a version instead of its current one.
    as_of
        What this would have answered at that moment, states and standing as they were; not with `all_versions`.

    Raises
    ------
    NotFoundError
        Nothing is held under this study, or was at that moment.
    """
    # pending ones have no links yet, but are of the study that their header names
    held = sa.select(sop_instance.c.id).where(sop_instance.c.study_instance_uid == study_instance_uid)
    with database.read() as connection:
        if as_of is not None:
            return _reports_known(connection, _known(connection, study_instance_uid, as_of))
        query = _reports_query(current=not all_versions).where(
            sop_instance.c.id.in_(sa.union(held, _belonging(study_instance_uid))), *visible(database.scope)
        )
        if not all_versions:
            status = report_standing.c.status
            query = query.where(sop_instance.c.is_current, sa.or_(status.is_(None), status == ReportStatus.PREVAILING))
        rows = connection.execute(query).mappings().all()
        # objects without a well-formed study are in quarantine, and of no study that could be asked for
        if not rows or not is_uid(study_instance_uid):
            _require_study(connection, study_instance_uid)
        return _reports(connection, rows)


def states_of_study(database: Database, study_instance_uid: str) -> dict[State, int]:
    """How many of the reports that `reports_of_study` gives are in each state; every state is named.

    Raises
    ------
    NotFoundError
        Nothing is held under this study.
    """
    with database.read() as connection:
        given = {"study": study_instance_uid}
        rows = connection.execute(_states_query(database.scope), given).all() if is_uid(study_instance_uid) else []
        if not rows:
            _require_study(connection, study_instance_uid)
    return dict.fromkeys(State, 0) | {State(state): number for state, number in rows}


@functools.lru_cache(64)
def _states_query(scope: Scope) -> sa.Select[Any]:
    study: sa.BindParameter[str] = sa.bindparam("study")
    status = report_standing.c.status
    held = sa.select(sop_instance.c.id).where(sop_instance.c.study_instance_uid == study)
    return (
        sa.select(sop_instance.c.state, sa.func.count())
        .outerjoin(report_standing, report_standing.c.object_id == sop_instance.c.id)
        .where(
            sop_instance.c.id.in_(sa.union(held, _belonging(study))),
            sop_instance.c.is_current,
            sa.or_(status.is_(None), status == ReportStatus.PREVAILING),
            *visible(scope),
        )
        .group_by(sop_instance.c.state)
    )


def reports_of_instance(database: Database, sop_instance_uid: str, *, all_versions: bool = False) -> list[StoredReport]:
    """The report with a SOP Instance UID, whether or not it prevails: its current version, or all.

    Raises
    ------
    NotFoundError
        Nothing is held under this SOP instance.
    """
    query = _reports_query(current=not all_versions).where(
        sop_instance.c.sop_instance_uid == sop_instance_uid, *visible(database.scope)
    )
    if not all_versions:
        query = query.where(sop_instance.c.is_current)
    with database.read() as connection:
        rows = connection.execute(query).mappings().all()
        if not rows:
            _require_instance(connection, sop_instance_uid)
        return _reports(connection, rows)


def _belonging(study_instance_uid: str | sa.BindParameter[Any]) -> sa.Select[Any]:
    columns = report_study.c
    return sa.select(columns.object_id).where(
        columns.study_instance_uid == study_instance_uid, columns.kind.in_(BELONGS)
    )


def _reports_query(*, current: bool) -> sa.Select[Any]:
    joined = analysis.c.object_id == sop_instance.c.id
    if current:
        joined &= CURRENT_ANALYSIS
    return (
        sa.select(
            sop_instance,
            sop_instance.c.is_current.label("is_current_version"),
            *(c.label(f"analysis_{c.name}") for c in analysis.c),
            *_STANDING,
        )
        .outerjoin_from(sop_instance, analysis, joined)
        .outerjoin(report_standing, report_standing.c.object_id == sop_instance.c.id)
        .order_by(sop_instance.c.id, analysis.c.id)
    )


def _known(connection: Connection, study_instance_uid: str, as_of: dt.datetime) -> Known:
    if not scope_of(connection).is_everything:
        _require_study(connection, study_instance_uid)
    known = known_at(connection, study_instance_uid, as_of) if is_uid(study_instance_uid) else None
    if known is None or not known.is_held:
        raise NotFoundError(f"nothing was held under study {_shown(study_instance_uid)} at that moment")
    return known


def _of_analyses(
    connection: Connection, known: Known, query: sa.Select[Any], key: sa.ColumnElement[int]
) -> list[RowMapping]:
    """The rows of `query` whose analysis, `key`, counted; object by object."""
    rows: list[RowMapping] = []
    for batch in batches(sorted(known.analyses, key=lambda analysis_id: (known.analyses[analysis_id], analysis_id))):
        of_objects = sop_instance.c.id.in_([known.analyses[analysis_id] for analysis_id in batch])
        seen = visible(scope_of(connection))
        rows.extend(connection.execute(query.where(key.in_(batch), of_objects, *seen)).mappings())
    return rows


def _reports_known(connection: Connection, known: Known) -> list[StoredReport]:
    found = []
    for row in _of_analyses(connection, known, _reports_query(current=False), analysis.c.id):
        stored = stored_report(row, known.links[row["id"]])
        override = row["analysis_character_set_override"]
        found.append(
            replace(
                stored,
                is_current=True,
                state=State(row["analysis_state"]),
                reason_code=None,
                standing=_PREVAILED,
                character_set_override=override,
            )
        )
    for batch in batches(known.waiting):
        columns = sop_instance.c
        waiting = sa.select(sop_instance).where(columns.id.in_(batch), *visible(scope_of(connection)))
        for row in connection.execute(waiting).mappings():
            state = known.waiting[row["id"]]
            found.append(
                StoredReport(
                    object_id=row["id"],
                    sop_instance_uid=row["sop_instance_uid"],
                    study_instance_uid=row["study_instance_uid"],
                    version=row["version"],
                    is_current=True,
                    state=state,
                    reason_code=row["reason_code"] if state is State.FAILED else None,
                    received_at=row["received_at"],
                    report=None,
                    analysis=None,
                    analysed_at=None,
                )
            )
    return sorted(found, key=lambda stored: stored.object_id)


def _findings(connection: Connection, rows: Sequence[RowMapping]) -> list[StoredFinding]:
    links = _links(connection, {row["object_id"] for row in rows})
    return [stored_finding(row, links[row["object_id"]]) for row in rows]


def _reports(connection: Connection, rows: Sequence[RowMapping]) -> list[StoredReport]:
    links = _links(connection, {row["id"] for row in rows})
    return [stored_report(row, links[row["id"]]) for row in rows]


def _links(connection: Connection, object_ids: Collection[int]) -> defaultdict[int, tuple[StudyLink, ...]]:
    """The studies of each object by their strongest link, its own first."""
    links: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
    for batch in batches(object_ids):
        for object_id, study_instance_uid, kind in connection.execute(_LINKS, {"object_ids": batch}):
            links[object_id].append((study_instance_uid, kind))
    return defaultdict(tuple, {object_id: study_links(found) for object_id, found in links.items()})


def _require_study(connection: Connection, uid: str) -> None:
    own = sop_instance.c.study_instance_uid == uid
    linked = sop_instance.c.id.in_(_belonging(uid))
    seen = visible(scope_of(connection))
    held = is_uid(uid) and any(connection.scalar(sa.select(sa.exists().where(found, *seen))) for found in (own, linked))
    if not held:
        raise NotFoundError(f"nothing is held under study {_shown(uid)}")


def _require_instance(connection: Connection, uid: str) -> None:
    held = sa.exists().where(sop_instance.c.sop_instance_uid == uid, *visible(scope_of(connection)))
    if not (is_uid(uid) and connection.scalar(sa.select(held))):
        raise NotFoundError(f"nothing is held under SOP instance {_shown(uid)}")


def _shown(uid: str) -> str:
    return uid if is_uid(uid) else "(not a well-formed UID)"
