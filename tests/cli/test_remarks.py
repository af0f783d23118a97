"""Commands about what a second reader would remark."""

import json

import pytest
from support.patients import Visit, come, study_uid

from dicomnlp import config
from dicomnlp.store.admin import upgrade
from dicomnlp.store.database import Database


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report of two sides, and one of an organ of the other sex."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "config.toml").write_text('[database]\nurl = "sqlite:///test.db"\n')
    settings = config.load(folder / "config.toml")
    upgrade(settings)
    database = Database.open(settings)
    sides = "FINDINGS: 8 mm solid nodule in the left upper lobe.\nIMPRESSION: Right upper lobe nodule."
    come(
        database,
        Visit(1, "20260105", "CT CHEST", text=sides, patient_id="P-1"),
        Visit(2, "20260106", "US PELVIS", "US", text="FINDINGS: Uterine fibroid.", patient_id="P-2", sex="M"),
    )
    database.close()
    return folder


def told(result):
    """The JSON that a command printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_contradictions_are_listed(run):
    """As JSON and as a table, by kind, confidence, study and date."""
    assert [d["kind"] for d in told(run("contradictions", "--json"))] == ["sex", "laterality_text"]
    assert [d["kind"] for d in told(run("contradictions", study_uid(1), "--json"))] == ["laterality_text"]
    assert told(run("contradictions", "--kind", "age", "--json")) == []
    assert told(run("contradictions", "--from", "2026-01-07", "--json")) == []
    assert len(told(run("contradictions", "--limit", "1", "--json"))) == 1
    table = run("contradictions", "--min-confidence", "0.8")
    assert "laterality_text" in table.output
    assert "PatientSex M" in table.output
    assert "nothing is remarked" in run("contradictions", "--kind", "age").output


def test_guidance_is_listed(run):
    """With what the text leaves out."""
    [found] = told(run("guidance", "--json"))
    assert (found["guideline"], found["missing"]) == ("fleischner_2017", ["risk"])
    assert "CT at 6 to 12 months" in run("guidance", "--outcome", "not_stated").output
    assert told(run("guidance", "--outcome", "followed", "--json")) == []


def test_measures_of_quality_are_counted(run):
    """As JSON and as a table."""
    counted = {m["measure"]: (m["reports"], m["met"]) for m in told(run("quality", "--json"))}
    assert counted["mips_364"] == (1, 0)
    assert "mips_364" in run("quality").output
    assert "no measure is for any report" in run("quality", "--from", "2027-01-01").output


@pytest.mark.parametrize(
    "arguments",
    [
        ("contradictions", "--kind", "odd"),
        ("contradictions", "not-a-uid"),
        ("contradictions", "--min-confidence", "2"),
        ("contradictions", "--from", "yesterday"),
        ("guidance", "--guideline", "odd"),
        ("guidance", "--outcome", "odd"),
    ],
)
def test_wrong_usage_is_said(run, arguments):
    """With exit code 2."""
    assert run(*arguments).exit_code == 2
