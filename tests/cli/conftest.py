"""Commands on the database of a test module's own `folder`."""

import pytest
from typer.testing import CliRunner

from dicomnlp.cli.main import app
from dicomnlp.errors import DicomnlpError


@pytest.fixture
def run(folder):
    """One command on that database."""

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["--config", str(folder / "config.toml"), *map(str, arguments)])
        if result.exception and not isinstance(result.exception, SystemExit | DicomnlpError):
            raise result.exception
        return result

    return invoke
