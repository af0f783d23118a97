"""Studies of which images came, one row each, so that a patient's are found without reading all headers of images."""

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.store.batches import batches, select_in
from dicomnlp.store.schema import image
from dicomnlp.store.schema_follow_up import image_study

_TOLD = (
    "patient_id",
    "issuer_of_patient_id",
    "study_date",
    "study_time",
    "modality",
    "body_part_examined",
    "laterality",
    "image_laterality",
    "study_description",
    "series_description",
    "protocol_name",
)
_LISTED = {
    "modalities": ("modality",),
    "body_parts_examined": ("body_part_examined",),
    "lateralities": ("laterality", "image_laterality"),
}
_MOST = 50
"""Different descriptions of a study that are kept."""


def studies_with_images(connection: Connection, study_instance_uids: Collection[str]) -> set[str]:
    """Those of these studies of which images are, or were, held."""
    return {
        uid
        for table in (image, image_study)
        for uid in select_in(connection, table.c.study_instance_uid, table.c.study_instance_uid, study_instance_uids)
    }


def summarise_images(connection: Connection, study_instance_uids: Collection[str]) -> None:
    """Write the rows of these studies anew, from the headers that are held of their images."""
    columns = image.c
    told: defaultdict[str, list[Any]] = defaultdict(list)
    for batch in batches(study_instance_uids):
        query = (
            sa.select(columns.study_instance_uid, *(columns[name] for name in _TOLD), sa.func.count().label("images"))
            .where(columns.study_instance_uid.in_(batch))
            .group_by(columns.study_instance_uid, *(columns[name] for name in _TOLD))
        )
        for row in connection.execute(query).mappings():
            told[row["study_instance_uid"]].append(row)
        # in one order, see `mark_studies`
        connection.execute(
            sa.delete(image_study).where(image_study.c.study_instance_uid == sa.bindparam("study")),
            [{"study": uid} for uid in sorted(batch)],
        )
    if told:
        connection.execute(sa.insert(image_study), [_row(uid, rows) for uid, rows in sorted(told.items())])


def _row(study_instance_uid: str, rows: list[Any]) -> dict[str, Any]:
    patients: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        patients[tuple(row[name] for name in _TOLD[:4])] += row["images"]
    # of equally many the one that sorts last, so that it is the same each time
    (patient_id, issuer, date, time), _ = max(patients.items(), key=lambda each: (each[1], each[0]))
    names = {row[name] for row in rows for name in ("study_description", "series_description", "protocol_name")}
    return {
        "study_instance_uid": study_instance_uid,
        "patient_id": patient_id,
        "issuer_of_patient_id": issuer,
        "study_date": date,
        "study_time": time,
        **{
            column: "\\".join(sorted({row[name].strip().upper() for row in rows for name in names_of} - {""}))
            for column, names_of in _LISTED.items()
        },
        "descriptions": sorted(names - {""})[:_MOST],
    }
