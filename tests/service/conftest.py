"""The same service tests on SQLite and on a real PostgreSQL."""

import contextlib

import pytest
from support.service import Service

DATABASES = ("sqlite", "postgresql")


@contextlib.contextmanager
def _database(request):
    """URL of an empty database; None for SQLite in the service's own folder."""
    if request.param == "sqlite":
        yield None
        return
    server = request.getfixturevalue("postgres")
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture(scope="module", params=DATABASES)
def database_url(request):
    """Of an empty database, for a service of the module's own."""
    with _database(request) as url:
        yield url


@pytest.fixture(scope="session", params=DATABASES)
def service(request, tmp_path_factory):
    """A running service for all tests that don't harm it, each with studies of its own: a start takes seconds."""
    with _database(request) as url:
        running = Service(tmp_path_factory.mktemp("service"), url).start()
        yield running
        assert running.stop() == 0
