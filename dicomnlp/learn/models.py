"""Training, registering, promoting and rolling back of models.

A site's models are folders beside one ``registry.json``; see `dicomnlp.analyse.learned_registry`.
"""

import datetime as dt
import fcntl
import json
import os
import pwd
import random
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dicomnlp.analyse import choose_language, load_pack, pipeline_name
from dicomnlp.analyse.engine import load_engine, protected_cases
from dicomnlp.analyse.learned_files import FORMAT, NAME, Card, ModelFolder, Split, Weights, read_folder, write_folder
from dicomnlp.analyse.learned_registry import (
    REGISTRY,
    Promotion,
    Registered,
    Registry,
    open_model,
    read_registry,
)
from dicomnlp.errors import ModelRefusedError, NotFoundError, UsageError
from dicomnlp.learn import examples as ex
from dicomnlp.learn.comparison import Comparison, compare_model, use
from dicomnlp.learn.gold import GoldReport, patient_of
from dicomnlp.learn.training import SEED, Withheld, train_assertion, train_labels, train_spans
from dicomnlp.model import to_json

HELD_OUT = 0.25
"""Share of the patients that test a model and never train it."""
MOST_WEAK = 3000
"""Findings, and sentences, of which the rules' answers teach; more teach nothing new."""
LEAST_DIGITS = 12
"""Of a digest, as it is shown: fewer might be another model's as well."""
LEAST_ANNOTATIONS = 20
"""Fewer annotations of a kind teach nothing."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A model that was trained and is registered, and what came of the test."""

    model: Registered
    folder: ModelFolder
    comparison: Comparison | None
    """On the patients that were held out; None where there were none with annotations."""
    notes: tuple[str, ...]


def train(
    reports: Sequence[GoldReport],
    models: Path,
    name: str,
    *,
    language: str = "en",
    unannotated: Sequence[GoldReport] = (),
    held_out: float = HELD_OUT,
    on_step: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train a model beside the rules, test it on patients that it hasn't seen, write its folder and register it.

    Parameters
    ----------
    reports
        Annotated. Those of a share of the patients are kept for the test.
    models
        Folder of the site's models.
    name
        Of the new one.
    language
        Of the pack that it stands beside; reports in other languages teach nothing.
    unannotated
        Further reports, of which the rules' answers teach.
    held_out
        Share of the patients that are kept for the test.
    on_step
        Told what is being done.

    Raises
    ------
    UsageError
        The name is taken or malformed, or there are too few annotations.
    """
    if re.match(NAME, name) is None:
        raise UsageError("a model's name has small letters, digits, dots, hyphens and underscores, 63 at the most")
    if (models / name).exists() or read_registry(models).find(name) is not None:
        raise UsageError(f"there is a model {name} already; models are never overwritten, give another name")
    split = Split(seed=str(SEED), held_out=held_out)
    fitted = [r for r in reports if not split.holds_out(patient_of(r))]
    tested = [
        r
        for r in reports
        if split.holds_out(patient_of(r)) and choose_language(r.text, r.language or "", language) == language
    ]
    # the rules' answers to the test's patients teach nothing either
    weak = [r for r in [*unannotated, *fitted] if not split.holds_out(patient_of(r))]
    use(None)
    card, weights, notes = fit_card(fitted, weak, name, language, split, on_step)
    comparison = None
    if tested:
        on_step("testing")
        with scratch_folder(card, weights) as folder:
            comparison = compare_model(tested, folder, default_language=language)
        scores, data = {**card.scores, **scores_of(comparison)}, {**card.data, "test_reports": len(tested)}
        card = card.model_copy(update={"scores": scores, "data": data})
    else:
        notes = (*notes, "no annotated report was held out, so nothing was tested")
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models, prefix=".training-") as place:
        # whole or not at all: a folder bears its name once all of it is written
        write_folder(Path(place) / name, card, weights).path.rename(models / name)
    return Trained(register(models, name), read_folder(models / name), comparison, notes)


def fit_card(
    fitted: Sequence[GoldReport],
    weak: Sequence[GoldReport],
    name: str,
    language: str,
    split: Split,
    on_step: Callable[[str], None] = lambda _: None,
) -> tuple[Card, dict[str, Weights], tuple[str, ...]]:
    """The parts that the data are enough for, as a card without test scores, and their weights; and what is left out.

    Raises
    ------
    UsageError
        The data are enough for none.
    """
    on_step("reading annotations")
    pack = load_pack(language)
    sets = {labels.set: set(labels.labels) for labels in pack.label_sets}
    plans = {name: _set_of(name, fitted, sets) for report in fitted for name in report.labels or {}}
    mine = ex.annotated(fitted, language, plans)
    on_step("reading by the rules")
    drawn = list(weak)
    random.Random(SEED).shuffle(drawn)  # noqa: S311  an order of examples is no secret
    theirs = ex.ruled(drawn, language, sorted(set(plans.values())), MOST_WEAK)
    guard = ex.protected(protected_cases(load_engine(language)), language)
    notes: list[str] = []
    parts: dict[str, Any] = {}
    weights: dict[str, Weights] = {}
    scores: dict[str, Any] = {}
    if len(mine.findings) >= LEAST_ANNOTATIONS:
        on_step("training the assertion part")
        parts["assertion"], weights["assertion"] = train_assertion([*mine.findings, *theirs.findings, *guard])
    else:
        notes.append(f"assertion part left out: {len(mine.findings)} annotated findings, needs {LEAST_ANNOTATIONS}")
    on_step("training the finder of spans")
    spans = train_spans([*mine.sentences, *theirs.sentences])
    if spans is None:
        notes.append("finder of spans left out: on withheld concepts it isn't right often enough")
    else:
        parts["spans"], weights["spans"], withheld = spans
        scores["withheld concepts"] = _withheld(withheld)
    if len(mine.reports) >= LEAST_ANNOTATIONS:
        on_step("training the report part")
        labels = train_labels([*mine.reports, *theirs.reports])
        if labels is not None:
            parts["labels"], weights["labels"] = labels
    else:
        notes.append(f"report part left out: {len(mine.reports)} reports with labels, needs {LEAST_ANNOTATIONS}")
    if not parts:
        raise UsageError("too few annotations to train any part: " + "; ".join(notes))
    card = Card(
        format=FORMAT,
        name=name,
        language=language,
        created_at=_now(),
        pipeline=pipeline_name(language),
        split=split,
        data={
            "annotated_reports": len(fitted),
            "patients": len({patient_of(r) for r in fitted}),
            "annotated_findings": len(mine.findings),
            "labelled_reports": len(mine.reports),
            "findings_by_the_rules": len(theirs.findings),
            "protected_cases": len(guard),
        },
        scores=scores,
        **parts,
    )
    return card, weights, tuple(notes)


@contextmanager
def scratch_folder(card: Card, weights: dict[str, Weights]) -> Iterator[ModelFolder]:
    """A model in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="dicomnlp-model-") as scratch:
        yield write_folder(Path(scratch) / card.name, card, weights)


def _set_of(name: str, reports: Sequence[GoldReport], sets: dict[str, set[str]]) -> str:
    """The label set that annotators mean by `name`: by "" that with most labels in common."""
    if name:
        return name
    used = {label for report in reports for label in (report.labels or {}).get("", {})}
    return max(sets, key=lambda known: len(sets[known] & used))


def _withheld(score: Withheld) -> dict[str, float]:
    return {"concepts": score.concepts, "precision": round(score.precision, 4), "recall": round(score.recall, 4)}


def scores_of(comparison: Comparison) -> dict[str, Any]:
    """Of each task: F1 with its interval by each way of reading, and how far both are ahead of the rules."""
    found: dict[str, Any] = {}
    for way, evaluation in comparison.evaluations.items():
        for score in evaluation.scores:
            found.setdefault(score.task, {})[way] = to_json(score.micro.f1)
    for contest in comparison.contests:
        if contest.second == "both":
            found[contest.task]["both less rules"] = to_json(contest.difference)
    return found


# --- the registry --------------------------------------------------------------------------------------------------


def register(models: Path, name: str) -> Registered:
    """Enter the model in the folder `name` into the registry, with the digest that it has now.

    Raises
    ------
    ModelRefusedError
        The folder isn't a model's, see `read_folder`; or it was registered before with another digest.
    """
    folder = read_folder(models / name)
    with changing(models) as registry:
        known = registry.value.find(name)
        if known is not None and known.digest != folder.digest:
            message = f"model {name} was changed since it was registered; models are never overwritten"
            raise ModelRefusedError(message, reason_code="model_changed")
        if known is not None:
            return known
        entry = Registered(name=name, language=folder.card.language, digest=folder.digest, registered_at=_now())
        registry.value = registry.value.model_copy(update={"models": (*registry.value.models, entry)})
    return entry


def find(models: Path, name: str) -> Registered:
    """The registered model `name`, or the one whose digest begins so (12 digits at least).

    NotFoundError where there is none.
    """
    registry = read_registry(models)
    found = registry.find(name)
    if found is None and len(name) >= LEAST_DIGITS:
        found = next((model for model in registry.models if model.digest.startswith(name.lower())), None)
    if found is None:
        raise NotFoundError(f"no model {name} is registered; see `dicomnlp models`")
    return found


def put_in_use(
    models: Path, language: str, name: str | None, why: Literal["promote", "rollback"], gate: str
) -> Promotion:
    """Write down that `name` (None: the rules alone) reads `language` from now on, whatever the gate said."""
    entry = Promotion(language=language, name=name, at=_now(), by=_user(), why=why, gate=gate)
    with changing(models) as registry:
        registry.value = registry.value.model_copy(update={"promotions": (*registry.value.promotions, entry)})
    return entry


def roll_back(models: Path, language: str) -> Promotion:
    """Go back to what read `language` before the last promotion: another model, or the rules alone.

    Raises
    ------
    UsageError
        Nothing was promoted for the language.
    ModelRefusedError
        What it would go back to was changed since.
    """
    history = [p for p in read_registry(models).promotions if p.language == language]
    stack: list[str | None] = [None]
    for promotion in history:
        if promotion.why == "promote":
            stack.append(promotion.name)
        elif len(stack) > 1:
            stack.pop()
    if len(stack) < 2:  # the rules, and what was promoted over them
        raise UsageError(f"nothing was promoted for {language}: it is read by the rules alone")
    before = stack[-2]
    if before is not None:
        open_model(models, find(models, before))
    return put_in_use(models, language, before, "rollback", "")


@dataclass(slots=True)
class Held:
    """A registry while it is held against others."""

    value: Registry


@contextmanager
def changing(models: Path) -> Iterator[Held]:
    """The registry, held against others, and written once the block is left without an error."""
    models.mkdir(parents=True, exist_ok=True)
    with (models / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        held = Held(read_registry(models))
        before = held.value
        yield held
        if held.value is before:
            return
        with tempfile.NamedTemporaryFile("w", dir=models, prefix=".registry-", delete=False, encoding="utf-8") as file:
            json.dump(held.value.model_dump(), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(models / REGISTRY)


def _now() -> str:
    return dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
