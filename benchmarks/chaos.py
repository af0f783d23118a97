"""Kill -9 at random of workers, nannies, scheduler and dispatchers while reports go through; prints the ledger.

    python benchmarks/chaos.py --reports 20000 --kills 300
    python benchmarks/chaos.py --postgresql

The tests run the same in small (tests/work/test_chaos.py). Exit code 1 when any report isn't analysed exactly once, or
has other findings than an undisturbed run gives it.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fill import record_of
from support.chaos import run_chaos
from support.postgres import run_postgres
from synthetic import Generator

from dicomnlp.model import StoredObject
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.work.process import process

Expected = dict[int, list[tuple[int, str]]]
AT_ONCE = 250


def filler(reports: int) -> Callable[[Database], Expected]:
    """What stores so many synthetic reports, and knows their findings."""

    def fill(database: Database) -> Expected:
        generator = Generator(5)
        expected: Expected = {}
        for first in range(0, reports, AT_ONCE):
            records = [record_of(generator.report(n)) for n in range(first, min(first + AT_ONCE, reports))]
            for record, receipt in zip(records, record_arrivals(database, records), strict=True):
                arrival, object_id = record.arrival, receipt.object_id or 0
                stored = StoredObject(
                    object_id,
                    arrival.sop_instance_uid,
                    arrival.sop_class_uid,
                    arrival.transfer_syntax_uid,
                    arrival.data,
                )
                [result] = process([stored], ("gb18030", "cp1252"), "en")
                found = result.analysis.findings if result.analysis else ()
                expected[object_id] = [(f.start, f.concept.id) for f in found]
        return expected

    return fill


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL server in place of SQLite")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        url = f"sqlite:///{folder}/chaos.db"
        if asked.postgresql:
            server = stack.enter_context(run_postgres(durable=True))
            url = server.url(server.create_database())
        ledger = run_chaos(
            folder,
            url,
            filler(asked.reports),
            kills=asked.kills,
            seed=asked.seed,
            workers=asked.workers,
            progress=max(5, asked.reports // asked.kills // 2),
            longest_pause=5.0,
            say=lambda line: print(line, flush=True),
        )
    print(ledger)
    print("each exactly once" if ledger.is_exact else "MISS")
    return int(not ledger.is_exact)


if __name__ == "__main__":
    sys.exit(main())
