"""What each table says beside its figures: machine, versions, date, and whether anything else was running."""

import datetime as dt
import importlib.metadata
import os
import platform
import sqlite3
from collections.abc import Sequence
from pathlib import Path

PACKAGES = ("dicomnlp", "spacy", "medspacy", "distributed", "sqlalchemy", "pydicom")


def about() -> str:
    """One paragraph."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = {line.partition(": ")[2] for line in lines if line.startswith("model name")}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC; {len(os.sched_getaffinity(0))} cores "
        f"({', '.join(sorted(models)) or platform.machine()}), {memory:.0f} GB; Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {versions}; load average before: {os.getloadavg()[0]:.1f}"
    )


def percentile(values: Sequence[float], of_hundred: float) -> float:
    """The value that so many of a hundred are not above; infinite when there is none."""
    if not values:
        return float("inf")
    return sorted(values)[min(len(values) - 1, int(len(values) * of_hundred / 100))]
