"""An evaluation as one HTML page that needs nothing besides itself.

The page holds passages of the annotated reports; they are escaped, and a content security policy keeps the page from
running or fetching anything, whatever a report holds.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from dicomnlp.learn import scoring
from dicomnlp.learn.charts import confusion, figure, forest, text
from dicomnlp.learn.evaluation import Evaluation, Mistake, Row, Score

MOST_ROWS = 40
"""Rows of a plot; the table below it holds all."""
MOST_MISTAKES = 50
"""Mistakes shown of each kind."""
_CONFUSABLE = frozenset({scoring.SPANS, scoring.FINDINGS, scoring.LATERALITY, scoring.SECTIONS})
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_LEGEND = (
    '<p class="legend"><i>\N{BLACK CIRCLE}</i> F1 with its 95 % interval, '
    "<b>\N{BLACK DOWN-POINTING TRIANGLE}</b> precision, <b>\N{WHITE UP-POINTING TRIANGLE}</b> recall, "
    "n: marked by annotators</p>"
)


def page(evaluation: Evaluation, name: str) -> str:
    """The page of an evaluation of the set called `name`."""
    title = f"Evaluation of {name}"
    return document(title, [_about(evaluation), *scored(evaluation)])


def document(title: str, parts: Iterable[str]) -> str:
    """A page that needs nothing besides itself."""
    style = Path(__file__).with_name("evaluation.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{text(title)}</title>",
            f"<style>{style}</style></head><body>",
            f"<h1>{text(title)}</h1>",
            *parts,
            "</body></html>",
            "",
        ]
    )


def scored(evaluation: Evaluation) -> Iterator[str]:
    """The figures, plots and mistakes of every task."""
    yield _summary(evaluation.scores)
    yield from (f'<p class="soft">Not scored: {text(note)}.</p>' for note in evaluation.notes)
    yield from (part for score in evaluation.scores for part in _task(score))


def _about(evaluation: Evaluation) -> str:
    return (
        f'<p class="soft">{evaluation.reports} reports, read by {text(", ".join(evaluation.pipelines))}. '
        "Intervals: 95 %, bootstrap over patients. The passages below are of the reports: keep this page as you "
        "keep them.</p>"
    )


def _summary(scores: Sequence[Score]) -> str:
    rows = "".join(
        f'<tr><th scope="row"><a href="#{_anchor(s.task)}">{text(s.task)}</a></th><td>{s.reports}</td>'
        f"<td>{s.micro.support}</td><td>{figure(s.micro.precision)}</td><td>{figure(s.micro.recall)}</td>"
        f'<td class="main">{figure(s.micro.f1)}</td><td>{figure(s.macro_f1)}</td></tr>'
        for s in scores
    )
    return (
        '<div class="wide"><table class="summary"><thead><tr><th>task</th><th>reports</th><th>marked</th>'
        "<th>precision</th><th>recall</th><th>F1</th><th>F1, mean of classes</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _task(score: Score) -> Iterator[str]:
    yield f'<h2 id="{_anchor(score.task)}">{text(score.task.capitalize())}</h2><p class="soft">{text(score.about)}</p>'
    yield _LEGEND
    yield _plot(score.classes, f"F1 of each class: {score.task}")
    for field, rows in score.slices.items():
        yield f"<h3>By {text(field.replace('_', ' '))}</h3>"
        yield _plot(rows, f"F1 by {field}: {score.task}")
    if score.task in _CONFUSABLE:
        yield f'<h3>What was taken for what</h3><div class="wide">{confusion(score.confusion)}</div>'
    yield from _mistakes(score.mistakes)


def _plot(rows: Sequence[Row], title: str) -> str:
    table = "".join(
        f'<tr><th scope="row">{text(r.name)}</th><td>{r.support}</td><td>{figure(r.rates.precision)}</td>'
        f"<td>{figure(r.rates.recall)}</td><td>{figure(r.rates.f1)}</td><td>{r.rates.true_positives}</td>"
        f"<td>{r.rates.false_positives}</td><td>{r.rates.false_negatives}</td></tr>"
        for r in rows
    )
    shown = "" if len(rows) <= MOST_ROWS else f'<p class="soft">The {MOST_ROWS} most frequent of {len(rows)}.</p>'
    return (
        f"{forest(rows[:MOST_ROWS], title)}{shown}<details><summary>Figures</summary>"
        '<div class="wide"><table><thead><tr><th></th><th>marked</th><th>precision</th><th>recall</th><th>F1</th>'
        "<th>right</th><th>too many</th><th>missed</th></tr></thead>"
        f"<tbody>{table}</tbody></table></div></details>"
    )


def _mistakes(mistakes: Sequence[Mistake]) -> Iterator[str]:
    if not mistakes:
        yield "<h3>Mistakes</h3><p>None.</p>"
        return
    yield f"<h3>Mistakes ({len(mistakes)})</h3>"
    yield from browser(mistakes)


def browser(mistakes: Sequence[Mistake]) -> Iterator[str]:
    """Mistakes in their context, kind by kind, the most frequent first and open."""
    kinds: dict[tuple[str, str], list[Mistake]] = defaultdict(list)
    for mistake in mistakes:
        kinds[mistake.gold or "not marked", mistake.got or "not found"].append(mistake)
    ranked = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    for n, ((gold, got), members) in enumerate(ranked):
        items = "".join(_item(m) for m in islice(members, MOST_MISTAKES))
        rest = f"<p class='soft'>{len(members) - MOST_MISTAKES} more.</p>" if len(members) > MOST_MISTAKES else ""
        yield (
            f"<details{'' if n else ' open'}><summary>annotators: <strong>{text(gold)}</strong>, "
            f"dicomnlp: <strong>{text(got)}</strong> ({len(members)})</summary>"
            f'<ol class="mistakes">{items}</ol>{rest}</details>'
        )


def _item(mistake: Mistake) -> str:
    place = f"{mistake.report}, {mistake.section}" if mistake.section else mistake.report
    passage = f"{text(mistake.before)}<mark>{text(mistake.text)}</mark>{text(mistake.after)}"
    return f"<li><small>{text(place)}</small>{passage}</li>"


def _anchor(task: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in task)
