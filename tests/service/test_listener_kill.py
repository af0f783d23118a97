"""kill -9 of the listener at random moments: acknowledged is stored, on both databases.

benchmarks/kill_listener.py does the same ten thousand times.
"""

import pytest
from support.listener_kills import run_trial
from support.service import Service

pytestmark = pytest.mark.service


def test_listener_killed_five_hundred_times_loses_nothing_acknowledged(tmp_path, database_url):
    """Two senders; each life is at most a fifth of a second, or two starts of this machine."""
    service = Service(tmp_path, database_url)
    service.told("db", "upgrade")
    ledger = run_trial(service.config, kills=500, seconds=0.2, seed=1)
    assert ledger["kills"] == 500
    assert ledger["ended_by_themselves"] == 0
    assert ledger["acknowledged"] > 500
    assert (ledger["missing"], ledger["damaged"], ledger["doubled"]) == (0, 0, 0)
