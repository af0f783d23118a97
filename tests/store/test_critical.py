"""The worklist of critical results on both databases: pages, scopes, acknowledgements."""

import datetime as dt

import pytest
from support.patients import Visit, come, study_uid

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.export.critical_results import CriticalState, critical_result, critical_results
from dicomnlp.store.critical import CriticalFilters, acknowledge, undo_acknowledgement
from dicomnlp.store.scope import Scope

ALL = CriticalFilters()


@pytest.fixture
def held(database):
    """Seven critical reports, two of them of one day, between others that aren't."""
    for number in range(1, 8):
        come(
            database,
            Visit(
                number,
                f"2026010{min(number, 6)}",
                "CHEST",
                text="IMPRESSION: Large right tension pneumothorax.",
                ae_title="NORTH" if number % 2 else "SOUTH",
            ),
            Visit(100 + number, "20260105", "CHEST", text="IMPRESSION: 6 mm pulmonary nodule."),
        )
    return database


def studies(page):
    """Of a page."""
    return [r.report.study_instance_uid for r in page.results]


def test_pages_hold_each_result_once(held):
    """The newest study first; of one day the latest received."""
    seen, after = [], None
    while True:
        page = critical_results(held, ALL, after=after, limit=2)
        seen += studies(page)
        after = page.next
        if after is None:
            break
    assert seen == [study_uid(n) for n in (7, 6, 5, 4, 3, 2, 1)]


def test_dates_and_categories(held):
    """Both ends belong to the range."""
    day = dt.date(2026, 1, 4)
    assert studies(critical_results(held, CriticalFilters(day, day))) == [study_uid(4)]
    assert studies(critical_results(held, CriticalFilters(date_to=dt.date(2026, 1, 2)))) == [study_uid(2), study_uid(1)]
    assert studies(critical_results(held, CriticalFilters(study_instance_uid=study_uid(3)))) == [study_uid(3)]
    assert studies(critical_results(held, ALL, category=2)) == []
    with pytest.raises(UsageError):
        critical_results(held, ALL, limit=0)


def test_who_may_see_only_some_senders_sees_only_theirs(held):
    """Neither the list nor a single one tells of others."""
    north = held.within(Scope(calling_ae_titles=frozenset({"NORTH"})))
    assert studies(critical_results(north, ALL)) == [study_uid(n) for n in (7, 5, 3, 1)]
    other = critical_results(held, ALL).results[1].report.sop_instance_uid
    with pytest.raises(NotFoundError):
        critical_result(north, other)


def test_acknowledged_once_and_taken_back(held):
    """The first word counts until it is taken back; then it can be said again."""
    sop = critical_results(held, ALL).results[0].report.sop_instance_uid
    first = acknowledge(held, sop, ["tension_pneumothorax"], by="anna", recipient=" Ward 3 ", note="")
    assert [(a.acknowledged_by, a.recipient) for a in first] == [("anna", "Ward 3")]
    assert acknowledge(held, sop, ["tension_pneumothorax"], by="ben", recipient="", note="") == first
    assert critical_result(held, sop).state is CriticalState.ACKNOWLEDGED
    assert studies(critical_results(held, ALL, state=CriticalState.ACKNOWLEDGED)) == [study_uid(7)]
    assert undo_acknowledgement(held, sop, by="ben") == 1
    assert critical_result(held, sop).state is CriticalState.OPEN
    with pytest.raises(NotFoundError):
        undo_acknowledgement(held, sop, by="ben")
    assert acknowledge(held, sop, ["tension_pneumothorax"], by="ben", recipient="", note="")[0].acknowledged_by == "ben"
    with pytest.raises(UsageError):
        acknowledge(held, sop, ["x"], by="ben", recipient="r" * 501, note="")
