"""The description of the interface, for programs and for people."""

import json
import re
from html.parser import HTMLParser

import jsonschema
import pytest
from fastapi.openapi.models import OpenAPI

from dicomnlp.serve.problems import KINDS

PATHS = {
    "/api/v1/annotations/agreement",
    "/api/v1/annotations/disagreements",
    "/api/v1/annotations/export",
    "/api/v1/annotations/progress",
    "/api/v1/annotations/queue",
    "/api/v1/annotations/reports/{sop_instance_uid}",
    "/api/v1/annotations/reports/{sop_instance_uid}/adjudicate",
    "/api/v1/annotations/reports/{sop_instance_uid}/confirm-rest",
    "/api/v1/annotations/reports/{sop_instance_uid}/done",
    "/api/v1/annotations/reports/{sop_instance_uid}/reopen",
    "/api/v1/annotations/reports/{sop_instance_uid}/undo",
    "/api/v1/cohorts",
    "/api/v1/cohorts/{name}",
    "/api/v1/cohorts/{name}/findings",
    "/api/v1/critical-results",
    "/api/v1/critical-results/{sop_instance_uid}",
    "/api/v1/critical-results/{sop_instance_uid}/acknowledge",
    "/api/v1/critical-results/{sop_instance_uid}/reopen",
    "/api/v1/deliveries",
    "/api/v1/deliveries/retry",
    "/api/v1/discrepancies",
    "/api/v1/drift",
    "/api/v1/drift/acknowledgements",
    "/api/v1/findings",
    "/api/v1/findings/count",
    "/api/v1/findings/facets",
    "/api/v1/follow-up",
    "/api/v1/follow-up.csv",
    "/api/v1/follow-up/counts",
    "/api/v1/follow-up/{item_id}",
    "/api/v1/follow-up/{item_id}/dismiss",
    "/api/v1/follow-up/{item_id}/reopen",
    "/api/v1/guidance",
    "/api/v1/pipelines",
    "/api/v1/pipelines/rollback",
    "/api/v1/pipelines/{name}/comparison",
    "/api/v1/pipelines/{name}/promote",
    "/api/v1/quality-measures",
    "/api/v1/recommendations",
    "/api/v1/reconciliations",
    "/api/v1/reconciliations/{number}",
    "/api/v1/reconciliations/{number}/fetch",
    "/api/v1/reconciliations/{number}/objects",
    "/api/v1/reports/{sop_instance_uid}",
    "/api/v1/reports/{sop_instance_uid}/changes",
    "/api/v1/reprocess",
    "/api/v1/status",
    "/api/v1/studies/{study_instance_uid}/findings",
    "/api/v1/studies/{study_instance_uid}/reports",
    "/api/v1/studies/{study_instance_uid}/series",
    "/api/v1/studies/{study_instance_uid}/timeline",
    "/healthz",
    "/metrics",
    "/readyz",
}
"""What is answered so far, beside the pages."""


@pytest.fixture
def document(empty_client):
    """The OpenAPI document."""
    response = empty_client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    return response.json()


STANDARDS = ("/dicom-web/", "/fhir/")
"""Beginnings of paths whose answers other standards describe: tests/dicomweb and test_fhir hold them to these."""


def operations(document):
    """(path, operation) of all that is this project's own."""
    return [
        (path, operation)
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if not path.startswith(STANDARDS)
    ]


def check(value, schema, document):
    """`value` is what `schema` of the OpenAPI document allows."""
    whole = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def test_openapi_document_is_valid(document):
    """By the OpenAPI 3.1 model, each schema by JSON Schema 2020-12, and each reference leads somewhere."""
    OpenAPI.model_validate(document)
    assert document["openapi"].startswith("3.1")
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert name in document["components"]["schemas"]


def test_openapi_document_lists_what_is_answered_and_no_more(document):
    """Routes of later days are not promised."""
    assert {path for path, _ in operations(document)} == PATHS


def test_every_route_has_a_summary_a_description_and_a_true_example(document):
    """Each example is what its own schema says."""
    for path, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path
        (done,) = [response for status, response in operation["responses"].items() if status[0] == "2"]
        if "content" not in done:
            continue
        ((_, content),) = [(media, content) for media, content in done["content"].items() if "example" in content]
        check(content["example"], content.get("schema", {}), document)
        assert content["example"], path


def test_examples_of_problems_are_true(document):
    """Each is of the schema Problem, and of the status it stands under."""
    count = 0
    for _, operation in operations(document):
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                for reason_code, example in content.get("examples", {}).items():
                    check(example["value"], content["schema"], document)
                    assert (example["value"]["reason_code"], str(example["value"]["status"])) == (reason_code, status)
                    count += 1
    assert count > 20


def test_answers_are_what_the_schemas_say(client, archive, document):
    """Real bodies against the document."""
    archive.add()
    archive.receive(instance=f"{archive.instance}.2")
    archive.index(f"{archive.instance}.3", series="1.2.4")
    filters = {"filters": {"concept": ["pulmonary_nodule"]}}
    assert client.request("PUT", "/api/v1/cohorts/mine", json=filters).status_code == 200
    # those of one thing that isn't here have tests of their own
    numbered = ("{item_id}", "{number}", "/critical-results/{", "/pipelines/{")
    for path in PATHS - {"/metrics", "/readyz", "/api/v1/follow-up.csv", "/api/v1/annotations/export"}:
        if "get" not in document["paths"][path] or any(part in path for part in numbered):
            continue
        asked = path.format(study_instance_uid=archive.study, sop_instance_uid=archive.instance, name="mine")
        content = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        check(client.get(asked).json(), content["schema"], document)


def test_schema_of_a_finding_has_the_keys_of_a_finding(client, archive, document):
    """The one is made from the record, the other by its to_json."""
    archive.add()
    (finding, _) = client.get(f"/api/v1/studies/{archive.study}/findings").json()["findings"]
    assert set(document["components"]["schemas"]["FindingOfStudy"]["properties"]) == set(finding)
    (report,) = client.get(f"/api/v1/studies/{archive.study}/reports").json()["reports"]
    assert set(document["components"]["schemas"]["ReportOfStudy"]["properties"]) == set(report)


class Links(HTMLParser):
    """Collects what a page refers to, and checks that its tags close."""

    def __init__(self):
        super().__init__()
        self.targets, self.ids, self.open, self.tags = [], set(), [], set()

    def handle_starttag(self, tag, attrs):
        """Note links and what is open."""
        given = dict(attrs)
        self.tags.add(tag)
        self.targets += [given[name] for name in ("href", "src") if name in given]
        self.ids |= {given["id"]} if "id" in given else set()
        assert not any(name.startswith("on") or name == "style" for name in given)
        if tag == "script":
            assert given["src"]
        if tag not in {"meta", "link", "input", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """What closes is what was opened last."""
        assert self.open.pop() == tag


@pytest.mark.parametrize("path", ["/", "/docs", "/search", "/follow-up", "/status", "/ledger", "/quarantine"])
def test_pages_need_nothing_from_elsewhere_and_their_links_lead_somewhere(empty_client, path):
    """No script, no style within the page (the policy forbids both), no other host."""
    response = empty_client.get(path)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = Links()
    page.feed(response.text)
    page.close()
    assert not page.open
    assert not page.tags & {"style", "iframe", "img"}
    for target in page.targets:
        if target.startswith("#"):
            assert target[1:] in page.ids
        else:
            assert target.startswith("/")
            assert not target.startswith("//")
            assert empty_client.get(target).status_code == 200


def test_documentation_page_shows_every_route_parameter_and_problem(empty_client, document):
    """Made from the document, so that it can't lag behind."""
    page = empty_client.get("/docs").text
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}</code>" in page
    for _, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert f"<code>{parameter['name']}</code>" in page
    for reason_code in KINDS:
        assert f'<tr id="{reason_code}">' in page


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("style.css", "text/css"), ("pages.js", "text/javascript"), ("icon.svg", "image/svg+xml")],
)
def test_files_of_the_pages_have_the_types_that_nosniff_asks_for(empty_client, name, media_type):
    """Kept by browsers for ever under the address with their digest, and asked for again under another."""
    response = empty_client.get(f"/static/{name}")
    assert response.headers["content-type"].split(";")[0] == media_type
    assert response.headers["cache-control"] == "no-cache"
    page = empty_client.get("/").text
    address = re.search(rf"/static/{re.escape(name)}\?v=[0-9a-f]{{12}}", page)[0]
    assert "immutable" in empty_client.get(address).headers["cache-control"]


@pytest.mark.parametrize("name", ["../app.py", "%2e%2e/app.py", "vendor", "absent.css", "/etc/passwd"])
def test_nothing_else_is_given_out_as_a_file(empty_client, name):
    """Only what is listed at the start: no path is ever put together."""
    assert empty_client.get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "reason_code"),
    [
        ("/?colour=red", 400, "unknown_parameter"),
        ("/?state=pending&state=failed", 400, "repeated_parameter"),
        ("/?state=bad", 422, "invalid_parameter"),
        ("/?lang=xx", 422, "invalid_parameter"),
        ("/?theme=pink", 422, "invalid_parameter"),
        ("/?find=" + "x" * 501, 422, "invalid_parameter"),
        ("/?after=!!", 400, "bad_request"),
        ("/ledger?from=yesterday", 422, "invalid_parameter"),
        ("/studies/1.2.3", 404, "not_found"),
        ("/studies/1.02.3", 404, "malformed_uid"),
        ("/no-such-page", 404, "no_such_path"),
    ],
)
def test_errors_are_pages_for_browsers_and_documents_for_programs(empty_client, path, status, reason_code):
    """The same status and reason code; neither repeats what was asked for."""
    page = empty_client.get(path, headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.status_code == status
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert f"<code>{reason_code}</code>" in page.text
    document = empty_client.get(path)
    assert (document.status_code, document.json()["reason_code"]) == (status, reason_code)


@pytest.mark.parametrize(
    "query",
    ["?q=' OR 1=1--", "?concept=' OR 1=1--", '?text="', "?text=NEAR(", "?patient_id=%25", "?min_size=nan", "?from=x"],
)
def test_searches_take_any_text_for_text(empty_client, query):
    """T19: an answer or an explanation, never an error of the database."""
    assert empty_client.get(f"/search{query}", headers={"Accept": "text/html"}).status_code in {200, 400, 422}


def test_preferences_are_kept_in_cookies_that_scripts_and_other_sites_do_not_get(empty_client):
    """By ?lang= and ?theme=, and only by these."""
    kept = empty_client.get("/?lang=zh&theme=dark").headers.get_list("set-cookie")
    assert sorted(c.split(";")[0] for c in kept) == ["lang=zh", "theme=dark"]
    assert all("HttpOnly" in c and "SameSite=strict" in c for c in kept)
    assert "set-cookie" not in empty_client.get("/").headers


def test_a_foreign_page_can_not_send_forms(empty_client):
    """T21: without the token of the form, or from another origin."""
    for path in ("/status/retry", "/search/cohorts", "/search/cohorts/forget", "/quarantine/assign"):
        for headers in ({}, {"Origin": "https://evil.example"}):
            answer = empty_client.request("POST", path, data={"name": "x"}, headers=headers)
            assert answer.json()["reason_code"] == "foreign_origin", path
    headers = empty_client.get("/").headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
