"""Facets of many findings are kept for a minute, and it is said; of few they are counted anew."""

import pytest

from dicomnlp.serve import kept_facets
from dicomnlp.serve.kept_facets import KeptFacets
from dicomnlp.store.scope import Scope
from dicomnlp.store.search import Filters


def total(counted):
    """Findings of the assertion facet."""
    return sum(number for _, number in counted.values["assertion"])


def test_few_findings_are_counted_each_time(archive):
    """What came in since is there at once."""
    kept = KeptFacets()
    archive.add()
    first = kept.read(archive.database, Filters())
    archive.add("1.2.3", "1.2.3.1")
    second = kept.read(archive.database, Filters())
    assert (total(first), total(second)) == (2, 4)
    assert first.at is second.at is None


@pytest.fixture
def many(monkeypatch):
    """Two findings are many."""
    monkeypatch.setattr(kept_facets, "MANY", 2)


def test_many_findings_are_kept_with_when_they_were_counted(archive, many, monkeypatch):
    """For a minute, for the same filters and scope alone; then counted anew."""
    kept = KeptFacets()
    archive.add()
    assert kept.read(archive.database, Filters()).at is None
    archive.add("1.2.3", "1.2.3.1")
    again = kept.read(archive.database, Filters())
    assert total(again) == 2
    assert again.at is not None
    assert total(kept.read(archive.database, Filters(language="en"))) == 4
    narrow = archive.database.within(Scope(calling_ae_titles=frozenset({"NOBODY"})))
    assert total(kept.read(narrow, Filters())) == 0
    now = kept_facets.time.monotonic()
    monkeypatch.setattr(kept_facets.time, "monotonic", lambda: now + kept_facets.KEEP_SECONDS + 1)
    assert total(kept.read(archive.database, Filters())) == 4


def test_what_is_kept_is_bounded(archive, many, monkeypatch):
    """The oldest goes first."""
    monkeypatch.setattr(kept_facets, "MAXIMUM_KEPT", 2)
    kept = KeptFacets()
    archive.add()
    for limit in (1, 2, 3):
        kept.read(archive.database, Filters(), limit=limit + 10)
    assert [key[-1] for key in kept._held] == [12, 13]


def test_answer_tells_when_it_was_counted(client, archive, many):
    """Null for now, else the moment."""
    archive.add()
    first, second = (client.get("/api/v1/findings/facets").json() for _ in range(2))
    assert first["counted_at"] is None
    assert second["counted_at"].endswith("Z")
    assert first["facets"] == second["facets"]
