"""What tests of several folders share: one PostgreSQL server for the whole session, and their order in parallel."""

from pathlib import Path

import pytest
from support.postgres import PostgresUnavailableError, run_postgres

TESTS = Path(__file__).parent
LONGEST = ("service", "work", "hostile", "receive")
"""Folders whose modules take longest."""


def pytest_collection_modifyitems(config, items):
    """Where modules are dealt out to processes, the longest come first, or one process would end long after another."""
    if hasattr(config, "workerinput"):

        def place(item):
            folder = item.path.relative_to(TESTS).parts[0]
            return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)

        items.sort(key=place)


@pytest.fixture(scope="session")
def postgres():
    """A real server, from the test dependencies or the system's packages."""
    try:
        with run_postgres() as server:
            yield server
    except PostgresUnavailableError as error:
        pytest.skip(f"no PostgreSQL here: {error}")
