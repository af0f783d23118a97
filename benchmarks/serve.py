"""How fast what is held is answered over HTTP, among 100,000 reports, with authentication and the audit trail on.

Run `python benchmarks/serve.py [--short] [--reports N] [--sqlite] [--peer]`. Reports of ten findings each fill a
database as `benchmarks/search.py` makes them; `dicomnlp web` runs as a process of its own, and this one asks it, each
client on a connection of its own with an API key. It prints what is measured beside its bound, and ends with 1 when
one is missed.

The fifty clients are viewers: each asks for another study twice a second. What one process answers when they ask
without pause is printed too; with fifty who never pause the time of an answer is fifty times that of the work for it,
whatever it is.

`--peer` installs Datasette into a folder of its own, for the time of the run, and asks it for the same findings of the
same SQLite file.
"""

import argparse
import asyncio
import contextlib
import os
import random
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "tests")]

import search
import sqlalchemy as sa
from support.postgres import run_postgres

from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.store.keys import add_key
from dicomnlp.store.scope import EVERYTHING

CLIENTS = 50
PAUSE_SECONDS = 0.5
STUDY_BOUND, PAGE_BOUND = 20.0, 200.0
"""Milliseconds of the 99th percentile: findings of a study; a page."""
EXPORT_ROWS = 1_000_000
EXPORT_BOUND = 512
"""MiB that an export may have in memory, however many rows it writes."""


class Report:
    """Lines of what was measured, and whether a bound was missed."""

    missed = False

    def add(self, name: str, value: float, unit: str, bound: float | None = None, more: str = "") -> None:
        """Print a line."""
        verdict = ""
        if bound is not None:
            is_met = value <= bound
            self.missed = self.missed or not is_met
            verdict = f"  {'pass' if is_met else 'MISSED'} (bound {bound:g})"
        print(f"  {name}: {value:,.1f} {unit}{more}{verdict}", flush=True)


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Asker:
    """A client on a connection that is kept, as light as can be: it shares the machine with what it measures."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._head = f" HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, path: str) -> tuple[float, int]:
        """Milliseconds until the whole answer was there, and its bytes."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        reader, writer = self._streams
        start = time.perf_counter()
        writer.write(f"GET {path}{self._head}".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"{path}: {head.splitlines()[0].decode()}")
        size = 0
        if b"content-length" in fields:
            size = int(fields[b"content-length"])
            await reader.readexactly(size)
        else:
            while length := int(await reader.readline(), 16):
                await reader.readexactly(length + 2)
                size += length
            await reader.readline()
        return (time.perf_counter() - start) * 1000, size


async def load(
    port: int, key: str, path: Callable[[random.Random], str], *, clients: int, each: int, pause: float
) -> tuple[list[float], float]:
    """Milliseconds of all answers to `clients` who ask `each` times, and the seconds that it took."""

    async def client(number: int) -> list[float]:
        choice = random.Random(number)  # noqa: S311  the same requests each time
        asker = Asker(port, key)
        taken = []
        await asyncio.sleep(pause * number / clients)
        for _ in range(each):
            start = time.perf_counter()
            taken.append((await asker.ask(path(choice)))[0])
            # at its own pace, however long the answer took
            await asyncio.sleep(max(0.0, pause - (time.perf_counter() - start)))
        return taken

    start = time.perf_counter()
    found = await asyncio.gather(*(client(number) for number in range(clients)))
    return [milliseconds for taken in found for milliseconds in taken], time.perf_counter() - start


def percentile(taken: Sequence[float], percent: int) -> float:
    """Of milliseconds."""
    return statistics.quantiles(taken, n=100)[percent - 1]


@contextlib.contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server until the block ends."""
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(log.read_text()[-2000:])
                time.sleep(0.1)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """That the process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, url: str, folder: Path, arguments: argparse.Namespace, report: Report) -> None:
    """Fill one database, and ask a service on it."""
    reports = arguments.reports
    settings = Settings(database=DatabaseSettings(url=url, large_object_directory=folder / "objects"))
    admin.upgrade(settings)
    database = Database.open(settings)
    search.FINDINGS = max(1, -(-EXPORT_ROWS // 100_000))
    start = time.perf_counter()
    search.fill(database, reports)
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
    _, key = add_key(database, f"benchmark-{name.lower()}", "admin", EVERYTHING)
    with database.read() as connection:
        rows = connection.scalar(sa.text("SELECT count(*) FROM finding"))
    database.close()
    print(f"{name}: {reports:,} reports, {rows:,} findings, filled in {time.perf_counter() - start:.0f} s", flush=True)
    port = free_port()
    config = folder / f"{name.lower()}.toml"
    config.write_text(
        f'[database]\nurl = "{url}"\n[web]\nport = {port}\nauthentication = "on"\n'
        'maximum_requests_per_minute = 100000000\n[logs]\nlevel = "warning"\n'
    )
    command = [sys.executable, "-m", "dicomnlp", "--config", str(config)]

    def of_study(choice: random.Random) -> str:
        return f"/api/v1/studies/1.2.{choice.randint(1, reports)}/findings"

    with running([*command, "web"], port, folder / "web.log") as process:
        ask_all(port, key, of_study, process, arguments, report)
        ask_once(port, key, reports, arguments, report)
    if database.is_sqlite and arguments.peer:
        ask_peer(Path(url.removeprefix("sqlite:///")), folder, reports, arguments, report)
    export(command, folder, int(rows or 0), report)


def ask_all(
    port: int,
    key: str,
    of_study: Callable[[random.Random], str],
    process: subprocess.Popen[bytes],
    arguments: argparse.Namespace,
    report: Report,
) -> None:
    """Findings of studies, by fifty clients."""
    each = 6 if arguments.short else 60
    asyncio.run(load(port, key, of_study, clients=CLIENTS, each=4, pause=0.1))  # what is read once is read
    before = processor_seconds(process)
    taken, seconds = asyncio.run(load(port, key, of_study, clients=CLIENTS, each=each, pause=PAUSE_SECONDS))
    used = (processor_seconds(process) - before) / len(taken) * 1000
    rate = len(taken) / seconds
    more = f" (median {statistics.median(taken):.1f}, {rate:.0f} requests/s, {used:.1f} ms of processor time each)"
    report.add(f"findings of a study, {CLIENTS} clients, p99", percentile(taken, 99), "ms", STUDY_BOUND, more)
    taken, seconds = asyncio.run(load(port, key, of_study, clients=CLIENTS, each=each, pause=0.0))
    more = f" (median {statistics.median(taken):.1f} ms, p99 {percentile(taken, 99):.1f} ms)"
    report.add(f"the same, {CLIENTS} clients without pause", len(taken) / seconds, "requests/s", more=more)


def ask_once(port: int, key: str, reports: int, arguments: argparse.Namespace, report: Report) -> None:
    """Pages and searches, one after the other."""
    times = 10 if arguments.short else 50
    study = "1.2.{}".format
    asked: list[tuple[str, Callable[[random.Random], str], float | None]] = [
        ("page of a study", lambda choice: f"/studies/{study(choice.randint(1, reports))}", PAGE_BOUND),
        ("worklist", lambda _: "/", PAGE_BOUND),
        ("search page", lambda _: "/search", PAGE_BOUND),
        ("search page, a word", lambda choice: f"/search?text=word{choice.randrange(200)}", PAGE_BOUND),
        ("follow-up page", lambda _: "/follow-up", PAGE_BOUND),
        ("status page", lambda _: "/status", PAGE_BOUND),
        ("search, first page", lambda _: "/api/v1/findings?limit=100", PAGE_BOUND),
        ("search by a word, first page", lambda choice: f"/api/v1/findings?text=word{choice.randrange(200)}", None),
        ("facets of everything", lambda _: "/api/v1/findings/facets", None),
        ("count of everything", lambda _: "/api/v1/findings/count", None),
        ("QIDO-RS, newest studies", lambda _: "/dicom-web/studies?limit=100", None),
        ("QIDO-RS, a study", lambda c: f"/dicom-web/studies?StudyInstanceUID={study(c.randint(1, reports))}", None),
        (
            "FHIR, reports of a study",
            lambda c: f"/fhir/DiagnosticReport?identifier={study(c.randint(1, reports))}",
            None,
        ),
    ]
    for name, path, bound in asked:
        count = 3 if "everything" in name or "QIDO" in name else times
        taken, _ = asyncio.run(load(port, key, path, clients=1, each=count, pause=0.0))
        more = f" (median {statistics.median(taken):.1f}, first {taken[0]:.1f})"
        report.add(f"{name}, slowest of {count}", max(taken), "ms", bound, more)


def ask_peer(file: Path, folder: Path, reports: int, arguments: argparse.Namespace, report: Report) -> None:
    """Datasette on the same file: the rows of a study's findings by the same index, without keys and trail."""
    print("  (installing Datasette)", flush=True)
    place = folder / "datasette"
    venv.create(place, with_pip=True)
    subprocess.run([place / "bin" / "pip", "install", "--quiet", "datasette"], check=True)
    port = free_port()
    command = [str(place / "bin" / "datasette"), "serve", str(file), "--port", str(port), "--host", "127.0.0.1"]

    def of_study(choice: random.Random) -> str:
        uid = f"1.2.{choice.randint(1, reports)}"
        sql = (
            "select+*+from+finding+where+is_current+and+object_id+in+(select+object_id+from+report_study+where+"
            f"study_instance_uid='{uid}'+and+kind+in+('own','evidence','request','accession','identical'))+limit+5001"
        )
        return f"/{file.stem}.json?sql={sql}&_shape=array"

    each = 6 if arguments.short else 60
    with running(command, port, folder / "datasette.log") as process:
        asyncio.run(load(port, "", of_study, clients=CLIENTS, each=2, pause=0.5))
        before = processor_seconds(process)
        taken, seconds = asyncio.run(load(port, "", of_study, clients=CLIENTS, each=each, pause=PAUSE_SECONDS))
        used = (processor_seconds(process) - before) / len(taken) * 1000
        more = f" (median {statistics.median(taken):.1f}, {used:.1f} ms of processor time each)"
        report.add(f"peer: Datasette, {CLIENTS} clients, p99", percentile(taken, 99), "ms", more=more)
        taken, seconds = asyncio.run(load(port, "", of_study, clients=CLIENTS, each=each, pause=0.0))
        report.add("peer: without pause", len(taken) / seconds, "requests/s")


def export(command: Sequence[str], folder: Path, rows: int, report: Report) -> None:
    """All findings to a file, by the command, whose greatest memory is looked at."""
    out = folder / "findings.csv"
    start = time.perf_counter()
    with subprocess.Popen(
        [*command, "export", "--format", "csv", "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(said.decode()[-2000:])
    seconds = time.perf_counter() - start
    peak = usage.ru_maxrss / 1024
    more = f" ({rows:,} rows, {seconds:.0f} s, {rows / seconds:,.0f} rows/s, {out.stat().st_size / 2**20:,.0f} MiB)"
    report.add("export as CSV, greatest memory", peak, "MiB", EXPORT_BOUND, more)
    out.unlink()


def main() -> None:
    """Both databases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="5,000 reports and a tenth of the requests")
    parser.add_argument("--reports", type=int, help="how many (100,000)")
    parser.add_argument("--sqlite", action="store_true", help="leave PostgreSQL out")
    parser.add_argument("--peer", action="store_true", help="ask Datasette too")
    arguments = parser.parse_args()
    arguments.reports = arguments.reports or (5_000 if arguments.short else 100_000)
    # fifty connections, and what the interpreter has open itself
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure("SQLite", f"sqlite:///{folder}/bench.db", folder, arguments, report)
        if not arguments.sqlite:
            with run_postgres(durable=True) as server:
                measure("PostgreSQL", server.url(server.create_database()), folder, arguments, report)
    raise SystemExit(1 if report.missed else 0)


if __name__ == "__main__":
    main()
