"""Commands of pipelines: tried in shadow beside the one that counts, compared, promoted, and gone back from."""

import contextlib
import datetime as dt
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.progress
import typer

from dicomnlp.cli.auditing import local_user, open_audited
from dicomnlp.cli.context import STOPPED, checked_uid, err, open_database, settings_of, write_line
from dicomnlp.cli.filter_options import day
from dicomnlp.cli.stopping import stoppable
from dicomnlp.cli.tables import print_records
from dicomnlp.errors import UsageError

if TYPE_CHECKING:
    from dicomnlp.analyse import Source
    from dicomnlp.analyse.learned_registry import Registered
    from dicomnlp.config import Settings
    from dicomnlp.store.comparisons import Change, Comparison
    from dicomnlp.store.database import Database
    from dicomnlp.store.pipelines import Promotion

pipelines_app = typer.Typer(
    help="Pipelines: tried beside the one that counts, compared, promoted.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="Under which it was added; `configured`: that of the configuration.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.add_typer(pipelines_app, name="pipelines")


def _checked_uids(texts: list[str] | None) -> list[str]:
    return [checked_uid(text) for text in texts or []]


@pipelines_app.command("list")
def list_pipelines(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON line a pipeline.")] = False
) -> None:
    """List pipelines: which counts, how each names itself in findings, how many reports each has read.

    Example: dicomnlp pipelines list
    """
    from dicomnlp.store.pipelines import CONFIGURED, combinations, count_analyses, read_active, read_pipelines

    settings, database = settings_of(context), open_database(context)
    active = read_active(database)
    lines: list[dict[str, Any]] = []
    for name in (CONFIGURED, *(p.name for p in read_pipelines(database))):
        names = names_by(settings, database, name)
        current, other = count_analyses(database, combinations(names.values()))
        lines.append(
            {"name": name, "active": name == active.name, "pipelines": names, "current": current, "other": other}
        )
    database.close()
    if as_json:
        for line in lines:
            write_line(json.dumps(line, ensure_ascii=False))
        return
    print_records(
        ("name", "counts", "in findings", "reports it counts for", "other reports read"),
        [
            (
                line["name"],
                "yes" if line["active"] else "",
                ", ".join(line["pipelines"].values()),
                str(line["current"]),
                str(line["other"]),
            )
            for line in lines
        ],
    )


@pipelines_app.command("add")
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Letters, digits, and . _ - between them.")],
    overlays: Annotated[
        Path | None,
        typer.Option("--overlays", metavar="FOLDER", help="Laid over the packs; default: as configured."),
    ] = None,
    packs: Annotated[
        Path | None, typer.Option("--packs", metavar="FOLDER", help="Language packs in place of the program's.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Trained model beside the rules, by name or first digits of its digest; may be repeated. "
            "Of other languages those in use now. Default: whichever are in use when a report is read.",
        ),
    ] = None,
) -> None:
    """Add a pipeline, by keeping a copy of its files in the database. Nothing is read by it yet.

    It is refused when a pack or an overlay has a fault, or fails its cases; or a model isn't what was registered, or
    gets a protected case wrong.

    Example: dicomnlp pipelines add thyroid-terms --overlays /etc/dicomnlp/overlays-next

    Example: dicomnlp pipelines add chest-model --model chest-1
    """
    from dicomnlp.analyse import Source, load_pack, refused_models, refused_overlays, use_models, use_source
    from dicomnlp.analyse.archive import names_of, pack_archive, unpack_archive
    from dicomnlp.analyse.overlay import languages_of
    from dicomnlp.analyse.pack import codes_in
    from dicomnlp.analyse.pipelines import is_name
    from dicomnlp.store.pipelines import add_pipeline

    if not is_name(name):
        raise typer.BadParameter("a name is of letters, digits, and . _ - between them, 64 at the most")
    if overlays is None and packs is None and not models:
        raise typer.BadParameter(
            "name --overlays, --packs or --model: with none of them it is the pipeline of the configuration"
        )
    for folder in filter(None, (overlays, packs)):
        if not folder.is_dir():
            raise typer.BadParameter("there is no such folder")
    settings = settings_of(context)
    source = Source(packs.resolve() if packs else None, overlays.resolve() if overlays else settings.overlays)
    use_source(source)
    faults = refused_overlays()
    for of_language in faults.values():
        for fault in of_language:
            err.print(str(fault), soft_wrap=True)
    if faults:
        raise UsageError("an overlay has faults: nothing was added")
    own = set(languages_of(source.overlays)) if source.overlays else set()
    for code in codes_in(source.packs):
        if code in own or (source.packs is not None and (source.packs / code / "pack.toml").exists()):
            load_pack(code)
    archive, sha256 = pack_archive(replace(source, models=settings.models), _chosen_models(settings, models or []))
    if models:
        with tempfile.TemporaryDirectory(prefix="dicomnlp-pipeline-") as laid:
            use_models(None)
            use_source(unpack_archive(archive, Path(laid), sha256))
            refused = refused_models()
            use_source(source)
        for error in refused.values():
            raise error
    names = names_of(archive, settings.overlays, settings.models)
    database = open_audited(context, "admin")
    is_new = add_pipeline(database, name, archive, sha256, names, local_user())
    database.close()
    write_line(f"{'added' if is_new else 'held already'}: {name} ({', '.join(names.values())})")


def _chosen_models(settings: "Settings", asked: list[str]) -> "list[Registered]":
    """The models that are asked for, and of other languages those in use; none where none is asked for."""
    if not asked:
        return []
    from dicomnlp.analyse.learned_registry import read_registry
    from dicomnlp.learn.models import find

    chosen: dict[str, Registered] = {}
    for name in asked:
        model = find(settings.models, name)
        if chosen.setdefault(model.language, model) != model:
            raise UsageError(f"models {chosen[model.language].name} and {model.name} both read {model.language}")
    return list({**read_registry(settings.models).promoted(), **chosen}.values())


@pipelines_app.command("remove")
def remove(context: typer.Context, name: Name) -> None:
    """Forget a pipeline and what its shadow runs left; one that counts, or would after going back, is refused.

    Example: dicomnlp pipelines remove thyroid-terms
    """
    from dicomnlp.store.pipelines import CONFIGURED, combinations, read_pipelines, remove_pipeline

    if name == CONFIGURED:
        raise typer.BadParameter("that of the configuration stays")
    settings, database = settings_of(context), open_audited(context, "admin")
    own = set(names_by(settings, database, name).values())
    kept = [CONFIGURED, *(p.name for p in read_pipelines(database) if p.name != name)]
    others = {pipeline for other in kept for pipeline in names_by(settings, database, other).values()}
    of_it = [p for p in combinations(own) if not set(p.split("&")) <= others]
    deleted = remove_pipeline(database, name, of_it)
    database.close()
    write_line(f"removed: {name}, and {deleted} analyses of reports")


@pipelines_app.command("shadow")
def shadow(
    context: typer.Context,
    name: Name,
    uids: Annotated[
        list[str] | None, typer.Argument(callback=_checked_uids, help="Study or SOP Instance UIDs.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every report.")] = False,
    date_from: Annotated[
        dt.date | None,
        typer.Option("--from", parser=day, metavar="DATE", help="Only of studies since this day; alone: all of them."),
    ] = None,
    date_to: Annotated[
        dt.date | None,
        typer.Option("--to", parser=day, metavar="DATE", help="Only of studies to this day; alone: all of them."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample", min=1, metavar="N", help="Only so many of them, chosen by chance, the same each time."
        ),
    ] = None,
) -> None:
    """Read reports by a pipeline without letting it count: for `pipelines compare`, and to be promoted at once.

    Worker processes of this command do it, beside a service that runs. Reports that it has read are left out, so that
    the same command goes on where it was stopped.

    Example: dicomnlp pipelines shadow thyroid-terms --from 2026-10-01 --sample 500
    """
    from dicomnlp.store.pipelines import combinations, note_names, read_archive
    from dicomnlp.store.reprocess import Selection
    from dicomnlp.store.shadow import objects_for_shadow
    from dicomnlp.work.archive import ReadBy
    from dicomnlp.work.shadow import run_shadow

    everything = everything or (not uids and (date_from or date_to or sample) is not None)
    if bool(uids) == everything:
        raise typer.BadParameter("name UIDs, or some of --all, --from, --to and --sample")
    settings, database = settings_of(context), open_audited(context, "admin")
    names = names_by(settings, database, name)
    archive, sha256 = read_archive(database, name) or (b"", "")
    note_names(database, name, names)
    selection = Selection(tuple(uids or ()), everything, date_from=date_from, date_to=date_to)
    chosen, had = objects_for_shadow(database, selection, combinations(names.values()), sample)
    with stoppable() as stop, _progress("reading", len(chosen)) as (watched, task):
        done = run_shadow(
            settings,
            database,
            name,
            ReadBy(None, sha256, archive),
            chosen,
            on_progress=lambda number: watched.update(task, completed=number),
            stop=stop,
        )
    database.close()
    write_line(f"{done} of {len(chosen)} reports read by {name}; it had read {had} of those chosen before")
    if done < len(chosen):
        err.print("stopped; go on with the same command")
        raise typer.Exit(STOPPED)


@pipelines_app.command("compare")
def compare(
    context: typer.Context,
    name: Name,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="NAME", help="Another pipeline; default: what counts for each report."),
    ] = None,
    concept: Annotated[
        str | None, typer.Option("--concept", metavar="ID", help="Only findings of this concept.")
    ] = None,
    examples: Annotated[int, typer.Option("--examples", min=0, max=100, metavar="N", help="Of each change.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Tell what a pipeline says otherwise than what counts: findings added, gone and changed, with examples.

    Findings are counted by concept and assertion over all reports that both have read; see `pipelines shadow`.

    Example: dicomnlp pipelines compare thyroid-terms
    """
    from dicomnlp.store.comparisons import compare_pipelines, comparison_to_json
    from dicomnlp.store.pipelines import combinations

    settings, database = settings_of(context), open_audited(context, "query")
    after = combinations(names_by(settings, database, name).values())
    before = combinations(names_by(settings, database, against).values()) if against else None
    found = compare_pipelines(database, name, after, before, concept=concept, examples=examples)
    database.close()
    if as_json:
        write_line(json.dumps(comparison_to_json(found, lambda f: f.to_json()), ensure_ascii=False))
        return
    for line in _told(found):
        write_line(line)


def _told(found: "Comparison") -> Iterator[str]:
    sign = {"added": "+", "gone": "-", "changed": "~"}
    for change in found.changes:
        yield f"{sign[change.kind]} {change.count:6} {change.concept_id} {_judged(change)}"
        for example in change.examples:
            stated = example.after or example.before
            if stated is not None:
                yield f"         {stated.sop_instance_uid}: {' '.join(stated.finding.sentence.split())}"
    for reason_code, number in found.failures:
        yield f"! {number:6} could not be read: {reason_code}"
    yield (
        f"{found.differing} of {found.compared} reports differ: {found.total('added')} findings added, "
        f"{found.total('gone')} gone, {found.total('changed')} changed, {found.unchanged} unchanged"
    )
    if found.same_analysis:
        yield f"{found.same_analysis} further reports are of it already"


def _judged(change: "Change") -> str:
    def side(assertion: str | None, laterality: str | None) -> str:
        return f"{assertion}{f' {laterality}' if laterality else ''}"

    if change.kind != "changed":
        return str(change.assertion_after or change.assertion_before)
    if change.assertion_before == change.assertion_after:
        sides = (change.laterality_before or "no side", change.laterality_after or "no side")
        return f"{change.assertion_after}: {sides[0]} -> {sides[1]}"
    return (
        f"{side(change.assertion_before, change.laterality_before)} -> "
        f"{side(change.assertion_after, change.laterality_after)}"
    )


@pipelines_app.command("promote")
def promote(
    context: typer.Context,
    name: Name,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only ask the gate.")] = False,
) -> None:
    """Let a pipeline count: new reports are read by it from this moment on, and those held are brought to it.

    Those that it has read in shadow change at once, each as a whole; the others are analysed by the service after all
    new arrivals, and stay as they are until then. Stopping loses nothing: a running service goes on, and so does the
    same command.

    Where learn.gold names annotated reports, the gate stands before it, and the exit code is 1 where it doesn't pass: a
    pipeline with other packs or models than the one that counts must be ahead of it by learn.margin, as of
    `dicomnlp models promote`; with other overlays it must not be behind. No protected case may be broken.

    Example: dicomnlp pipelines promote thyroid-terms
    """
    from dicomnlp.analyse import refused_overlays, use_source
    from dicomnlp.analyse.pipelines import Source
    from dicomnlp.store.pipelines import CONFIGURED
    from dicomnlp.store.pipelines import promote as let_count

    settings = settings_of(context)
    if dry_run and settings.gold is None:
        raise UsageError("learn.gold names no annotated reports: there is no gate to be asked")
    if name == CONFIGURED and settings.overlays is not None:
        use_source(Source(overlays=settings.overlays))
        if refused_overlays():
            raise UsageError("an overlay of the configuration has faults; see `dicomnlp languages check`")
    if settings.gold is not None and not _passes_gate(context, settings.gold, name):
        err.print(f"{name} was not promoted: the gate didn't let it pass", soft_wrap=True)
        raise typer.Exit(1)
    if dry_run:
        return
    database = open_audited(context, "admin")
    _bring(database, let_count(database, name, names_by(settings, database, name), local_user()))


def _passes_gate(context: typer.Context, gold: Path, name: str) -> bool:
    """Whether a pipeline may count in place of the one that does, which is told with the figures."""
    from dicomnlp.cli.models import print_verdict
    from dicomnlp.learn.formats import read_gold
    from dicomnlp.learn.gate import judge_pipeline
    from dicomnlp.store.pipelines import read_active

    settings, database = settings_of(context), open_database(context)
    active = read_active(database).name
    now, then = ((one, source_by(settings, database, one)) for one in (active, name))
    database.close()
    if active == name:
        return True
    if not gold.exists():
        raise UsageError(f"learn.gold: {gold} doesn't exist")
    margin, language = settings.learn.margin, settings.analyse.language
    verdicts = judge_pipeline(now, then, settings.models, read_gold(gold), margin, language)
    for language, verdict in verdicts.items():
        err.print(f"{language}:", end=" ")
        print_verdict(verdict, err)
    return all(verdict.passed for verdict in verdicts.values())


@pipelines_app.command("rollback")
def rollback(context: typer.Context) -> None:
    """Go back from the last promotion: what counted before it counts again, for each report.

    What came since is read by the pipeline that counted before. Called again it goes back from the promotion before.

    Example: dicomnlp pipelines rollback
    """
    from dicomnlp.store.pipelines import CONFIGURED, promote, read_promotions, taken_back

    settings, database = settings_of(context), open_audited(context, "admin")
    going = taken_back(read_promotions(database))
    if going is None:
        database.close()
        raise UsageError("no promotion is left to go back from")
    undone, before = going
    name = before.pipeline if before is not None else CONFIGURED
    _bring(database, promote(database, name, names_by(settings, database, name), local_user(), undoes=undone.id))


def _bring(database: "Database", promotion: "Promotion") -> None:
    """Bring reports to a promotion, and say how far that is."""
    from dicomnlp.store.pipelines import combinations, read_promotion
    from dicomnlp.store.switching import bring_some

    pipelines = combinations(promotion.names.values())
    stopped = False
    with stoppable() as stop, _progress("switching", None) as (watched, task):
        while bring_some(database, promotion.id, pipelines):
            watched.update(task, completed=read_promotion(database, promotion.id).total)
            if stop.is_set():
                stopped = True
                break
    done = read_promotion(database, promotion.id)
    database.close()
    write_line(
        f"{done.pipeline} counts: {done.switched} reports switched, {done.unchanged} unchanged, "
        f"{done.marked} to be read by it"
    )
    if done.marked:
        err.print("the service reads these after all new arrivals; dicomnlp status tells how many are left")
    if stopped:
        err.print("stopped; a running service goes on, or the same command")
        raise typer.Exit(STOPPED)


@contextlib.contextmanager
def _progress(told: str, total: int | None) -> Iterator[tuple[rich.progress.Progress, rich.progress.TaskID]]:
    count = rich.progress.MofNCompleteColumn() if total is not None else "{task.completed} reports"
    with rich.progress.Progress("{task.description}", rich.progress.BarColumn(), count, console=err) as watched:
        yield watched, watched.add_task(told, total=total)


def names_by(settings: "Settings", database: "Database", name: str) -> dict[str, str]:
    """By language, how a pipeline names itself with this program; raises NotFoundError."""
    from dicomnlp.analyse.archive import names_of
    from dicomnlp.store.pipelines import read_archive

    held = read_archive(database, name)
    return names_of(held[0] if held else None, settings.overlays, settings.models)


def source_by(settings: "Settings", database: "Database", name: str) -> "Source":
    """What reports are read by where a pipeline counts; raises NotFoundError."""
    from dicomnlp.analyse import Source
    from dicomnlp.store.pipelines import read_archive
    from dicomnlp.work.archive import Unpacked

    held = read_archive(database, name)
    if held is None:
        return Source(overlays=settings.overlays)
    archive, sha256 = held
    return Unpacked().source_of(sha256, archive)


def read_by_active(database: "Database") -> None:
    """Let this process read as the service does, where that isn't by the pipeline of the configuration."""
    from dicomnlp.analyse import use_source
    from dicomnlp.store.pipelines import read_active, read_archive
    from dicomnlp.work.archive import Unpacked

    held = read_archive(database, read_active(database).name)
    if held is not None:
        archive, sha256 = held
        use_source(Unpacked().source_of(sha256, archive))
