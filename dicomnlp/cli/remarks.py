"""Commands of what a second reader would remark: contradictions, guidance, measures of quality."""

import datetime as dt
import itertools
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicomnlp.cli.auditing import open_audited
from dicomnlp.cli.context import checked_uid, err, out, write_text
from dicomnlp.cli.tables import print_records
from dicomnlp.errors import UsageError
from dicomnlp.remarks import DiscrepancyKind, GuidanceOutcome

if TYPE_CHECKING:
    from dicomnlp.store.remarks import Remarked, RemarkPage

_SHOWN = 50
"""Remarks in a table, unless more are asked for."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command()(contradictions)
    app.command()(guidance)
    app.command()(quality)


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("not a date: write 2026-11-22") from None


From = Annotated[
    dt.date | None, typer.Option("--from", parser=_day, metavar="DATE", help="Date of the study, the first.")
]
To = Annotated[dt.date | None, typer.Option("--to", parser=_day, metavar="DATE", help="Date of the study, the last.")]
Study = Annotated[str | None, typer.Argument(metavar="[STUDY_INSTANCE_UID]", help="Of this study only.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help=f"So many at most; a table shows {_SHOWN} unless told otherwise.")
]
AsJson = Annotated[bool, typer.Option("--json", help="A JSON array.")]


def contradictions(
    context: typer.Context,
    study_instance_uid: Study = None,
    kind: Annotated[DiscrepancyKind | None, typer.Option("--kind", help="What contradicts what.")] = None,
    min_confidence: Annotated[
        float | None, typer.Option("--min-confidence", min=0, max=1, help="At least so likely.")
    ] = None,
    date_from: From = None,
    date_to: To = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List what contradicts itself in reports, with both places, the newest study first.

    Example: dicomnlp contradictions --kind laterality_text --from 2026-11-01
    """
    from dicomnlp.store.remarks import RemarkFilters, list_discrepancies

    filters = RemarkFilters(
        kind=kind,
        minimum_confidence=min_confidence,
        study_instance_uid=_study(study_instance_uid),
        date_from=date_from,
        date_to=date_to,
    )
    database = open_audited(context, "query")
    try:
        _answer(
            _all(lambda after: list_discrepancies(database, filters, after=after)),
            limit,
            as_json,
            ("kind", "confidence", "study", "date", "first", "second"),
            lambda s: (s["kind"], f"{s['confidence']:.2f}"),
            lambda s: (_words(s["first"]), _words(s["second"])),
        )
    finally:
        database.close()


def guidance(
    context: typer.Context,
    study_instance_uid: Study = None,
    guideline: Annotated[str | None, typer.Option("--guideline", help="Id of a guideline.")] = None,
    outcome: Annotated[GuidanceOutcome | None, typer.Option("--outcome", help="How the report stands to it.")] = None,
    date_from: From = None,
    date_to: To = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List guidelines for incidental findings next to what reports recommend, the newest study first.

    Example: dicomnlp guidance --guideline fleischner_2017 --outcome not_stated
    """
    from dicomnlp.review.guidance_rules import guidance_rules
    from dicomnlp.store.remarks import RemarkFilters, list_guidance

    known = [g.id for g in guidance_rules().guidelines]
    if guideline is not None and guideline not in known:
        raise typer.BadParameter(f"a guideline is {', '.join(known)}", param_hint="--guideline")
    filters = RemarkFilters(
        guideline=guideline,
        outcome=outcome,
        study_instance_uid=_study(study_instance_uid),
        date_from=date_from,
        date_to=date_to,
    )
    database = open_audited(context, "query")
    try:
        _answer(
            _all(lambda after: list_guidance(database, filters, after=after)),
            limit,
            as_json,
            ("guideline", "outcome", "study", "date", "finding", "left out", "answers"),
            lambda s: (s["guideline"], s["outcome"]),
            lambda s: (
                _words(s["finding"]),
                ", ".join(s["missing"]),
                " / ".join(advice["text"] for advice in s["advice"]),
            ),
        )
    finally:
        database.close()


def quality(context: typer.Context, date_from: From = None, date_to: To = None, as_json: AsJson = False) -> None:
    """Count the reports that measures of quality are for, and those that meet them.

    Example: dicomnlp quality --from 2026-01-01 --to 2026-12-31
    """
    from dicomnlp.review.guidance_rules import guidance_rules
    from dicomnlp.store.remarks import RemarkFilters, count_measures

    database = open_audited(context, "query")
    try:
        counted = count_measures(database, RemarkFilters(date_from=date_from, date_to=date_to))
    finally:
        database.close()
    titles = {m.id: m.title for m in guidance_rules().measures}
    if as_json:
        listed = [{"measure": c.measure, "reports": c.reports, "met": c.met} for c in counted]
        write_text(json.dumps(listed, indent=1) + "\n")
        return
    if not counted:
        out.print("no measure is for any report")
        return
    print_records(
        ("measure", "reports", "met", "%", "title"),
        [
            (c.measure, str(c.reports), str(c.met), f"{100 * c.met / c.reports:.1f}", titles.get(c.measure, ""))
            for c in counted
        ],
    )


def _study(uid: str | None) -> str | None:
    return None if uid is None else checked_uid(uid)


def _all(read: "Callable[[str | None], RemarkPage]") -> "Iterator[Remarked]":
    after: str | None = None
    while True:
        try:
            page = read(after)
        except UsageError as error:
            raise typer.BadParameter(str(error)) from None
        yield from page.remarks
        after = page.next
        if after is None:
            return


def _answer(
    found: "Iterator[Remarked]",
    limit: int | None,
    as_json: bool,
    names: tuple[str, ...],
    before: Callable[[dict[str, Any]], tuple[str, ...]],
    behind: Callable[[dict[str, Any]], tuple[str, ...]],
) -> None:
    """Print `found` as JSON, or as a table of what `before` and `behind` make of a remark around its study."""
    if as_json:
        separator = "["
        for remark in itertools.islice(found, limit):
            write_text(separator + json.dumps(remark.to_json(), ensure_ascii=False))
            separator = ",\n"
        write_text("[]\n" if separator == "[" else "]\n")
        return
    listed = list(itertools.islice(found, (limit or _SHOWN) + 1))
    if not listed:
        out.print("nothing is remarked that fits")
        return
    rows = [
        (
            *before(remark.statement),
            remark.study_instance_uid,
            remark.to_json()["study_date"] or "",
            *behind(remark.statement),
        )
        for remark in listed[: limit or _SHOWN]
    ]
    print_records(names, rows)
    if len(listed) > (limit or _SHOWN):
        err.print("there are more: --limit or --json show them")


def _words(place: dict[str, Any]) -> str:
    return f"{place['field']} {place['words']}".strip() if place["kind"] != "text" else place["words"] or "(not said)"
