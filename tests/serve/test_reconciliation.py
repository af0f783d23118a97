"""Comparisons with archives, by HTTP and as pages."""

import datetime as dt

import pytest

from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.store.reconciliation import ArchivedObject, Listing
from dicomnlp.store.reconciling import compare, next_requested, note_fetched, wanted

DAY = dt.date(2026, 1, 2)
SR = "1.2.840.10008.5.1.4.1.1.88.11"


@pytest.fixture
def site(database, settings, make_client):
    """A client of a service with two archives, of which one can't be asked."""
    archives = [
        PacsSettings(name="archive", ae_title="PACS", host="127.0.0.1"),
        PacsSettings(name="sink", stow_url="https://archive.example.org/rs"),
    ]
    return make_client(lambda: database, settings.model_copy(update={"pacs": archives}))


def filled(database):
    """A day with three objects wanting."""
    objects = {f"2.25.{n}": ArchivedObject(f"2.25.{n}", "2.25.1", "2.25.2", SR) for n in (11, 12, 13)}
    return compare(database, "archive", DAY, Listing(objects=objects, studies=5), pipelines=["en-1"])


def test_days_and_what_is_wanting_of_them_are_told(site, database):
    """With the counts that the page shows."""
    number = filled(database)
    [day] = site.get("/api/v1/reconciliations", params={"pacs": "archive"}).json()["reconciliations"]
    assert (day["id"], day["study_date"], day["never_received"]) == (number, "2026-01-02", 3)
    assert site.get(f"/api/v1/reconciliations/{number}").json() == day
    first = site.get(f"/api/v1/reconciliations/{number}/objects", params={"kind": "never_received", "limit": 2}).json()
    rest = site.get(f"/api/v1/reconciliations/{number}/objects", params={"after": first["next"]}).json()
    told = [each["sop_instance_uid"] for each in first["objects"] + rest["objects"]]
    assert told == ["2.25.11", "2.25.12", "2.25.13"]
    assert site.get("/api/v1/reconciliations", params={"from": "2026-01-03"}).json()["reconciliations"] == []


def test_a_comparison_is_asked_for(site, database):
    """Each day by itself; whoever asks is named."""
    body = {"pacs": "archive", "from": "2026-01-02", "to": "2026-01-04", "fetch": True}
    answer = site.request("POST", "/api/v1/reconciliations", json=body)
    assert answer.status_code == 202
    days = answer.json()["reconciliations"]
    assert [(d["study_date"], d["state"]) for d in days] == [(f"2026-01-0{n}", "requested") for n in (2, 3, 4)]
    assert {d["requested_by"] for d in days} == {"local"}
    assert next_requested(database, "archive") == DAY


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"pacs": "nobody", "from": "2026-01-02"}, 400),
        ({"pacs": "sink", "from": "2026-01-02"}, 400),  # it can't be asked what it holds
        ({"pacs": "archive", "from": "2026-01-02", "to": "2026-01-01"}, 400),
        ({"pacs": "archive", "from": "2026-01-02", "to": "2028-01-01"}, 400),
        ({"pacs": "archive", "from": "yesterday"}, 422),
        ({"pacs": "archive", "from": "2026-01-02", "fecth": True}, 422),
        ({}, 422),
    ],
)
def test_what_cannot_be_compared_is_refused(site, database, body, status):
    """Nothing is asked for then."""
    assert site.request("POST", "/api/v1/reconciliations", json=body).status_code == status
    assert next_requested(database, "archive") is None


def test_what_is_missing_is_fetched_on_request(site, database):
    """And what failed once more."""
    number = filled(database)
    answer = site.request("POST", f"/api/v1/reconciliations/{number}/fetch", json={})
    assert (answer.status_code, answer.json()) == (202, {"wanted": 3})
    note_fetched(database, {each.id: "pacs_gone" for each in wanted(database, "archive", 10)})
    assert site.get(f"/api/v1/reconciliations/{number}").json()["fetch"] == {"wanted": 0, "fetched": 0, "failed": 3}
    assert site.request("POST", f"/api/v1/reconciliations/{number}/fetch", json={}).json() == {"wanted": 3}
    assert site.request("POST", "/api/v1/reconciliations/999/fetch", json={}).status_code == 404
    assert site.get("/api/v1/reconciliations/999/objects").status_code == 404


def test_the_page_shows_days_and_takes_requests(site, database):
    """In both languages; without script."""
    number = filled(database)
    for language, words in (("en", "never received"), ("zh", "从未接收")):
        page = site.get("/reconciliation", params={"lang": language})
        assert page.status_code == 200
        assert words in page.text
        assert "2026-01-02" in page.text
        day = site.get(f"/reconciliation/{number}", params={"lang": language})
        assert "2.25.12" in day.text
    token = site.get("/reconciliation").text.partition('name="csrf_token" value="')[2].partition('"')[0]
    form = {"csrf_token": token, "pacs": "archive", "first": "2026-01-03", "last": "", "fetch": "true"}
    asked = site.request("POST", "/reconciliation", data=form)
    assert (asked.status_code, asked.headers["location"]) == (303, "/reconciliation")
    assert next_requested(database, "archive") == dt.date(2026, 1, 3)
    fetched = site.request("POST", f"/reconciliation/{number}/fetch", data={"csrf_token": token})
    assert (fetched.status_code, len(wanted(database, "archive", 10))) == (303, 3)
    assert "to be fetched" in site.get(f"/reconciliation/{number}").text
    assert site.request("POST", "/reconciliation", data={**form, "first": "soon"}).status_code == 422
    assert site.request("POST", "/reconciliation", data={**form, "csrf_token": "x"}).status_code == 403


def test_a_page_without_archives_says_where_to_name_one(client):
    """And has no form to ask for anything."""
    page = client.get("/reconciliation")
    assert page.status_code == 200
    assert "[[pacs]]" in page.text
    assert 'name="first"' not in page.text
