"""STOW-RS against a running service: what is taken, what is refused and how that is said, and its limits."""

import gzip
import socket
import time
from xml.etree import ElementTree as ET

import httpx
import pytest
import sqlalchemy as sa
from dicomweb_client.api import DICOMwebClient
from support.dicom_files import body_of, data_of, deflated_bomb, to_file
from support.service import make_report

from dicomnlp.serve import dicomweb_store, gate
from dicomnlp.store.schema import ledger, original, sop_instance

FAILED, STORED, OTHER = "00081198", "00081199", "0008119A"


def rows(database, table, *columns):
    """All rows of `table`, by id."""
    with database.read() as connection:
        return [
            tuple(row) for row in connection.execute(sa.select(*(table.c[c] for c in columns)).order_by(table.c[0]))
        ]


def post(address, *files, path="/dicom-web/studies", **headers):
    """Store files by one request."""
    content, own = body_of(*files)
    return httpx.post(address + path, content=content, headers={**own, **headers}, timeout=30)


def reasons(response, sequence=FAILED):
    """Failure reasons of a response."""
    return [item["00081197"]["Value"][0] for item in response.json().get(sequence, {}).get("Value", [])]


def test_dicomweb_client_stores_reports(client, database):
    """Two studies with one request: kept to the byte, by the door that says so, and named in the answer."""
    reports = [make_report(1, "A nodule."), make_report(2, "No effusion.")]
    module = client.store_instances(reports)
    assert [item.ReferencedSOPInstanceUID for item in module.ReferencedSOPSequence] == [
        report.SOPInstanceUID for report in reports
    ]
    assert "FailedSOPSequence" not in module
    assert rows(database, sop_instance, "sop_instance_uid", "door", "state") == [
        (report.SOPInstanceUID, "stow", "pending") for report in reports
    ]
    assert rows(database, ledger, "outcome", "peer_address", "door") == [("stored", "127.0.0.1", "stow")] * 2


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "deflated", "big endian"])
def test_bytes_are_kept_as_they_came(address, database, syntax):
    """Whatever transfer syntax the file is in."""
    file = to_file(make_report(1, "A nodule."), syntax)
    assert post(address, file).status_code == 200
    assert rows(database, original, "data") == [(data_of(file),)]


def test_stored_is_durable_with_the_answer(address, database):
    """The answer of 200 is read while the ledger has the row already."""
    response = post(address, to_file(make_report(1, "A nodule.")))
    assert response.status_code == 200
    assert rows(database, ledger, "outcome") == [("stored",)]
    [item] = response.json()[STORED]["Value"]
    assert item["00081190"]["Value"][0].startswith(f"{address}/dicom-web/studies/")


def test_same_object_again_is_stored_still(address, database):
    """A duplicate is a success to its sender, and one object."""
    file = to_file(make_report(1, "A nodule."))
    assert [post(address, file).status_code for _ in range(2)] == [200, 200]
    assert len(rows(database, sop_instance, "id")) == 1
    assert rows(database, ledger, "outcome") == [("stored",), ("duplicate",)]


def test_some_that_fail_are_told_with_202(address, database):
    """One good, one random, one image, one that says another class than its data set."""
    image = make_report(3, "x")
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    other = make_report(4, "x")
    other.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"
    other_file = to_file(other).replace(b"1.2.840.10008.5.1.4.1.1.88.11", b"1.2.840.10008.5.1.4.1.1.88.22", 1)
    response = post(address, to_file(make_report(1, "A nodule.")), b"random" * 100, to_file(image), other_file)
    assert response.status_code == 202
    assert len(response.json()[STORED]["Value"]) == 1
    assert reasons(response) == [0x0122, 0xA900]
    assert reasons(response, OTHER) == [0xC000]
    assert rows(database, ledger, "outcome", "reason_code") == [
        ("stored", None),
        ("refused", "not_dicom"),
        ("refused", "sop_class_not_supported"),
        ("refused", "identity_mismatch"),
    ]


def test_none_stored_is_409(address, database):
    """With why."""
    report = make_report(1, "x")
    del report.StudyInstanceUID
    response = post(address, to_file(report))
    assert response.status_code == 409
    assert reasons(response) == [0xC000]
    assert rows(database, ledger, "outcome", "reason_code") == [("quarantined", "no_study_instance_uid")]


def test_object_of_another_study_than_the_address_is_refused(address, database):
    """409, A900; the one of the study is taken."""
    mine, other = make_report(1, "x"), make_report(2, "x")
    path = f"/dicom-web/studies/{mine.StudyInstanceUID}"
    response = post(address, to_file(other), path=path)
    assert response.status_code == 409
    assert reasons(response) == [0xA900]
    assert rows(database, ledger, "reason_code") == [("study_mismatch",)]
    assert rows(database, sop_instance, "id") == []
    both = post(address, to_file(other), to_file(mine), path=path)
    assert both.status_code == 202
    assert [item["00081155"]["Value"] for item in both.json()[STORED]["Value"]] == [[mine.SOPInstanceUID]]


def test_answer_is_xml_where_that_is_asked_for(address):
    """The Native DICOM Model."""
    response = post(address, to_file(make_report(1, "x")), accept="application/dicom+xml")
    assert response.headers["content-type"] == "application/dicom+xml"
    root = ET.fromstring(response.content)
    namespace = {"n": "http://dicom.nema.org/PS3.19/models/NativeDICOM"}
    assert root.find("n:DicomAttribute[@keyword='ReferencedSOPSequence']/n:Item", namespace) is not None


def test_client_that_takes_neither_form_is_told_before_anything_is_stored(address, database):
    """406."""
    response = post(address, to_file(make_report(1, "x")), accept="text/html")
    assert (response.status_code, response.json()["reason_code"]) == (406, "not_acceptable")
    assert rows(database, ledger, "id") == []


@pytest.mark.parametrize(
    ("content", "content_type", "status", "reason_code"),
    [
        (b"", 'multipart/related; type="application/dicom"; boundary=part', 400, "bad_request"),
        (b"--part--\r\n", 'multipart/related; type="application/dicom"; boundary=part', 400, "bad_request"),
        (b"x" * 10000, 'multipart/related; type="application/dicom"; boundary=part', 400, "bad_request"),
        # cut off before its last boundary
        (body_of(b"DICM")[0][:-8], 'multipart/related; type="application/dicom"; boundary=part', 400, "bad_request"),
        (b"--part\r\nno field\r\n\r\nx\r\n--part--", 'multipart/related; boundary="part"', 400, "bad_request"),
        (b"--part\r\nA: " + b"a" * 9999, "multipart/related; boundary=part", 400, "bad_request"),
        (b"--part\r\n\r\nx\r\n--part--", "multipart/related", 400, "bad_request"),
        (b"--part\r\n\r\nx\r\n--part--", f"multipart/related; boundary={'b' * 71}", 400, "bad_request"),
        (b"{}", "application/json", 415, "unsupported_media_type"),
        # as a page of anywhere could have sent it
        (b"", "", 403, "foreign_origin"),
        (b"x", 'multipart/related; type="application/dicom+json"; boundary=part', 415, "unsupported_media_type"),
        (body_of(b"x", content_type="image/jpeg")[0], body_of()[1]["Content-Type"], 415, "unsupported_media_type"),
    ],
)
def test_malformed_body_is_a_problem_and_stores_nothing(address, database, content, content_type, status, reason_code):
    """400 where it isn't parts, 415 where it is something else; what says nothing of itself is refused before."""
    response = httpx.post(f"{address}/dicom-web/studies", content=content, headers={"Content-Type": content_type})
    assert (response.status_code, response.json()["reason_code"]) == (status, reason_code)
    assert rows(database, sop_instance, "id") == []


def test_what_was_stored_before_the_body_breaks_is_told(address, database):
    """202: the first object is there, and the sender learns that the rest couldn't be read."""
    content, headers = body_of(to_file(make_report(1, "x")), to_file(make_report(2, "x")))
    response = httpx.post(f"{address}/dicom-web/studies", content=content[:-20], headers=headers)
    assert response.status_code == 202
    assert len(response.json()[STORED]["Value"]) == 1
    assert reasons(response, OTHER) == [0xC000]
    assert len(rows(database, sop_instance, "id")) == 1


def test_object_above_the_limit_is_refused_alone(address, database):
    """A700 for the large one, though its request has room for many such."""
    large = make_report(1, "x" * 1200000)
    response = post(address, to_file(large), to_file(make_report(2, "x")))
    assert response.status_code == 202
    assert reasons(response) == [0xA700]
    assert rows(database, ledger, "reason_code") == [("object_too_large",), (None,)]


def test_chunked_body_is_taken(address):
    """Programs that don't know the length beforehand."""
    content, headers = body_of(to_file(make_report(1, "x")))

    def chunks():
        for n in range(0, len(content), 100):
            yield content[n : n + 100]

    response = httpx.post(f"{address}/dicom-web/studies", content=chunks(), headers=headers)
    assert response.status_code == 200


def exchange(address, head, body=b""):
    """What comes back on a bare connection, and what is sent of `body`; the connection ends."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as s:
        s.sendall(head.encode())
        sent = 0
        try:
            while sent < len(body):
                sent += s.send(body[sent : sent + 65536])
        except OSError:
            pass
        answer = b""
        try:
            while part := s.recv(65536):
                answer += part
        except OSError:
            pass
    return answer, sent


def test_t32_four_gigabytes_are_refused_at_their_announcement(address):
    """413 before a byte of the body, and the connection ends."""
    started = time.monotonic()
    head = (
        "POST /dicom-web/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4294967296\r\n"
        "Content-Type: multipart/related; boundary=part\r\n\r\n"
    )
    answer, _ = exchange(address, head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"reason_code": "body_too_large"' in answer
    assert b"connection: close" in answer.lower()
    assert time.monotonic() - started < 10


def test_t32_chunked_body_ends_at_the_limit(address, monkeypatch):
    """As many bytes as the limit are read of what has no announced length."""
    monkeypatch.setattr(dicomweb_store, "MAXIMUM_STORE_BYTES", 1 << 20)
    head = (
        "POST /dicom-web/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
        "Content-Type: multipart/related; boundary=part\r\n\r\n"
    )
    begins = b"--part\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"%x\r\n%b\r\n" % (len(begins), begins) + (b"10000\r\n" + bytes(65536) + b"\r\n") * 64
    answer, _ = exchange(address, head, body)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("path", ["/dicom-web/studies", "/api/v1/reprocess"])
def test_t32_compressed_bodies_are_not_taken(address, database, path):
    """A gigabyte of zeros packs to a megabyte: nothing is unpacked, and nothing grows."""
    content, headers = body_of(to_file(make_report(1, "x")))
    packed = gzip.compress(content + bytes(1 << 24))
    headers = {**headers, "Content-Encoding": "gzip"}
    response = httpx.post(address + path, content=packed, headers=headers)
    assert (response.status_code, response.json()["reason_code"]) == (415, "unsupported_content_coding")
    assert response.headers["accept-encoding"] == "identity"
    assert rows(database, ledger, "id") == []


def test_t32_deflate_bomb_ends_at_the_cap(address, database):
    """A data set of the deflated transfer syntax that inflates to 64 MB with a limit of one."""
    response = post(address, deflated_bomb(1 << 26))
    assert response.status_code == 409
    assert rows(database, ledger, "outcome", "reason_code") == [("refused", "deflate_bomb")]


def test_other_paths_take_no_large_bodies(address):
    """Only where objects are stored."""
    for path in ("/dicom-web/studiesX", "/dicom-web", "/api/v1/reprocess"):
        content = bytes(gate.MAXIMUM_BODY_BYTES + 1)
        response = httpx.post(address + path, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code == 413


def test_query_parameters_are_not_taken(address):
    """A misspelt one would be without effect."""
    response = post(address, to_file(make_report(1, "x")), path="/dicom-web/studies?study=1.2")
    assert (response.status_code, response.json()["reason_code"]) == (400, "unknown_parameter")


def test_client_class_is_the_one_that_is_tested():
    """The peer in these tests is a client of other people's making."""
    assert DICOMwebClient.__module__.startswith("dicomweb_client")
