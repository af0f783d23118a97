"""Annotation over HTTP: the loop of a reader, two readers, and what leaves."""

import json

import pytest
from support.patients import Visit, come
from support.records import instance_uid

from dicomnlp.store.annotation_records import Mark, Verdict, key_of
from dicomnlp.store.annotations import annotate, mark_done, read_reading
from dicomnlp.terms import Assertion

JSON = {"content-type": "application/json"}
TEXT = "FINDINGS: Left pleural effusion. No pneumothorax."
UID = instance_uid(1)
REPORT = f"/api/v1/annotations/reports/{UID}"


@pytest.fixture
def held(archive):
    """A report."""
    come(archive.database, Visit(1, "20260105", "CT CHEST", text=TEXT, patient_id="T-7"))
    return archive


def post(client, path="", **body):
    """One POST about the report."""
    return client.request("POST", REPORT + path, json=body, headers=JSON)


def place(client, concept):
    """Of a finding, as a body names it."""
    found = client.get(REPORT).json()["findings"]
    finding = next(f for f in found if f["concept"]["id"] == concept)
    return {"start": finding["start"], "end": finding["end"], "finding_concept": concept}


def test_a_reader_goes_through_the_queue(client, held):
    """Asked, answered, taken back, marked as read, and not asked again."""
    [item] = client.get("/api/v1/annotations/queue").json()["queue"]
    assert item["sop_instance_uid"] == UID
    shown = client.get(REPORT).json()
    assert (shown["state"], shown["text"], shown["own"]) == ("not_begun", TEXT, [])
    effusion = place(client, "pleural_effusion")
    kept = post(client, verdict="relabel", assertion="possible", text_sha256=shown["text_sha256"], **effusion)
    assert kept.status_code == 200, kept.text
    assert (kept.json()["assertion"], kept.json()["laterality"], kept.json()["annotated_by"]) == (
        "possible",
        "left",
        "local",
    )
    assert post(client, verdict="relabel", laterality=None, **effusion).json()["laterality"] is None
    assert post(client, "/undo").json()["verdict"] == "relabel"
    added = post(client, verdict="add", start=10, end=14, concept="unlisted_finding", assertion="present")
    assert added.json()["text"] == "Left"
    assert post(client, "/undo", id=added.json()["id"]).status_code == 200
    assert post(client, "/confirm-rest").json()["confirmed"] >= 1
    assert post(client, "/done").json()["state"] == "done"
    assert client.get("/api/v1/annotations/queue").json() == {"queue": []}
    assert post(client, verdict="confirm", **effusion).status_code == 400
    assert post(client, "/reopen").json()["state"] == "in_work"
    [told] = client.get("/api/v1/annotations/progress").json()["readers"]
    assert (told["reader"], told["verdicts"]["relabel"]) == ("local", 1)


REFUSED = {
    "unknown concept": ({"verdict": "add", "start": 0, "end": 4, "concept": "nonsense", "assertion": "present"}, 400),
    "no such finding": ({"verdict": "confirm", "start": 0, "end": 4, "finding_concept": "nodule"}, 400),
    "another text": ({"verdict": "confirm", "start": 0, "end": 4, "text_sha256": "0" * 64}, 400),
    "no verdict": ({"start": 0, "end": 4}, 422),
    "another verdict": ({"verdict": "maybe", "start": 0, "end": 4}, 422),
    "before the text": ({"verdict": "confirm", "start": -1, "end": 4}, 422),
    "unknown field": ({"verdict": "confirm", "start": 0, "end": 4, "who": "x"}, 422),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused(client, held, name):
    """And nothing of it is repeated."""
    body, status = REFUSED[name]
    answer = post(client, **body)
    assert answer.status_code == status, answer.text
    assert "nonsense" not in answer.text
    assert client.get(REPORT).json()["own"] == []


def test_an_unknown_report_is_not_found(client, held):
    """Whatever is asked of it."""
    unknown = f"/api/v1/annotations/reports/{instance_uid(99)}"
    assert client.get(unknown).status_code == 404
    for path in ("", "/done", "/reopen", "/undo", "/confirm-rest", "/adjudicate"):
        body = {"verdict": "confirm", "start": 0, "end": 4} if path in {"", "/adjudicate"} else {}
        assert client.request("POST", unknown + path, json=body, headers=JSON).status_code == 404
    assert client.request("POST", REPORT, content=b"{}").status_code == 415


def other_reader(archive, verdict):
    """Let ben judge every finding so, and be done."""
    for found in read_reading(archive.database, UID, "ben").findings:
        annotate(archive.database, UID, "ben", Mark(verdict, *key_of(found)))
    mark_done(archive.database, UID, "ben")


def test_two_readers_are_compared_and_decided_between(client, held):
    """Blind until done; then who differs where, and what counts."""
    other_reader(held, Verdict.CONFIRM)
    assert client.get(REPORT).json()["others"] == []
    post(client, verdict="relabel", assertion="possible", **place(client, "pneumothorax"))
    post(client, "/confirm-rest")
    assert client.get("/api/v1/annotations/disagreements").json()["disagreements"] == []
    shown = post(client, "/done").json()
    assert {a["annotated_by"] for a in shown["others"]} == {"ben"}
    [pair] = client.get("/api/v1/annotations/agreement").json()["pairs"]
    assert (pair["first"], pair["second"], pair["reports"], pair["f1"]) == ("ben", "local", 1, 1.0)
    assert pair["agreed"] < 1
    [differs] = client.get("/api/v1/annotations/disagreements").json()["disagreements"]
    assert (differs["kind"], differs["text"], differs["adjudication"]) == ("assertion", "pneumothorax", None)
    assert {a["assertion"] for a in differs["answers"]} == {"absent", "possible"}
    [record] = exported(client)
    assert "pneumothorax" not in {f["concept"] for f in record["targets"]}
    decided = post(client, "/adjudicate", verdict="confirm", **place(client, "pneumothorax"))
    assert decided.json()["adjudicates"] is True
    [differs] = client.get("/api/v1/annotations/disagreements").json()["disagreements"]
    assert differs["adjudication"]["assertion"] == "absent"
    [record] = exported(client)
    assert {f["concept"]: f["assertion"] for f in record["findings"]}["pneumothorax"] == "absent"


def exported(client):
    """The lines of the export."""
    answer = client.get("/api/v1/annotations/export")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_export_names_no_patient_by_their_identifier(client, held):
    """The same pseudonym for each report of a patient; nothing where nothing is annotated."""
    assert exported(client) == []
    annotate(
        held.database,
        UID,
        "ben",
        Mark(Verdict.ADD, 10, 14, concept="unlisted_finding", assertion=Assertion.PRESENT),
    )
    [record] = exported(client)
    assert (record["id"], record["text"], record["study_date"]) == (UID, TEXT, "2026-01-05")
    assert record["targets"] == [
        {"start": 10, "end": 14, "assertion": "present", "concept": "unlisted_finding", "laterality": None}
    ]
    assert len(record["patient"]) == 16
    assert "T-7" not in json.dumps(record)


def test_each_act_is_in_the_trail(client, held):
    """With the study, and what was said of it as a word of ours."""
    post(client, verdict="reject", **place(client, "pneumothorax"))
    exported(client)
    with held.database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT kind, action, query FROM audit_event WHERE action LIKE '%/annotations/%' ORDER BY id"
        ).all()
    acts = [row for row in rows if row[1].startswith("POST")]
    assert [(row[0], "reject" in row[2]) for row in acts] == [("admin", True)]
    assert rows[-1][0] == "export"
