"""Findings and reports of a study over HTTP."""

import datetime as dt
import json
import re
from urllib.parse import quote

import pytest

FINDING_KEYS = {
    "id",
    "study_instance_uid",
    "sop_instance_uid",
    "concept",
    "text",
    "start",
    "end",
    "sentence",
    "section",
    "assertion",
    "is_negated",
    "is_uncertain",
    "is_historical",
    "is_hypothetical",
    "is_family",
    "cues",
    "anatomy",
    "laterality",
    "severity",
    "change",
    "measurements",
    "critical",
    "language",
    "pipeline",
    "analysed_at",
}
"""What the public contract says a finding has."""
ADDED_KEYS = {"item_path", "subject", "observer", "status", "superseded_by", "status_reason", "studies"} | {
    "acuity",
    "count",
    "levels",
    "image_references",
    "rules_assertion",
    "model_probability",
}
"""What a finding has beyond it."""


def findings_path(archive, query=""):
    """Where the findings of the archive's study are."""
    return f"/api/v1/studies/{archive.study}/findings{query}"


def test_findings_of_a_study_have_the_keys_of_the_contract(client, archive):
    """Exactly those, and the values of the analysis that was saved."""
    archive.add()
    response = client.get(findings_path(archive))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert set(document) == {"study_instance_uid", "findings", "reports", "next"}
    assert document["study_instance_uid"] == archive.study
    for finding in document["findings"]:
        assert set(finding) == FINDING_KEYS | ADDED_KEYS
        assert set(finding["concept"]) == {"id", "code", "scheme", "meaning"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", finding["analysed_at"])
    first, second = document["findings"]
    assert (first["text"], first["assertion"], first["sop_instance_uid"]) == ("nodule", "present", archive.instance)
    assert (second["text"], second["is_negated"]) == ("effusion", True)
    assert second["cues"] == [{"text": "No", "start": 38, "end": 40, "category": "NEGATED_EXISTENCE"}]


def test_offsets_of_findings_point_into_the_text_of_the_report(client, archive):
    """text[start:end] of the report is the finding's text, across two requests."""
    archive.add()
    text = client.get(f"/api/v1/reports/{archive.instance}").json()["reports"][0]["text"]
    findings = client.get(findings_path(archive)).json()["findings"]
    assert findings
    assert all(text[f["start"] : f["end"]] == f["text"] for f in findings)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["nodule", "effusion"]),
        ("?assertion=present", ["nodule"]),
        ("?assertion=absent", ["effusion"]),
        ("?assertion=family", []),
        ("?concept=effusion", ["effusion"]),
        ("?concept=effusion&assertion=present", []),
        # a concept that no report names is not an error: whether there is one is what was asked
        ("?concept=unheard_of", []),
        ("?all_versions=true", ["nodule", "effusion"]),
        ("?all_versions=false&assertion=absent", ["effusion"]),
    ],
)
def test_filters_narrow_the_findings(client, archive, query, expected):
    """By assertion, by concept, and by both."""
    archive.add()
    findings = client.get(findings_path(archive, query)).json()["findings"]
    assert [f["text"] for f in findings] == expected


def test_earlier_versions_are_shown_only_when_asked_for(client, archive):
    """Other bytes under the same SOP Instance UID replace the findings; all_versions shows both."""
    archive.add(data=b"preliminary")
    archive.add(data=b"corrected", text="FINDINGS: Small nodule. No effusion.")
    current = client.get(findings_path(archive)).json()["findings"]
    assert len(current) == 2
    assert {f["sentence"] for f in current} == {"Small nodule. No effusion."}
    assert len(client.get(findings_path(archive, "?all_versions=true")).json()["findings"]) == 4
    reports = client.get(f"/api/v1/reports/{archive.instance}?all_versions=true").json()["reports"]
    assert sorted((r["version"], r["is_current"]) for r in reports) == [(1, False), (2, True)]
    (report,) = client.get(f"/api/v1/reports/{archive.instance}").json()["reports"]
    assert report["version"] == 2


def test_reports_of_a_study_come_with_state_text_and_sections(client, archive):
    """An analysed one with its text, one that waits without."""
    archive.add()
    archive.receive(instance=f"{archive.instance}.2")
    document = client.get(f"/api/v1/studies/{archive.study}/reports").json()
    assert document["study_instance_uid"] == archive.study
    analysed, pending = sorted(document["reports"], key=lambda r: r["state"])
    assert (analysed["state"], analysed["pipeline"]) == ("analysed", archive.pipeline)
    assert analysed["text"].startswith("FINDINGS: A nodule")
    assert analysed["sections"] == [
        {"name": "findings", "title": "FINDINGS:", "start": 0, "end": len(analysed["text"])}
    ]
    assert (pending["state"], pending["text"], pending["sections"]) == ("pending", None, [])


def test_study_whose_report_waits_has_no_findings_yet(client, archive):
    """It is known, so it is no 404."""
    archive.receive()
    document = client.get(findings_path(archive)).json()
    assert document["findings"] == []
    assert document["reports"]["pending"] == 1


def test_empty_list_of_a_failed_report_is_no_clean_study(client, archive):
    """`reports` counts the study's reports by state, each state named, whatever the findings are narrowed to."""
    archive.fail(archive.receive().object_id)
    failed = client.get(findings_path(archive)).json()
    assert failed["findings"] == []
    states = {"pending", "analysed", "no_text", "needs_ocr", "own", "failed", "quarantined"}
    assert failed["reports"] == dict.fromkeys(states, 0) | {"failed": 1}
    archive.add(instance=f"{archive.instance}.2")
    for query in ("", "?assertion=family", "?all_versions=true"):
        reports = client.get(findings_path(archive, query)).json()["reports"]
        assert reports == dict.fromkeys(states, 0) | {"failed": 1, "analysed": 1}, query


def test_states_of_the_past_are_not_made_up(client, archive):
    """`reports` is null with as_of: what state a report was in then is not kept."""
    archive.add()
    document = client.get(findings_path(archive, "?as_of=2100-01-01T00:00:00Z")).json()
    assert len(document["findings"]) == 2
    assert document["reports"] is None


@pytest.mark.parametrize("path", ["/api/v1/studies/{}/findings", "/api/v1/studies/{}/reports", "/api/v1/reports/{}"])
def test_unknown_uid_is_a_problem_that_names_it(empty_client, path):
    """404, and the UID in the detail because it is a well-formed one."""
    response = empty_client.get(path.format("1.2.3.4"))
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["reason_code"] == "not_found"
    assert "1.2.3.4" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/api/v1/studies/{}/findings", "/api/v1/studies/{}/reports", "/api/v1/reports/{}"])
@pytest.mark.parametrize(
    "uid",
    [
        "<script>alert(1)</script>",
        "Doe^John",
        "1.2.3\n4",
        "1.02.3",  # a part with a leading zero
        "1." + "2" * 64,  # 66 characters
        "' OR 1=1--",
        "..%2f..%2fetc",
        "%",
        "1.2.3 ",
    ],
)
def test_malformed_uid_is_a_problem_that_repeats_nothing(empty_client, path, uid):
    """404 without a word of what was asked for, in body or headers."""
    response = empty_client.get(path.format(quote(uid, safe="%" if "%2f" in uid else "")))
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    everything = response.text + str(response.headers)
    for part in (uid, "alert", "Doe", "etc", "2222"):
        assert part not in everything or part == "%"


@pytest.mark.parametrize(
    ("query", "status", "reason_code"),
    [
        ("?assertion=Zebulon", 422, "invalid_parameter"),
        ("?all_versions=Zebulon", 422, "invalid_parameter"),
        ("?concept=Zebulon%20Quux", 422, "invalid_parameter"),
        ("?concept=" + "z" * 65, 422, "invalid_parameter"),
        ("?Zebulon=1", 400, "unknown_parameter"),
        ("?asertion=present", 400, "unknown_parameter"),  # misspelt: would otherwise give all findings
        ("?assertion=present&assertion=absent", 400, "repeated_parameter"),
    ],
)
def test_wrong_query_parameter_is_a_problem_that_names_what_is_taken(empty_client, query, status, reason_code):
    """The value is not repeated, nor an unknown name; known names are."""
    response = empty_client.get(f"/api/v1/studies/1.2.3/findings{query}")
    assert response.status_code == status
    document = response.json()
    assert document["status"] == status
    assert document["reason_code"] == reason_code
    assert "zebulon" not in response.text.lower()
    assert "zzzz" not in response.text
    if reason_code == "invalid_parameter":
        (error,) = document["errors"]
        assert error["in"] == "query"
        assert f"?{error['parameter']}=" in query
    if reason_code == "unknown_parameter":
        assert document["detail"] == "This path takes assertion, concept, all_versions, as_of, pipeline, after, limit."


def test_unchanged_findings_are_not_sent_again(client, archive):
    """304 with the same strong entity tag and no body; another one after a change."""
    archive.add()
    first = client.get(findings_path(archive))
    entity_tag = first.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}(-gzip)?"', entity_tag)
    assert first.headers["cache-control"] == "private, no-cache"
    plain = entity_tag.replace("-gzip", "")  # whatever is held names no representation
    for held, told in (
        (entity_tag, entity_tag),
        (f"W/{entity_tag}", entity_tag),
        (f'"other", {entity_tag}', entity_tag),
        ("*", plain),
    ):
        again = client.get(findings_path(archive), headers={"If-None-Match": held})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", told)
    archive.add(data=b"corrected", text="FINDINGS: Two nodules, one nodule calcified. No effusion.")
    changed = client.get(findings_path(archive), headers={"If-None-Match": entity_tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != entity_tag


def test_entity_tag_differs_by_filter(client, archive):
    """It stands for the content, not for the study."""
    archive.add()
    tags = {
        client.get(findings_path(archive, q)).headers["etag"] for q in ("", "?assertion=present", "?concept=effusion")
    }
    assert len(tags) == 3


def test_not_modified_is_not_said_of_an_unknown_study(client, archive):
    """Not even for If-None-Match: *."""
    assert client.get(findings_path(archive), headers={"If-None-Match": "*"}).status_code == 404


def test_head_answers_as_get_without_a_body_being_needed(client, archive):
    """Same status and headers (RFC 9110 9.3.2)."""
    archive.add()
    head, get = client.request("HEAD", findings_path(archive)), client.get(findings_path(archive))
    assert head.status_code == 200
    assert head.headers["etag"] == get.headers["etag"]
    assert head.headers["content-length"] == get.headers["content-length"]


def test_text_of_other_scripts_is_sent_as_it_is(client, archive):
    """UTF-8, not escaped, and offsets count characters."""
    archive.add(text="FINDINGS: 右肺上叶 nodule 𝔘. No effusion.")
    response = client.get(findings_path(archive))
    assert "右肺上叶" in response.content.decode("utf-8")
    first = json.loads(response.content)["findings"][0]
    assert first["start"] == len("FINDINGS: 右肺上叶 ")


def test_what_was_known_at_a_time_is_asked_for_with_its_zone(client, archive):
    """Before the analysis nothing was; a time without zone, one that is none, and a contradiction are problems."""
    archive.add()
    now = dt.datetime.now(dt.UTC)
    told = [f["text"] for f in client.get(findings_path(archive), params={"as_of": now.isoformat()}).json()["findings"]]
    assert told == ["nodule", "effusion"]
    reports = f"/api/v1/studies/{archive.study}/reports"
    assert len(client.get(reports, params={"as_of": now.isoformat()}).json()["reports"]) == 1
    past = (now - dt.timedelta(days=1)).isoformat()
    assert client.get(findings_path(archive), params={"as_of": past}).json()["reason_code"] == "not_found"
    for wrong in ("2026-11-22T06:00:00", "Zebulon"):
        response = client.get(findings_path(archive), params={"as_of": wrong})
        assert (response.status_code, response.json()["reason_code"]) == (422, "invalid_parameter")
        assert wrong not in response.text
    both = {"as_of": now.isoformat(), "all_versions": "true"}
    for path in (findings_path(archive), reports):
        assert client.get(path, params=both).json()["reason_code"] == "bad_request"


def test_changes_of_a_report_are_answered(client, archive):
    """Of a new version of the object; with an entity tag like all that may change; 404 where nothing is."""
    archive.add()
    archive.add(data=b"corrected", text="FINDINGS: No effusion. A nodule.")
    path = f"/api/v1/reports/{archive.instance}/changes"
    response = client.get(path)
    document = response.json()
    assert (document["earlier"]["version"], document["later"]["version"], document["unchanged"]) == (1, 2, 2)
    assert client.get(path, headers={"If-None-Match": response.headers["etag"]}).status_code == 304
    assert client.get("/api/v1/reports/1.2.3.4/changes").json()["reason_code"] == "not_found"
    assert client.get("/api/v1/reports/Doe/changes").json()["reason_code"] == "malformed_uid"


def test_image_series_of_a_study_are_told_by_their_headers(client, archive):
    """Grouped by series, in the order of their numbers; a study of which no image came is not found."""
    assert client.get(f"/api/v1/studies/{archive.study}/series").status_code == 404
    archive.index("1.2.3.1", series="1.2.4", series_number="10", laterality="")
    for instance in ("1.2.3.2", "1.2.3.3"):
        archive.index(instance, series="1.2.5", series_number="9", laterality="L")
    answered = client.get(f"/api/v1/studies/{archive.study}/series")
    told = [(s["series_instance_uid"], s["modality"], s["laterality"], s["images"]) for s in answered.json()["series"]]
    assert told == [("1.2.5", "MG", "L", 2), ("1.2.4", "MG", "", 1)]
    again = client.get(f"/api/v1/studies/{archive.study}/series", headers={"If-None-Match": answered.headers["ETag"]})
    assert again.status_code == 304
    assert client.get("/api/v1/status").json()["images"] == 3
