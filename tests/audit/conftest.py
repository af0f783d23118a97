"""A database with an empty trail, on SQLite and on a real PostgreSQL; and events."""

import pytest

from dicomnlp.audit.events import AuditEvent, Kind, Outcome
from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.store import admin
from dicomnlp.store.database import Database


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request, tmp_path):
    """Settings of a database with the schema."""
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    name = server.create_database() if server else ""
    url = server.url(name) if server else f"sqlite:///{tmp_path}/var/test.db"
    (tmp_path / "var").mkdir()
    made = Settings(database=DatabaseSettings(url=url, large_object_directory=tmp_path / "var" / "objects"))
    admin.upgrade(made)
    yield made
    if server:
        server.drop_database(name)


@pytest.fixture
def database(settings):
    """An open database with an empty trail."""
    opened = Database.open(settings)
    yield opened
    opened.close()


@pytest.fixture
def make_event():
    """Makes an event; what isn't given is a reader's query that succeeded."""

    def make(principal="viewer", **given):
        about = {"kind": Kind.QUERY, "address": "127.0.0.1", "outcome": Outcome.SUCCESS, **given}
        return AuditEvent(principal=principal, **about)

    return make
