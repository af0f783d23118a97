"""docs/reference/interface.md names tests that there are, and every path and command that it speaks of exists."""

import ast
import re
from pathlib import Path

from dicomnlp.cli.main import app as commands
from dicomnlp.config import Settings
from dicomnlp.serve.app import create_app

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/reference/interface.md").read_text(encoding="utf-8")


def rows():
    """The cells of each row of a table, heads left out."""
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[0] != "row":
            yield cells


def functions(path):
    """Names of the test functions of a module."""
    return {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_row_names_tests_that_there_are():
    """At least one each."""
    found = list(rows())
    assert len(found) > 35
    for cells in found:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", cells[-1])
        assert named, cells[0]
        for path, name in named:
            assert name in functions(path), f"{cells[0]}: there is no {name} in {path}"


def test_every_threat_to_what_is_served_has_its_row():
    """T19 to T22 and T29 to T36 of the threat model, each once."""
    named = [cells[0] for cells in rows() if re.fullmatch(r"T\d+", cells[0])]
    assert named == [f"T{number}" for number in (*range(19, 23), *range(29, 37))]


def test_every_test_of_the_contract_stands_in_a_row():
    """A test that is added for a row is added to the page."""
    path = "tests/service/test_interface.py"
    listed = set(re.findall(rf"`{path}::(\w+)`", PAGE))
    assert {name for name in functions(path) if name.startswith("test_")} == listed


def test_paths_and_commands_are_there():
    """In the application and on the command line."""
    app = create_app(Settings(), lambda: None)
    served = {(method, route.path) for route in app.routes for method in getattr(route, "methods", None) or ()}
    for method, path in re.findall(r"`(GET|POST) (/[^`?]*)`", PAGE):
        assert (method, path) in served, f"{method} {path}"
    known = {c.name or c.callback.__name__.strip("_") for c in commands.registered_commands}
    known |= {group.name for group in commands.registered_groups}
    table = PAGE.split("## Command line")[1].split("## HTTP")[0]
    named = {
        name for row in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert named <= known
