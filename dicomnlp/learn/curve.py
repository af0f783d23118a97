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
    points = [Point(0, _scores(tested, None, language))]
    for size in sizes:
        some = drawn(fitted, size)
        if some is None:
            continue
        on_step(f"training on {size} annotations")
        use(None)
        card, weights, _ = fit_card(some, weak, "curve", language, split)
        with scratch_folder(card, weights) as folder:
            points.append(Point(size, _scores(tested, folder, language)))
    use(None)
    return tuple(points)


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
