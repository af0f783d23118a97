"""Reprocess an archive: the rate of each tenth, the memory of each process, and what another worker is worth.

    python benchmarks/reprocess.py --reports 1000000                      one worker, two, a remote Dask worker
    python benchmarks/reprocess.py --reports 20000 --runs 1,2             in small
    python benchmarks/reprocess.py --url postgresql+psycopg://USER@HOST/NAME
    python benchmarks/reprocess.py --keep /data/bench.db ...              goes on with what is there already

Fills a database with synthetic reports (see fill.py; skipped as far as it is filled) and has all of them processed
again by a dispatcher of this process. A run that was interrupted goes on where it stopped. Resident memory is that of
this process and of each worker. Exit code 1 when a bound of the issue is missed: the last tenth within 10 % of the
first, resident memory at the end within 10 % of that after two tenths, two workers at least 1.7 times one. The last is
of machines with a core for the dispatcher beside the workers'; on fewer it is told and not judged.
"""

import argparse
import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fill import fill
from measured import about
from support.postgres import run_postgres
from synthetic import Generator

from dicomnlp import logs
from dicomnlp.config import DatabaseSettings, Settings, WorkSettings
from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.store.reprocess import Selection, start_run
from dicomnlp.work.dispatcher import work_through

STEADY = 0.1
TWO_WORKERS = 1.7


@dataclass
class Watched:
    """A run as it goes on."""

    total: int
    begun: float = field(default_factory=time.monotonic)
    marks: list[tuple[float, int, float]] = field(default_factory=list)
    """Seconds, reports done, and megabytes, at each tenth; the first entry when work began."""

    def see(self, done: int, total: int) -> None:
        """Note each tenth."""
        if not self.marks:
            # starting the workers isn't work
            if done == 0:
                self.begun = time.monotonic()
                return
            self.marks.append((time.monotonic() - self.begun, done, resident()))
            return
        if done * 10 // total > len(self.marks) - 1 or done >= total > self.marks[-1][1]:
            seconds, before, _ = self.marks[-1]
            now = time.monotonic() - self.begun
            self.marks.append((now, done, resident()))
            rate = (done - before) / (now - seconds)
            print(f"    {done:,} of {total:,}: {rate:,.0f}/s, {self.marks[-1][2]:,.0f} MB", flush=True)

    @property
    def rates(self) -> list[float]:
        """Reports a second of each tenth."""
        pairs = zip(self.marks, self.marks[1:], strict=False)
        return [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairs]

    @property
    def rate(self) -> float:
        """Of all."""
        return (self.marks[-1][1] - self.marks[0][1]) / (self.marks[-1][0] - self.marks[0][0])


def resident() -> float:
    """Megabytes of this process and all that it has started."""
    this = psutil.Process()
    total = 0
    for process in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / 1e6


@contextlib.contextmanager
def scheduler(kind: str, folder: Path) -> Iterator[tuple[str, int]]:
    """`work.scheduler` and `work.workers` of a run: so many workers of our own, or one of another cluster."""
    if kind != "remote":
        yield "", int(kind)
        return
    import distributed  # noqa: PLC0415  only here is a cluster made by hand

    with distributed.LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1,
        threads_per_worker=1,
        host="127.0.0.1",
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        preload=["dicomnlp.work.preload"],
        local_directory=str(folder),
    ) as cluster:
        yield cluster.scheduler_address, 1


def main() -> int:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=1_000_000)
    parser.add_argument("--distinct", type=int, default=20_000)
    parser.add_argument("--runs", default="1,2,remote", help="numbers of workers, or remote")
    parser.add_argument("--url", help="database.url")
    parser.add_argument("--keep", type=Path, help="SQLite file that is kept, and gone on with")
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL server of its own")
    asked = parser.parse_args()
    logs.configure("warning")
    print(about())
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        url = asked.url or f"sqlite:///{asked.keep.resolve() if asked.keep else folder / 'bench.db'}"
        if asked.postgresql:
            server = stack.enter_context(run_postgres(durable=True))
            url = server.url(server.create_database())
        settings = Settings(database=DatabaseSettings(url=url, large_object_directory=folder / "objects"))
        admin.upgrade(settings)
        database = stack.enter_context(contextlib.closing(Database.open(settings)))
        fill(database, Generator(), asked.reports, asked.distinct)
        watched: dict[str, Watched] = {}
        for kind in asked.runs.split(","):
            with scheduler(kind, folder) as (address, workers):
                run = start_run(database, Selection(everything=True))
                print(f"  {kind} worker(s), {run.total:,} reports{', gone on with' if run.resumed else ''}", flush=True)
                work = WorkSettings(scheduler=address, workers=workers)
                watched[kind] = Watched(run.total)
                work_through(settings.model_copy(update={"work": work}), database, run.id, watched[kind].see)
    return _judge(watched)


def _judge(watched: dict[str, Watched]) -> int:
    print("| workers | reports/s | first tenth | last tenth | MB after 2/10 | MB at the end |")
    print("|---|---|---|---|---|---|")
    missed = False
    for kind, run in watched.items():
        first, last = run.rates[0], run.rates[-1]
        early, late = run.marks[min(2, len(run.marks) - 1)][2], run.marks[-1][2]
        print(f"| {kind} | {run.rate:,.0f} | {first:,.0f} | {last:,.0f} | {early:,.0f} | {late:,.0f} |")
        steady, flat = abs(last / first - 1) <= STEADY, late <= early * (1 + STEADY)
        missed |= not (steady and flat)
        print(f"  rate within 10 %: {'pass' if steady else 'MISS'}; memory within 10 %: {'pass' if flat else 'MISS'}")
    if {"1", "2"} <= watched.keys():
        ratio = watched["2"].rate / watched["1"].rate
        judged = len(os.sched_getaffinity(0)) > 2
        missed |= judged and ratio < TWO_WORKERS
        verdict = "pass" if ratio >= TWO_WORKERS else "MISS" if judged else "missed, on two cores for three processes"
        print(f"two workers are {ratio:.2f} times one; bound {TWO_WORKERS}: {verdict}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
