"""What is held of a study."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import NotFoundError
from dicomnlp.model import Assertion, is_uid
from dicomnlp.store.answers import StoredFinding, StoredReport
from dicomnlp.store.database import Database
from dicomnlp.store.records import stored_finding, stored_report
from dicomnlp.store.schema import analysis, finding, sop_instance


def findings_of_study(
    database: Database,
    study_instance_uid: str,
    *,
    assertion: Assertion | None = None,
    concept: str | None = None,
    all_versions: bool = False,
) -> list[StoredFinding]:
    """Findings of the current reports of a study, report by report, in the order of the text.

    Parameters
    ----------
    assertion, concept
        Only findings with this assertion, with this concept id.
    all_versions
        Also those of superseded reports and of earlier analyses.

    Raises
    ------
    NotFoundError
        Nothing is held under this study (as against: held, and without findings).
    """
    columns = finding.c
    conditions = [columns.study_instance_uid == study_instance_uid]
    if not all_versions:
        conditions.append(columns.is_current.is_(True))
    if assertion is not None:
        conditions.append(columns.assertion == assertion)
    if concept is not None:
        conditions.append(columns.concept_id == concept)
    query = (
        sa.select(finding)
        .where(*conditions)
        .order_by(columns.object_id, columns.analysis_id, columns.start_offset, columns.id)
    )
    with database.read() as connection:
        rows = connection.execute(query).mappings().all()
        if not rows:
            _require(connection, sop_instance.c.study_instance_uid, "study", study_instance_uid)
    return [stored_finding(row) for row in rows]


def reports_of_study(database: Database, study_instance_uid: str, *, all_versions: bool = False) -> list[StoredReport]:
    """Reports of a study, in the order in which they came; those pending or failed too.

    Parameters
    ----------
    all_versions
        Also superseded versions, and each analysis of a version instead of its current one.

    Raises
    ------
    NotFoundError
        Nothing is held under this study.
    """
    return _reports(database, sop_instance.c.study_instance_uid, "study", study_instance_uid, all_versions)


def reports_of_instance(database: Database, sop_instance_uid: str, *, all_versions: bool = False) -> list[StoredReport]:
    """The report with a SOP Instance UID: its current version, or all; see `reports_of_study`.

    Raises
    ------
    NotFoundError
        Nothing is held under this SOP instance.
    """
    return _reports(database, sop_instance.c.sop_instance_uid, "SOP instance", sop_instance_uid, all_versions)


def _reports(database: Database, column: sa.Column[str], kind: str, uid: str, all_versions: bool) -> list[StoredReport]:
    joined = analysis.c.object_id == sop_instance.c.id
    conditions = [column == uid]
    if not all_versions:
        joined &= analysis.c.is_current.is_(True)
        conditions.append(sop_instance.c.is_current.is_(True))
    query = (
        sa.select(sop_instance, *(c.label(f"analysis_{c.name}") for c in analysis.c))
        .outerjoin_from(sop_instance, analysis, joined)
        .where(*conditions)
        .order_by(sop_instance.c.id, analysis.c.id)
    )
    with database.read() as connection:
        rows = connection.execute(query).mappings().all()
        if not rows:
            _require(connection, column, kind, uid)
    return [stored_report(row) for row in rows]


def _require(connection: Connection, column: sa.Column[str], kind: str, uid: str) -> None:
    held = is_uid(uid) and connection.scalar(sa.select(sa.exists().where(column == uid)))
    if not held:
        raise NotFoundError(f"nothing is held under {kind} {uid if is_uid(uid) else '(not a well-formed UID)'}")
