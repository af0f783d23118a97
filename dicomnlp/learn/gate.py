"""The gate before a model is used: it must be ahead of what is used now, worse on nothing, and break no protected case.

It is asked on the site's own annotated reports, of patients that the model hasn't seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomnlp.analyse.engine import broken_cases, load_engine
from dicomnlp.analyse.learned import Learned
from dicomnlp.analyse.learned_registry import Registered, open_model, read_registry
from dicomnlp.errors import UsageError
from dicomnlp.learn.comparison import Contest, contests_of, use
from dicomnlp.learn.evaluation import decide
from dicomnlp.learn.gold import GoldReport, patient_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says."""

    passed: bool
    candidate: str
    current: str
    """What is used now: a model's name, or "rules"."""
    reports: int
    margin: float
    contests: tuple[Contest, ...]
    """The candidate against what is used now, task by task."""
    broken: tuple[str, ...]
    """Protected cases that the candidate gets wrong."""
    reasons: tuple[str, ...]
    """Why it doesn't pass; or by what it does."""

    def __str__(self) -> str:
        return ("passed: " if self.passed else "not passed: ") + "; ".join(self.reasons)


def judge(models: Path, candidate: Registered, gold: Sequence[GoldReport], margin: float) -> Verdict:
    """Whether `candidate` may be used in place of what reads its language now.

    It passes where on one task at least its micro-averaged F1 is `margin` ahead and the 95 % interval of the paired
    difference is above zero, on no task is that interval below zero or the difference beyond the margin the other way,
    and every protected case comes out right: those of the language pack, and those of the site's overlay.

    Parameters
    ----------
    models
        Folder of the site's models.
    candidate
        The registered model.
    gold
        The site's annotated reports; those of patients that the candidate was trained on are passed over.
    margin
        Of F1, 0 to 1.

    Raises
    ------
    UsageError
        No annotated report is of a patient that was held out.
    ModelRefusedError
        The candidate's folder, or that of the model in use, isn't what was registered.
    """
    folder = open_model(models, candidate)
    promoted = read_registry(models).promoted().get(candidate.language)
    current = open_model(models, promoted) if promoted is not None else None
    splits = [f.card.split for f in (folder, current) if f is not None]
    unseen = [r for r in gold if all(split.holds_out(patient_of(r)) for split in splits)]
    if not unseen:
        raise UsageError("none of the annotated reports is of a patient that was held out when the model was trained")
    name = promoted.name if promoted is not None else "rules"
    try:
        return weigh(
            unseen,
            (name, lambda: use(None if current is None else Learned(current))),
            (candidate.name, lambda: use(Learned(folder))),
            margin,
            candidate.language,
        )
    finally:
        use(None)


def weigh(
    gold: Sequence[GoldReport],
    now: tuple[str, Callable[[], None]],
    then: tuple[str, Callable[[], None]],
    margin: float,
    language: str,
) -> Verdict:
    """Whether one way of reading may take the place of another: a model, or a pack or overlay.

    Parameters
    ----------
    gold
        Annotated reports that neither has learned from.
    now, then
        Name of what is used and of what may take its place, each with what makes this process read by it.
    margin
        As of `judge`.
    language
        Whose protected cases count; also of texts that don't tell theirs.
    """
    now[1]()
    before = decide(gold, default_language=language)
    then[1]()
    after = decide(gold, default_language=language)
    broken = tuple(broken_cases(load_engine(language)))
    contests = contests_of(gold, {"now": before, "then": after}, "now", "then")
    passed, reasons = _weighed(contests, broken, margin)
    return Verdict(passed, then[0], now[0], len(gold), margin, contests, broken, reasons)


def _weighed(contests: Sequence[Contest], broken: Sequence[str], margin: float) -> tuple[bool, tuple[str, ...]]:
    ahead, behind = [], []
    for contest in contests:
        f1 = contest.difference.f1
        if f1.value is None or f1.low is None or f1.high is None:
            continue
        figures = f"{contest.task} {100 * f1.value:+.1f} points of F1 ({100 * f1.low:+.1f} to {100 * f1.high:+.1f})"
        if f1.high < 0 or f1.value < -margin:
            behind.append(f"behind on {figures}")
        elif f1.value >= margin and f1.low > 0:
            ahead.append(f"ahead on {figures}")
    against = [*behind, *(["breaks protected cases: " + "; ".join(broken)] if broken else [])]
    if not ahead:
        against.append(f"on no task ahead by {100 * margin:g} points of F1 with an interval above zero")
    return (False, tuple(against)) if against else (True, tuple(ahead))
