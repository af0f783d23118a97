"""`dicomnlp write-back`."""

import json

import pytest
import sqlalchemy as sa
from support.service import make_report
from typer.testing import CliRunner

from dicomnlp.cli.main import app
from dicomnlp.errors import ConfigurationError, NotFoundError
from dicomnlp.export import write_back
from dicomnlp.store.schema_access import audit_event
from dicomnlp.store.schema_delivery import delivery
from dicomnlp.work.writing_back import WritingBack

from .conftest import TEXT, Taker

STUDY = make_report(1, "").StudyInstanceUID


@pytest.fixture
def run(hospital, archive):
    """One command on the hospital's database, whose archive gets nothing by itself."""
    hospital.report(1, TEXT)
    file = hospital.folder / "config.toml"
    file.write_text(
        f'[database]\nurl = "{hospital.url}"\n'
        f'[[pacs]]\nname = "archive"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {archive.port}\n'
        '[[pacs]]\nname = "reports"\nqido_url = "https://pacs.example.org/dicom-web"\n'
    )

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["--config", str(file), "write-back", *arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


def test_it_sends_the_findings_of_a_study_once(run, archive):
    """And says so the second time."""
    first = run(STUDY, "--to", "archive")
    assert first.exit_code == 0
    assert first.stdout.startswith("1 document is new\n2.25.")
    assert first.stdout.endswith("(sr) to archive: sent\n")
    second = run(STUDY, "--to", "archive")
    assert second.stdout == "1 document says what is to be said already\nnothing was to be sent\n"
    assert len(archive.objects) == 1


def test_what_is_not_taken_is_told_and_the_exit_code_says_so(run, archive):
    """Called again it is tried at once, whatever pause there is; also when it was given up."""
    archive.statuses = [0xC000] * 5
    lines = run(STUDY, "--to", "archive", "--json").stdout.splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]  # in a process of its own the log is elsewhere
    assert [(row.get("result"), row.get("state"), row.get("reason_code")) for row in told] == [
        ("written", None, None),
        (None, "waiting", "status_c000"),
    ]
    results = [run(STUDY, "--to", "archive") for _ in range(4)]
    assert {r.exit_code for r in results} == {1}
    assert results[-1].stdout.endswith("dead: status_c000\n")
    last = run(STUDY, "--to", "archive")
    assert last.exit_code == 0
    assert last.stdout.endswith("to archive: sent\n")
    assert len(archive.objects) == 1


def test_who_got_a_document_by_command_gets_its_correction(run, hospital, archive):
    """Though the service sends others to somebody else."""
    run(STUDY, "--to", "archive")
    other = Taker().start()
    try:
        hospital.connect(other.table(name="other"))
        hospital.settings = hospital.settings.model_copy(update={"pacs": [*hospital.settings.pacs, archive.table()]})
        duty = WritingBack(hospital.settings, hospital.database)
        duty.run()
        hospital.report(2, TEXT.replace("6 x", "9 x"), study=1, predecessors=[make_report(1, "")])
        while duty.run():
            pass
    finally:
        other.stop()
    first, second = archive.objects
    assert second.PredecessorDocumentsSequence
    assert [sent.SOPInstanceUID for sent in other.objects] == [second.SOPInstanceUID]
    assert first.SOPInstanceUID != second.SOPInstanceUID


def test_while_the_service_sends_it_only_orders(run, hospital, archive):
    """The service sends it then."""
    with hospital.database.hold(write_back.ROLE):
        result = run(STUDY, "--to", "archive")
    assert result.exit_code == 0
    assert "the service is sending just now" in result.stderr
    with hospital.database.read() as connection:
        assert connection.scalar(sa.select(delivery.c.state)) == "waiting"
    assert archive.objects == []


def test_nothing_is_sent_to_who_takes_no_documents_or_of_what_is_not_held(run):
    """Names, studies and configuration are looked at first."""
    for name in ("reports", "nobody"):
        with pytest.raises(ConfigurationError, match="there are: archive"):
            run(STUDY, "--to", name)
    with pytest.raises(ConfigurationError, match="no archive is named"):
        run(STUDY)
    with pytest.raises(NotFoundError):
        run("1.2.3", "--to", "archive")
    assert run("1.2.x", "--to", "archive").exit_code == 2


def test_it_needs_what_makes_its_documents(run, monkeypatch, archive):
    """And says how to install it."""
    import sys

    monkeypatch.setitem(sys.modules, "highdicom.sr", None)
    with pytest.raises(ConfigurationError, match=r"pip install .dicomnlp\[write-back\]"):
        run(STUDY, "--to", "archive")


def test_who_called_it_is_in_the_audit_trail(run, hospital):
    """The command before anything leaves, and each document."""
    run(STUDY, "--to", "archive")
    with hospital.database.read() as connection:
        rows = connection.execute(sa.select(audit_event).order_by(audit_event.c.id)).mappings().all()
    assert [(r["kind"], r["action"], r["outcome"]) for r in rows] == [("export", "write-back", "success")] * 2
    assert all(r["principal"].startswith("local:") for r in rows)
    assert rows[1]["study_instance_uid"] == STUDY
