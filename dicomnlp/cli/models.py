"""``train`` and ``models``: models of a site's own, trained, compared, promoted and taken back."""

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.box
import rich.console
import rich.progress
import rich.table
import typer

from dicomnlp.cli.auditing import open_audited
from dicomnlp.cli.context import err, open_database, out, settings_of, write_line
from dicomnlp.cli.evaluation import write_page
from dicomnlp.cli.tables import print_records
from dicomnlp.errors import DatabaseError, ModelRefusedError, UsageError
from dicomnlp.model import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dicomnlp.learn.comparison import Comparison, Contest
    from dicomnlp.learn.curve import Point
    from dicomnlp.learn.gate import Verdict
    from dicomnlp.learn.gold import GoldReport
    from dicomnlp.learn.metrics import Estimate

models_app = typer.Typer(help="A site's own models: list, show, promote, roll back.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command()(train)
    app.add_typer(models_app, name="models")


def train(
    context: typer.Context,
    gold: Annotated[Path, typer.Argument(help="Annotated reports, as of `evaluate`.")],
    name: Annotated[str, typer.Argument(help="Name of the new model.")],
    reports: Annotated[
        Path | None,
        typer.Option("--reports", help="Further reports, JSONL with `text`, of which the rules' answers teach."),
    ] = None,
    language: Annotated[str, typer.Option("--language", help="Of the pack that it stands beside.")] = "en",
    held_out: Annotated[
        float, typer.Option("--held-out", min=0.05, max=0.9, help="Share of the patients that only test it.")
    ] = 0.25,
    curve: Annotated[
        str, typer.Option("--curve", help="Also train on so many annotations, and tell how good each is: 50,100,200.")
    ] = "",
    html: Annotated[Path | None, typer.Option("--html", help="Write a page of the test here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Card, comparison and curve as one JSON object.")] = False,
) -> None:
    """Train a model on annotated reports, on one processor core in minutes, and register it. No database is used.

    It learns from the annotations and, with less weight, from what the rules say: how to correct or back ConText's
    assertion, where findings stand that the lexicon doesn't list, and the labels of reports. A share of the patients
    (field `patient` of a report) is kept apart and tests it: rules alone, model alone, both. Nothing uses it until
    `dicomnlp models promote`.

    Example: dicomnlp train gold.jsonl chest-1 --html chest-1.html
    """
    from dicomnlp.learn.curve import learning_curve
    from dicomnlp.learn.model_page import training_page
    from dicomnlp.learn.models import train as train_model

    annotated, further = _gold(gold), _gold(reports) if reports is not None else ()
    sizes = _sizes(curve)
    settings = _prepared(context)
    with _steps() as tell:
        trained = train_model(
            annotated, settings.models, name, language=language, unannotated=further, held_out=held_out, on_step=tell
        )
        points = (
            learning_curve(annotated, sizes, language=language, unannotated=further, held_out=held_out, on_step=tell)
            if sizes
            else ()
        )
    if html is not None:
        write_page(html, training_page(trained, points))
    if as_json:
        card = trained.folder.card.model_dump(exclude_none=True)
        line = {"digest": trained.model.digest, "card": card, "notes": trained.notes, "curve": to_json(points)}
        write_line(json.dumps(line, ensure_ascii=False))
        return
    for note in trained.notes:
        err.print(note, soft_wrap=True)
    out.print(f"{name}, digest {trained.model.digest[:12]}, in {settings.models / name}", soft_wrap=True)
    if trained.comparison is not None:
        print_comparison(trained.comparison)
    if points:
        out.print(_curve(points))
    out.print(f"To use it: dicomnlp models promote {name}")


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise UsageError("--curve takes numbers with commas between them: 50,100,200") from None
    if any(size < 1 for size in sizes):
        raise UsageError("--curve takes numbers above zero")
    return sizes


def _gold(path: Path) -> "tuple[GoldReport, ...]":
    from dicomnlp.learn.formats import read_gold

    if not path.exists():
        raise UsageError(f"{path} doesn't exist")
    return read_gold(path)


def _prepared(context: typer.Context) -> Any:
    """The settings, with the site's overlays laid over the packs, and no model in use."""
    from dicomnlp.analyse import use_models, use_overlays

    settings = settings_of(context)
    use_overlays(settings.overlays)
    use_models(None)
    return settings


@contextmanager
def _steps() -> "Iterator[Callable[[str], None]]":
    """What is being done, while it is."""
    columns = ("{task.description}", rich.progress.TimeElapsedColumn())
    with rich.progress.Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda step: progress.update(task, description=step)


def print_comparison(comparison: "Comparison") -> None:
    """Rules, model and both side by side, and whether the difference is more than chance."""
    out.print(comparison_table(comparison))
    for contest in comparison.contests:
        if contest.second == "both":
            out.print(contest_line(contest), soft_wrap=True)


def comparison_table(comparison: "Comparison") -> rich.table.Table:
    """F1 of each task by each way of reading."""
    table = _table("micro F1", *comparison.evaluations)
    tasks = dict.fromkeys(s.task for e in comparison.evaluations.values() for s in e.scores)
    for task in tasks:
        cells = []
        for evaluation in comparison.evaluations.values():
            score = next((s for s in evaluation.scores if s.task == task), None)
            cells.append(_figure(score.micro.f1) if score else "-")
        table.add_row(task, *cells)
    return table


def contest_line(contest: "Contest") -> str:
    """One task of a contest in words."""
    f1, changed = contest.difference.f1, contest.changed
    if f1.value is None or f1.low is None or f1.high is None:
        return f"{contest.task}: no difference can be told"
    return (
        f"{contest.task}: {100 * f1.value:+.1f} points of F1 ({100 * f1.low:+.1f} to {100 * f1.high:+.1f}), "
        f"p = {contest.difference.p_value:.3f}; {len(changed.mended)} answers mended, {len(changed.broken)} broken"
    )


def _curve(points: "Sequence[Point]") -> rich.table.Table:
    tasks = list(dict.fromkeys(task for point in points for task in point.scores))
    table = _table("annotations", *tasks)
    for point in points:
        table.add_row(str(point.annotations), *(_figure(point.scores[t]) if t in point.scores else "-" for t in tasks))
    return table


def _table(first: str, *names: str) -> rich.table.Table:
    table = rich.table.Table(rich.table.Column(first), box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _figure(estimate: "Estimate") -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "-"
    return f"{estimate.value:.3f} ({estimate.low:.3f}-{estimate.high:.3f})"


# --- the registry --------------------------------------------------------------------------------------------------


@models_app.callback()
def models(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON line a model.")] = False
) -> None:
    """Show the registered models: which is used, and whether each is still what was registered.

    Exits with 1 where one isn't.

    Example: dicomnlp models
    """
    if context.invoked_subcommand is not None:
        return
    from dicomnlp.analyse.learned_registry import open_model, read_registry

    folder = settings_of(context).models
    registry = read_registry(folder)
    used = {model.name for model in registry.promoted().values()}
    rows = []
    for model in registry.models:
        row = {"name": model.name, "language": model.language, "digest": model.digest[:12]}
        try:
            card = open_model(folder, model).card
        except ModelRefusedError as error:
            row |= {"parts": "", "state": error.reason_code}
            err.print(str(error), soft_wrap=True)
        else:
            row |= {"parts": ", ".join(card.parts), "state": "used" if model.name in used else "ready"}
        rows.append({**row, "registered": model.registered_at})
    for row in rows:
        if as_json:
            write_line(json.dumps(row, ensure_ascii=False))
    if not as_json:
        if rows:
            print_records(list(rows[0]), [list(row.values()) for row in rows])
        else:
            out.print("no model is registered; make one with `dicomnlp train`")
    if any(row["state"] not in {"used", "ready"} for row in rows):
        raise typer.Exit(1)


@models_app.command()
def show(context: typer.Context, name: Annotated[str, typer.Argument(help="The model.")]) -> None:
    """Print a model's card as JSON: what it is, what it was trained and tested on, and how it did.

    Example: dicomnlp models show chest-1
    """
    from dicomnlp.analyse.learned_registry import open_model
    from dicomnlp.learn.models import find

    folder = settings_of(context).models
    model = find(folder, name)
    card = open_model(folder, model).card.model_dump(exclude_none=True)
    write_line(json.dumps({"digest": model.digest, **card}, ensure_ascii=False, indent=2))


@models_app.command("register")
def register_model(context: typer.Context, name: Annotated[str, typer.Argument(help="Name of the folder.")]) -> None:
    """Enter a model that was trained elsewhere, whose folder was put beside the others, into the registry.

    A folder that holds anything but a card and arrays of numbers is refused, and nothing of it is run.

    Example: dicomnlp models register chest-1
    """
    from dicomnlp.learn.models import register as enter

    _in_trail(context)
    model = enter(settings_of(context).models, name)
    out.print(f"{name} is registered with the digest {model.digest[:12]}; compare it with that of who gave it to you")


@models_app.command()
def promote(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The model.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only ask the gate.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What the gate says as one JSON object.")] = False,
) -> None:
    """Use a model from now on, if the gate lets it: exits with 1 where it doesn't.

    On the annotated reports that learn.gold names, of patients that it wasn't trained on, it must be ahead of what is
    used now by learn.margin, behind on no task, and get every protected case right (those of the language pack and of
    the site's overlay). It changes the pipeline: workers use it once they are started again, and
    `dicomnlp reprocess --outdated` reads what is stored with it.

    Example: dicomnlp models promote chest-1
    """
    from dicomnlp.learn.gate import judge
    from dicomnlp.learn.models import find, put_in_use

    settings = _prepared(context)
    if settings.gold is None:
        raise UsageError("learn.gold names no annotated reports: without them nothing shows that a model is better")
    model = find(settings.models, name)
    with _steps() as tell:
        tell("asking the gate")
        verdict = judge(settings.models, model, _gold(settings.gold), settings.learn.margin)
    if as_json:
        write_line(json.dumps(to_json(verdict), ensure_ascii=False))
    else:
        print_verdict(verdict, out)
    if not verdict.passed:
        raise typer.Exit(1)
    if not dry_run:
        _in_trail(context)
        put_in_use(settings.models, model.language, name, "promote", str(verdict))
        err.print(f"{name} is used for {model.language} from the next report on", soft_wrap=True)
        _warn_of_own_models(context)


def _warn_of_own_models(context: typer.Context) -> None:
    """Say so where the pipeline that counts is read with models of its own; where there is no database, none is."""
    from dicomnlp.cli.pipelines import source_by
    from dicomnlp.store.pipelines import read_active

    try:
        database = open_database(context)
    except DatabaseError as error:
        if error.reason_code != "database_missing":
            raise
        return
    active = read_active(database).name
    source = source_by(settings_of(context), database, active)
    database.close()
    if source.models is not None:
        err.print(
            f"the pipeline {active!r} counts, with models of its own: its reports aren't read by this", soft_wrap=True
        )


def _in_trail(context: typer.Context) -> None:
    """Leave a row in the audit trail; where there is no database, there is none that findings come to either."""
    try:
        open_audited(context, "admin").close()
    except DatabaseError as error:
        if error.reason_code != "database_missing":
            raise


def print_verdict(verdict: "Verdict", to: rich.console.Console) -> None:
    """What the gate says, with the figures by which it says so."""
    told = f"{verdict.candidate} against {verdict.current}, {verdict.reports} reports of patients it hasn't seen"
    to.print(told, soft_wrap=True)
    for contest in verdict.contests:
        to.print(contest_line(contest), soft_wrap=True)
    to.print(str(verdict), soft_wrap=True)


@models_app.command()
def rollback(
    context: typer.Context, language: Annotated[str, typer.Argument(help="Of the pack it stands beside.")] = "en"
) -> None:
    """Go back to what was used before the last promotion: the model before, or the rules alone.

    Example: dicomnlp models rollback
    """
    from dicomnlp.learn.models import roll_back

    _in_trail(context)
    entry = roll_back(settings_of(context).models, language)
    out.print(f"{language} is read by {entry.name or 'the rules alone'} from the next report on")
    _warn_of_own_models(context)


@models_app.command()
def history(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON line each.")] = False
) -> None:
    """Show who promoted and rolled back which model, when, and what the gate said.

    Example: dicomnlp models history
    """
    from dicomnlp.analyse.learned_registry import read_registry

    entries = [promotion.model_dump() for promotion in read_registry(settings_of(context).models).promotions]
    for entry in entries:
        if as_json:
            write_line(json.dumps(entry, ensure_ascii=False))
    if entries and not as_json:
        print_records(list(entries[0]), [[str(v or "rules alone") for v in entry.values()] for entry in entries])
