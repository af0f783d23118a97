"""The kill -9 trials: senders with a ledger of their own, a service that dies, and the count afterwards."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from support.service import ROOT_UID, Service


@dataclass
class Ledger:
    """What the senders saw, and what the service holds after all is done."""

    acknowledged: int = 0
    missing: list = field(default_factory=list)
    analysed_more_than_once: list = field(default_factory=list)
    not_analysed: list = field(default_factory=list)
    kills: int = 0


@contextlib.contextmanager
def _senders(service: Service, objects: int, senders: int):
    """Sender processes that share the numbers below `objects`; ends them when the trial fails."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-W", "ignore", "-m", "support.sender", str(service.port)]
    processes = [
        subprocess.Popen(
            [*command, str(index), str(objects), str(senders)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for index in range(senders)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.stdout.close()
            process.wait()


def _acknowledged(processes) -> set[int]:
    """Wait until all is sent; the numbers whose 0x0000 came."""
    return {int(line) for process in processes for line in process.communicate(timeout=900)[0].split()}


def kill_service(service: Service, *, objects: int, senders: int, kills: int, seed: int) -> Ledger:
    """Kill the whole service `kills` times at random moments while `senders` send `objects` objects."""
    chance = random.Random(seed)
    service.start()
    try:
        with _senders(service, objects, senders) as processes:
            for _ in range(kills):
                time.sleep(chance.uniform(0.2, 2.5))
                service.kill()
                service.start()
            return _count(service, _acknowledged(processes), kills)
    finally:
        service.stop()


def kill_workers(service: Service, *, objects: int, kills: int, seed: int) -> Ledger:
    """Kill all worker processes `kills` times while `objects` objects wait to be analysed."""
    chance = random.Random(seed)
    service.start()
    try:
        with _senders(service, objects, 1) as processes:
            for _ in range(kills):
                time.sleep(chance.uniform(0.3, 1.5))
                for process in worker_processes(service):
                    process.kill()
            return _count(service, _acknowledged(processes), kills)
    finally:
        service.stop()


def worker_processes(service: Service) -> list[psutil.Process]:
    """The Dask worker processes: children of the dispatcher that run multiprocessing's spawn."""
    dispatcher = next(p for p in psutil.Process(service.process.pid).children() if "work" in p.cmdline())
    return [p for p in dispatcher.children(recursive=True) if any("spawn_main" in word for word in p.cmdline())]


def _count(service: Service, acknowledged: set[int], kills: int) -> Ledger:
    service.wait_until_analysed(600)
    ledger = Ledger(acknowledged=len(acknowledged), kills=kills)
    for number in sorted(acknowledged):
        status, body = service.get(f"/api/v1/studies/{ROOT_UID}.1.{number}/findings?all_versions=true")
        if status == 404:
            ledger.missing.append(number)
            continue
        nodules = [f for f in json.loads(body)["findings"] if f["concept"]["id"].endswith("nodule")]
        if not nodules:
            ledger.not_analysed.append(number)
        elif len({f["start"] for f in nodules}) != len(nodules) or len(nodules) != 2:
            ledger.analysed_more_than_once.append(number)
    return ledger
