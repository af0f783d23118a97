"""What tests of several folders share: one PostgreSQL server for the whole session."""

import pytest
from support.postgres import PostgresUnavailableError, run_postgres


@pytest.fixture(scope="session")
def postgres():
    """A real server, from the test dependencies or the system's packages."""
    try:
        with run_postgres() as server:
            yield server
    except PostgresUnavailableError as error:
        pytest.skip(f"no PostgreSQL here: {error}")
