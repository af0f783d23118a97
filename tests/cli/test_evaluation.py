"""evaluate: figures for people, as JSON, and as a page."""

import json

import pytest
from typer.testing import CliRunner

from dicomnlp.cli.main import app
from dicomnlp.errors import DicomnlpError, UsageError

TEXT = "FINDINGS: No effusion. Nodule.\x1b[31m"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """One command in a folder with a configuration and three annotated reports."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text("")
    effusion = {"start": 13, "end": 21, "assertion": "absent"}
    wrong = {"start": 23, "end": 29, "assertion": "absent"}
    right = {**wrong, "assertion": "present"}
    records = [
        {"id": "r1", "text": TEXT, "modality": "CT", "findings": [effusion, right]},
        {"id": "r2", "text": TEXT, "modality": "XR", "findings": [effusion, wrong]},
        {"id": "r3", "text": TEXT, "modality": "XR", "findings": [effusion, wrong]},
    ]
    (tmp_path / "gold.jsonl").write_text("\n".join(map(json.dumps, records)))

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["evaluate", *(str(a) for a in arguments)])
        if result.exception and not isinstance(result.exception, SystemExit | DicomnlpError):
            raise result.exception
        return result

    return invoke


def test_figures_for_people(run):
    """By class, section and modality, with the first mistakes; control characters don't reach the terminal."""
    result = run("gold.jsonl", "--errors", "1")
    assert result.exit_code == 0
    for words in ("3 reports", "by modality", "0.67", "r2: absent", "present: ", "1 more mistakes"):
        assert words in result.stdout
    assert "\x1b" not in result.stdout


def test_figures_as_json_are_whole_and_the_same_each_time(run):
    """One object with every figure, slice and mistake."""
    first, second = run("gold.jsonl", "--json"), run("gold.jsonl", "--json")
    assert first.stdout == second.stdout
    evaluation = json.loads(first.stdout)
    assert (evaluation["gold"], evaluation["reports"]) == ("gold.jsonl", 3)
    score = next(s for s in evaluation["scores"] if s["task"] == "findings")
    assert score["micro"]["f1"]["value"] == pytest.approx(4 / 6)
    assert score["micro"]["f1"]["low"] < 4 / 6 < score["micro"]["f1"]["high"]
    assert {r["name"]: r["rates"]["f1"]["value"] for r in score["slices"]["modality"]} == {"XR": 0.5, "CT": 1.0}
    assert [m["report"] for m in score["mistakes"]] == ["r2", "r3"]
    assert score["confusion"] == {"absent": {"absent": 3, "present": 2}, "present": {"present": 1}}


def test_page_is_written(run, tmp_path):
    """Beside the figures."""
    assert run("gold.jsonl", "--html", "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "Evaluation of gold.jsonl" in page


def test_wrong_usage_is_said(run, tmp_path):
    """No such file, nothing annotated, a page that can't be written."""
    (tmp_path / "bare.jsonl").write_text('{"text": "x", "findings": null}')
    for arguments, says in (
        (("none.jsonl",), "doesn't exist"),
        (("bare.jsonl",), "no report has findings"),
        (("gold.jsonl", "--html", "no/page.html"), "can't be written"),
    ):
        error = run(*arguments).exception
        assert isinstance(error, UsageError)
        assert says in str(error)
