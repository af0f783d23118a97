"""What held reports say of themselves and of each other, and which of them can depend on which."""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import State
from dicomnlp.store import documents
from dicomnlp.store.batches import batches, select_in
from dicomnlp.store.history import ENDED_BY_VERSION
from dicomnlp.store.patients import Patient, current_patients
from dicomnlp.store.prevailing import Facts, said
from dicomnlp.store.schema import (
    CURRENT_ANALYSIS,
    analysis,
    analysis_period,
    rejection_revocation,
    report_accession,
    report_reference,
    report_standing,
    sop_instance,
)
from dicomnlp.terms import HL7_MESSAGE_STORAGE


@dataclass(frozen=True, slots=True)
class Held:
    """The analysis of a SOP instance that counts, now or at some moment."""

    facts: Facts
    analysis_id: int
    speaks: bool
    """Whether its findings count; else a newer version of the object is still to be analysed."""


def read_held_with(connection: Connection, object_ids: Collection[int], as_of: dt.datetime) -> list[Held]:
    """What counted at the moment `as_of` among all that can depend on these objects."""
    return read_held(connection, related_to(connection, object_ids, ()), as_of)


def related_to(connection: Connection, object_ids: Collection[int], uids: Collection[str]) -> set[int]:
    """Rows of all objects on which it can depend how these objects stand, and that can depend on them."""
    standing, reference = report_standing.c, report_reference.c
    found: set[int] = set()
    known: set[str] = set()
    ahead, uids_ahead = set(object_ids), set(uids)
    first = True
    while ahead or uids_ahead:
        found |= ahead
        rows = select_in(connection, sop_instance.c.sop_instance_uid, sop_instance.c.id, ahead)
        uids_ahead = (uids_ahead | set(rows)) - known
        known |= uids_ahead
        new: set[int] = set()
        for column, key in (
            (sop_instance.c.id, sop_instance.c.sop_instance_uid),
            (reference.object_id, reference.sop_instance_uid),
            (standing.object_id, standing.superseded_by),
        ):
            new.update(select_in(connection, column, key, uids_ahead))
        keys = set(select_in(connection, standing.copy_key, standing.object_id, ahead)) - {None}
        new.update(select_in(connection, standing.object_id, standing.copy_key, keys))
        new.update(_of_studies_with_preliminary(connection, ahead))
        new.update(_that_may_say_the_same(connection, ahead))
        if first:
            new.update(_that_answer_requests_of(connection, ahead))
            first = False
        uids_ahead = set(select_in(connection, reference.sop_instance_uid, reference.object_id, ahead)) - known
        ahead = new - found
    return found


def _of_studies_with_preliminary(connection: Connection, object_ids: Collection[int]) -> list[int]:
    """All reports of these objects' studies, where one is preliminary; elsewhere reports of a study don't interact."""
    standing = report_standing.c
    studies = set(select_in(connection, standing.study_instance_uid, standing.object_id, object_ids))
    awaiting = set(
        select_in(
            connection, standing.study_instance_uid, standing.study_instance_uid, studies, standing.is_preliminary
        )
    )
    return select_in(connection, standing.object_id, standing.study_instance_uid, awaiting)


def _that_may_say_the_same(connection: Connection, object_ids: Collection[int]) -> list[int]:
    """HL7 messages about the studies or requests of these DICOM objects, and the other way round."""
    columns, requested = sop_instance.c, report_accession.c
    is_message = columns.sop_class_uid == HL7_MESSAGE_STORAGE
    messages = select_in(connection, columns.id, columns.id, object_ids, is_message)
    others = set(object_ids) - set(messages)
    found: list[int] = []
    if others:
        studies = select_in(connection, columns.study_instance_uid, columns.id, others)
        found += select_in(connection, columns.id, columns.study_instance_uid, studies, is_message)
        numbers = set(select_in(connection, columns.accession_number, columns.id, others)) - {""}
        # nothing else is asked by request: what answers many would draw in everything
        answering = select_in(connection, requested.object_id, requested.accession_number, numbers)
        found += select_in(connection, columns.id, columns.id, answering, is_message)
    if messages:
        studies = select_in(connection, columns.study_instance_uid, columns.id, messages)
        found += select_in(connection, columns.id, columns.study_instance_uid, studies, ~is_message)
        numbers = set(select_in(connection, requested.accession_number, requested.object_id, messages))
        found += select_in(connection, columns.id, columns.accession_number, numbers, ~is_message)
    return found


def _that_answer_requests_of(connection: Connection, object_ids: Collection[int]) -> list[int]:
    numbers = set(select_in(connection, sop_instance.c.accession_number, sop_instance.c.id, object_ids)) - {""}
    return select_in(connection, report_accession.c.object_id, report_accession.c.accession_number, numbers)


_FACTS = (
    sop_instance.c.id,
    sop_instance.c.sop_instance_uid,
    sop_instance.c.sop_class_uid,
    sop_instance.c.version,
    sop_instance.c.is_current.label("is_current_version"),
    sop_instance.c.study_instance_uid,
    sop_instance.c.patient_id,
    sop_instance.c.issuer_of_patient_id,
    sop_instance.c.accession_number,
    sop_instance.c.content_date,
    sop_instance.c.content_time,
    analysis.c.id.label("analysis_id"),
    analysis.c.title,
    analysis.c.document_code,
    analysis.c.completion_flag,
    analysis.c.verification_flag,
    analysis.c.preliminary_flag,
    analysis.c.verification_date_time,
    analysis.c.addendum,
    (analysis.c.narrative != "").label("has_text"),
    report_standing.c.copy_key,
    report_standing.c.is_preliminary,
)


def read_held(connection: Connection, object_ids: Collection[int], as_of: dt.datetime | None = None) -> list[Held]:
    """What counts among these objects, one entry a SOP instance: now, or at the moment `as_of`."""
    counting = _counting_now(connection, object_ids) if as_of is None else _counting_at(connection, object_ids, as_of)
    rows = [row for row, _ in counting]
    referred: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    ids = [row.id for row in rows]
    for batch in batches(ids):
        for r in connection.execute(sa.select(report_reference).where(report_reference.c.object_id.in_(batch))):
            referred[r.object_id][r.kind].append(r.sop_instance_uid)
    patients = current_patients(connection, {(r.patient_id, r.issuer_of_patient_id) for r in rows}, as_of)
    texts = _texts_to_compare(connection, rows, referred)
    requests, words = _to_compare_with_messages(connection, rows)
    notes = {row.sop_instance_uid for row in rows if referred[row.id][documents.REJECTED]}
    revoked = revoked_rejections(connection, notes, as_of)
    return [
        Held(
            Facts(
                object_id=row.id,
                sop_instance_uid=row.sop_instance_uid,
                study_instance_uid=row.study_instance_uid,
                patient=patient_key(patients[row.patient_id, row.issuer_of_patient_id]),
                accession_number=row.accession_number,
                title=_title(row),
                completion_flag=row.completion_flag,
                verification_flag=row.verification_flag,
                preliminary_flag=row.preliminary_flag,
                verification_date_time=row.verification_date_time,
                content_date_time=row.content_date + row.content_time,
                has_text=bool(row.has_text),
                addendum=row.addendum,
                text=texts.get(row.analysis_id, ""),
                is_message=row.sop_class_uid == HL7_MESSAGE_STORAGE,
                requests=frozenset({*requests[row.id], row.accession_number} - {""}),
                words=words.get(row.analysis_id, ""),
                copy_key=row.copy_key,
                predecessors=tuple(sorted(referred[row.id][documents.PREDECESSOR])),
                identical_documents=tuple(sorted(referred[row.id][documents.IDENTICAL_DOCUMENT])),
                rejects=tuple(
                    uid
                    for uid in sorted(referred[row.id][documents.REJECTED])
                    if (uid, row.sop_instance_uid) not in revoked
                ),
            ),
            row.analysis_id,
            speaks,
        )
        for row, speaks in counting
    ]


def revoked_rejections(
    connection: Connection, notes: Collection[str], as_of: dt.datetime | None = None
) -> set[tuple[str, str]]:
    """(SOP Instance UID of what was rejected, of the note) where the rejection is revoked, or was at `as_of`."""
    columns = rejection_revocation.c
    valid: sa.ColumnElement[bool] = columns.undone_at.is_(None)
    if as_of is not None:
        valid = (columns.revoked_at <= as_of) & sa.or_(columns.undone_at.is_(None), columns.undone_at > as_of)
    return {
        (row.sop_instance_uid, row.note_sop_instance_uid)
        for batch in batches(notes)
        for row in connection.execute(
            sa.select(rejection_revocation).where(columns.note_sop_instance_uid.in_(batch), valid)
        )
    }


def patient_key(patient: Patient) -> str:
    """One text for a patient, "" for one that is not known."""
    patient_id, issuer = patient
    return f"{patient_id}\n{issuer}" if patient_id else ""


def _title(row: Any) -> tuple[str, str, str]:
    code = row.document_code or {"scheme": "", "value": ""}
    return code["scheme"], code["value"], row.title


def _counting_now(connection: Connection, object_ids: Collection[int]) -> list[tuple[Any, bool]]:
    rows: dict[str, Any] = {}
    query = (
        sa.select(*_FACTS)
        .join_from(sop_instance, analysis, (analysis.c.object_id == sop_instance.c.id) & CURRENT_ANALYSIS)
        .outerjoin(report_standing, report_standing.c.object_id == sop_instance.c.id)
        .where(sop_instance.c.state != State.QUARANTINED.value)
    )
    for batch in batches(object_ids):
        for row in connection.execute(query.where(sop_instance.c.id.in_(batch))):
            other = rows.get(row.sop_instance_uid)
            # a version that is still to be analysed does not undo what the one before it superseded
            if other is None or (row.is_current_version, row.version) > (other.is_current_version, other.version):
                rows[row.sop_instance_uid] = row
    return [(row, bool(row.is_current_version)) for row in rows.values()]


def _counting_at(connection: Connection, object_ids: Collection[int], at: dt.datetime) -> list[tuple[Any, bool]]:
    period = analysis_period.c
    rows: dict[str, Any] = {}
    query = (
        sa.select(*_FACTS, period.current_from, period.current_until, period.ended_by)
        .join_from(analysis_period, sop_instance, sop_instance.c.id == period.object_id)
        .join(analysis, (analysis.c.object_id == period.object_id) & (analysis.c.pipeline == period.pipeline))
        .outerjoin(report_standing, report_standing.c.object_id == sop_instance.c.id)
        .where(period.current_from <= at)
        .order_by(period.current_from, period.id)
    )
    for batch in batches(object_ids):
        for row in connection.execute(query.where(period.object_id.in_(batch))):
            other = rows.get(row.sop_instance_uid)
            if other is None or other.current_from <= row.current_from:
                rows[row.sop_instance_uid] = row
    counting = []
    for row in rows.values():
        speaks = row.current_until is None or row.current_until > at
        if speaks or row.ended_by == ENDED_BY_VERSION:
            counting.append((row, speaks))
    return counting


def _texts_to_compare(
    connection: Connection, rows: Sequence[Any], referred: dict[int, dict[str, list[str]]]
) -> dict[int, str]:
    """Narratives by analysis: of addenda that name predecessors and of these, and of studies with several drafts."""
    by_uid = {row.sop_instance_uid: row.analysis_id for row in rows}
    wanted: set[int] = set()
    for row in rows:
        named = [by_uid[uid] for uid in referred[row.id][documents.PREDECESSOR] if uid in by_uid]
        if row.addendum and named:
            wanted.update(named, [row.analysis_id])
    drafts = Counter(row.study_instance_uid for row in rows if row.is_preliminary)
    wanted.update(row.analysis_id for row in rows if drafts[row.study_instance_uid] > 1)
    query = sa.select(analysis.c.id, analysis.c.narrative)
    return {
        row.id: row.narrative
        for batch in batches(wanted)
        for row in connection.execute(query.where(analysis.c.id.in_(batch)))
    }


def _to_compare_with_messages(
    connection: Connection, rows: Sequence[Any]
) -> tuple[dict[int, set[str]], dict[int, str]]:
    """Accession numbers by object, and words without headings by analysis; nothing where no message is among them."""
    requests: dict[int, set[str]] = defaultdict(set)
    words: dict[int, str] = {}
    if not any(row.sop_class_uid == HL7_MESSAGE_STORAGE for row in rows):
        return requests, words
    for batch in batches([row.id for row in rows]):
        for r in connection.execute(sa.select(report_accession).where(report_accession.c.object_id.in_(batch))):
            requests[r.object_id].add(r.accession_number)
    query = sa.select(analysis.c.id, analysis.c.narrative, analysis.c.sections)
    for batch in batches([row.analysis_id for row in rows]):
        for r in connection.execute(query.where(analysis.c.id.in_(batch))):
            whole = [{"body_start": 0, "end": len(r.narrative)}]
            words[r.id] = said(" ".join(r.narrative[s["body_start"] : s["end"]] for s in r.sections or whole))
    return requests, words
