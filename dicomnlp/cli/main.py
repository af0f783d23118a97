"""The ``dicomnlp`` command: its options, its groups, and how errors end."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from dicomnlp import __version__, logs
from dicomnlp.cli import (
    administration,
    annotations,
    auditing,
    correcting,
    drifting,
    evaluation,
    exporting,
    features,
    following,
    helping,
    keys,
    labelling,
    models,
    objects,
    packs,
    pipelines,
    queries,
    reconciling,
    remarks,
    reprocessing,
    searching,
    service,
    telling,
    write_back,
)
from dicomnlp.cli.context import Context, err
from dicomnlp.errors import DicomnlpError, UsageError

app = typer.Typer(
    help="Findings of radiology reports: received over DICOM, read by medspaCy, asked for by StudyInstanceUID.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Configuration file; default: config.toml of the current folder, if there."),
    ] = None,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = Context(config_file=config)


service.register(app)
objects.register(app)
queries.register(app)
searching.register(app)
following.register(app)
remarks.register(app)
exporting.register(app)
telling.register(app)
write_back.register(app)
labelling.register(app)
evaluation.register(app)
models.register(app)
drifting.register(app)
features.register(app)
annotations.register(app)
reprocessing.register(app)
pipelines.register(app)
reconciling.register(app)
administration.register(app)
packs.register(app)
correcting.register(app)
keys.register(app)
auditing.register(app)
helping.tidy(app)


def main() -> None:
    """Run the command line; never returns."""
    # a command tells its user itself what went wrong; the parts of the service set the configured level
    logs.configure("error")
    try:
        app(prog_name="dicomnlp", standalone_mode=True)
    except UsageError as error:
        err.print(f"dicomnlp: {error}", markup=False, soft_wrap=True)
        sys.exit(2)
    except DicomnlpError as error:
        err.print(f"dicomnlp: {error}", markup=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        err.print("dicomnlp: stopped")
        sys.exit(1)
    except BrokenPipeError:
        # whoever read our output has gone (| head): nothing is wrong, and nothing more can be said there
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  the last line of defence: a traceback could quote a report
        described = logs.describe(error)
        err.print(
            f"dicomnlp: unexpected {described['error_type']} at {described['place']}; "
            "this is a fault of dicomnlp, please report this line",
            markup=False,
            soft_wrap=True,
        )
        sys.exit(1)
