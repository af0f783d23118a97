"""The learning curve: how good the rules with a model are, by how many annotations the model has seen."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dicomnlp.analyse.learned import Learned
from dicomnlp.analyse.learned_files import ModelFolder, Split
from dicomnlp.learn.comparison import use
from dicomnlp.learn.evaluation import decide, summarise
from dicomnlp.learn.gold import GoldFinding, GoldReport, patient_of
from dicomnlp.learn.metrics import Estimate
from dicomnlp.learn.models import HELD_OUT, fit_card, scratch_folder
from dicomnlp.learn.training import SEED


@dataclass(frozen=True, slots=True)
class Point:
    """A model trained on some of the annotations."""

    annotations: int
    scores: dict[str, Estimate]
    """Task -> F1 on the patients that were held out."""


def learning_curve(
    reports: Sequence[GoldReport],
    sizes: Sequence[int],
    *,
    language: str = "en",
    unannotated: Sequence[GoldReport] = (),
    held_out: float = HELD_OUT,
    on_step: Callable[[str], None] = lambda _: None,
) -> tuple[Point, ...]:
    """Train on more and more of the annotated spans, and test each time on the same held-out patients.

    Annotations are drawn at random, without those of held-out patients; each draw holds the one before. The first
    point, with no annotation, is the rules alone. Sizes beyond what there is are left out. Parameters as of
    `dicomnlp.learn.models.train`.
    """
    split = Split(seed=str(SEED), held_out=held_out)
    fitted = [r for r in reports if not split.holds_out(patient_of(r))]
    tested = [r for r in reports if split.holds_out(patient_of(r))]
    weak = [r for r in [*unannotated, *fitted] if not split.holds_out(patient_of(r))]
    points = [point((), weak, tested, split, language=language)]
    for size in sizes:
        some = drawn(fitted, size)
        if some is None:
            continue
        on_step(f"training on {size} annotations")
        points.append(point(some, weak, tested, split, language=language))
    return tuple(points)


def point(
    some: Sequence[GoldReport],
    weak: Sequence[GoldReport],
    tested: Sequence[GoldReport],
    split: Split,
    *,
    language: str = "en",
) -> Point:
    """How good the rules with a model are that was trained on the annotations of `some`; without any, the rules alone.

    Parameters
    ----------
    weak
        Reports of which the rules' answers teach.
    tested
        Of other patients.
    split
        By which these were held out; it is written into the model's card.
    """
    use(None)
    annotations = sum(len(r.findings or ()) + len(r.targets) for r in some)
    if not annotations:
        return Point(0, _scores(tested, None, language))
    card, weights, _ = fit_card(some, weak, "curve", language, split)
    try:
        with scratch_folder(card, weights) as folder:
            return Point(annotations, _scores(tested, folder, language))
    finally:
        use(None)


def _scores(tested: Sequence[GoldReport], folder: ModelFolder | None, language: str) -> dict[str, Estimate]:
    use(None if folder is None else Learned(folder))
    evaluation = summarise(tested, decide(tested, default_language=language))
    return {score.task: score.micro.f1 for score in evaluation.scores}


def drawn(reports: Sequence[GoldReport], size: int) -> list[GoldReport] | None:
    """`reports` with `size` of their annotated spans and no other annotation; None where there are fewer."""
    spans = [(i, target) for i, r in enumerate(reports) for target in (*(r.findings or ()), *r.targets)]
    if size > len(spans):
        return None
    random.Random(SEED).shuffle(spans)  # noqa: S311  a draw of annotations is no secret
    kept: dict[int, list[GoldFinding]] = {}
    for i, target in spans[:size]:
        kept.setdefault(i, []).append(target)
    return [
        replace(reports[i], findings=None, targets=tuple(targets), labels=None, sections=None, measurements=None)
        for i, targets in sorted(kept.items())
    ]
