"""Commands about critical results and deliveries."""

import json

import pytest
from support.patients import Visit, come, study_uid

from dicomnlp import config
from dicomnlp.store.admin import upgrade
from dicomnlp.store.database import Database
from dicomnlp.store.deliveries import NewDelivery, add_deliveries, due_deliveries, list_deliveries, note_failed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two critical reports, and one delivery that was given up."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "config.toml").write_text(
        '[database]\nurl = "sqlite:///test.db"\n\n[[hl7_receivers]]\nname = "ris"\nhost = "127.0.0.1"\n'
    )
    settings = config.load(folder / "config.toml")
    upgrade(settings)
    database = Database.open(settings)
    come(
        database,
        Visit(1, "20260105", "CHEST", text="IMPRESSION: Large right tension pneumothorax.", patient_id="P-1"),
        Visit(2, "20260106", "US", text="IMPRESSION: Acute calculous cholecystitis.", patient_id="P-2"),
    )
    add_deliveries(database, "alerts", [NewDelivery("critical_result", "k", 1, study_uid(1), "1.2.3", ("x",))])
    [waiting] = due_deliveries(database, "alerts", 5)
    note_failed(database, waiting, "http_503", is_final=True)
    database.close()
    return folder


def lines(result):
    """The JSON lines that a command printed."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_critical_lists_by_category_and_state(run):
    """The newest study first; as a table, too."""
    assert [r["category"] for r in lines(run("critical", "--json"))] == [2, 1]
    assert [r["patient_id"] for r in lines(run("critical", "--category", 1, "--json"))] == ["P-1"]
    assert lines(run("critical", "--from", "2026-01-07", "--json")) == []
    assert "Tension pneumothorax" in run("critical").output
    assert "no critical results" in run("critical", "--state", "documented").output
    assert run("critical", "--state", "odd").exit_code == 2


def test_acknowledge_and_take_back(run):
    """By whoever is at the terminal."""
    [first] = lines(run("critical", "--category", 1, "--json"))
    uid = first["sop_instance_uid"]
    assert run("acknowledge", uid, "--recipient", "Ward 3").exit_code == 0
    [kept] = lines(run("critical", "--state", "acknowledged", "--json"))[0]["acknowledgements"]
    assert kept["recipient"] == "Ward 3"
    assert run("acknowledge", uid, "--undo").exit_code == 0
    assert run("acknowledge", uid, "--undo").exit_code == 1
    assert run("acknowledge", "1.2.3.4").exit_code == 1


def test_deliveries_are_listed_tried_again_and_asked_for(run, folder):
    """What was given up, and findings to an HL7 receiver."""
    [dead] = lines(run("deliveries", "list", "--state", "dead", "--json"))
    assert dead["reason_code"] == "http_503"
    assert "http_503" in run("deliveries", "list").output
    assert run("deliveries", "list", "--state", "odd").exit_code == 2
    assert run("deliveries", "retry", dead["id"]).output.startswith("1 ")
    assert run("deliveries", "retry", dead["id"]).exit_code == 1
    assert run("deliveries", "retry").output.startswith("0 ")
    assert run("deliveries", "send", study_uid(1), "--to", "ris").output.startswith("1 ")
    assert run("deliveries", "send", study_uid(1), "--to", "ris").output.startswith("0 ")
    assert run("deliveries", "send", study_uid(1), "--to", "nobody").exit_code != 0
    database = Database.open(config.load(folder / "config.toml"))
    assert {d.destination for d in list_deliveries(database).deliveries} == {"alerts", "ris"}
    database.close()
