"""Draws the figures of other benchmarks as SVG: cost against length, and queries against the size of the archive.

    python benchmarks/analysis.py REPORTS.jsonl | tee analysis.txt
    python benchmarks/queries.py --json queries.json
    python benchmarks/plots.py --analysis analysis.txt --queries queries.json docs/images

Nothing is drawn that wasn't measured.
"""

import argparse
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 700, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 260, 30, 50
COLOURS = ("#1b5e9b", "#b3541e", "#2e7d32", "#7b1fa2", "#555555", "#00838f", "#ad1457", "#827717", "#4e342e", "#37474f")
Lines = Mapping[str, Sequence[tuple[float, float]]]


def chart(title: str, x_title: str, y_title: str, lines: Lines) -> str:
    """Lines with points on two logarithmic axes, as SVG."""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    x_range = _decades(xs)
    y_range = _decades(ys)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x_range[0]) / (x_range[1] - x_range[0])
        up = (math.log10(y) - y_range[0]) / (y_range[1] - y_range[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_title)}</text>',
        f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>',
    ]
    for decade in range(x_range[0], x_range[1] + 1):
        x, y = place(10**decade, 10 ** y_range[0])
        parts.append(f'<path d="M{x:.1f} {y:.1f}V{TOP}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{10**decade:,}</text>')
    for decade in range(y_range[0], y_range[1] + 1):
        x, y = place(10 ** x_range[0], 10**decade)
        parts.append(f'<path d="M{x:.1f} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{10**decade:g}</text>')
    for n, (name, points) in enumerate(lines.items()):
        colour = COLOURS[n % len(COLOURS)]
        places = [place(*point) for point in sorted(points)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        y = TOP + 14 * n + 8
        parts.append(f'<text x="{WIDTH - RIGHT + 12}" y="{y}" fill="{colour}" font-size="10">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around `values`."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def of_lengths(printed: str) -> Lines:
    """Microseconds a character by length, of what analysis.py printed."""
    lines = {}
    for name, told in re.findall(r"^(.+): cost for each character\n((?: .*\n)+)", printed, re.MULTILINE):
        found = re.findall(r"(\d+) characters: ([\d.]+) microseconds", told)
        lines[name] = [(float(length), float(cost)) for length, cost in found]
    return lines


def of_sizes(figures: Sequence[Mapping[str, object]]) -> Lines:
    """The 99th percentile of each query by the number of reports, of the JSON of queries.py."""
    lines: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for f in figures:
        if "query" in f:
            lines[f"{f['query']}, {f['database']}"].append((float(str(f["reports"])), float(str(f["p99"]))))
    return lines


def main() -> None:
    """Draw what is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--analysis", type=Path, help="what analysis.py printed")
    parser.add_argument("--queries", type=Path, help="the JSON of queries.py")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.analysis:
        lines = of_lengths(asked.analysis.read_text(encoding="utf-8"))
        drawn = chart("Cost against length", "characters of a report", "microseconds a character", lines)
        (asked.folder / "cost-against-length.svg").write_text(drawn, encoding="utf-8")
    if asked.queries:
        told = json.loads(asked.queries.read_text(encoding="utf-8"))
        drawn = chart("Queries against size", "reports held", "p99 over HTTP, ms", of_sizes(told["figures"]))
        (asked.folder / "queries-against-size.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
