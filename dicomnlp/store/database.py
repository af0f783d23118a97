"""The connection to the database, the same for SQLite and PostgreSQL."""

import contextlib
import copy
import fcntl
import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.engine import URL, Connection, Engine

from dicomnlp.config import Settings
from dicomnlp.errors import AlreadyRunningError, ConfigurationError, DatabaseError, RoleLostError
from dicomnlp.store import faults, schema
from dicomnlp.store.fence import Fence
from dicomnlp.store.impatience import make_impatient, patience
from dicomnlp.store.rows import driver
from dicomnlp.store.scope import EVERYTHING, OPTION, Scope

T = TypeVar("T")
UPGRADE_HINT = "run `dicomnlp db upgrade`"
HOLD_SECONDS = 60.0
"""A server that doesn't answer for so long is taken to have let go of the roles that it was asked to hold."""
_TRIES = 10
_WRITE = "dicomnlp_write"
_FILE = "dicomnlp_file"


class _Writer:
    """The connection that is kept for writing; every scope of a database has the same."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.lock = threading.Lock()
        """Held by the thread that has `connection`."""


class Database:
    """A pool of connections to a database whose schema is the one that this program speaks.

    Safe for use by many threads; each process opens its own.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine = engine
        self.large_object_directory = settings.large_object_directory
        self.large_object_bytes = settings.database.large_object_bytes
        self.fence = Fence(self.beside("read-only"))
        """Closed after a commit that couldn't be made durable; from then on every write fails."""
        self.scope = EVERYTHING
        """What is answered and changed; all else is as if it weren't held."""
        self._writer = _Writer()

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open the database of `settings`.

        Raises
        ------
        DatabaseError
            reason_code database_missing, database_outdated or database_too_new (the schema is another than this
            program's), database_locked, database_unreachable or database_failed; the message says what to do.
        """
        url = parse_url(settings.database_url)
        if url.database is not None and is_sqlite(url) and not Path(url.database).exists():
            raise DatabaseError(
                f"the database {url.database} does not exist; {UPGRADE_HINT}", reason_code="database_missing"
            )
        database = cls(create_engine(settings), settings)
        try:
            with database.read() as connection:
                check_revision(read_revision(connection))
        except BaseException:
            database.close()
            raise
        return database

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a SQLite file; else it is PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    def beside(self, ending: str) -> Path:
        """A file of this host that goes with the database: beside a SQLite file, else the folder of large objects."""
        place = self.engine.url.database if self.is_sqlite else self.large_object_directory
        return Path(f"{place}.{ending}")

    def within(self, scope: Scope) -> Self:
        """The same database, on the same connections, answering only what is within `scope`."""
        if scope == self.scope:
            return self
        other = copy.copy(self)
        other.scope = scope
        return other

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads. Never waits for a writer."""
        with self._transaction(write=False) as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is durable when the block has ended, and undone when the block raises.

        SQLite has one writer at a time: waiting for it ends after `database.lock_timeout_seconds`.

        Raises
        ------
        DatabaseError
            With the reason_code of what failed; nothing has been written.
        """
        with self._transaction(write=True) as connection:
            yield connection

    def limit_waits(self, seconds: float) -> None:
        """Give a server that long for each answer; one that is slower is given up, and its connection closed.

        The server's own timeouts don't help where it is suspended, nor do those of TCP: its system goes on answering.
        SQLite is bounded by `database.lock_timeout_seconds`.
        """
        of_server = patience(self.engine)
        if of_server is not None:
            of_server.seconds = seconds

    def note(self, error: DatabaseError) -> None:
        """Close the store for writing, if `error` says that something couldn't be made durable."""
        if error.reason_code == faults.READ_ONLY:
            self.fence.close_store()

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a `write` transaction, again from its start when another writer came into its way.

        `work` must have no effect outside of the connection.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._transact_once(work)
            except DatabaseError as error:
                if error.reason_code != faults.CONFLICT:
                    raise
        return self._transact_once(work)

    @contextlib.contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        if write and self.fence.is_closed:
            raise faults.database_error(faults.READ_ONLY)
        options: dict[str, Any] = {_WRITE: write}
        if not self.scope.is_everything:
            options[OPTION] = self.scope
        try:
            with self.engine.connect() as connection, connection.execution_options(**options).begin():
                yield connection
        except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
            raise self._translated(error) from None

    def _translated(self, error: Exception) -> DatabaseError:
        translated = faults.translate(error)
        self.note(translated)
        return translated

    def _transact_once(self, work: Callable[[Connection], T]) -> T:
        if self.is_sqlite and self.scope.is_everything and self._writer.lock.acquire(blocking=False):
            try:
                return self._transact_by_writer(work)
            finally:
                self._writer.lock.release()
        with self.write() as connection:
            return work(connection)

    def _transact_by_writer(self, work: Callable[[Connection], T]) -> T:
        """As in a `write` block, on a connection that is kept: pool and builder cost as much as the statements do.

        The builder begins a transaction of its own when `work` executes something by it, and not otherwise.
        """
        if self.fence.is_closed:
            raise faults.database_error(faults.READ_ONLY)
        try:
            if self._writer.connection is None:
                self._writer.connection = self.engine.connect().execution_options(**{_WRITE: True})
            writer = self._writer.connection
            _begin_sqlite(writer)
            result = work(writer)
            if writer.in_transaction():
                writer.commit()
            else:
                driver(writer).commit()
        except BaseException as error:
            # whatever state it is in, the pool knows how to undo, to mend or to discard it
            self._release_writer()
            if isinstance(error, sqlalchemy.exc.SQLAlchemyError | sqlite3.Error):
                raise self._translated(error) from None
            raise
        return result

    def _release_writer(self) -> None:
        writer, self._writer.connection = self._writer.connection, None
        if writer is not None:
            writer.close()

    @contextlib.contextmanager
    def hold(self, role: str) -> Iterator[Callable[[], None]]:
        """Be the only process in `role` ("service", "dispatcher") on this database, as long as the block lasts.

        The operating system, or the database server, lets go when the process dies. A server also does when it ends or
        the connection breaks: the function that the block is given finds out.

        Yields
        ------
        Callable
            Raises `RoleLostError` when the role is no longer held; asks the server, if there is one.

        Raises
        ------
        AlreadyRunningError
            At once, when another process (or another block in this one) holds the role.
        DatabaseError
            The database can't be reached.
        """
        holder = self._hold_file(role) if self.is_sqlite else self._hold_advisory_lock(role)
        with holder as check:
            yield check

    @contextlib.contextmanager
    def _hold_file(self, role: str) -> Iterator[Callable[[], None]]:
        path = f"{self.engine.url.database}.{role}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            faults.raise_translated(error)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _already_running(role) from None
            # the file stays: were it removed, two processes could each lock a file of that name
            yield lambda: None
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _hold_advisory_lock(self, role: str) -> Iterator[Callable[[], None]]:
        # a connection outside of the pool: the lock lasts as long as the session
        engine = sa.create_engine(
            self.engine.url,
            poolclass=sa.NullPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            connect_args={"connect_timeout": 10, "keepalives_idle": 30},
        )
        make_impatient(engine)
        of_server = patience(engine)
        assert of_server is not None
        of_server.seconds = HOLD_SECONDS

        def check() -> None:
            try:
                connection.scalar(sa.select(1))
            except sqlalchemy.exc.SQLAlchemyError:
                raise RoleLostError(f"the database server no longer holds the role {role!r} for this process") from None

        with contextlib.ExitStack() as stack:
            try:
                connection = stack.enter_context(engine.connect())
                taken = connection.scalar(sa.select(sa.func.pg_try_advisory_lock(lock_key(f"role {role}"))))
            except sqlalchemy.exc.SQLAlchemyError as error:
                faults.raise_translated(error)
            if not taken:
                raise _already_running(role)
            yield check

    def close(self) -> None:
        """Close all connections."""
        with self._writer.lock:
            self._release_writer()
        self.engine.dispose()
        self.fence.release()


def _already_running(role: str) -> AlreadyRunningError:
    return AlreadyRunningError(
        f"another {role} works on this database; stop it first, or give this one a database of its own"
    )


def lock_key(name: str) -> int:
    """The number of PostgreSQL's advisory lock for `name`; two names that share one only wait for each other."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big", signed=True)


def parse_url(text: str) -> URL:
    """`database.url` as SQLAlchemy takes it.

    Raises
    ------
    ConfigurationError
        It names neither a SQLite file nor a PostgreSQL server.
    """
    expected = "database.url must be sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
    try:
        url = sa.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ConfigurationError(expected) from None
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername == "postgresql+psycopg":
        return url
    if url.drivername == "sqlite" and url.database and url.database != ":memory:":
        return url
    raise ConfigurationError(expected)


def is_sqlite(url: URL) -> bool:
    """Whether `url` is of a SQLite file."""
    return url.get_backend_name() == "sqlite"


def create_engine(settings: Settings) -> Engine:
    """A pool for the database of `settings`, whatever its schema. A SQLite file must exist."""
    url = parse_url(settings.database_url)
    timeout = settings.database.lock_timeout_seconds
    # hide_parameters: an error's text must not quote what was to be written
    common: dict[str, Any] = {"hide_parameters": True, "pool_timeout": timeout}
    if not is_sqlite(url):
        options = f"-c synchronous_commit=on -c lock_timeout={int(timeout * 1000)} -c timezone=UTC"
        engine = sa.create_engine(
            url,
            pool_pre_ping=True,
            connect_args={"connect_timeout": max(2, int(timeout)), "options": options},
            **common,
        )
        make_impatient(engine)
        return engine
    path = Path(url.database or "").resolve()
    # mode=rw: a file that was deleted under a running service must not come back as an empty one
    address = f"{path.as_uri()}?mode=rw"
    engine = sa.create_engine(
        url,
        creator=lambda: sqlite3.connect(address, uri=True, timeout=timeout, check_same_thread=False),
        # the connection that wrote last: each other one would have to read again what has changed
        pool_use_lifo=True,
        **common,
    )

    def prepare(connection: sqlite3.Connection, record: Any) -> None:
        _prepare_sqlite(connection)
        record.info[_FILE] = str(path), _identity(str(path))

    sa.event.listen(engine, "connect", prepare)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _identity(path: str) -> tuple[int, int] | None:
    """Which file `path` names now: a connection goes on writing into a deleted one, and nobody would ever see it."""
    try:
        status = os.stat(path)  # noqa: PTH116 - at each transaction: a Path takes twice as long
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _prepare_sqlite(connection: sqlite3.Connection) -> None:
    # transactions begin where _begin_sqlite says so, not where the driver guesses
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    # NORMAL can lose the last commits when power fails, and these were acknowledged
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # sixteen megabytes of log before it goes into the file: pages that many arrivals change are written there once
    connection.execute("PRAGMA wal_autocheckpoint = 4096")


def _begin_sqlite(connection: Connection) -> None:
    of_driver = driver(connection)
    if of_driver.in_transaction:
        return
    path, identity = connection.connection.info[_FILE]
    if identity != _identity(path):
        connection.invalidate()
        raise DatabaseError(
            f"the database {path} was deleted or replaced while in use; put it back, or {UPGRADE_HINT}",
            reason_code="database_replaced",
        )
    # a transaction that begins by reading can't wait for its turn to write: SQLite fails it at once
    write = connection.get_execution_options().get(_WRITE, True)
    try:
        # to the driver at once: SQLAlchemy's way to it costs several times what SQLite needs for this
        of_driver.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    except sqlite3.Error as error:
        faults.raise_translated(error)


def read_revision(connection: Connection) -> str | None:
    """The schema revision that the database has, None when it has none of ours."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return None if revision is None else str(revision)


def check_revision(revision: str | None) -> None:
    """Refuse a database whose schema is not `schema.REVISION`; revisions are numbers of four digits."""
    if revision is None:
        raise DatabaseError(f"the database holds no tables yet; {UPGRADE_HINT}", reason_code="database_missing")
    if revision < schema.REVISION:
        raise DatabaseError(
            f"the database has schema {revision}, this program needs {schema.REVISION}; {UPGRADE_HINT}",
            reason_code="database_outdated",
        )
    if revision > schema.REVISION:
        raise DatabaseError(
            f"the database has schema {revision}, made by a newer program than this one ({schema.REVISION}); "
            "run the newer program",
            reason_code="database_too_new",
        )
