"""One dispatcher for the tests of a module: starting a cluster takes seconds."""

import pytest
from work.bench import running


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """One dispatcher with two workers for the tests of a module."""
    with running(tmp_path_factory.mktemp("bench")) as bench:
        yield bench
