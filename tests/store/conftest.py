"""The same tests on SQLite and on a real PostgreSQL: ask for `database`, or for `settings` of one not yet made."""

import shutil

import pytest

from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.store import admin
from dicomnlp.store.database import Database


@pytest.fixture(scope="session")
def postgres_template(postgres):
    """A database with the schema, to copy: quicker than to migrate one for each test."""
    name = postgres.create_database()
    admin.upgrade(Settings(database=DatabaseSettings(url=postgres.url(name))))
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    """The same as a SQLite file."""
    file = tmp_path_factory.mktemp("template") / "test.db"
    admin.upgrade(Settings(database=DatabaseSettings(url=f"sqlite:///{file}")))
    return file


def make_settings(folder, url, **keys):
    """Settings with a database only, and short waits."""
    keys = {"lock_timeout_seconds": 5.0, "large_object_bytes": 8192, **keys}
    return Settings(
        database=DatabaseSettings(url=url, large_object_directory=folder / "objects", **keys),
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request, tmp_path):
    """Settings of a database that doesn't exist yet (SQLite) or is empty (PostgreSQL)."""
    if request.param == "sqlite":
        yield make_settings(tmp_path, f"sqlite:///{tmp_path}/var/test.db")
        return
    server = request.getfixturevalue("postgres")
    name = server.create_database()
    yield make_settings(tmp_path, server.url(name))
    server.drop_database(name)


@pytest.fixture
def sqlite_settings(tmp_path):
    """Settings of a SQLite database that doesn't exist yet."""
    return make_settings(tmp_path, f"sqlite:///{tmp_path}/var/test.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def ready_settings(request, tmp_path):
    """Settings of a database with the schema and nothing in it."""
    if request.param == "sqlite":
        (tmp_path / "var").mkdir()
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "var")
        yield make_settings(tmp_path, f"sqlite:///{tmp_path}/var/test.db")
        return
    server = request.getfixturevalue("postgres")
    name = server.create_database(request.getfixturevalue("postgres_template"))
    yield make_settings(tmp_path, server.url(name))
    server.drop_database(name)


@pytest.fixture
def database(ready_settings):
    """An open database with nothing in it."""
    opened = Database.open(ready_settings)
    yield opened
    opened.close()
