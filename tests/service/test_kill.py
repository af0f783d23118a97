"""kill -9 at random moments: what a sender saw acknowledged is there, analysed exactly once.

The sizes here suit a test run; benchmarks/kill.py does the same at any size.
"""

import pytest
from support.killing import kill_service, kill_workers
from support.service import Service

pytestmark = pytest.mark.service


def test_service_killed_while_two_senders_send_loses_nothing_acknowledged(tmp_path, database_url):
    """All processes of the service at once, three times."""
    ledger = kill_service(Service(tmp_path, database_url), objects=200, senders=2, kills=3, seed=1)
    assert ledger.acknowledged >= 200
    assert ledger.missing == []
    assert ledger.analysed_more_than_once == []
    assert ledger.not_analysed == []


def test_workers_killed_while_objects_wait_lose_and_block_nothing(tmp_path):
    """The worker processes only, again and again."""
    ledger = kill_workers(Service(tmp_path, work__workers=2), objects=200, kills=3, seed=1)
    assert ledger.missing == []
    assert ledger.analysed_more_than_once == []
    assert ledger.not_analysed == []
