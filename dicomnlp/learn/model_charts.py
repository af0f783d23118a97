"""Plots of a model's test as inline SVG: how well its probabilities fit, and what more annotations bring."""

from collections.abc import Mapping, Sequence

from dicomnlp.learn.charts import text
from dicomnlp.learn.metrics import Calibration, Estimate

_SIDE, _LEFT, _UNDER = 300, 46, 40
"""Of the plot's square, and of the room for its axes, in user units."""
_COLOURS = ("point", "second")


def reliability(found: Calibration) -> str:
    """Probability against share right, a point a bin, the larger the more answers; right on the line is well told."""
    largest = max(b.answers for b in found.bins)
    parts = [*_frame("probability that the model gives", "share that is right")]
    parts.append(f'<line class="ideal" x1="{_x(0):g}" y1="{_y(0):g}" x2="{_x(1):g}" y2="{_y(1):g}"/>')
    for b in found.bins:
        tip = f"{b.answers} answers, probability {b.probability:.2f}, {b.right:.2f} right"
        radius = 3 + 7 * (b.answers / largest) ** 0.5
        parts.append(
            f'<circle class="point" cx="{_x(b.probability):g}" cy="{_y(b.right):g}" r="{radius:.1f}">'
            f"<title>{text(tip)}</title></circle>"
        )
    return _square("Probabilities of the model against how often it is right", parts)


def curve(points: Sequence[tuple[int, Mapping[str, Estimate]]], tasks: Sequence[str]) -> str:
    """F1 with its interval by number of annotations, a line for each of `tasks`, two at the most."""
    known = [e.low for _, scores in points for t in tasks if (e := scores.get(t)) and e.low is not None]
    bottom = max(0.0, (int(min(known, default=0.0) * 10) - 0.0) / 10)
    most = max((n for n, _ in points), default=1) or 1

    def y(value: float) -> float:
        return _y((value - bottom) / (1 - bottom) if bottom < 1 else 0)

    parts = [*_frame("annotations", "F1", bottom=bottom, most=most)]
    for colour, task in zip(_COLOURS, tasks, strict=False):
        line = []
        for annotations, scores in points:
            estimate = scores.get(task)
            if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None:
                continue
            x = _x(annotations / most)
            line.append(f"{x:g},{y(estimate.value):g}")
            tip = f"{task}, {annotations} annotations: {estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
            whisker = f'x1="{x:g}" y1="{y(estimate.low):g}" x2="{x:g}" y2="{y(estimate.high):g}"'
            parts.append(f'<line class="whisker {colour}" {whisker}/>')
            parts.append(
                f'<circle class="dot {colour}" cx="{x:g}" cy="{y(estimate.value):g}" r="4">'
                f"<title>{text(tip)}</title></circle>"
            )
        parts.append(f'<polyline class="curve {colour}" points="{" ".join(line)}"/>')
    return _square("F1 by number of annotations", parts)


def _frame(across: str, up: str, *, bottom: float = 0.0, most: float = 1.0) -> list[str]:
    parts = []
    for n in range(5):
        share = n / 4
        name, level = f"{share * most:g}", f"{bottom + share * (1 - bottom):.3g}"
        parts.append(f'<line class="grid" x1="{_x(0):g}" y1="{_y(share):g}" x2="{_x(1):g}" y2="{_y(share):g}"/>')
        parts.append(f'<text class="axis" x="{_x(0) - 8:g}" y="{_y(share) + 4:g}" text-anchor="end">{level}</text>')
        parts.append(f'<text class="axis" x="{_x(share):g}" y="{_y(0) + 18:g}" text-anchor="middle">{name}</text>')
    parts.append(f'<text class="axis" x="{_x(0.5):g}" y="{_y(0) + 35:g}" text-anchor="middle">{text(across)}</text>')
    parts.append(f'<text class="axis" x="{_x(0):g}" y="12" text-anchor="start">{text(up)}</text>')
    return parts


def _square(title: str, parts: Sequence[str]) -> str:
    width, height = _LEFT + _SIDE + 20, 20 + _SIDE + _UNDER
    head = f'<svg class="square" role="img" viewBox="0 0 {width} {height}"><title>{text(title)}</title>'
    return "".join([head, *parts, "</svg>"])


def _x(share: float) -> float:
    return round(_LEFT + share * _SIDE, 1)


def _y(share: float) -> float:
    return round(20 + (1 - share) * _SIDE, 1)
