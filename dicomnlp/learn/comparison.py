"""Rules alone, a model alone, and both, on the same annotated reports: who is ahead, and is that more than chance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from dicomnlp.analyse.learned import Learned
from dicomnlp.analyse.learned_files import ModelFolder
from dicomnlp.analyse.learned_use import use_learned
from dicomnlp.learn import metrics
from dicomnlp.learn.evaluation import Decided, Evaluation, Mistake, decide, mistake, summarise
from dicomnlp.learn.gold import GoldReport
from dicomnlp.learn.metrics import Calibration, Difference
from dicomnlp.learn.scoring import Decision

Way = Literal["rules", "model", "both"]
WAYS: tuple[Way, ...] = ("rules", "model", "both")
"""How reports are read: by the rules, by what the model says without looking at them, by the rules with the model."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Answers that the second way changes, as against the first."""

    mended: tuple[Mistake, ...]
    broken: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True)
class Contest:
    """Two ways of reading on one task."""

    task: str
    first: str
    second: str
    difference: Difference
    changed: Changed


@dataclass(frozen=True, slots=True)
class Comparison:
    """All ways of reading the same reports."""

    model: str
    evaluations: dict[str, Evaluation]
    """Way of reading -> its evaluation."""
    contests: tuple[Contest, ...]
    calibration: Calibration | None
    """Of the assertions of both together."""


def compare_model(
    reports: Sequence[GoldReport],
    folder: ModelFolder,
    *,
    default_language: str = "en",
    on_report: Callable[[], None] = lambda: None,
) -> Comparison:
    """Read `reports` by the rules, by the model in `folder` alone, and by both.

    Afterwards the process reads by the rules alone. Errors as of `decide`.
    """
    decided: dict[str, Decided] = {}
    try:
        for way in WAYS:
            use(None if way == "rules" else Learned(folder, alone=way == "model"))
            decided[way] = decide(reports, default_language=default_language, on_report=on_report)
    finally:
        use(None)
    contests = [*contests_of(reports, decided, "rules", "both"), *contests_of(reports, decided, "rules", "model")]
    answers = [(d.probability, d.right) for d in _flat(decided["both"]) if d.probability is not None]
    return Comparison(
        f"{folder.card.name}@{folder.digest[:12]}",
        {way: summarise(reports, found) for way, found in decided.items()},
        tuple(contests),
        metrics.calibration(answers),
    )


def use(model: Learned | None) -> None:
    """Read by `model` beside the rules from here on; None: by the rules alone."""
    use_learned({} if model is None else {model.language: model})


def contests_of(
    reports: Sequence[GoldReport], decided: dict[str, Decided], first: str, second: str
) -> tuple[Contest, ...]:
    """Two ways of reading, on each task that both answered for the same reports."""
    one, two = decided[first], decided[second]
    found = []
    for task in one.took_part:
        if list(two.took_part.get(task, ())) != list(one.took_part[task]):
            continue
        classes = sorted({*one.classes(task), *two.classes(task)})
        if not classes:
            continue
        difference = metrics.paired(one.counts(task, classes), two.counts(task, classes))
        found.append(Contest(task, first, second, difference, _changed(reports, one, two, task)))
    return tuple(found)


def _changed(reports: Sequence[GoldReport], one: Decided, two: Decided, task: str) -> Changed:
    before = {_place(d): d for d in one.decisions.get(task, ())}
    after = {_place(d): d for d in two.decisions.get(task, ())}
    mended = [d for place, d in before.items() if not d.right and (place not in after or after[place].right)]
    broken = [d for place, d in after.items() if not d.right and (place not in before or before[place].right)]
    return Changed(
        tuple(mistake(d, reports[d.report]) for d in mended), tuple(mistake(d, reports[d.report]) for d in broken)
    )


def _place(decision: Decision) -> tuple[object, ...]:
    return decision.report, decision.span, decision.what, decision.gold


def _flat(decided: Decided) -> list[Decision]:
    return [d for decisions in decided.decisions.values() for d in decisions]
