"""Follow-up and the course of lesions over HTTP."""

import csv
import io

import pytest
from support.patients import Visit, come, study_uid

from dicomnlp.work.follow_up import refresh_all

NODULE = "FINDINGS: 6 mm nodule in the right upper lobe.\nIMPRESSION: Nodule. Follow-up CT in 6 months is recommended."
GROWN = "FINDINGS: The right upper lobe nodule measures 9 mm, previously 6 mm."
JSON = {"content-type": "application/json"}


@pytest.fixture
def owed(archive):
    """A patient whose follow-up is owed, and one whose is done."""
    come(
        archive.database,
        Visit(1, "20260105", "CT CHEST", text=NODULE, patient_id="=P-1"),
        Visit(2, "20260105", "CT CHEST", text=NODULE, patient_id="P-2"),
        Visit(3, "20260710", "CT CHEST", text=GROWN, patient_id="P-2"),
    )
    refresh_all(archive.database)


def items(client, query=""):
    """What is listed on a day on which all is due."""
    answered = client.get(f"/api/v1/follow-up?on=2026-07-10{query}")
    assert answered.status_code == 200, answered.text
    return answered.json()["items"]


def test_list_tells_where_items_stand(client, owed):
    """With whose they are, when they are due, and what answered."""
    found = {item["study_instance_uid"]: item for item in items(client)}
    first, second = found[study_uid(1)], found[study_uid(2)]
    assert (first["state"], first["due_to"], first["overdue_on"], first["patient_id"]) == (
        "due",
        "2026-07-04",
        "2026-07-23",
        "=P-1",
    )
    assert (second["state"], second["done_study_instance_uid"], second["done_on"]) == (
        "done",
        study_uid(3),
        "2026-07-10",
    )
    assert [i["study_instance_uid"] for i in items(client, "&state=due,overdue&anatomy=lung")] == [study_uid(1)]
    assert items(client, "&modality=US") == []


def test_list_says_when_something_is_still_to_be_looked_at(client, archive, owed):
    """So that nobody takes it for the whole."""
    assert client.get("/api/v1/follow-up").json()["complete"] is True
    come(archive.database, Visit(4, "20260711", "CT", body_part="CHEST"))
    assert client.get("/api/v1/follow-up").json()["complete"] is False
    assert client.get("/api/v1/follow-up/counts").json()["complete"] is False


def test_counts_are_those_of_the_lists(client, owed):
    """For every state."""
    counts = client.get("/api/v1/follow-up/counts?on=2026-07-10").json()["counts"]
    assert counts == {"open": 0, "due": 1, "overdue": 0, "done": 1, "dismissed": 0}


def test_item_is_explained_dismissed_and_opened_again(client, owed):
    """A reason is one of the rules'; what is done can't be dismissed."""
    [due] = items(client, "&state=due")
    path = f"/api/v1/follow-up/{due['id']}"
    explained = client.get(path).json()
    assert {part["name"] for part in explained["explanation"]["asked"]} >= {"modality", "anatomy", "window"}
    wrong = client.request("POST", f"{path}/dismiss", json={"reason": "because"})
    assert wrong.status_code == 400
    answered = client.request("POST", f"{path}/dismiss", json={"reason": "done_elsewhere", "note": " seen \x1b[31m"})
    assert answered.status_code == 200
    assert answered.json()["state"] == "dismissed"
    assert answered.json()["decisions"][0]["note"] == "seen \N{REPLACEMENT CHARACTER}[31m"
    assert [i["id"] for i in items(client, "&state=dismissed")] == [due["id"]]
    assert client.request("POST", f"{path}/reopen", headers=JSON).json()["decisions"][0]["undone_by"] == "local"
    assert client.request("POST", f"{path}/reopen", headers=JSON).status_code == 400
    [done] = items(client, "&state=done")
    assert (
        client.request("POST", f"/api/v1/follow-up/{done['id']}/dismiss", json={"reason": "other"}).status_code == 400
    )
    assert client.get("/api/v1/follow-up/999999").status_code == 404


def test_table_is_no_formula(client, owed):
    """Each item a line, with the columns of the header line."""
    answered = client.get("/api/v1/follow-up.csv?on=2026-07-10")
    assert answered.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answered.text)))
    assert sorted(row["state"] for row in rows) == ["done", "due"]
    assert "'=P-1" in {row["patient_id"] for row in rows}
    assert client.get("/api/v1/follow-up.csv?nothing=1").status_code == 400


def test_timeline_joins_a_lesion_over_studies(client, owed):
    """By concept, site and side, the former size where the report quotes it."""
    answered = client.get(f"/api/v1/studies/{study_uid(3)}/timeline").json()
    [lesion] = answered["lesions"]
    assert (lesion["anatomy"]["id"], lesion["laterality"]) == ("right_upper_lobe", "right")
    assert [(p["study_date"], p["size_mm"], p["prior_mm"]) for p in lesion["points"]] == [
        ("2026-01-05", 6.0, None),
        ("2026-07-10", 9.0, 6.0),
    ]
    assert (lesion["change_mm"], lesion["change_percent"]) == (3.0, 50.0)
    assert client.get("/api/v1/studies/1.2.3/timeline").status_code == 404
