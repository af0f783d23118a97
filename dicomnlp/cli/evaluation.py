"""``evaluate``: how good the findings are on annotated reports."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import rich.box
import rich.progress
import rich.table
import rich.text
import typer

from dicomnlp.cli.context import analysing, err, out, write_line
from dicomnlp.cli.tables import printable
from dicomnlp.errors import UsageError
from dicomnlp.model import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicomnlp.learn.evaluation import Evaluation, Row, Score
    from dicomnlp.learn.gold import GoldReport
    from dicomnlp.learn.metrics import Estimate, Rates


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command()(evaluate)


def evaluate(
    context: typer.Context,
    gold: Annotated[Path, typer.Argument(help="JSONL file, brat folder, or JSON of spaCy, medspaCy or Prodigy.")],
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots and all mistakes here.")] = None,
    model: Annotated[
        str, typer.Option("--model", help="Compare: the rules, this registered model alone, and both.")
    ] = "",
    errors: Annotated[int, typer.Option("--errors", min=0, help="Mistakes to list of each task.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="All figures and mistakes as one JSON object.")] = False,
) -> None:
    """Score findings against annotated reports. No database is used.

    Precision, recall and F1 with 95 % intervals, of each class, section and modality, for whatever is annotated:
    findings, given spans, labels, sections, measurements. The format: docs/reference/annotation-format.md; what a
    file holds is told by its content. With --model, the rules, the model alone and both are compared, and whether they
    differ by more than chance. Mistakes are shown with their context: passages of the reports.

    Example: dicomnlp evaluate gold.jsonl --html evaluation.html
    """
    from dicomnlp.learn.evaluation import evaluate as score
    from dicomnlp.learn.formats import read_gold
    from dicomnlp.learn.page import page

    if not gold.exists():
        raise UsageError(f"{gold} doesn't exist")
    reports = read_gold(gold)
    if model:
        _compare(context, reports, gold.name, model, html, as_json=as_json)
        return
    columns = ("[progress.description]{task.description}", rich.progress.MofNCompleteColumn())
    with rich.progress.Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("evaluating", total=len(reports))
        evaluation = score(
            reports,
            default_language=analysing(context).analyse.language,
            on_report=lambda: progress.advance(task),
        )
    if html is not None:
        write_page(html, page(evaluation, gold.name))
    if as_json:
        write_line(json.dumps({"gold": gold.name, **to_json(evaluation)}, ensure_ascii=False))
    else:
        _print(evaluation, errors)


def _compare(
    context: typer.Context, reports: "Sequence[GoldReport]", name: str, model: str, html: Path | None, *, as_json: bool
) -> None:
    from dicomnlp.analyse.learned_registry import open_model
    from dicomnlp.cli.models import print_comparison
    from dicomnlp.learn.comparison import compare_model
    from dicomnlp.learn.model_page import comparison_page
    from dicomnlp.learn.models import find

    settings = analysing(context)
    folder = open_model(settings.models, find(settings.models, model))
    columns = ("[progress.description]{task.description}", rich.progress.MofNCompleteColumn())
    with rich.progress.Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("comparing", total=3 * len(reports))
        comparison = compare_model(
            reports, folder, default_language=settings.analyse.language, on_report=lambda: progress.advance(task)
        )
    if html is not None:
        write_page(html, comparison_page(comparison, name))
    if as_json:
        write_line(json.dumps({"gold": name, **to_json(comparison)}, ensure_ascii=False))
    else:
        print_comparison(comparison)


def write_page(path: Path, text: str) -> None:
    """Write a page; UsageError where it can't be."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from None


def _print(evaluation: "Evaluation", errors: int) -> None:
    out.print(f"{evaluation.reports} reports, {', '.join(evaluation.pipelines)}; intervals: 95 %", markup=False)
    for note in evaluation.notes:
        err.print(f"not scored: {printable(note)}", markup=False, soft_wrap=True)
    for score in evaluation.scores:
        out.print()
        out.print(_table(score))
        for field, rows in score.slices.items():
            out.print(_slices(field, rows))
        for mistake in score.mistakes[:errors]:
            line = rich.text.Text(f"{mistake.report}: ", "dim")
            line.append(f"{mistake.gold or 'not marked'} \N{RIGHTWARDS ARROW} {mistake.got or 'not found'}: ", "yellow")
            line.append(printable(" ".join(mistake.before.split())) + " ")
            line.append(printable(mistake.text), "bold red")
            line.append(" " + printable(" ".join(mistake.after.split())))
            out.print(line, soft_wrap=True)
        if 0 < errors < len(score.mistakes):
            out.print(f"{len(score.mistakes) - errors} more mistakes: --errors, --html or --json", style="dim")


def _table(score: "Score") -> rich.table.Table:
    table = _columns(f"{score.task}, {score.reports} reports")
    _add(table, "all", score.micro)
    table.add_row("mean of classes", "", "", "", _figure(score.macro_f1), end_section=True)
    for row in score.classes:
        _add(table, row.name, row.rates)
    return table


def _slices(field: str, rows: "Sequence[Row]") -> rich.table.Table:
    table = _columns(f"by {printable(field)}")
    for row in rows:
        _add(table, row.name, row.rates)
    return table


def _columns(what: str) -> rich.table.Table:
    table = rich.table.Table(rich.table.Column(what, overflow="fold"), box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("marked", "precision", "recall", "F1"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _add(table: rich.table.Table, name: str, rates: "Rates") -> None:
    cells = [_figure(e) for e in (rates.precision, rates.recall, rates.f1)]
    table.add_row(rich.text.Text(printable(name)), str(rates.support), *cells)


def _figure(estimate: "Estimate") -> str:
    """A figure with its interval, or a dash where it isn't defined."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "-"
    return f"{estimate.value:.2f} ({estimate.low:.2f}-{estimate.high:.2f})"
