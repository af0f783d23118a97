"""Commands of annotation: what leaves and comes back, what is asked next, and how well readers agree."""

import datetime as dt
import enum
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicomnlp.cli.auditing import local_user, open_audited
from dicomnlp.cli.context import err, out, write_line, write_text
from dicomnlp.cli.tables import print_records
from dicomnlp.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from dicomnlp.learn.gold import GoldReport
    from dicomnlp.store.annotated_reports import Restored
    from dicomnlp.store.annotation_records import Mark, Reading
    from dicomnlp.store.database import Database

annotations_app = typer.Typer(
    help="What readers say of findings: export, import, queue, agreement.", no_args_is_help=True
)


class Format(enum.StrEnum):
    """How annotations are written."""

    JSONL = "jsonl"
    DOCBIN = "docbin"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.add_typer(annotations_app, name="annotations")


@annotations_app.command()
def export(
    context: typer.Context,
    path: Annotated[Path, typer.Option("--out", help="The file; - is standard output.")] = Path("-"),
    kind: Annotated[Format, typer.Option("--format", help="The annotation format, or spaCy's DocBin.")] = Format.JSONL,
) -> None:
    """Write all annotated reports, one line each, as `train` and `evaluate` read them.

    What was decided counts, else what most readers say of a place; what they are divided on is left out. With the
    text of the reports: keep the file as you keep the reports.

    Example: dicomnlp annotations export --out gold.jsonl
    """
    from dicomnlp.export.annotations import records

    if kind is Format.DOCBIN and path == Path("-"):
        raise UsageError("a DocBin is written to a file: name it with --out")
    database = open_audited(context, "export")
    try:
        if kind is Format.DOCBIN:
            from dicomnlp.learn.docbin import write_docbin

            count = write_docbin(records(database), path)
        else:
            count = _write_lines(records(database), path)
    finally:
        database.close()
    err.print(f"{count} annotated reports")


def _write_lines(found: Iterable[dict[str, Any]], path: Path) -> int:
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in found)
    if path == Path("-"):
        count = 0
        for count, line in enumerate(lines, 1):  # noqa: B007
            write_text(line)
        return count
    try:
        with path.open("w", encoding="utf-8") as file:
            return sum(1 for line in lines if file.write(line) > 0)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from None


@annotations_app.command()
def queue(
    context: typer.Context,
    reader: Annotated[
        str, typer.Option("--reader", help="Name of the key or user; what they are done with is left out.")
    ],
    limit: Annotated[int, typer.Option(min=1, max=100, help="So many at most.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a report.")] = False,
) -> None:
    """List the reports whose annotation teaches most, and why.

    Example: dicomnlp annotations queue --reader anna
    """
    from dicomnlp.store.annotation_queue import read_queue

    database = open_audited(context, "query")
    try:
        items = read_queue(database, reader, limit)
    finally:
        database.close()
    for item in items:
        if as_json:
            write_line(json.dumps(item.to_json(), ensure_ascii=False))
    if not as_json:
        if not items:
            out.print("nothing is left to annotate")
            return
        print_records(
            ("study", "report", "date", "why"),
            [
                (i.study_instance_uid, i.sop_instance_uid, i.study_date, ", ".join(w.reason.value for w in i.why))
                for i in items
            ],
        )


@annotations_app.command()
def agreement(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON line a pair.")] = False
) -> None:
    """Tell how well each two readers agree on the reports that both have marked as read.

    On the assertion of findings that both see by Cohen's kappa with its 95 % interval, on which findings there are by
    F1 of one against the other.

    Example: dicomnlp annotations agreement
    """
    from dicomnlp.export.annotations import read_agreement

    database = open_audited(context, "query")
    try:
        pairs = [pair.to_json() for pair in read_agreement(database)]
    finally:
        database.close()
    for pair in pairs:
        if as_json:
            write_line(json.dumps(pair, ensure_ascii=False))
    if not as_json:
        if not pairs:
            out.print("no report is marked as read by two readers")
            return
        names = ("first", "second", "reports", "spans", "kappa", "kappa_low", "kappa_high", "f1")
        print_records(names, [["-" if pair[n] is None else str(pair[n]) for n in names] for pair in pairs])


# --- import ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Taken:
    """What became of the records of a file."""

    annotations: int = 0
    reports: int = 0
    unknown: int = 0
    other_text: int = 0
    refused: int = 0


@annotations_app.command("import")
def take(
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(help="As `export` writes it, or annotated reports of any format of `evaluate`.")
    ],
    reader: Annotated[
        str | None, typer.Option("--reader", help="Whose they are, where the file doesn't say; by default you.")
    ] = None,
) -> None:
    """Take over annotations that were made elsewhere, of reports that are held: by SOP Instance UID (`id`) and text.

    What `export` wrote keeps who, when and pipeline. Of other files each marked span becomes an annotation of
    `--reader`: of the finding that stands there, else an added one; `findings`, which are all of a report, also reject
    what the pipeline finds besides, and mark the report as read. What is held already is passed over. Exits with 1
    where something couldn't be taken.

    Example: dicomnlp annotations import gold.jsonl --reader anna
    """
    if not path.exists():
        raise UsageError(f"{path} doesn't exist")
    who = reader or local_user()
    taken = _Taken()
    database = open_audited(context, "admin")
    try:
        for record in _records(path):
            if isinstance(record, dict):
                _restore(database, record, taken)
            else:
                _annotate(database, record, who, taken)
    finally:
        database.close()
    out.print(f"{taken.annotations} annotations of {taken.reports} reports")
    for count, why in (
        (taken.unknown, "aren't held"),
        (taken.other_text, "have another text here"),
        (taken.refused, f"are marked as read by {who}, or have a place that can't be annotated"),
    ):
        if count:
            err.print(f"{count} reports {why}", soft_wrap=True)
    if taken.unknown or taken.other_text or taken.refused:
        raise typer.Exit(1)


def _records(path: Path) -> "Iterator[dict[str, Any] | GoldReport]":
    """Records with their single annotations as they are, others as annotated reports."""
    from dicomnlp.learn.docbin import SUFFIX, read_docbin
    from dicomnlp.learn.formats import read_gold

    if path.suffix == SUFFIX:
        found: list[Any] = list(read_docbin(path))
    else:
        found = [] if path.is_dir() else list(_lines(path))
    if found and all(isinstance(record, dict) and "annotations" in record for record in found):
        yield from found
    else:
        yield from read_gold(path)


def _lines(path: Path) -> Iterator[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        yield from (json.loads(line) for line in text.split("\n") if line.strip())
    except (OSError, ValueError):
        return  # not JSON lines: `read_gold` knows what else it may be, or says what is wrong


def _restore(database: "Database", record: dict[str, Any], taken: _Taken) -> None:
    from dicomnlp.store.annotated_reports import restore

    try:
        marks = [_restored(said, len(str(record["text"]))) for said in record["annotations"]]
        done = {str(reader): _moment(at) for reader, at in (record.get("done") or {}).items()}
        uid, text, language = str(record["id"]), str(record["text"]), str(record["language"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError("a line's `annotations` aren't as `annotations export` writes them") from None
    count = restore(database, uid, text, language, marks, done)
    if count is None:
        taken.unknown += 1
    else:
        taken.annotations += count
        taken.reports += 1


def _moment(text: str) -> dt.datetime:
    at = dt.datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return at


def _restored(said: dict[str, Any], length: int) -> "Restored":
    from dicomnlp.model import Assertion, Laterality
    from dicomnlp.store.annotated_reports import Restored
    from dicomnlp.store.annotation_records import Answer, Verdict

    start, end = int(said["start"]), int(said["end"])
    if not 0 <= start < end <= length:
        raise ValueError("a span outside the text")
    return Restored(
        Verdict(said["verdict"]),
        start,
        end,
        str(said["finding_concept"] or ""),
        Answer(
            str(said["concept"]),
            Assertion(said["assertion"]) if said["assertion"] else None,
            Laterality(said["laterality"]) if said["laterality"] else None,
        ),
        str(said["by"]),
        _moment(said["at"]),
        str(said["pipeline"]),
        bool(said["adjudicates"]),
    )


def _annotate(database: "Database", gold: "GoldReport", who: str, taken: _Taken) -> None:
    """Annotate a report as an annotator marked it elsewhere."""
    from dicomnlp.store.annotation_records import digest
    from dicomnlp.store.annotations import annotate, mark_done, read_reading

    try:
        reading = read_reading(database, gold.id, who)
    except (NotFoundError, UsageError):
        taken.unknown += 1
        return
    if reading.text_sha256 != digest(gold.text):
        taken.other_text += 1
        return
    said = {a.key: a.answer for a in reading.own}
    try:
        for mark in _marks(reading, gold):
            kept = said.get(mark.key)
            if kept is None or kept.assertion is not mark.assertion:
                annotate(database, gold.id, who, mark)
                taken.annotations += 1
        if gold.findings is not None:
            mark_done(database, gold.id, who)
    except UsageError:
        taken.refused += 1
    else:
        taken.reports += 1


def _marks(reading: "Reading", gold: "GoldReport") -> "Iterator[Mark]":
    from dicomnlp.analyse import expand_concept, load_pack
    from dicomnlp.store.annotation_queue import UNLISTED
    from dicomnlp.store.annotation_records import UNSAID, Mark, Verdict

    marked = (*(gold.findings or ()), *gold.targets)
    for span in marked:
        if not span.accepted:
            continue
        here = [f.finding for f in reading.findings if (f.finding.start, f.finding.end) == (span.start, span.end)]
        concept = span.concept
        if concept is not None and concept != UNLISTED:
            try:
                expand_concept(concept)
            except UsageError:
                concept = None  # an annotation tool's own type
        side = UNSAID if span.laterality is None else span.laterality
        found = next((f.concept.id for f in here if f.concept.id == concept), here[0].concept.id if here else "")
        verdict = Verdict.RELABEL if found else Verdict.ADD
        yield Mark(verdict, span.start, span.end, found, concept or found or UNLISTED, span.accepted[0], side)
    if gold.findings is None:
        return
    analysis = reading.report.analysis
    concepts = load_pack(analysis.language).concepts if analysis else {}
    for stored in reading.findings:
        place = stored.finding
        # annotators leave statements of normality unmarked, which doesn't make them wrong
        is_normal = place.concept.id in concepts and concepts[place.concept.id].normal
        if not is_normal and not any(s.start < place.end and place.start < s.end for s in marked):
            yield Mark(Verdict.REJECT, place.start, place.end, place.concept.id)
