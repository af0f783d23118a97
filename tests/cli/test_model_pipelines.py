"""A trained model as a part of a pipeline: tried in shadow, promoted past the gate, used by a service that runs."""

import json
import shutil

import pytest
from support.local_language import gold, site_reports
from support.service import ROOT_UID, Service, make_report
from typer.testing import CliRunner

from dicomnlp.analyse import Source, use_source
from dicomnlp.analyse.learned_registry import read_registry
from dicomnlp.cli.main import app
from dicomnlp.errors import DicomnlpError, ModelRefusedError, NotFoundError, UsageError
from dicomnlp.learn.comparison import use
from dicomnlp.learn.models import put_in_use, train

TEXT = "FINDINGS: Pneumothorax zilch. There is atelectasis."
MARGIN = 0.01


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of models, none promoted ("good" by right annotations, "bad" by wrong ones), and a file to judge them."""
    folder = tmp_path_factory.mktemp("trained")
    train(gold(site_reports(120)), folder / "models", "good", held_out=0.4)
    flipped = [{**record, "labels": None} for record in site_reports(120, wrong=True)]
    train(gold(flipped), folder / "models", "bad", held_out=0.4)
    (folder / "gold.jsonl").write_text("".join(json.dumps(r) + "\n" for r in site_reports(120)))
    return folder


@pytest.fixture(autouse=True)
def rules_alone():
    """Whatever a command reads by, what comes after reads by the program's packs."""
    yield
    use_source(Source())
    use(None)


@pytest.fixture
def service(trained, tmp_path):
    """A service, not started, of a site with these models and a gate."""
    shutil.copytree(trained / "models", tmp_path / "models")
    shutil.copy(trained / "gold.jsonl", tmp_path)
    tables = {"learn__models": "models", "learn__gold": "gold.jsonl", "learn__margin": MARGIN}
    made = Service(tmp_path, **tables)
    made.told("db", "upgrade")
    return made


def run(service, *arguments):
    """A command, whatever comes of it."""
    result = CliRunner().invoke(app, ["--config", str(service.config), *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit | DicomnlpError):
        raise result.exception
    return result


def last(text):
    """The last line."""
    return text.strip().splitlines()[-1]


def assertions(service, number, *options):
    """Concept -> assertion, of the report with this number."""
    told = json.loads(service.told("findings", f"{ROOT_UID}.1.{number}", "--json", *options))
    return {f["concept"]["id"]: f["assertion"] for f in told}


def listed(service):
    """Name -> whether it counts, its English pipeline, and how many reports count by it."""
    lines = map(json.loads, service.told("pipelines", "list", "--json").splitlines())
    return {p["name"]: (p["active"], p["pipelines"]["en"], p["current"]) for p in lines}


def test_model_is_tried_promoted_under_a_running_service_and_taken_back(service):
    """Its workers read with it from the promotion to the rollback; nothing is started anew."""
    service.start(timeout=600)  # minutes on a machine that is busy otherwise
    try:
        assert service.send([make_report(1, TEXT), make_report(2, TEXT)]) == [0, 0]
        service.wait_until_analysed(timeout=600)
        assert last(service.told("pipelines", "add", "learned", "--model", "good")).startswith("added: learned (")
        shutil.rmtree(service.folder / "models")  # the pipeline has what it needs, wherever it is read by
        told = service.told("pipelines", "shadow", "learned", f"{ROOT_UID}.1.1")
        assert last(told) == "1 of 1 reports read by learned; it had read 0 of those chosen before"
        assert assertions(service, 1) == {"pneumothorax": "present", "atelectasis": "present"}
        assert assertions(service, 1, "--pipeline", "learned")["pneumothorax"] == "absent"
        told = json.loads(last(service.told("pipelines", "compare", "learned", "--json")))
        [change] = told["changes"]
        assert (change["kind"], change["concept"]["id"], change["count"]) == ("changed", "pneumothorax", 1)
        assert (change["before"]["assertion"], change["after"]["assertion"]) == ("present", "absent")
        status, body = service.get("/api/v1/pipelines/learned/comparison")
        assert (status, json.loads(body)["changed"]) == (200, 1)

        told = last(service.told("pipelines", "promote", "learned"))
        assert told == "learned counts: 1 reports switched, 0 unchanged, 1 to be read by it"
        assert service.send([make_report(3, TEXT)]) == [0]
        service.wait_until_analysed(timeout=600)
        assert [assertions(service, n)["pneumothorax"] for n in (1, 2, 3)] == ["absent"] * 3
        counting = listed(service)
        assert counting["learned"][::2] == (True, 3)
        assert counting["configured"][::2] == (False, 0)
        assert counting["learned"][1] != counting["configured"][1]

        told = last(service.told("pipelines", "rollback"))
        assert told == "configured counts: 2 reports switched, 0 unchanged, 1 to be read by it"
        assert service.send([make_report(4, TEXT)]) == [0]
        service.wait_until_analysed(timeout=600)
        assert [assertions(service, n)["pneumothorax"] for n in (1, 2, 3, 4)] == ["present"] * 4
        assert listed(service)["configured"][::2] == (True, 4)
    finally:
        assert service.stop() == 0


def test_worse_model_or_pack_is_not_promoted(service, tmp_path):
    """The exit code says so, and what counts goes on counting; over HTTP, where nothing asks the gate, none is."""
    assert run(service, "pipelines", "promote", "better", "--dry-run").exception is not None
    service.told("pipelines", "add", "better", "--model", "good")
    service.told("pipelines", "add", "worse", "--model", "bad")
    refused = run(service, "pipelines", "promote", "worse")
    assert refused.exit_code == 1
    assert "behind on assertion" in refused.output
    assert "worse was not promoted: the gate didn't let it pass" in refused.output
    assert listed(service)["configured"][0]
    asked = run(service, "pipelines", "promote", "better", "--dry-run")
    assert asked.exit_code == 0
    assert "ahead on assertion" in asked.output
    assert listed(service)["configured"][0]
    # against what counts, not against the rules: the model is as good as itself
    assert run(service, "pipelines", "promote", "better").exit_code == 0
    assert run(service, "pipelines", "promote", "configured").exit_code == 1
    assert run(service, "pipelines", "promote", "worse").exit_code == 1
    assert listed(service)["better"][0]
    assert run(service, "pipelines", "rollback").exit_code == 0  # which asks nobody
    assert listed(service)["configured"][0]


def test_overlay_alone_must_only_not_be_worse(service, tmp_path):
    """Words of one site seldom move a figure; leaving out those that its annotators' texts turn on does."""
    for name, file, text in (
        ("harmless", "concepts.toml", '[concepts.site_marker]\nmeaning = "Marker of the site"\nterms = ["spotlet"]\n'),
        (
            "local",
            "context.toml",
            '[[cues]]\ncategory = "NEGATED_EXISTENCE"\ndirection = "backward"\nterms = ["zilch"]\n',
        ),
    ):
        folder = tmp_path / name / "en"
        folder.mkdir(parents=True)
        (folder / file).write_text(text)
        assert run(service, "pipelines", "add", name, "--overlays", tmp_path / name).exit_code == 0
    for name, said in (("harmless", "behind on no task"), ("local", "ahead on assertion")):
        done = run(service, "pipelines", "promote", name)
        assert done.exit_code == 0, done.output
        assert said in done.output
    refused = run(service, "pipelines", "promote", "harmless")
    assert refused.exit_code == 1, refused.output
    assert "behind on assertion" in refused.output
    assert listed(service)["local"][0]


def test_model_of_a_pipeline_is_the_sites_model_and_stays(service):
    """What is added with it reads by the same name as the site does while it is in use, and by no other later."""
    put_in_use(service.folder / "models", "en", "good", "promote", "")
    by_site = listed(service)["configured"][1]
    service.told("pipelines", "add", "again", "--model", "good")
    assert listed(service)["again"][1] == by_site
    put_in_use(service.folder / "models", "en", None, "rollback", "")
    assert listed(service)["again"][1] == by_site


def test_model_is_named_by_its_digest_too(service):
    """The first twelve digits do; the archive is the same, so that the pipeline is held already."""
    digest = read_registry(service.folder / "models").find("good").digest
    service.told("pipelines", "add", "learned", "--model", "good")
    assert last(service.told("pipelines", "add", "learned", "--model", digest[:12])).startswith("held already")
    assert isinstance(run(service, "pipelines", "add", "other", "--model", digest[:5]).exception, NotFoundError)


def test_model_that_is_not_what_it_was_is_not_added(service):
    """Neither one that was changed, nor two of a language."""
    assert isinstance(run(service, "pipelines", "add", "x", "--model", "good", "--model", "bad").exception, UsageError)
    path = service.folder / "models" / "good" / "assertion.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    refused = run(service, "pipelines", "add", "x", "--model", "good").exception
    assert isinstance(refused, ModelRefusedError)
    assert refused.reason_code == "model_changed"
    assert list(listed(service)) == ["configured"]
