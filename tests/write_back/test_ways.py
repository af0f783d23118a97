"""The ways to an archive: DICOM over TLS, STOW-RS, FHIR."""

import io
import json

import pytest
import sqlalchemy as sa
from fhir.resources.R4B.bundle import Bundle
from pydicom import dcmread
from support.certificates import Certificates
from support.service import make_report

from dicomnlp.config import TLSSettings
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.store.schema_delivery import delivery
from dicomnlp.work.writing_back import WritingBack

from .conftest import CHINESE, Taker, note, server_context

OTHER_TEXT = "FINDINGS: A 9 mm nodule in the left lower lobe."


def begin(hospital, table, **tables):
    """The duty, when it has begun."""
    hospital.connect(table, **tables)
    duty = WritingBack(hospital.settings, hospital.database)
    duty.run()
    return duty


def settle(duty):
    """Run until there is nothing more to do."""
    while duty.run():
        pass


def state_of(hospital):
    """(state, reason) of the only delivery."""
    with hospital.database.read() as connection:
        [row] = connection.execute(sa.select(delivery.c.state, delivery.c.reason_code))
    return tuple(row)


@pytest.fixture
def certificates(tmp_path):
    """Of an archive, of this service, and of nobody."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    made = Certificates(folder)
    made.issue("archive", "127.0.0.1")
    made.issue("server")
    return made


def test_documents_go_to_an_archive_over_tls(hospital, certificates):
    """It shows its certificate, and is shown ours."""
    taker = Taker()
    taker.start(server_context(certificates))
    try:
        table = taker.table(tls=True, ca=str(certificates.authority_file))
        duty = begin(hospital, table, tls=TLSSettings(**certificates.table()))
        hospital.report(1)
        settle(duty)
    finally:
        taker.stop()
    assert [d.StudyInstanceUID for d in taker.objects] == [make_report(1, "").StudyInstanceUID]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_archive_that_is_not_trusted_gets_nothing(hospital, certificates, tmp_path):
    """Its certificate is of another authority."""
    (tmp_path / "others").mkdir()
    others = Certificates(tmp_path / "others")
    taker = Taker()
    taker.start(server_context(certificates))
    try:
        table = taker.table(tls=True, ca=str(others.authority_file))
        duty = begin(hospital, table, tls=TLSSettings(**certificates.table()))
        hospital.report(1)
        settle(duty)
    finally:
        taker.stop()
    assert taker.objects == []
    state, reason = state_of(hospital)
    assert state == "waiting"
    assert reason in {"pacs_unreachable", "pacs_aborted", "pacs_tls"}


# --- STOW-RS


def failed(reason):
    """A Store Instances Response in which one object failed."""
    return {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [reason]}}]}}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, {"00081199": {"vr": "SQ", "Value": [{}]}}), ("sent", None)),
        ((202, {"00081199": {"vr": "SQ", "Value": [{}]}}), ("sent", None)),  # a warning
        ((200, []), ("sent", None)),  # an archive that answers nothing of use
        ((202, failed(0xC000)), ("waiting", "status_c000")),
        ((409, failed(0xA700)), ("waiting", "status_a700")),
        ((409, {}), ("waiting", "http_409")),
        ((503, {}), ("waiting", "pacs_busy")),
        ((401, {}), ("waiting", "pacs_not_authorized")),
        ((500, {}), ("waiting", "pacs_failed")),
    ],
)
def test_documents_go_by_stow_rs(hospital, web_server, answer, expected):
    """One file a request, with the Authorization of the archive; each answer counts as what it means."""
    secret = hospital.folder / "token"
    secret.write_text("Bearer of-tidings\n")
    secret.chmod(0o600)
    duty = begin(hospital, PacsSettings(name="web", stow_url=web_server.url, authorization_file=str(secret)))
    web_server.answers = [answer]
    hospital.report(1)
    settle(duty)
    [(path, headers, body)] = web_server.posted
    assert path == "/base/studies"
    assert headers["Authorization"] == "Bearer of-tidings"
    assert headers["Content-Type"].startswith('multipart/related; type="application/dicom"; boundary=')
    boundary = headers["Content-Type"].rpartition("=")[2].encode()
    head, _, rest = body.partition(b"\r\n\r\n")
    assert head == b"--" + boundary + b"\r\nContent-Type: application/dicom"
    document = dcmread(io.BytesIO(rest.removesuffix(b"\r\n--" + boundary + b"--\r\n")))
    assert document.StudyInstanceUID == make_report(1, "").StudyInstanceUID
    assert state_of(hospital) == expected


# --- FHIR


def bundles(server):
    """What was posted, each a valid transaction."""
    found = []
    for path, headers, body in server.posted:
        assert (path, headers["Content-Type"]) == ("/base", "application/fhir+json")
        found.append(json.loads(body))
        bundle = json.loads(body)
        for entry in bundle["entry"]:
            # the library knows modifier extensions of resources only by their own definition
            entry["resource"].pop("modifierExtension", None)
        assert Bundle.model_validate(bundle).type == "transaction"
    return found


def said(bundle):
    """(resource type, words of the code, status) of each entry."""
    return [
        (e["resource"]["resourceType"], e["resource"]["code"].get("text"), e["resource"]["status"])
        for e in bundle["entry"]
        if e["resource"]["resourceType"] == "Observation"
    ]


@pytest.fixture
def by_fhir(hospital, web_server):
    """The duty of a hospital with a FHIR server."""
    return begin(hospital, PacsSettings(name="ehr", fhir_url=web_server.url))


def test_findings_go_to_a_fhir_server_as_a_transaction(hospital, by_fhir, web_server):
    """Of conditional updates of our own resources; nobody else's are in it."""
    hospital.report(1, CHINESE)
    settle(by_fhir)
    [bundle] = bundles(web_server)
    kinds = {e["resource"]["resourceType"] for e in bundle["entry"]}
    assert kinds == {"DiagnosticReport", "Observation"}
    assert {e["request"]["method"] for e in bundle["entry"]} == {"PUT"}
    urls = [e["request"]["url"] for e in bundle["entry"]]
    assert len(set(urls)) == len(urls)
    assert all(u.startswith(("DiagnosticReport?identifier=urn", "Observation?identifier=urn")) for u in urls)
    for entry in bundle["entry"]:
        resource = entry["resource"]
        assert resource["identifier"][0]["value"].startswith(make_report(1, "").SOPInstanceUID)
        assert resource["subject"]["identifier"]["value"] == "T-1"
        assert "reference" not in resource["subject"]
    report = bundle["entry"][0]["resource"]
    full_urls = {e["fullUrl"] for e in bundle["entry"]}
    assert {r["reference"] for r in report["result"]} <= full_urls


def test_what_is_denied_is_said_to_be_denied(hospital, by_fhir, web_server):
    """By the same mapping as everywhere."""
    hospital.report(1)
    settle(by_fhir)
    [bundle] = bundles(web_server)
    [denied] = [e["resource"] for e in bundle["entry"] if "No Pneumothorax" in json.dumps(e["resource"])]
    assert denied["interpretation"][0]["coding"][0]["code"] == "NEG"
    assert denied["modifierExtension"]


def test_a_correction_marks_what_is_no_longer_said(hospital, by_fhir, web_server):
    """As entered in error; and nothing is sent twice."""
    hospital.report(1, "FINDINGS: A 6 mm nodule in the right upper lobe.")
    settle(by_fhir)
    hospital.report(2, OTHER_TEXT, study=1, predecessors=[make_report(1, "")])
    settle(by_fhir)
    settle(by_fhir)
    first, second = bundles(web_server)
    assert [status for *_, status in said(first)] == ["preliminary"]
    in_error = [e["request"]["url"] for e in second["entry"] if e["resource"]["status"] == "entered-in-error"]
    assert in_error == [e["request"]["url"] for e in first["entry"]]


def test_a_withdrawn_report_is_marked_as_entered_in_error(hospital, by_fhir, web_server):
    """All that was said of it."""
    hospital.report(1)
    settle(by_fhir)
    hospital.receive(note(make_report(1, "")))
    settle(by_fhir)
    first, second = bundles(web_server)
    assert [e["request"]["url"] for e in second["entry"]] == [e["request"]["url"] for e in first["entry"]]
    assert {e["resource"]["status"] for e in second["entry"]} == {"entered-in-error"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, ("sent", None)), (422, ("waiting", "http_422")), (503, ("waiting", "pacs_busy"))],
)
def test_each_answer_of_a_fhir_server_counts_as_what_it_means(hospital, by_fhir, web_server, status, expected):
    """R4 3.1.0.11."""
    web_server.answers = [(status, {})]
    hospital.report(1)
    settle(by_fhir)
    assert state_of(hospital) == expected
