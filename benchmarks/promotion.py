"""Promote a pipeline over an archive and go back again, while new reports arrive and others are read.

    python benchmarks/promotion.py --reports 20000
    python benchmarks/promotion.py --reports 1500 --shadow 300      in small
    python benchmarks/promotion.py --postgresql

Fills a service with synthetic reports (see fill.py), adds a pipeline that finds one thing more, lets it read some
reports in shadow, promotes it, and goes back from it. Meanwhile reports come by C-STORE at `--rate` a second, and
`--readers` threads ask for studies over HTTP without pause. Each answer must be all of one pipeline: with the one thing
more wherever it stands in the text, or nowhere. Each report that came after the promotion must be read by the promoted
pipeline from the first, and at the end every report must have exactly one current analysis, by the one that counts.
Exit code 1: something was not so.
"""

import argparse
import contextlib
import io
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import pydicom
import sqlalchemy as sa
from fill import fill
from measured import about
from support.postgres import run_postgres
from support.service import Service
from synthetic import Generator

from dicomnlp import config
from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.store.pipelines import combinations
from dicomnlp.store.schema import analysis, sop_instance

MARKER, WORD = "house_marker", "views of the chest"
OVERLAY = f"""[concepts]
{MARKER} = {{ meaning = "Marker of the candidate", parent = "lesion", terms = ["{WORD}"] }}
"""
SETTLE_SECONDS = 3600.0


@dataclass
class Watch:
    """What readers and the sender saw."""

    service: Service
    generator: Generator
    studies: list[str]
    names: dict[str, dict[str, str]]
    """"configured" and "next": how each names itself in findings, by language."""
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    arrived: list[tuple[float, str]] = field(default_factory=list)
    """When each was acknowledged, and its study."""
    over: threading.Event = field(default_factory=threading.Event)
    between: threading.Lock = field(default_factory=threading.Lock)
    """Held by the sender while it sends, so that others can count what it has sent."""

    def look(self, study: str) -> list[str]:
        """The pipelines of a study's English reports, each checked to be whole."""
        status, body = self.service.get(f"/api/v1/studies/{study}/reports")
        if status != 200:
            self.wrong.append(f"{study}: reports: {status}")
            return []
        texts = {r["sop_instance_uid"]: r for r in json.loads(body)["reports"]}
        status, body = self.service.get(f"/api/v1/studies/{study}/findings?limit=1000")
        if status != 200:
            self.wrong.append(f"{study}: findings: {status}")
            return []
        by_report: dict[str, list[dict[str, Any]]] = {}
        for finding in json.loads(body)["findings"]:
            by_report.setdefault(finding["sop_instance_uid"], []).append(finding)
        seen = []
        for uid, findings in by_report.items():
            pipelines = {f["pipeline"] for f in findings}
            if len(pipelines) > 1:
                self.wrong.append(f"{uid}: findings of {len(pipelines)} pipelines in one answer")
                continue
            [pipeline] = pipelines
            marked = sum(f["concept"]["id"] == MARKER for f in findings)
            said = texts[uid]["text"].lower().count(WORD)
            expected = said if pipeline == self.names["next"]["en"] else 0
            if marked != expected:
                self.wrong.append(f"{uid}: {marked} markers by {pipeline}, {expected} expected")
            if findings[0]["language"] == "en":
                seen.append(pipeline)
        return seen

    def read(self, seed: int) -> None:
        """Ask for one study after the other."""
        chance = random.Random(seed)  # noqa: S311  which study is asked for is no secret
        while not self.over.is_set():
            for pipeline in self.look(chance.choice(self.studies)):
                self.answers[pipeline] += 1

    def send(self, first: int, rate: float) -> None:
        """Send new reports."""
        number = first
        while not self.over.wait(1 / rate):
            report = self.generator.report(number)
            dataset = pydicom.dcmread(io.BytesIO(report.data_set()), force=True)
            dataset.file_meta = pydicom.dataset.FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
            with self.between:
                if self.service.send([dataset]) != [0]:
                    self.wrong.append(f"{report.sop_instance_uid}: not taken")
                self.arrived.append((time.monotonic(), report.study_instance_uid))
            number += 1


def pending(service: Service) -> int:
    """Objects that wait for their analysis."""
    return int(json.loads(service.get("/api/v1/status")[1])["objects"]["pending"])


def wait_until_read(service: Service) -> None:
    """Until nothing is pending."""
    begun = time.monotonic()
    while pending(service):
        if time.monotonic() > begun + SETTLE_SECONDS:
            raise SystemExit("not at its end")
        time.sleep(0.5)


def pipelines(service: Service, *arguments: str) -> str:
    """What `dicomnlp pipelines` prints, however long it takes."""
    done = subprocess.run(
        [sys.executable, "-m", "dicomnlp", "--config", str(service.config), "pipelines", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"pipelines {' '.join(arguments)}: {done.stderr}")
    return done.stdout.strip()


def switch(watch: Watch, command: list[str], counts: str) -> tuple[float, float]:
    """Promote or go back; seconds until the command ended, and until every report is by what counts now."""
    begun, came = time.monotonic(), len(watch.arrived)
    print("   ", pipelines(watch.service, *command), flush=True)
    commanded = time.monotonic()
    wait_until_read(watch.service)
    settled = time.monotonic()
    # from the moment on: reports that were sent after the command had ended
    late = [study for when, study in watch.arrived[came:] if when > commanded]
    for study in late:
        for pipeline in watch.look(study):
            if pipeline != watch.names[counts]["en"]:
                watch.wrong.append(f"{study}: came after the switch and is by {pipeline}")
    print(f"    {len(watch.arrived) - came} reports came meanwhile, {len(late)} of them after the command", flush=True)
    return commanded - begun, settled - begun


def check_all(watch: Watch, counts: str, other: str, step: int) -> None:
    """That no report is of the pipeline that doesn't count: by the list of pipelines, and each `step`-th looked at."""
    told = pipelines(watch.service, "list", "--json")
    by_name = {line["name"]: line for line in map(json.loads, told.splitlines())}
    if not by_name[counts]["active"]:
        watch.wrong.append(f"{counts} doesn't count")
    print(f"    counts for: {counts} {by_name[counts]['current']}, {other} {by_name[other]['current']}", flush=True)
    for study in watch.studies[::step]:
        for pipeline in watch.look(study):
            if pipeline != watch.names[counts]["en"]:
                watch.wrong.append(f"{study}: still by {pipeline}")


def check_each(watch: Watch, settings: config.Settings, counts: str, sent: int) -> None:
    """That each object that was ever taken has exactly one current analysis, and it is of what counts."""
    names = set(combinations(watch.names[counts].values()))
    with contextlib.closing(Database.open(settings)) as database, database.read() as connection:
        objects = set(connection.scalars(sa.select(sop_instance.c.id)))
        rows = connection.execute(sa.select(analysis.c.object_id, analysis.c.pipeline).where(analysis.c.is_current))
        current = [(row.object_id, row.pipeline) for row in rows]
    held = Counter(object_id for object_id, _ in current)
    found = {
        "objects held": (len(objects), sent),
        "current analyses": (len(current), sent),
        "objects with exactly one": (sum(held[o] == 1 for o in objects), sent),
        f"current analyses by {counts}": (sum(pipeline in names for _, pipeline in current), sent),
    }
    for what, (number, expected) in found.items():
        print(f"    {what}: {number} of {expected}", flush=True)
        if number != expected:
            watch.wrong.append(f"{what}: {number}, {expected} expected")


def run(
    folder: Path, url: str | None, reports: int, *, distinct: int, shadow: int, rate: float, readers: int
) -> list[str]:
    """All of it; what was not as it should be."""
    service = Service(folder, url, work__workers=0, logs__level="warning")
    settings = config.load(service.config)
    admin.upgrade(settings)
    generator = Generator(9)
    with contextlib.closing(Database.open(settings)) as database:
        fill(database, generator, reports, distinct)
    studies = sorted({generator.report(n).study_instance_uid for n in range(reports)})
    overlay = folder / "next" / "en"
    overlay.mkdir(parents=True)
    (overlay / "concepts.toml").write_text(OVERLAY, encoding="utf-8")
    service.start(timeout=600)
    try:
        for arguments in (
            ["add", "next", "--overlays", str(folder / "next")],
            ["shadow", "next", "--sample", str(shadow)],
        ):
            begun = time.monotonic()
            print(f"{arguments[0]}: {pipelines(service, *arguments)} ({time.monotonic() - begun:.0f} s)", flush=True)
        told = map(json.loads, pipelines(service, "list", "--json").splitlines())
        watch = Watch(service, generator, studies, {line["name"]: line["pipelines"] for line in told})
        threads = [threading.Thread(target=watch.send, args=(reports, rate))]
        threads += [threading.Thread(target=watch.read, args=(n,)) for n in range(readers)]
        for thread in threads:
            thread.start()
        try:
            step = max(1, len(studies) // 500)
            for what, command, counts, other in (
                ("promoted", ["promote", "next"], "next", "configured"),
                ("gone back", ["rollback"], "configured", "next"),
            ):
                told_in, all_in = switch(watch, command, counts)
                print(f"{what}: command {told_in:.1f} s, all reports {all_in:.1f} s", flush=True)
                check_all(watch, counts, other, step)
                with watch.between:
                    wait_until_read(service)
                    check_each(watch, settings, counts, reports + len(watch.arrived))
        finally:
            watch.over.set()
            for thread in threads:
                thread.join()
        print(f"{sum(watch.answers.values())} reports read by readers, by pipeline: {dict(watch.answers)}", flush=True)
        return watch.wrong
    finally:
        service.stop()


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=20_000)
    parser.add_argument("--distinct", type=int, default=4_000, help="reports that are analysed to fill it; see fill.py")
    parser.add_argument("--shadow", type=int, default=4_000, help="reports that the candidate reads before it counts")
    parser.add_argument("--rate", type=float, default=5.0, help="new reports a second")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL server in place of SQLite")
    asked = parser.parse_args()
    print(about(), flush=True)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        url = None
        if asked.postgresql:
            server = stack.enter_context(run_postgres(durable=True))
            url = server.url(server.create_database())
        wrong = run(
            Path(name),
            url,
            asked.reports,
            distinct=asked.distinct,
            shadow=asked.shadow,
            rate=asked.rate,
            readers=asked.readers,
        )
    for line in wrong[:20]:
        print(line)
    print(
        f"{len(wrong)} things were not as they should be"
        if wrong
        else "each answer whole, each report where it belongs"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
