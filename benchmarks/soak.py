"""A listener under mixed peers for as long as one likes: do memory, threads and descriptors come back to their base?.

    .venv/bin/python benchmarks/soak.py --minutes 60 --connects 100000

At the same time, from start to end: two senders of reports that stay, one that associates anew for each report, one
that aborts or resets in the middle of an object, strangers that send half a header or noise and leave or stay silent,
bare TCP connects, and (where they are installed) DCMTK's echoscu and dcmsend. Prints a line a minute and at the end
what was acknowledged and is stored, and the first and last figures. Exit code 1 when something acknowledged is missing,
threads or descriptors don't come back, or memory at the end is more than a tenth above that after the first tenth.
"""

import argparse
import contextlib
import itertools
import secrets
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.lean_sender import associate_request, encoded_report, is_acknowledged, read_pdu, store_request, template
from support.service import Service, make_report, write_report

ABORT = struct.pack(">BxIxxBB", 0x07, 4, 0, 0)
RELEASE = struct.pack(">BxI4x", 0x05, 4)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
SETTLE_SECONDS = 20.0


@dataclass
class Peers:
    """All that plays against the listener, until `over` is set."""

    port: int
    folder: Path
    over: threading.Event = field(default_factory=threading.Event)
    acknowledged: set[int] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    pattern: bytes = field(default_factory=template)

    def __post_init__(self) -> None:
        self._numbers = itertools.count()

    def again(self, name: str, pause: float, act: Callable[[], None]) -> threading.Thread:
        """A thread that calls `act` again and again; a peer that is refused tries again."""

        def run() -> None:
            while not self.over.wait(pause):
                with contextlib.suppress(OSError):
                    act()
                    self.counts[name] = self.counts.get(name, 0) + 1

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    @contextlib.contextmanager
    def association(self) -> Iterator[socket.socket]:
        """An accepted association on a bare socket."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(associate_request())
            if read_pdu(connection)[0] != 0x02:
                raise ConnectionError
            yield connection

    def send(self, reports: int) -> None:
        """One association with so many reports."""
        with self.association() as connection:
            for number in itertools.islice(self._numbers, reports):
                connection.sendall(store_request(number, encoded_report(number, self.pattern)))
                if is_acknowledged(connection):
                    self.acknowledged.add(number)
                if self.over.wait(0.01):
                    break
            connection.sendall(RELEASE)
            read_pdu(connection)

    def break_off(self) -> None:
        """Abort, reset or vanish in the middle of an object."""
        with self.association() as connection:
            message = store_request(10**6, encoded_report(10**6, self.pattern))
            connection.sendall(message[: 1 + secrets.randbelow(len(message) - 1)])
            way = secrets.randbelow(3)
            if way == 0:
                connection.sendall(ABORT)
            elif way == 1:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    def stranger(self) -> None:
        """Half a header or noise; some stay silent afterwards."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(secrets.choice([b"\x01\x00\x00", secrets.token_bytes(200), b"GET / HTTP/1.1\r\n\r\n"]))
            if secrets.randbelow(10) == 0:
                self.over.wait(3.0)

    def connect(self) -> None:
        """A bare TCP connect."""
        socket.create_connection(("127.0.0.1", self.port), 10).close()

    def echo(self) -> None:
        """DCMTK's echo."""
        self._run("echoscu", "-aec", "DICOMNLP", "127.0.0.1", str(self.port))

    def dcmsend(self) -> None:
        """DCMTK's sender with ten files, the same each time."""
        self._run("dcmsend", "-aec", "DICOMNLP", "127.0.0.1", str(self.port), "+sd", str(self.folder))

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run([f"/usr/bin/{program}", *arguments], capture_output=True, check=False)
        if done.returncode:
            raise OSError(f"{program} ended with {done.returncode}")


def figures(process: psutil.Process) -> tuple[float, int, int]:
    """Resident memory in MB, threads, descriptors."""
    return process.memory_info().rss / 1e6, process.num_threads(), process.num_fds()


def start(service: Service) -> subprocess.Popen:
    """The listener alone."""
    upgraded = service.command("db", "upgrade")
    if upgraded.returncode:
        raise SystemExit(upgraded.stderr)
    command = [sys.executable, "-m", "dicomnlp", "--config", str(service.config), "listen"]
    with service.stderr.open("wb") as err:
        listener = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True)
    if not listener.stdout.readline().startswith("ready"):
        raise SystemExit("the listener didn't start")
    return listener


def play(peers: Peers, process: psutil.Process, seconds: float, connects: int) -> list[tuple[float, int, int]]:
    """Let all peers play for `seconds`; the figures of each minute."""
    threads = [
        peers.again("streams", 0.1, lambda: peers.send(500)),
        peers.again("streams", 0.1, lambda: peers.send(500)),
        peers.again("single reports", 0.05, lambda: peers.send(1)),
        peers.again("broken off", 0.1, peers.break_off),
        peers.again("strangers", 0.2, peers.stranger),
        peers.again("connects", seconds / connects * 0.8, peers.connect),
    ]
    if shutil.which("/usr/bin/dcmsend"):
        threads.append(peers.again("echoscu", 1.0, peers.echo))
        threads.append(peers.again("dcmsend", 5.0, peers.dcmsend))
    started, seen = time.monotonic(), []
    while (now := time.monotonic()) < started + seconds or peers.counts.get("connects", 0) < connects:
        time.sleep(min(60.0, max(1.0, started + seconds - now)))
        seen.append(figures(process))
        memory, count, descriptors = seen[-1]
        print(
            f"{(time.monotonic() - started) / 60:5.1f} min  {memory:6.1f} MB  {count:3} threads  {descriptors:3} fds  "
            f"{len(peers.acknowledged)} acknowledged  {peers.counts}",
            flush=True,
        )
    peers.over.set()
    for thread in threads:
        thread.join(60)
    return seen


def warm_up(peers: Peers) -> None:
    """Sixteen associations at a time, so that what the listener keeps open from then on is part of the base."""
    threads = [threading.Thread(target=peers.send, args=(50,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(2)


def missing(service: Service, acknowledged: set[int]) -> int:
    """How many of the acknowledged are not stored."""
    with contextlib.closing(sqlite3.connect(service.folder / "dicomnlp.db")) as database:
        stored = {
            int(uid.rsplit(".", 1)[1]) - 10**9
            for (uid,) in database.execute("SELECT sop_instance_uid FROM sop_instance")
        }
    return len(acknowledged - stored)


def main() -> int:
    """Run it and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--connects", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (files := folder / "files").mkdir()
        for number in range(10):
            write_report(make_report(10**8 + number, "FINDINGS: Nodule."), files / f"{number}.dcm")
        service = Service(folder)
        listener = start(service)
        process = psutil.Process(listener.pid)
        peers = Peers(service.port, files)
        warm_up(peers)
        base = figures(process)
        seen = play(peers, process, options.minutes * 60, options.connects)
        time.sleep(SETTLE_SECONDS)
        end = figures(process)
        listener.terminate()
        listener.stdout.close()
        ended = listener.wait(60)
        lost = missing(service, peers.acknowledged)
    early = seen[len(seen) // 10][0]
    print(f"base {base}, after a tenth {early:.1f} MB, end {end}; exit code {ended}; {lost} missing; {peers.counts}")
    is_well = not lost and not ended and end[1] <= base[1] + 1 and end[2] <= base[2] + 1 and end[0] <= early * 1.1
    return int(not is_well)


if __name__ == "__main__":
    sys.exit(main())
