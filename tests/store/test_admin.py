"""Upgrading, checking, backing up; and that migrations lead to the tables that the program speaks of."""

import datetime as dt
import re
import sqlite3
import threading
from pathlib import Path

import alembic.config
import alembic.script
import pytest
import sqlalchemy as sa
from support import lives
from support.records import STUDY, instance_uid, make_finding, make_processed, make_record

import dicomnlp.store
from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.errors import DatabaseError, UsageError
from dicomnlp.store import admin, queries, schema
from dicomnlp.store.database import Database, parse_url
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.records import analysis_row, finding_row


def describe_schema(engine):
    """All tables, columns, keys and indexes as the database itself tells them."""
    if engine.dialect.name == "sqlite":
        # the words of reports are in a table of FTS5, which no schema of SQLAlchemy describes
        query = (
            "SELECT type, name, sql FROM sqlite_master WHERE tbl_name <> 'alembic_version'"
            " AND tbl_name NOT LIKE 'report_words%'"
            # nor does it know of triggers: what keeps the audit trail's rows is tested there
            " AND type <> 'trigger'"
        )
        with engine.connect() as connection:
            rows = connection.exec_driver_sql(query).all()
        # an entry a column or constraint; a column added later stands at the end of another's line, and their order
        # within a table is of no account
        split = re.compile(r",?\s*\n\s*|, (?=\w+ (?:TEXT|DOUBLE)(?:,|\n| DEFAULT |$))")
        return {(kind, name, *sorted(split.split(sql or ""))) for kind, name, sql in rows}
    statements = [
        (
            "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name NOT IN ('alembic_version', 'report_words')"
        ),
        (
            "SELECT indexname, indexdef, '', '', '' FROM pg_indexes"
            " WHERE schemaname = 'public' AND tablename NOT IN ('alembic_version', 'report_words')"
        ),
        (
            "SELECT conname, pg_get_constraintdef(oid), '', '', '' FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND conrelid <> 'alembic_version'::regclass"
            " AND conrelid <> coalesce(to_regclass('report_words'), 0)"
        ),
    ]
    with engine.connect() as connection:
        return {tuple(row) for statement in statements for row in connection.exec_driver_sql(statement)}


def test_migrations_lead_to_the_tables_of_the_schema(settings, tmp_path, request):
    """A database migrated from nothing is the same as one made from `schema.metadata`."""
    admin.upgrade(settings)
    migrated = sa.create_engine(parse_url(settings.database_url))
    if migrated.dialect.name == "sqlite":
        made = sa.create_engine(f"sqlite:///{tmp_path}/made.db")
    else:
        server = request.getfixturevalue("postgres")
        made = sa.create_engine(server.url(server.create_database()))
        with made.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE alembic_version (version_num text)")
    schema.metadata.create_all(made)
    found, expected = describe_schema(migrated), describe_schema(made)
    assert found == expected
    assert len(found) > 20
    migrated.dispose()
    made.dispose()


def test_revision_of_the_program_is_the_newest_migration():
    """`schema.REVISION` is kept by hand and held against the migrations; they are one line of four-digit numbers."""
    configuration = alembic.config.Config()
    configuration.set_main_option("script_location", str(Path(dicomnlp.store.__file__).parent / "migrations"))
    script = alembic.script.ScriptDirectory.from_config(configuration)
    assert script.get_heads() == [schema.REVISION]
    numbers = [s.revision for s in script.walk_revisions()]
    assert all(re.fullmatch(r"\d{4}", n) for n in numbers)
    assert numbers == sorted(numbers, reverse=True)


def test_upgrade_makes_folder_and_database_and_may_be_repeated(settings):
    """Nothing is lost by a second upgrade."""
    assert not admin.check(settings).is_current
    assert admin.upgrade(settings).is_current
    database = Database.open(settings)
    record_arrivals(database, [make_record(1)])
    database.close()
    assert admin.upgrade(settings).revision == schema.REVISION
    database = Database.open(settings)
    assert len(queries.reports_of_instance(database, instance_uid(1))) == 1
    database.close()


def test_upgrades_at_the_same_time_wait_for_each_other(settings):
    """Two services that start together on an empty database both find it ready."""
    failures = []

    def upgrade():
        try:
            admin.upgrade(settings)
        except DatabaseError as error:
            failures.append(error.reason_code)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert admin.check(settings).is_current


def test_interrupted_upgrade_leaves_nothing_behind(settings, monkeypatch):
    """A migration is one transaction: after a failure in its midst the next one begins from where it was."""
    real = sa.engine.Connection.execute
    count = 0

    def failing(self, statement, *args, **kwargs):
        nonlocal count
        count += isinstance(statement, sa.schema.CreateTable)
        if count == 4:
            raise KeyboardInterrupt
        return real(self, statement, *args, **kwargs)

    monkeypatch.setattr(sa.engine.Connection, "execute", failing)
    with pytest.raises(KeyboardInterrupt):
        admin.upgrade(settings)
    monkeypatch.undo()
    assert admin.check(settings).revision is None
    assert admin.upgrade(settings).is_current


def test_reports_of_the_first_schema_are_found_after_the_upgrade(settings, monkeypatch):
    """With the study that they are of, as prevailing, and as known since they were analysed."""
    import alembic.command

    real = alembic.command.upgrade
    monkeypatch.setattr(alembic.command, "upgrade", lambda configuration, _: real(configuration, "0001"))
    admin.upgrade(settings)
    monkeypatch.undo()
    engine = sa.create_engine(parse_url(settings.database_url))
    moment = dt.datetime(2026, 11, 22, 6, 0, tzinfo=dt.UTC)
    given = {
        "id": 1, "version": 1, "size": 1, "seen_count": 1, "attempts": 1, "lane": 0, "object_id": 1, "analysis_id": 1,
        "start_offset": 0, "end_offset": 6, "is_current": True, "state": "analysed", "pipeline": "en-1",
        "sop_instance_uid": instance_uid(1), "study_instance_uid": STUDY, "language": "en", "assertion": "present",
        "preliminary_flag": "PRELIMINARY", "section": "findings", "narrative": "Nodule", "text": "Nodule",
        "character_set": '{"declared": [], "used": "ascii", "confidence": 1.0}', "labels": "{}",
    }  # fmt: skip
    with engine.begin() as connection:
        for name in ("sop_instance", "analysis", "finding"):
            table = sa.Table(name, sa.MetaData(), autoload_with=connection)
            kinds = {sa.Integer: 0, sa.BigInteger: 0, sa.Boolean: False, sa.DateTime: moment.replace(tzinfo=None)}
            lists = {"sections", "measurements", "cues", "segments", "items", "evidence", "predecessors"}
            lists |= {"narrative_sections", "coded_measurements", "report_warnings", "analysis_warnings"}
            row = {}
            for column in table.columns:
                blank = next((v for kind, v in kinds.items() if isinstance(column.type, kind)), "")
                row[column.name] = given.get(column.name, "[]" if column.name in lists else blank)
            for column in ("reprocess_run_id", "reason_code", "document_code", "anatomy", "laterality", "severity"):
                row.pop(column, None)
            row.pop("change", None)
            connection.execute(table.insert().values(row))
    engine.dispose()
    assert admin.upgrade(settings).is_current
    database = Database.open(settings)
    [report] = queries.reports_of_study(database, STUDY)
    assert (report.standing.status, [s.kind for s in report.studies]) == ("prevailing", ["own"])
    assert len(queries.findings_of_study(database, STUDY)) == 1
    assert len(queries.findings_of_study(database, STUDY, as_of=moment + dt.timedelta(seconds=1))) == 1
    # a final report that comes now finds it
    lives.arrive(database, lives.Document(2, preliminary_flag="FINAL", title=None))
    assert [f.sop_instance_uid for f in queries.findings_of_study(database, STUDY)] == [instance_uid(2)]
    database.close()


def test_reports_of_schema_0005_are_searched_after_the_upgrade(settings, monkeypatch):
    """Their findings by site, size and date, their words, profile and recommendations."""
    import alembic.command

    from dicomnlp.store.follow_up import FollowUpFilters, follow_up
    from dicomnlp.store.search import Filters, search_findings

    real = alembic.command.upgrade
    monkeypatch.setattr(alembic.command, "upgrade", lambda configuration, _: real(configuration, "0005"))
    admin.upgrade(settings)
    monkeypatch.undo()
    engine = sa.create_engine(parse_url(settings.database_url))
    at = dt.datetime(2026, 11, 22, 6, 0, tzinfo=dt.UTC)
    analysed = {**analysis_row(make_processed(1, findings=())), "analysed_at": at}
    asked = {
        "text": "CT in 6 months", "start": 0, "end": 14, "procedure": "CT", "modality": "CT",
        "anatomy": {"id": "chest", "code": None, "scheme": None, "meaning": "Chest"}, "interval_days_min": 180,
        "interval_days_max": 180, "conditional": False, "kind": "recommended", "guideline": None,
    }  # fmt: skip
    moment = dt.datetime(2026, 11, 22, 6, 0, tzinfo=dt.UTC)
    held = {
        "id": 1, "version": 1, "size": 1, "seen_count": 1, "attempts": 1, "lane": 0, "is_current": True,
        "state": "analysed", "sop_instance_uid": instance_uid(1), "study_instance_uid": STUDY,
        "study_date": "20261122", "patient_birth_date": "19800101", "patient_sex": "F", "modality": "CT",
        "body_part_examined": "Chest", "received_at": moment, "last_seen_at": moment, "state_changed_at": moment,
    }  # fmt: skip
    standing = {
        "object_id": 1, "study_instance_uid": STUDY, "is_preliminary": False, "status": "prevailing"
    }  # fmt: skip
    finding = {
        "id": 7, "analysis_id": 1, "object_id": 1, "study_instance_uid": STUDY, "sop_instance_uid": instance_uid(1),
        "is_current": True, "pipeline": "en-1", "analysed_at": moment, **finding_row(make_finding()),
    }  # fmt: skip
    with engine.begin() as connection:
        for table, row in (
            (schema.sop_instance, held),
            (schema.analysis, {**analysed, "id": 1, "recommendations": [asked]}),
            (schema.report_standing, standing),
            (schema.finding, finding),
        ):
            old = {c["name"]: c for c in sa.inspect(connection).get_columns(table.name)}
            empty = {n: "" for n, c in old.items() if not c["nullable"] and c["default"] is None}
            values = {n: v for n, v in {**empty, **row}.items() if n in old}
            names = sa.table(table.name, *(sa.column(n, table.c[n].type) for n in values))
            connection.execute(sa.insert(names), values)
    engine.dispose()
    assert admin.upgrade(settings).is_current
    database = Database.open(settings)
    for filters in (
        Filters(anatomy=("right_upper_lobe",), minimum_size=6.0, maximum_size=6.0),
        Filters(date_from=dt.date(2026, 11, 22), date_to=dt.date(2026, 11, 22), text="nodule"),
        Filters(modality="CT", body_part="chest", patient_sex="F", minimum_age=46, maximum_age=46),
    ):
        assert [f.id for f in search_findings(database, filters).findings] == [7], filters
    assert not search_findings(database, Filters(text="cyst")).findings
    [found] = follow_up(database, FollowUpFilters(modality="CT")).recommendations
    assert (found.study_date, found.due_to, found.recommendation.text) == ("20261122", "20270521", "CT in 6 months")
    database.close()


def test_newer_database_is_not_touched(settings):
    """An upgrade by an older program refuses."""
    admin.upgrade(settings)
    engine = sa.create_engine(parse_url(settings.database_url))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0999'")
    engine.dispose()
    with pytest.raises(DatabaseError) as caught:
        admin.upgrade(settings)
    assert caught.value.reason_code == "database_too_new"
    assert admin.check(settings).revision == "0999"


def test_check_hides_the_password():
    """What is shown of the address is without it, also when the server is away only an error is told."""
    shown = parse_url("postgresql://user:Passw0rd@host/name").render_as_string(hide_password=True)
    assert "Passw0rd" not in shown
    with pytest.raises(DatabaseError) as caught:
        admin.check(
            Settings(database=DatabaseSettings(url="postgresql://u:Passw0rd@127.0.0.1:1/n", lock_timeout_seconds=2))
        )
    assert "Passw0rd" not in str(caught.value)


def test_backup_is_a_whole_database_of_its_own(sqlite_settings, tmp_path):
    """Made while a connection is open; it can be opened in place of the original."""
    admin.upgrade(sqlite_settings)
    database = Database.open(sqlite_settings)
    record_arrivals(database, [make_record(n) for n in range(5)])
    target = tmp_path / "backup.db"
    admin.backup(sqlite_settings, target)
    record_arrivals(database, [make_record(6)])
    database.close()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("backup")] == ["backup.db"]
    copy = Database.open(Settings(database=DatabaseSettings(url=f"sqlite:///{target}")))
    with copy.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.sop_instance)) == 5
    copy.close()


def test_backup_overwrites_nothing_and_needs_a_database(sqlite_settings, tmp_path):
    """An existing file, and a missing database, are told."""
    target = tmp_path / "backup.db"
    with pytest.raises(DatabaseError, match="db upgrade"):
        admin.backup(sqlite_settings, target)
    assert not target.exists()
    admin.upgrade(sqlite_settings)
    target.write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists"):
        admin.backup(sqlite_settings, target)
    assert target.read_bytes() == b"precious"


def test_backup_of_a_damaged_database_is_not_called_one(sqlite_settings, tmp_path):
    """Garbage in the midst of the file is found, and no file of the name is left."""
    admin.upgrade(sqlite_settings)
    database = Database.open(sqlite_settings)
    record_arrivals(database, [make_record(n, bytes([n]) * 5000) for n in range(20)])
    database.close()
    file = Path(parse_url(sqlite_settings.database_url).database)
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(file.read_bytes())
    content[8192:40960] = bytes(range(256)) * 128
    file.write_bytes(content)
    target = tmp_path / "backup.db"
    with pytest.raises(DatabaseError):
        admin.backup(sqlite_settings, target)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("backup")] == []


def test_backup_to_a_folder_that_is_not_there_is_told(sqlite_settings, tmp_path):
    """It ends as an error of ours."""
    admin.upgrade(sqlite_settings)
    with pytest.raises(DatabaseError):
        admin.backup(sqlite_settings, tmp_path / "no" / "such" / "backup.db")


def test_postgresql_backup_names_its_tool():
    """A PostgreSQL database has better means of its own."""
    with pytest.raises(UsageError, match="pg_dump"):
        admin.backup(Settings(database=DatabaseSettings(url="postgresql://host/name")), Path("x"))
