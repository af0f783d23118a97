"""Does a worker's memory grow with what it reads? Reports of words that nobody ever wrote, each different.

    python benchmarks/memory.py --reports 200000

In one process, what a worker does to each object. Half of the words of each report are random letters, so that every
string store and cache that isn't bounded grows with each. Prints resident memory at every tenth; exit code 1 if the
last tenth is more than a tenth above the second.
"""

import argparse
import random
import string
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))

from synthetic import Generator

from dicomnlp.model import StoredObject
from dicomnlp.store.prepared import prepare_rows
from dicomnlp.work.process import process


def objects(seed: int) -> Iterator[StoredObject]:
    """Synthetic reports, every second word of which is random letters."""
    generator, chance = Generator(seed), random.Random(seed)  # noqa: S311  reports, not secrets
    number = 0
    while True:
        report = generator.report(number)
        sections = tuple((kind, heading, _strange(text, chance)) for kind, heading, text in report.sections)
        arrival = replace(report, sections=sections).arrival()
        yield StoredObject(
            number, arrival.sop_instance_uid, arrival.sop_class_uid, arrival.transfer_syntax_uid, arrival.data
        )
        number += 1


def _strange(text: str, chance: random.Random) -> str:
    words = text.split()
    for n in range(0, len(words), 2):
        words[n] = "".join(chance.choices(string.ascii_lowercase, k=chance.randint(4, 12)))
    return " ".join(words)


def main() -> int:
    """Read, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    source, this = objects(asked.seed), psutil.Process()
    resident = []
    for tenth in range(1, 11):
        started = time.process_time()
        for _ in range(asked.reports // 10):
            for result in process([next(source)], ("gb18030", "cp1252"), "en"):
                prepare_rows(result)
        resident.append(this.memory_info().rss / 1e6)
        each = (time.process_time() - started) / (asked.reports // 10)
        print(
            f"{tenth * asked.reports // 10:9,} reports: {resident[-1]:7.1f} MB, {1000 * each:.2f} ms each", flush=True
        )
    grown = resident[-1] / resident[1]
    print(f"the last tenth is {grown:.3f} of the second; bound 1.1: {'pass' if grown <= 1.1 else 'MISS'}")
    return int(grown > 1.1)


if __name__ == "__main__":
    sys.exit(main())
