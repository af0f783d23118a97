"""Commands that take files: ``import`` into the database, ``extract`` and ``analyse`` without one."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.progress
import typer

from dicomnlp.cli.auditing import open_audited
from dicomnlp.cli.context import STOPPED, analysing, err, settings_of, write_line
from dicomnlp.cli.document import print_report
from dicomnlp.cli.reading import print_analysis
from dicomnlp.cli.tables import printable
from dicomnlp.config import Settings
from dicomnlp.errors import AlreadyRunningError, DicomnlpError, LanguageNotSupportedError, UsageError
from dicomnlp.model import Identity, Narrative, Outcome, Receipt, Report, StoredObject, to_json

if TYPE_CHECKING:
    from dicomnlp.extract import FileContent
    from dicomnlp.store.database import Database

Json = Annotated[bool, typer.Option("--json", help="One JSON line an input, instead of text for people.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("import")(import_files)
    app.command()(extract)
    app.command()(analyse)


def import_files(
    context: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(exists=True, help="DICOM files, folders of them, DICOMDIRs, ZIP archives.")
    ],
) -> None:
    """Take DICOM files from disk through the same intake as the network.

    Of a folder with a DICOMDIR the files that it lists are taken, of any other folder all but hidden ones. Of images
    the header is kept. Importing the same files again changes nothing, so an import that was stopped is simply started
    again.

    Example: dicomnlp import /mnt/export/2026-11
    """
    from dicomnlp.receive.importer import import_paths
    from dicomnlp.receive.intake import Intake

    settings = settings_of(context)
    database = open_audited(context, "transfer")
    intake = Intake(settings, database)
    outcomes: Counter[str] = Counter()
    progress = rich.progress.Progress(
        "{task.description}",
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
        console=err,
        transient=True,
    )
    task = progress.add_task("importing", total=None)

    def on_receipt(path: Path, receipt: Receipt) -> None:
        outcomes[receipt.outcome.value] += 1
        progress.advance(task)
        if receipt.outcome in {Outcome.REFUSED, Outcome.QUARANTINED}:
            # one line each, whatever a file or an entry of an archive is called
            name = printable(str(path)).replace("\n", "\N{REPLACEMENT CHARACTER}")
            text = f"{receipt.outcome.value}: {name} ({receipt.reason_code})"
            progress.console.print(text, markup=False, soft_wrap=True)

    stopped = unattended = False
    try:
        with progress:
            import_paths(
                intake, paths, on_receipt=on_receipt, on_total=lambda total: progress.update(task, total=total)
            )
        unattended = _unattended(database)
    except KeyboardInterrupt:
        stopped = True
    finally:
        intake.close()
        database.close()
    total = sum(outcomes.values())
    write_line(", ".join([f"{total} files", *(f"{outcomes[o.value]} {o.value}" for o in Outcome if outcomes[o.value])]))
    if stopped:
        err.print("stopped; start it again to import the rest")
        raise typer.Exit(STOPPED)
    if unattended and (outcomes[Outcome.STORED.value] or outcomes[Outcome.NEW_VERSION.value]):
        err.print("nothing analyses them until dicomnlp serve or dicomnlp work runs")
    if not total or outcomes[Outcome.REFUSED.value] or outcomes[Outcome.QUARANTINED.value]:
        raise typer.Exit(1)


def _unattended(database: "Database") -> bool:
    """Whether no process analyses what is pending."""
    try:
        with database.hold("dispatcher"):
            return True
    except AlreadyRunningError:
        return False


def extract(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="DICOM files.")],
    as_json: Json = False,
    character_set: Annotated[
        str | None,
        typer.Option(help="What the text is in, whatever the objects declare: a defined term or a Python codec."),
    ] = None,
) -> None:
    """Show what DICOM objects say: narrative, sections, coded items, measurements, identity. No database is used.

    Every file gets an answer; one that can't be read gets its error, and the exit code is 1.

    Example: dicomnlp extract report.dcm --json
    """
    from dicomnlp.extract import FileContent, identity_of_damaged, report_to_json, stated_codecs

    settings = settings_of(context)
    if character_set is not None:
        stated_codecs(character_set)
    failed = False
    for file in files:
        content: FileContent | None = None
        try:
            content = _read(file)
            report = _extract(content, settings, character_set)
        except DicomnlpError as error:
            failed = True
            if as_json:
                # what stands before the damage still tells which object it is
                identity = identity_of_damaged(content.data, content.transfer_syntax_uid) if content else Identity()
                _write_json({"file": str(file), **_error_json(error), **to_json(identity)})
            else:
                err.print(f"{file}: {error}", markup=False, soft_wrap=True)
            continue
        if as_json:
            _write_json({"file": str(file), **report_to_json(report)})
        else:
            print_report(report, heading=str(file))
    if failed:
        raise typer.Exit(1)


def analyse(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(help=".dcm, .txt or .jsonl files; - reads JSON lines from stdin.")],
    language: Annotated[str | None, typer.Option("--language", help="Code of a language pack, e.g. en.")] = None,
    as_json: Json = False,
) -> None:
    """Show the findings of reports. No database is used.

    A .jsonl file holds one {"id", "text", "language"?, "targets"?} a line; with targets [{"start", "end"}] these spans
    are judged as findings whatever the lexicon knows. Answers come in the order of the inputs.

    Example: echo '{"id": 1, "text": "No pneumothorax."}' | dicomnlp analyse - --json
    """
    from dicomnlp.analyse import analyse as analyse_narrative
    from dicomnlp.analyse import analysis_to_json, choose_language, languages

    settings = analysing(context)
    if language is not None:
        try:
            choose_language("", language)
        except LanguageNotSupportedError:
            message = f"no language pack of that name; there are packs for {', '.join(languages())}"
            raise typer.BadParameter(message, param_hint="--language") from None
    failed = False
    for name in files:
        for item in inputs(name, settings):
            try:
                if "error" in item:
                    raise item["error"]
                narrative: Narrative = item["narrative"]
                analysis = analyse_narrative(
                    narrative,
                    language=language or item["language"] or None,
                    targets=item["targets"],
                    default_language=settings.analyse.language,
                )
            except DicomnlpError as error:
                failed = True
                if as_json:
                    _write_json({"id": item["id"], **_error_json(error)})
                else:
                    source = "standard input" if name == "-" else name
                    err.print(f"{source}: {error}", markup=False, soft_wrap=True)
                continue
            if as_json:
                _write_json(analysis_to_json(item["id"], narrative, analysis))
            else:
                print_analysis(narrative, analysis.sections, analysis.findings, heading=str(item["id"]))
    if failed:
        raise typer.Exit(1)


def _read(file: Path) -> "FileContent":
    from dicomnlp.extract import read_file

    try:
        return read_file(file)
    except OSError as error:
        raise UsageError(f"can't be read: {error.strerror}") from None


def _extract(content: "FileContent", settings: Settings, character_set: str | None = None) -> Report:
    from dicomnlp.extract import extract as extract_object

    stored = StoredObject(0, content.sop_instance_uid, content.sop_class_uid, content.transfer_syntax_uid, content.data)
    return extract_object(stored, fallbacks=settings.extract.character_set_fallbacks, character_set=character_set)


def inputs(name: str, settings: Settings) -> Iterator[dict[str, Any]]:
    """The texts of one argument, each with id, narrative, language and targets, or with its error."""
    if name == "-":
        yield from _json_lines(sys.stdin.buffer.read().splitlines())
        return
    file = Path(name)
    try:
        if file.suffix == ".jsonl":
            yield from _json_lines(file.read_bytes().splitlines())
        elif file.suffix == ".txt":
            text = file.read_text("utf-8")
            yield {"id": file.name, "narrative": Narrative(text), "language": None, "targets": ()}
        else:
            report = _extract(_read(file), settings)
            yield {"id": file.name, "narrative": report.narrative, "language": report.language, "targets": ()}
    except DicomnlpError as error:
        yield {"id": file.name, "error": error}
    except OSError as error:
        yield {"id": file.name, "error": UsageError(f"can't be read: {error.strerror}")}
    except UnicodeDecodeError:
        yield {"id": file.name, "error": UsageError("isn't UTF-8 text", reason_code="not_utf8")}


def _json_lines(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = None
        try:
            record = json.loads(line.decode("utf-8"))
            parsed = _parse(record)
        except UnicodeDecodeError:
            yield {"id": None, "error": UsageError(f"line {number} isn't UTF-8 text", reason_code="not_utf8")}
            continue
        except (ValueError, RecursionError, UsageError) as error:
            what = error if isinstance(error, UsageError) else "not JSON"
            identifier = record.get("id") if isinstance(record, dict) else None
            invalid = UsageError(f"line {number}: {what}", reason_code="invalid_input")
            yield {"id": identifier, "error": invalid}
            continue
        yield {"id": record["id"], **parsed}


def _parse(record: Any) -> dict[str, Any]:
    if not isinstance(record, dict) or "id" not in record or not isinstance(record.get("text"), str):
        raise UsageError('not a JSON object with "id" and "text"')
    text = record["text"]
    try:
        targets = tuple((int(t["start"]), int(t["end"])) for t in record.get("targets") or ())
    except (KeyError, TypeError, ValueError):
        raise UsageError('"targets" is not a list of {"start", "end"}') from None
    if any(not 0 <= start < end <= len(text) for start, end in targets):
        raise UsageError('"targets" lie outside the text')
    return {"narrative": Narrative(text), "language": record.get("language"), "targets": targets}


def _error_json(error: DicomnlpError) -> dict[str, Any]:
    return {"error": {"reason_code": error.reason_code, "message": str(error)}}


def _write_json(record: dict[str, Any]) -> None:
    write_line(json.dumps(record, ensure_ascii=False))
