"""Objects made by others, sent by DCMTK to a running service: HTTP tells of each what `extract` reads in its file."""

import json
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from receive.conftest import Peer
from support.service import Service

from dicomnlp.errors import ObjectError
from dicomnlp.extract import read_file, read_identity

GOLD = Path(__file__).resolve().parents[2] / "../shared/gold"
# the system's own: a virtual environment may hold pynetdicom's programs of the same names
DCMSEND = shutil.which("dcmsend", path="/usr/bin:/usr/local/bin:/opt/homebrew/bin")

pytestmark = [
    pytest.mark.service,
    pytest.mark.dcmtk,
    pytest.mark.skipif(not GOLD.exists(), reason="the annotated sets are not here"),
    pytest.mark.skipif(DCMSEND is None, reason="DCMTK is not installed"),
]

BY_HAND = {
    # what dcmsend can't send goes over a socket as it is: file -> (status it must get, why dcmsend can't)
    "sr/made/dp_nested_20000_hostile.dcm": (0xC000, "dcmsend ends with a segmentation fault"),
    "sr/made/mf_truncated.dcm": (0xC000, "dcmsend finds a value cut short"),
    "sr/dcm4che/Tag-0040-A170-VR-CS.dcm": (0x0000, "dcmsend takes an element of CS for a sequence"),
    "sr/dwv/sr-arrow.dcm": (0xC000, "the object has no SOP Instance UID"),
    "sr/dwv/sr-ruler.dcm": (0xC000, "the object has no SOP Instance UID"),
}
NOT_OFFERED = {
    # waveforms, which aren't documents: no presentation context is accepted for them
    "sr/dicomParser/wave_dfl.dcm",
    "sr/pixelmed/1074466202.fixed.dcm",
}
QUARANTINED = {
    # a mesh whose Study Instance UID begins with 4, which is no arc of object identifiers
    "sr/orthanc-tests/Issue137.dcm",
}


@pytest.fixture(scope="module")
def names():
    """Every object of the two sets, in the order in which they are sent."""
    return [str(f.relative_to(GOLD)) for folder in ("sr", "charset") for f in sorted((GOLD / folder).rglob("*.dcm"))]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service of its own."""
    running = Service(tmp_path_factory.mktemp("gold")).start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def statuses(service, names):
    """Send everything, and wait until it is read: the status of what was sent by hand."""
    by_dcmsend = [str(GOLD / name) for name in names if name not in BY_HAND]
    # +f: data sets without meta information too; -nh: go on after a failure; -nuc: UIDs as they are
    done = subprocess.run(
        [DCMSEND, "-aec", "DICOMNLP", "+f", "-nh", "-nuc", "127.0.0.1", str(service.port), *by_dcmsend],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = {name: send_by_hand(service, GOLD / name) for name in BY_HAND}
    service.wait_until_analysed()
    return found


def send_by_hand(service, path):
    """C-STORE the bytes of a file as they are; the status."""
    content = read_file(path)
    sop_class_uid, sop_instance_uid = content.sop_class_uid, content.sop_instance_uid
    if not sop_class_uid:
        sop_class_uid = read_identity(content.data, content.transfer_syntax_uid).sop_class_uid
    peer = Peer(service.port)
    peer.associate((sop_class_uid, content.transfer_syntax_uid))
    uids = {"sop_class_uid": sop_class_uid, "sop_instance_uid": sop_instance_uid or "1.2.3.4.5"}
    status = peer.store(content.data, **uids).Status
    peer.release()
    return status


@pytest.fixture(scope="module")
def told(service, statuses, names):
    """What the service tells of each object under its SOP Instance UID: a list of versions, oldest first."""
    answers = {}
    for name in names:
        uid = instance_of(name)
        if uid and uid not in answers:
            status, body = service.get(f"/api/v1/reports/{uid}?all_versions=true")
            answers[uid] = json.loads(body)["reports"] if status == 200 else []
    return answers


def instance_of(name):
    """SOP Instance UID of a file's object; "" for one that has none, or can't be read."""
    content = read_file(GOLD / name)
    try:
        return read_identity(content.data, content.transfer_syntax_uid).sop_instance_uid
    except ObjectError:
        return ""


@pytest.fixture(scope="module")
def extracted(service, names):
    """What `dicomnlp extract --json` says of each file."""
    done = service.command("extract", "--json", *(GOLD / name for name in names))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(names)
    return dict(zip(names, lines, strict=True))


def said(record):
    """What must be the same on both ways, in a form that can be compared and looked up."""
    return json.dumps([record["text"] or "", record["character_set"], record["measurements"]], sort_keys=True)


def test_what_dcmtk_cannot_send_gets_the_status_that_it_must(statuses):
    """Refused where the object is cut, bottomless or nameless; taken where only DCMTK has a problem."""
    assert statuses == {name: status for name, (status, _) in BY_HAND.items()}


def test_http_tells_of_every_object_what_extract_reads_in_its_file(names, told, extracted):
    """Text, character set and coded measurements, through two encoders, a database and two processes."""
    different, compared = [], 0
    refused = {name for name, (status, _) in BY_HAND.items() if status}
    for name in names:
        if name in refused | NOT_OFFERED | QUARANTINED:
            continue
        compared += 1
        if said(extracted[name]) not in {said(report) for report in told[instance_of(name)]}:
            different.append(name)
    assert different == []
    assert compared == len(names) - len(refused | NOT_OFFERED | QUARANTINED) > 140


def test_http_tells_of_nothing_that_was_not_sent(names, told, extracted):
    """Each version under a SOP Instance UID is one of the files that share it."""
    of_files = defaultdict(set)
    for name in names:
        of_files[instance_of(name)].add(said(extracted[name]) if "text" in extracted[name] else "")
    for uid, reports in told.items():
        if not any(instance_of(name) == uid for name in QUARANTINED):
            assert {said(report) for report in reports} <= of_files[uid]


def test_objects_that_are_no_reports_or_belong_to_no_study_are_not_told_as_reports(told):
    """Waveforms aren't held at all; what is in quarantine has no text."""
    assert [told[instance_of(name)] for name in sorted(NOT_OFFERED)] == [[], []]
    for name in QUARANTINED:
        for report in told[instance_of(name)]:
            assert (report["state"], report["text"]) == ("quarantined", None)


def test_every_character_set_comes_through_the_network(told):
    """All are versions of one object, in the order of sending; each text is the one annotated."""
    rows = json.loads((GOLD / "charset/expected.json").read_text(encoding="utf-8"))
    versions = [report["text"] or "" for report in told[instance_of(f"charset/{rows[0]['file']}")]]
    assert len(versions) == len(rows)
    wrong = [
        row["file"]
        for row, text in zip(sorted(rows, key=lambda row: row["file"]), versions, strict=True)
        if "".join(row["expected_text"].split()) not in "".join(text.split())
    ]
    assert wrong == []
