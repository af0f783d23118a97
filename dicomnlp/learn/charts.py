"""Plots of an evaluation as inline SVG: no script, no font, no colour that the page's style doesn't set."""

from collections.abc import Mapping, Sequence
from html import escape

from dicomnlp.learn.evaluation import Row
from dicomnlp.learn.metrics import Estimate

_LABEL, _PLOT, _NUMBERS, _ROW, _TOP = 200, 400, 190, 28, 26
"""Widths of the three columns, height of a row, and of the axis, in user units."""
_LONGEST_NAME = 28


def text(words: object) -> str:
    """`words` as text of a page: markup escaped, control characters made visible."""
    return escape("".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in str(words)))


def figure(estimate: Estimate) -> str:
    """A figure with its interval: "0.95 (0.91\N{EN DASH}0.98)", or a dash where it isn't defined."""
    if estimate.value is None:
        return "\N{EN DASH}"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f}\N{EN DASH}{estimate.high:.2f})"


def forest(rows: Sequence[Row], title: str) -> str:
    """F1 of each row as a point with its interval, precision and recall as ticks; the scale is 0 to 1."""
    height = _TOP + _ROW * len(rows) + 6
    width = _LABEL + _PLOT + _NUMBERS
    parts = [
        f'<svg class="forest" role="img" viewBox="0 0 {width} {height}" preserveAspectRatio="xMinYMin">',
        f"<title>{text(title)}</title>",
    ]
    for tenth in range(0, 11, 2):
        x = _x(tenth / 10)
        parts.append(f'<line class="grid" x1="{x:g}" y1="{_TOP - 6}" x2="{x:g}" y2="{height - 4}"/>')
        parts.append(f'<text class="axis" x="{x:g}" y="{_TOP - 11}" text-anchor="middle">{tenth / 10:g}</text>')
    parts += [part for n, row in enumerate(rows) for part in _forest_row(row, _TOP + _ROW * n + _ROW / 2)]
    return "".join([*parts, "</svg>"])


def _forest_row(row: Row, y: float) -> list[str]:
    name = row.name if len(row.name) <= _LONGEST_NAME else row.name[: _LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
    parts = [
        f'<text x="{_LABEL - 12}" y="{y + 4:g}" text-anchor="end">{text(name)}<title>{text(row.name)}</title></text>'
    ]
    f1 = row.rates.f1
    if f1.value is not None and f1.low is not None and f1.high is not None:
        parts.append(f'<line class="interval" x1="{_x(f1.low):g}" y1="{y:g}" x2="{_x(f1.high):g}" y2="{y:g}"/>')
    for kind, estimate in (("precision", row.rates.precision), ("recall", row.rates.recall)):
        if estimate.value is not None:
            x, up = _x(estimate.value), -1 if kind == "precision" else 1
            tip = f"{kind} {estimate.value:.2f}"
            corners = f"{x:g},{y + up * 4:g} {x - 4:g},{y + up * 10:g} {x + 4:g},{y + up * 10:g}"
            parts.append(f'<polygon class="{kind}" points="{corners}"><title>{tip}</title></polygon>')
    if f1.value is not None:
        parts.append(f'<circle class="point" cx="{_x(f1.value):g}" cy="{y:g}" r="4"/>')
    numbers = f"{figure(f1)}  n={row.support}"
    parts.append(f'<text class="figures" x="{_LABEL + _PLOT + 16}" y="{y + 4:g}">{text(numbers)}</text>')
    return parts


def _x(value: float) -> float:
    return round(_LABEL + value * (_PLOT - 8) + 4, 1)


def confusion(table: Mapping[str, Mapping[str, int]]) -> str:
    """The annotators' classes in rows, the pipeline's in columns; the darker, the more of its row."""
    names = sorted({*table, *(got for row in table.values() for got in row)}, key=lambda n: (n == "none", n))
    head = "".join(f"<th>{text(name)}</th>" for name in names)
    rows = []
    for gold in names:
        row = table.get(gold, {})
        total = sum(row.values())
        cells = []
        for got in names:
            n = row.get(got, 0)
            share = n / total if total else 0
            kind = "hit" if gold == got else "miss"
            cells.append(f'<td class="{kind}" style="--share:{share:.2f}">{n or ""}</td>')
        rows.append(f'<tr><th scope="row">{text(gold)}</th>{"".join(cells)}</tr>')
    return (
        '<table class="confusion"><caption>Rows: annotators. Columns: dicomnlp.</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
