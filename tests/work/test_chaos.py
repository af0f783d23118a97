"""Workers, nannies, scheduler and dispatchers die at random: in the end each report has been analysed once."""

import sys
from pathlib import Path

import pytest
from support.chaos import run_chaos

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_each_report_is_analysed_exactly_once_whatever_is_killed(request, tmp_path, monkeypatch, kind):
    """And its findings are those of a run in which nothing dies; benchmarks/chaos.py does it with 20,000."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    from chaos import filler

    url, reports, seed = f"sqlite:///{tmp_path}/chaos.db", 150, 1
    if kind == "postgresql":
        server = request.getfixturevalue("postgres")
        name = server.create_database()
        url, reports, seed = server.url(name), 300, 2
    ledger = run_chaos(tmp_path, url, filler(reports), kills=reports // 30, seed=seed)
    assert ledger.is_exact, str(ledger)
    assert sum(ledger.kills.values()) >= reports // 60, str(ledger)
    if kind == "postgresql":
        server.drop_database(name)
