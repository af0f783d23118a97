"""The ``languages`` commands: what packs there are, and what is wrong in what a site adds to them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicomnlp.cli.context import out, settings_of, write_line
from dicomnlp.cli.tables import print_records
from dicomnlp.errors import DicomnlpError, UsageError

if TYPE_CHECKING:
    from dicomnlp.analyse import Pack

languages_app = typer.Typer(help="The language packs, and a site's overlays of them.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.add_typer(languages_app, name="languages")


@languages_app.callback()
def languages(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON line a pack.")] = False
) -> None:
    """Show the language packs: what each holds, its version, and whether it passes its own cases.

    Example: dicomnlp languages
    """
    if context.invoked_subcommand is not None:
        return
    from dicomnlp.analyse import languages as codes
    from dicomnlp.analyse import use_models, use_overlays

    settings = settings_of(context)
    use_overlays(settings.overlays)
    use_models(settings.models)
    rows = [_row(code) for code in codes()]
    for row in rows:
        if as_json:
            write_line(json.dumps(row, ensure_ascii=False))
    if not as_json:
        print_records([name.replace("_", " ") for name in rows[0]], [[str(v) for v in row.values()] for row in rows])
    if any(row["cases"] == "fail" or row["overlay"] == "refused" for row in rows):
        raise typer.Exit(1)


def _row(code: str) -> dict[str, Any]:
    from dicomnlp.analyse import load_pack, pipeline_name, refused_overlays
    from dicomnlp.analyse.pack import LANGUAGES, read_about, read_pack

    about = read_about(LANGUAGES / code)
    try:
        pack = load_pack(code)
    except DicomnlpError:
        unread = {"cases": "fail", "overlay": "", "pipeline": ""}
        return {**_counts(about.name, code, read_pack(LANGUAGES / code)), **unread}
    refused = code in refused_overlays()
    own = read_pack(LANGUAGES / code)
    overlay = "refused" if refused else "used" if pack != own else "none"
    return {
        **_counts(about.name, code, pack),
        "cases": f"{len(pack.cases)} pass",
        "overlay": overlay,
        "pipeline": pipeline_name(code),
    }


def _counts(name: str, code: str, pack: "Pack") -> dict[str, Any]:
    named = [entry for entry in pack.concepts.values() if entry.terms or entry.cased or entry.compose]
    sites = [entry for entry in pack.anatomy.values() if entry.terms or entry.cased]
    return {
        "language": code,
        "name": name,
        "version": pack.about.version,
        "concepts": len(named),
        "terms": sum(len(entry.terms) + len(entry.cased) for entry in named),
        "sites": len(sites),
        "cues": sum(len(group.terms) for group in pack.context.cues),
        "headings": sum(map(len, pack.sections.headings.values())),
    }


@languages_app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="The overlays: a folder with a folder for each language.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a fault.")] = False,
) -> None:
    """Tell all that is wrong in a site's overlays, each with its file and line.

    Exits with 1 where something is.

    Example: dicomnlp languages check overlays
    """
    from dicomnlp.analyse import refused_overlays, use_overlays
    from dicomnlp.analyse.overlay import languages_of

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    use_overlays(folder.resolve())
    refused = refused_overlays()
    for faults in refused.values():
        for fault in faults:
            if as_json:
                write_line(json.dumps({"file": fault.file, "line": fault.line, "message": fault.message}))
            else:
                write_line(str(fault))
    if refused:
        raise typer.Exit(1)
    laid = languages_of(folder)
    if not as_json:
        out.print(f"nothing wrong: {', '.join(laid)}" if laid else f"{folder} has no folder of a language, such as en")
