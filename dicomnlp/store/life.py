"""Keeps what is stored about the standing of reports true: who prevails, and which studies each is linked to.

`settle` computes anew, from all that is held, whatever can depend on the objects given, and writes what differs. It
knows nothing of order: whichever object of a chain comes last, the same is computed from the same facts.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import State
from dicomnlp.store import documents
from dicomnlp.store.batches import batches, select_in
from dicomnlp.store.facts import patient_key, read_held, related_to
from dicomnlp.store.follow_up_pending import mark_studies
from dicomnlp.store.patients import current_patients
from dicomnlp.store.prepared import Prepared
from dicomnlp.store.prevailing import Facts, ReportStatus, Standing, is_preliminary, prevail
from dicomnlp.store.rows import Inserter
from dicomnlp.store.schema import (
    CURRENT_ANALYSIS,
    analysis,
    finding,
    report_accession,
    report_reference,
    report_standing,
    report_study,
    sop_instance,
)
from dicomnlp.terms import HL7_MESSAGE_STORAGE

_LINKS = {t: Inserter(t) for t in (report_study, report_reference, report_accession, report_standing)}


def save_links(connection: Connection, results: Sequence[Prepared], headers: dict[int, Any]) -> set[str]:
    """Replace the rows that `results` say about studies and other documents; their reports, for now, prevail.

    Parameters
    ----------
    headers
        Rows of `sop_instance` by id.

    Returns
    -------
    set of str
        SOP Instance UIDs that the objects referred to before.
    """
    before = drop_links(connection, [r.object_id for r in results])
    rows: dict[sa.Table, list[dict[str, Any]]] = defaultdict(list)
    for r in results:
        header, report = headers[r.object_id], r.report
        assert report is not None
        key = {"object_id": r.object_id}
        # an HL7 message seldom tells its study: its accession number links it to the one that has it
        own = [] if header.sop_class_uid == HL7_MESSAGE_STORAGE else [header.accession_number]
        rows[report_study] += [
            {**key, "study_instance_uid": uid, "kind": kind}
            for uid, kind in documents.study_links(report, header.study_instance_uid).items()
        ]
        rows[report_reference] += [
            {**key, "sop_instance_uid": uid, "kind": kind}
            for uid, kind in sorted(documents.references(report, header.sop_class_uid))
            if uid != header.sop_instance_uid
        ]
        rows[report_accession] += [
            {**key, "accession_number": number} for number in sorted({*report.accession_numbers} - {"", *own})
        ]
        rows[report_standing].append(
            {
                **key,
                "study_instance_uid": header.study_instance_uid,
                "is_preliminary": is_preliminary(
                    report.preliminary_flag, report.completion_flag, report.verification_flag
                ),
                "copy_key": documents.copy_key(header, r.content_sha256),
                "status": ReportStatus.PREVAILING.value,
            }
        )
    for table, values in rows.items():
        if values:
            _LINKS[table].insert(connection, values)
    return before


def drop_links(connection: Connection, object_ids: Collection[int]) -> set[str]:
    """Delete what is stored about studies and other documents of these; the SOP Instance UIDs that they referred to."""
    reference = report_reference.c
    before = set(select_in(connection, reference.sop_instance_uid, reference.object_id, object_ids))
    for table in (report_study, report_reference, report_accession, report_standing):
        for batch in batches(object_ids):
            connection.execute(sa.delete(table).where(table.c.object_id.in_(batch)))
    return before


def settle(connection: Connection, object_ids: Collection[int], uids: Collection[str] = ()) -> None:
    """Compute the standing and the derived links of whatever can depend on these objects, and write what differs.

    Parameters
    ----------
    object_ids
        Rows that came, changed or were analysed.
    uids
        SOP Instance UIDs likewise, of objects that may not be held.
    """
    related = related_to(connection, object_ids, uids)
    held = [h.facts for h in read_held(connection, related)]
    standings = prevail(held)
    _write_standings(connection, standings)
    _write_derived_links(connection, held, standings)
    mark_studies(connection, {f.study_instance_uid for f in held})


def _write_standings(connection: Connection, standings: dict[int, Standing]) -> None:
    columns = report_standing.c
    changed: dict[int, Standing] = {}
    silenced: list[int] = []
    restored: list[int] = []
    for batch in batches(standings):
        for row in connection.execute(sa.select(report_standing).where(columns.object_id.in_(batch))):
            new = standings[row.object_id]
            if new == Standing(ReportStatus(row.status), row.superseded_by, row.reason_code):
                continue
            changed[row.object_id] = new
            prevailed, prevails = (s == ReportStatus.PREVAILING for s in (row.status, new.status))
            if prevailed != prevails:
                (restored if prevails else silenced).append(row.object_id)
    if changed:
        connection.execute(
            sa.update(report_standing)
            .where(columns.object_id == sa.bindparam("of_object"))
            .values(
                status=sa.bindparam("new_status"), superseded_by=sa.bindparam("by"), reason_code=sa.bindparam("why")
            ),
            [
                {"of_object": i, "new_status": s.status.value, "by": s.by, "why": s.reason_code}
                for i, s in sorted(changed.items())
            ],
        )
    for batch in batches(silenced):
        connection.execute(
            sa.update(finding).where(finding.c.object_id.in_(batch), finding.c.is_current).values(is_current=False)
        )
    speaking = (
        sa.select(analysis.c.id)
        .join_from(analysis, sop_instance, sop_instance.c.id == analysis.c.object_id)
        .where(sop_instance.c.is_current, CURRENT_ANALYSIS)
    )
    for batch in batches(restored):
        of_batch = speaking.where(analysis.c.object_id.in_(batch))
        connection.execute(sa.update(finding).where(finding.c.analysis_id.in_(of_batch)).values(is_current=True))


def _write_derived_links(connection: Connection, held: Sequence[Facts], standings: dict[int, Standing]) -> None:
    by_uid = {f.sop_instance_uid: f for f in held}
    stated: dict[int, dict[str, str]] = defaultdict(dict)
    derived: dict[int, dict[str, str]] = defaultdict(dict)
    for batch in batches([f.object_id for f in held]):
        for row in connection.execute(sa.select(report_study).where(report_study.c.object_id.in_(batch))):
            (derived if row.kind in documents.DERIVED else stated)[row.object_id][row.study_instance_uid] = row.kind
    wanted: dict[int, dict[str, str]] = defaultdict(dict)
    for object_id, study in _studies_by_accession(connection, held):
        wanted[object_id].setdefault(study, documents.ACCESSION)
    for f in held:
        standing = standings[f.object_id]
        if standing.status is ReportStatus.IDENTICAL and standing.by in by_uid:
            links = {**wanted[f.object_id], **stated[f.object_id]}
            for study, kind in links.items():
                if kind in documents.BELONGS:
                    wanted[by_uid[standing.by].object_id].setdefault(study, documents.IDENTICAL)
    gone: list[dict[str, Any]] = []
    new: list[dict[str, Any]] = []
    for f in held:
        i = f.object_id
        target = {u: k for u, k in wanted[i].items() if stated[i].get(u) not in documents.BELONGS}
        gone += [{"of_object": i, "study": u, "was": k} for u, k in derived[i].items() if target.get(u) != k]
        new += [
            {"object_id": i, "study_instance_uid": u, "kind": k}
            for u, k in sorted(target.items())
            if derived[i].get(u) != k
        ]
    columns = report_study.c
    if gone:
        connection.execute(
            sa.delete(report_study).where(
                columns.object_id == sa.bindparam("of_object"),
                columns.study_instance_uid == sa.bindparam("study"),
                columns.kind == sa.bindparam("was"),
            ),
            gone,
        )
    if new:
        connection.execute(sa.insert(report_study), new)


def _studies_by_accession(connection: Connection, held: Sequence[Facts]) -> list[tuple[int, str]]:
    """(object, study) where a report answers a request whose accession number a study of the same patient has."""
    by_id = {f.object_id: f for f in held if f.patient}
    requested: list[tuple[int, str]] = []
    for batch in batches(by_id):
        rows = connection.execute(sa.select(report_accession).where(report_accession.c.object_id.in_(batch)))
        requested += [(row.object_id, row.accession_number) for row in rows]
    columns = sop_instance.c
    studies: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    query = sa.select(
        columns.accession_number, columns.study_instance_uid, columns.patient_id, columns.issuer_of_patient_id
    ).where(columns.state != State.QUARANTINED.value, columns.is_current)
    for numbers in batches({number for _, number in requested}):
        for row in connection.execute(query.where(columns.accession_number.in_(numbers)).distinct()):
            studies[row.accession_number].add((row.study_instance_uid, row.patient_id, row.issuer_of_patient_id))
    patients = current_patients(connection, {(p, i) for found in studies.values() for _, p, i in found})
    return [
        (object_id, study)
        for object_id, number in requested
        for study, patient_id, issuer in sorted(studies[number])
        if patient_key(patients[patient_id, issuer]) == by_id[object_id].patient
    ]
