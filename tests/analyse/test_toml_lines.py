"""Where each key of a TOML file stands."""

import pytest

from dicomnlp.analyse.toml_lines import line_numbers, line_of

TEXT = '''# a comment with "quotes" and [brackets]
top = "x"  # and [another
[table]
plain = 1
"quoted key" = 'C:\\[not] an array'
dotted.inner = true

inline = { a = 1, b = [
    "x",
    { c = """
two lines""", d = 2 },
] }
[[group]]
terms = ["a",
  "b", "c"]
[[group]]
name = "]"
[group.sub]
when = 2026-01-02T03:04:05
'''

LINES = [
    (("top",), 2),
    (("table", "plain"), 4),
    (("table", "quoted key"), 5),
    (("table", "dotted", "inner"), 6),
    (("table", "inline"), 8),
    (("table", "inline", "b"), 8),
    (("table", "inline", "b", 0), 9),
    (("table", "inline", "b", 1), 10),
    # after a text of two lines
    (("table", "inline", "b", 1, "d"), 11),
    (("group", 0), 13),
    (("group", 0, "terms", 0), 14),
    (("group", 0, "terms", 2), 15),
    (("group", 1, "name"), 17),
    # what isn't there is looked for in what would hold it
    (("group", 1, "nowhere", 3), 16),
    (("nowhere",), None),
]


@pytest.mark.parametrize(("path", "line"), LINES, ids=[".".join(map(str, path)) for path, _ in LINES])
def test_keys_and_elements_have_their_lines(path: tuple[str | int, ...], line: int | None) -> None:
    """Tables, inline tables, arrays over several lines, and texts that look like them."""
    assert line_of(line_numbers(TEXT), path) == line
