"""Each row of the public contract, docs/reference/interface.md, against a running service."""

import csv
import io
import json
import subprocess
import sys
import urllib.parse

import httpx
import pytest
from support.dicom_files import body_of, to_file
from support.service import ROOT_UID, Service, make_report, write_report

pytestmark = pytest.mark.service

TEXT = (
    "HISTORY: Cough.\nFINDINGS: A 6 mm nodule in the right upper lobe, previously 4 mm. No pleural effusion.\n"
    "IMPRESSION: Growing nodule. Recommend follow-up CT in 6 months."
)
STUDY, INSTANCE = f"{ROOT_UID}.1.1", f"{ROOT_UID}.3.1"
FIELDS = {
    "id", "study_instance_uid", "sop_instance_uid", "concept", "text", "start", "end", "sentence", "section",
    "assertion", "is_negated", "is_uncertain", "is_historical", "is_hypothetical", "is_family", "cues", "anatomy",
    "laterality", "severity", "change", "measurements", "critical", "language", "pipeline", "analysed_at",
}  # fmt: skip
"""Of a finding, as the contract shows one."""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A running service with three reports of a patient each, one of them refused."""
    running = Service(tmp_path_factory.mktemp("interface")).start()
    reports = [make_report(1, TEXT), make_report(2, "FINDINGS: Large left pleural effusion.", patient_id="T-2")]
    broken = make_report(3, "x")
    del broken.StudyInstanceUID
    assert running.send([*reports, broken]) == [0x0000, 0x0000, 0xC000]
    running.wait_until_analysed()
    yield running
    assert running.stop() == 0


def said(service, *arguments, code=0):
    """Standard output of a command that ends with `code`."""
    done = service.command(*arguments)
    assert done.returncode == code, done.stderr
    return done.stdout


def told(service, path, status=200):
    """The JSON that a path answers."""
    found, body = service.get(path)
    assert found == status, body
    return json.loads(body)


# --- configuration and the parts


def test_configuration_keys_are_those_of_the_contract(service):
    """With these names and defaults, in the file and in the environment."""
    from dicomnlp.config import Settings

    settings = Settings()
    assert (settings.listener.ae_title, settings.listener.host, settings.listener.port) == (
        "DICOMNLP",
        "127.0.0.1",
        11112,
    )
    assert settings.listener.processes == 1
    assert settings.database.url == "sqlite:///var/dicomnlp.db"
    assert (settings.work.workers, settings.work.scheduler) == (0, "")
    assert (settings.web.host, settings.web.port) == ("127.0.0.1", 8080)
    command = [sys.executable, "-m", "dicomnlp", "--config", str(service.config), "check"]
    done = subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin", "DICOMNLP_LISTENER__AE_TITLE": "THIS TITLE IS TOO LONG"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "ae_title" in done.stderr + done.stdout


def test_ready_line_names_the_addresses(service):
    """One line `ready`, when associations and requests are taken."""
    [line] = [line for line in service.stdout.read_text().splitlines() if line.startswith("ready")]
    assert f"web=http://127.0.0.1:{service.web_port}" in line
    assert f":{service.port}" in line


@pytest.mark.parametrize("command", ["serve", "listen", "work", "web"])
def test_parts_are_commands_of_their_own(service, command):
    """That they run is shown by the service that asks here, which runs each as a process."""
    assert "Usage" in said(service, command, "--help")


def test_import_takes_files_by_the_same_intake(service, tmp_path):
    """And `findings` has what they say."""
    write_report(make_report(11, "FINDINGS: Pneumothorax."), tmp_path / "report.dcm")
    said(service, "import", tmp_path)
    service.wait_until_analysed()
    found = json.loads(said(service, "findings", f"{ROOT_UID}.1.11", "--json"))
    assert [f["concept"]["id"] for f in found] == ["pneumothorax"]


# --- commands


def test_extract_prints_what_an_object_says(service, tmp_path):
    """Every field of the contract."""
    file = write_report(make_report(1, TEXT), tmp_path / "report.dcm")
    found = json.loads(said(service, "extract", file, "--json"))
    expected = {
        "sop_instance_uid", "sop_class_uid", "study_instance_uid", "patient_id", "accession_number", "title",
        "completion_flag", "verification_flag", "preliminary_flag", "language", "character_set", "text", "sections",
        "items", "measurements", "evidence", "predecessors", "warnings",
    }  # fmt: skip
    flat = set(found) | set(found.get("identity", {}))
    assert expected <= flat
    assert "6 mm nodule" in found["text"]


def test_analyse_prints_a_line_for_each_input(service, tmp_path):
    """In the same order; the fields of the contract; spans that are given are judged whatever the lexicon knows."""
    file = tmp_path / "texts.jsonl"
    second = {"id": "b", "text": "No zorblax is seen.", "targets": [{"start": 3, "end": 10}]}
    file.write_text("".join(json.dumps(line) + "\n" for line in ({"id": "a", "text": TEXT}, second)))
    lines = [json.loads(line) for line in said(service, "analyse", file, "--json").splitlines()]
    assert [line["id"] for line in lines] == ["a", "b"]
    expected = {"id", "language", "text", "sections", "findings", "measurements", "recommendations", "scores", "labels"}
    assert expected | {"warnings"} <= set(lines[0])
    [zorblax] = lines[1]["findings"]
    assert (zorblax["text"], zorblax["assertion"]) == ("zorblax", "absent")
    assert lines[0]["recommendations"][0]["interval_days_min"] > 0


def test_findings_of_a_study_by_command(service):
    """With each of its filters and forms."""
    found = json.loads(said(service, "findings", STUDY, "--json"))
    assert {("pulmonary_nodule", "present"), ("pleural_effusion", "absent")} <= {
        (f["concept"]["id"], f["assertion"]) for f in found
    }
    absent = json.loads(said(service, "findings", STUDY, "--assertion", "absent", "--json"))
    assert {f["assertion"] for f in absent} == {"absent"}
    nodules = json.loads(said(service, "findings", STUDY, "--concept", "pulmonary_nodule", "--json"))
    assert {f["concept"]["id"] for f in nodules} == {"pulmonary_nodule"}
    assert len(json.loads(said(service, "findings", STUDY, "--all-versions", "--json"))) >= len(found)
    rows = list(csv.reader(io.StringIO(said(service, "findings", STUDY, "--csv"))))
    assert len(rows) == len(found) + 1


@pytest.mark.parametrize("uid", [STUDY, INSTANCE])
def test_report_is_shown_in_the_terminal(service, uid):
    """By study or by SOP instance."""
    assert "6 mm nodule" in said(service, "report", uid)


def test_search_by_command(service):
    """With each option of the contract, together."""
    options = {
        "--concept": "pulmonary_nodule",
        "--assertion": "present",
        "--laterality": "right",
        "--anatomy": "lung",
        "--min-size": "5",
        "--from": "2026-01-01",
        "--to": "2026-12-31",
        "--text": "growing nodule",
    }
    asked = ["search", *(word for pair in options.items() for word in pair)]
    found = json.loads(said(service, *asked, "--json"))
    assert [f["study_instance_uid"] for f in found] == [STUDY]
    assert "1" in said(service, *asked, "--count")
    assert len(list(csv.reader(io.StringIO(said(service, *asked, "--csv"))))) == 2
    assert json.loads(said(service, "search", "--modality", "MG", "--json")) == []


def test_reprocess_by_command(service):
    """By UID, and by each other selection; the same pipeline finds the same."""
    for selection in (["--outdated"], ["--failed"], [INSTANCE]):
        said(service, "reprocess", *selection)
    before = json.loads(said(service, "findings", STUDY, "--json"))
    said(service, "reprocess", STUDY)
    service.wait_until_analysed()
    after = json.loads(said(service, "findings", STUDY, "--json"))
    drop = {"id", "analysed_at"}
    assert [{k: v for k, v in f.items() if k not in drop} for f in after] == [
        {k: v for k, v in f.items() if k not in drop} for f in before
    ]


def test_status_and_failures_by_command(service):
    """Counts by state; what was refused, with its reason; another try."""
    status = json.loads(said(service, "status", "--json"))
    assert status["objects"]["analysed"] >= 2
    assert "no_study_instance_uid" in said(service, "failures")
    said(service, "failures", "--retry")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "fhir"])
def test_export_by_command(service, tmp_path, form):
    """Of what filters choose, with identities and without."""
    for number, more in enumerate([[], ["--deidentify"]]):
        out = tmp_path / f"out{number}.{form}"
        said(service, "export", "--format", form, "--out", out, "--concept", "pulmonary_nodule", *more)
        assert out.stat().st_size > 0
        if more and form != "parquet":
            assert "T-1" not in out.read_text()


def test_label_by_command(service, tmp_path):
    """One column a label."""
    reports = tmp_path / "reports.csv"
    reports.write_text('id,text\n1,"Large pleural effusion. No pneumothorax."\n')
    out = tmp_path / "labels.csv"
    said(service, "label", reports, "--set", "chexpert14", "--out", out)
    [row] = csv.DictReader(io.StringIO(out.read_text()))
    assert row["Pleural Effusion"].startswith("1")
    assert row["Pneumothorax"].startswith("0")


def test_evaluate_by_command(service, tmp_path):
    """Scores against annotations."""
    gold = tmp_path / "gold.jsonl"
    effusion = {"start": 3, "end": 11, "assertion": "absent"}
    gold.write_text(json.dumps({"id": "1", "text": "No effusion.", "language": "en", "findings": [effusion]}) + "\n")
    assert said(service, "evaluate", gold)


def test_administration_by_command(service, tmp_path):
    """Database, keys, audit trail, check, language packs."""
    said(service, "db", "upgrade")
    said(service, "db", "check")
    said(service, "db", "backup", tmp_path / "backup.db")
    key = said(service, "keys", "add", "viewer", "--role", "reader").strip().split()[-1]
    assert len(key) > 40
    assert "viewer" in said(service, "keys", "list")
    said(service, "keys", "revoke", "viewer")
    assert said(service, "audit", "show")
    said(service, "audit", "verify")
    assert "en" in said(service, "languages")
    checked = service.command("check")
    assert "configuration" in (checked.stdout + checked.stderr).lower()


# --- HTTP


def test_findings_of_a_study_over_http(service):
    """Every field of the contract, offsets that are true, filters by the names of `search`, an entity tag."""
    [report] = told(service, f"/api/v1/studies/{STUDY}/reports")["reports"]
    found = told(service, f"/api/v1/studies/{STUDY}/findings")["findings"]
    for finding in found:
        assert set(finding) >= FIELDS
        assert report["text"][finding["start"] : finding["end"]] == finding["text"]
    nodule = next(f for f in found if f["concept"]["id"] == "pulmonary_nodule")
    assert (nodule["laterality"], nodule["section"], nodule["anatomy"]["id"]) == (
        "right",
        "findings",
        "right_upper_lobe",
    )
    assert {(m["values"][0], m["unit"], m["temporality"]) for m in nodule["measurements"]} == {
        (6.0, "mm", "current"),
        (4.0, "mm", "prior"),
    }
    absent = told(service, f"/api/v1/studies/{STUDY}/findings?assertion=absent&concept=pleural_effusion")["findings"]
    assert [f["is_negated"] for f in absent] == [True]
    address = f"http://127.0.0.1:{service.web_port}/api/v1/studies/{STUDY}/findings"
    tag = httpx.get(address).headers["etag"]
    assert httpx.get(address, headers={"If-None-Match": tag}).status_code == 304


def test_reports_over_http(service):
    """Of a study and by their own UID, with sections."""
    [report] = told(service, f"/api/v1/studies/{STUDY}/reports")["reports"]
    assert {"findings", "impression"} <= {section["name"] for section in report["sections"]}
    assert told(service, f"/api/v1/reports/{INSTANCE}")["reports"][0]["text"] == report["text"]


def test_search_over_http_page_by_page(service):
    """In one order; `next` leads on."""
    whole = told(service, "/api/v1/findings")["findings"]
    page, pages = told(service, "/api/v1/findings?limit=1"), []
    while True:
        pages += page["findings"]
        if page["next"] is None:
            break
        page = told(service, f"/api/v1/findings?limit=1&after={urllib.parse.quote(page['next'])}")
    assert [f["id"] for f in pages] == [f["id"] for f in whole]


def test_recommendations_status_and_reprocess_over_http(service):
    """What is to be followed up; where the service stands; another analysis."""
    assert told(service, "/api/v1/recommendations")["recommendations"]
    assert told(service, "/api/v1/status")["objects"]["analysed"] >= 2
    address = f"http://127.0.0.1:{service.web_port}/api/v1/reprocess"
    assert httpx.post(address, json={"uids": [STUDY]}).status_code == 202
    service.wait_until_analysed()


def test_fhir_over_http(service):
    """Reports by study, observations, what is supported."""
    reports = told(service, f"/fhir/DiagnosticReport?identifier={STUDY}")
    assert [entry["resource"]["resourceType"] for entry in reports["entry"]] == ["DiagnosticReport"]
    assert told(service, "/fhir/Observation?code=427359005")["resourceType"] == "Bundle"
    assert told(service, "/fhir/metadata")["resourceType"] == "CapabilityStatement"


def test_dicomweb_over_http(service):
    """In by STOW-RS, found by QIDO-RS."""
    report = make_report(21, "FINDINGS: Cardiomegaly.")
    content, headers = body_of(to_file(report))
    address = f"http://127.0.0.1:{service.web_port}/dicom-web/studies"
    assert httpx.post(address, content=content, headers=headers).status_code == 200
    [study] = told(service, f"/dicom-web/studies?StudyInstanceUID={report.StudyInstanceUID}")
    assert study["00201208"]["Value"] == [1]
    service.wait_until_analysed()
    assert told(service, f"/api/v1/studies/{report.StudyInstanceUID}/findings")["findings"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs"])
def test_operation_over_http(service, path):
    """Liveness, readiness, Prometheus, the description."""
    assert service.get(path)[0] == 200


@pytest.mark.parametrize("path", ["/", f"/studies/{STUDY}", "/search", "/follow-up", "/status"])
def test_pages_over_http(service, path):
    """HTML."""
    status, body = service.get(path)
    assert status == 200
    assert body.lstrip().lower().startswith("<!doctype html>")


def test_errors_over_http_are_problem_documents(service):
    """RFC 9457; the UID is echoed only when it is one."""
    unknown = told(service, "/api/v1/studies/1.2.3.4/findings", 404)
    assert {"type", "title", "status", "detail"} <= set(unknown)
    assert "1.2.3.4" in unknown["detail"]
    assert "zorblax" not in service.get("/api/v1/studies/zorblax/findings")[1]


def test_exit_codes(service):
    """0 done, 1 something failed and it says what, 2 wrong usage."""
    failed = service.command("findings", "1.2.3.4")
    assert failed.returncode == 1
    assert "1.2.3.4" in failed.stderr
    assert failed.stdout == ""
    assert service.command("findings").returncode == 2
