"""What a trained model brings, on annotated sets: rules, model and both, the learning curve, and what they cost.

    python benchmarks/models.py --spans KIT.jsonl --reports REPORTS.jsonl --out figures.json

``--spans``: a span a line, ``text``, ``start``, ``end``, ``label``, ``report_no``: reports are held out by that number.
``--reports``: ``text`` and ``labels`` (of the set chestxray14, and ``normal``, which is No Finding of chexpert14): a
report a patient. A quarter of the patients tests, the others train; nothing of the test is seen in training, weakly or
otherwise. The learning curve's annotations are made by a scripted annotator who is wrong one time in twenty.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dicomnlp.analyse.engine import Engine
from dicomnlp.analyse.learned import Learned
from dicomnlp.analyse.learned_files import ModelFolder, Split
from dicomnlp.analyse.pack import LANGUAGES, read_pack
from dicomnlp.learn.comparison import contests_of, use
from dicomnlp.learn.curve import learning_curve
from dicomnlp.learn.evaluation import Decided, decide, summarise
from dicomnlp.learn.gold import GoldFinding, GoldReport, patient_of, read_record
from dicomnlp.learn.models import HELD_OUT, fit_card, scratch_folder, train
from dicomnlp.learn.training import SEED
from dicomnlp.model import Assertion, Narrative, to_json

SIZES = (50, 100, 200, 400)
WRONG = 0.05
FOLDS = 5


def spans(path: Path) -> list[GoldReport]:
    """Annotated sentences, each with a span."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        if said.get("start") is None:
            continue
        target = {"start": said["start"], "end": said["end"], "assertion": said["label"]}
        record = {"patient": f"report {said['report_no']}", "text": said["text"], "language": "en", "targets": [target]}
        found.append(read_record({**record, "report_type": said["report_type"]}, said["id"]))
    return found


def labelled(path: Path) -> list[GoldReport]:
    """Reports with labels."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        labels = {name: value for name, value in said["labels"].items() if name != "normal"}
        sets = {"chestxray14": labels, "chexpert14": {"No Finding": said["labels"]["normal"]}}
        record = {"patient": said["id"], "text": said["text"], "language": "en", "labels": sets}
        found.append(read_record(record, said["id"]))
    return found


def annotated(reports: Sequence[GoldReport], split: Split) -> list[GoldReport]:
    """What a scripted annotator makes of the training's spans: the right answer, or one time in twenty another."""
    generator = random.Random(SEED)  # noqa: S311  a scripted annotator is no secret

    def answer(target: GoldFinding) -> GoldFinding:
        if generator.random() >= WRONG:
            return target
        others = [a for a in Assertion if a not in target.accepted]
        return replace(target, accepted=(generator.choice(others),))

    def marked(report: GoldReport) -> GoldReport:
        return replace(report, targets=tuple(answer(target) for target in report.targets))

    return [report if split.holds_out(patient_of(report)) else marked(report) for report in reports]


def cost(texts: Sequence[str], folder: ModelFolder, parts: Sequence[str] | None) -> float:
    """Processor seconds for one text, from an empty cache; `parts` None: by the rules alone."""
    engine = Engine(read_pack(LANGUAGES / folder.card.language))
    if parts is not None:
        engine = engine.with_model(Learned(folder, parts=parts))
    started = time.process_time()
    for text in texts:
        engine.analyse(Narrative(text))
    return (time.process_time() - started) / len(texts)


def rotated(reports: Sequence[GoldReport], unannotated: Sequence[GoldReport]) -> dict[str, object]:
    """Every patient tested once, by a model that was trained on four fifths of the others: rules against both."""
    patients = sorted({patient_of(r) for r in reports})
    random.Random(SEED).shuffle(patients)  # noqa: S311  an order of patients is no secret
    fold_of = {patient: n % FOLDS for n, patient in enumerate(patients)}
    answers: dict[str, list[Decided]] = {"rules": [], "model": [], "both": []}
    tested: list[GoldReport] = []
    for fold in range(FOLDS):
        mine = [r for r in reports if fold_of[patient_of(r)] == fold]
        others = [r for r in reports if fold_of[patient_of(r)] != fold]
        use(None)
        card, weights, _ = fit_card(others, [*others, *unannotated], "rotated", "en", Split(seed="", held_out=0.5))
        with scratch_folder(card, weights) as folder:
            for way, decided in answers.items():
                use(None if way == "rules" else Learned(folder, alone=way == "model"))
                decided.append(decide(mine))
        use(None)
        tested += mine
    joined = {way: _joined(decided) for way, decided in answers.items()}
    contest = {second: contests_of(tested, joined, "rules", second)[0] for second in ("model", "both")}
    return {
        "f1": {way: to_json(summarise(tested, decided).scores[0].micro.f1) for way, decided in joined.items()},
        "classes": {way: to_json(summarise(tested, decided).scores[0].classes) for way, decided in joined.items()},
        "less rules": {second: to_json(c.difference) for second, c in contest.items()},
        "changed": {second: [len(c.changed.mended), len(c.changed.broken)] for second, c in contest.items()},
    }


def _joined(parts: Sequence[Decided]) -> Decided:
    """The assertions of all folds as those of one set."""
    decisions, begins = [], 0
    for part in parts:
        decisions += [replace(d, report=d.report + begins) for d in part.decisions["assertion"]]
        begins += len(part.patients)
    patients = tuple(p for part in parts for p in part.patients)
    return Decided({"assertion": decisions}, {"assertion": range(begins)}, parts[0].pipelines, (), patients)


def main() -> None:
    """Run all of it and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=Path, required=True)
    parser.add_argument("--reports", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    of_spans, of_reports = spans(arguments.spans), labelled(arguments.reports)
    split = Split(seed=str(SEED), held_out=HELD_OUT)
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as work:
        started, processor = time.monotonic(), time.process_time()
        trained = train([*of_spans, *of_reports], Path(work) / "models", "measured", on_step=print)
        figures["training"] = {"seconds": time.monotonic() - started, "processor": time.process_time() - processor}
        figures["card"] = trained.folder.card.model_dump(exclude_none=True)
        assert trained.comparison is not None
        figures["calibration"] = to_json(trained.comparison.calibration)
        figures["slices"] = {
            way: {s.task: to_json(s.slices) for s in e.scores} for way, e in trained.comparison.evaluations.items()
        }
        figures["classes"] = {
            way: {s.task: to_json(s.classes) for s in e.scores} for way, e in trained.comparison.evaluations.items()
        }
        texts = [r.text for r in of_reports if split.holds_out(patient_of(r))]
        parts = {"rules": None, **{part: [part] for part in trained.folder.card.parts}}
        parts["all"] = list(trained.folder.card.parts)
        figures["cost"] = {name: cost(texts, trained.folder, some) for name, some in parts.items()}
        use(None)
    unmarked = [replace(r, labels=None) for r in of_reports]
    print("rotating")
    figures["rotated"] = rotated(of_spans, unmarked)
    print("learning curve")
    figures["curve"] = to_json(learning_curve(annotated(of_spans, split), SIZES, unannotated=unmarked, on_step=print))
    arguments.out.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(json.dumps({name: figures[name] for name in ("training", "cost", "rotated", "curve")}, indent=1))
    print(json.dumps(trained.folder.card.scores, indent=1))


if __name__ == "__main__":
    main()
