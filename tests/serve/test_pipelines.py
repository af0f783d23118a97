"""Pipelines over HTTP and as pages: which counts, what another says otherwise, promotion and going back."""

import dataclasses

import pytest

from dicomnlp.analyse import Source
from dicomnlp.analyse.archive import names_of, pack_archive
from dicomnlp.model import Assertion
from dicomnlp.store import pipelines, switching
from dicomnlp.store.pipelines import combinations
from dicomnlp.store.queue import save_processed
from dicomnlp.store.shadow import save_shadow

from .conftest import INSTANCE, STUDY, make_processed


@pytest.fixture
def next_names(archive, tmp_path):
    """A pipeline that was added, by an overlay of German and English, and has read the one report that is held."""
    for code in ("de", "en"):
        (tmp_path / "overlays" / code).mkdir(parents=True)
        (tmp_path / "overlays" / code / "sections.toml").write_text('[headings]\nimpression = ["bottom line"]\n')
    packed, sha256 = pack_archive(Source(overlays=tmp_path / "overlays"))
    names = names_of(packed, None)
    pipelines.add_pipeline(archive.database, "next", packed, sha256, names, "local:test")
    object_id = archive.add()
    done = by(make_processed(object_id, STUDY, INSTANCE, ""), names_of(None, None)["en"])
    save_processed(archive.database, [done])
    save_shadow(archive.database, "next", [by(done, names["en"], Assertion.POSSIBLE)])
    return names


def by(result, pipeline, assertion=None):
    """`result` by another pipeline, with the first finding judged otherwise."""
    made = result.analysis
    findings = made.findings
    if assertion is not None:
        findings = (dataclasses.replace(findings[0], assertion=assertion), *findings[1:])
    made = dataclasses.replace(made, pipeline=pipeline, findings=findings)
    return dataclasses.replace(result, pipeline=pipeline, analysis=made)


def bring(archive, names):
    """What the dispatcher does with the last promotion."""
    promotion = pipelines.unfinished_promotion(archive.database)
    switching.bring_all(archive.database, promotion.id, combinations(names.values()))


def test_comparison_promotion_and_going_back(client, archive, next_names):
    """Each is told by the next: what differs, what counts, what counted before."""
    told = client.get("/api/v1/pipelines").json()
    assert told["active"] == "configured"
    counts = {p["name"]: (p["active"], p["reports"]) for p in told["pipelines"]}
    assert counts == {
        "configured": (True, {"current": 1, "other": 0}),
        "next": (False, {"current": 0, "other": 1}),
    }
    found = client.get("/api/v1/pipelines/next/comparison").json()
    assert (found["compared"], found["differing"], found["changed"], found["unchanged"]) == (1, 1, 1, 1)
    [change] = found["changes"]
    assert (change["kind"], change["before"]["assertion"], change["after"]["assertion"]) == (
        "changed",
        "present",
        "possible",
    )
    [example] = change["examples"]
    assert example["after"]["pipeline"] == next_names["en"]
    promoted = client.request("POST", "/api/v1/pipelines/next/promote", json={})
    assert (promoted.status_code, promoted.json()["finished"]) == (202, False)
    bring(archive, next_names)
    findings = client.get(f"/api/v1/studies/{STUDY}/findings").json()["findings"]
    assert [f["assertion"] for f in findings] == ["possible", "absent"]
    pinned = client.get(f"/api/v1/studies/{STUDY}/findings?pipeline=configured")
    assert pinned.status_code == 404  # nothing was promoted under that name, and it has no other
    before = names_of(None, None)["en"].replace("+", "%2B")
    pinned = client.get(f"/api/v1/studies/{STUDY}/findings?pipeline={before}").json()["findings"]
    assert [f["assertion"] for f in pinned] == ["present", "absent"]
    assert client.request("POST", "/api/v1/pipelines/rollback", json={}).json()["pipeline"] == "configured"
    bring(archive, names_of(None, None))
    findings = client.get(f"/api/v1/studies/{STUDY}/findings").json()["findings"]
    assert [f["assertion"] for f in findings] == ["present", "absent"]
    assert [p["pipeline"] for p in client.get("/api/v1/pipelines").json()["promotions"]] == ["configured", "next"]
    nothing_left = client.request("POST", "/api/v1/pipelines/rollback", json={})
    assert (nothing_left.status_code, nothing_left.json()["reason_code"]) == (400, "bad_request")


def test_questions_are_pinned_to_a_pipeline(client, next_names):
    """Of a study and over all; also counted."""
    for path in (f"/api/v1/studies/{STUDY}/findings", "/api/v1/findings"):
        found = client.get(f"{path}?pipeline=next").json()["findings"]
        assert sorted(f["assertion"] for f in found) == ["absent", "possible"]
    assert client.get("/api/v1/findings/count?pipeline=next&assertion=possible").json()["findings"] == 1
    assert client.get("/api/v1/findings/count?assertion=possible").json()["findings"] == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/pipelines/unheard-of/comparison", 404),
        ("GET", "/api/v1/pipelines/next/comparison?against=unheard-of", 404),
        ("GET", "/api/v1/pipelines/next/comparison?kind=other", 422),
        ("GET", "/api/v1/pipelines/next/comparison?examples=101", 422),
        ("GET", "/api/v1/pipelines/-x/comparison", 422),
        ("POST", "/api/v1/pipelines/unheard-of/promote", 404),
        ("GET", f"/api/v1/studies/{STUDY}/findings?pipeline=next&all_versions=true", 400),
        ("GET", f"/api/v1/studies/{STUDY}/findings?pipeline=unheard-of", 404),
        ("GET", "/api/v1/findings?pipeline=unheard-of", 404),
        ("GET", "/pipelines/unheard-of", 404),
        ("GET", "/pipelines/next?kind=other", 422),
        ("GET", "/pipelines?unknown=1", 400),
    ],
)
def test_what_cannot_be_is_refused(client, next_names, method, path, status):
    """With a problem document or a page that says so."""
    sent = {"json": {}} if method == "POST" else {}
    assert client.request(method, path, **sent).status_code == status


def test_pages_show_and_promote(client, archive, next_names):
    """The words stand marked in their sentence; the buttons carry the page's token."""
    page = client.get("/pipelines/next").text
    assert "<mark>nodule</mark>" in page
    assert f"/studies/{STUDY}?report={INSTANCE}" in page
    assert client.get("/pipelines/configured?against=next&kind=changed&concept=nodule").status_code == 200
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert client.request("POST", "/pipelines/next/promote", data={"csrf_token": "x"}).status_code == 403
    assert pipelines.read_active(archive.database).name == "configured"
    sent = client.request("POST", "/pipelines/next/promote", data={"csrf_token": token})
    assert (sent.status_code, sent.headers["location"]) == (303, "/pipelines")
    assert pipelines.read_active(archive.database).name == "next"
    listed = client.get("/pipelines").text
    assert "under way" in listed
    assert "Go back: as configured" in listed
    bring(archive, next_names)
    token = listed.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert client.request("POST", "/pipelines/rollback", data={"csrf_token": token}).status_code == 303
    assert pipelines.read_active(archive.database).name == "configured"


def test_a_report_is_shown_as_it_counts_after_a_shadow_run(client, next_names):
    """Not as its newest analysis has it."""
    page = client.get(f"/studies/{STUDY}?report={INSTANCE}").text
    assert names_of(None, None)["en"] in page
    assert next_names["en"] not in page


def test_nothing_that_reads_otherwise_is_promoted_where_a_gate_is_configured(
    make_client, archive, settings, next_names
):
    """Neither over HTTP nor from the page: only the command asks the gate. What counts may be brought once more."""
    gated = settings.model_copy(update={"learn": settings.learn.model_copy(update={"gold": "gold.jsonl"})})
    client = make_client(lambda: archive.database, gated)
    refused = client.request("POST", "/api/v1/pipelines/next/promote", json={})
    assert (refused.status_code, refused.json()["reason_code"]) == (409, "gate_not_asked")
    token = client.get("/pipelines/next").text.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert client.request("POST", "/pipelines/next/promote", data={"csrf_token": token}).status_code == 409
    assert pipelines.read_active(archive.database).name == "configured"
    assert client.request("POST", "/api/v1/pipelines/configured/promote", json={}).status_code == 202
