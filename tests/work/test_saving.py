"""Results are saved one batch a transaction, and never dropped while the database fails."""

import pytest
from support.records import make_processed, make_record
from work.bench import make_settings

from dicomnlp.errors import DatabaseError
from dicomnlp.model import State
from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.queue import count_pending, save_processed, take_pending
from dicomnlp.store.status import read_failures
from dicomnlp.work import saving
from dicomnlp.work.saving import Saver


@pytest.fixture
def database(tmp_path):
    """A SQLite database with three pending objects, numbers 1 to 3."""
    settings = make_settings(tmp_path)
    admin.upgrade(settings)
    opened = Database.open(settings)
    record_arrivals(opened, [make_record(n) for n in (1, 2, 3)])
    yield opened
    opened.close()


def fail(monkeypatch, condition, reason_code):
    """Make saving fail when `condition` holds for the results."""

    def save(database, results):
        if condition(results):
            raise DatabaseError("as told", reason_code=reason_code)
        return save_processed(database, results)

    monkeypatch.setattr(saving, "save_processed", save)


def test_results_stay_until_the_database_takes_them(database, monkeypatch):
    """A failing database is told about and keeps everything where it is."""
    saver = Saver(database, 3)
    saver.results.append([make_processed(1), make_processed(2)])
    saver.results.append([make_processed(3)])
    fail(monkeypatch, lambda _results: True, "database_locked")
    with pytest.raises(DatabaseError):
        saver.save()
    assert saver.waiting
    assert saver.object_ids() == {1, 2, 3}
    monkeypatch.undo()
    saver.save()
    assert not saver.waiting
    assert count_pending(database) == 0


@pytest.mark.parametrize("reason_code", ["database_failed", "database_conflict"])
def test_a_database_that_takes_nothing_is_not_blamed_on_an_object(database, monkeypatch, reason_code):
    """When not even the substitute of a result can be saved, the result goes on waiting."""
    saver = Saver(database, 3)
    saver.results.append([make_processed(1), make_processed(2)])
    fail(monkeypatch, lambda _results: True, reason_code)
    for _ in range(3):
        with pytest.raises(DatabaseError):
            saver.save()
    assert saver.object_ids() == {1, 2}
    monkeypatch.undo()
    saver.save()
    assert [o.object_id for o in take_pending(database, maximum_objects=9, maximum_bytes=9999, exclude=[])] == [3]
    assert read_failures(database, 9) == []


def test_result_that_cannot_be_stored_holds_up_no_other(database, monkeypatch):
    """Its object fails as "not_storable"; those of its batch are saved."""
    saver = Saver(database, 3)
    saver.results.append([make_processed(n) for n in (1, 2, 3)])
    fail(monkeypatch, lambda rs: any(r.object_id == 2 and r.state is State.ANALYSED for r in rs), "database_failed")
    saver.save()
    assert not saver.waiting
    assert count_pending(database) == 0
    [failure] = read_failures(database, 9)
    assert failure.reason_code == "not_storable"


def test_lost_object_comes_back_until_its_attempts_are_used_up(database):
    """Each loss alone with a worker is an attempt; the last makes it failed, with the reason."""
    saver = Saver(database, 3)
    for expected in (1, 1, 0):
        [stored] = take_pending(database, maximum_objects=1, maximum_bytes=9999, exclude=[2, 3])
        saver.losses.append((stored, "timeout"))
        assert len(saver.save()) == expected
    [failure] = read_failures(database, 9)
    assert (failure.reason_code, failure.attempts) == ("timeout", 3)
    assert count_pending(database) == 2
