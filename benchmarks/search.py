"""How fast searches are among many reports, on SQLite and on PostgreSQL.

Run `python benchmarks/search.py [REPORTS]`, by default 100,000 reports of 8 findings each: it prints the
times of first pages, later pages, counts and facets, and of all findings of a study.
"""

import dataclasses
import datetime as dt
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import sqlalchemy as sa
from support.postgres import run_postgres
from support.records import make_finding, make_processed, make_record

from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.model import Assertion, Concept, Finding, Laterality, Measurement, Narrative, Temporality
from dicomnlp.store import admin, queries, schema
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.prepared import prepare_rows
from dicomnlp.store.records import analysis_row, finding_row
from dicomnlp.store.rows import Inserter
from dicomnlp.store.search import Filters, count_findings, facets, search_findings
from dicomnlp.store.searchable import index_reports

FINDINGS = 8
CONCEPTS = [f"concept_{n}" for n in range(300)]
COMMON = [1 / (n + 1) for n in range(len(CONCEPTS))]
SITES = [f"site_{n}" for n in range(100)]
WORDS = [f"word{n}" for n in range(5000)]
OFTEN = list(itertools.accumulate(1 / (n + 1) for n in range(len(WORDS))))
MODALITIES = [("DX",)] * 60 + [("CT",)] * 25 + [("MR",)] * 13 + [("US",)] * 2
BATCH = 2000
TABLES = (schema.sop_instance, schema.analysis, schema.report_study, schema.report_standing, schema.finding)


def make_findings(random_: random.Random) -> Iterator[Finding]:
    """Findings of a report: common concepts often, most of them absent, one in ten with a size."""
    basis = make_finding()
    for n, concept in enumerate(random_.choices(CONCEPTS, COMMON, k=FINDINGS)):
        site = random_.choice(SITES)
        size = (Measurement((random_.uniform(1, 80),), "mm", "size", Temporality.CURRENT, "6 mm", 12, 16),)
        yield dataclasses.replace(
            basis,
            concept=Concept(concept, None, None, concept),
            start=n * 10,
            end=n * 10 + 6,
            assertion=random_.choice([Assertion.ABSENT] * 7 + [Assertion.PRESENT] * 2 + [Assertion.POSSIBLE]),
            anatomy=Concept(site, None, None, site),
            laterality=random_.choice([None, None, Laterality.LEFT, Laterality.RIGHT]),
            measurements=size if random_.random() < 0.1 else (),
            critical=random_.random() < 0.02,
        )


def fill(database: Database, reports: int) -> None:
    """Insert reports of the last four years in the order of their dates, as if they had been analysed one by one.

    The rows are those that `save_processed` writes, without what it does to find out what prevails: every report is of
    a study of its own. The texts of their findings repeat, the findings are chosen for each.
    """
    random_ = random.Random(1)  # noqa: S311  the same reports each time
    pool = [finding_row(f) for _ in range(2000) for f in make_findings(random_)]
    moment = dt.datetime.now(dt.UTC)
    basis = make_processed(0, findings=())
    analysed = {**analysis_row(basis), "analysed_at": moment}
    [receipt] = record_arrivals(database, [make_record(0)])
    with database.read() as connection:
        [held] = connection.execute(sa.select(schema.sop_instance)).mappings()
    for numbers in (range(n, min(n + BATCH, reports + 1)) for n in range(1, reports + 1, BATCH)):
        rows: dict[sa.Table, list[dict[str, Any]]] = {table: [] for table in TABLES}
        results = []
        for n in numbers:
            date = dt.date(2023, 1, 1) + dt.timedelta(days=n * 1400 // reports)
            own = {
                "object_id": (receipt.object_id or 0) + n,
                "study_instance_uid": f"1.2.{n}",
                "sop_instance_uid": f"1.3.{n}",
            }
            rows[schema.sop_instance].append(
                {
                    **held,
                    "id": own["object_id"],
                    "study_instance_uid": own["study_instance_uid"],
                    "sop_instance_uid": own["sop_instance_uid"],
                    "sha256": str(n),
                    "study_date": f"{date:%Y%m%d}",
                    "patient_birth_date": "19700101",
                    "patient_id": f"P{random_.randrange(10**5)}",
                    "state": "analysed",
                }
            )
            modalities = random_.choice(MODALITIES) if n % 5000 else ("MG",)
            text = " ".join(random_.choices(WORDS, cum_weights=OFTEN, k=150))
            rows[schema.analysis].append({**analysed, "id": n, "object_id": own["object_id"], "narrative": text})
            report = dataclasses.replace(basis.report, narrative=Narrative(text))
            results.append(dataclasses.replace(basis, object_id=own["object_id"], report=report, modalities=modalities))
            rows[schema.report_study].append(
                {"object_id": own["object_id"], "study_instance_uid": own["study_instance_uid"], "kind": "own"}
            )
            rows[schema.report_standing].append(
                {
                    "object_id": own["object_id"],
                    "study_instance_uid": own["study_instance_uid"],
                    "is_preliminary": False,
                    "status": "prevailing",
                }
            )
            rows[schema.finding] += [
                {
                    **row,
                    **own,
                    "analysis_id": n,
                    "is_current": True,
                    "pipeline": "en-1",
                    "analysed_at": moment,
                    "study_date": f"{date:%Y%m%d}",
                }
                for row in random_.sample(pool, FINDINGS)
            ]
        with database.write() as connection:
            for table, values in rows.items():
                Inserter(table).insert(connection, values)
            headers = {row["id"]: SimpleNamespace(**row) for row in rows[schema.sop_instance]}
            index_reports(connection, [prepare_rows(r) for r in results], headers)


def timed(name: str, work: Callable[[int], object], times: int = 30) -> None:
    """Print median and greatest of the milliseconds that `work(n)` takes."""
    taken = []
    for n in range(times):
        start = time.perf_counter()
        work(n)
        taken.append((time.perf_counter() - start) * 1000)
    print(f"  {name}: median {statistics.median(taken):.1f} ms, slowest {max(taken):.1f} ms", flush=True)


def measure(name: str, url: str, folder: Path, reports: int) -> None:
    """Fill one database and search it."""
    settings = Settings(database=DatabaseSettings(url=url, large_object_directory=folder / "objects"))
    admin.upgrade(settings)
    database = Database.open(settings)
    fill(database, reports)
    print(f"{name}: {reports:,} reports of {FINDINGS} findings", flush=True)
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")

    def page(limit: int = 100, **fields: object) -> Callable[[int], object]:
        filters = Filters(**fields)  # type: ignore[arg-type]
        return lambda _: search_findings(database, filters, limit=limit)

    dates = {"date_from": dt.date(2024, 1, 1), "date_to": dt.date(2025, 12, 31)}
    present = (Assertion.PRESENT,)
    timed("findings of a study", lambda n: queries.findings_of_study(database, f"1.2.{1 + n * 997 % reports}"), 200)
    timed("everything", page())
    timed("a common concept, present, two years", page(concepts=("concept_0",), assertions=present, **dates))
    timed("a rare concept, present, two years", page(concepts=("concept_250",), assertions=present, **dates))
    timed("30 concepts, any assertion", page(concepts=tuple(CONCEPTS[100:130])))
    timed("300 concepts, any assertion", page(concepts=tuple(CONCEPTS)))
    timed("10 sites", page(anatomy=tuple(SITES[:10])))
    timed("above 79 mm", page(minimum_size=79.0))
    timed("critical, left", page(critical=True, laterality=Laterality.LEFT))
    timed("concept and CT", page(concepts=("concept_3",), modality="CT"))
    timed("concept and a rare modality", page(concepts=("concept_3",), modality="MG"))
    timed("a common word", page(text="word0"))
    timed("a rare word", page(text="word4900"))
    timed("a phrase of common words", page(text='"word0 word1"'))
    timed("a concept, a common word, present", page(concepts=("concept_5",), text="word1", assertions=present))
    timed("a concept without another", page(concepts=("concept_3",), without=("concept_0",)))
    timed("a patient", page(patient_id="P77"))
    after = None
    for _ in range(50):
        after = search_findings(database, Filters(concepts=("concept_0",)), after=after, limit=1000).next
    timed(
        "the page after 50,000 findings",
        lambda _: search_findings(database, Filters(concepts=("concept_0",)), after=after),
    )
    timed(
        "count: a common concept, present",
        lambda _: count_findings(database, Filters(concepts=("concept_0",), assertions=present)),
        5,
    )
    timed("count: everything", lambda _: count_findings(database, Filters()), 2)
    timed(
        "facets: a common concept, present",
        lambda _: facets(database, Filters(concepts=("concept_0",), assertions=present)),
        2,
    )
    timed("facets: everything", lambda _: facets(database, Filters()), 1)
    database.close()


def main() -> None:
    """Both databases."""
    reports = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure("SQLite", f"sqlite:///{folder}/bench.db", folder, reports)
        with run_postgres(durable=True) as server:
            measure("PostgreSQL", server.url(server.create_database()), folder, reports)


if __name__ == "__main__":
    main()
