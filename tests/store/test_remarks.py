"""What a second reader would remark, kept with analyses and listed where their reports count; on both databases."""

import dataclasses
import datetime as dt

import pytest
from support.lives import Document, arrive
from support.records import instance_uid, make_processed, make_record

from dicomnlp.errors import UsageError
from dicomnlp.model import ImageHeader, Processed
from dicomnlp.remarks import (
    Advice,
    Discrepancy,
    DiscrepancyKind,
    Guidance,
    GuidanceOutcome,
    Place,
    PlaceKind,
    QualityMeasure,
    Remarks,
)
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.queue import save_processed
from dicomnlp.store.remarks import (
    MeasureCount,
    RemarkFilters,
    count_measures,
    list_discrepancies,
    list_guidance,
)
from dicomnlp.work.comparing import compare_studies
from dicomnlp.work.follow_up import refresh_all

STUDY = "1.2.826.0.1.3680043.10.1511.1.{}"


def discrepancy(kind=DiscrepancyKind.SEX, confidence=0.9):
    """One in which every field says something."""
    return Discrepancy(
        kind,
        "organ",
        confidence,
        Place(PlaceKind.HEADER, "M", field="PatientSex"),
        Place(PlaceKind.TEXT, "子宫 \x00", 3, 5),
        (("first", "male"),),
    )


def guidance(outcome=GuidanceOutcome.NOT_STATED):
    """Likewise."""
    return Guidance(
        "fleischner_2017",
        "MacMahon 2017",
        outcome,
        Place(PlaceKind.TEXT, "7 mm nodule", 0, 11),
        (("size_mm", "7"),),
        ("risk",),
        (Advice("solid", "CT.", "CT", 180, 365, needed=True),),
        Place(PlaceKind.TEXT, "CT in 6 months", 20, 34),
    )


def come(database, number, remarks, *, study=1, pipeline="en-1", study_date="20261122"):
    """Let an object come, be analysed, and be remarked on; its row."""
    record = make_record(number, study=STUDY.format(study))
    identity = dataclasses.replace(record.identity, study_date=study_date)
    [receipt] = record_arrivals(database, [dataclasses.replace(record, identity=identity)])
    processed = make_processed(receipt.object_id, pipeline)
    save_processed(database, [dataclasses.replace(processed, remarks=remarks)])
    return receipt.object_id


def kinds(database, **filters):
    """The kinds of what is listed."""
    return [r.statement["kind"] for r in list_discrepancies(database, RemarkFilters(**filters)).remarks]


def test_gives_back_what_was_remarked(database):
    """With the report that it is on."""
    come(database, 1, Remarks((discrepancy(),), (guidance(),), (QualityMeasure("mips_364", True, None),)))
    [found] = list_discrepancies(database, RemarkFilters()).remarks
    assert found.to_json() == {
        "id": found.id,
        "study_instance_uid": STUDY.format(1),
        "sop_instance_uid": instance_uid(1),
        "study_date": "2026-11-22",
        "kind": "sex",
        "rule": "organ",
        "confidence": 0.9,
        "first": {
            "kind": "header",
            "words": "M",
            "start": None,
            "end": None,
            "field": "PatientSex",
            "sop_instance_uid": "",
        },
        # what a database can't hold is replaced
        "second": {
            "kind": "text",
            "words": "子宫 \N{REPLACEMENT CHARACTER}",
            "start": 3,
            "end": 5,
            "field": "",
            "sop_instance_uid": "",
        },
        "facts": {"first": "male"},
    }
    [told] = list_guidance(database, RemarkFilters()).remarks
    public = told.to_json()
    assert (public["guideline"], public["outcome"]) == ("fleischner_2017", "not_stated")
    assert (public["known"], public["missing"]) == ({"size_mm": "7"}, ["risk"])
    assert public["advice"][0]["interval_days_max"] == 365
    assert public["recommendation"]["words"] == "CT in 6 months"
    assert count_measures(database, RemarkFilters()) == [MeasureCount("mips_364", 1, 1)]


def test_fits_the_filters(database):
    """Each of them alone."""
    come(database, 1, Remarks((discrepancy(),), (guidance(),)), study=1, study_date="20261101")
    come(database, 2, Remarks((discrepancy(DiscrepancyKind.AGE, 0.7),)), study=2, study_date="20261110")
    assert kinds(database) == ["age", "sex"]
    assert kinds(database, kind=DiscrepancyKind.SEX) == ["sex"]
    assert kinds(database, minimum_confidence=0.8) == ["sex"]
    assert kinds(database, study_instance_uid=STUDY.format(2)) == ["age"]
    assert kinds(database, date_from=dt.date(2026, 11, 5)) == ["age"]
    assert kinds(database, date_to=dt.date(2026, 11, 5)) == ["sex"]
    assert kinds(database, patient_id="T-1") == ["age", "sex"]
    assert kinds(database, patient_id="T-2") == []
    assert len(list_guidance(database, RemarkFilters(guideline="fleischner_2017")).remarks) == 1
    assert list_guidance(database, RemarkFilters(guideline="acr_liver_2017")).remarks == []
    assert list_guidance(database, RemarkFilters(outcome=GuidanceOutcome.FOLLOWED)).remarks == []


def test_pages_leave_nothing_out(database):
    """The newest study first; what was given for the next page gives it."""
    for number in range(5):
        come(database, number + 1, Remarks((discrepancy(),) * 2), study=number, study_date=f"2026110{number + 1}")
    seen, after = [], None
    while True:
        page = list_discrepancies(database, RemarkFilters(), after=after, limit=3)
        seen += [(r.study_date, r.id) for r in page.remarks]
        after = page.next
        if after is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 10
    with pytest.raises(UsageError):
        list_discrepancies(database, RemarkFilters(), after="none of ours")


def test_remarks_are_those_of_the_analysis_that_counts(database):
    """Another pipeline remarks something else; the same one again replaces what it remarked."""
    object_id = come(database, 1, Remarks((discrepancy(),)))
    again = make_processed(object_id, "en-2")
    save_processed(database, [dataclasses.replace(again, remarks=Remarks((discrepancy(DiscrepancyKind.AGE),)))])
    assert kinds(database) == ["age"]
    save_processed(database, [dataclasses.replace(again, remarks=Remarks())])
    assert kinds(database) == []


def test_a_report_that_was_replaced_is_not_remarked_on(database):
    """Neither a former version nor one that a later document supersedes."""
    come(database, 1, Remarks((discrepancy(),)))
    record = make_record(1, b"other bytes", study=STUDY.format(1))
    [receipt] = record_arrivals(database, [record])
    assert kinds(database) == []
    save_processed(database, [make_processed(receipt.object_id)])
    assert kinds(database) == []


def test_counts_reports_that_meet_a_measure(database):
    """Of those that it is for."""
    for number, met in enumerate([True, True, False], 1):
        come(database, number, Remarks(quality_measures=(QualityMeasure("mips_436", met, None),)), study=number)
    assert count_measures(database, RemarkFilters()) == [MeasureCount("mips_436", 3, 2)]
    assert count_measures(database, RemarkFilters(date_from=dt.date(2027, 1, 1))) == []


# --- between documents ------------------------------------------------------------------------------------------------


def finding(text, words, concept, assertion, cue=""):
    """A finding of a text, with the cue that denies it."""
    from support.records import make_finding

    from dicomnlp.model import Cue

    start = text.index(words)
    cues = (Cue(cue, text.index(cue), text.index(cue) + len(cue), "NEGATED_EXISTENCE"),) if cue else ()
    return dataclasses.replace(
        make_finding(concept, words, start, assertion),
        anatomy=None,
        laterality=None,
        measurements=(),
        severity=None,
        change=None,
        cues=cues,
    )


def versions():
    """A preliminary report that denies what the final one states."""
    from dicomnlp.model import Assertion

    denied, stated = "No pneumothorax.", "Pneumothorax."
    return (
        Document(
            1,
            preliminary_flag="PRELIMINARY",
            text=denied,
            findings=(finding(denied, "pneumothorax", "pneumothorax", Assertion.ABSENT, "No"),),
        ),
        Document(
            2,
            preliminary_flag="FINAL",
            text=stated,
            findings=(finding(stated, "Pneumothorax", "pneumothorax", Assertion.PRESENT),),
        ),
    )


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_final_report_is_held_against_its_preliminary_one(database, order):
    """Whichever comes first; found by the duty that looks at what changed, and told once."""
    documents = versions()
    arrive(database, *(documents[n] for n in order))
    assert kinds(database) == []
    refresh_all(database)
    page = list_discrepancies(database, RemarkFilters(kind=DiscrepancyKind.PRELIMINARY_FINAL))
    [found] = page.remarks
    assert found.sop_instance_uid == instance_uid(2)
    assert found.statement["rule"] == "denied_before"
    assert found.statement["first"]["sop_instance_uid"] == instance_uid(1)
    compare_studies(database, [documents[0].study])
    assert kinds(database) == ["preliminary_final"]


def test_a_kind_that_is_off_is_not_compared(database):
    """And what was told of it before is gone."""
    documents = versions()
    arrive(database, *documents)
    compare_studies(database, [documents[0].study])
    assert kinds(database) == ["preliminary_final"]
    compare_studies(database, [documents[0].study], frozenset({DiscrepancyKind.LATERALITY_HEADER}))
    assert kinds(database) == []


@pytest.mark.parametrize(("sides", "flagged"), [(("L",), True), (("R",), False), (("L", "R"), False), (("",), False)])
def test_a_report_is_held_against_the_side_of_its_images(database, sides, flagged):
    """Where all images of its study that name a side name one."""
    for number, side in enumerate(sides):
        record = make_record(100 + number, study=STUDY.format(1))
        identity = dataclasses.replace(record.identity, modality="DX", body_part_examined="KNEE")
        image = ImageHeader(identity, record.sha256, 1000, laterality=side)
        record_arrivals(database, [dataclasses.replace(record, identity=identity, image=image)])
    text = "Right knee effusion."
    arrive(database, Document(1, study=STUDY.format(1), text=text, concepts=()))
    refresh_all(database)
    found = list_discrepancies(database, RemarkFilters(kind=DiscrepancyKind.LATERALITY_HEADER)).remarks
    assert bool(found) is flagged
    for remark in found:
        assert remark.statement["first"]["kind"] == "image"
        assert remark.statement["second"]["words"] == "Right knee"


def test_results_without_remarks_are_saved_as_before(database):
    """As those that fail, or hold no text."""
    object_id = come(database, 1, None)
    assert isinstance(make_processed(object_id), Processed)
    assert kinds(database) == []
