"""Requests a minute: of each who asks, and what is said to who asks more."""

import pytest

from dicomnlp.config import WebSettings
from dicomnlp.serve import rate_limit
from dicomnlp.serve.rate_limit import RateLimit


class Clock:
    """Seconds that a test lets go by."""

    now = 1000.0

    def __call__(self):
        """The seconds now."""
        return self.now


def test_a_minutes_requests_may_come_at_once_and_are_refilled_evenly():
    """Sixty a minute: sixty at once, then one a second."""
    clock = Clock()
    limit = RateLimit(60, clock)
    assert [limit.spend("a") for _ in range(60)] == [0.0] * 60
    assert limit.spend("a") == pytest.approx(1.0)
    clock.now += 0.5
    assert limit.spend("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert [limit.spend("a"), limit.spend("a")] == [0.0, pytest.approx(1.0)]
    clock.now += 3600
    assert [limit.spend("a") for _ in range(60)] == [0.0] * 60
    assert limit.spend("a") > 0


def test_each_who_asks_has_a_bucket_of_their_own():
    """One who asks too much takes nothing from others."""
    limit = RateLimit(1, Clock())
    assert [limit.spend("a"), limit.spend("b"), limit.spend("a")] == [0.0, 0.0, pytest.approx(60.0)]


def test_who_was_quiet_longest_is_forgotten_first(monkeypatch):
    """Memory is bounded, whatever names come."""
    monkeypatch.setattr(rate_limit, "MAXIMUM_REMEMBERED", 3)
    limit = RateLimit(1, Clock())
    for who in "abcd":
        limit.spend(who)
    assert list(limit._buckets) == ["b", "c", "d"]


def test_too_many_requests_are_429_with_when_to_come_again(settings, archive, make_client):
    """And leave no row in the trail; /healthz is answered still."""
    archive.add()
    limited = settings.model_copy(update={"web": WebSettings(maximum_requests_per_minute=2)})
    client = make_client(lambda: archive.database, limited)
    path = f"/api/v1/studies/{archive.study}/findings"
    assert [client.get(path).status_code for _ in range(2)] == [200, 200]
    response = client.get(path)
    assert (response.status_code, response.json()["reason_code"]) == (429, "too_many_requests")
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert client.get("/healthz").status_code == 200
