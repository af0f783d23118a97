"""FHIR: resources that are valid R4, searches that find what they ask, errors as outcomes."""

import re
from pathlib import Path

import pytest
from fhir.resources.R4B import get_fhir_model_class

from dicomnlp.serve.fhir_query import PARAMETERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "fhir.md"
OTHER_STUDY, OTHER_INSTANCE = "1.2.826.0.1.3680043.10.543.2", "1.2.826.0.1.3680043.10.543.2.1"


def valid(resource):
    """The resource, once fhir.resources has taken it and everything in it."""
    get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    for entry in resource.get("entry", ()):
        valid(entry["resource"])
    return resource


@pytest.fixture
def ask(client):
    """GET below /fhir; the answer is valid FHIR whatever it is."""
    return asking(client)


def asking(client):
    """What `ask` gives, of a client."""

    def get(path, status=200, **arguments):
        response = client.get(f"/fhir/{path}", **arguments)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/fhir+json"
        return valid(response.json())

    return get


@pytest.fixture(scope="module")
def two_reports(make_archive):
    """Asks an archive of two reports that no test changes."""
    client, archive = make_archive()
    archive.add()
    archive.add(OTHER_STUDY, OTHER_INSTANCE)
    return asking(client)


def found(bundle):
    """Ids of the resources in a bundle."""
    return [e["resource"]["id"] for e in bundle.get("entry", ())]


def test_report_is_found_by_study_uid(ask, archive):
    """However a client writes it; and by its own UID and accession number."""
    archive.add()
    archive.add(OTHER_STUDY, OTHER_INSTANCE)
    for written in (archive.study, f"urn:oid:{archive.study}", f"urn:dicom:uid|urn:oid:{archive.study}"):
        bundle = ask("DiagnosticReport", params={"identifier": written})
        assert found(bundle) == [archive.instance]
        assert bundle["total"] == 1
    assert found(ask("DiagnosticReport", params={"identifier": OTHER_INSTANCE})) == [OTHER_INSTANCE]
    assert found(ask(f"DiagnosticReport?identifier={archive.study},{OTHER_STUDY}")) == [
        OTHER_INSTANCE,
        archive.instance,
    ]
    assert found(ask("DiagnosticReport?identifier=1.2.3")) == []
    assert found(ask(f"DiagnosticReport?identifier=http://other.example|{archive.study}")) == []


def test_report_refers_to_resources_that_can_be_read(ask, archive):
    """Observations, study and patient."""
    archive.add()
    archive.index("1.2.3.4", series="1.2.3")
    report = ask(f"DiagnosticReport/{archive.instance}")
    references = [report["subject"], *report["imagingStudy"], *report["result"]]
    resources = [ask(r["reference"]) for r in references]
    assert [r["resourceType"] for r in resources] == ["Patient", "ImagingStudy", "Observation", "Observation"]
    study = resources[1]
    assert (study["status"], study["numberOfInstances"], study["series"][0]["modality"]["code"]) == (
        "available",
        1,
        "MG",
    )
    for observation in resources[2:]:
        assert observation["derivedFrom"] == report["imagingStudy"]
        assert observation["subject"] == report["subject"]


def test_what_is_denied_is_never_found_by_the_code_of_the_finding(ask, archive):
    """Not by SNOMED CT, not by the concept's id, with a system or without; only by a code that says so."""
    archive.add()
    for code in ("http://snomed.info/sct|41699000", "41699000", "effusion", "urn:dicomnlp:concept|effusion"):
        assert found(ask("Observation", params={"code": code})) == []
    for code in ("absent-effusion", "urn:dicomnlp:absent-finding|absent-effusion"):
        [entry] = ask("Observation", params={"code": code})["entry"]
        observation = entry["resource"]
        assert observation["modifierExtension"] == [{"url": "urn:dicomnlp:assertion", "valueCode": "absent"}]
        assert "41699000" not in str(observation)
        assert observation["interpretation"][0]["coding"][0]["code"] == "NEG"
        assert observation["code"]["text"].startswith("No ")
    for code in ("http://snomed.info/sct|27925004", "27925004", "nodule", "urn:dicomnlp:concept|nodule"):
        [entry] = ask("Observation", params={"code": code})["entry"]
        assert "modifierExtension" not in entry["resource"]


SEARCHES = [
    # resource and parameters, numbers of the studies whose reports are found
    ("DiagnosticReport?status=unknown", 2),
    ("DiagnosticReport?status=final,amended", 0),
    ("DiagnosticReport?code=18748-4", 2),
    ("DiagnosticReport?code=http://loinc.org|18748-4", 2),
    ("DiagnosticReport?code=http://snomed.info/sct|18748-4", 0),
    ("DiagnosticReport?date=ge2020-01-01", 0),  # the reports have no date
    ("DiagnosticReport?_lastUpdated=ge2020", 2),
    ("DiagnosticReport?_lastUpdated=lt2020-05-01T00:00:00Z", 0),
    ("DiagnosticReport?_id=1.2.826.0.1.3680043.10.543.1.1", 1),
    ("DiagnosticReport?_id=nobody", 0),
    ("DiagnosticReport?patient=Patient/p1", 2),
    ("DiagnosticReport?subject=p1&patient=p2", 0),
    ("DiagnosticReport?patient=p2", 0),  # the second object, but the patient's number is that of the first
    ("DiagnosticReport?patient=Patient/Quetzalcoatlus", 0),
    ("DiagnosticReport?identifier=Quetzalcoatlus", 2),  # accession number
    ("Observation?value-concept=present", 2),
    ("Observation?value-concept=absent,present", 4),
    ("Observation?value-concept=http://snomed.info/sct|410516002", 2),
    ("Observation?value-concept=nothing", 0),
    ("Observation?derived-from=ImagingStudy/1.2.826.0.1.3680043.10.543.2", 2),
    ("Observation?patient=p1&code=nodule", 2),
    ("Observation?_id=f1,f3", 2),
    ("Observation?_id=1", 0),
    ("ImagingStudy?identifier=1.2.826.0.1.3680043.10.543.2", 1),
    ("ImagingStudy?_id=1.2.826.0.1.3680043.10.543.2,1.2.826.0.1.3680043.10.543.1", 2),
    ("ImagingStudy?patient=p1", 2),
    ("ImagingStudy?modality=CT", 0),
    ("Patient", 1),
    ("Patient?identifier=Quetzalcoatlus", 1),
    ("Patient?identifier=somebody", 0),
    ("Patient?_id=p1", 1),
    ("Patient?_id=p2", 0),
]


@pytest.mark.parametrize(("asked", "number"), SEARCHES)
def test_searches_find_what_fits_all_parameters(two_reports, asked, number):
    """Two reports of one patient, of two studies, with a present and an absent finding each."""
    bundle = two_reports(asked)
    assert len(found(bundle)) == bundle["total"] == number
    assert len(set(found(bundle))) == number


@pytest.mark.parametrize("resource", ["DiagnosticReport", "Observation", "ImagingStudy"])
def test_pages_follow_one_another(ask, archive, resource):
    """Link by link, each resource once, until there is no next."""
    for number in range(5):
        archive.add(f"{archive.study}.{number}", f"{archive.instance}.{number}")
    every = found(ask(resource))
    collected, path = [], f"{resource}?_count=2"
    for _ in range(10):
        bundle = ask(path)
        collected += found(bundle)
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        if not following:
            break
        assert len(found(bundle)) == 2
        path = following[0].split("/fhir/")[1]
    assert collected == every
    assert len(every) == (10 if resource == "Observation" else 5)
    assert "entry" not in ask(f"{resource}?_count=0")


WRONG = [
    # path, headers, status, code of the issue
    ("DiagnosticReport?colour=red", {}, 400, "invalid"),
    ("DiagnosticReport?code:not=1", {}, 400, "invalid"),
    ("DiagnosticReport?code:not=1", {"Prefer": "handling=lenient"}, 400, "invalid"),
    ("DiagnosticReport?identifier=", {}, 400, "invalid"),
    ("DiagnosticReport?identifier=%00", {}, 400, "invalid"),
    ("DiagnosticReport?identifier=" + "1" * 5000, {}, 400, "invalid"),
    ("DiagnosticReport?date=tomorrow", {}, 400, "invalid"),
    ("DiagnosticReport?date=2026-13-01", {}, 400, "invalid"),
    ("DiagnosticReport?date=9999", {}, 400, "invalid"),
    ("DiagnosticReport?date=ge2026-01-01,le2026-02-01", {}, 400, "invalid"),
    ("DiagnosticReport?status=good", {}, 400, "invalid"),
    ("DiagnosticReport?_count=many", {}, 400, "invalid"),
    ("DiagnosticReport?after=x", {}, 400, "invalid"),
    ("DiagnosticReport?_format=xml", {}, 406, "not-supported"),
    ("DiagnosticReport", {"Accept": "application/fhir+xml"}, 406, "not-supported"),
    ("DiagnosticReport/1.2.3", {}, 404, "not-found"),
    ("DiagnosticReport/nothing", {}, 404, "not-found"),
    ("Observation/1", {}, 404, "not-found"),
    ("Observation/f99999", {}, 404, "not-found"),
    ("Patient/p99999", {}, 404, "not-found"),
    ("Patient/p1?x=y", {}, 400, "invalid"),
    ("ImagingStudy/1.2.3", {}, 404, "not-found"),
    ("Medication", {}, 404, "not-found"),
    ("Patient/" + "1" * 65, {}, 400, "invalid"),
]


@pytest.mark.parametrize(("path", "headers", "status", "code"), WRONG)
def test_errors_are_outcomes_that_repeat_nothing(two_reports, path, headers, status, code):
    """R4 2.33; the reason code is that of the problem documents elsewhere."""
    outcome = two_reports(path, status, headers=headers)
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["code"] == code
    assert "colour" not in str(outcome)
    assert "tomorrow" not in str(outcome)


def test_unknown_parameters_are_passed_over_where_the_client_prefers_it(ask, archive):
    """And the link `self` says which were looked at."""
    archive.add()
    bundle = ask("DiagnosticReport?colour=red&code=&status=unknown", headers={"Prefer": "handling=lenient"})
    assert len(bundle["entry"]) == 1
    [link] = bundle["link"]
    assert link["url"].endswith("/fhir/DiagnosticReport?status=unknown")


def test_other_methods_are_refused_with_an_outcome(client):
    """Nothing is written over FHIR."""
    response = client.request("POST", "/fhir/Observation", headers={"content-length": "0"})
    assert response.status_code == 405
    assert valid(response.json())["issue"][0]["code"] == "not-supported"


def test_version_is_the_entity_tag(client, archive):
    """It stays while the resource says the same, and a client that holds it is spared the rest."""
    archive.add()
    path = f"/fhir/DiagnosticReport/{archive.instance}"
    first = client.get(path)
    tag = first.headers["etag"]
    assert tag == f'W/"{first.json()["meta"]["versionId"]}"'
    spared = client.get(path, headers={"If-None-Match": tag})
    assert (spared.status_code, spared.content) == (304, b"")
    assert client.get(path, headers={"If-None-Match": 'W/"other"'}).status_code == 200


def test_metadata_lists_what_is_answered(ask, client):
    """Each resource with its parameters, and no other."""
    statement = ask("metadata")
    assert statement["fhirVersion"] == "4.0.1"
    [rest] = statement["rest"]
    listed = {r["type"]: {p["name"] for p in r["searchParam"]} for r in rest["resource"]}
    assert listed.keys() == PARAMETERS.keys()
    for resource, names in listed.items():
        assert names == set(PARAMETERS[resource]) - {"_count", "_format", "after"}
        for name in names:
            # none has a value in common with what is held, so that each is read and finds nothing
            value = {"date": "1900", "started": "1900", "_lastUpdated": "1900", "status": "cancelled"}.get(name, "zz")
            assert ask(f"{resource}?{name}={value}")["total"] == 0
    document = client.get("/openapi.json").json()
    paths = {p for p in document["paths"] if p.startswith("/fhir/")}
    assert paths == {"/fhir/metadata"} | {f"/fhir/{r}" for r in listed} | {f"/fhir/{r}/{{identifier}}" for r in listed}
    for path in paths:
        valid(document["paths"][path]["get"]["responses"]["200"]["content"]["application/fhir+json"]["example"])


def test_superseded_reports_are_not_served(ask, archive):
    """A new version of the object takes the place of the old one."""
    archive.add(text="FINDINGS: A nodule. No effusion.")
    [before] = found(ask("Observation?code=nodule"))
    archive.add(data=b"other bytes", text="FINDINGS: The nodule is seen. No effusion.")
    [after] = found(ask("Observation?code=nodule"))
    assert before != after
    assert ask(f"Observation/{before}", 404)


def test_page_lists_what_is_served(client):
    """Paths and search parameters of docs/reference/fhir.md are those of the program."""
    page = PAGE.read_text(encoding="utf-8")
    listed = set(re.findall(r"`(GET /fhir/[^`?]*)`", page.split("## Paths")[1].split("## Search")[0]))
    document = client.get("/openapi.json").json()
    assert listed == {f"GET {path}" for path in document["paths"] if path.startswith("/fhir/")}
    rows = re.findall(r"^\| (\w+) \| (`[^|]*`) \|", page.split("## Search")[1].split("## Mapping")[0], re.MULTILINE)
    told = {resource: set(re.findall(r"`([\w-]+)`", names)) for resource, names in rows}
    assert told == {resource: set(p) - {"_format"} for resource, p in PARAMETERS.items()}
