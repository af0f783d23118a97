"""Errors of the database drivers as `DatabaseError`.

What a driver says is never passed on: its messages quote the parameters of a statement, and these are of patients.
"""

import errno
import sqlite3
from typing import NoReturn

import psycopg
import sqlalchemy.exc

from dicomnlp.errors import DatabaseError

LOCKED = "database_locked"
FULL = "database_full"
UNREACHABLE = "database_unreachable"
FAILED = "database_failed"
READ_ONLY = "store_read_only"
"""A commit couldn't be made durable; see `fence`."""
CONFLICT = "database_conflict"
"""Two transactions came into each other's way; the same work done again succeeds."""

_MESSAGES = {
    LOCKED: "the database is busy with another write; try again, or raise database.lock_timeout_seconds",
    FULL: "the disk of the database is full; free space or move the database",
    UNREACHABLE: "the database server does not answer; see database.url, and whether the server runs",
    FAILED: "the database failed",
    READ_ONLY: "the disk failed to make a commit durable, and nothing is written any more; "
    "see to the disk, then start the service again",
    CONFLICT: "two writers changed the same rows; try again",
}


def database_error(reason_code: str, detail: str = "") -> DatabaseError:
    """The error for a reason, with the driver's own code for the error, which holds nothing of a statement."""
    return DatabaseError(_MESSAGES[reason_code] + (f" ({detail})" if detail else ""), reason_code=reason_code)


def raise_translated(error: BaseException) -> NoReturn:
    """Raise what `error` (of SQLAlchemy, of a driver or of the file system) means, without its words."""
    raise translate(error) from None


def translate(error: BaseException) -> DatabaseError:
    """What `error` (of SQLAlchemy, of a driver or of the file system) means."""
    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None else error
    if isinstance(cause, sqlite3.Error):
        return _from_sqlite(cause)
    if isinstance(cause, psycopg.Error):
        return _from_postgresql(cause)
    if isinstance(cause, OSError):
        full = cause.errno in {errno.ENOSPC, errno.EDQUOT}
        return database_error(FULL if full else FAILED, errno.errorcode.get(cause.errno or 0, "OSError"))
    if isinstance(cause, sqlalchemy.exc.TimeoutError):
        return database_error(LOCKED, "all connections of this process are in use")
    return database_error(FAILED, type(cause).__name__)


def _from_sqlite(error: sqlite3.Error) -> DatabaseError:
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return database_error(LOCKED)
    if name == "SQLITE_FULL":
        return database_error(FULL)
    if name in {"SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC"}:
        return database_error(READ_ONLY, name)
    if name.startswith("SQLITE_CONSTRAINT_"):
        return database_error(CONFLICT if name.endswith(("UNIQUE", "PRIMARYKEY")) else FAILED, name)
    return database_error(FAILED, name)


def _from_postgresql(error: psycopg.Error) -> DatabaseError:
    code = error.sqlstate or ""
    # PostgreSQL's appendix A: class 08 connection, 57P server stopping, 53300 too many connections
    if isinstance(error, psycopg.OperationalError) and (not code or code.startswith(("08", "57P")) or code == "53300"):
        return database_error(UNREACHABLE, code)
    if code == "53100":
        return database_error(FULL)
    if code in {"55P03", "57014"}:
        return database_error(LOCKED)
    if code in {"40001", "40P01", "23505"}:
        return database_error(CONFLICT, code)
    return database_error(FAILED, code or type(error).__name__)
