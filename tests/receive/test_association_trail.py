"""Associations in the audit trail: one row each, whoever it was and however it ended, and nobody waits for it."""

import pytest

from dicomnlp.audit.events import Kind, Outcome
from dicomnlp.audit.reading import TrailFilters, read_trail, verify
from dicomnlp.errors import DatabaseError
from dicomnlp.receive import association_trail
from dicomnlp.receive.association_trail import MAXIMUM_KEPT, AssociationTrail
from dicomnlp.store import faults
from dicomnlp.store.database import Database


@pytest.fixture
def database(settings):
    """An open database with an empty trail."""
    opened = Database.open(settings())
    yield opened
    opened.close()


def rows_of(database):
    """What the trail holds."""
    return read_trail(database, TrailFilters(), 100_000)


def test_each_association_is_a_row_when_it_has_ended(database):
    """Titles, address, how it ended, and how many objects it brought."""
    trail = AssociationTrail(database)
    trail.ended("CT1", "10.0.0.1", "DICOMNLP", "released", 12)
    trail.ended("CT2", "10.0.0.2", "DICOMNLP", "connection_lost", 3)
    trail.close()
    one, two = rows_of(database)
    assert (one.kind, one.principal, one.address, one.outcome, one.count) == (
        Kind.ASSOCIATION, "CT1", "10.0.0.1", Outcome.SUCCESS, 12,
    )  # fmt: skip
    assert one.query == {"called_ae_title": "DICOMNLP", "end": "released"}
    assert (two.principal, two.outcome, two.query["end"]) == ("CT2", Outcome.FAILED, "connection_lost")


def test_the_same_refusal_again_within_a_second_is_a_number(database):
    """A flood of refused associations fills neither the trail nor memory."""
    trail = AssociationTrail(database)
    for _ in range(500):
        trail.refused("ROGUE", "10.0.0.9", "DICOMNLP", "calling_ae_title_not_recognized")
    trail.close()
    rows = rows_of(database)
    assert len(rows) <= 2
    assert sum(row.count for row in rows) == 500
    assert {(row.principal, row.outcome) for row in rows} == {("ROGUE", Outcome.REFUSED)}


def test_made_up_titles_are_counted_together(database, monkeypatch):
    """Beyond so many of a second they are one row."""
    monkeypatch.setattr(association_trail, "FLUSH_SECONDS", 60.0)
    trail = AssociationTrail(database)
    for n in range(MAXIMUM_KEPT + 500):
        trail.refused(f"ROGUE{n}", "10.0.0.9", "DICOMNLP", "calling_ae_title_not_recognized")
    trail.close()
    rows = rows_of(database)
    assert len(rows) == MAXIMUM_KEPT + 1
    assert [row.count for row in rows if row.principal == "others"] == [500]
    assert verify(database).breaks == ()


def test_rows_wait_while_the_database_takes_none(database, monkeypatch):
    """They are added when it does again, in their order."""
    monkeypatch.setattr(association_trail, "FLUSH_SECONDS", 0.05)
    real, failing = association_trail.record, [True]

    def record(*arguments):
        if failing[0]:
            raise DatabaseError("locked", reason_code=faults.LOCKED)
        real(*arguments)

    monkeypatch.setattr(association_trail, "record", record)
    trail = AssociationTrail(database)
    for n in range(5):
        trail.ended(f"CT{n}", "10.0.0.1", "DICOMNLP", "released", n)
    trail._stop.wait(0.3)
    assert rows_of(database) == []
    failing[0] = False
    trail.close()
    assert [row.principal for row in rows_of(database)] == [f"CT{n}" for n in range(5)]


def test_listener_records_what_it_accepts_and_what_it_refuses(start, eventually):
    """A real association with an echo, and one whose called title is wrong."""
    running = start()
    peer = running.peer()
    peer.associate()
    peer.release()
    eventually(lambda: len(rows_of(running.database)) == 1)
    (row,) = rows_of(running.database)
    assert (row.kind, row.outcome, row.address) == (Kind.ASSOCIATION, Outcome.SUCCESS, "127.0.0.1")
    assert row.query["end"] == "released"
