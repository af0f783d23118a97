"""train and models: from annotations to a model that is used, and back."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from support.local_language import site_reports
from typer.testing import CliRunner

from dicomnlp.analyse import use_models
from dicomnlp.cli.main import app
from dicomnlp.errors import DicomnlpError, ModelRefusedError, UsageError

ROOT = Path(__file__).resolve().parents[2]
LOCAL = "FINDINGS: Pneumothorax zilch. There is atelectasis."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A site's configuration and annotated reports, and a model that was trained on them."""
    place = tmp_path_factory.mktemp("site")
    (place / "config.toml").write_text('[learn]\ngold = "gold.jsonl"\n')
    records = [{**record, "labels": None} for record in site_reports(100)]
    (place / "gold.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (place / "local.txt").write_text(LOCAL)
    arguments = ["--held-out", "0.4", "--html", str(place / "page.html"), "--curve", "40"]
    result = invoke(place, "train", place / "gold.jsonl", "chest-1", *arguments)
    assert result.exit_code == 0, result.output
    (place / "train.txt").write_text(result.stdout)
    return place


@pytest.fixture(autouse=True)
def rules_alone():
    """No test leaves its model to the next."""
    yield
    use_models(None)


def invoke(place, *arguments):
    """One command with the configuration in `place`."""
    result = CliRunner().invoke(app, ["--config", str(place / "config.toml"), *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit | DicomnlpError):
        raise result.exception
    return result


@pytest.fixture
def run(folder):
    """One command at the site."""
    return lambda *arguments: invoke(folder, *arguments)


def assertion_of(run, folder, words):
    """What `analyse` says of `words` in the local text."""
    [line] = run("analyse", folder / "local.txt", "--json").stdout.splitlines()
    [finding] = [f for f in json.loads(line)["findings"] if f["text"].lower() == words]
    return finding


def test_training_tells_how_good_the_model_is(folder):
    """Rules, model and both with intervals, whether the difference is more than chance, and the learning curve."""
    told = (folder / "train.txt").read_text()
    for words in ("chest-1, digest ", "rules", "model", "both", "points of F1", "p = 0.", "annotations", "40"):
        assert words in told


def test_the_page_shows_all_and_needs_nothing_else(folder):
    """Learning curve, calibration, what is mended and broken, mistakes by each way of reading; no script."""
    page = (folder / "page.html").read_text()
    for words in ("Learning curve", "mended by the model", "broken by the model", "expected calibration error"):
        assert words in page
    assert page.count("<svg") >= 4
    for forbidden in ("<script", "http://", "https://", "src="):
        assert forbidden not in page
    ids = [piece.split('"')[0] for piece in page.split(' id="')[1:]]
    assert len(ids) == len(set(ids))


def test_from_list_to_promotion_and_back(run, folder):
    """The gate is asked; analysis uses the model, ConText's answer beside it; rollback ends that; history tells all."""
    [line] = run("models", "--json").stdout.splitlines()
    assert json.loads(line)["state"] == "ready"
    assert json.loads(run("models", "show", "chest-1").stdout)["name"] == "chest-1"
    assert assertion_of(run, folder, "pneumothorax")["assertion"] == "present"
    asked = run("models", "promote", "chest-1", "--dry-run", "--json")
    assert asked.exit_code == 0
    assert json.loads(asked.stdout)["passed"] is True
    assert assertion_of(run, folder, "pneumothorax")["model_probability"] is None
    told = run("models", "promote", "chest-1")
    assert told.exit_code == 0
    assert "passed: ahead on assertion" in told.stdout
    finding = assertion_of(run, folder, "pneumothorax")
    assert (finding["assertion"], finding["rules_assertion"], finding["is_negated"]) == ("absent", "present", False)
    assert json.loads(run("models", "--json").stdout)["state"] == "used"
    assert run("models", "promote", "chest-1").exit_code == 1  # against itself it is ahead of nothing
    assert "the rules alone" in run("models", "rollback").stdout
    assert assertion_of(run, folder, "pneumothorax")["assertion"] == "present"
    entries = [json.loads(line) for line in run("models", "history", "--json").stdout.splitlines()]
    assert [(e["name"], e["why"]) for e in entries] == [("chest-1", "promote"), (None, "rollback")]
    assert entries[0]["gate"].startswith("passed")


WORKER = """
import functools, sys
from pathlib import Path
from pydicom.filewriter import write_dataset
from pydicom.filebase import DicomBytesIO
from support.service import make_report
from dicomnlp.analyse.archive import names_of
from dicomnlp.analyse.learned_registry import fingerprint
from dicomnlp.learn.models import put_in_use
from dicomnlp.model import StoredObject
from dicomnlp.work import preload
from dicomnlp.work.archive import ReadBy
from dicomnlp.work.process import process

report = make_report(1, sys.argv[2])
file = DicomBytesIO()
file.is_little_endian, file.is_implicit_VR = True, False
write_dataset(file, report)
stored = StoredObject(1, report.SOPInstanceUID, report.SOPClassUID, "1.2.840.10008.1.2.1", file.getvalue())
function = functools.partial(process, fallbacks=(), language="en")
models = Path(sys.argv[1])
for name, why in ((None, "rollback"), ("chest-1", "promote"), (None, "rollback")):
    put_in_use(models, "en", name, why, "")
    by = ReadBy(models=fingerprint(models))
    assert preload.check("error", "en", "", str(models), by) is None
    done = preload.run(
        function, [stored], by, timeout_seconds=300, level="error", language="en", models=str(models)
    )
    [row] = [f for f in done.results[0].findings if "pneumothorax" in str(f).lower()]
    assert done.results[0].pipeline == names_of(None, None, models)["en"]
    print("absent" in row, "present" in row, done.results[0].pipeline)
"""


def test_workers_read_with_the_model_and_keep_what_the_rules_say(folder):
    """Both answers are among the values of the row that is stored; the pipeline is named after both.

    A worker that runs takes a model with the task after its promotion, and leaves it likewise.
    """
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-c", WORKER, str(folder / "var" / "models"), LOCAL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, beside, after = (line.split() for line in done.stdout.splitlines())
    assert before == after
    assert (before[:2], beside[:2]) == (["False", "True"], ["True", "True"])
    assert before[2] != beside[2]


def test_evaluation_compares_a_model_with_the_rules(run, folder, tmp_path):
    """On any annotated set; the page stands by itself."""
    result = run("evaluate", folder / "gold.jsonl", "--model", "chest-1", "--json", "--html", tmp_path / "page.html")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert set(found["evaluations"]) == {"rules", "model", "both"}
    assert "Rules, model, both" in (tmp_path / "page.html").read_text()


def test_a_poisoned_model_is_told_and_not_used(run, folder, tmp_path):
    """By models and check with exit code 1, by analyse on standard error; a folder with a pickle isn't registered."""
    stolen = folder / "var" / "models" / "chest-1" / "assertion.npy"
    whole = stolen.read_bytes()
    stolen.write_bytes(pickle.dumps(print))
    try:
        listed = run("models", "--json")
        assert listed.exit_code == 1
        assert json.loads(listed.stdout)["state"] == "model_changed"
        assert "changed since it was registered" in listed.stderr
        promoted = run("models", "promote", "chest-1")
        assert isinstance(promoted.exception, ModelRefusedError)
        other = folder / "var" / "models" / "other"
        other.mkdir()
        (other / "card.json").write_text("{}")
        (other / "weights.pkl").write_bytes(pickle.dumps(print))
        refused = run("models", "register", "other")
        assert isinstance(refused.exception, ModelRefusedError)
        assert refused.exception.reason_code == "model_unsafe"
        assert "weights.pkl" in str(refused.exception)
    finally:
        stolen.write_bytes(whole)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "gold.jsonl", "../elsewhere"), "name has small letters"),
        (("train", "gold.jsonl", "chest-1"), "never overwritten"),
        (("train", "missing.jsonl", "x"), "doesn't exist"),
        (("train", "gold.jsonl", "x", "--curve", "ten"), "numbers"),
    ],
)
def test_wrong_usage_is_told(run, folder, arguments, words):
    """Before anything is trained."""
    command, gold, *rest = arguments
    result = run(command, folder / gold, *rest)
    assert isinstance(result.exception, UsageError)
    assert words in str(result.exception)


def test_nothing_is_promoted_without_annotated_reports(run, folder, tmp_path):
    """The gate has nothing to ask."""
    (tmp_path / "config.toml").write_text(f'[learn]\nmodels = "{folder / "var" / "models"}"\n')
    result = invoke(tmp_path, "models", "promote", "chest-1")
    assert isinstance(result.exception, UsageError)
    assert "learn.gold" in str(result.exception)


def test_who_promotes_is_in_the_audit_trail(run, folder):
    """Where there is a database; the name of a pipeline is told without loading spaCy."""
    assert run("db", "upgrade").exit_code == 0
    assert run("models", "promote", "chest-1").exit_code == 0
    assert run("models", "rollback").exit_code == 0
    shown = run("audit", "show", "--json").stdout
    assert "models promote" in shown
    assert "models rollback" in shown
