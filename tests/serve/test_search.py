"""Searches, follow-up, cohorts and reprocessing over HTTP."""

import dataclasses
import re

import pytest
from support.records import STUDY, instance_uid, make_finding, make_processed, make_record

from dicomnlp.model import Assertion, Concept, Recommendation
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.queue import save_processed
from dicomnlp.store.reprocess import read_run
from dicomnlp.store.search_filters import PUBLIC_NAMES

CHEST = Concept("chest", None, None, "Chest")


@pytest.fixture
def studies(archive):
    """Five studies of a day each: a nodule of 6 mm and an absent effusion; CT in six months is recommended."""
    for number in range(1, 6):
        record = make_record(number, study=f"{STUDY}.{number}", patient_id=f"T-{number}")
        identity = dataclasses.replace(record.identity, study_date=f"2026110{number}")
        [receipt] = record_arrivals(archive.database, [dataclasses.replace(record, identity=identity)])
        findings = (make_finding(), make_finding("effusion", "effusion", 50, Assertion.ABSENT))
        processed = make_processed(receipt.object_id, findings=findings)
        asked = Recommendation("CT in 6 months", 0, 14, "CT", "CT", CHEST, 180, 180, conditional=number == 1)
        analysis = dataclasses.replace(processed.analysis, recommendations=(asked,))
        save_processed(archive.database, [dataclasses.replace(processed, analysis=analysis, modalities=("CT",))])
    return [f"{STUDY}.{number}" for number in range(1, 6)]


def pages(client, path, key):
    """Every page of an answer."""
    after, found = None, []
    while True:
        document = client.get(path + (f"&after={after}" if after else "")).json()
        found.append(document[key])
        after = document["next"]
        if after is None:
            return found


def test_findings_come_in_pages_the_newest_study_first(client, studies):
    """With descendants of concepts and parts of sites; `next` leads from page to page to the end."""
    found = pages(client, "/api/v1/findings?concept=lesion&anatomy=lung&limit=2", "findings")
    assert [len(page) for page in found] == [2, 2, 1]
    assert [f["study_instance_uid"] for page in found for f in page] == studies[::-1]
    assert {f["concept"]["id"] for page in found for f in page} == {"pulmonary_nodule"}


FILTERS = [
    ("concept=pulmonary_nodule,effusion&assertion=present,possible", 5),
    ("assertion=absent", 5),
    ("laterality=right&min_size=5&max_size=6.5&severity=mild&change=increased&section=findings&critical=true", 10),
    ("language=en&modality=CT", 10),
    ("from=2026-11-02&to=2026-11-04", 6),
    ("text=nodule%20%22right%20upper%22&concept=effusion", 5),
    ("patient_id=T-1", 2),
    ("calling_ae_title=PACS", 10),
    (f"study_instance_uid={STUDY}.3", 2),
    ("without=effusion", 10),
    ("without=nodule", 0),
    ("modality=MR", 0),
    ("anatomy=liver", 0),
    ("anatomy=upper_lobe", 10),
    ("min_age=1", 0),
    ("body_part=HEAD", 0),
    ("station=X&institution=Y&sex=F&max_age=3", 0),
    ("pipeline=en-1", 10),
]


@pytest.mark.parametrize(("query", "number"), FILTERS)
def test_filters_are_those_of_the_command_line(client, studies, query, number):
    """In the search and in the count."""
    assert len(client.get(f"/api/v1/findings?{query}").json()["findings"]) == number
    assert client.get(f"/api/v1/findings/count?{query}").json()["findings"] == number


def test_every_filter_is_asked_for_above():
    """None is forgotten."""
    assert {name for query, _ in FILTERS for name in re.findall(r"(\w+)=", query)} == set(PUBLIC_NAMES.values())


def test_counts_and_facets_tell_what_fits(client, studies):
    """Findings, reports, studies, patients; each field without its own filter."""
    assert client.get("/api/v1/findings/count?concept=effusion").json() == {
        "findings": 5,
        "reports": 5,
        "studies": 5,
        "patients": 5,
    }
    found = client.get("/api/v1/findings/facets?concept=effusion").json()["facets"]
    assert found["concept"] == [{"value": "effusion", "findings": 5}, {"value": "pulmonary_nodule", "findings": 5}]
    assert found["assertion"] == [{"value": "absent", "findings": 5}]
    assert found["modality"] == [{"value": "CT", "findings": 5}]


def test_answers_have_an_entity_tag(client, studies):
    """What the client holds already isn't sent again."""
    for path in ("findings", "findings/count", "findings/facets", "recommendations", "cohorts"):
        first = client.get(f"/api/v1/{path}")
        again = client.get(f"/api/v1/{path}", headers={"If-None-Match": first.headers["etag"]})
        assert (first.status_code, again.status_code, again.content) == (200, 304, b""), path


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("concept=Zebulon", 422),
        ("concept=zebulon", 400),
        ("anatomy=zebulon", 400),
        ("without=zebulon", 400),
        ("assertion=zebulon", 422),
        ("min_size=-1", 422),
        ("min_size=nan", 422),
        ("min_size=5&max_size=4", 400),
        ("from=zebulon", 422),
        ("from=2026-02-01&to=2026-01-01", 400),
        ("text=***", 400),
        ("text=", 422),
        ("text=%00", 400),
        ("text=" + "zebulon " * 100, 422),
        ("limit=0", 422),
        ("limit=1001", 422),
        ("after=zebulon", 400),
        ("after=", 400),
        ("sex=zebulon", 422),
        ("zebulon=1", 400),
        ("concept=nodule&concept=effusion", 400),
    ],
)
def test_wrong_filters_are_problems_that_repeat_nothing(empty_client, query, status):
    """Neither names nor values of the client."""
    response = empty_client.get(f"/api/v1/findings?{query}")
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert "zebulon" not in response.text.lower()


@pytest.mark.parametrize("text", ["' OR 1=1--", '"', "NEAR(a b)", "a*", "%", "a' & 'b", "\\", "a:*", "肺", "\ud800"])
def test_words_are_never_operators(client, studies, text):
    """Whatever is asked for, it is found, not found, or refused as having no word."""
    response = client.get("/api/v1/findings", params={"text": text.encode("utf-8", "surrogatepass")})
    assert response.status_code in (200, 400, 422)
    if response.status_code == 200:
        assert response.json()["findings"] == []


def test_recommendations_are_listed_with_the_dates_on_which_they_are_due(client, studies):
    """From the study's date and the interval named; newest study first, page by page."""
    found = [r for page in pages(client, "/api/v1/recommendations?limit=2", "recommendations") for r in page]
    assert [r["study_instance_uid"] for r in found] == studies[::-1]
    assert found[0]["sop_instance_uid"] == instance_uid(5)
    assert (found[0]["study_date"], found[0]["due_from"], found[0]["due_to"]) == (
        "2026-11-05",
        "2027-05-04",
        "2027-05-04",
    )
    assert found[0]["text"] == "CT in 6 months"


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("modality=CT&anatomy=chest&kind=recommended", 5),
        ("modality=MR", 0),
        ("anatomy=heart", 0),
        ("conditional=true", 1),
        ("conditional=false", 4),
        ("due_from=2027-05-02&due_to=2027-05-03", 2),
        ("due_to=2027-04-29", 0),
        ("from=2026-11-04", 2),
        ("to=2026-11-01", 1),
        ("patient_id=T-2", 1),
        ("kind=optional", 0),
    ],
)
def test_recommendations_are_filtered(client, studies, query, number):
    """All filters given must fit."""
    assert len(client.get(f"/api/v1/recommendations?{query}").json()["recommendations"]) == number


def test_recommendations_of_replaced_reports_are_not_listed(client, studies, archive):
    """A new version of the object that asks for nothing."""
    record = make_record(1, b"corrected", study=studies[0])
    [receipt] = record_arrivals(archive.database, [record])
    assert len(client.get("/api/v1/recommendations").json()["recommendations"]) == 4
    save_processed(archive.database, [make_processed(receipt.object_id)])
    assert len(client.get("/api/v1/recommendations").json()["recommendations"]) == 4


def test_cohorts_are_kept_asked_and_forgotten(client, studies):
    """Filters as given; a name with any letters."""
    path = "/api/v1/cohorts/结节 2026"
    kept = client.request("PUT", path, json={"filters": {"concept": ["nodule"], "min_size": 5}})
    assert kept.status_code == 200
    assert client.get("/api/v1/cohorts").json()["cohorts"] == [kept.json()]
    counted = client.get(path).json()
    assert (counted["filters"], counted["findings"]) == ({"concept": ["nodule"], "min_size": 5}, 5)
    assert len(client.get(f"{path}/findings?limit=3").json()["findings"]) == 3
    assert client.request("PUT", path, json={"filters": {"modality": "MR"}}).status_code == 200
    assert client.get(path).json()["findings"] == 0
    assert client.request("DELETE", path).status_code == 204
    for method, of in (("GET", path), ("GET", f"{path}/findings"), ("DELETE", path)):
        assert client.request(method, of).status_code == 404


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"json": {"filters": {}}}, 400),
        ({"json": {"filters": {"zebulon": "x"}}}, 400),
        ({"json": {"filters": {"concept": ["zebulon"]}}}, 400),
        ({"json": {"filters": {"concept": "nodule"}}}, 400),
        ({"json": {"filters": {"min_size": "zebulon"}}}, 400),
        ({"json": {"filters": {"modality": {"zebulon": 1}}}}, 422),
        ({"json": {"zebulon": 1}}, 422),
        ({"content": b"{zebulon", "headers": {"Content-Type": "application/json"}}, 422),
        # what a page of a stranger could send through a browser without being asked
        ({"content": b'{"filters": {"sex": "F"}}', "headers": {"Content-Type": "text/plain"}}, 415),
        ({"content": b'{"filters": {"sex": "F"}}'}, 415),
    ],
)
def test_cohorts_that_make_no_sense_are_refused(client, archive, arguments, status):
    """Nothing is kept, and nothing repeated."""
    response = client.request("PUT", "/api/v1/cohorts/mine", **arguments)
    assert response.status_code == status
    assert "zebulon" not in response.text.lower()
    assert client.get("/api/v1/cohorts").json() == {"cohorts": []}


def test_reprocess_marks_what_is_named_and_tells_the_run(client, studies, archive):
    """For the dispatcher to do; the same request goes on with it."""
    response = client.request("POST", "/api/v1/reprocess", json={"uids": [studies[0], instance_uid(2)]})
    run = response.json()
    assert (response.status_code, run["total"], run["done"], run["resumed"]) == (202, 2, 0, False)
    assert read_run(archive.database, run["id"]).total == 2
    again = client.request("POST", "/api/v1/reprocess", json={"uids": [instance_uid(2), studies[0]]}).json()
    assert (again["id"], again["resumed"]) == (run["id"], True)
    assert client.request("POST", "/api/v1/reprocess", json={"everything": True}).json()["total"] == 5


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"everything": True, "failed": True}, 400),
        ({"uids": ["1.2.3"], "everything": True}, 400),
        ({"uids": ["1.2.3"]}, 404),
        ({"uids": ["zebulon"]}, 404),
        ({"uids": "zebulon"}, 422),
        ({"zebulon": True}, 422),
        ({"uids": ["1.2"] * 1001}, 422),
    ],
)
def test_reprocess_refuses_what_is_not_clear(client, archive, body, status):
    """Nothing is marked."""
    response = client.request("POST", "/api/v1/reprocess", json=body)
    assert response.status_code == status
    assert "zebulon" not in response.text.lower()


def test_findings_of_a_study_come_in_pages_when_there_are_many(client, archive):
    """In the order of the text, whatever the limit; for now and for a moment in the past."""
    [receipt] = record_arrivals(archive.database, [make_record(1)])
    findings = tuple(make_finding(start=16 + n // 2) for n in range(7))
    save_processed(archive.database, [make_processed(receipt.object_id, findings=findings)])
    path = f"/api/v1/studies/{STUDY}/findings?limit="
    whole = client.get(path + "7").json()
    assert (len(whole["findings"]), whole["next"]) == (7, None)
    for more in ("", "&all_versions=true", "&as_of=2100-01-01T00:00:00Z"):
        found = pages(client, f"{path}3{more}", "findings")
        assert [len(page) for page in found] == [3, 3, 1]
        assert [f["id"] for page in found for f in page] == [f["id"] for f in whole["findings"]]
    assert client.get(path + "5001").status_code == 422
    assert client.get(path + "5&after=zebulon").json()["reason_code"] == "bad_request"
