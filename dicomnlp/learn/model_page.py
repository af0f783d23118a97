"""The page of a model: rules, model and both side by side, what it mends and breaks, and how far to trust it."""

from collections.abc import Iterator, Sequence

from dicomnlp.learn.charts import figure, text
from dicomnlp.learn.comparison import Comparison, Contest
from dicomnlp.learn.curve import Point
from dicomnlp.learn.metrics import Calibration, Estimate
from dicomnlp.learn.model_charts import curve, reliability
from dicomnlp.learn.models import Trained
from dicomnlp.learn.page import browser, document, scored

_WAYS = {
    "rules": "the rules alone",
    "model": "the model alone, which doesn't see what the rules say",
    "both": "the rules with the model",
}


def training_page(trained: Trained, points: Sequence[Point] = ()) -> str:
    """The page of a training: its test on the patients that were held out, and the learning curve."""
    card = trained.folder.card
    facts = "".join(
        f'<tr><th scope="row">{text(name.replace("_", " "))}</th><td>{n}</td></tr>' for name, n in card.data.items()
    )
    made = (
        f"Trained {card.created_at} beside {card.pipeline}; digest {trained.model.digest[:12]}; "
        f"parts: {', '.join(card.parts)}."
    )
    parts = [
        f'<p class="soft">{text(made)}</p>',
        *(f'<p class="soft">{text(note)}.</p>' for note in trained.notes),
        f'<div class="wide"><table><tbody>{facts}</tbody></table></div>',
    ]
    if points:
        parts += _learned(points)
    if trained.comparison is not None:
        parts += compared(trained.comparison)
    return document(f"Model {card.name}", parts)


def comparison_page(comparison: Comparison, name: str) -> str:
    """The page of a model compared with the rules on the set called `name`."""
    return document(f"Model {comparison.model} on {name}", compared(comparison))


def compared(comparison: Comparison) -> Iterator[str]:
    """All of a comparison, from the summary to single mistakes."""
    yield "<h2>Rules, model, both</h2>"
    ways = "; ".join(f"<strong>{way}</strong>: {text(_WAYS[way])}" for way in comparison.evaluations)
    reports = next(iter(comparison.evaluations.values())).reports
    yield (
        f'<p class="soft">{reports} annotated reports. {ways}. Micro-averaged F1 with 95 % intervals, bootstrap over '
        "patients. The passages below are of the reports: keep this page as you keep them.</p>"
    )
    yield _figures(comparison)
    for contest in comparison.contests:
        if contest.second == "both":
            yield from _contest(contest)
    if comparison.calibration is not None:
        yield from _calibrated(comparison.calibration)
    for way in reversed(comparison.evaluations):
        shown = "".join(
            part.replace(' id="', f' id="{way}-').replace('href="#', f'href="#{way}-')
            for part in scored(comparison.evaluations[way])
        )
        yield f"<details><summary>Everything of {text(_WAYS[way])}</summary>{shown}</details>"


def _figures(comparison: Comparison) -> str:
    tasks = dict.fromkeys(s.task for e in comparison.evaluations.values() for s in e.scores)
    head = "".join(f"<th>{text(way)}</th>" for way in comparison.evaluations)
    rows = []
    for task in tasks:
        cells = []
        for evaluation in comparison.evaluations.values():
            score = next((s for s in evaluation.scores if s.task == task), None)
            cells.append(f"<td>{figure(score.micro.f1) if score else '-'}</td>")
        contest = next((c for c in comparison.contests if c.task == task and c.second == "both"), None)
        more = f"<td>{_points(contest.difference.f1)}</td><td>{contest.difference.p_value:.3f}</td>" if contest else ""
        rows.append(f'<tr><th scope="row">{text(task)}</th>{"".join(cells)}{more or "<td></td><td></td>"}</tr>')
    return (
        f'<div class="wide"><table class="summary"><thead><tr><th>task</th>{head}<th>both less rules, points</th>'
        f"<th>p</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _points(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "\N{EN DASH}"
    return f"{100 * estimate.value:+.1f} ({100 * estimate.low:+.1f} to {100 * estimate.high:+.1f})"


def _contest(contest: Contest) -> Iterator[str]:
    for name, mistakes in (("mended", contest.changed.mended), ("broken", contest.changed.broken)):
        yield f"<h3>{text(contest.task.capitalize())}: {name} by the model ({len(mistakes)})</h3>"
        if name == "mended" and mistakes:
            yield '<p class="soft">What the rules alone say of them:</p>'
        if name == "broken" and mistakes:
            yield '<p class="soft">What both say of them, where the rules alone are right:</p>'
        yield from browser(mistakes)


def _calibrated(found: Calibration) -> Iterator[str]:
    yield "<h2>Do its probabilities mean what they say?</h2>"
    yield (
        f'<p class="soft">Of the assertions of both together: expected calibration error '
        f"{found.expected_error:.3f}, Brier score {found.brier:.3f}. On the line, of the answers with probability 0.8 "
        "eight in ten are right.</p>"
    )
    yield reliability(found)


def _learned(points: Sequence[Point]) -> Iterator[str]:
    tasks = list(dict.fromkeys(task for point in points for task in point.scores))
    yield "<h2>Learning curve</h2>"
    yield (
        '<p class="soft">F1 of the rules with a model that has seen so many annotations, on the patients that were '
        "held out. None: the rules alone.</p>"
    )
    yield curve([(p.annotations, p.scores) for p in points], tasks[:2])
    head = "".join(f"<th>{text(task)}</th>" for task in tasks)
    rows = "".join(
        f'<tr><th scope="row">{p.annotations}</th>'
        + "".join(f"<td>{figure(p.scores[t]) if t in p.scores else '-'}</td>" for t in tasks)
        + "</tr>"
        for p in points
    )
    yield (
        f'<div class="wide"><table><thead><tr><th>annotations</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
