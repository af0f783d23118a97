"""The same service tests on SQLite and on a real PostgreSQL."""

import pytest


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database_url(request):
    """URL of an empty database; None for SQLite in the service's own folder."""
    if request.param == "sqlite":
        yield None
        return
    server = request.getfixturevalue("postgres")
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)
