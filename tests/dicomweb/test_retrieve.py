"""WADO-RS against a running service: originals in the transfer syntaxes asked for, metadata, text, binary values."""

import io
import xml.etree.ElementTree as ET

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from support.dicom_files import SYNTAXES, data_of, to_file
from support.service import ROOT_UID, make_report

from dicomnlp.model import Narrative, Processed, Report, State
from dicomnlp.store.queue import save_processed

PARTS = 'multipart/related; type="application/dicom"'
TEXT = "Lungs: <b>clear</b> & small.\nKeine Auffälligkeit."
STUDY = f"{ROOT_UID}.1.1"


def uids(number=1):
    """Of report `number`."""
    return STUDY, f"{ROOT_UID}.2.{number}", f"{ROOT_UID}.3.{number}"


def path_of(address, number=1):
    """Where report `number` is."""
    study, series, instance = uids(number)
    return f"{address}/dicom-web/studies/{study}/series/{series}/instances/{instance}"


def make(number=1, **values):
    """Report `number` of the study, with nested sequences and every kind of value."""
    report = make_report(number, TEXT, study=1, patient_name="Müller^Änne")
    report.PatientWeight, report.InstanceNumber = "70.5", number
    report.PregnancyStatus = 4
    for name, value in values.items():
        setattr(report, name, value)
    return report


def parts_of(response):
    """(headers, content) of the parts of an answer."""
    boundary = response.headers["content-type"].split('boundary="')[1].split('"')[0]
    found = response.content.split(f"--{boundary}".encode())[1:-1]
    return [tuple(part[2:-2].split(b"\r\n\r\n", 1)) for part in found]


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "deflated", "big endian"])
def test_dicomweb_client_retrieves_what_was_sent(client, receive, syntax):
    """Every element of it, whatever transfer syntax it came in."""
    report = make()
    receive(to_file(report, syntax))
    found = client.retrieve_instance(*uids(), media_types=(("application/dicom", str(ExplicitVRLittleEndian)),))
    assert found == report
    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "deflated", "big endian"])
def test_original_is_given_to_the_byte_where_its_syntax_is_taken(address, receive, syntax):
    """By "*", and by its own name."""
    file = to_file(make(), syntax)
    receive(file)
    for wanted in ("*", str(SYNTAXES[syntax])):
        response = httpx.get(path_of(address), headers={"Accept": f"{PARTS}; transfer-syntax={wanted}"})
        [(head, content)] = parts_of(response)
        assert f"transfer-syntax={SYNTAXES[syntax]}".encode() in head
        assert data_of(content) == data_of(file)


def test_explicit_vr_is_the_default_and_other_syntaxes_are_406(address, receive):
    """PS3.18 8.7.3.4; nothing is encoded in a syntax that it isn't in, explicit VR excepted."""
    receive(to_file(make(), "implicit"))
    default = httpx.get(path_of(address))
    assert default.headers["content-type"].startswith(PARTS)
    assert dcmread(io.BytesIO(parts_of(default)[0][1])).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    jpeg = httpx.get(path_of(address), headers={"Accept": f"{PARTS}; transfer-syntax=1.2.840.10008.1.2.4.50"})
    assert (jpeg.status_code, jpeg.json()["reason_code"]) == (406, "not_acceptable")
    own = httpx.get(path_of(address), headers={"Accept": f"{PARTS}; transfer-syntax={ImplicitVRLittleEndian}"})
    assert own.status_code == 200
    assert httpx.get(path_of(address), headers={"Accept": "image/jpeg"}).status_code == 406
    assert httpx.get(f"{path_of(address)}?accept=image/jpeg").status_code == 406


def test_single_instance_comes_without_parts_where_that_is_asked_for(address, receive):
    """application/dicom, of one instance."""
    receive(to_file(make()))
    response = httpx.get(path_of(address), headers={"Accept": "application/dicom"})
    assert response.headers["content-type"].startswith("application/dicom;")
    assert dcmread(io.BytesIO(response.content)) == make()
    receive(to_file(make(2)))
    of_two = httpx.get(f"{address}/dicom-web/studies/{STUDY}", headers={"Accept": "application/dicom"})
    assert of_two.status_code == 406


def test_study_and_series_are_retrieved_with_their_reports(client, receive):
    """All of a study, of one series; the current version of each."""
    receive(to_file(make()))
    receive(to_file(make(2, SeriesDescription="first")))
    receive(to_file(make(2, SeriesDescription="second")))
    found = client.retrieve_study(STUDY)
    assert [each.InstanceNumber for each in found] == [1, 2]
    [of_series] = client.retrieve_series(*uids(2)[:2])
    assert of_series.SeriesDescription == "second"


def test_metadata_is_all_that_the_object_says(client, receive):
    """Nested items, numbers, names in their own alphabet."""
    receive(to_file(make(), "big endian"))
    metadata = client.retrieve_instance_metadata(*uids())
    found = Dataset.from_json(metadata)
    assert found == make()
    assert metadata["00100010"]["Value"] == [{"Alphabetic": "Müller^Änne"}]
    assert metadata["00101030"]["Value"] == [70.5]
    assert len(client.retrieve_study_metadata(STUDY)) == len(client.retrieve_series_metadata(*uids()[:2])) == 1


def test_metadata_is_xml_where_that_is_asked_for(address, receive):
    """PS3.19 A.1, with what XML can't hold replaced."""
    receive(to_file(make()))
    wanted = 'multipart/related; type="application/dicom+xml"'
    response = httpx.get(f"{path_of(address)}/metadata", headers={"Accept": wanted})
    [(_, content)] = parts_of(response)
    root = ET.fromstring(content)
    namespace = {"n": "http://dicom.nema.org/PS3.19/models/NativeDICOM"}
    item = "n:DicomAttribute[@keyword='ContentSequence']/n:Item/n:DicomAttribute[@keyword='TextValue']/n:Value"
    assert root.find(item, namespace).text == TEXT


def test_encapsulated_document_is_bulk_data(client, address, receive):
    """Named in the metadata, fetched by that name, as bytes of no certain type that no browser shows."""
    report = make()
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    del report.ContentSequence
    report.MIMETypeOfEncapsulatedDocument = "text/html"
    report.EncapsulatedDocument = b"<script>alert(1)</script>" * 100
    receive(to_file(report, "implicit"))
    metadata = client.retrieve_instance_metadata(*uids())
    uri = metadata["00420011"]["BulkDataURI"]
    assert uri == f"{path_of(address)}/bulkdata/00420011"
    assert client.retrieve_bulkdata(uri) == [report.EncapsulatedDocument]
    response = httpx.get(uri, headers={"Accept": "*/*"})
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == "attachment"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "place", ["00420011", "00100020", "0040A730", "0040A730.1.0040A160", "x", "0040A730.9.00420011"]
)
def test_what_is_no_binary_value_is_not_there(address, receive, place):
    """404, also for a place that is none."""
    receive(to_file(make()))
    response = httpx.get(f"{path_of(address)}/bulkdata/{place}")
    assert (response.status_code, response.json()["reason_code"]) == (404, "not_found")


@pytest.fixture
def analysed(receive, database):
    """The report with its text as it was read."""
    receipt = receive(to_file(make()))
    from dicomnlp.extract.identity import read_identity

    identity = read_identity(data_of(to_file(make())), str(ExplicitVRLittleEndian))
    report = Report(identity, Narrative(TEXT), State.PENDING, title="Chest & <i>more</i>")
    save_processed(database, [Processed(receipt.object_id, State.NO_TEXT, "en-1", report)])


def test_text_is_rendered_for_people(address, analysed):
    """As plain text and as HTML in which nothing of the report is markup, of instance, series and study."""
    for path in (path_of(address), path_of(address).rsplit("/", 2)[0], f"{address}/dicom-web/studies/{STUDY}"):
        plain = httpx.get(f"{path}/rendered", headers={"Accept": "text/plain"})
        assert plain.text == f"Chest & <i>more</i>\n\n{TEXT}"
        page = httpx.get(f"{path}/rendered", headers={"Accept": "text/html"})
        assert "&lt;b&gt;clear&lt;/b&gt; &amp; small." in page.text
        assert "<b>" not in page.text
        assert "<i>" not in page.text
        assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert httpx.get(f"{path_of(address)}/rendered", headers={"Accept": "image/png"}).status_code == 406


def test_text_that_was_not_read_yet_is_not_there(address, receive):
    """404."""
    receive(to_file(make()))
    assert httpx.get(f"{path_of(address)}/rendered").status_code == 404


@pytest.mark.parametrize("what", ["", "/metadata", "/bulkdata/00420011"])
def test_unchanged_originals_are_304(address, receive, what):
    """Without reading them again; a new version is another answer."""
    report = make()
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    report.EncapsulatedDocument = b"ab"
    receive(to_file(report))
    first = httpx.get(path_of(address) + what)
    again = httpx.get(path_of(address) + what, headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    report.EncapsulatedDocument = b"cd"
    receive(to_file(report))
    changed = httpx.get(path_of(address) + what, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200


@pytest.mark.parametrize("what", ["", "/metadata", "/rendered", "/bulkdata/00420011"])
def test_what_is_not_held_is_404(address, receive, what):
    """Another study's instance too; a UID that is none."""
    receive(to_file(make()))
    for path in (path_of(address, 9), path_of(address).replace(STUDY, "1.2.3"), f"{path_of(address)}x"):
        response = httpx.get(path + what)
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"


def test_images_of_which_only_the_header_is_held_are_said_to_be_elsewhere(address, index):
    """404 that tells why."""
    image = make()
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    index(to_file(image))
    response = httpx.get(path_of(address))
    assert response.status_code == 404
    assert "only the headers are held" in response.json()["detail"]
