"""``write-back``: what was found in a study's reports goes to archives as documents."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicomnlp.cli.auditing import local_user, open_audited
from dicomnlp.cli.context import checked_uid, err, out, settings_of, write_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicomnlp.config import Settings
    from dicomnlp.export.write_back import Sent
    from dicomnlp.pacs_settings import PacsSettings
    from dicomnlp.store.database import Database


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command("write-back")(write_back)


def write_back(
    context: typer.Context,
    studies: Annotated[
        list[str], typer.Argument(metavar="STUDY_INSTANCE_UID...", callback=lambda uids: [checked_uid(u) for u in uids])
    ],
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="NAME", help="An archive of the configuration; default: those of write_back.to."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a document.")] = False,
) -> None:
    """Send what is found in the reports of studies to archives: as DICOM SR (TID 1500, unverified), as FHIR, or both.

    What an archive has already is not sent again; what has changed is sent anew, and names what it takes the place of.
    What isn't taken now is tried again by the service.

    Example: dicomnlp write-back 1.2.826.0.1.3680043.10.1511.1.1 --to archive
    """
    from dicomnlp.errors import ConfigurationError
    from dicomnlp.export.write_back import archives_of, check_installed

    settings = settings_of(context)
    names = to or settings.write_back.to
    if not names:
        raise ConfigurationError("no archive is named: use --to NAME, or set write_back.to")
    archives = archives_of(settings, names)
    check_installed(archives)
    database = open_audited(context, "export")
    try:
        written = _write(settings, database, archives, studies)
        sent = _send(settings, database, archives, studies)
    finally:
        database.close()
    _tell(written, sent, as_json=as_json)
    if any(each.answer.reason_code for each in sent) or any(r["result"] == "not_written" for r in written):
        raise typer.Exit(1)


def _write(
    settings: "Settings", database: "Database", archives: "Sequence[PacsSettings]", studies: "Sequence[str]"
) -> list[dict[str, Any]]:
    from dicomnlp.errors import NotFoundError, ObjectError
    from dicomnlp.export.sr_statements import NotWritableError
    from dicomnlp.export.write_back import write_report
    from dicomnlp.store.written_documents import objects_of_study

    results: list[dict[str, Any]] = []
    for study in studies:
        objects = objects_of_study(database, study)
        if not objects:
            raise NotFoundError(f"no analysed report is held under study {study}")
        for object_id in objects:
            report = {"study_instance_uid": study, "object_id": object_id}
            try:
                found = write_report(settings, database, object_id, archives)
            except (ObjectError, NotWritableError) as error:
                results.append({**report, "result": "not_written", "reason_code": error.reason_code})
                continue
            results += [{**report, "form": form, "result": result.value} for form, result in found.items()]
    return results


def _send(
    settings: "Settings", database: "Database", archives: "Sequence[PacsSettings]", studies: "Sequence[str]"
) -> "list[Sent]":
    from dicomnlp.errors import AlreadyRunningError
    from dicomnlp.export.write_back import send_due

    found: list[Sent] = []
    tried: set[int] = set()
    try:
        while True:
            batch = send_due(settings, database, archives, principal=local_user(), studies=studies, but=tried)
            if not batch:
                return found
            found += batch
            tried |= {each.due.delivery_id for each in batch}
    except AlreadyRunningError:
        err.print("the service is sending just now, and sends these too: see dicomnlp deliveries list")
        return found


def _tell(written: list[dict[str, Any]], sent: "list[Sent]", *, as_json: bool) -> None:
    if as_json:
        for row in written:
            write_line(json.dumps(row))
        for each in sent:
            write_line(json.dumps(_row(each)))
        return
    for result in dict.fromkeys(r["result"] for r in written):
        count = sum(r["result"] == result for r in written)
        out.print(f"{count} {_WORDS[result][count != 1]}")
    for each in sent:
        row = _row(each)
        words = "sent" if row["state"] == "sent" else f"{row['state']}: {row['reason_code']}"
        out.print(f"{row['document_uid']} ({row['form']}) to {row['destination']}: {words}", soft_wrap=True)
    if not sent:
        out.print("nothing was to be sent")


def _row(each: "Sent") -> dict[str, Any]:
    document, code = each.due.document, each.answer.reason_code
    return {
        "document_uid": document.document_uid,
        "form": document.form,
        "study_instance_uid": document.study_instance_uid,
        "sop_instance_uid": document.source_sop_instance_uid,
        "destination": each.due.destination,
        "state": "sent" if code is None else "waiting" if each.again_at else "dead",
        "reason_code": code,
    }


_WORDS = {
    "written": ("document is new", "documents are new"),
    "unchanged": ("document says what is to be said already", "documents say what is to be said already"),
    "nothing": ("report has nothing to be written", "reports have nothing to be written"),
    "not_written": ("report can't be written", "reports can't be written"),
}
