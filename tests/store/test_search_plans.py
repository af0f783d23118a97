"""How searches read: no documented one reads through all findings, on either database."""

import dataclasses
import datetime as dt
import re

import pytest
import sqlalchemy as sa
from support.records import instance_uid, make_finding, make_processed, make_record

from dicomnlp.model import Assertion, Concept, Measurement, Recommendation, Temporality
from dicomnlp.store import admin, changes, images, patients, quarantine, queries, status
from dicomnlp.store.courses import course_of_study
from dicomnlp.store.database import Database
from dicomnlp.store.follow_up import FollowUpFilters, follow_up
from dicomnlp.store.follow_up_items import STATES, ItemFilters, count_items, list_items, read_item
from dicomnlp.store.follow_up_pending import any_marked, marked_studies
from dicomnlp.store.follow_up_refresh import Refresh
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.queue import save_processed, take_pending
from dicomnlp.store.reprocess import Selection, read_run, start_run
from dicomnlp.store.search import Filters, count_findings, search_findings
from dicomnlp.work.follow_up import refresh_all

REPORTS = 240
CONCEPTS = [f"concept_{n}" for n in range(40)]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request, tmp_path_factory):
    """Some hundred reports of ten findings each; PostgreSQL is told that reading a page costs much.

    So few rows would be read through for being few: what is asked is which index can answer.
    """
    from dicomnlp.config import DatabaseSettings, Settings

    folder = tmp_path_factory.mktemp("plans")
    url = f"sqlite:///{folder}/test.db"
    server = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        name = server.create_database()
        url = server.url(name)
    settings = Settings(database=DatabaseSettings(url=url, large_object_directory=folder / "objects"))
    admin.upgrade(settings)
    database = Database.open(settings)
    records = []
    for n in range(REPORTS):
        record = make_record(n, study=f"1.2.{n}", patient_id=f"T-{n % 50}")
        date = dt.date(2026, 1, 1) + dt.timedelta(days=n)
        records.append(
            dataclasses.replace(record, identity=dataclasses.replace(record.identity, study_date=f"{date:%Y%m%d}"))
        )
    receipts = record_arrivals(database, records)
    results = []
    for n, receipt in enumerate(receipts):
        findings = [
            dataclasses.replace(
                make_finding(CONCEPTS[(n + i) % 40], start=10 * i, assertion=list(Assertion)[(n + i) % 3]),
                anatomy=Concept(f"site_{(n + i) % 20}", None, None, ""),
                critical=(n + i) % 30 == 0,
                measurements=(Measurement((9.0,), "mm", "size", Temporality.CURRENT, "", 0, 1),) if i == 0 else (),
            )
            for i in range(10)
        ]
        text = f"word{n} common"
        processed = make_processed(receipt.object_id, findings=findings, text=text)
        advice = Recommendation("CT in 3 months", 0, 14, "CT", "CT", None, 90, 90, conditional=n % 5 == 0)
        analysis = dataclasses.replace(processed.analysis, recommendations=(advice,))
        results.append(dataclasses.replace(processed, analysis=analysis, modalities=("MG",) if n == 7 else ("CT",)))
    save_processed(database, results)
    refresh_all(database)
    start_run(database, Selection(uids=("1.2.9",)))
    if server is not None:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
    yield database
    database.close()
    if server is not None:
        server.drop_database(name)


SEARCHES = {
    "everything": {},
    "concept, assertion, dates": {
        "concepts": ("concept_1",),
        "assertions": (Assertion.PRESENT,),
        "date_from": dt.date(2026, 2, 1),
        "date_to": dt.date(2026, 8, 1),
    },
    "concepts": {"concepts": ("concept_1", "concept_2")},
    "sites": {"anatomy": ("site_1", "site_2")},
    "concept and site": {"concepts": ("concept_1",), "anatomy": ("site_1", "site_2")},
    "size": {"minimum_size": 5.0},
    "critical": {"critical": True},
    "rare modality": {"modality": "MG"},
    "modality": {"modality": "CT"},
    "rare word": {"text": "word7"},
    "common word": {"text": "common"},
    "patient": {"patient_id": "T-7"},
    "study": {"study_instance_uid": "1.2.7"},
    "without": {"concepts": ("concept_1",), "without": ("concept_2",)},
}


def plans(database, work):
    """The plan of each statement that `work` executes."""
    seen = []

    def note(connection, cursor, statement, parameters, context, many):
        if statement.startswith("SELECT"):
            seen.append((statement, parameters))

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)
    told = []
    with database.read() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for statement, parameters in seen:
            prefix = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
            rows = connection.exec_driver_sql(prefix + statement, parameters).all()
            told.append("\n".join(str(row[-1]) for row in rows))
    return told


def scans_findings(plan):
    """Whether a plan reads the table of findings through, or an index of it from one end to the other."""
    lines = [line.strip(" ->") for line in plan.splitlines()]
    return [line for line in lines if line.startswith(("SCAN finding", "Seq Scan on finding"))]


@pytest.mark.parametrize("few", [1000, 3], ids=["few reports", "many reports"])
@pytest.mark.parametrize("name", SEARCHES)
def test_no_page_reads_through_all_findings(filled, name, few, monkeypatch):
    """Whether the reports that fit are few or many; nor sorts all findings to find the first."""
    monkeypatch.setattr("dicomnlp.store.search_conditions.FEW", few)
    told = plans(filled, lambda: search_findings(filled, Filters(**SEARCHES[name]), limit=5))
    assert told
    assert not [line for plan in told for line in scans_findings(plan)], told


def test_a_scan_would_be_seen(filled):
    """What these tests look for, PostgreSQL and SQLite do where nothing else is possible."""
    query = sa.text("SELECT count(*) FROM finding WHERE sentence = 'x'")

    def work():
        with filled.read() as connection:
            connection.execute(query)

    assert [line for plan in plans(filled, work) for line in scans_findings(plan)]


def test_counts_studies_and_follow_up_read_by_index(filled):
    """Of a concept; of a study; the newest recommendations."""
    told = [
        *plans(filled, lambda: count_findings(filled, Filters(concepts=("concept_1",)))),
        *plans(filled, lambda: queries.page_of_study(filled, "1.2.7")),
        *plans(filled, lambda: follow_up(filled, FollowUpFilters(), limit=5)),
    ]
    assert len(told) > 3
    assert not [line for plan in told for line in scans_findings(plan)], told


LARGE = (
    *("sop_instance", "original", "ledger", "analysis", "finding", "analysis_period", "report_study"),
    *("report_reference", "report_accession", "report_standing", "report_profile", "recommendation", "image"),
    *("follow_up_item", "follow_up_decision", "follow_up_pending", "image_study"),
)
"""Tables that grow with each report, or image."""

_ORDERED_ITEMS = (
    "follow_up_item USING INDEX ix_follow_up_item_overdue_on_id",
    "follow_up_pending",
)
"""By which items are listed, and by which it is known whether there are marks: the first row is enough."""

QUERIES = {
    "findings of a study": lambda db: queries.page_of_study(db, "1.2.7"),
    "the page after": lambda db: queries.page_of_study(
        db, "1.2.7", limit=3, after=queries.page_of_study(db, "1.2.7", limit=3).next
    ),
    "findings of a study, all versions": lambda db: queries.page_of_study(db, "1.2.7", all_versions=True),
    "findings of a study, as of": lambda db: queries.page_of_study(db, "1.2.7", as_of=dt.datetime.now(dt.UTC)),
    "reports of a study": lambda db: queries.reports_of_study(db, "1.2.7"),
    "reports of a study, as of": lambda db: queries.reports_of_study(db, "1.2.7", as_of=dt.datetime.now(dt.UTC)),
    "findings of an instance": lambda db: queries.findings_of_instance(db, instance_uid(7)),
    "a report": lambda db: queries.reports_of_instance(db, instance_uid(7), all_versions=True),
    "changes of a report": lambda db: changes.changes_of_report(db, instance_uid(7)),
    "series of a study": lambda db: images.series_of_study(db, "1.2.7"),
    "failures": lambda db: status.read_failures(db, 20),
    "quarantine": lambda db: quarantine.read_quarantine(db, 20),
    "a patient": lambda db: patients.read_patient(db, "T-7"),
    "recommendations": lambda db: follow_up(db, FollowUpFilters(), limit=5),
    "what to analyse next": lambda db: take_pending(db, maximum_objects=9, maximum_bytes=10**6, exclude=()),
    "how far a reprocessing is": lambda db: read_run(db, 1),
    **{
        f"follow-up that is {state}": lambda db, state=state: list_items(
            db, ItemFilters(states=(state,)), today=dt.date(2027, 1, 1), limit=5
        )
        for state in STATES
    },
    "all follow-up": lambda db: list_items(db, ItemFilters(), today=dt.date(2027, 1, 1), limit=5),
    "follow-up of a study": lambda db: list_items(
        db, ItemFilters(study_instance_uid="1.2.7"), today=dt.date(2027, 1, 1)
    ),
    "an item": lambda db: read_item(db, 1, today=dt.date(2027, 1, 1)),
    "how much follow-up": lambda db: count_items(db, today=dt.date(2027, 1, 1)),
    "what is to be looked at": lambda db: (marked_studies(db, "1.2.7", 5), any_marked(db)),
    "looking at a study again": lambda db: list(Refresh(db, {"1.2.7": 1}).courses()),
    "the course of a patient": lambda db: course_of_study(db, "1.2.7"),
}


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_reads_through_a_table_that_grows(filled, name):
    """Of one study, one report, one patient; of what failed or waits: each finds its rows by an index."""
    told = plans(filled, lambda: QUERIES[name](filled))
    lines = [line.strip(" ->") for plan in told for line in plan.splitlines()]
    assert lines
    # a page in the order of one of these indexes is read from it until it is full
    ordered = ("recommendation USING INDEX ix_recommendation_study_date_id", *_ORDERED_ITEMS)
    lines = [line for line in lines if line not in {f"SCAN {index}" for index in ordered}]
    scans = [
        line
        for line in lines
        for table in LARGE
        if re.match(rf"(SCAN|Seq Scan on|Parallel Seq Scan on) {table}\b", line)
    ]
    assert not scans, told


@pytest.mark.parametrize("filled", ["sqlite"], indirect=True)  # PostgreSQL counts no steps
def test_work_of_a_page_does_not_grow_with_the_archive(filled):
    """The steps of SQLite's machine for a first page of a concept are the same in half of the archive as in all."""

    def steps(**fields):
        counted = 0

        def tick():
            nonlocal counted
            counted += 1
            return 0

        with filled.engine.connect() as connection:
            connection.connection.driver_connection.set_progress_handler(tick, 10)
        search_findings(filled, Filters(**fields), limit=5)
        with filled.engine.connect() as connection:
            connection.connection.driver_connection.set_progress_handler(None, 10)
        return counted

    concept = {"concepts": ("concept_1",), "assertions": (Assertion.PRESENT,)}
    half = steps(**concept, date_to=dt.date(2026, 4, 30))
    assert half > 0
    assert steps(**concept) < 1.5 * half
