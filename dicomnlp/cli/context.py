"""What every command has at hand: the settings of the ``--config`` file, and consoles for people."""

import datetime as dt
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

import rich.console
import typer

from dicomnlp import config
from dicomnlp.errors import DatabaseError
from dicomnlp.model import is_uid

if TYPE_CHECKING:
    from dicomnlp.store.database import Database

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of SIGINT."""
PIPE_WIDTH = 10_000
"""Columns of what isn't a terminal: a program that reads our output, or a file, breaks no lines."""


def _width(stream: TextIO) -> int | None:
    return None if stream.isatty() else PIPE_WIDTH


out = rich.console.Console(highlight=False, markup=False, width=_width(sys.stdout))
"""Results that people read. A report's "[b]" or "[/x]" is text, not markup."""
err = rich.console.Console(stderr=True, highlight=False, markup=False, width=_width(sys.stderr))
"""Messages and progress."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the options before the command's name said."""

    config_file: Path | None

    def settings(self) -> config.Settings:
        """The settings; ConfigurationError when they can't be used."""
        return config.load(self.config_file)


def settings_of(context: typer.Context) -> config.Settings:
    """The settings that a command was called with."""
    return cast("Context", context.obj).settings()


def analysing(context: typer.Context) -> config.Settings:
    """The settings of a command that analyses, with the site's additions to the packs and its models in use."""
    from dicomnlp.analyse import refused_models, refused_overlays, use_models, use_overlays

    settings = settings_of(context)
    use_overlays(settings.overlays)
    use_models(settings.models)
    for refused in refused_models().values():
        err.print(f"rules alone: {refused}", soft_wrap=True)
    for language, faults in refused_overlays().items():
        rest = f", and {len(faults) - 1} more; see `dicomnlp languages check`" if len(faults) > 1 else ""
        err.print(f"overlay {language} isn't used: {faults[0]}{rest}", soft_wrap=True)
    return settings


def open_database(context: typer.Context) -> "Database":
    """The database of the command's settings, as `database_of`."""
    return database_of(settings_of(context))


def database_of(settings: config.Settings) -> "Database":
    """The database of `settings`; DatabaseError when it is missing or of another version.

    A missing one is often that of another folder: where nothing was configured, the message says so.
    """
    from dicomnlp.store.database import Database

    try:
        return Database.open(settings)
    except DatabaseError as error:
        unnamed = settings.file is None and "url" not in settings.database.model_fields_set
        if error.reason_code != "database_missing" or not unnamed:
            raise
        hint = "no config.toml in this folder, defaults are in use; name one with --config"
        raise DatabaseError(f"{error}\n{hint}", reason_code=error.reason_code) from None


def checked_uid(text: str) -> str:
    """`text` if it is a UID; else a usage error that doesn't repeat it."""
    if not is_uid(text):
        raise typer.BadParameter("not a DICOM UID: digits and dots, at most 64 characters (PS3.5 9.1)")
    return text


def moment(text: str) -> dt.datetime:
    """A time as people write it, RFC 3339 or a date; without a zone it is this machine's."""
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("not a time: write 2026-11-22T06:00:00Z or 2026-11-22") from None
    return found.astimezone(dt.UTC)


def write_line(text: str) -> None:
    """One line of machine output, whatever the terminal's encoding."""
    write_text(text + "\n")
    sys.stdout.buffer.flush()


def write_text(text: str) -> None:
    """Machine output, whatever the terminal's encoding."""
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
