"""The ``drift`` command: whether the reports of a week are as those of the weeks before."""

import datetime as dt
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicomnlp.cli.auditing import local_user, open_audited
from dicomnlp.cli.context import err, out, settings_of, write_line
from dicomnlp.cli.filter_options import day
from dicomnlp.cli.tables import print_records
from dicomnlp.drift_settings import period_of

if TYPE_CHECKING:
    from dicomnlp.config import Settings
    from dicomnlp.store.database import Database
    from dicomnlp.store.drift import DriftWeek

_MOVES = 10
"""Of a week that are named to people; --json has all."""


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command()(drift)


def _period(text: str) -> tuple[dt.date, dt.date]:
    try:
        return period_of(text)
    except ValueError as error:
        raise typer.BadParameter(f"--reference: {error}") from None


def drift(
    context: typer.Context,
    language: Annotated[
        str | None, typer.Option("--language", metavar="CODE", help="Reports in this language only; else of each.")
    ] = None,
    weeks: Annotated[int, typer.Option("--weeks", min=1, max=520, help="So many weeks, the latest.")] = 12,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="FROM..TO",
            help="Compare them with the weeks of these days, in place of what they were compared with.",
        ),
    ] = None,
    acknowledge: Annotated[
        dt.date | None,
        typer.Option(
            "--acknowledge", parser=day, metavar="WEEK", help="Note that you have seen the alarm of this week (a day)."
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Forget all counts and have the last half year counted anew.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a week.")] = False,
) -> None:
    """Show weeks of reports, and what moved in them against the reference.

    Counted are concepts, assertions, sections and words that nobody knows: of all, by sender, station and modality.
    Ends with 1 while an alarm stands that nobody has acknowledged.

    Example: dicomnlp drift --language en --reference 2026-01-05..2026-03-29
    """
    if (acknowledge is not None or again) and (reference is not None or as_json):
        raise typer.BadParameter("--acknowledge and --again show no weeks: leave out --reference and --json")
    if acknowledge is not None and again:
        raise typer.BadParameter("--acknowledge or --again, not both")
    if acknowledge is not None and language is None:
        raise typer.BadParameter("--acknowledge needs --language: alarms are of one language")
    period = _period(reference) if reference is not None else None
    settings = settings_of(context)
    database = open_audited(context, "admin" if acknowledge is not None or again else "query")
    try:
        if again:
            _again(database)
        elif acknowledge is not None:
            assert language is not None
            _acknowledge(database, language, acknowledge)
        elif _show(settings, database, language, weeks, period, as_json=as_json):
            raise typer.Exit(1)
    finally:
        database.close()


def _again(database: "Database") -> None:
    from dicomnlp.store.drift_counting import count_again

    count_again(database)
    out.print("the service counts the last half year again, within minutes")


def _acknowledge(database: "Database", language: str, day: dt.date) -> None:
    from dicomnlp.store.drift import acknowledge_drift
    from dicomnlp.store.drift_counting import week_of

    week = acknowledge_drift(database, language, week_of(day), local_user())
    out.print(f"{week.language} {week.week}: acknowledged by {week.acknowledged_by}")


def _show(
    settings: "Settings",
    database: "Database",
    language: str | None,
    limit: int,
    reference: tuple[dt.date, dt.date] | None,
    *,
    as_json: bool,
) -> bool:
    """Print weeks, the latest last; whether the last one of a language that was compared is an alarm."""
    from dicomnlp.store.drift import read_weeks

    weeks = sorted(read_weeks(database, language, limit), key=lambda w: (w.language, w.week))
    told = [_against(settings, database, week, reference) if reference else week.to_json() for week in weeks]
    if as_json:
        for each in told:
            write_line(json.dumps(each))
    elif not told:
        err.print(
            "nothing is counted yet: the service counts reports as they come, and a week is judged when it is over"
        )
    else:
        print_records(
            ("language", "week of", "reports", "compared with", "assertions", "sections", "moved", "state"),
            [_row(each) for each in told],
        )
        for each in told:
            if each["state"] in {"alarm", "acknowledged"}:
                _name(each)
    last = {each["language"]: each for each in told if each["state"] not in {"counting", "few_reports", "no_reference"}}
    return any(each["state"] == "alarm" for each in last.values())


def _against(
    settings: "Settings", database: "Database", week: "DriftWeek", period: tuple[dt.date, dt.date]
) -> dict[str, Any]:
    """The week as it is against another reference."""
    from dicomnlp.work.drifting import compare

    verdict, reference = compare(database, settings.drift, week, period)
    state = verdict.reason_code or ("alarm" if verdict.moves else "stable")
    return {
        **week.to_json(),
        "reason_code": verdict.reason_code,
        "reference_from": min((w.week for w in reference), default=None),
        "reference_to": max((w.week for w in reference), default=None),
        "reference_reports": sum(w.reports for w in reference),
        "instability": {measure.value: index for measure, index in (verdict.instability or {}).items()},
        "moves": [{**move.to_json(), "examples": []} for move in verdict.moves],
        "words": [],
        "state": "counting" if week.judged_at is None and verdict.reason_code is not None else state,
    }


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    period = f"{each['reference_from']} to {each['reference_to']}" if each["reference_from"] else ""
    index = each["instability"]
    return (
        each["language"],
        each["week"],
        str(each["reports"]),
        period,
        *(f"{index[name]:.3f}" if name in index else "" for name in ("assertion", "section")),
        str(len(each["moves"]) or ""),
        each["state"].replace("_", " "),
    )


def _name(each: dict[str, Any]) -> None:
    out.print(f"\n{each['language']} {each['week']}: what moved, the most first", soft_wrap=True)
    print_records(
        ("source", "measure", "item", "was", "is", "change", "example"),
        [
            (
                move["source"],
                move["measure"],
                move["item"] or "(as a whole)",
                *("" if share is None else f"{share:.1%}" for share in (move["before"], move["now"])),
                f"{move['change']:+.2f}",
                next((e["sop_instance_uid"] for e in move["examples"]), ""),
            )
            for move in each["moves"][:_MOVES]
        ],
    )
    if len(each["moves"]) > _MOVES:
        out.print(f"and {len(each['moves']) - _MOVES} more: --json")
    if each["words"]:
        out.print(f"new words: {', '.join(each['words'])}", soft_wrap=True)
