"""Upgrading, checking and backing up a database."""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import alembic.command
import alembic.config
import sqlalchemy as sa
import sqlalchemy.exc

from dicomnlp.config import Settings
from dicomnlp.errors import DatabaseError, UsageError
from dicomnlp.store import faults, schema
from dicomnlp.store.database import (
    UPGRADE_HINT,
    check_revision,
    create_engine,
    is_sqlite,
    lock_key,
    parse_url,
    read_revision,
)


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """What a database's schema is, against what it should be."""

    url: str
    """Without the password."""
    revision: str | None
    """None: there is no database, or one without tables."""
    expected: str

    @property
    def is_current(self) -> bool:
        """Whether the service can run on it."""
        return self.revision == self.expected


def upgrade(settings: Settings) -> SchemaStatus:
    """Bring the database to this program's schema in one transaction; make it, and a SQLite file's folder, if need be.

    Two upgrades at the same time wait for each other. An interrupted one leaves the schema as it was.

    Raises
    ------
    DatabaseError
        The database is newer than the program, locked, full or out of reach.
    """
    url = parse_url(settings.database_url)
    if is_sqlite(url):
        assert url.database is not None
        try:
            Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make_private(Path(url.database))
        except OSError as error:
            faults.raise_translated(error)
    engine = create_engine(settings)
    try:
        with engine.connect() as connection, connection.begin():
            if not is_sqlite(url):
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock_key("upgrade"))))
            revision = read_revision(connection)
            if revision is not None and revision > schema.REVISION:
                check_revision(revision)
            configuration = alembic.config.Config()
            configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            configuration.attributes["connection"] = connection
            alembic.command.upgrade(configuration, "head")
    except sqlalchemy.exc.SQLAlchemyError as error:
        faults.raise_translated(error)
    finally:
        engine.dispose()
    return check(settings)


def check(settings: Settings) -> SchemaStatus:
    """What schema the database has.

    Raises
    ------
    DatabaseError
        It can't be read: locked, out of reach, or not a database.
    """
    url = parse_url(settings.database_url)
    shown = url.render_as_string(hide_password=True)
    if is_sqlite(url) and not Path(url.database or "").exists():
        return SchemaStatus(shown, None, schema.REVISION)
    engine = create_engine(settings)
    try:
        with engine.connect().execution_options(dicomnlp_write=False) as connection, connection.begin():
            return SchemaStatus(shown, read_revision(connection), schema.REVISION)
    except sqlalchemy.exc.SQLAlchemyError as error:
        faults.raise_translated(error)
    finally:
        engine.dispose()


def backup(settings: Settings, path: Path) -> None:
    """Copy a SQLite database to the new file `path` while the service goes on.

    The copy is one moment's state, checked and on disk when this returns. Originals above
    `database.large_object_bytes` are files: copy `database.large_object_directory` afterwards, so that it holds at
    least what the copy refers to.

    Raises
    ------
    UsageError
        `path` exists, or the database is PostgreSQL, which has tools of its own.
    DatabaseError
        There is no database, the copy failed, or the disk is full.
    """
    url = parse_url(settings.database_url)
    if not is_sqlite(url):
        raise UsageError(
            "a PostgreSQL database is backed up with its own tools: pg_dump --format=custom --file=PATH NAME"
        )
    source = Path(url.database or "")
    if not source.exists():
        raise DatabaseError(f"the database {source} does not exist; {UPGRADE_HINT}", reason_code="database_missing")
    if path.exists():
        raise UsageError(f"{path} exists; name a new file")
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        _copy(source, unfinished)
        unfinished.rename(path)
        _sync(path.parent)
    except (sqlite3.Error, OSError) as error:
        unfinished.unlink(missing_ok=True)
        faults.raise_translated(error)


def verify(settings: Settings) -> None:
    """Read a SQLite database through for damage; PostgreSQL has checks of its own.

    Raises
    ------
    DatabaseError
        reason_code database_damaged; or it can't be read.
    """
    if not is_sqlite(parse_url(settings.database_url)):
        return
    engine = create_engine(settings)
    try:
        with engine.connect().execution_options(dicomnlp_write=False) as connection, connection.begin():
            if connection.exec_driver_sql("PRAGMA quick_check").scalar() != "ok":
                raise DatabaseError(
                    "the database is damaged; stop the service and restore the last backup",
                    reason_code="database_damaged",
                )
    except sqlalchemy.exc.SQLAlchemyError as error:
        faults.raise_translated(error)
    finally:
        engine.dispose()


def _make_private(path: Path) -> None:
    """Make the file if there is none: readable by its owner only, as all that SQLite then puts beside it."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _copy(source: Path, target: Path) -> None:
    _make_private(target)
    original, copy = sqlite3.connect(source), sqlite3.connect(target)
    try:
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        if copy.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
            raise DatabaseError("the copy is damaged, and so may be the database", reason_code="database_damaged")
    finally:
        copy.close()
        original.close()
    _sync(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
