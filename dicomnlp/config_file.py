"""The commented default config.toml, from what the settings say of themselves: ``python -m dicomnlp.config_file``."""

import inspect
import json
import sys
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dicomnlp.config import Settings, Table, element_of, tables


def lists_of_tables() -> dict[str, type[Table]]:
    """The tables of which there may be any number, by what stands in their double brackets."""
    inner = {f"{t}.{k}": element_of(f.annotation) for t, c in tables().items() for k, f in c.model_fields.items()}
    outer = {name: element_of(f.annotation) for name, f in Settings.model_fields.items()}
    return {name: table for name, table in (inner | outer).items() if table is not None}


def keys(table: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a table, in the order in which the file shows them; lists of tables are not among them."""
    return {
        key: table.model_fields[key]
        for key in table.__annotations__
        if key in table.model_fields and element_of(table.model_fields[key].annotation) is None
    }


def default_text(field: FieldInfo) -> str:
    """A key's default as TOML, or an example of what it needs to be."""
    default = field.examples[0] if field.examples else field.default
    return json.dumps(str(default) if isinstance(default, Path) else default)


def default_file() -> str:
    """The text of config.toml with every key, its description and its default."""
    lines = [
        "# Configuration of dicomnlp. Each key can also be set as an environment variable:",
        "# DICOMNLP_<TABLE>__<KEY>, e.g. DICOMNLP_LISTENER__PORT=11113.",
        "# Made by `python -m dicomnlp.config_file`; the values below are the defaults.",
    ]
    for name, table in tables().items():
        lines += ["", *_description(table), f"[{name}]"]
        for key, field in keys(table).items():
            lines += [f"# {field.description}", f"{key} = {default_text(field)}"]
    for name, table in lists_of_tables().items():
        lines += ["", *_description(table), f"# [[{name}]]"]
        for key, field in keys(table).items():
            lines += [f"# # {field.description}", f"# {key} = {default_text(field)}"]
    return "\n".join(lines) + "\n"


def _description(table: type[Table]) -> list[str]:
    return [f"# {line}".rstrip() for line in inspect.cleandoc(table.__doc__ or "").splitlines()]


if __name__ == "__main__":
    sys.stdout.write(default_file())
