"""Commands about critical results, and about what others are told: `critical`, `acknowledge`, `deliveries`."""

import datetime as dt
import json
from typing import Annotated

import typer

from dicomnlp.cli.auditing import local_user, open_audited
from dicomnlp.cli.context import checked_uid, out, settings_of, write_line
from dicomnlp.cli.tables import print_records
from dicomnlp.model import utc_text

deliveries_app = typer.Typer(
    no_args_is_help=True,
    help="What webhooks, mails and HL7 receivers were told, and what they didn't take.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_DAY = ["%Y-%m-%d"]
_SHOWN = 100


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command()(critical)
    app.command()(acknowledge)
    deliveries_app.command("list")(list_all)
    deliveries_app.command("retry")(retry)
    deliveries_app.command("send")(send)
    app.add_typer(deliveries_app, name="deliveries")


def critical(
    context: typer.Context,
    category: Annotated[
        int | None, typer.Option(min=1, max=3, help="1 within minutes, 2 within hours, 3 within days.")
    ] = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="open, documented or acknowledged; default: all.")
    ] = None,
    date_from: Annotated[
        dt.datetime | None, typer.Option("--from", formats=_DAY, help="Date of the study, the first.")
    ] = None,
    date_to: Annotated[
        dt.datetime | None, typer.Option("--to", formats=_DAY, help="Date of the study, the last.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = _SHOWN,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a report.")] = False,
) -> None:
    """Show reports with something that somebody must be told, the newest study first.

    With each its category (ACR), how long it is known, and whether the report says that somebody was told.

    Example: dicomnlp critical --category 1 --state open
    """
    from dicomnlp.export.critical_results import MAXIMUM_PAGE, CriticalResult, CriticalState, critical_results
    from dicomnlp.store.critical import CriticalFilters

    states = [s.value for s in CriticalState]
    if state is not None and state not in states:
        raise typer.BadParameter(f"one of {', '.join(states)}", param_hint="--state")
    filters = CriticalFilters(date_from.date() if date_from else None, date_to.date() if date_to else None)
    found: list[CriticalResult] = []
    database = open_audited(context, "query")
    try:
        after = None
        while len(found) < limit:
            page = critical_results(
                database,
                filters,
                category=category,
                state=CriticalState(state) if state else None,
                after=after,
                limit=min(MAXIMUM_PAGE, limit - len(found)),
            )
            found += page.results
            after = page.next
            if after is None:
                break
    finally:
        database.close()
    now = dt.datetime.now(dt.UTC)
    if as_json:
        for result in found:
            write_line(json.dumps(result.to_json(now), ensure_ascii=False))
        return
    if not found:
        out.print("no critical results")
        return
    print_records(
        ("category", "age", "state", "findings", "patient", "study date", "SOP instance", "sentence"),
        [
            (
                str(r.category),
                _age(r.age(now)),
                r.state.value,
                ", ".join(f.finding.concept.meaning for f in r.found),
                r.report.patient_id,
                r.report.study_date,
                r.report.sop_instance_uid,
                r.found[0].finding.sentence,
            )
            for r in found
        ],
    )


def _age(age: dt.timedelta) -> str:
    minutes = int(age.total_seconds()) // 60
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} d"


def acknowledge(
    context: typer.Context,
    sop_instance_uid: Annotated[str, typer.Argument(callback=checked_uid, help="SOPInstanceUID of the report.")],
    recipient: Annotated[str, typer.Option("--recipient", help="Whom it was told to.")] = "",
    note: Annotated[str, typer.Option("--note", help="What else there is to say.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take it back.")] = False,
) -> None:
    """Answer for the critical result of a report; recorded in the audit trail, and it can be taken back.

    Example: dicomnlp acknowledge 1.2.826.0.1.3680043.8.498.2 --recipient "Ward 3"
    """
    from dicomnlp.export.critical_results import critical_result
    from dicomnlp.store.critical import acknowledge as confirm
    from dicomnlp.store.critical import undo_acknowledgement

    database = open_audited(context, "admin")
    try:
        result = critical_result(database, sop_instance_uid)
        if undo:
            undo_acknowledgement(database, sop_instance_uid, by=local_user())
            write_line(f"{sop_instance_uid} is no longer acknowledged")
        else:
            confirm(database, sop_instance_uid, result.concepts, by=local_user(), recipient=recipient, note=note)
            write_line(f"{sop_instance_uid} is acknowledged")
    finally:
        database.close()


def list_all(
    context: typer.Context,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="waiting, sent, dead (given up) or dropped (no longer true).")
    ] = None,
    destination: Annotated[str | None, typer.Option(metavar="NAME", help="Of one destination.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="So many of the latest.")] = _SHOWN,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a delivery.")] = False,
) -> None:
    """Show what was, is or was to be told, the latest first.

    Example: dicomnlp deliveries list --state dead
    """
    from dicomnlp.store.deliveries import DeliveryState, list_deliveries

    states = [s.value for s in DeliveryState]
    if state is not None and state not in states:
        raise typer.BadParameter(f"one of {', '.join(states)}", param_hint="--state")
    database = open_audited(context, "query")
    try:
        wanted = DeliveryState(state) if state else None
        found = list_deliveries(database, state=wanted, name=destination, limit=limit).deliveries
    finally:
        database.close()
    if as_json:
        for each in found:
            write_line(json.dumps(each.to_json()))
        return
    if not found:
        out.print("nothing was to be told")
        return
    print_records(
        ("number", "destination", "what", "state", "attempts", "reason", "since", "next", "SOP instance"),
        [
            (
                str(d.id),
                d.destination,
                d.topic,
                d.state.value,
                str(d.attempts),
                d.reason_code or "",
                utc_text(d.created_at),
                utc_text(d.due_at) if d.due_at else "",
                d.sop_instance_uid,
            )
            for d in found
        ],
    )


def retry(
    context: typer.Context,
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="NUMBER...", help="As `deliveries list` shows them; none: all dead.")
    ] = None,
) -> None:
    """Have deliveries that were given up tried again by the service.

    Example: dicomnlp deliveries retry
    """
    from dicomnlp.store.deliveries import retry_deliveries

    database = open_audited(context, "admin")
    try:
        count = retry_deliveries(database, numbers or None)
    finally:
        database.close()
    write_line(f"{count} to be tried again")


def send(
    context: typer.Context,
    studies: Annotated[
        list[str],
        typer.Argument(metavar="STUDY_INSTANCE_UID...", callback=lambda uids: [checked_uid(u) for u in uids]),
    ],
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="One of [[hl7_receivers]].")],
) -> None:
    """Have the findings of studies sent to an HL7 receiver by the service; what it was told last is not sent again.

    Example: dicomnlp deliveries send 1.2.826.0.1.3680043.10.1511.1.1 --to ris
    """
    from dicomnlp.errors import UsageError
    from dicomnlp.store.deliveries import add_deliveries
    from dicomnlp.store.queries import reports_of_study
    from dicomnlp.work.telling import findings_delivery

    names = [r.name for r in settings_of(context).hl7_receivers]
    if to not in names:
        raise UsageError(f"no entry of [[hl7_receivers]] is called so; there are: {', '.join(names) or 'none'}")
    database = open_audited(context, "export")
    try:
        uids = {r.sop_instance_uid for study in studies for r in reports_of_study(database, study)}
        new = [d for uid in sorted(uids) if (d := findings_delivery(database, to, uid)) is not None]
        count = add_deliveries(database, to, new)
    finally:
        database.close()
    write_line(f"{count} to be sent; `dicomnlp deliveries list` shows what becomes of it")
