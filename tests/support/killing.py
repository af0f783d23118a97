"""The kill -9 trials: senders with a ledger of their own, a service that dies, and the count afterwards."""

import json
import random
import threading
import time
from dataclasses import dataclass, field

import psutil
from support.service import ROOT_UID, Service, make_report

TEXT = "FINDINGS: Right upper lobe nodule of {size} mm. No pleural effusion.\nIMPRESSION: Nodule."


@dataclass
class Ledger:
    """What the senders saw, and what the service holds after all is done."""

    acknowledged: int = 0
    missing: list = field(default_factory=list)
    analysed_more_than_once: list = field(default_factory=list)
    not_analysed: list = field(default_factory=list)
    kills: int = 0


def _send_all(service, numbers, acknowledged, finished):
    """Send each number until it is acknowledged, through whatever happens to the service."""
    waiting = list(numbers)
    while waiting:
        batch = waiting[:10]
        try:
            statuses = service.send([make_report(n, TEXT.format(size=n % 30 + 3)) for n in batch])
        except (OSError, RuntimeError):
            statuses = []
        for number, status in zip(batch, statuses, strict=False):
            if status == 0x0000:
                acknowledged.add(number)
        waiting = [n for n in waiting if n not in acknowledged]
        if not statuses or None in statuses:
            time.sleep(0.1)
    finished.set()


def kill_service(service: Service, *, objects: int, senders: int, kills: int, seed: int) -> Ledger:
    """Kill the whole service `kills` times at random moments while `senders` send `objects` objects."""
    chance = random.Random(seed)
    acknowledged: set[int] = set()
    service.start()
    done = [threading.Event() for _ in range(senders)]
    for index, finished in enumerate(done):
        numbers = range(index, objects, senders)
        threading.Thread(target=_send_all, args=(service, numbers, acknowledged, finished), daemon=True).start()
    happened = 0
    for _ in range(kills):
        time.sleep(chance.uniform(0.2, 2.5))
        service.kill()
        happened += 1
        service.start()
    for finished in done:
        assert finished.wait(600)
    try:
        return _count(service, acknowledged, happened)
    finally:
        service.stop()


def kill_workers(service: Service, *, objects: int, kills: int, seed: int) -> Ledger:
    """Kill all worker processes `kills` times while `objects` objects wait to be analysed."""
    chance = random.Random(seed)
    acknowledged: set[int] = set()
    service.start()
    finished = threading.Event()
    threading.Thread(target=_send_all, args=(service, range(objects), acknowledged, finished), daemon=True).start()
    for _ in range(kills):
        time.sleep(chance.uniform(0.3, 1.5))
        for process in worker_processes(service):
            process.kill()
    assert finished.wait(600)
    try:
        return _count(service, acknowledged, kills)
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
