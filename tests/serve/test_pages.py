"""The description of the interface, for programs and for people."""

import json
import re
from html.parser import HTMLParser

import jsonschema
import pytest
from fastapi.openapi.models import OpenAPI

from dicomnlp.serve.problems import KINDS

PATHS = {
    "/api/v1/studies/{study_instance_uid}/findings",
    "/api/v1/studies/{study_instance_uid}/reports",
    "/api/v1/studies/{study_instance_uid}/series",
    "/api/v1/findings",
    "/api/v1/findings/count",
    "/api/v1/findings/facets",
    "/api/v1/recommendations",
    "/api/v1/cohorts",
    "/api/v1/cohorts/{name}",
    "/api/v1/cohorts/{name}/findings",
    "/api/v1/reprocess",
    "/api/v1/reports/{sop_instance_uid}",
    "/api/v1/reports/{sop_instance_uid}/changes",
    "/api/v1/status",
    "/healthz",
    "/readyz",
    "/metrics",
}
"""What is answered so far, beside the pages."""


@pytest.fixture
def document(empty_client):
    """The OpenAPI document."""
    response = empty_client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    return response.json()


def operations(document):
    """(path, operation) of all."""
    return [(path, operation) for path, methods in document["paths"].items() for operation in methods.values()]


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
    assert set(document["paths"]) == PATHS


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
    for path in PATHS - {"/metrics", "/readyz", "/api/v1/reprocess"}:
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
        if tag not in {"meta", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """What closes is what was opened last."""
        assert self.open.pop() == tag


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_need_nothing_from_elsewhere_and_their_links_lead_somewhere(empty_client, path):
    """No script, no style in the page (the policy forbids both), no other host."""
    response = empty_client.get(path)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = Links()
    page.feed(response.text)
    page.close()
    assert not page.open
    assert not page.tags & {"script", "style", "iframe", "img"}
    for target in page.targets:
        if target.startswith("#"):
            assert target[1:] in page.ids
        else:
            assert target.startswith("/")
            # readyz is red here: no dispatcher runs in this test
            assert empty_client.get(target).status_code == (503 if target == "/readyz" else 200)


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


def test_style_sheet_is_one(empty_client):
    """With the type that a browser asks for under nosniff."""
    response = empty_client.get("/style.css")
    assert response.headers["content-type"].startswith("text/css")
    assert "main {" in response.text
