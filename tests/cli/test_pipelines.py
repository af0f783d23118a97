"""dicomnlp pipelines, from adding one to going back from it, with the workers that it has."""

import json

import pytest
from support.service import ROOT_UID, make_report, write_report
from typer.testing import CliRunner

from dicomnlp.analyse import Source, use_source
from dicomnlp.cli.main import app
from dicomnlp.errors import DicomnlpError, NotFoundError, UsageError

STUDY = f"{ROOT_UID}.1.1"
SOUND = '[concepts.site_marker]\nmeaning = "Marker of the site"\nterms = ["spotlet"]\n'
FAULTY = '[concepts.site_marker]\nmeaning = "Marker of the site"\nterms = ["pneumothorax"]\n'


@pytest.fixture(autouse=True)
def _as_configured():
    """Whatever a command reads by, what comes after reads by the program's packs."""
    yield
    use_source(Source())


@pytest.fixture
def run(tmp_path, monkeypatch):
    """One command in a folder with a database, and overlays: a sound one and a faulty one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text('[work]\nworkers = 1\n[analyse]\nlanguage = "de"\n')
    for name, text in (("sound", SOUND), ("faulty", FAULTY)):
        (tmp_path / name / "de").mkdir(parents=True)
        (tmp_path / name / "de" / "concepts.toml").write_text(text, encoding="utf-8")
    (tmp_path / "empty").mkdir()

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit | DicomnlpError):
            raise result.exception
        return result

    invoke("db", "upgrade")
    return invoke


def lines(result):
    """What the command says itself; log lines come before it when no `main` has configured them."""
    return [line for line in result.stdout.splitlines() if "[info" not in line and "[warning" not in line]


def found(run, *options):
    """Concepts of the study's findings."""
    return {f["concept"]["id"] for f in json.loads(run("findings", STUDY, "--json", *options).stdout)}


def test_from_adding_a_pipeline_to_going_back_from_it(run, tmp_path):
    """Its words are found when it counts, or is asked; what counted before counts again."""
    write_report(make_report(1, "Befund: Kein Pneumothorax. Ein Spotlet rechts."), tmp_path / "a.dcm")
    run("import", "a.dcm")
    assert lines(run("reprocess", "--all"))[-1] == "1 of 1 done, 0 failed"
    assert "site_marker" not in found(run)
    assert lines(run("pipelines", "add", "next", "--overlays", "sound"))[-1].startswith("added: next (de-")
    assert lines(run("pipelines", "add", "next", "--overlays", "sound"))[-1].startswith("held already: next")
    done = run("pipelines", "shadow", "next", "--sample", "5")
    assert lines(done)[-1] == "1 of 1 reports read by next; it had read 0 of those chosen before"
    done = run("pipelines", "shadow", "next", "--all")
    assert lines(done)[-1] == "0 of 0 reports read by next; it had read 1 of those chosen before"
    assert "site_marker" not in found(run)
    assert "site_marker" in found(run, "--pipeline", "next")
    told = lines(run("pipelines", "compare", "next"))
    assert told[0].split()[:4] == ["+", "1", "site_marker", "present"]
    assert told[-1].startswith("1 of 1 reports differ: 1 findings added, 0 gone, 0 changed")
    as_json = json.loads(lines(run("pipelines", "compare", "next", "--json"))[-1])
    assert as_json["changes"][0]["concept"]["id"] == "site_marker"
    assert (
        lines(run("pipelines", "promote", "next"))[-1]
        == "next counts: 1 reports switched, 0 unchanged, 0 to be read by it"
    )
    assert "site_marker" in found(run)
    # of what counts now nothing is outdated, and reading it again would change nothing
    assert lines(run("reprocess", "--outdated", "--dry-run"))[-1] == "0 objects would be analysed again"
    assert lines(run("reprocess", "--all", "--diff"))[-1].startswith("0 of 1 reports differ")
    refused = run("pipelines", "remove", "next")
    assert isinstance(refused.exception, UsageError)
    assert lines(run("pipelines", "rollback"))[-1].startswith("configured counts: 1 reports switched")
    assert "site_marker" not in found(run)
    listed = [json.loads(line) for line in lines(run("pipelines", "list", "--json"))]
    assert [(p["name"], p["active"], p["current"], p["other"]) for p in listed] == [
        ("configured", True, 1, 0),
        ("next", False, 0, 1),
    ]
    assert isinstance(run("pipelines", "rollback").exception, UsageError)
    removed = lines(run("pipelines", "remove", "next"))[-1]
    assert removed == "removed: next, and 0 analyses of reports"  # it counted once: what was known is kept
    assert isinstance(run("pipelines", "promote", "next").exception, NotFoundError)


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "a b", "--overlays", "sound"),
        ("add", "next"),  # neither overlays nor packs
        ("add", "next", "--overlays", "missing"),
        ("add", "next", "--overlays", "empty"),
        ("add", "next", "--overlays", "faulty"),
        ("add", "configured", "--overlays", "sound"),
        ("shadow", "configured"),  # of which reports?
        ("shadow", "configured", "--all", "1.2.3"),
        ("remove", "configured"),
        ("rollback",),
    ],
)
def test_what_cannot_be_is_wrong_usage(run, arguments):
    """And changes nothing."""
    result = run("pipelines", *arguments)
    assert result.exit_code == 2 or isinstance(result.exception, UsageError)
    listed = [json.loads(line) for line in lines(run("pipelines", "list", "--json"))]
    assert [p["name"] for p in listed] == ["configured"]
