"""Records for people: a table where it fits the terminal, else a block each; nothing is ever cut."""

from collections.abc import Sequence

import rich.table
import rich.text
from rich.measure import Measurement

from dicomnlp.cli.context import out

LAST_COLUMN_WIDTH = 30
"""The last column is the one that may be broken into lines, but not into slivers."""

Cell = str | rich.text.Text


def printable(text: str) -> str:
    """`text` with control characters replaced one to one: a report must not steer the terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def print_records(names: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print `rows` under their column `names`; columns that are empty throughout are left out.

    A terminal too narrow for a table without broken identifiers gets one block of lines a record.
    """
    cells = [[rich.text.Text(printable(c)) if isinstance(c, str) else c for c in row] for row in rows]
    used = [n for n in range(len(names)) if any(row[n].plain for row in cells)]
    table = rich.table.Table()
    for n in used:
        longest = max(len(names[n]), *(row[n].cell_len for row in cells))
        last = n == used[-1]
        table.add_column(
            names[n], overflow="fold", no_wrap=not last, min_width=min(longest, LAST_COLUMN_WIDTH) if last else None
        )
    for row in cells:
        table.add_row(*(row[n] for n in used))
    if Measurement.get(out, out.options.update(width=1_000_000), table).minimum <= out.width:
        out.print(table)
        return
    for row in cells:
        block = rich.table.Table.grid(padding=(0, 2, 0, 0))
        block.add_column(no_wrap=True, style="dim")
        block.add_column(overflow="fold")
        for n in used:
            if row[n].plain:
                block.add_row(names[n], row[n])
        out.print(block)
        out.print()
