"""QIDO-RS against a running service, asked by dicomweb-client: matching, levels, what is answered, paging."""

import xml.etree.ElementTree as ET

import httpx
import pytest
from pydicom.dataset import Dataset
from support.dicom_files import body_of, to_file
from support.service import ROOT_UID, make_report

STUDIES = [f"{ROOT_UID}.1.{n}" for n in range(5)]


def make_image(number, study, **values):
    """The file of a CT image without pixels."""
    image = make_report(number, "x", study=study)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    image.SeriesInstanceUID = f"{ROOT_UID}.2.900"
    image.Modality, image.SeriesNumber, image.BodyPartExamined = "CT", 7, "CHEST"
    for name, value in values.items():
        setattr(image, name, value)
    return to_file(image)


@pytest.fixture
def held(receive, index):
    """Three studies: two of a report each, one of a report and two images; the oldest first."""
    described = [
        {"StudyDate": "20260101", "StudyTime": "0800", "StudyDescription": "Chest [PA]", "AccessionNumber": "A_1"},
        {"StudyDate": "20260201", "StudyTime": "1200", "StudyDescription": "CHEST CT", "AccessionNumber": "A%1"},
        {"StudyDate": "20260301", "StudyTime": "235959", "StudyDescription": "胸部CT", "AccessionNumber": "AX1"},
    ]
    for number, values in enumerate(described):
        report = make_report(number, "x", patient_name=f"DOE^JANE{number}", patient_id=f"P-{number}")
        report.ReferringPhysicianName, report.SeriesDescription = "Referrer^One", "Reports"
        for name, value in values.items():
            setattr(report, name, value)
        receive(to_file(report))
    for number in (50, 51):
        values = {**described[2], "PatientID": "P-2", "InstanceNumber": number}
        index(make_image(number, 2, **values))


def studies(client, **filters):
    """Numbers of the studies that fit."""
    found = client.search_for_studies(search_filters=filters)
    return [STUDIES.index(each["0020000D"]["Value"][0]) for each in found]


def test_studies_come_the_newest_first_with_all_that_is_required(client, held):
    """Table 10.6.3-3 of PS3.18, as far as the header has it; numbers of what is related are counted."""
    newest, *others = client.search_for_studies()
    assert len(others) == 2
    study = Dataset.from_json(newest)
    assert (study.StudyInstanceUID, study.StudyDate, study.StudyTime) == (STUDIES[2], "20260301", "235959")
    assert (study.PatientName, study.PatientID, study.PatientSex) == ("DOE^JANE2", "P-2", "F")
    assert (study.PatientBirthDate, study.AccessionNumber, study.StudyID) == ("19600101", "AX1", "1")
    assert (study.ReferringPhysicianName, study.StudyDescription) == ("Referrer^One", "胸部CT")
    assert list(study.ModalitiesInStudy) == ["CT", "SR"]
    assert (study.NumberOfStudyRelatedSeries, study.NumberOfStudyRelatedInstances) == (2, 3)
    # two of its three instances are only headers here
    assert study.InstanceAvailability == "UNAVAILABLE"
    assert study.RetrieveURL == f"{client.base_url}/studies/{STUDIES[2]}"
    assert Dataset.from_json(others[0]).InstanceAvailability == "ONLINE"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"StudyDate": "20260201"}, [1]),
        ({"StudyDate": "20260115-20260215"}, [1]),
        ({"StudyDate": "20260201-"}, [2, 1]),
        ({"StudyDate": "-20260201"}, [1, 0]),
        ({"00080020": "20260101"}, [0]),
        ({"StudyTime": "1200"}, [1]),
        ({"StudyTime": "08-12"}, [1, 0]),
        ({"StudyTime": "120000-120000"}, [1]),
        ({"StudyTime": "1201-"}, [2]),
        ({"PatientID": "P-1"}, [1]),
        ({"PatientID": "P-*"}, [2, 1, 0]),
        ({"PatientID": "P-?"}, [2, 1, 0]),
        ({"PatientID": "P-??"}, []),
        ({"PatientID": "p-1"}, []),  # with regard to case (PS3.4 C.2.2.2.1)
        ({"PatientID": "p-*"}, []),
        ({"PatientID": "*"}, [2, 1, 0]),
        ({"PatientID": ""}, [2, 1, 0]),
        # SQL's wild cards and GLOB's brackets are only characters
        ({"AccessionNumber": "A_1"}, [0]),
        ({"AccessionNumber": "A_*"}, [0]),
        ({"AccessionNumber": "A%*"}, [1]),
        ({"AccessionNumber": "A?1"}, [2, 1, 0]),
        ({"StudyDescription": "*[PA]"}, [0]),
        ({"StudyDescription": "*[AP]*"}, []),
        ({"StudyDescription": "CHEST*"}, [1]),
        ({"StudyDescription": "胸?CT"}, [2]),
        ({"ModalitiesInStudy": "CT"}, [2]),
        ({"ModalitiesInStudy": "CT,SR"}, [2, 1, 0]),
        ({"ModalitiesInStudy": "MR"}, []),
        # of a study that has both, though no instance is of both
        ({"ModalitiesInStudy": "CT", "PatientSex": "F", "PatientBirthDate": "19600101"}, [2]),
        ({"StudyInstanceUID": STUDIES[0]}, [0]),
        ({"StudyInstanceUID": f"{STUDIES[0]},{STUDIES[2]},1.2.3"}, [2, 0]),
        ({"StudyInstanceUID": f"{STUDIES[0]}\\{STUDIES[2]}"}, [2, 0]),
        ({"PatientID": "P-1", "StudyDate": "20260101"}, []),
        ({"PatientName": "*"}, [2, 1, 0]),
    ],
)
def test_studies_are_matched_as_the_standard_says(client, held, filters, expected):
    """PS3.4 C.2.2.2: single values, ranges, wild cards, lists, universal matching; all must fit."""
    assert studies(client, **filters) == expected


@pytest.mark.parametrize(
    ("query", "reason_code"),
    [
        ("PatientName=DOE", "bad_request"),  # names are in no table: leaving it out would answer all patients
        ("ReferringPhysicianName=X*", "bad_request"),
        ("Modality=CT", "bad_request"),  # of series
        ("StudyDate=yesterday", "bad_request"),
        ("StudyDate=2026-01-01", "bad_request"),
        ("StudyDate=-", "bad_request"),
        ("StudyTime=noon", "bad_request"),
        ("StudyInstanceUID=1.2.x", "bad_request"),
        ("StudyInstanceUID=" + ",".join(f"1.{n}" for n in range(501)), "bad_request"),
        ("limit=0", "bad_request"),
        ("limit=-1", "bad_request"),
        ("limit=many", "bad_request"),
        ("offset=1e3", "bad_request"),
        ("offset=99999999999", "bad_request"),
        ("fuzzymatching=perhaps", "bad_request"),
        ("includefield=Nonsense", "bad_request"),
        ("includefield=", "bad_request"),
        ("includefield=PatientID,", "bad_request"),
        ("Nonsense=1", "unknown_parameter"),
        ("99990000=1", "unknown_parameter"),
        ("ReferencedSeriesSequence.SeriesInstanceUID=1.2", "unknown_parameter"),
        ("PatientID=1&PatientID=2", "repeated_parameter"),
        ("PatientID=1&00100020=2", "repeated_parameter"),
        ("limit=1&limit=2", "repeated_parameter"),
    ],
)
def test_what_can_not_be_matched_is_refused(address, query, reason_code):
    """400, never an answer with more than was asked for; and nothing of the request is repeated."""
    response = httpx.get(f"{address}/dicom-web/studies?{query}")
    assert (response.status_code, response.json()["reason_code"]) == (400, reason_code)
    assert "DOE" not in response.text
    assert "Nonsense" not in response.text


def test_series_and_instances_of_a_study(client, held):
    """Below a study without its attributes, and over all studies with them."""
    series = client.search_for_series(STUDIES[2])
    assert [each["00080060"]["Value"][0] for each in series] == ["SR", "CT"]
    report, images = (Dataset.from_json(each) for each in series)
    assert (report.SeriesDescription, report.NumberOfSeriesRelatedInstances) == ("Reports", 1)
    assert (images.SeriesNumber, images.NumberOfSeriesRelatedInstances) == (7, 2)
    assert "RetrieveURL" not in images
    assert "PatientID" not in report
    of_all = [Dataset.from_json(each) for each in client.search_for_series()]
    assert len(of_all) == 4
    assert {each.PatientID for each in of_all} == {"P-0", "P-1", "P-2"}

    instances = [Dataset.from_json(each) for each in client.search_for_instances(STUDIES[2])]
    assert [each.InstanceAvailability for each in instances] == ["ONLINE", "UNAVAILABLE", "UNAVAILABLE"]
    assert [each.InstanceNumber for each in instances[1:]] == [50, 51]
    assert len(client.search_for_instances(STUDIES[2], images.SeriesInstanceUID)) == 2
    assert len(client.search_for_instances()) == 5


@pytest.mark.parametrize(
    ("filters", "number"),
    [
        ({"Modality": "CT"}, 2),
        ({"InstanceNumber": "50"}, 1),
        ({"SeriesNumber": "7"}, 2),
        ({"BodyPartExamined": "CH*"}, 2),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11"}, 3),
        ({"ContentDate": "20260102"}, 3),
        ({"SOPInstanceUID": f"{ROOT_UID}.3.0,{ROOT_UID}.3.50"}, 2),
        ({"ModalitiesInStudy": "CT", "Modality": "SR"}, 1),
        ({"PatientID": "P-2"}, 3),
    ],
)
def test_instances_are_matched_at_their_level_and_above(client, held, filters, number):
    """Attributes of instance, series and study."""
    assert len(client.search_for_instances(search_filters=filters)) == number


def test_nothing_that_fits_is_204(address, held):
    """Without a body."""
    response = httpx.get(f"{address}/dicom-web/studies", params={"PatientID": "nobody"})
    assert (response.status_code, response.content) == (204, b"")


def test_pages_of_a_search(address, held):
    """Limit and offset, in one order; a limit that isn't the client's is told with a Warning."""
    pages = [
        httpx.get(f"{address}/dicom-web/instances", params={"limit": 2, "offset": offset}) for offset in (0, 2, 4, 6)
    ]
    assert [page.status_code for page in pages] == [200, 200, 200, 204]
    found = [each["00080018"]["Value"][0] for page in pages[:3] for each in page.json()]
    assert len(set(found)) == len(found) == 5
    assert all("warning" not in page.headers for page in pages)


def test_more_than_the_service_gives_at_once_is_told(address, held, monkeypatch):
    """The number of what is left, by which a client knows to ask for the rest."""
    monkeypatch.setattr("dicomnlp.serve.dicomweb_query.DEFAULT_LIMIT", 2)
    response = httpx.get(f"{address}/dicom-web/instances?offset=1")
    assert len(response.json()) == 2
    assert response.headers["warning"] == '299 dicomnlp "There are 2 additional results that can be requested."'


def test_fuzzy_matching_is_answered_literally_and_told_so(address, held):
    """PS3.18 8.3.4.2."""
    response = httpx.get(f"{address}/dicom-web/studies", params={"fuzzymatching": "true", "PatientID": "P-1"})
    assert len(response.json()) == 1
    assert "fuzzymatching parameter is not supported" in response.headers["warning"]
    quiet = httpx.get(f"{address}/dicom-web/studies", params={"fuzzymatching": "false", "PatientID": "P-1"})
    assert "warning" not in quiet.headers


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("includefield=CompletionFlag", {"0040A491"}),
        ("includefield=0040A491,VerificationFlag", {"0040A491", "0040A493"}),
        ("includefield=CompletionFlag&includefield=VerificationFlag", {"0040A491", "0040A493"}),
        ("includefield=all", {"0040A491", "0040A493", "00080023"}),
        ("ContentDate=20260102", {"00080023"}),
        ("ContentDate=", {"00080023"}),
        ("", set()),
    ],
)
def test_further_attributes_are_answered_when_asked_for(address, held, query, expected):
    """By includefield, or because they were matched."""
    response = httpx.get(f"{address}/dicom-web/studies/{STUDIES[0]}/instances?{query}")
    [instance] = response.json()
    assert set(instance) & {"0040A491", "0040A493", "00080023"} == expected


def test_results_are_xml_where_that_is_asked_for(address, held):
    """A part a result, in the Native DICOM Model."""
    wanted = 'multipart/related; type="application/dicom+xml"'
    response = httpx.get(f"{address}/dicom-web/studies", headers={"Accept": wanted})
    assert response.headers["content-type"].startswith(wanted)
    boundary = response.headers["content-type"].split('boundary="')[1].rstrip('"')
    parts = response.content.split(f"--{boundary}".encode())[1:-1]
    assert len(parts) == 3
    root = ET.fromstring(parts[0].split(b"\r\n\r\n", 1)[1])
    namespace = {"n": "http://dicom.nema.org/PS3.19/models/NativeDICOM"}
    name = root.find("n:DicomAttribute[@keyword='PatientName']/n:PersonName/n:Alphabetic/n:FamilyName", namespace)
    assert name.text == "DOE"


@pytest.mark.parametrize(
    ("accept", "status"),
    [("*/*", 200), ("application/*", 200), ("text/html", 406), ("text/html, application/dicom+json;q=0.1", 200)],
)
def test_media_type_is_negotiated(address, held, accept, status):
    """406 where the client takes none that there is."""
    response = httpx.get(f"{address}/dicom-web/studies", headers={"Accept": accept})
    assert response.status_code == status


def test_answers_have_an_entity_tag(address, held):
    """304 for who has the same already, whether or not it came by gzip."""
    path = f"{address}/dicom-web/studies"
    for coding in ("identity", "gzip"):
        first = httpx.get(path, headers={"Accept-Encoding": coding})
        again = httpx.get(path, headers={"If-None-Match": first.headers["etag"], "Accept-Encoding": coding})
        assert (again.status_code, again.headers["etag"]) == (304, first.headers["etag"])


def test_replaced_and_quarantined_objects_are_not_found(client, receive, address):
    """The current version alone, and nothing that is linked to no study."""
    first, second = make_report(1, "x"), make_report(1, "x", revision="2")
    second.SeriesDescription = "Second"
    receive(to_file(first))
    receive(to_file(second))
    [instance] = client.search_for_instances(search_filters={"SeriesDescription": "*"}, fields=["SeriesDescription"])
    assert instance["0008103E"]["Value"] == ["Second"]
    broken = make_report(2, "x")
    del broken.StudyInstanceUID
    content, headers = body_of(to_file(broken))
    assert httpx.post(f"{address}/dicom-web/studies", content=content, headers=headers).status_code == 409
    assert len(client.search_for_instances()) == 1
