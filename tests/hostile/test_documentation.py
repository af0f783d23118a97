"""docs/reference/hostile-inputs.md and the tests say the same."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/hostile-inputs.md"


def rows():
    """Number of each row, and the tests that it names as (path, function)."""
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0].isdigit():
            names = re.findall(r"`([\w/]+\.py)::(\w+)`", cells[-1])
            assert all(cells[1:3])
            found[int(cells[0])] = {
                (path if path.startswith("tests/") else f"tests/hostile/{path}", name) for path, name in names
            }
    return found


def functions(path):
    """Names of the test functions of a module."""
    return {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)}


def test_each_row_is_there_once_and_names_tests_that_exist():
    """Rows 1 to 70, each with at least one test."""
    table = rows()
    assert list(table) == list(range(1, 71))
    for number, named in table.items():
        assert named, f"row {number} names no test"
        for path, name in named:
            assert name in functions(path), f"row {number}: there is no {name} in {path}"


def test_each_test_named_after_a_row_stands_in_that_row():
    """A test that is added for a row is added to the table."""
    table = rows()
    missing = []
    for path in (ROOT / "tests/hostile").glob("test_*.py"):
        for name in functions(path):
            if (match := re.match(r"test_(rows?)_((?:\d+_)*\d+)_", name)) is None:
                continue
            numbers = [int(n) for n in match[2].split("_")]
            # in "row_12_128_contexts" only the first is a row
            rows_named = numbers if match[1] == "rows" else numbers[:1]
            key = (f"tests/hostile/{path.name}", name)
            missing += [(number, *key) for number in rows_named if key not in table[number]]
    assert missing == []
