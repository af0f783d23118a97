"""The gate before a model is used: it must be ahead of what is used now, worse on nothing, and break no protected case.

It is asked on the site's own annotated reports, of patients that the model hasn't seen. The same holds for a pipeline
with other packs or models than the one that counts; where only its overlays are others it must not be worse.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dicomnlp.analyse import Source, choose_language, use_source
from dicomnlp.analyse.engine import broken_cases, load_engine
from dicomnlp.analyse.learned import Learned
from dicomnlp.analyse.learned_files import ModelFolder
from dicomnlp.analyse.learned_registry import Registered, open_model, read_registry
from dicomnlp.analyse.pipelines import pipeline_names
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
    *,
    must_lead: bool = True,
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
    must_lead
        Whether it has to be ahead on a task; else it must not be behind.
    """
    now[1]()
    before = decide(gold, default_language=language)
    then[1]()
    after = decide(gold, default_language=language)
    broken = tuple(broken_cases(load_engine(language)))
    contests = contests_of(gold, {"now": before, "then": after}, "now", "then")
    passed, reasons = _weighed(contests, broken, margin, must_lead=must_lead)
    return Verdict(passed, then[0], now[0], len(gold), margin, contests, broken, reasons)


def judge_pipeline(
    now: tuple[str, Source],
    then: tuple[str, Source],
    models: Path,
    gold: Sequence[GoldReport],
    margin: float,
    default_language: str,
) -> dict[str, Verdict]:
    """Whether one pipeline may count in place of another: what is said of each language that they read otherwise.

    Where packs or models are others, what holds for a model holds, see `judge`. Where only overlays are, the candidate
    need not be ahead, since the words of one site seldom move a figure, but it must not be behind or break a case.

    Parameters
    ----------
    now, then
        The pipeline that counts and the candidate: name, and what each reads by.
    models
        The site's folder of models, for what brings none of its own.
    gold, margin
        As of `judge`.
    default_language
        Of reports that don't tell theirs.

    Returns
    -------
    dict
        Language -> verdict. Empty where both read every language alike.

    Raises
    ------
    UsageError
        No annotated report is in a language whose pack or model is another, or none of a patient that was held out.
    ModelRefusedError
        A model isn't what was registered.
    """
    one, two = _languages(now[1], models), _languages(then[1], models)
    verdicts = {}
    try:
        for language in sorted(one.keys() & two.keys()):
            before, after = one[language], two[language]
            if before == after:
                continue
            must_lead = (before.pack, before.model_digest) != (after.pack, after.model_digest)
            splits = [each.model.card.split for each in (before, after) if each.model is not None]
            unseen = [
                r
                for r in gold
                if choose_language(r.text, r.language or "", default_language) == language
                and all(split.holds_out(patient_of(r)) for split in splits)
            ]
            if must_lead and not unseen:
                raise UsageError(
                    f"none of the annotated reports shows whether {then[0]} reads {language} better: there must be "
                    "some in that language, of patients that its model wasn't trained on"
                )
            verdicts[language] = weigh(
                unseen,
                (now[0], before.read_by(now[1])),
                (then[0], after.read_by(then[1])),
                margin,
                language,
                must_lead=must_lead,
            )
    finally:
        use(None)
        use_source(Source())
    return verdicts


@dataclass(frozen=True, slots=True)
class _Language:
    """How a pipeline reads one language."""

    pack: str
    rules: str
    """Names of the pack alone, and with what is laid over it."""
    model_digest: str
    model: ModelFolder | None = field(compare=False)

    def read_by(self, source: Source) -> Callable[[], None]:
        """What makes this process read so, also where a protected case is broken: that is to be seen."""

        def begin() -> None:
            use_source(replace(source, models=None))
            use(None if self.model is None else Learned(self.model))

        return begin


def _languages(source: Source, models: Path) -> Mapping[str, _Language]:
    packs = pipeline_names(Source(packs=source.packs))
    rules = pipeline_names(replace(source, models=None))
    folder = source.models or models
    promoted = read_registry(folder).promoted()
    found = {}
    for language, name in rules.items():
        registered = promoted.get(language)
        model = open_model(folder, registered) if registered is not None else None
        found[language] = _Language(packs[language], name, model.digest if model else "", model)
    return found


def _weighed(
    contests: Sequence[Contest], broken: Sequence[str], margin: float, *, must_lead: bool
) -> tuple[bool, tuple[str, ...]]:
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
    if must_lead and not ahead:
        against.append(f"on no task ahead by {100 * margin:g} points of F1 with an interval above zero")
    return (False, tuple(against)) if against else (True, tuple(ahead) or ("behind on no task",))
