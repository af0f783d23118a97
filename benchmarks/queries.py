"""How long queries take over HTTP, as the archive grows: 10,000, 100,000 and a million reports, on both databases.

    python benchmarks/queries.py                              both, to a million: some hours
    python benchmarks/queries.py --sizes 2000,20000 --databases sqlite
    python benchmarks/queries.py --keep /data --json queries.json

One database is filled on from size to size (see fill.py) and asked by one client on one connection, by the web part as
it is installed. `search.py` measures searches in the store, of rarer kinds. `--json` also writes the figures for
plots.py. Exit code 1 when a bound of the issue is missed: p99 of a study's findings under 20 ms, and of the first page
of a search by concept, assertion and date under 200 ms, at the largest size.
"""

import argparse
import contextlib
import http.client
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import sqlalchemy as sa
from fill import fill, open_database, size_of
from measured import about, percentile
from support.postgres import run_postgres
from support.service import Service
from synthetic import SECOND_REPORT, Generator, study_instance_uid

from dicomnlp.store import schema
from dicomnlp.store.database import Database

STUDY_MS = 20.0
SEARCH_MS = 200.0
STUDIES, SEARCHES = "findings of a study", "search: concept, assertion, dates"


def paths(reports: int, seed: int, chance: random.Random) -> dict[str, Iterator[str]]:
    """For each kind of query, paths without end."""

    def studies(what: str) -> Iterator[str]:
        while True:
            number = chance.randrange(reports)
            number -= number % SECOND_REPORT == SECOND_REPORT - 1
            yield f"/api/v1/studies/{study_instance_uid(seed, number)}/{what}"

    def searches(**fields: str) -> Iterator[str]:
        while True:
            year = chance.randrange(2016, 2025)
            dates = {"from": f"{year}-01-01", "to": f"{year + 1}-12-31"} if fields.pop("dated", "") else {}
            yield f"/api/v1/findings?{urlencode({**fields, **dates})}"

    return {
        STUDIES: studies("findings"),
        "reports of a study": studies("reports"),
        SEARCHES: searches(concept="pleural_effusion", assertion="present", dated="yes"),
        "search: a rare concept": searches(concept="midline_shift", assertion="possible"),
        "search: a word": searches(text="redemonstrated"),
    }


@contextlib.contextmanager
def web(folder: Path, url: str) -> Iterator[http.client.HTTPConnection]:
    """The web part alone, and a connection to it."""
    service = Service(folder, url, logs__level="warning")
    command = [sys.executable, "-m", "dicomnlp", "--config", str(service.config), "web"]
    with service.stderr.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        if not process.stdout.readline().startswith("ready"):
            raise SystemExit(service.stderr.read_text())
        yield http.client.HTTPConnection("127.0.0.1", service.web_port, timeout=120)
    finally:
        process.terminate()
        process.wait(30)


def ask(connection: http.client.HTTPConnection, path: str) -> float:
    """Milliseconds until the whole answer is there."""
    started = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise SystemExit(f"{answer.status} for {path}")
    return (time.perf_counter() - started) * 1000


def measure(
    name: str, database: Database, url: str, folder: Path, asked: argparse.Namespace
) -> list[dict[str, object]]:
    """Fill from size to size, and ask."""
    figures = []
    for size in map(int, asked.sizes.split(",")):
        fill(database, Generator(), size, asked.distinct)
        with database.read() as connection:
            reports = connection.scalar(sa.select(sa.func.count()).select_from(schema.sop_instance)) or 0
            findings = connection.scalar(sa.select(sa.func.count()).select_from(schema.finding)) or 0
        with web(folder, url) as client:
            for kind, of_kind in paths(reports, 1, random.Random(size)).items():  # noqa: S311  which reports, no secret
                count = asked.times if kind.endswith("of a study") else max(20, asked.times // 10)
                for _ in range(10):
                    ask(client, next(of_kind))
                taken = [ask(client, next(of_kind)) for _ in range(count)]
                p50, p99 = percentile(taken, 50), percentile(taken, 99)
                print(f"| {name} | {reports:,} | {kind} | {p50:.1f} | {p99:.1f} |", flush=True)
                figures.append({"database": name, "reports": reports, "query": kind, "p50": p50, "p99": p99})
        bytes_ = size_of(database)
        figures.append({"database": name, "reports": reports, "findings": findings, "bytes": bytes_})
        print(
            f"  {name}, {reports:,} reports, {findings:,} findings: {bytes_ / 1e9:.2f} GB, "
            f"{bytes_ / reports:,.0f} bytes a report",
            flush=True,
        )
    return figures


def main() -> int:
    """Both databases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--distinct", type=int, default=20_000, help="reports that are really analysed")
    parser.add_argument("--times", type=int, default=2000, help="queries of each kind; of searches a tenth")
    parser.add_argument("--keep", type=Path, help="folder in which the SQLite database is kept, and gone on with")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    print(about())
    print("| database | reports | query | p50 ms | p99 ms |\n|---|---|---|---|---|")
    figures: list[dict[str, object]] = []
    for name in asked.databases.split(","):
        with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
            folder = Path(temporary)
            url = f"sqlite:///{(asked.keep or folder).resolve() / 'queries.db'}"
            if name == "postgresql":
                server = stack.enter_context(run_postgres(durable=True))
                url = server.url(server.create_database())
            database = stack.enter_context(contextlib.closing(open_database(url, folder)))
            figures += measure(name, database, url, folder, asked)
    if asked.json:
        asked.json.write_text(json.dumps({"about": about(), "figures": figures}, indent=1))
    missed = False
    largest = max(int(str(f["reports"])) for f in figures)
    for f in figures:
        bound = {STUDIES: STUDY_MS, SEARCHES: SEARCH_MS}.get(str(f.get("query")))
        if bound is not None and f["reports"] == largest:
            p99 = float(str(f["p99"]))
            missed |= p99 >= bound
            verdict = "MISS" if p99 >= bound else "pass"
            print(f"{f['database']}, {f['query']}: p99 {p99:.1f} ms; bound {bound:.0f}: {verdict}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
