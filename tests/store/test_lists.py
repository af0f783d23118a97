"""What pages list: the worklist, the ledger, rates of the last hour, and other reports of a patient."""

import dataclasses
import datetime as dt

import pytest
from support.records import instance_uid, make_finding, make_processed, make_record

from dicomnlp.errors import UsageError
from dicomnlp.model import Assertion, Door, Outcome, Processed, State
from dicomnlp.store.arrivals import LedgerFilters, read_ledger
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.merges import merge_patients
from dicomnlp.store.priors import other_reports
from dicomnlp.store.queue import save_processed
from dicomnlp.store.rates import read_rates
from dicomnlp.store.scope import Scope
from dicomnlp.store.worklist import WorklistFilters, count_states, read_change, read_worklist, reports_by_uid


def study_uid(number):
    """The Study Instance UID number `number`."""
    return f"1.2.826.0.1.3680043.10.1511.1.{number}"


def receive(database, number, **changes):
    """An object of a study of its own; its row."""
    (receipt,) = record_arrivals(database, [make_record(number, study=study_uid(number), **changes)])
    return receipt.object_id


def add(database, number, *findings, **changes):
    """The same, analysed."""
    object_id = receive(database, number, **changes)
    save_processed(database, [dataclasses.replace(make_processed(object_id, findings=findings), modalities=("CT",))])
    return object_id


def plain(concept, assertion=Assertion.PRESENT, start=16):
    """A finding that can wait."""
    return dataclasses.replace(make_finding(concept, assertion=assertion, start=start), critical=False)


def critical(concept, assertion=Assertion.PRESENT):
    """One that is to be told at once."""
    return dataclasses.replace(make_finding(concept, assertion=assertion), critical=True)


def numbers(page):
    """Which objects a page lists."""
    return [int(report.sop_instance_uid.rpartition(".")[2]) for report in page.reports]


def test_worklist_goes_page_by_page_from_the_latest(database):
    """Each report once, also when others come in between."""
    for number in range(1, 8):
        receive(database, number)
    first = read_worklist(database, WorklistFilters(), limit=3)
    receive(database, 8)
    second = read_worklist(database, WorklistFilters(), after=first.next, limit=3)
    third = read_worklist(database, WorklistFilters(), after=second.next, limit=3)
    assert [numbers(page) for page in (first, second, third)] == [[7, 6, 5], [4, 3, 2], [1]]
    assert third.next is None
    for wrong in ({"after": "!!"}, {"limit": 0}, {"limit": 201}):
        with pytest.raises(UsageError):
            read_worklist(database, WorklistFilters(), **wrong)


def test_worklist_states_in_short_what_is_there(database):
    """Critical first, each concept once, nothing that is excluded; counts of all."""
    add(
        database,
        1,
        plain("cyst", Assertion.POSSIBLE, start=20),
        plain("emphysema"),
        plain("emphysema", start=30),
        plain("effusion", Assertion.ABSENT),
        critical("pneumothorax"),
    )
    (report,) = read_worklist(database, WorklistFilters()).reports
    assert [s.concept_id for s in report.stated] == ["pneumothorax", "emphysema", "cyst"]
    assert report.assertions == {"present": 3, "absent": 1, "possible": 1}
    assert (report.state, report.modality, report.patient_id) == (State.ANALYSED, "CT", "T-1")


def test_worklist_filters_fit_together(database):
    """State, modality, sender, what is critical, and any identifier."""
    add(database, 1, critical("pneumothorax"))
    add(database, 2, critical("pneumothorax", Assertion.ABSENT), patient_id="T-2")
    receive(database, 3, calling_ae_title="OTHER")
    failed = receive(database, 4)
    save_processed(database, [Processed(failed, State.FAILED, "en-1", reason_code="damaged")])
    for filters, expected in (
        (WorklistFilters(state=State.PENDING), [3]),
        (WorklistFilters(state=State.FAILED), [4]),
        (WorklistFilters(state=State.ANALYSED), [2, 1]),
        (WorklistFilters(modality="CT"), [2, 1]),
        (WorklistFilters(modality="C"), []),
        (WorklistFilters(calling_ae_title="OTHER"), [3]),
        (WorklistFilters(critical=True), [1]),
        (WorklistFilters(critical=True, state=State.FAILED), []),
        (WorklistFilters(find="T-2"), [2]),
        (WorklistFilters(find="A-1"), [4, 3, 2, 1]),
        (WorklistFilters(find="A-1", patients=False), []),
        (WorklistFilters(find=study_uid(3)), [3]),
        (WorklistFilters(find=instance_uid(4), patients=False), [4]),
        (WorklistFilters(find="%"), []),
    ):
        assert numbers(read_worklist(database, filters)) == expected, filters
    assert count_states(database) == {
        "pending": 1, "analysed": 2, "no_text": 0, "needs_ocr": 0, "own": 0, "failed": 1, "quarantined": 0,
    }  # fmt: skip


def test_lists_keep_to_the_scope(database):
    """What another sender sent isn't there, by no filter."""
    add(database, 1)
    add(database, 2, calling_ae_title="OTHER")
    own = database.within(Scope(calling_ae_titles=frozenset({"OTHER"})))
    assert numbers(read_worklist(own, WorklistFilters())) == [2]
    assert numbers(read_worklist(own, WorklistFilters(find=study_uid(1)))) == []
    assert count_states(own)["analysed"] == 1
    assert reports_by_uid(own, [instance_uid(1), instance_uid(2)]).keys() == {instance_uid(2)}
    assert [e.sop_instance_uid for e in read_ledger(own, LedgerFilters()).entries] == [instance_uid(2)]
    assert other_reports(own, study_uid(2)) == []


def test_change_is_told_by_arrivals_analyses_and_failures(database):
    """And by nothing else."""
    told = [read_change(database)]
    first, second = receive(database, 1), receive(database, 2)
    told.append(read_change(database))
    assert read_change(database) == told[-1]
    save_processed(database, [make_processed(first)])
    told.append(read_change(database))
    save_processed(database, [Processed(second, State.FAILED, "en-1", reason_code="damaged")])
    told.append(read_change(database))
    assert len(set(told)) == 4


def test_ledger_lists_everything_with_its_reason(database):
    """Filters, pages, and no text where a UID should be."""
    receive(database, 1)
    receive(database, 1)
    record_arrivals(
        database,
        [
            make_record("not a uid", study="neither", status=0xC000, reason_code="not_dicom", keep=False),
            make_record(3, status=0xA700, reason_code="disk_full", keep=False, calling_ae_title="OTHER"),
        ],
    )
    entries = read_ledger(database, LedgerFilters()).entries
    assert [(e.outcome, e.reason_code, e.status) for e in entries] == [
        (Outcome.REFUSED, "disk_full", 0xA700),
        (Outcome.REFUSED, "not_dicom", 0xC000),
        (Outcome.DUPLICATE, None, 0),
        (Outcome.STORED, None, 0),
    ]
    assert (entries[1].sop_instance_uid, entries[1].study_instance_uid, entries[1].door) == ("", "", Door.C_STORE)
    today, day = dt.datetime.now(dt.UTC).date(), dt.timedelta(days=1)
    for filters, expected in (
        (LedgerFilters(outcome=Outcome.REFUSED), 2),
        (LedgerFilters(reason_code="disk_full"), 1),
        (LedgerFilters(calling_ae_title="OTHER", outcome=Outcome.STORED), 0),
        (LedgerFilters(date_from=today - day, date_to=today + day), 4),
        (LedgerFilters(date_to=today - day), 0),
        (LedgerFilters(date_from=today + day), 0),
    ):
        assert len(read_ledger(database, filters).entries) == expected, filters
    page = read_ledger(database, LedgerFilters(), limit=3)
    assert [e.outcome for e in read_ledger(database, LedgerFilters(), after=page.next).entries] == [Outcome.STORED]
    with pytest.raises(UsageError):
        read_ledger(database, LedgerFilters(), limit=501)


def test_rates_count_arrivals_analyses_and_what_waited(database):
    """The queue of the past is counted back from what waits now; what came before the hour is in none of them."""
    ago = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=10)
    for number in (1, 2):
        receive(database, number, received_at=ago)
    done = receive(database, 3, received_at=ago)
    receive(database, 4, received_at=ago - dt.timedelta(hours=2))
    save_processed(database, [make_processed(done)])
    minutes = read_rates(database)
    assert len(minutes) == 60
    assert sum(m.received for m in minutes) == 3
    assert sum(m.analysed for m in minutes) == 1
    by_start = {m.start: m for m in minutes}
    then = by_start[ago.replace(second=0, microsecond=0)]
    # three of the hour and the older one
    assert (then.received, then.waiting) == (3, 4)
    assert by_start[then.start - dt.timedelta(minutes=1)].waiting == 1
    (analysed,) = [m for m in minutes if m.analysed]
    assert analysed.slow_seconds == analysed.median_seconds
    assert 590 < analysed.median_seconds < 670
    # a minute may have begun since
    assert minutes[-1].waiting == 3


def test_other_reports_are_those_of_the_patient_under_any_identifier(database):
    """The newest first, with what they state; merged patients are one, those without an identifier nobody's."""
    add(database, 1, make_finding("cyst"))
    add(database, 2, make_finding("emphysema"))
    add(database, 3, patient_id="T-3")
    add(database, 4, patient_id="")
    receive(database, 5)
    assert [o.study_instance_uid for o in other_reports(database, study_uid(1))] == [study_uid(2)]
    assert [s.concept_id for s in other_reports(database, study_uid(1))[0].stated] == ["emphysema"]
    assert other_reports(database, study_uid(4)) == []
    merge_patients(database, "T-3", "T-1")
    assert {o.study_instance_uid for o in other_reports(database, study_uid(3))} == {study_uid(1), study_uid(2)}
