"""From a C-STORE into the running service to the archive and back, with Orthanc as the archive."""

import json
import shutil
import time
import urllib.request

import pytest
from support.archives import run_orthanc
from support.service import Service, make_report

from .conftest import CHINESE, TEXT

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(not shutil.which("Orthanc"), reason="Orthanc (Debian: orthanc, orthanc-dicomweb) is not here"),
]
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
SECONDS = 90


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A service that writes back by C-STORE and STOW-RS, and the archive."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "service").mkdir()
    service = Service(folder / "service")
    with run_orthanc(folder / "orthanc", destination=service.port) as orthanc:
        web = f"http://127.0.0.1:{orthanc.web_port}/dicom-web"
        with service.config.open("a") as file:
            file.write(
                f'[[pacs]]\nname = "dicom"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.port}\n'
                f'[[pacs]]\nname = "web"\nstow_url = "{web}"\n'
                '[write_back]\nto = ["dicom"]\n'
            )
        service.start()
        yield service, orthanc
        assert service.stop() == 0


def documents(orthanc):
    """The written documents that Orthanc has: its own number for each -> tags."""
    found = {number: orthanc.ask(f"/instances/{number}/simplified-tags") for number in orthanc.ask("/instances")}
    return {n: tags for n, tags in found.items() if tags["SOPClassUID"] == COMPREHENSIVE_SR}


def wait_for(look, wanted):
    """Until `look()` is `wanted`."""
    deadline = time.monotonic() + SECONDS
    while (found := look()) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def objects(service):
    """Counts by state."""
    return json.loads(service.get("/api/v1/status")[1])["objects"]


def test_findings_reach_the_archive_and_what_it_forwards_is_known(house):
    """By both ways, once each; what comes back, also with UIDs that the archive gave it, is kept and ends there."""
    service, orthanc = house
    service.wait_until_analysed()
    assert service.send([make_report(1, TEXT), make_report(2, CHINESE, patient_name="Wang^XiaoDong=王^小东")]) == [0, 0]
    wait_for(lambda: len(documents(orthanc)), 2)
    chinese = next(t for t in documents(orthanc).values() if t["StudyInstanceUID"].endswith(".2"))
    assert chinese["SpecificCharacterSet"] == "ISO_IR 192"
    assert chinese["PatientName"] == "Wang^XiaoDong=王^小东"
    assert "右肺上叶见结节" in json.dumps(chinese, ensure_ascii=False)

    # by command to the other name of the same archive: the same object, which it has already
    study = make_report(1, "").StudyInstanceUID
    told = [json.loads(line) for line in service.told("write-back", study, "--to", "web", "--json").splitlines()]
    assert [row.get("result") or row["state"] for row in told] == ["unchanged", "sent"]
    assert "nothing was to be sent" in service.told("write-back", study, "--to", "web")
    assert len(documents(orthanc)) == 2

    # all of it is forwarded; of one document a copy under other UIDs as well
    [first, *_] = documents(orthanc)
    body = json.dumps({"Replace": {"SOPInstanceUID": "1.2.840.99.1"}, "Force": True}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{orthanc.web_port}/instances/{first}/modify", body)
    with urllib.request.urlopen(request, timeout=30) as answer:
        copy = answer.read()
    stored = orthanc.ask("/instances", copy)
    assert stored["Status"] == "Success"
    orthanc.ask("/modalities/dicomnlp/store", json.dumps([*orthanc.ask("/instances")]).encode())
    wait_for(lambda: objects(service)["own"], 3)
    service.wait_until_analysed()
    assert objects(service)["analysed"] == 2
    assert {t["SOPInstanceUID"] for t in documents(orthanc).values()} == {
        *(row["document_uid"] for row in told if "document_uid" in row),
        chinese["SOPInstanceUID"],
        "1.2.840.99.1",
    }
