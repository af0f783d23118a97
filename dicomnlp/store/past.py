"""What counted for a study at a moment in the past."""

import datetime as dt
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.store.batches import batches
from dicomnlp.store.documents import BELONGS, IDENTICAL
from dicomnlp.store.facts import read_held_with
from dicomnlp.store.prevailing import ReportStatus, prevail
from dicomnlp.store.schema import report_study


def known_at(
    connection: Connection, study_instance_uid: str, object_ids: Collection[int], as_of: dt.datetime
) -> dict[int, int]:
    """The analyses, of these objects and of reports related to them, that spoke for the study; each with its object."""
    held = read_held_with(connection, object_ids, as_of)
    standings = prevail(h.facts for h in held)
    by_uid = {h.facts.sop_instance_uid: h.facts.object_id for h in held}
    belonging = _belonging(connection, study_instance_uid, [h.facts.object_id for h in held])
    for h in held:
        standing = standings[h.facts.object_id]
        if standing.status is ReportStatus.IDENTICAL and h.facts.object_id in belonging and standing.by in by_uid:
            belonging.add(by_uid[standing.by])
    return {
        h.analysis_id: h.facts.object_id
        for h in held
        if h.speaks
        and h.facts.object_id in belonging
        and standings[h.facts.object_id].status is ReportStatus.PREVAILING
    }


def _belonging(connection: Connection, study_instance_uid: str, object_ids: Collection[int]) -> set[int]:
    columns = report_study.c
    # a copy that stands for another today need not have stood for it then
    stated = [kind for kind in BELONGS if kind != IDENTICAL]
    return {
        object_id
        for batch in batches(object_ids)
        for object_id in connection.scalars(
            sa.select(columns.object_id).where(
                columns.object_id.in_(batch),
                columns.study_instance_uid == study_instance_uid,
                columns.kind.in_(stated),
            )
        )
    }
