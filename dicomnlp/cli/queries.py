"""Commands that ask: findings of a study, and reports as text."""

import datetime as dt
import functools
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from dicomnlp.cli.auditing import open_audited
from dicomnlp.cli.context import checked_uid, err, moment, out, write_line
from dicomnlp.cli.findings_output import FindingsCsv, write_findings_json
from dicomnlp.cli.reading import images_told, print_analysis, print_changes, print_findings, states_told
from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import Assertion, State
from dicomnlp.store.answers import StoredFinding, StoredReport
from dicomnlp.store.prevailing import ReportStatus

if TYPE_CHECKING:
    from dicomnlp.store.queries import StudyPage


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command()(findings)
    app.command()(report)


def findings(
    context: typer.Context,
    study_instance_uid: Annotated[str, typer.Argument(callback=checked_uid, help="StudyInstanceUID.")],
    assertion: Annotated[Assertion | None, typer.Option(help="Only findings with this assertion.")] = None,
    concept: Annotated[str | None, typer.Option(help="Only findings of this concept id, e.g. pneumothorax.")] = None,
    all_versions: Annotated[
        bool,
        typer.Option(
            "--all-versions", help="Also findings of superseded, withdrawn or replaced reports and of older pipelines."
        ),
    ] = False,
    as_of: Annotated[
        dt.datetime | None,
        typer.Option(
            "--as-of",
            parser=moment,
            metavar="TIME",
            help="What was current at that time, e.g. 2026-11-22T06:00:00Z; without a zone it is this machine's.",
        ),
    ] = None,
    pipeline: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What this pipeline says (pipelines list), whether or not it counts."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A table with a header line.")] = False,
) -> None:
    """Show the findings of the reports that prevail and belong to a study.

    Example: dicomnlp findings 1.2.826.0.1.3680043.8.498.1 --assertion present --json
    """
    from dicomnlp.store.images import series_of_study
    from dicomnlp.store.queries import page_of_study, reports_of_study

    if as_json and as_csv:
        raise typer.BadParameter("choose --json or --csv")
    if all_versions and as_of is not None:
        raise typer.BadParameter("choose --all-versions or --as-of")
    if pipeline is not None and (all_versions or as_of is not None):
        raise typer.BadParameter("--pipeline goes with neither --all-versions nor --as-of")
    database = open_audited(context, "view")
    ask = functools.partial(
        page_of_study,
        database,
        study_instance_uid,
        assertion=assertion,
        concept=concept,
        all_versions=all_versions,
        as_of=as_of,
        pipeline=pipeline,
    )
    try:
        first = ask()
        reports = reports_of_study(database, study_instance_uid)
        series = series_of_study(database, study_instance_uid)
        if concept is not None and not first.findings:
            _check_concept(concept)
        if as_json:
            write_findings_json(_pages(first, ask))
        elif as_csv:
            table = FindingsCsv(sys.stdout)
            for page in _pages(first, ask):
                table.write(page)
        elif first.findings:
            for page in _pages(first, ask):
                print_findings(page)
        elif any(r.state is State.ANALYSED for r in reports):
            out.print("no findings")
        else:
            out.print("no findings: no report of the study is analysed")
    finally:
        database.close()
    for line in [*states_told(reports), *images_told(series)]:
        err.print(line, soft_wrap=True)


def _pages(first: "StudyPage", ask: Callable[..., "StudyPage"]) -> Iterator[list[StoredFinding]]:
    """The findings of `first` and of what comes after it, which is read when it is needed."""
    page = first
    yield page.findings
    while page.next:
        page = ask(after=page.next)
        yield page.findings


def report(
    context: typer.Context,
    uid: Annotated[str, typer.Argument(callback=checked_uid, help="StudyInstanceUID or SOPInstanceUID.")],
    changes: Annotated[
        bool,
        typer.Option(
            "--changes", help="What the report (by SOPInstanceUID) changed of the one it replaced, or what replaced it."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --changes: one JSON object.")] = False,
) -> None:
    """Show reports in the terminal, findings coloured by assertion.

    Example: dicomnlp report 1.2.826.0.1.3680043.8.498.1
    """
    from dicomnlp.store.changes import changes_of_report
    from dicomnlp.store.queries import findings_of_instance, reports_of_instance, reports_of_study

    if as_json and not changes:
        raise typer.BadParameter("--json goes with --changes")
    database = open_audited(context, "view")
    try:
        if changes:
            found_changes = changes_of_report(database, uid)
            if as_json:
                write_line(json.dumps(found_changes.to_json(), ensure_ascii=False))
            else:
                print_changes(found_changes)
            return
        try:
            reports = reports_of_study(database, uid)
        except NotFoundError:
            try:
                reports = reports_of_instance(database, uid)
            except NotFoundError:
                raise NotFoundError(f"nothing is held under UID {uid}") from None
        for stored in reports:
            if stored.report is None:
                reason = f" ({stored.reason_code})" if stored.reason_code else ""
                out.print(f"{stored.sop_instance_uid}: {stored.state.value}{reason}", soft_wrap=True)
                continue
            found = [f.finding for f in findings_of_instance(database, stored.sop_instance_uid)]
            sections = stored.analysis.sections if stored.analysis else stored.report.narrative.sections
            heading = f"{stored.report.title or 'report'} {stored.sop_instance_uid}{_standing(stored)}"
            print_analysis(stored.report.narrative, sections, found, heading=heading)
    finally:
        database.close()


def _check_concept(concept: str) -> None:
    """Refuse an id that no language pack knows; asked only when nothing was found, as reading the packs takes time."""
    from dicomnlp.analyse import expand_concept

    try:
        expand_concept(concept)
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--concept") from None


def _standing(stored: StoredReport) -> str:
    """Why a report that is shown doesn't count, "" when it does."""
    standing = stored.standing
    if standing.status in {None, ReportStatus.PREVAILING}:
        return ""
    return f" ({standing.status}: {standing.reason_code}, see {standing.superseded_by})"
