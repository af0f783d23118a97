"""The follow-up loop on both databases: what is asked for, what answers it, and what undoes both."""

import dataclasses
import datetime as dt

import pytest
from support.patients import Visit, come, study_uid

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.store import courses
from dicomnlp.store.follow_up_decisions import dismiss_item, reopen_item
from dicomnlp.store.follow_up_items import (
    ItemFilters,
    count_items,
    list_items,
    read_item,
)
from dicomnlp.store.follow_up_pending import any_marked, mark_studies, marked_studies
from dicomnlp.store.follow_up_refresh import Refresh
from dicomnlp.store.merges import merge_patients, unmerge_patients
from dicomnlp.store.scope import Scope
from dicomnlp.work import follow_up
from dicomnlp.work.follow_up import FollowUpDuty, refresh_all

NODULE = "FINDINGS: 6 mm nodule in the right upper lobe.\nIMPRESSION: Nodule. Follow-up CT in 6 months is recommended."
CLEAR = "FINDINGS: The lungs are clear.\nIMPRESSION: No nodule."
FIRST = Visit(1, "20260105", "CT CHEST", text=NODULE)
SECOND = Visit(2, "20260710", "CT CHEST W CONTRAST", text=CLEAR)
TODAY = dt.date(2026, 5, 1)


def states(database, today=TODAY, **filters):
    """Where all items stand, by study number."""
    refresh_all(database)
    page = list_items(database, ItemFilters(**filters), today=today)
    return [(int(item.study_instance_uid.rsplit(".", 1)[1]), item.state) for item in page.items]


def only(database, today=TODAY):
    """The one item there is."""
    refresh_all(database)
    [item] = list_items(database, ItemFilters(), today=today).items
    return read_item(database, item.id, today=today)


@pytest.mark.parametrize(
    ("today", "state"),
    [
        ("20260105", "open"),
        ("20260703", "open"),
        ("20260704", "due"),  # 180 days later
        ("20260722", "due"),  # a tenth of the time is grace: 18 days
        ("20260723", "overdue"),
    ],
)
def test_an_item_is_open_then_due_then_overdue(database, today, state):
    """By the time that the report names, and some days of grace."""
    come(database, FIRST)
    day = dt.date.fromisoformat(today)
    assert states(database, day) == [(1, state)]
    assert count_items(database, today=day)[state] == 1


def test_a_later_report_answers_and_says_why(database):
    """The explanation names each comparison, and where each part of what was asked comes from."""
    come(database, FIRST, SECOND)
    item = only(database)
    assert (item.state, item.done_study_instance_uid, item.done_on) == ("done", study_uid(2), "20260710")
    asked = {part["name"]: (part["value"], part["origin"]) for part in item.explanation["asked"]}
    assert asked["modality"] == ("CT", "words")
    assert asked["anatomy"] == ("right_upper_lobe", "finding")
    assert asked["window"] == ("180-180", "words")
    [judged] = item.explanation["examinations"]
    assert [(c["name"], c["fits"]) for c in judged["checks"]] == [
        ("date", True),
        ("modality", True),
        ("anatomy", True),
        ("laterality", True),
    ]
    assert judged["told_by"] == "reports"


@pytest.mark.parametrize(
    ("later", "failing"),
    [
        (dataclasses.replace(SECOND, date="20260110"), "date"),  # in the first half of the time
        (dataclasses.replace(SECOND, modality="US"), "modality"),
        (dataclasses.replace(SECOND, name="CT HEAD", text="FINDINGS: No bleeding."), "anatomy"),
        (dataclasses.replace(SECOND, name="CT CHEST LEFT"), "laterality"),
    ],
)
def test_what_does_not_fit_is_named(database, later, failing):
    """The first comparison that fails is the last that is told."""
    come(database, FIRST, later)
    item = only(database)
    assert item.state == "open"
    [judged] = item.explanation["examinations"]
    assert (judged["answers"], judged["checks"][-1]["name"], judged["checks"][-1]["fits"]) == (False, failing, False)


def test_images_answer_as_reports_do(database):
    """Headers are enough; a study of another patient isn't."""
    come(database, FIRST, Visit(3, "20260701", "CT", body_part="CHEST", patient_id="T-9"))
    assert only(database).state == "open"
    come(database, Visit(4, "20260708", "CT", body_part="CHEST"))
    item = only(database)
    assert (item.state, item.done_study_instance_uid) == ("done", study_uid(4))
    assert item.explanation["examinations"][-1]["told_by"] == "images"


def test_evidence_of_a_report_answers(database):
    """A report that is about two studies stands for both."""
    come(database, FIRST, dataclasses.replace(SECOND, study=7, evidence=(8,)))
    assert only(database).done_study_instance_uid in {study_uid(7), study_uid(8)}


def test_order_of_arrival_does_not_matter(database):
    """The answer may be held before the question comes."""
    come(database, SECOND)
    assert states(database) == []
    come(database, FIRST)
    assert states(database) == [(1, "done")]


def test_a_withdrawn_report_neither_asks_nor_answers(database):
    """A preliminary report's request is gone with it, and what answered is open again when that is superseded."""
    come(database, FIRST, SECOND)
    assert states(database) == [(1, "done")]
    # the second study turns out to be one of the head
    come(database, Visit(5, "20260710", "CT HEAD", text="FINDINGS: No bleeding.", study=2, predecessors=(2,)))
    assert states(database) == [(1, "open")]
    # and the first report's request is taken back
    come(database, Visit(6, "20260105", "CT CHEST", text=CLEAR, study=1, predecessors=(1,)))
    assert states(database) == []


def test_merged_patients_are_one_until_unmerged(database):
    """What is held of the other identifier answers as long as the merge holds."""
    come(database, FIRST, dataclasses.replace(SECOND, patient_id="T-2"))
    assert states(database) == [(1, "open")]
    merge_patients(database, "T-2", "T-1")
    assert states(database) == [(1, "done")]
    unmerge_patients(database, "T-2", "T-1")
    assert states(database) == [(1, "open")]


def test_a_dismissal_outlives_another_analysis_and_an_amendment(database):
    """It is of the study and what is asked, not of a row; opening again undoes it."""
    come(database, FIRST)
    item = only(database)
    dismiss_item(database, item.id, reason="declined", note="by letter", by="dr-a")
    assert only(database).state == "dismissed"
    come(database, dataclasses.replace(FIRST, number=9, study=1, predecessors=(1,)))
    item = only(database)
    assert item.state == "dismissed"
    assert [(d.reason, d.note, d.decided_by, d.undone_at) for d in item.decisions] == [
        ("declined", "by letter", "dr-a", None)
    ]
    reopen_item(database, item.id, by="dr-b")
    item = only(database)
    assert (item.state, item.decisions[-1].undone_by) == ("open", "dr-b")
    with pytest.raises(UsageError):
        reopen_item(database, item.id, by="dr-b")
    come(database, SECOND)
    with pytest.raises(UsageError):
        dismiss_item(database, only(database).id, reason="declined", note="", by="dr-a")
    with pytest.raises(NotFoundError):
        dismiss_item(database, item.id + 1000, reason="declined", note="", by="dr-a")


def test_an_item_keeps_its_number(database):
    """Whatever is looked at again: a link to it stays good."""
    come(database, FIRST)
    first = only(database).id
    come(database, SECOND, Visit(4, "20260801", "CT", body_part="CHEST"))
    assert only(database).id == first


def test_a_change_meanwhile_is_not_lost(database):
    """A mark that is set while its study is looked at stays."""
    come(database, FIRST)
    round_of = Refresh(database, marked_studies(database, "", 10))
    courses_of = list(round_of.courses())
    database.transact(lambda connection: mark_studies(connection, [study_uid(1)]))
    round_of.finish([(course, []) for course in courses_of])
    assert list(marked_studies(database, "", 10)) == [study_uid(1)]
    refresh_all(database)
    assert not any_marked(database)


def test_an_identifier_of_everybody_is_no_patient(database, monkeypatch):
    """Of an archive without names nothing is matched, and its size costs nothing."""
    monkeypatch.setattr(courses, "MAXIMUM_OBJECTS", 1)
    come(database, FIRST, SECOND)
    assert states(database) == [(1, "open")]


def test_pages_follow_each_other(database):
    """What is overdue longest comes first; each item once, whatever the size of the page."""
    for n, date in enumerate(("20260301", "20260101", "20260201"), 1):
        come(database, dataclasses.replace(FIRST, number=n, date=date, patient_id=f"P-{n}"))
    refresh_all(database)
    found, after = [], None
    while True:
        page = list_items(database, ItemFilters(), today=TODAY, after=after, limit=1)
        found += [item.study_date for item in page.items]
        after = page.next
        if after is None:
            break
    assert found == ["20260101", "20260201", "20260301"]
    with pytest.raises(UsageError):
        list_items(database, ItemFilters(states=("lost",)), today=TODAY)


FILTERS = [
    ({"modality": "CT"}, True),
    ({"modality": "MR"}, False),
    ({"category": "imaging"}, True),
    ({"category": "tissue"}, False),
    ({"anatomy": ("right_upper_lobe",)}, True),
    ({"patient_id": "T-1"}, True),
    ({"patient_id": "T-2"}, False),
    ({"due_from": dt.date(2026, 7, 4)}, True),
    ({"due_to": dt.date(2026, 7, 3)}, False),
    ({"date_from": dt.date(2026, 1, 5), "date_to": dt.date(2026, 1, 5)}, True),
    ({"states": ("open", "done")}, True),
    ({"states": ("due",)}, False),
    ({"study_instance_uid": study_uid(1)}, True),
    ({"conditional": True}, False),
]


def test_filters(database):
    """Each by itself."""
    come(database, FIRST)
    refresh_all(database)
    for filters, fits in FILTERS:
        found = list_items(database, ItemFilters(**filters), today=TODAY).items
        assert bool(found) is fits, filters


def test_scope_hides_items_and_studies_that_answer(database):
    """Who may see one sender's reports learns that an item is done, not by which study of another sender."""
    come(database, FIRST, dataclasses.replace(SECOND, ae_title="ELSEWHERE"))
    refresh_all(database)
    own = database.within(Scope(calling_ae_titles=frozenset({"PACS"})))
    item = list_items(own, ItemFilters(), today=TODAY).items[0]
    assert (item.state, item.done_study_instance_uid) == ("done", None)
    assert read_item(own, item.id, today=TODAY).explanation["examinations"] == []
    other = database.within(Scope(calling_ae_titles=frozenset({"ELSEWHERE"})))
    assert list_items(other, ItemFilters(), today=TODAY).items == []
    assert count_items(other, today=TODAY)["done"] == 0
    with pytest.raises(NotFoundError):
        read_item(other, item.id, today=TODAY)


def test_the_duty_goes_round_until_nothing_waits(database):
    """In the order of UIDs, and from the beginning again."""
    come(database, FIRST, SECOND)
    duty = FollowUpDuty(database)
    while duty.run():
        pass
    assert not any_marked(database)
    assert [item.state for item in list_items(database, ItemFilters(), today=TODAY).items] == ["done"]


def test_a_report_does_not_answer_itself(database):
    """The studies that it is a report of are one examination, however their times differ."""
    come(
        database,
        dataclasses.replace(FIRST, text="IMPRESSION: Nodule of the right lung. CT is recommended.", evidence=(8,)),
        Visit(3, "20260105", "CT CHEST", body_part="CHEST", study=8, time="235959"),
    )
    assert only(database, dt.date(2026, 1, 6)).state == "due"


def test_who_cannot_be_judged_keeps_nobody_else_waiting(database, monkeypatch):
    """The others' items are written, the fault is raised, and what it was about stays marked."""
    come(database, FIRST, dataclasses.replace(FIRST, number=2, patient_id="T-2"))
    right = follow_up.items_of

    def wrong(course):
        if course.reports[0].study_instance_uid == study_uid(1):
            raise ZeroDivisionError
        return right(course)

    monkeypatch.setattr(follow_up, "items_of", wrong)
    with pytest.raises(ZeroDivisionError):
        refresh_all(database)
    assert list(marked_studies(database, "", 10)) == [study_uid(1)]
    assert [i.study_instance_uid for i in list_items(database, ItemFilters(), today=TODAY).items] == [study_uid(2)]
    monkeypatch.undo()
    assert len(states(database)) == 2
