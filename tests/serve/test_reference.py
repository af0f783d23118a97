"""docs/reference/http-api.md says what is so."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.drifted import count_weeks

from dicomnlp.serve import gate, protocol, web
from dicomnlp.serve.problems import KINDS
from dicomnlp.store.traffic import Count, add_traffic

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "http-api.md"
TRAFFIC = [
    ("associations", "released"),
    ("association_seconds", ""),
    ("bytes", ""),
    ("rejections", "local_limit_exceeded"),
    ("objects", "stored"),
    ("refusals", "unreadable"),
    ("store_seconds", ""),
    ("store_seconds_bucket", "0.01"),
]


@pytest.fixture(scope="module")
def page():
    """Its text."""
    return PAGE.read_text(encoding="utf-8")


def test_page_lists_the_paths_that_are_answered(page, empty_client):
    """Those of the OpenAPI document and of the pages, and no others."""
    document = empty_client.get("/openapi.json").json()
    listed = set(re.findall(r"`([A-Z]+ /[^`]*)`", page.split("## Paths")[1].split("## Query")[0]))
    answered = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    # of DICOMweb and FHIR there are pages of their own, held against them by tests/dicomweb/test_documentation.py and
    # tests/serve/test_fhir.py
    answered = {each for each in answered if " /dicom-web" not in each and " /fhir/" not in each}
    login = {"GET /login", "POST /login", "POST /logout", "GET /login/provider", "GET /login/callback"}
    assert listed == answered | login | {"GET /", "GET /docs", "GET /openapi.json"}


def test_page_lists_the_query_parameters(page, empty_client):
    """All, and no others."""
    document = empty_client.get("/openapi.json").json()
    known = {
        p["name"]
        for path, methods in document["paths"].items()
        if not path.startswith(("/dicom-web", "/fhir/"))
        for operation in methods.values()
        for p in operation.get("parameters", [])
        if p["in"] == "query"
    }
    table = page.split("## Query parameters")[1].split("## Search")[0]
    names = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(names))) == known


def test_page_lists_every_problem_with_its_status(page):
    """As the program sends them."""
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", page, re.MULTILINE)
    assert {reason_code: int(status) for reason_code, status in rows} == {k: v.status for k, v in KINDS.items()}


def test_page_lists_every_metric_with_its_labels(page, client, archive):
    """Of an archive in which there is one of each."""
    archive.add()
    archive.receive(instance="1.2.3.9", keep=False)
    object_id = archive.receive(instance="1.2.3.10").object_id
    archive.fail(object_id)
    count_weeks(archive.database)
    client.get("/healthz")
    add_traffic(archive.database, {Count("PACS", measure, label): 1.0 for measure, label in TRAFFIC})
    found = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if family.name.startswith("dicomnlp_") and not sample.name.endswith("_created"):
                name = re.sub(r"_(bucket|sum|count)$", "", sample.name)
                found.setdefault(name, set()).update(set(sample.labels) - {"le"})
    table = page.split("## Metrics")[1]
    listed = {}
    for names, labels in re.findall(r"^\| (`dicomnlp_[^|]*) \|([^|]*)\|", table, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            listed[name] = set(re.findall(r"`(\w+)`", labels))
    assert listed == found


def test_page_tells_the_limits_as_they_are(page):
    """Body, head, and time for a request."""
    assert f"a body above {gate.MAXIMUM_BODY_BYTES // 1024} KiB" in page
    assert f"head is above {web.MAXIMUM_HEADER_BYTES // 1024} KiB" in page
    assert f"within {protocol.REQUEST_SECONDS:.0f} seconds" in page
