"""Commands of follow-up and of the course of lesions."""

import csv
import io
import json

import pytest
from support.patients import Visit, come, study_uid

from dicomnlp.config import load
from dicomnlp.store.admin import upgrade
from dicomnlp.store.database import Database

NODULE = "FINDINGS: 6 mm nodule in the right upper lobe.\nIMPRESSION: Nodule. Follow-up CT in 6 months is recommended."
GROWN = "FINDINGS: The right upper lobe nodule measures 9 mm, previously 6 mm."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A database with one patient whose follow-up is owed and one whose is done."""
    made = tmp_path_factory.mktemp("following")
    (made / "config.toml").write_text('[database]\nurl = "sqlite:///test.db"\n')
    settings = load(made / "config.toml")
    upgrade(settings)
    database = Database.open(settings)
    come(
        database,
        Visit(1, "20250105", "CT CHEST", text=NODULE, patient_id="P-1"),
        Visit(2, "20250105", "CT CHEST", text=NODULE, patient_id="P-2"),
        Visit(3, "20250710", "CT CHEST", text=GROWN, patient_id="P-2"),
    )
    database.close()
    return made


def test_follow_up_from_the_list_to_a_decision_and_back(run):
    """What came is looked at, listed, explained, dismissed for a reason, and opened again."""
    before = run("follow-up", "list")
    assert "still to be looked at" in before.stderr
    assert run("follow-up", "refresh").stdout == "looked at: 3 studies\n"
    listed = json.loads(run("follow-up", "list", "--on", "2025-07-10", "--json").stdout)
    assert {(item["patient_id"], item["state"]) for item in listed} == {("P-1", "due"), ("P-2", "done")}
    [due] = [item["id"] for item in listed if item["state"] == "due"]
    rows = list(csv.DictReader(io.StringIO(run("follow-up", "list", "--state", "overdue", "--csv").stdout)))
    assert [row["patient_id"] for row in rows] == ["P-1"]
    [done] = [item["id"] for item in listed if item["state"] == "done"]
    shown = run("follow-up", "show", done).stdout
    assert "right upper lobe" in shown
    assert "answers" in shown
    assert run("follow-up", "dismiss", due, "--reason", "because").exit_code == 2
    assert (
        run("follow-up", "dismiss", due, "--reason", "declined", "--note", "by letter").stdout == f"dismissed: {due}\n"
    )
    told = json.loads(run("follow-up", "show", due, "--json").stdout)
    assert (told["state"], told["decisions"][0]["note"]) == ("dismissed", "by letter")
    assert run("follow-up", "reopen", due).stdout == f"reopened: {due}\n"
    assert run("follow-up", "show", 9999).exit_code == 1
    assert run("follow-up", "list", "--state", "lost").exit_code == 2


def test_course_of_a_lesion(run):
    """Its sizes, study by study."""
    [lesion] = json.loads(run("timeline", study_uid(3), "--json").stdout)
    assert [point["size_mm"] for point in lesion["points"]] == [6.0, 9.0]
    assert "9 mm" in run("timeline", study_uid(2)).stdout
    assert run("timeline", "1.2.3.4").exit_code == 1
