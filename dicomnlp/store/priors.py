"""Other reports of a study's patient: what a reader compares with."""

from collections import defaultdict
from dataclasses import dataclass

import sqlalchemy as sa

from dicomnlp.store.batches import batches
from dicomnlp.store.database import Database
from dicomnlp.store.patients import current_patients, family_of
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.schema import finding, report_profile, report_standing, sop_instance
from dicomnlp.store.scope import visible
from dicomnlp.store.worklist import Statement, summary

MAXIMUM = 30
"""Reports that are listed; of a patient with more, the newest."""


@dataclass(frozen=True, slots=True)
class OtherReport:
    """A prevailing report of another study of the patient."""

    study_instance_uid: str
    sop_instance_uid: str
    study_date: str
    study_description: str
    modality: str
    stated: tuple[Statement, ...]
    """As `WorklistReport.stated`."""


def other_reports(database: Database, study_instance_uid: str) -> list[OtherReport]:
    """Prevailing reports of other studies of the patient, under any identifier merged with its own, the newest first.

    None where the study's reports name no patient.
    """
    columns, standing = sop_instance.c, report_standing.c
    with database.read() as connection:
        patients = {
            (row.patient_id, row.issuer_of_patient_id)
            for row in connection.execute(
                sa.select(columns.patient_id, columns.issuer_of_patient_id)
                .where(columns.study_instance_uid == study_instance_uid, columns.patient_id != "")
                .distinct()
            )
        }
        family = set()
        for current in set(current_patients(connection, patients).values()):
            family |= family_of(connection, current)
        if not family:
            return []
        # by the index of patient_id; the issuer is looked at after
        rows = (
            connection.execute(
                sa.select(sop_instance, report_profile.c.modality.label("modality_of_study"))
                .join(report_standing, standing.object_id == columns.id)
                .outerjoin(report_profile, report_profile.c.object_id == columns.id)
                .where(
                    columns.patient_id.in_(sorted({patient_id for patient_id, _ in family})),
                    columns.study_instance_uid != study_instance_uid,
                    columns.is_current,
                    standing.status == ReportStatus.PREVAILING.value,
                    *visible(database.scope),
                )
                .order_by(columns.study_date.desc(), columns.id.desc())
            )
            .mappings()
            .all()
        )
        rows = [row for row in rows if (row["patient_id"], row["issuer_of_patient_id"]) in family][:MAXIMUM]
        found = defaultdict(list)
        for batch in batches([row["id"] for row in rows]):
            query = sa.select(finding).where(finding.c.object_id.in_(batch), finding.c.is_current)
            for row in connection.execute(query).mappings():
                found[row["object_id"]].append(row)
    return [
        OtherReport(
            row["study_instance_uid"],
            row["sop_instance_uid"],
            row["study_date"],
            row["study_description"],
            (row["modality_of_study"] or "").replace("\\", " "),
            summary(found[row["id"]]),
        )
        for row in rows
    ]
