"""Help texts as people read them: paragraphs flow to the terminal's width, and a flag names no type."""

import inspect
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class _FlagsWithoutType:
    """A command whose flags stand in the help without the "<bool>" of newer Typer versions."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, --help included."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
        return parameters


class _Command(_FlagsWithoutType, TyperCommand):
    pass


class _Group(_FlagsWithoutType, TyperGroup):
    pass


def tidy(app: typer.Typer) -> None:
    """Give every command and group of `app` its help without the source's line breaks, and flags without a type.

    Typer joins the lines of a docstring's first paragraph only.
    """
    app.info.cls = _Group
    for command in app.registered_commands:
        command.cls = _Command
        paragraphs = inspect.cleandoc(getattr(command.callback, "__doc__", None) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            tidy(group.typer_instance)
