"""Whom rows of the audit trail are about, looked up when they are told to a collector."""

from collections import defaultdict
from collections.abc import Collection

import sqlalchemy as sa

from dicomnlp.store.batches import batches
from dicomnlp.store.database import Database
from dicomnlp.store.schema import sop_instance


def patients_of_studies(database: Database, study_instance_uids: Collection[str]) -> dict[str, list[str]]:
    """Study -> the patient identifiers that its objects have, those without any left out."""
    columns = sop_instance.c
    found: defaultdict[str, list[str]] = defaultdict(list)
    with database.read() as connection:
        for batch in batches(study_instance_uids):
            query = (
                sa.select(columns.study_instance_uid, columns.patient_id)
                .where(columns.study_instance_uid.in_(batch), columns.patient_id != "")
                .distinct()
                .order_by(columns.study_instance_uid, columns.patient_id)
            )
            for row in connection.execute(query):
                found[row.study_instance_uid].append(row.patient_id)
    return dict(found)
