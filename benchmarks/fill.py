"""Fills a database with synthetic reports and their analyses, as many as one likes, in bulk.

    python benchmarks/fill.py sqlite:////data/large.db --reports 1000000
    python benchmarks/fill.py postgresql+psycopg://USER@HOST/NAME --reports 1000000

Each report has an object of its own, which can be reprocessed, a row in the ledger, links, standing, words and
findings, as if it had come by C-STORE and been analysed. The first `--distinct` of them (by default 20,000) are really
analysed; the others have the text and the findings of one of these under UIDs, patients, studies and dates of their
own. The rows are written past what finds out which report prevails: each does. An interrupted filling goes on.
Prints its rate and the size of the database at every twentieth.
"""

import argparse
import datetime as dt
import hashlib
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import sqlalchemy as sa
from synthetic import Generator, SyntheticReport

from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.extract.identity import read_identity
from dicomnlp.model import IntakeRecord, StoredObject
from dicomnlp.store import admin, schema
from dicomnlp.store.database import Database
from dicomnlp.store.prepared import OF_ANALYSIS, OF_FINDING, Prepared, prepare_rows
from dicomnlp.store.records import identity_row
from dicomnlp.store.rows import Loader
from dicomnlp.store.searchable import date_of, index_reports
from dicomnlp.work.process import process

AT_ONCE = 1000
_OBJECT_COLUMNS = tuple(c.name for c in schema.sop_instance.c)
OBJECTS = Loader(schema.sop_instance, *_OBJECT_COLUMNS)
ORIGINALS = Loader(schema.original, "object_id", "data")
_LEDGER_COLUMNS = tuple(c.name for c in schema.ledger.c if c.name != "id")
LEDGER = Loader(schema.ledger, *_LEDGER_COLUMNS)
ANALYSES = Loader(schema.analysis, "id", *OF_ANALYSIS, "analysed_at")
_OF_REPORT = (
    *("analysis_id", "object_id", "study_instance_uid", "sop_instance_uid"),
    *("is_current", "pipeline", "analysed_at", "study_date"),
)
FINDINGS = Loader(schema.finding, *OF_FINDING, *_OF_REPORT)
PERIODS = Loader(schema.analysis_period, "object_id", "pipeline", "current_from")
STUDIES = Loader(schema.report_study, "object_id", "study_instance_uid", "kind")
STANDINGS = Loader(schema.report_standing, "object_id", "study_instance_uid", "is_preliminary", "status")


def record_of(report: SyntheticReport) -> IntakeRecord:
    """The report as intake hands it to the store."""
    arrival = report.arrival()
    return IntakeRecord(
        arrival=arrival,
        identity=read_identity(arrival.data, arrival.transfer_syntax_uid),
        sha256=hashlib.sha256(arrival.data).hexdigest(),
        received_at=dt.datetime.now(dt.UTC),
        status=0,
    )


@dataclass(frozen=True, slots=True)
class Analysed:
    """A report that was really analysed."""

    number: int
    prepared: Prepared


def analyse(generator: Generator, distinct: int) -> list[Analysed]:
    """The first reports, analysed; kept in a file of the system's temporary folder for the next filling."""
    file = Path(tempfile.gettempdir()) / f"dicomnlp-synthetic-{generator.seed}-{distinct}.pickle"
    analysed: list[Analysed] = []
    for number in range(distinct):
        arrival = generator.report(number).arrival()
        stored = StoredObject(
            0, arrival.sop_instance_uid, arrival.sop_class_uid, arrival.transfer_syntax_uid, arrival.data
        )
        [result] = process([stored], ("gb18030", "cp1252"), "en")
        if number == 0 and file.exists():
            known: list[Analysed] = pickle.loads(file.read_bytes())  # noqa: S301  our own, in a folder of ours
            if known[0].prepared == prepare_rows(result):
                return known
        analysed.append(Analysed(number, prepare_rows(result)))
        if number % 1000 == 999:
            print(f"analysed {number + 1:,} of {distinct:,}", flush=True)
    file.write_bytes(pickle.dumps(analysed))
    return analysed


def fill(database: Database, generator: Generator, reports: int, distinct: int) -> None:
    """Insert reports up to number `reports`, after those that are there."""
    pool = analyse(generator, min(distinct, reports))
    with database.read() as connection:
        there = connection.scalar(sa.select(sa.func.count()).select_from(schema.sop_instance)) or 0
    started, begun = time.monotonic(), there
    shown = there * 20 // reports
    for first in range(there, reports, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, reports))
        database.transact(lambda connection, numbers=numbers: _insert(connection, generator, pool, numbers))
        done = numbers[-1] + 1
        if done * 20 // reports > shown:
            shown = done * 20 // reports
            rate = (done - begun) / (time.monotonic() - started)
            print(f"{done:,} of {reports:,} reports, {rate:,.0f}/s, {size_of(database) / 1e9:.2f} GB", flush=True)
    if database.is_sqlite:
        return
    number_on(database)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def number_on(database: Database) -> None:
    """Have PostgreSQL's sequences go on after the numbers that were given here; SQLite looks by itself."""
    with database.write() as connection:
        for table in (schema.sop_instance, schema.analysis):
            sequence = sa.func.pg_get_serial_sequence(table.name, "id")
            connection.execute(
                sa.select(sa.func.setval(sequence, sa.select(sa.func.max(table.c.id)).scalar_subquery()))
            )


def size_of(database: Database) -> int:
    """Bytes of the database."""
    with database.read() as connection:
        if not database.is_sqlite:
            return connection.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0
    files = [Path(f"{database.engine.url.database}{tail}") for tail in ("", "-wal")]
    return sum(file.stat().st_size for file in files if file.exists())


def _insert(connection: Any, generator: Generator, pool: Sequence[Analysed], numbers: Sequence[int]) -> None:
    now = dt.datetime.now(dt.UTC)
    rows: dict[Loader, list[tuple[Any, ...]]] = {
        loader: [] for loader in (OBJECTS, ORIGINALS, LEDGER, ANALYSES, FINDINGS, PERIODS, STUDIES, STANDINGS)
    }
    headers: dict[int, Any] = {}
    results = []
    for report, result in _reports(generator, pool, numbers):
        record = record_of(report)
        object_id = report.number + 1
        header = {
            **identity_row(record.identity),
            "id": object_id,
            "sop_instance_uid": report.sop_instance_uid,
            "version": 1,
            "is_current": True,
            "sha256": record.sha256,
            "size": len(record.arrival.data),
            "sop_class_uid": record.arrival.sop_class_uid,
            "transfer_syntax_uid": record.arrival.transfer_syntax_uid,
            "study_instance_uid": report.study_instance_uid,
            "door": record.arrival.door.value,
            "calling_ae_title": record.arrival.calling_ae_title,
            "received_at": now,
            "last_seen_at": now,
            "seen_count": 1,
            "state": "analysed",
            "state_changed_at": now,
            "reason_code": None,
            "attempts": 1,
            "lane": schema.LANE_ARRIVAL,
            "reprocess_run_id": None,
            "character_set_override": "",
        }
        headers[object_id] = SimpleNamespace(**header)
        rows[OBJECTS].append(tuple(header[name] for name in _OBJECT_COLUMNS))
        rows[ORIGINALS].append((object_id, record.arrival.data))
        entry = {
            **header,
            "called_ae_title": record.arrival.called_ae_title,
            "peer_address": record.arrival.peer_address,
            "outcome": "stored",
            "status": 0,
            "object_id": object_id,
        }
        rows[LEDGER].append(tuple(entry[name] for name in _LEDGER_COLUMNS))
        values = list(result.analysis)
        values[OF_ANALYSIS.index("object_id")] = object_id
        rows[ANALYSES].append((object_id, *values, now))
        of_report = (
            *(object_id, object_id, report.study_instance_uid, report.sop_instance_uid),
            *(True, result.pipeline, now, date_of(headers[object_id])),
        )
        rows[FINDINGS] += [(*found, *of_report) for found in result.findings]
        rows[PERIODS].append((object_id, result.pipeline, now))
        rows[STUDIES].append((object_id, report.study_instance_uid, "own"))
        rows[STANDINGS].append((object_id, report.study_instance_uid, False, "prevailing"))
        results.append(replace(result, object_id=object_id))
    for loader, values_of in rows.items():
        loader.load(connection, values_of)
    index_reports(connection, results, headers)


def _reports(
    generator: Generator, pool: Sequence[Analysed], numbers: Sequence[int]
) -> Iterator[tuple[SyntheticReport, Prepared]]:
    """Reports by number, those beyond the pool with a text out of it."""
    for number in numbers:
        report = generator.report(number)
        # not one after the other: else the same findings would come again with the same distance
        chosen = pool[number if number < len(pool) else number * 7919 % len(pool)]
        if chosen.number != number:
            like = generator.report(chosen.number)
            report = replace(
                report,
                language=like.language,
                modality=like.modality,
                body_part_examined=like.body_part_examined,
                study_description=like.study_description,
                sections=like.sections,
            )
        yield report, chosen.prepared


def open_database(url: str, folder: Path) -> Database:
    """The database at `url`, with the schema; made if need be."""
    settings = Settings(database=DatabaseSettings(url=url, large_object_directory=folder / "objects"))
    admin.upgrade(settings)
    return Database.open(settings)


def main() -> None:
    """Fill one database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="database.url")
    parser.add_argument("--reports", type=int, default=1_000_000)
    parser.add_argument("--distinct", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    database = open_database(asked.url, Path.cwd())
    fill(database, Generator(asked.seed), asked.reports, asked.distinct)
    with database.read() as connection:
        findings = connection.scalar(sa.select(sa.func.count()).select_from(schema.finding)) or 0
    size = size_of(database)
    print(
        f"{asked.reports:,} reports, {findings:,} findings, {size / 1e9:.2f} GB: "
        f"{size / asked.reports:,.0f} bytes a report, {size / max(1, findings):,.0f} a finding in all"
    )
    database.close()


if __name__ == "__main__":
    main()
