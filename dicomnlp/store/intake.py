"""Arrivals into the database: what has come back from `record_arrivals` is safe."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import CANNOT_UNDERSTAND, DATA_SET_DOES_NOT_MATCH, DatabaseError
from dicomnlp.model import IntakeRecord, Outcome, Receipt, State, is_uid
from dicomnlp.store import faults
from dicomnlp.store.columns import clean
from dicomnlp.store.database import Database, lock_key
from dicomnlp.store.history import ENDED_BY_VERSION, end_periods
from dicomnlp.store.images import STUDY_CONFLICT, record_images
from dicomnlp.store.originals import write_original
from dicomnlp.store.records import identity_row
from dicomnlp.store.rows import Finder, Inserter
from dicomnlp.store.schema import LANE_ARRIVAL, finding, ledger, original, sop_instance

NO_STUDY = "study_instance_uid_missing"


_HELD = Finder(
    sop_instance.c.sop_instance_uid,
    sop_instance.c.id,
    sop_instance.c.sop_instance_uid,
    sop_instance.c.version,
    sop_instance.c.sha256,
    sop_instance.c.study_instance_uid,
    sop_instance.c.state,
    sop_instance.c.reason_code,
    sop_instance.c.is_current,
)
_OBJECTS = Inserter(sop_instance)
_ORIGINALS = Inserter(original)
_LEDGER = Inserter(ledger)


@dataclass(slots=True)
class _Version:
    """Bytes held, or about to be, under a SOP Instance UID."""

    version: int
    study_instance_uid: str
    quarantined: bool
    reason_code: str | None
    is_current: bool
    object_id: int | None
    """None until its row is inserted."""
    row: dict[str, Any] = field(default_factory=dict)
    data: bytes | None = None
    sightings: int = 0
    """How often it is in this group of arrivals."""
    last_seen_at: dt.datetime | None = None


@dataclass(slots=True)
class _Instance:
    """All that is held under one SOP Instance UID."""

    versions: dict[str, _Version] = field(default_factory=dict)
    """By SHA-256."""

    @property
    def current(self) -> _Version | None:
        return next((v for v in self.versions.values() if v.is_current), None)


@dataclass(slots=True)
class _Decision:
    outcome: Outcome
    status: int
    reason_code: str | None
    version: _Version | None

    @property
    def object_id(self) -> int | None:
        """Of the row of its version, once that is written."""
        return self.version.object_id if self.version else None


def record_arrivals(database: Database, records: Sequence[IntakeRecord]) -> list[Receipt]:
    """Write arrivals in one durable transaction; all of them or none.

    Each gets a row in the ledger. Those to keep are stored: the same bytes under the same SOP Instance UID once, other
    bytes as a further version, of which the last that came is current. An object that can't be linked to a study, or
    whose SOP Instance UID is held for another study, is kept in quarantine and changes nothing else. Of images the
    header is kept, by `images.record_images`.

    Returns
    -------
    list[Receipt]
        One a record, in their order.

    Raises
    ------
    DatabaseError
        Nothing has been recorded.
    """
    if not records:
        return []
    for record in records:
        if record.keep and len(record.arrival.data) > database.large_object_bytes:
            _write_large(database, record)
    return database.transact(lambda connection: _record(connection, database, records))


def _write_large(database: Database, record: IntakeRecord) -> None:
    if database.fence.is_closed:
        raise faults.database_error(faults.READ_ONLY)
    try:
        write_original(database.large_object_directory, record.sha256, record.arrival.data)
    except DatabaseError as error:
        database.note(error)
        raise


def _record(connection: Connection, database: Database, records: Sequence[IntakeRecord]) -> list[Receipt]:
    uids = [clean(r.identity.sop_instance_uid or r.arrival.sop_instance_uid) for r in records]
    kept = sorted({uid for uid, r in zip(uids, records, strict=True) if r.keep and r.image is None})
    images = [r for r in records if r.keep and r.image is not None]
    lock_instances(connection, [uid for uid, r in zip(uids, records, strict=True) if r.keep])
    instances = _load_instances(connection, kept)
    of_images = iter(record_images(connection, images) if images else ())
    decisions = []
    touched: dict[int, _Version] = {}
    # in order of arrival, which is the order of analysis
    for uid, record in zip(uids, records, strict=True):
        if record.keep and record.image is not None:
            decided = next(of_images)
            decisions.append(_Decision(decided.outcome, decided.status, decided.reason_code, None))
            continue
        decision = _decide(instances, uid, record, database.large_object_bytes)
        version = decision.version
        if version is not None:
            version.sightings += 1
            version.last_seen_at = record.received_at
            touched[id(version)] = version
        decisions.append(decision)
    new = [v for v in touched.values() if v.object_id is None]
    seen_again = [v for v in touched.values() if v.object_id is not None]
    if new:
        _write_versions(connection, instances, new)
    if seen_again:
        _count_sightings(connection, seen_again)
    _LEDGER.insert(connection, [_ledger_row(u, r, d) for u, r, d in zip(uids, records, decisions, strict=True)])
    return [
        Receipt(
            outcome=d.outcome,
            status=d.status,
            reason_code=d.reason_code,
            sop_instance_uid=u,
            study_instance_uid=r.identity.study_instance_uid,
            object_id=d.object_id,
        )
        for u, r, d in zip(uids, records, decisions, strict=True)
    ]


def _load_instances(connection: Connection, uids: Sequence[str]) -> dict[str, _Instance]:
    instances = {uid: _Instance() for uid in uids}
    if not uids:
        return instances
    for object_id, uid, version, sha256, study, state, reason_code, is_current in _HELD.find(connection, uids):
        instances[uid].versions[sha256] = _Version(
            version=version,
            study_instance_uid=study,
            quarantined=state == State.QUARANTINED,
            reason_code=reason_code,
            is_current=bool(is_current),
            object_id=object_id,
        )
    return instances


def lock_instances(connection: Connection, uids: Sequence[str]) -> None:
    """Let no other transaction decide about versions of these SOP instances until this one ends."""
    if uids and connection.dialect.name == "postgresql":
        # other listeners that hold the same SOP instance wait here; in one order, so that none waits for ever
        keys = sa.func.unnest(sa.cast(sorted({lock_key(f"instance {u}") for u in uids}), sa.ARRAY(sa.BigInteger)))
        ordered = sa.select(keys.column_valued("key")).subquery()
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ordered.c.key)))


def _decide(instances: dict[str, _Instance], uid: str, record: IntakeRecord, large_object_bytes: int) -> _Decision:
    if not record.keep:
        return _Decision(Outcome.REFUSED, record.status, record.reason_code, None)
    instance = instances[uid]
    known = instance.versions.get(record.sha256)
    if known is not None:
        if known.quarantined:
            return _Decision(Outcome.QUARANTINED, _status(record, known.reason_code), known.reason_code, known)
        return _Decision(Outcome.DUPLICATE, record.status, None, known)
    current = instance.current
    reason_code = record.reason_code
    if reason_code is None and not is_uid(record.identity.study_instance_uid):
        reason_code = NO_STUDY
    settled = current is not None and not current.quarantined
    if (
        reason_code is None
        and current is not None
        and settled
        and current.study_instance_uid != record.identity.study_instance_uid
    ):
        reason_code = STUDY_CONFLICT
    quarantined = reason_code is not None
    version = _Version(
        version=max((v.version for v in instance.versions.values()), default=0) + 1,
        study_instance_uid=record.identity.study_instance_uid,
        quarantined=quarantined,
        reason_code=reason_code,
        is_current=not (quarantined and settled),
        object_id=None,
        row=_object_row(uid, record),
        data=record.arrival.data if len(record.arrival.data) <= large_object_bytes else None,
    )
    if current is not None and version.is_current:
        current.is_current = False
    instance.versions[record.sha256] = version
    if quarantined:
        return _Decision(Outcome.QUARANTINED, _status(record, reason_code), reason_code, version)
    return _Decision(Outcome.NEW_VERSION if current else Outcome.STORED, record.status, None, version)


def _status(record: IntakeRecord, reason_code: str | None) -> int:
    """What a quarantined object is answered with: intake's own status if it had found the fault."""
    if record.reason_code is not None:
        return record.status
    return DATA_SET_DOES_NOT_MATCH if reason_code == STUDY_CONFLICT else CANNOT_UNDERSTAND


def _object_row(uid: str, record: IntakeRecord) -> dict[str, Any]:
    arrival, identity = record.arrival, record.identity
    return {
        "sop_instance_uid": uid,
        "sha256": record.sha256,
        "size": len(arrival.data),
        "sop_class_uid": identity.sop_class_uid or arrival.sop_class_uid,
        "transfer_syntax_uid": arrival.transfer_syntax_uid,
        "study_instance_uid": identity.study_instance_uid,
        **identity_row(identity),
        "door": arrival.door.value,
        "calling_ae_title": arrival.calling_ae_title,
        "received_at": record.received_at,
        "state_changed_at": record.received_at,
        "attempts": 0,
        "lane": LANE_ARRIVAL,
    }


def _write_versions(connection: Connection, instances: dict[str, _Instance], new: Sequence[_Version]) -> None:
    superseded = [
        v.object_id
        for i in instances.values()
        for v in i.versions.values()
        if v.object_id is not None and not v.is_current
    ]
    if superseded:
        # the object first: whoever is saving findings of it holds its row until these can be seen here
        for table, key in ((sop_instance, sop_instance.c.id), (finding, finding.c.object_id)):
            connection.execute(sa.update(table).where(key.in_(superseded), table.c.is_current).values(is_current=False))
        end_periods(connection, superseded, max(v.row["received_at"] for v in new), ENDED_BY_VERSION)
    rows = [
        {
            **v.row,
            "version": v.version,
            "is_current": v.is_current,
            "state": (State.QUARANTINED if v.quarantined else State.PENDING).value,
            "reason_code": v.reason_code,
            "last_seen_at": v.last_seen_at,
            "seen_count": v.sightings,
        }
        for v in new
    ]
    for version, object_id in zip(new, _OBJECTS.insert_returning_ids(connection, rows), strict=True):
        version.object_id = object_id
    small = [{"object_id": v.object_id, "data": v.data} for v in new if v.data is not None]
    if small:
        _ORIGINALS.insert(connection, small)


def _count_sightings(connection: Connection, seen_again: Sequence[_Version]) -> None:
    connection.execute(
        sa.update(sop_instance)
        .where(sop_instance.c.id == sa.bindparam("object_id"))
        .values(
            seen_count=sop_instance.c.seen_count + sa.bindparam("sightings"),
            last_seen_at=sa.bindparam("at"),
        ),
        [{"object_id": v.object_id, "sightings": v.sightings, "at": v.last_seen_at} for v in seen_again],
    )


def _ledger_row(uid: str, record: IntakeRecord, decision: _Decision) -> dict[str, Any]:
    arrival, identity = record.arrival, record.identity
    return {
        "received_at": record.received_at,
        "door": arrival.door.value,
        "calling_ae_title": arrival.calling_ae_title,
        "called_ae_title": arrival.called_ae_title,
        "peer_address": arrival.peer_address,
        "sop_class_uid": _uid_or_none(identity.sop_class_uid or arrival.sop_class_uid),
        "sop_instance_uid": _uid_or_none(uid),
        "study_instance_uid": _uid_or_none(identity.study_instance_uid),
        "transfer_syntax_uid": _uid_or_none(arrival.transfer_syntax_uid),
        "sha256": record.sha256,
        "size": record.image.size if record.image else len(arrival.data),
        "outcome": decision.outcome.value,
        "status": decision.status,
        "reason_code": decision.reason_code,
        "object_id": decision.object_id,
    }


def _uid_or_none(text: str) -> str | None:
    return text if is_uid(text) else None
