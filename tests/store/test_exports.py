"""What leaves in bulk and what is searched as resources; on both databases."""

import dataclasses
import datetime as dt

import pytest
from support.records import STUDY, instance_uid, make_finding, make_processed, make_record

from dicomnlp.model import Assertion, Code
from dicomnlp.store.exports import (
    count_reports,
    exported_reports,
    findings_that_fit,
    headers_of,
    iterate_reports,
    narratives_of,
    read_objects,
    report_ids,
)
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.merges import merge_patients
from dicomnlp.store.queue import save_processed
from dicomnlp.store.resources import (
    CodedFinding,
    DateBound,
    MomentBound,
    ResourceQuery,
    find_findings,
    find_patients,
    find_reports,
    find_studies,
    objects_of_patients,
    patient_numbers,
)
from dicomnlp.store.scope import Scope
from dicomnlp.store.search import Filters

ALL = 100
TITLE = Code('24627-2 "x"', "LN", "CT")


def add(database, number, *findings, patient="T-1", study=None, report=None, modalities=("CT",), **header):
    """A report of its own study unless told otherwise; its object."""
    record = make_record(
        number, study=study or f"{STUDY}.{number}", patient_id=patient, calling_ae_title=header.pop("aet", "A")
    )
    record = dataclasses.replace(record, identity=dataclasses.replace(record.identity, **header))
    [receipt] = record_arrivals(database, [record])
    processed = make_processed(receipt.object_id, findings=findings or (make_finding(),))
    made = dataclasses.replace(processed.report, **(report or {}))
    save_processed(database, [dataclasses.replace(processed, report=made, modalities=modalities)])
    return receipt.object_id


@pytest.fixture
def five(database):
    """Five reports of two patients."""
    absent = make_finding("pleural_effusion", assertion=Assertion.ABSENT)
    return [
        add(database, 1, study_date="20260101"),
        add(database, 2, absent, study_date="20260102", modalities=("MR", "PT")),
        add(database, 3, make_finding(), absent, patient="T-2", study_date="", content_date="20260103", aet="B"),
        add(database, 4, study_date="20260104", report={"verification_flag": "UNVERIFIED", "predecessors": ()}),
        add(database, 5, patient="T-2", report={"document_code": TITLE, "preliminary_flag": "PRELIMINARY"}),
    ]


def test_reports_are_read_page_by_page_with_what_their_headers_say(database, five, monkeypatch):
    """In the order in which they came; after each the next page can be asked for."""
    monkeypatch.setattr("dicomnlp.store.exports.PAGE", 2)
    pages = list(iterate_reports(database, Filters()))
    assert [[e.header.object_id for e in page] for page in pages] == [five[:2], five[2:4], five[4:]]
    assert [e.header.object_id for page in iterate_reports(database, Filters(), five[2]) for e in page] == five[3:]
    assert count_reports(database, Filters()) == 5
    assert sorted(report_ids(database, Filters())) == five
    exported = pages[1][0]
    assert exported.header.modalities == ("CT",)
    assert exported.header.study_date == "20260103"
    assert exported.header.patient == ("T-2", "")
    assert [f.sop_instance_uid for f in exported.findings] == [instance_uid(3)] * 2
    assert exported.report.report.narrative.text == narratives_of(database, five)[five[2]]


FILTERS = [
    # filters, numbers of the reports that fit
    ({"concepts": ("pleural_effusion",)}, [2, 3]),
    ({"concepts": ("pleural_effusion",), "assertions": (Assertion.PRESENT,)}, []),  # one finding must fit both
    ({"modality": "PT"}, [2]),
    ({"calling_ae_title": "B"}, [3]),
    ({"patient_id": "T-2"}, [3, 5]),
    ({"date_from": dt.date(2026, 1, 3), "date_to": dt.date(2026, 1, 4)}, [3, 4]),
    ({"without": ("pulmonary_nodule",)}, []),  # each patient has one
    ({"text": "nodule"}, [1, 2, 3, 4, 5]),
    ({"minimum_size": 100.0}, []),
]


@pytest.mark.parametrize(("fields", "numbers"), FILTERS)
def test_reports_fit_filters_as_searches_do(database, five, fields, numbers):
    """And of each that fits the findings that do."""
    filters = Filters(**fields)
    assert sorted(report_ids(database, filters)) == [five[n - 1] for n in numbers]
    assert count_reports(database, filters) == len(numbers)
    for findings in findings_that_fit(database, filters, [five[n - 1] for n in numbers]):
        assert findings
        assert all(not filters.concepts or f.finding.concept.id in filters.concepts for f in findings)


def test_superseded_reports_do_not_leave(database, five):
    """Nor those that are out of scope, or not analysed."""
    record_arrivals(database, [make_record(9, study=STUDY)])
    add(database, 1, study_date="20260101", series_description="changed")
    assert len(list(report_ids(database, Filters()))) == 5
    within = database.within(Scope(frozenset({"B"}), None))
    assert list(report_ids(within, Filters())) == [five[2]]
    assert find_reports(within, ResourceQuery(), None, ALL) == [five[2]]
    assert find_patients(within, ResourceQuery(), None, ALL) == [five[2]]


def test_originals_are_read_as_they_came(database, five):
    """Byte by byte; of headers there is one for each current version."""
    [stored] = read_objects(database, [five[1]])
    assert stored.data == b"object 2"
    assert headers_of(database, [instance_uid(2)])[instance_uid(2)].object_id == five[1]
    assert [e.header.object_id for e in exported_reports(database, [five[3], five[0], 10**6])] == [five[3], five[0]]


REPORTS = [
    # query, numbers of the reports that are found
    ({}, [5, 4, 3, 2, 1]),
    ({"uids": (instance_uid(2), instance_uid(5))}, [5, 2]),
    ({"identifiers": (f"{STUDY}.3",)}, [3]),
    ({"identifiers": (instance_uid(4), "A-1")}, [5, 4, 3, 2, 1]),
    ({"studies": (f"{STUDY}.1",)}, [1]),
    ({"dates": (DateBound("ge", "20260102"), DateBound("lt", "20260104"))}, [3, 2]),
    ({"dates": (DateBound("le", "20260101"),)}, [1]),
    ({"document_codes": ((None, "18748-4"),)}, [4, 3, 2, 1]),
    ({"document_codes": (("SCT", "18748-4"),)}, []),
    ({"document_codes": (("LN", '24627-2 "x"'),)}, [5]),
    ({"document_codes": ((None, "24627-2"),)}, []),
    ({"document_codes": ((None, "%"),)}, []),
    ({"document_codes": ()}, []),
    ({"statuses": ("amended",)}, [3, 2, 1]),
    ({"statuses": ("preliminary",)}, [5, 4]),
    ({"modalities": ("PT", "US")}, [2]),
    ({"modalities": ("%",)}, []),
    ({"modalities": ()}, []),
    ({"patients": ()}, []),
    ({"updated": (MomentBound("lt", dt.datetime(2020, 1, 1, tzinfo=dt.UTC)),)}, []),
    ({"updated": (MomentBound("ge", dt.datetime(2020, 1, 1, tzinfo=dt.UTC)),)}, [5, 4, 3, 2, 1]),
]


@pytest.mark.parametrize(("fields", "numbers"), REPORTS)
def test_resources_are_found_by_their_own_parameters(database, five, fields, numbers):
    """Reports and, by the same conditions, their studies and findings."""
    query = ResourceQuery(**fields)
    expected = [five[n - 1] for n in numbers]
    assert find_reports(database, query, None, ALL) == expected
    assert find_studies(database, query, None, ALL) == expected
    assert {object_id for _, object_id in find_findings(database, query, None, ALL)} == set(expected)
    if expected:
        assert find_reports(database, query, expected[0], ALL) == expected[1:]
        assert find_studies(database, query, expected[0], 1) == expected[1:2]


def test_findings_are_found_by_code_and_assertion(database, five):
    """A code is looked for together with how it is judged."""
    present = CodedFinding(Assertion.PRESENT, concept_id="pleural_effusion")
    absent = CodedFinding(Assertion.ABSENT, concept_id="pleural_effusion")
    by_code = CodedFinding(Assertion.PRESENT, scheme="SCT", code="427359005")

    def reports(**fields):
        return [object_id for _, object_id in find_findings(database, ResourceQuery(**fields), None, ALL)]

    assert reports(findings=(present,)) == []
    assert reports(findings=(absent,)) == [five[2], five[1]]
    assert len(reports(findings=(by_code, absent))) == 6
    assert reports(findings=()) == reports(numbers=()) == []
    assert reports(assertions=(Assertion.ABSENT,)) == [five[2], five[1]]


def test_patients_are_one_whatever_they_were_merged_with(database, five):
    """Their number is that of the first object under any of their identifiers."""
    assert find_patients(database, ResourceQuery(), None, ALL) == [five[2], five[0]]
    assert find_patients(database, ResourceQuery(), five[2], ALL) == [five[0]]
    assert find_patients(database, ResourceQuery(identifiers=("T-2",)), None, ALL) == [five[2]]
    assert find_reports(database, ResourceQuery(patients=(five[2],)), None, ALL) == [five[4], five[2]]
    assert find_reports(database, ResourceQuery(patients=(five[4],)), None, ALL) == []
    merge_patients(database, "T-2", "T-1")
    assert find_patients(database, ResourceQuery(), None, ALL) == [five[0]]
    assert patient_numbers(database, [("T-1", ""), ("T-2", ""), ("none", ""), ("", "")]) == {
        ("T-1", ""): five[0],
        ("T-2", ""): five[0],
    }
    assert len(find_reports(database, ResourceQuery(patients=(five[0],)), None, ALL)) == 5
    assert objects_of_patients(database, [five[0], five[2]]) == [five[4]]
