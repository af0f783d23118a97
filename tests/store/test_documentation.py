"""docs/reference/database.md against the schema."""

import re
from pathlib import Path

import pytest

from dicomnlp.model import State
from dicomnlp.store import faults, schema

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/database.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", schema.metadata.tables)
def test_page_tells_every_column_of_the_table_and_no_other(table):
    """In a section of the table's own."""
    [section] = re.findall(rf"^## `{table}`.*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| (`[^|]*`) \|", section, re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(told) == sorted(c.name for c in schema.metadata.tables[table].columns)


def test_page_tells_of_no_table_that_is_not():
    """Nor leaves one out."""
    assert set(re.findall(r"^## `(\w+)`", PAGE, re.MULTILINE)) == set(schema.metadata.tables)


def test_page_tells_all_states_and_reasons():
    """What an operator may meet."""
    for word in [*(s.value for s in State), *(v for v in vars(faults).values() if str(v).startswith("database_"))]:
        assert re.search(rf"\b{word}\b", PAGE), word
