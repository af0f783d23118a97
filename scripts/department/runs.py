"""The service beside the archive, and the year as it comes to them: month by month, and on from where it stopped."""

import datetime as dt
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from department.archive import Orthanc
from department.objects import encoded
from department.records import Document

START_SECONDS = 180.0
ANALYSE_SECONDS = 1800.0
STOP_SECONDS = 60.0
AE_TITLE, ARCHIVE = "DICOMNLP", "YEARPACS"

Told = Callable[[str, int, int], None]
"""What is under way, how much of it is done, and of how much."""


class RunError(RuntimeError):
    """The service doesn't do what a run needs."""


class Service:
    """`dicomnlp serve` in a folder of its own, for as long as the block lasts.

    Parameters
    ----------
    folder
        Where its configuration and database are; what is there already is gone on with.
    ports
        DICOM and web port of the service, then of the archive, on loopback.
    """

    def __init__(self, folder: Path, ports: tuple[int, int, int, int]) -> None:
        self.folder = folder
        self.port, self.web_port, archive_port, _ = ports
        self.config = folder / "config.toml"
        self._process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.web_port}", timeout=120)
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f"""[listener]
ae_title = "{AE_TITLE}"
port = {self.port}
[web]
port = {self.web_port}
[database]
url = "sqlite:///dicomnlp.db"
large_object_directory = "objects"
[[peers]]
ae_title = "{ARCHIVE}"
images = "index"
[[pacs]]
name = "archive"
ae_title = "{ARCHIVE}"
host = "127.0.0.1"
port = {archive_port}
report_modalities = ["SR", "DOC"]
""",
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        self.command("db", "upgrade")
        out = self.folder / "stdout.txt"
        already = out.stat().st_size if out.exists() else 0
        with out.open("ab") as stdout, (self.folder / "stderr.txt").open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dicomnlp", "--config", str(self.config), "serve"],
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while b"\nready" not in b"\n" + out.read_bytes()[already:]:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise RunError(f"the service doesn't start: see {self.folder / 'stderr.txt'}")
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def command(self, *arguments: str) -> str:
        """What one `dicomnlp` command with its configuration prints.

        Raises
        ------
        RunError
            It fails.
        """
        done = subprocess.run(
            [sys.executable, "-m", "dicomnlp", "--config", str(self.config), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RunError(f"dicomnlp {' '.join(arguments[:2])} failed ({done.returncode}): {done.stderr[-2000:]}")
        return done.stdout

    def get(self, path: str, **parameters: str) -> Any:
        """The JSON that a path of its interface answers with."""
        return self.client.get(path, params=parameters).raise_for_status().json()

    def wait_until_analysed(self, told: Told | None = None) -> None:
        """Until nothing is pending."""
        deadline = time.monotonic() + ANALYSE_SECONDS
        most = 0
        while pending := int(self.get("/api/v1/status")["objects"]["pending"]):
            most = max(most, pending)
            if told:
                told("analysing", most - pending, most)
            if time.monotonic() > deadline:
                raise RunError(f"{pending} objects are still pending")
            time.sleep(0.2)


def feed(
    documents: Sequence[Document], archive: Orthanc, service: Service, progress: Path, told: Told | None = None
) -> None:
    """Let the year come: each month's documents into the archive, and from there to the service, in their order.

    Parameters
    ----------
    documents
        Of all patients.
    progress
        File that tells which months are done; what it names isn't done again.
    """
    done: list[str] = json.loads(progress.read_text(encoding="utf-8")) if progress.exists() else []
    ordered = sorted(documents, key=lambda d: (d.day, d.minutes, d.patient.number, d.number))
    total, sent = len(ordered), 0
    for month, several in itertools.groupby(ordered, key=lambda d: f"{d.day:%Y-%m}"):
        of_month = list(several)
        if month not in done:
            names = []
            for document in of_month:
                names += archive.keep([encoded(document)])
                if told:
                    told(f"{month}: into the archive", sent + len(names), total)
            archive.forward([n for n, d in zip(names, of_month, strict=True) if d.route != "withheld"])
            service.wait_until_analysed(told)
            done.append(month)
            progress.write_text(json.dumps(done), encoding="utf-8")
        sent += len(of_month)
        if told:
            told(month, sent, total)


def free_ports() -> tuple[int, int, int, int]:
    """Ports that nobody listens on now."""
    probes = [socket.socket() for _ in range(4)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        one, two, three, four = (int(probe.getsockname()[1]) for probe in probes)
        return one, two, three, four
    finally:
        for probe in probes:
            probe.close()


def today() -> dt.date:
    """The service's day."""
    return dt.datetime.now(dt.UTC).date()
