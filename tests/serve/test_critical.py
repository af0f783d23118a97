"""Critical results and deliveries over HTTP and as pages."""

import pytest
from support.patients import Visit, come, study_uid

from dicomnlp.store.deliveries import NewDelivery, add_deliveries, due_deliveries, note_failed

JSON = {"content-type": "application/json"}
TENSION = "IMPRESSION: Large right tension pneumothorax."
TOLD = "IMPRESSION: Acute pulmonary embolism. Findings discussed with Dr. Smith at 10:20."
HOURS = "IMPRESSION: Acute calculous cholecystitis."


@pytest.fixture
def worklist(archive):
    """Three critical reports, one of which says who was told, and one that isn't."""
    come(
        archive.database,
        Visit(1, "20260105", "CHEST", text=TENSION, patient_id="=P-1"),
        Visit(2, "20260106", "CT CHEST", text=TOLD, patient_id="P-2"),
        Visit(3, "20260107", "US ABDOMEN", text=HOURS, patient_id="P-3"),
        Visit(4, "20260108", "CHEST", text="IMPRESSION: No pneumothorax.", patient_id="P-4"),
    )
    return archive


def results(client, query=""):
    """What is listed."""
    answered = client.get(f"/api/v1/critical-results{query}")
    assert answered.status_code == 200, answered.text
    return answered.json()["results"]


def acknowledge(client, sop, path="acknowledge", **body):
    """One POST."""
    return client.request("POST", f"/api/v1/critical-results/{sop}/{path}", json=body, headers=JSON)


def test_list_is_by_category_age_and_state(client, worklist):
    """The newest study first; with what was found, and what the report documents."""
    found = results(client)
    assert [r["study_instance_uid"] for r in found] == [study_uid(3), study_uid(2), study_uid(1)]
    assert [(r["category"], r["state"]) for r in found] == [(2, "open"), (1, "documented"), (1, "open")]
    assert found[1]["communication"]["recipient"] == "Dr. Smith"
    assert found[2]["findings"][0]["concept"]["id"] == "tension_pneumothorax"
    assert found[2]["sentence"] == "Large right tension pneumothorax."
    assert all(0 <= r["age_seconds"] < 3600 for r in found)
    assert [r["patient_id"] for r in results(client, "?state=open&category=1")] == ["=P-1"]
    assert results(client, "?from=2026-01-08") == []
    assert len(results(client, "?to=2026-01-06")) == 2


def test_pages_go_on_where_they_ended(client, worklist):
    """Each result once."""
    seen, after = [], ""
    while True:
        answer = client.get(f"/api/v1/critical-results?limit=1{after}").json()
        seen += [r["study_instance_uid"] for r in answer["results"]]
        if answer["next"] is None:
            break
        after = f"&after={answer['next']}"
    assert seen == [study_uid(3), study_uid(2), study_uid(1)]
    assert client.get("/api/v1/critical-results?after=x").status_code == 400


def test_an_acknowledgement_is_recorded_and_can_be_taken_back(client, worklist):
    """With who, whom and when; each in the audit trail."""
    sop = results(client, "?state=open&category=1")[0]["sop_instance_uid"]
    answered = acknowledge(client, sop, recipient="Ward 3", note="read back")
    assert answered.status_code == 200, answered.text
    [kept] = answered.json()["acknowledgements"]
    assert (answered.json()["state"], kept["recipient"], kept["acknowledged_by"]) == ("acknowledged", "Ward 3", "local")
    assert acknowledge(client, sop, recipient="another").json()["acknowledgements"] == [kept]
    assert results(client, "?state=acknowledged")[0]["sop_instance_uid"] == sop
    assert acknowledge(client, sop, "reopen").json()["state"] == "open"
    assert acknowledge(client, sop, "reopen").status_code == 404
    with worklist.database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT action, count FROM audit_event WHERE action LIKE 'POST%critical%' AND outcome = 'success'"
        ).all()
    assert [(action.rpartition("/")[2], count) for action, count in rows] == [
        ("acknowledge", 1),
        ("acknowledge", 1),
        ("reopen", 1),
    ]


def test_a_version_that_adds_a_result_is_open_again(client, worklist):
    """Who answered for one doesn't answer for the other."""
    sop = results(client, "?state=open&category=1")[0]["sop_instance_uid"]
    acknowledge(client, sop)
    come(worklist.database, Visit(1, "20260105", "CHEST", text=TENSION + " Second look.", patient_id="=P-1"))
    assert client.get(f"/api/v1/critical-results/{sop}").json()["state"] == "acknowledged"
    come(
        worklist.database, Visit(1, "20260105", "CHEST", text=TENSION + " Acute aortic dissection.", patient_id="=P-1")
    )
    assert client.get(f"/api/v1/critical-results/{sop}").json()["state"] == "open"
    come(worklist.database, Visit(1, "20260105", "CHEST", text="IMPRESSION: Normal.", patient_id="=P-1"))
    assert client.get(f"/api/v1/critical-results/{sop}").status_code == 404


def test_what_is_wrongly_asked_is_refused(client, worklist):
    """With a problem document."""
    assert client.get("/api/v1/critical-results?category=4").status_code == 422
    assert client.get("/api/v1/critical-results?stat=open").status_code in {400, 422}
    assert client.get("/api/v1/critical-results/1.2.3.4").status_code == 404
    assert client.get("/api/v1/critical-results/x").status_code == 404
    sop = results(client)[0]["sop_instance_uid"]
    assert acknowledge(client, sop, recipient="x" * 501).status_code == 422
    assert acknowledge(client, sop, other=1).status_code == 422


@pytest.fixture
def dead(worklist):
    """A delivery that was given up."""
    new = [NewDelivery("critical_result", "k", 1, study_uid(1), "1.2.3", ("tension_pneumothorax",))]
    add_deliveries(worklist.database, "alerts", new)
    [delivery] = due_deliveries(worklist.database, "alerts", 10)
    note_failed(worklist.database, delivery, "http_503", is_final=True)
    return delivery


def test_dead_letters_raise_an_alarm(client, dead):
    """In the metrics, in the status, and on its page."""
    metrics = client.get("/metrics").text
    assert 'dicomnlp_deliveries{state="dead"} 1.0' in metrics
    assert 'dicomnlp_deliveries{state="waiting"} 0.0' in metrics
    assert client.get("/api/v1/status").json()["deliveries"] == {"waiting": 0, "dead": 1}
    assert '<li class="tile bad"><b>1</b> <span>deliveries given up</span>' in client.get("/status").text


def test_dead_letters_are_seen_and_tried_again(client, dead):
    """Over HTTP."""
    answer = client.get("/api/v1/deliveries?state=dead").json()
    assert [(d["id"], d["reason_code"]) for d in answer["deliveries"]] == [(dead.id, "http_503")]
    assert answer["counts"] == {"waiting": 0, "sent": 0, "dead": 1, "dropped": 0}
    assert client.get("/api/v1/deliveries?destination=other").json()["deliveries"] == []
    retried = client.request("POST", "/api/v1/deliveries/retry", json={"ids": [dead.id]}, headers=JSON)
    assert retried.json() == {"retried": 1}
    again = client.request("POST", "/api/v1/deliveries/retry", json={"ids": [dead.id]}, headers=JSON)
    assert again.status_code == 404
    assert client.request("POST", "/api/v1/deliveries/retry", json={}, headers=JSON).json() == {"retried": 0}


@pytest.mark.parametrize(("language", "words"), [("en", "1: within minutes"), ("zh", "1类：数分钟内")])
def test_page_shows_what_is_open(client, worklist, language, words):
    """By default only that; in the reader's language."""
    page = client.get(f"/critical-results?lang={language}")
    assert page.status_code == 200
    assert words in page.text
    assert "=P-1" in page.text
    assert "P-2" not in page.text
    assert "Dr. Smith" in client.get("/critical-results?state=all").text
    assert client.get("/critical-results?category=9").status_code == 422


def test_page_of_deliveries_shows_the_dead(client, dead):
    """With a button to try them again."""
    page = client.get("/deliveries?state=dead").text
    assert "http_503" in page
    assert 'action="/deliveries/retry"' in page


def test_forms_of_the_page_acknowledge_and_take_back(client, worklist):
    """With the token that the page gave."""
    import re

    page = client.get("/critical-results?category=1").text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]
    sop = re.search(r'action="/critical-results/([0-9.]+)/acknowledge"', page)[1]
    form = {"csrf_token": token, "recipient": "<b>Ward</b>", "note": ""}
    assert client.request("POST", f"/critical-results/{sop}/acknowledge", data=form).status_code == 303
    shown = client.get("/critical-results?state=acknowledged").text
    assert "&lt;b&gt;Ward&lt;/b&gt;" in shown
    assert client.request("POST", f"/critical-results/{sop}/reopen", data={"csrf_token": "x"}).status_code == 403
    assert client.request("POST", f"/critical-results/{sop}/reopen", data={"csrf_token": token}).status_code == 303
