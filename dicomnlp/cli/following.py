"""Commands of follow-up and of the course of lesions."""

import datetime as dt
import itertools
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dicomnlp.cli.auditing import local_user, open_audited
from dicomnlp.cli.context import checked_uid, err, open_database, out, write_line, write_text
from dicomnlp.cli.tables import print_records
from dicomnlp.errors import UsageError
from dicomnlp.model import RecommendationKind

if TYPE_CHECKING:
    from dicomnlp.store.database import Database
    from dicomnlp.store.follow_up_items import StoredItem

_SHOWN = 50
"""Items in a table, unless more are asked for."""

follow_up = typer.Typer(
    no_args_is_help=True,
    help="What is owed to patients: recommendations, and the later examinations that answer them.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    follow_up.command("list")(list_owed)
    follow_up.command("show")(show)
    follow_up.command("dismiss")(dismiss)
    follow_up.command("reopen")(reopen)
    follow_up.command("refresh")(refresh)
    app.add_typer(follow_up, name="follow-up")
    app.command()(timeline)


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("not a date: write 2026-11-22") from None


def _today() -> dt.date:
    return dt.datetime.now().astimezone().date()


def list_owed(
    context: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="open, due, overdue, done or dismissed; may be repeated."),
    ] = None,
    category: Annotated[str | None, typer.Option("--category", help="imaging, tissue or visit.")] = None,
    modality: Annotated[str | None, typer.Option("--modality", help="A DICOM modality that will do, e.g. CT.")] = None,
    anatomy: Annotated[str | None, typer.Option("--anatomy", help="Id of a site; parts of it count too.")] = None,
    kind: Annotated[RecommendationKind | None, typer.Option("--kind", help="How firmly it is put.")] = None,
    due_from: Annotated[
        dt.date | None, typer.Option("--due-from", parser=_day, metavar="DATE", help="To be done by this day or later.")
    ] = None,
    due_to: Annotated[
        dt.date | None, typer.Option("--due-to", parser=_day, metavar="DATE", help="To be done by this day or earlier.")
    ] = None,
    date_from: Annotated[
        dt.date | None, typer.Option("--from", parser=_day, metavar="DATE", help="Date of the study, the first.")
    ] = None,
    date_to: Annotated[
        dt.date | None, typer.Option("--to", parser=_day, metavar="DATE", help="Date of the study, the last.")
    ] = None,
    patient_id: Annotated[str | None, typer.Option("--patient-id", help="PatientID, or one merged with it.")] = None,
    on: Annotated[
        dt.date | None, typer.Option("--on", parser=_day, metavar="DATE", help="As on this day rather than today.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"So many items at most; a table shows {_SHOWN} unless told otherwise.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A table with a header line.")] = False,
) -> None:
    """List what is owed to patients, what is overdue longest first.

    Example: dicomnlp follow-up list --state overdue --csv
    """
    from dicomnlp.export.follow_up import all_items, csv_lines, item_to_json
    from dicomnlp.store.follow_up_items import STATES, ItemFilters
    from dicomnlp.store.follow_up_pending import any_marked

    if as_json and as_csv:
        raise typer.BadParameter("choose --json or --csv")
    if set(state or ()) - set(STATES):
        raise typer.BadParameter(f"a state is {', '.join(STATES)}", param_hint="--state")
    sites = _expanded(anatomy)
    database = open_audited(context, "query")
    try:
        filters = ItemFilters(
            states=tuple(state or ()),
            category=category,
            modality=modality,
            anatomy=sites,
            kind=kind,
            due_from=due_from,
            due_to=due_to,
            date_from=date_from,
            date_to=date_to,
            patient_id=patient_id,
        )
        found = all_items(database, filters, on or _today())
        if as_csv:
            for line in csv_lines(itertools.islice(found, limit)):
                write_text(line)
        elif as_json:
            separator = "["
            for item in itertools.islice(found, limit):
                write_text(separator + json.dumps(item_to_json(item), ensure_ascii=False))
                separator = ",\n"
            write_text("[]\n" if separator == "[" else "]\n")
        else:
            listed = list(itertools.islice(found, (limit or _SHOWN) + 1))
            _print(listed[: limit or _SHOWN])
            if len(listed) > (limit or _SHOWN):
                err.print("there are more: --limit, --csv or --json show them")
        if any_marked(database):
            err.print("something that came is still to be looked at: by the running service, or `follow-up refresh`")
    finally:
        sys.stdout.buffer.flush()
        database.close()


def _expanded(anatomy: str | None) -> tuple[str, ...]:
    if anatomy is None:
        return ()
    from dicomnlp.analyse import expand_site

    try:
        return expand_site(anatomy)
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--anatomy") from None


def _print(items: "list[StoredItem]") -> None:
    from dicomnlp.export.follow_up import iso_day

    if not items:
        out.print("nothing is owed that fits")
        return
    print_records(
        ("id", "state", "due", "overdue on", "patient", "study date", "what", "where", "side", "done on", "text"),
        [
            (
                str(item.id),
                item.state,
                iso_day(item.due_to or item.due_from) or "",
                iso_day(item.overdue_on) or "",
                item.patient_id,
                iso_day(item.study_date) or "",
                " or ".join(item.modalities) or item.category,
                (item.anatomy_id or "").replace("_", " "),
                item.laterality or "",
                iso_day(item.done_on) or "",
                item.recommendation.text,
            )
            for item in items
        ],
    )


def show(
    context: typer.Context,
    item: Annotated[int, typer.Argument(min=1, help="Number of the item.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show an item: where each part of it comes from, what was said of later examinations, and decisions.

    Example: dicomnlp follow-up show 77
    """
    from dicomnlp.export.follow_up import iso_day, item_to_json
    from dicomnlp.store.follow_up_items import read_item

    database = open_audited(context, "view")
    try:
        found = read_item(database, item, today=_today())
    finally:
        database.close()
    if as_json:
        write_line(json.dumps(item_to_json(found, explained=True), ensure_ascii=False))
        return
    _print([found])
    asked = found.explanation["asked"]
    rows = [(part["name"], part["value"], part["origin"], part["words"], part["source"]) for part in asked]
    print_records(("asked", "value", "from", "words", "rule"), rows)
    checks = [
        (
            judged["study_instance_uid"],
            iso_day(judged["study_date"]) or "",
            "answers" if judged["answers"] else "",
            check["name"],
            "fits" if check["fits"] else "differs",
            check["asked"],
            check["found"],
        )
        for judged in found.explanation["examinations"]
        for check in judged["checks"]
    ]
    if checks:
        print_records(("study", "date", "", "compared", "", "asked", "found"), checks)
    else:
        out.print("no later examination is held")
    for decision in found.decisions:
        undone = f", undone by {decision.undone_by}" if decision.undone_at else ""
        out.print(f"dismissed by {decision.decided_by}: {decision.reason} {decision.note}{undone}", soft_wrap=True)


def dismiss(
    context: typer.Context,
    item: Annotated[int, typer.Argument(min=1, help="Number of the item.")],
    reason: Annotated[str, typer.Option("--reason", help="done_elsewhere, not_needed, declined, deceased ...")],
    note: Annotated[str, typer.Option("--note", help="In words.")] = "",
) -> None:
    """Close an item by hand; it stays so through amended reports and other analyses.

    Example: dicomnlp follow-up dismiss 77 --reason done_elsewhere --note "CT in Springfield, 2027-03-02"
    """
    from dicomnlp.review.follow_up_rules import follow_up_rules
    from dicomnlp.store.follow_up_decisions import dismiss_item

    reasons = follow_up_rules().reasons
    if reason not in reasons:
        raise typer.BadParameter(f"a reason is {', '.join(reasons)}", param_hint="--reason")
    database = open_audited(context, "admin")
    try:
        dismiss_item(database, item, reason=reason, note=note[:1000], by=local_user())
    finally:
        database.close()
    write_line(f"dismissed: {item}")


def reopen(context: typer.Context, item: Annotated[int, typer.Argument(min=1, help="Number of the item.")]) -> None:
    """Open a dismissed item again.

    Example: dicomnlp follow-up reopen 77
    """
    from dicomnlp.store.follow_up_decisions import reopen_item

    database = open_audited(context, "admin")
    try:
        reopen_item(database, item, by=local_user())
    finally:
        database.close()
    write_line(f"reopened: {item}")


def refresh(context: typer.Context) -> None:
    """Look at all that came since, where no service runs that does so by itself.

    Example: dicomnlp follow-up refresh
    """
    from dicomnlp.work.follow_up import refresh_all

    database = open_database(context)
    try:
        with database.hold("dispatcher"):
            studies = refresh_all(database)
    finally:
        database.close()
    write_line(f"looked at: {studies} studies")


def timeline(
    context: typer.Context,
    study_instance_uid: Annotated[str, typer.Argument(callback=checked_uid, help="StudyInstanceUID.")],
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array.")] = False,
) -> None:
    """Show the lesions of a study's patient over all studies, with the sizes that reports state.

    Example: dicomnlp timeline 1.2.826.0.1.3680043.8.498.1
    """
    from dicomnlp.export.follow_up import iso_day
    from dicomnlp.export.timeline import lesion_to_json
    from dicomnlp.review.timeline import lesions_of
    from dicomnlp.store.courses import course_of_study

    database: Database = open_audited(context, "view")
    try:
        lesions = lesions_of(course_of_study(database, study_instance_uid))
    finally:
        database.close()
    if as_json:
        write_line(json.dumps([lesion_to_json(lesion) for lesion in lesions], ensure_ascii=False))
        return
    if not lesions:
        out.print("no lesion with a size, and none of which a change is told")
        return
    rows = [
        (
            lesion.concept.meaning if n == 0 else "",
            (lesion.anatomy.meaning if lesion.anatomy else "") if n == 0 else "",
            (lesion.laterality.value if lesion.laterality else "") if n == 0 else "",
            iso_day(point.study_date) or "",
            " ".join(point.modalities),
            " x ".join(f"{value:g}" for value in point.values) + (" mm" if point.values else ""),
            point.change.value if point.change else "",
            point.study_instance_uid,
        )
        for lesion in lesions
        for n, point in enumerate(lesion.points)
    ]
    print_records(("lesion", "where", "side", "date", "modality", "size", "course", "study"), rows)
