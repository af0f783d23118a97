"""Kill the whole service (-9) at random moments, at full size: is all that was acknowledged there, analysed once?.

    .venv/bin/python benchmarks/kill.py --objects 2000 --senders 2 --kills 10

The tests run the same trial in small (tests/service/test_kill.py). Exit code 1 when anything was lost or doubled.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.killing import kill_service, kill_workers
from support.service import Service


def main() -> int:
    """Run the trial that the arguments describe and print its ledger."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--senders", type=int, default=2)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers-only", action="store_true", help="kill worker processes only")
    parser.add_argument("--url", help="database URL; default: SQLite in a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder), options.url, work__workers=2)
        started = time.monotonic()
        if options.workers_only:
            ledger = kill_workers(service, objects=options.objects, kills=options.kills, seed=options.seed)
        else:
            ledger = kill_service(
                service, objects=options.objects, senders=options.senders, kills=options.kills, seed=options.seed
            )
        seconds = time.monotonic() - started
    print(
        f"{ledger.kills} kills, {ledger.acknowledged} acknowledged in {seconds:.0f} s: "
        f"{len(ledger.missing)} missing, {len(ledger.not_analysed)} not analysed, "
        f"{len(ledger.analysed_more_than_once)} analysed more than once"
    )
    return int(bool(ledger.missing or ledger.not_analysed or ledger.analysed_more_than_once))


if __name__ == "__main__":
    sys.exit(main())
