"""Opening, transactions, roles, and what becomes of a driver's errors."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.records import make_record

from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.errors import AlreadyRunningError, ConfigurationError, DatabaseError
from dicomnlp.store import admin, faults
from dicomnlp.store.database import Database, parse_url
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.schema import ledger, sop_instance


def set_revision(settings, revision):
    """Make a database say that it has another schema."""
    admin.upgrade(settings)
    engine = sa.create_engine(parse_url(settings.database_url))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
    engine.dispose()


def test_missing_database_is_refused_with_the_command_that_makes_it(settings):
    """An absent file, or a database without tables, says what to run."""
    with pytest.raises(DatabaseError, match="dicomnlp db upgrade") as caught:
        Database.open(settings)
    assert caught.value.reason_code == "database_missing"


def test_opening_a_missing_file_does_not_make_one(sqlite_settings, tmp_path):
    """Only upgrade makes a database."""
    with pytest.raises(DatabaseError):
        Database.open(sqlite_settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("revision", "reason_code"), [("0000", "database_outdated"), ("9999", "database_too_new")])
def test_database_of_another_schema_is_refused(settings, revision, reason_code):
    """An older one asks for an upgrade, a newer one for the newer program."""
    set_revision(settings, revision)
    with pytest.raises(DatabaseError) as caught:
        Database.open(settings)
    assert caught.value.reason_code == reason_code


def test_file_that_is_no_database_is_refused(sqlite_settings, tmp_path):
    """Such a file is neither opened nor overwritten."""
    file = tmp_path / "var" / "test.db"
    file.parent.mkdir()
    file.write_bytes(b"not a database, but long enough to be looked at" * 100)
    for use in (Database.open, admin.upgrade, admin.check):
        with pytest.raises(DatabaseError) as caught:
            use(sqlite_settings)
        assert caught.value.reason_code == "database_failed"
    assert file.read_bytes().startswith(b"not a database")


def test_unreachable_server_is_told_without_the_password(tmp_path):
    """A server that does not answer ends as database_unreachable."""
    url = "postgresql://somebody:Passw0rd@127.0.0.1:1/name"
    with pytest.raises(DatabaseError) as caught:
        Database.open(Settings(database=DatabaseSettings(url=url, lock_timeout_seconds=2)))
    assert caught.value.reason_code == "database_unreachable"
    assert "Passw0rd" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "mysql://host/name", "sqlite://", "sqlite:///:memory:", "not a url", "postgresql+asyncpg://host/name"],
)
def test_url_of_no_supported_database_is_a_configuration_error(url):
    """Only SQLite files and PostgreSQL by psycopg are databases for this program."""
    with pytest.raises(ConfigurationError, match=r"database\.url"):
        parse_url(url)


def test_block_that_raises_writes_nothing(database):
    """A transaction is undone as a whole."""
    row = {"received_at": make_record(1).received_at, "door": "import", "calling_ae_title": "", "called_ae_title": ""}
    row |= {"peer_address": "", "sha256": "", "size": 0, "outcome": "refused", "status": 1}

    def write_and_fail():
        with database.write() as connection:
            connection.execute(sa.insert(ledger), row)
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(ledger)) == 0


def test_sqlite_is_durable_and_checks_references(sqlite_settings):
    """WAL with synchronous FULL: what was committed outlives a loss of power."""
    admin.upgrade(sqlite_settings)
    database = Database.open(sqlite_settings)
    with database.read() as connection:
        values = [connection.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "synchronous")]
        assert values == ["wal", 2]
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    database.close()


def test_postgresql_commits_wait_for_the_disk_whatever_the_server_is_set_to(postgres, postgres_template, tmp_path):
    """The test server runs with synchronous_commit off; connections of the program turn it on."""
    name = postgres.create_database(postgres_template)
    database = Database.open(Settings(database=DatabaseSettings(url=postgres.url(name))))
    with database.read() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    database.close()


def test_write_waits_for_another_and_then_fails_as_locked(sqlite_settings):
    """The wait ends after lock_timeout_seconds; reading goes on meanwhile; afterwards all is as before."""
    admin.upgrade(sqlite_settings)
    values = {**sqlite_settings.database.model_dump(), "lock_timeout_seconds": 0.2}
    database = Database.open(Settings(database=DatabaseSettings(**values)))
    other = sqlite3.connect(database.engine.url.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseError) as caught:
        record_arrivals(database, [make_record(1)])
    assert caught.value.reason_code == "database_locked"
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(ledger)) == 0
    other.execute("ROLLBACK")
    other.close()
    assert record_arrivals(database, [make_record(1)])[0].object_id is not None
    database.close()


def test_full_disk_is_told_as_such_and_leaves_no_half_row(sqlite_settings):
    """SQLite's own limit of pages stands for the disk; when there is room again, the same write succeeds."""
    admin.upgrade(sqlite_settings)
    database = Database.open(sqlite_settings)

    def limit(pages):
        with database.read() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    limit(1)  # SQLite rounds it up to what is in use
    records = [make_record(n, bytes(4000)) for n in range(50)]
    with pytest.raises(DatabaseError) as caught:
        record_arrivals(database, records)
    assert caught.value.reason_code == "database_full"
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(sop_instance)) == 0
    limit(100000)
    assert len(record_arrivals(database, records)) == 50
    database.close()


def test_lost_connections_are_made_anew(postgres, postgres_template, tmp_path):
    """A restart of the server costs nothing once it is back."""
    name = postgres.create_database(postgres_template)
    database = Database.open(Settings(database=DatabaseSettings(url=postgres.url(name))))
    record_arrivals(database, [make_record(1)])
    with postgres.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    assert record_arrivals(database, [make_record(2)])[0].object_id is not None
    database.close()


def test_connection_lost_inside_a_transaction_is_unreachable_and_undone(postgres, postgres_template, tmp_path):
    """Nothing is told as written that is not."""
    name = postgres.create_database(postgres_template)
    database = Database.open(Settings(database=DatabaseSettings(url=postgres.url(name))))
    record_arrivals(database, [make_record(1)])

    def lose_connection(connection):
        connection.execute(sa.delete(ledger))
        with postgres.connect() as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        connection.execute(sa.delete(sop_instance))

    with pytest.raises(DatabaseError) as caught:
        database.transact(lose_connection)
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(ledger)) == 1
    assert caught.value.reason_code == "database_unreachable"
    database.close()


def test_error_says_nothing_of_what_was_to_be_written(database):
    """Neither the message nor the traceback that would be printed quotes a parameter."""
    canary = "CANARY^PATIENT"
    with pytest.raises(DatabaseError) as caught, database.write() as connection:
        connection.execute(sa.text("INSERT INTO no_such_table VALUES (:name)"), {"name": canary})
    printed = "".join(traceback.format_exception(caught.value))
    assert caught.value.reason_code == "database_failed"
    assert canary not in printed
    assert "no_such_table" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "reason_code"),
    [
        (OSError(28, "No space left on device"), "database_full"),
        (OSError(122, "Disk quota exceeded"), "database_full"),
        (OSError(5, "Input/output error"), "database_failed"),
        (sa.exc.TimeoutError("QueuePool limit"), "database_locked"),
        (sa.exc.InvalidRequestError("misuse"), "database_failed"),
    ],
)
def test_errors_without_a_database_behind_them_have_reasons_too(error, reason_code):
    """The file system's and the pool's errors."""
    assert faults.translate(error).reason_code == reason_code


def test_role_is_held_by_one_at_a_time(ready_settings):
    """A second holder is refused at once, another role is free, and the end of the block frees it."""
    one, two = Database.open(ready_settings), Database.open(ready_settings)
    with one.hold("dispatcher"):
        with pytest.raises(AlreadyRunningError, match="dispatcher"), two.hold("dispatcher"):
            pass
        with two.hold("service"):
            pass
    with two.hold("dispatcher"):
        pass
    one.close()
    two.close()


HOLDER = """
import sys, time
from dicomnlp.config import Settings
from dicomnlp.store.database import Database
settings = Settings(database={"url": sys.argv[1]})
with Database.open(settings).hold("service"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_role_of_a_killed_process_is_free(ready_settings):
    """The operating system, or the server, lets go: no stale lock is left."""
    database = Database.open(ready_settings)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DICOMNLP_")}
    command = [sys.executable, "-c", HOLDER, ready_settings.database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline().strip() == "held"
        with pytest.raises(AlreadyRunningError), database.hold("service"):
            pass
        process.kill()
        process.wait()
    for _ in range(100):  # a server needs a moment to notice
        with contextlib.suppress(AlreadyRunningError), database.hold("service"):
            break
        threading.Event().wait(0.05)
    else:
        pytest.fail("the role is still taken")
    database.close()


def test_work_in_another_writers_way_is_done_again(database):
    """A conflict is tried again from its start, and given up when it does not end."""
    calls = []

    def work(connection, succeed_at):
        calls.append(1)
        if len(calls) < succeed_at:
            raise faults.database_error(faults.CONFLICT)
        return "done"

    assert database.transact(lambda c: work(c, 3)) == "done"
    calls.clear()
    with pytest.raises(DatabaseError, match="two writers"):
        database.transact(lambda c: work(c, 1000))
    assert len(calls) < 100


def test_deleted_file_is_noticed_and_its_successor_is_used(sqlite_settings):
    """Writes into a deleted file would be acknowledged and lost; a new file is taken up without a restart."""
    admin.upgrade(sqlite_settings)
    database = Database.open(sqlite_settings)
    path = Path(database.engine.url.database)
    with database.write() as connection:
        connection.execute(sa.select(1))
    for file in path.parent.glob(path.name + "*"):
        file.unlink()
    for _ in range(2):
        with pytest.raises(DatabaseError) as caught, database.write():
            pass
        assert caught.value.reason_code in {"database_replaced", "database_missing", "database_failed"}
        assert not path.exists()
    admin.upgrade(sqlite_settings)
    with database.write() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM ledger")) == 0
    database.close()


def test_database_and_its_backup_are_readable_by_their_owner_only(sqlite_settings, tmp_path):
    """They hold originals with names and birth dates."""
    admin.upgrade(sqlite_settings)
    database = Database.open(sqlite_settings)
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE x (y)"))
    path = Path(database.engine.url.database)
    admin.backup(sqlite_settings, tmp_path / "copy.db")
    files = [*path.parent.glob(path.name + "*"), tmp_path / "copy.db"]
    assert len(files) >= 3
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}
    database.close()


def test_damaged_file_is_told(sqlite_settings):
    """A stale log replayed onto a restored file, a bad disk."""
    admin.upgrade(sqlite_settings)
    admin.verify(sqlite_settings)
    path = Path(Database.open(sqlite_settings).engine.url.database)
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 6] = b"\x55" * (4096 * 3)
    path.write_bytes(bytes(content))
    with pytest.raises(DatabaseError) as caught:
        admin.verify(sqlite_settings)
    assert caught.value.reason_code.startswith("database_")
