"""Headers of images: what is known of the series of a study whose images are forwarded too."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import DATA_SET_DOES_NOT_MATCH
from dicomnlp.model import IntakeRecord, Outcome, to_json
from dicomnlp.store.database import Database
from dicomnlp.store.follow_up_pending import mark_studies
from dicomnlp.store.schema import IMAGE_COLUMNS, image
from dicomnlp.store.scope import visible

STUDY_CONFLICT = "study_conflict"
"""The SOP Instance UID is held for another study: one of the two is wrong, and which one only people can tell."""
_KEY = image.c.sop_instance_uid == sa.bindparam("key")


@dataclass(frozen=True, slots=True)
class ImageDecision:
    """What became of an image: outcome, DIMSE status, reason code when it is refused."""

    outcome: Outcome
    status: int
    reason_code: str | None


@dataclass(frozen=True, slots=True)
class ImageSeries:
    """A series of images, from the headers of those that were sent."""

    study_instance_uid: str
    series_instance_uid: str
    series_number: str
    modality: str
    body_part_examined: str
    laterality: str
    """The series' own; where it has none, that of its images if these agree; "" else."""
    study_date: str
    series_date: str
    acquisition_date: str
    """The earliest of its images."""
    study_description: str
    series_description: str
    protocol_name: str
    manufacturer: str
    images: int
    received_at: dt.datetime
    """When the last of them came first."""

    def to_json(self) -> dict[str, Any]:
        """The series in the public form."""
        json: dict[str, Any] = to_json(self)
        return json


def record_images(connection: Connection, records: Sequence[IntakeRecord]) -> list[ImageDecision]:
    """Keep the headers of images, within a transaction that holds the locks of their SOP Instance UIDs.

    The same bytes again are counted, other bytes under the same SOP Instance UID replace the header; an image whose UID
    is held for another study is refused. One decision a record, in their order.
    """
    uids = sorted({r.identity.sop_instance_uid for r in records})
    columns = (image.c.sop_instance_uid, image.c.sha256, image.c.study_instance_uid)
    held = {
        row.sop_instance_uid: (row.sha256, row.study_instance_uid)
        for row in connection.execute(sa.select(*columns).where(image.c.sop_instance_uid.in_(uids)))
    }
    new: dict[str, dict[str, Any]] = {}
    changed: dict[str, dict[str, Any]] = {}
    seen: dict[str, dict[str, Any]] = {}
    decisions = []
    for record in records:
        uid = record.identity.sop_instance_uid
        known = held.get(uid)
        if known is not None and known[1] != record.identity.study_instance_uid:
            decisions.append(ImageDecision(Outcome.REFUSED, DATA_SET_DOES_NOT_MATCH, STUDY_CONFLICT))
            continue
        is_same = known is not None and known[0] == record.sha256
        if known is None:
            new[uid] = _row(record)
        elif is_same:
            _count(uid, record, new, changed, seen)
        elif uid in new:
            new[uid] = _row(record) | {"seen_count": new[uid]["seen_count"]}
        else:
            changed[uid] = _row(record)
        held[uid] = (record.sha256, record.identity.study_instance_uid)
        decisions.append(ImageDecision(Outcome.DUPLICATE if is_same else Outcome.INDEXED, record.status, None))
    mark_studies(connection, {row["study_instance_uid"] for row in (*new.values(), *changed.values())})
    if new:
        connection.execute(sa.insert(image), list(new.values()))
    if changed:
        names = [name for name in next(iter(changed.values())) if name != "sop_instance_uid"]
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names}
        connection.execute(
            sa.update(image).where(_KEY).values(values),
            [{"key": uid, **{f"new_{name}": row[name] for name in names}} for uid, row in changed.items()],
        )
    if seen:
        connection.execute(
            sa.update(image)
            .where(_KEY)
            .values(seen_count=image.c.seen_count + sa.bindparam("sightings"), last_seen_at=sa.bindparam("at")),
            [{"key": uid, **values} for uid, values in seen.items()],
        )
    return decisions


def _count(
    uid: str,
    record: IntakeRecord,
    new: dict[str, dict[str, Any]],
    changed: dict[str, dict[str, Any]],
    seen: dict[str, dict[str, Any]],
) -> None:
    """Note that the same image came again, in the row that is about to be written if there is one."""
    row = new.get(uid) or changed.get(uid)
    if row is not None:
        row["seen_count"] += 1
        row["last_seen_at"] = record.received_at
        return
    again = seen.setdefault(uid, {"sightings": 0})
    again["sightings"] += 1
    again["at"] = record.received_at


def _row(record: IntakeRecord) -> dict[str, Any]:
    header = record.image
    assert header is not None
    identity = record.identity
    return {
        "sop_instance_uid": identity.sop_instance_uid,
        "sop_class_uid": identity.sop_class_uid,
        "study_instance_uid": identity.study_instance_uid,
        **{name: getattr(identity if hasattr(identity, name) else header, name) for name in IMAGE_COLUMNS},
        "transfer_syntax_uid": record.arrival.transfer_syntax_uid,
        "sha256": record.sha256,
        "size": header.size,
        "door": record.arrival.door.value,
        "calling_ae_title": record.arrival.calling_ae_title,
        "received_at": record.received_at,
        "last_seen_at": record.received_at,
        "seen_count": 1,
    }


def series_of_study(database: Database, study_instance_uid: str) -> list[ImageSeries]:
    """The series of a study of which images were sent, by series number; none when no image was."""
    columns = image.c
    query = (
        sa.select(
            columns.series_instance_uid,
            *(
                sa.func.max(columns[name]).label(name)
                for name in (
                    "series_number",
                    "modality",
                    "body_part_examined",
                    "laterality",
                    "study_date",
                    "series_date",
                    "study_description",
                    "series_description",
                    "protocol_name",
                    "manufacturer",
                )
            ),
            sa.func.max(columns.image_laterality).label("last_laterality"),
            sa.func.min(columns.image_laterality).label("first_laterality"),
            sa.func.min(sa.func.nullif(columns.acquisition_date, "")).label("acquisition_date"),
            sa.func.count().label("images"),
            sa.func.max(columns.received_at, type_=columns.received_at.type).label("received_at"),
        )
        .where(columns.study_instance_uid == study_instance_uid, *visible(database.scope, image))
        .group_by(columns.series_instance_uid)
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
    found = [
        ImageSeries(
            study_instance_uid=study_instance_uid,
            series_instance_uid=row.series_instance_uid,
            series_number=row.series_number,
            modality=row.modality,
            body_part_examined=row.body_part_examined,
            laterality=row.laterality or (row.last_laterality if row.first_laterality == row.last_laterality else ""),
            study_date=row.study_date,
            series_date=row.series_date,
            acquisition_date=row.acquisition_date or "",
            study_description=row.study_description,
            series_description=row.series_description,
            protocol_name=row.protocol_name,
            manufacturer=row.manufacturer,
            images=row.images,
            received_at=row.received_at,
        )
        for row in rows
    ]
    return sorted(found, key=lambda s: (_number(s.series_number), s.series_instance_uid))


def _number(text: str) -> float:
    """A series number for ordering; what is none comes last."""
    return float(text) if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() else float("inf")
