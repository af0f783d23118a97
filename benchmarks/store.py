"""How fast the store is, on SQLite and on a PostgreSQL server that waits for its disk.

Run `python benchmarks/store.py`. It prints rates of `record_arrivals` for objects of 5 kB, one and sixteen a
transaction, and the times of the everyday queries with 10,000 analysed reports of 12 findings.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.postgres import run_postgres
from support.records import make_finding, make_processed, make_record

from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.model import IntakeRecord
from dicomnlp.store import admin, queries, queue, status
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals

REPORTS = 10_000
REPORTS_A_STUDY = 2
FINDINGS = [make_finding(start=n * 10) for n in range(12)]


def timed(work: Callable[[int], object], times: int) -> str:
    """Median and 99th percentile of the milliseconds that `work(n)` takes."""
    taken = []
    for n in range(times):
        start = time.perf_counter()
        work(n)
        taken.append((time.perf_counter() - start) * 1000)
    return f"median {statistics.median(taken):.2f} ms, p99 {statistics.quantiles(taken, n=100)[98]:.2f} ms"


def measure(name: str, url: str, folder: Path) -> None:
    """Measure one database."""
    settings = Settings(database=DatabaseSettings(url=url, large_object_directory=folder / "objects"))
    admin.upgrade(settings)
    database = Database.open(settings)
    numbers = iter(range(10**9))

    def records(count: int) -> list[IntakeRecord]:
        made = []
        for _ in range(count):
            n = next(numbers)
            made.append(make_record(n, os.urandom(5000), study=f"1.2.{n // REPORTS_A_STUDY}"))
        return made

    for group, times in ((1, 1000), (16, 300)):
        groups = [records(group) for _ in range(times)]
        start = time.perf_counter()
        for g in groups:
            record_arrivals(database, g)
        seconds = time.perf_counter() - start
        print(f"{name}: record_arrivals, {group} a transaction: {group * times / seconds:,.0f} objects/s")
    while next(numbers) < REPORTS - 50:
        record_arrivals(database, records(50))
    start, saved = time.perf_counter(), 0
    while taken := queue.take_pending(database, maximum_objects=32, maximum_bytes=10**7, exclude=()):
        saved += queue.save_processed(database, [make_processed(t.object_id, findings=FINDINGS) for t in taken])
    seconds = time.perf_counter() - start
    print(f"{name}: take_pending and save_processed: {saved / seconds:,.0f} reports/s of {saved}")
    study = "1.2.{}".format
    print(f"{name}: findings_of_study: {timed(lambda n: queries.findings_of_study(database, study(n + 100)), 500)}")
    print(f"{name}: reports_of_study: {timed(lambda n: queries.reports_of_study(database, study(n + 100)), 500)}")
    print(f"{name}: read_status: {timed(lambda _: status.read_status(database), 10)}")
    database.close()


def main() -> None:
    """Both databases."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure("SQLite", f"sqlite:///{folder}/bench.db", folder)
        with run_postgres(durable=True) as server:
            measure("PostgreSQL", server.url(server.create_database()), folder)


if __name__ == "__main__":
    main()
