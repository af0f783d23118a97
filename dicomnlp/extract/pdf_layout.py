"""The reading order of a page by where its words stand: columns one after the other, rows of a table across.

The order in which a PDF draws its words says nothing of how they are read (ISO 32000-1 14.8.2.3 leaves that to tags,
which reports don't have). Lines are found by their baselines. A white gutter that runs down through many lines divides
columns where both sides are prose, or where the lines of both sides don't stand on common baselines; else it divides
the cells of a table, whose rows stay whole. A line that crosses the gutter ends the columns.

This module is loaded by path into the process that reads a PDF and imports nothing of the package.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

GUTTER: Final = 1.0
"""Widths of a letter (the size of the font) that words of one line stand apart at most."""
_WORD_GAP: Final = 0.12
"""Font sizes between two words that the file draws apart from each other and without a space."""
_WIDE_GAP: Final = 0.5
"""Likewise between ideographs, which are often set apart and written without spaces."""
_SAME_LINE: Final = 0.6
"""Font sizes between the baselines of one row; an index or exponent is off by a third."""
_BESIDE: Final = 0.85
"""Font sizes between the baselines of lines of two columns that count as one row."""
_WITHIN: Final = 0.3
"""Font sizes that the box of an exponent may reach into that of its neighbour."""
_SAME_BASELINE: Final = 0.15
_PARAGRAPH: Final = 1.5
"""Usual distances of lines that make a new paragraph."""
_APART: Final = 2.2
"""Usual distances of lines after which columns don't go on: page headers and footers."""
_FEWEST_LINES: Final = 3
_PROSE_LETTERS: Final = 20
_MOST_GUTTERS: Final = 8
_MOST_COLUMNS: Final = 6

_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_WIDE = re.compile(r"[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60]")
_JOINED = "\x02\ufffe"
"""What pdfium writes for a hyphen at the end of a line."""

_Interval = tuple[float, float]


@dataclass(slots=True)
class Run:
    """Letters drawn without a space, or several such; coordinates along and across the direction of the text."""

    x0: float
    x1: float
    y: float
    """Of the baseline; upwards."""
    size: float
    """Of the font."""
    text: str
    spaced: bool
    """Whether a space stands before it in the drawing order."""
    number: int
    """In the drawing order."""


def reading_order(runs: Sequence[Run]) -> str:
    """The text of `runs`, all of one direction, line by line in the order in which people read them.

    The cost grows with the number of runs as sorting them does.
    """
    rows = _rows([run for run in runs if run.text])
    fragments = [fragment for row in rows for fragment in _fragments(row)]
    lines: list[str] = []
    _read(fragments, lines, _MOST_COLUMNS)
    return "\n".join(lines)


def _rows(runs: Iterable[Run]) -> list[list[Run]]:
    """The runs by rows, from the top, each from left to right; lines of columns side by side share a row."""
    rows: list[list[Run]] = []
    top: Run | None = None
    level, low, high = 0.0, 0.0, 0.0
    for run in sorted(runs, key=lambda r: (-r.y, r.x0)):
        size = min(top.size, run.size) if top is not None else 0.0
        if top is not None and level - run.y > _SAME_BASELINE * size:
            # what is on this baseline stands beside what is on those above
            level, low, high = run.y, min(r.x0 for r in rows[-1]), max(r.x1 for r in rows[-1])
        is_beside = run.x1 <= low + _WITHIN * size or run.x0 >= high - _WITHIN * size
        if top is None or top.y - run.y > (_BESIDE if is_beside else _SAME_LINE) * size:
            rows.append([])
            top = run
            level, low, high = run.y, float("inf"), float("-inf")
        elif run.size > top.size:
            top = run  # what came first was an exponent
        rows[-1].append(run)
    for row in rows:
        row.sort(key=lambda r: (r.x0, r.number))
    return rows


def _fragments(row: Sequence[Run]) -> list[Run]:
    """The words of a row put together where they stand close; what is drawn twice at one place counts once."""
    groups: list[list[Run]] = []
    end = 0.0
    for run in row:
        last = groups[-1][-1] if groups else None
        if last is not None and last.text == run.text and abs(last.x0 - run.x0) < 0.3 * run.size:
            continue
        if last is None or run.x0 - end >= GUTTER * max(run.size, last.size):
            groups.append([])
            end = run.x1
        groups[-1].append(run)
        end = max(end, run.x1)
    return [_together(group) for group in groups]


def _together(group: Sequence[Run]) -> Run:
    first = group[0]
    if len(group) == 1:
        return first
    is_reversed = sum(bool(_RIGHT_TO_LEFT.search(r.text)) for r in group) * 2 > len(group)
    parts: list[str] = []
    last: Run | None = None
    for run in reversed(group) if is_reversed else group:
        if last is not None and _is_apart(last, run):
            parts.append(" ")
        parts.append(run.text)
        last = run
    largest = max(group, key=lambda r: r.size)
    x1 = max(r.x1 for r in group)
    return Run(first.x0, x1, largest.y, largest.size, "".join(parts), first.spaced, first.number)


def _is_apart(last: Run, run: Run) -> bool:
    if run.number == last.number + 1 and run.spaced:
        return True
    gap = run.x0 - last.x1 if run.x0 >= last.x0 else last.x0 - run.x1
    are_wide = _WIDE.match(last.text[-1]) and _WIDE.match(run.text[0])
    return gap > (_WIDE_GAP if are_wide else _WORD_GAP) * min(last.size, run.size)


def _read(fragments: Sequence[Run], lines: list[str], columns: int) -> None:
    """Append the lines of `fragments` in reading order."""
    rows = _rows(fragments)
    leading = _leading(rows)
    previous: float | None = None
    for band, gutters in _bands(rows, leading):
        top = band[0][0].y
        if previous is not None and lines and previous - top > _PARAGRAPH * leading:
            lines.append("")
        previous = band[-1][0].y
        gutter = _column_gutter(band, gutters) if columns > 1 else None
        if gutter is None:
            _read_rows(band, leading, lines)
        else:
            middle = sum(gutter) / 2
            everything = [fragment for row in band for fragment in row]
            _read([f for f in everything if f.x1 <= middle], lines, columns - 1)
            _read([f for f in everything if f.x1 > middle], lines, columns - 1)


def _leading(rows: Sequence[Sequence[Run]]) -> float:
    """The usual distance of two lines."""
    steps = [above[0].y - below[0].y for above, below in pairwise(rows)]
    sizes = median(row[0].size for row in rows) if rows else 0.0
    near = [step for step in steps if step <= 3 * sizes]
    return median(near) if near else 1.2 * sizes


def _read_rows(band: Sequence[Sequence[Run]], leading: float, lines: list[str]) -> None:
    previous: float | None = None
    for row in band:
        if previous is not None and previous - row[0].y > _PARAGRAPH * leading:
            lines.append("")
        previous = row[0].y
        is_reversed = sum(bool(_RIGHT_TO_LEFT.search(f.text)) for f in row) * 2 > len(row)
        texts = [f.text for f in (reversed(row) if is_reversed else row)]
        # a hyphen that pdfium takes for one between two lines, and that isn't at the end of this one
        texts[:-1] = [text[:-1] + "-" if text[-1] in _JOINED else text for text in texts[:-1]]
        lines.append(" ".join(texts))


def _bands(rows: Sequence[list[Run]], leading: float) -> list[tuple[list[list[Run]], list[_Interval]]]:
    """Rows that follow each other, with the gutters that run down through all of them."""
    bands: list[tuple[list[list[Run]], list[_Interval]]] = []
    current: list[list[Run]] = []
    gutters: list[_Interval] = []

    def close() -> None:
        if current:
            bands.append((list(current), list(gutters)))
        current.clear()
        gutters.clear()

    for row in rows:
        if current and current[-1][0].y - row[0].y > _APART * leading:
            close()
        free, inner = _free(row)
        if gutters:
            left = _common(gutters, free, row)
            if not left:
                close()
                left = _widest(inner)
            gutters[:] = left
        elif inner:
            begun, left = _pulled(current, _widest(inner), leading)
            close()
            current.extend(begun)
            gutters.extend(left)
        current.append(row)
    close()
    return [part for band, found in bands for part in _trimmed(band, found, leading)]


def _free(row: Sequence[Run]) -> tuple[list[_Interval], list[_Interval]]:
    """Where the row has no text: everywhere, and between texts."""
    inner: list[_Interval] = []
    end = row[0].x1
    for fragment in row[1:]:
        if fragment.x0 - end >= GUTTER * fragment.size:
            inner.append((end, fragment.x0))
        end = max(end, fragment.x1)
    return [(float("-inf"), row[0].x0), *inner, (end, float("inf"))], inner


def _widest(gutters: Sequence[_Interval]) -> list[_Interval]:
    """Those that may divide columns: a row of a thousand words far apart has none that does."""
    return sorted(sorted(gutters, key=lambda g: g[0] - g[1])[:_MOST_GUTTERS])


def _common(gutters: Sequence[_Interval], free: Sequence[_Interval], row: Sequence[Run]) -> list[_Interval]:
    """What is white in both, as far as it is wide enough; both stand in order."""
    found: list[_Interval] = []
    least = GUTTER * min(f.size for f in row)
    i = j = 0
    while i < len(gutters) and j < len(free):
        low, high = max(gutters[i][0], free[j][0]), min(gutters[i][1], free[j][1])
        if high - low >= least:
            found.append((low, high))
        if gutters[i][1] < free[j][1]:
            i += 1
        else:
            j += 1
    return found


def _pulled(above: list[list[Run]], inner: list[_Interval], leading: float) -> tuple[list[list[Run]], list[_Interval]]:
    """Rows just above that keep to one side of the gutters: the column on that side begins higher."""
    count, left = 0, inner
    for row in reversed(above):
        if count and row[0].y - above[-count][0].y > _PARAGRAPH * leading:
            break
        narrower = _common(left, _free(row)[0], row)
        if not narrower:
            break
        left = narrower
        count += 1
    begun = above[len(above) - count :]
    del above[len(above) - count :]
    return begun, left


def _trimmed(
    band: list[list[Run]], gutters: list[_Interval], leading: float
) -> list[tuple[list[list[Run]], list[_Interval]]]:
    """The band without the paragraphs below its columns that happen to keep to one side."""
    if not gutters:
        return [(band, gutters)]
    sides = [_sides(row, gutters[0]) for row in band]
    if all(sides[-1]):
        return [(band, gutters)]
    last = max((i for i, side in enumerate(sides) if side != sides[-1]), default=len(band) - 1)
    for i in range(last + 1, len(band)):
        if band[i - 1][0].y - band[i][0].y > _PARAGRAPH * leading:
            return [(band[:i], gutters), (band[i:], [])]
    return [(band, gutters)]


def _sides(row: Sequence[Run], gutter: _Interval) -> tuple[bool, bool]:
    return row[0].x1 <= gutter[0], row[-1].x0 >= gutter[1]


def _column_gutter(band: Sequence[Sequence[Run]], gutters: Sequence[_Interval]) -> _Interval | None:
    """The first gutter that divides columns rather than cells."""
    return next((gutter for gutter in gutters if _divides_columns(band, gutter)), None)


def _divides_columns(band: Sequence[Sequence[Run]], gutter: _Interval) -> bool:
    middle = sum(gutter) / 2
    left = [[f for f in row if f.x1 <= middle] for row in band]
    right = [[f for f in row if f.x1 > middle] for row in band]
    both = [(a[-1], b[0]) for a, b in zip(left, right, strict=True) if a and b]
    if min(sum(map(bool, left)), sum(map(bool, right))) < _FEWEST_LINES:
        return False
    aligned = sum(abs(a.y - b.y) <= _SAME_BASELINE * min(a.size, b.size) for a, b in both)
    if aligned * 2 < len(both) and len(both) >= _FEWEST_LINES:
        return True
    return _is_prose([row for row in left if row]) and _is_prose([row for row in right if row])


def _is_prose(rows: Sequence[Sequence[Run]]) -> bool:
    """Whether the lines are of running text: long, and full or going on in the next."""
    texts = [" ".join(f.text for f in row) for row in rows]
    if median(len(text) + len(_WIDE.findall(text)) for text in texts) < _PROSE_LETTERS:
        return False
    widths = [row[-1].x1 - row[0].x0 for row in rows]
    going_on = sum(text[:1].islower() for text in texts[1:])
    return median(widths) >= 0.75 * max(widths) or going_on * 2 >= len(texts) - 1
