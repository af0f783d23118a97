"""restore: a rejection that was wrong, revoked and let hold again."""

import pytest
from support.lives import REJECTED_FOR_QUALITY, Document, arrive
from support.records import STUDY
from typer.testing import CliRunner

from dicomnlp import config
from dicomnlp.cli.main import app
from dicomnlp.errors import DicomnlpError, NotFoundError
from dicomnlp.store import admin
from dicomnlp.store.database import Database

REPORT = Document(1)
NOTE = Document(5, title=REJECTED_FOR_QUALITY, rejects=(1,))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """One command on a database with a report and the note that rejects it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text("")
    settings = config.load(tmp_path / "config.toml")
    admin.upgrade(settings)
    database = Database.open(settings)
    arrive(database, REPORT, NOTE)
    database.close()

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit | DicomnlpError):
            raise result.exception
        return result

    return invoke


def test_restored_report_counts_until_that_is_undone(run):
    """Each step names the note; a second time there is nothing to do."""
    assert run("findings", STUDY, "--json").stdout == "[]\n"
    result = run("restore", REPORT.uid)
    assert (result.exit_code, result.stdout) == (
        0,
        f"rejection notes that no longer count for {REPORT.uid}: {NOTE.uid}\n",
    )
    assert '"status": "prevailing"' in run("findings", STUDY, "--json").stdout
    assert isinstance(run("restore", REPORT.uid).exception, NotFoundError)
    result = run("restore", REPORT.uid, "--undo")
    assert result.stdout == f"rejection notes that count again for {REPORT.uid}: {NOTE.uid}\n"
    assert run("findings", STUDY, "--json").stdout == "[]\n"
    assert isinstance(run("restore", REPORT.uid, "--undo").exception, NotFoundError)


def test_what_is_no_uid_is_refused(run):
    """Before anything is looked up."""
    assert run("restore", "Meyer").exit_code == 2
