"""Kill (-9) at random moments, at full size: is all that was acknowledged there, whole, and analysed once?.

    .venv/bin/python benchmarks/kill.py --objects 2000 --senders 2 --kills 10
    .venv/bin/python benchmarks/kill.py --part listener --kills 10000

The tests run the same trials in small (tests/service/test_kill.py, test_listener_kill.py). Exit code 1 when anything
was lost or doubled.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.killing import kill_service, kill_workers
from support.listener_kills import run_trial
from support.service import Service


def main() -> int:
    """Run the trial that the arguments describe and print its ledger."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--senders", type=int, default=2)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--part", choices=["service", "workers", "listener"], default="service", help="what is killed (service)"
    )
    parser.add_argument("--seconds", type=float, default=0.2, help="longest life of a listener (0.2)")
    parser.add_argument("--url", help="database URL; default: SQLite in a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder), options.url, work__workers=2)
        started = time.monotonic()
        if options.part == "listener":
            return _kill_listener(service, options)
        if options.part == "workers":
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


def _kill_listener(service: Service, options: argparse.Namespace) -> int:
    upgraded = service.command("db", "upgrade")
    if upgraded.returncode:
        raise SystemExit(upgraded.stderr)
    ledger = run_trial(service.config, kills=options.kills, seconds=options.seconds, seed=options.seed)
    print(", ".join(f"{value} {name.replace('_', ' ')}" for name, value in ledger.items()))
    return int(any(ledger[name] for name in ("missing", "damaged", "doubled", "ended_by_themselves")))


if __name__ == "__main__":
    sys.exit(main())
