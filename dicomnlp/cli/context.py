"""What every command has at hand: the settings of the ``--config`` file, and consoles for people."""

import datetime as dt
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import rich.console
import typer

from dicomnlp import config
from dicomnlp.model import is_uid

if TYPE_CHECKING:
    from dicomnlp.store.database import Database

out = rich.console.Console(highlight=False, markup=False)
"""Results that people read. A report's "[b]" or "[/x]" is text, not markup."""
err = rich.console.Console(stderr=True, highlight=False, markup=False)
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


def open_database(context: typer.Context) -> "Database":
    """The database of the settings; DatabaseError when it is missing or of another version."""
    from dicomnlp.store.database import Database

    return Database.open(settings_of(context))


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
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()
