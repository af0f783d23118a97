"""``features``: what becomes of reports' text before anything is learned from it, and words that are used alike."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.progress
import typer

from dicomnlp.cli.auditing import open_audited
from dicomnlp.cli.context import analysing, checked_uid, err, out, settings_of, write_line
from dicomnlp.cli.objects import inputs
from dicomnlp.cli.reading import print_heading
from dicomnlp.cli.tables import print_records, printable
from dicomnlp.errors import DicomnlpError, ModelRefusedError, UsageError
from dicomnlp.model import to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicomnlp.config import Settings
    from dicomnlp.learn.features import Steps
    from dicomnlp.learn.neighbours import Answer
    from dicomnlp.learn.vector_files import VectorFolder
    from dicomnlp.store.database import Database

features_app = typer.Typer(
    help="What becomes of a text, step by step; TF-IDF; word vectors and their neighbours.", invoke_without_command=True
)
_MOST_REPORTS = 100_000
"""From the store: more teach vectors nothing that costs what they take."""

Files = Annotated[
    list[str] | None, typer.Argument(help=".txt, .jsonl and DICOM files as of `analyse`; - reads JSONL from stdin.")
]
FromStore = Annotated[
    bool, typer.Option("--from-store", help="The reports of the database that prevail, the latest 100,000.")
]
Language = Annotated[str, typer.Option("--language", help="Of the reports; others are left out. Default: the site's.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text for people.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.add_typer(features_app, name="features")


@features_app.callback()
def features(context: typer.Context, as_json: AsJson = False) -> None:
    """List the word vectors that were trained, and whether each is still what was registered.

    Exits with 1 where one isn't.

    Example: dicomnlp features
    """
    if context.invoked_subcommand is not None:
        return
    from dicomnlp.analyse.learned_registry import read_registry
    from dicomnlp.learn.vector_files import VECTORS, read_vectors

    folder = settings_of(context).models / VECTORS
    rows: list[dict[str, Any]] = []
    for entry in read_registry(folder).models:
        row: dict[str, Any] = {"name": entry.name, "language": entry.language, "digest": entry.digest[:12]}
        try:
            row |= {**read_vectors(folder / entry.name, entry.digest).card.data, "state": "ready"}
        except ModelRefusedError as error:
            row |= {"state": error.reason_code}
            err.print(str(error), soft_wrap=True)
        rows.append({**row, "registered": entry.registered_at})
    names = ("name", "language", "digest", "reports", "units", "state", "registered")
    if as_json:
        for row in rows:
            write_line(json.dumps(row, ensure_ascii=False))
    elif rows:
        print_records(names, [[str(row.get(name, "")) for name in names] for row in rows])
    else:
        out.print("no word vectors are registered; make some with `dicomnlp features train`")
    if any(row["state"] != "ready" for row in rows):
        raise typer.Exit(1)


@features_app.command()
def show(
    context: typer.Context,
    files: Files = None,
    study_instance_uid: Annotated[
        str, typer.Option("--study", help="The reports of this study instead.", metavar="UID")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show what becomes of a text step by step: headings, placeholders, tokens, stop words, stems, n-grams.

    What is dim in the terminal is left out at the next step. With --json one line a report, with every step.

    Example: dicomnlp features show report.txt
    """
    from dicomnlp.learn.features import Preprocessor

    if bool(files) == bool(study_instance_uid):
        raise UsageError("name files, or a study by --study")
    settings = analysing(context)
    prepared: dict[str, Preprocessor] = {}
    failed = False
    texts: Iterable[_Text]
    if study_instance_uid:
        with closing(open_audited(context, "view")) as database:
            texts = list(_of_study(database, checked_uid(study_instance_uid)))
        if not texts:
            raise UsageError("no report of this study is analysed")
    else:
        texts = _of_files(files or [], settings)
    for name, said, text in texts:
        if isinstance(text, DicomnlpError):
            err.print(f"{name}: {text}", markup=False, soft_wrap=True)
            failed = True
            continue
        language = _language(text, said, settings)
        steps = prepared.setdefault(language, Preprocessor(language)).steps(text)
        if as_json:
            write_line(json.dumps({"id": name, **to_json(steps), "clean": steps.clean}, ensure_ascii=False))
        else:
            _print_steps(name, steps)
    if failed:
        raise typer.Exit(1)


@features_app.command()
def matrix(
    context: typer.Context,
    to: Annotated[Path, typer.Option("--out", help="Folder to write; it must not exist yet.")],
    files: Files = None,
    from_store: FromStore = False,
    language: Language = "",
    least: Annotated[int, typer.Option("--in-reports", min=1, help="Reports that a feature must be in.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Write the TF-IDF of reports: a sparse matrix of stems and n-grams, and what its rows and columns are.

    `matrix.npz` is what scipy.sparse.load_npz reads, `features.json` has the vocabulary and the reports' names. They
    hold words of reports, and are to be kept as these are.

    Example: dicomnlp features matrix reports.jsonl --out features
    """
    from dicomnlp.learn.feature_matrix import make_matrix, write_matrix
    from dicomnlp.learn.features import Preprocessor

    settings = analysing(context)
    language = language or settings.analyse.language
    if to.exists():
        raise UsageError(f"{to} exists already; give another name")
    with _reports(context, files, from_store, language, settings) as (texts, advance, _):
        found = make_matrix(texts, Preprocessor(language), least=least, on_report=advance)
    write_matrix(found, to)
    if as_json:
        write_line(json.dumps({"reports": found.shape[0], "features": found.shape[1], "values": len(found.data)}))
    else:
        out.print(f"{found.shape[0]} reports, {found.shape[1]} features, {len(found.data)} values, in {to}")


@features_app.command()
def train(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the new vectors.")],
    files: Files = None,
    from_store: FromStore = False,
    language: Language = "",
    as_json: AsJson = False,
) -> None:
    """Train word vectors on a site's own reports, on one processor core in minutes, and register them.

    Nothing is downloaded and nothing leaves. The same reports give the same vectors. The folder holds words of
    reports, and is to be kept as these are.

    Example: dicomnlp features train words-1 --from-store
    """
    from dicomnlp.learn.vector_files import make_vectors

    settings = analysing(context)
    language = language or settings.analyse.language
    with _reports(context, files, from_store, language, settings) as (texts, advance, tell):
        made = make_vectors(
            (text for _, text in texts), settings.models, name, language, on_report=advance, on_step=tell
        )
    if as_json:
        write_line(json.dumps({"digest": made.digest, "card": made.card.model_dump()}, ensure_ascii=False))
        return
    data = made.card.data
    out.print(
        f"{name}, digest {made.digest[:12]}: {data['units']} words and phrases of {data['reports']} reports, "
        f"in {made.path}",
        soft_wrap=True,
    )


@features_app.command()
def neighbours(
    context: typer.Context,
    asked: Annotated[str, typer.Argument(help="A word, a phrase, or the id of a concept: all its terms together.")],
    vectors: Annotated[str, typer.Option("--vectors", help="Name; default: the newest of the language.")] = "",
    language: Language = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 10,
    unknown: Annotated[bool, typer.Option("--unknown", help="Only what the lexicon doesn't read.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which words and phrases a site uses like a term, or like a concept's terms.

    With how alike they are (cosine), how often they were written, and what the lexicon reads them as: of a part of a
    phrase, in brackets. What is used alike isn't always the same: opposites are, too. See `features accept`.

    Example: dicomnlp features neighbours consolidation --unknown
    """
    settings = analysing(context)
    answer = _neighbours(_vectors(settings, vectors, language), asked, limit, unknown=unknown)
    if as_json:
        write_line(json.dumps(to_json(answer), ensure_ascii=False))
        return
    rows = [
        (n.text, f"{n.similarity:.2f}", str(n.count), f"({n.concept})" if n.part else n.concept or "")
        for n in answer.neighbours
    ]
    if rows:
        print_records(("word or phrase", "alike", "written", "lexicon"), rows)
    else:
        out.print("nothing is used like it")


@features_app.command("accept")
def accept_words(
    context: typer.Context,
    concept: Annotated[str, typer.Argument(help="Id of the concept.")],
    words: Annotated[list[str], typer.Argument(help="What names it here.")],
    language: Language = "",
) -> None:
    """Make words names of a concept in the site's overlay (analyse.overlays), if it is sound with them.

    It is tried with all its cases, and the pack's, before it is changed; a word that names something else already is
    refused. Words that name the concept already change nothing. It changes the pipeline: workers use it once they are
    started again, and `dicomnlp reprocess --outdated` reads what is stored with it.

    Example: dicomnlp features accept consolidation "airspace disease"
    """
    from dicomnlp.learn.local_words import accept

    settings = settings_of(context)
    if settings.overlays is None:
        raise UsageError("analyse.overlays names no folder to write to; set it in the configuration")
    found = accept(settings.overlays, language or settings.analyse.language, concept, words)
    for word in found.known:
        err.print(f"{printable(word)} names {concept} already", soft_wrap=True)
    if found.added:
        out.print(f"{len(found.added)} words name {concept} from now on, in {found.file}", soft_wrap=True)
        err.print("workers use them once they are started again; then: dicomnlp reprocess --outdated", soft_wrap=True)


# --- what is read --------------------------------------------------------------------------------------------------


_Text = tuple[str, str, str | DicomnlpError]
"""Name, declared language, and text or what is wrong."""


def _of_files(files: Sequence[str], settings: "Settings") -> Iterator[_Text]:
    for file in files:
        for read in inputs(file, settings):
            said = read["error"] if "error" in read else read["narrative"].text
            yield str(read["id"]), read.get("language") or "", said


def _of_study(database: "Database", uid: str) -> Iterator[_Text]:
    from dicomnlp.store.queries import reports_of_study

    for stored in reports_of_study(database, uid):
        if stored.report is not None and stored.analysis is not None:
            yield stored.sop_instance_uid, stored.analysis.language, stored.report.narrative.text


def _of_store(database: "Database") -> Iterator[_Text]:
    """The latest reports, the oldest of them first."""
    from dicomnlp.store.exports import PAGE, exported_reports, report_ids
    from dicomnlp.store.search_filters import Filters

    latest = sorted(report_ids(database, Filters()))[-_MOST_REPORTS:]
    for first in range(0, len(latest), PAGE):
        for exported in exported_reports(database, latest[first : first + PAGE]):
            stored = exported.report
            if stored.report is not None and stored.analysis is not None:
                yield stored.sop_instance_uid, stored.analysis.language, stored.report.narrative.text


def _language(text: str, declared: str, settings: "Settings") -> str:
    from dicomnlp.analyse import choose_language

    return choose_language(text, declared, settings.analyse.language)


@contextmanager
def _reports(
    context: typer.Context, files: Sequence[str] | None, from_store: bool, language: str, settings: "Settings"
) -> "Iterator[tuple[Iterator[tuple[str, str]], Callable[[], None], Callable[[str], None]]]":
    """Name and text of the reports in `language`, with progress: what to call for each, and for each step."""
    if bool(files) == from_store:
        raise UsageError("name files, or take the reports of the database by --from-store")
    columns = ("{task.description}", rich.progress.MofNCompleteColumn(), rich.progress.TimeElapsedColumn())
    database = open_audited(context, "export") if from_store else None
    try:
        with rich.progress.Progress(*columns, console=err, transient=True) as progress:
            task = progress.add_task("reading", total=None)
            texts = _of_files(files or [], settings) if database is None else _of_store(database)
            yield (
                _in_language(texts, language, settings),
                lambda: progress.advance(task),
                lambda step: progress.update(task, description=step),
            )
    finally:
        if database is not None:
            database.close()


def _in_language(texts: Iterable[_Text], language: str, settings: "Settings") -> Iterator[tuple[str, str]]:
    for name, declared, text in texts:
        if isinstance(text, DicomnlpError):
            raise UsageError(f"{name}: {text}")
        if text.strip() and _language(text, declared, settings) == language:
            yield name, text


def _vectors(settings: "Settings", name: str, language: str) -> "VectorFolder":
    from dicomnlp.learn.vector_files import open_vectors

    return open_vectors(settings.models, name, language or settings.analyse.language)


def _neighbours(vectors: "VectorFolder", asked: str, limit: int, *, unknown: bool) -> "Answer":
    from dicomnlp.analyse import load_pack
    from dicomnlp.learn.neighbours import Lexicon, Neighbourhood

    return Neighbourhood(vectors, Lexicon(load_pack(vectors.card.language))).of(asked, limit, unknown=unknown)


def _print_steps(name: str, steps: "Steps") -> None:
    """Each sentence with what is kept of it; what is left out at the next step is dim."""
    from rich.text import Text

    print_heading(f"{name} ({steps.language})")
    if steps.headings:
        out.print(f"headings taken out: {printable(', '.join(steps.headings))}", soft_wrap=True)
    if steps.placeholders:
        out.print(f"placeholders taken out: {steps.placeholders}")
    for sentence in steps.sentences:
        kept = set(sentence.kept)
        tokens = Text(" ").join(Text(printable(t), "" if t in kept else "dim") for t in sentence.tokens)
        out.print()
        out.print(printable(sentence.text), style="bold")
        rows = (("tokens", tokens), ("stems", Text(printable(" ".join(sentence.stems)))))
        for label, said in (*rows, ("n-grams", Text(printable(", ".join(sentence.ngrams))))):
            if said.plain:
                out.print(Text(f"{label:8}", "cyan") + said)
