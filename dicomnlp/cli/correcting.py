"""Commands that put right what objects say wrongly of themselves: quarantine, assign, restore, patients."""

import json
from typing import Annotated

import typer

from dicomnlp.cli.auditing import open_audited
from dicomnlp.cli.context import checked_uid, out, write_line
from dicomnlp.cli.tables import print_records, printable
from dicomnlp.model import utc_text

patients_app = typer.Typer(
    help="Patients whose identifier changed: merge, unmerge, show. Headers of objects stay as they came.",
    no_args_is_help=True,
)

Issuer = Annotated[
    str, typer.Option("--issuer", help="IssuerOfPatientID of both; without it, of objects that name none.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command()(quarantine)
    app.command()(assign)
    app.command()(restore)
    app.add_typer(patients_app, name="patients")


def quarantine(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest are shown.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line an object.")] = False,
) -> None:
    """Show objects that can't be linked to a study, or whose SOP Instance UID is held for another study.

    With each, what tells where it belongs: accession number, patient, date, and the studies held of the same patient
    under the same accession number.

    Example: dicomnlp quarantine
    """
    from dicomnlp.store.quarantine import read_quarantine

    database = open_audited(context, "query")
    rows = read_quarantine(database, limit)
    database.close()
    if as_json:
        for row in rows:
            write_line(json.dumps(row.to_json(), ensure_ascii=False))
        return
    if not rows:
        out.print("nothing is in quarantine")
        return
    print_records(
        ("received", "reason", "SOP instance", "study", "accession", "patient", "date", "sender", "may belong to"),
        [
            (
                utc_text(row.received_at),
                row.reason_code or "",
                row.sop_instance_uid,
                row.study_instance_uid,
                row.accession_number,
                row.patient_id,
                row.study_date,
                row.calling_ae_title,
                " ".join(row.candidate_studies or [row.held_study_instance_uid]),
            )
            for row in rows
        ],
    )


def assign(
    context: typer.Context,
    sop_instance_uid: Annotated[str, typer.Argument(callback=checked_uid, help="SOPInstanceUID in quarantine.")],
    study_instance_uid: Annotated[
        str | None,
        typer.Argument(callback=lambda v: v and checked_uid(v), help="StudyInstanceUID that it belongs to."),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the latest assignment back.")] = False,
) -> None:
    """Take an object out of quarantine into a study; it is processed next. The assignment is recorded.

    Example: dicomnlp assign 1.2.826.0.1.3680043.8.498.2 1.2.826.0.1.3680043.8.498.1
    """
    from dicomnlp.store.quarantine import assign_study, undo_assignment

    if undo == (study_instance_uid is not None):
        raise typer.BadParameter("name the study, or --undo")
    database = open_audited(context, "admin")
    try:
        if study_instance_uid is None:
            undo_assignment(database, sop_instance_uid)
            write_line(f"{sop_instance_uid} is in quarantine again")
        else:
            assign_study(database, sop_instance_uid, study_instance_uid)
            write_line(f"{sop_instance_uid} belongs to {study_instance_uid} and waits to be processed")
    finally:
        database.close()


def restore(
    context: typer.Context,
    sop_instance_uid: Annotated[
        str, typer.Argument(callback=checked_uid, help="SOPInstanceUID of a report that a rejection note withdrew.")
    ],
    undo: Annotated[bool, typer.Option("--undo", help="Let the notes reject it again.")] = False,
) -> None:
    """Let a report that was rejected in error count again; reversible, and recorded. A later note rejects it anew.

    Example: dicomnlp restore 1.2.826.0.1.3680043.8.498.2
    """
    from dicomnlp.store.rejections import revoke_rejection, undo_revocation

    database = open_audited(context, "admin")
    try:
        notes = (undo_revocation if undo else revoke_rejection)(database, sop_instance_uid)
    finally:
        database.close()
    counts = "count again" if undo else "no longer count"
    write_line(f"rejection notes that {counts} for {sop_instance_uid}: {' '.join(notes)}")


@patients_app.command("merge")
def merge(
    context: typer.Context,
    old_patient_id: Annotated[str, typer.Argument(help="PatientID that is given up.")],
    new_patient_id: Annotated[str, typer.Argument(help="PatientID that holds from now on.")],
    issuer: Issuer = "",
) -> None:
    """Let what is held under one patient identifier count as another's; reversible, and recorded.

    Example: dicomnlp patients merge 4711 4712 --issuer HOSPITAL
    """
    from dicomnlp.store.merges import merge_patients

    database = open_audited(context, "admin")
    try:
        merge_patients(database, old_patient_id, new_patient_id, issuer)
    finally:
        database.close()
    write_line("merged")


@patients_app.command("unmerge")
def unmerge(
    context: typer.Context,
    old_patient_id: Annotated[str, typer.Argument(help="PatientID that was given up.")],
    new_patient_id: Annotated[str, typer.Argument(help="PatientID that it was merged into.")],
    issuer: Issuer = "",
) -> None:
    """Undo a merge; its record stays.

    Example: dicomnlp patients unmerge 4711 4712 --issuer HOSPITAL
    """
    from dicomnlp.store.merges import unmerge_patients

    database = open_audited(context, "admin")
    try:
        unmerge_patients(database, old_patient_id, new_patient_id, issuer)
    finally:
        database.close()
    write_line("unmerged")


@patients_app.command("show")
def show(
    context: typer.Context,
    patient_id: Annotated[str, typer.Argument(help="PatientID, current or given up.")],
    issuer: Issuer = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show the current identifier of a patient, the others, the studies held under any of them, and all merges.

    Example: dicomnlp patients show 4711 --issuer HOSPITAL
    """
    from dicomnlp.store.patients import read_patient

    database = open_audited(context, "view")
    try:
        patient = read_patient(database, patient_id, issuer)
    finally:
        database.close()
    if as_json:
        write_line(json.dumps(patient.to_json(), ensure_ascii=False))
        return
    out.print(f"current: {printable(patient.patient_id)}", markup=False)
    for other in patient.other_patient_ids:
        out.print(f"also: {printable(other)}", markup=False)
    for study in patient.studies:
        out.print(f"study: {printable(study)}", markup=False)
    for m in patient.merges:
        undone = f", undone {utc_text(m.unmerged_at)}" if m.unmerged_at else ""
        ids = f"{printable(m.old_patient_id)} into {printable(m.new_patient_id)}"
        out.print(f"merge: {ids}, {utc_text(m.merged_at)}{undone}", markup=False)
