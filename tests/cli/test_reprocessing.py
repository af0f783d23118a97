"""reprocess: what it says of failures, quarantine, standstill and Ctrl-C; findings of a study that failed."""

import json
import os
import signal
import socket

import pytest
import sqlalchemy as sa
from support.service import ROOT_UID, make_report, write_report
from typer.testing import CliRunner

from dicomnlp import config
from dicomnlp.cli import checking, reprocessing
from dicomnlp.cli.context import err
from dicomnlp.cli.main import app
from dicomnlp.errors import DicomnlpError
from dicomnlp.store.database import Database
from dicomnlp.store.schema import finding

STUDY = f"{ROOT_UID}.1.1"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """One command in a folder with a database: a report in a script that no pack reads, and one without a study."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text("[work]\nworkers = 1\n")
    write_report(make_report(1, "Очаговых изменений не выявлено."), tmp_path / "a.dcm")
    homeless = make_report(2, "No pneumothorax.")
    homeless.StudyInstanceUID = ""
    write_report(homeless, tmp_path / "b.dcm")

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit | DicomnlpError):
            raise result.exception
        return result

    invoke("db", "upgrade")
    invoke("import", "a.dcm", "b.dcm")
    return invoke


def last_line(result):
    """What the command says itself; log lines come before it when no `main` has configured them."""
    return result.stdout.splitlines()[-1]


def test_failed_reports_are_told_by_reprocess_and_by_findings(run):
    """Exit code 1 of the one; on standard error of the other, whatever the form of its output."""
    result = run("reprocess", "--all")
    assert (result.exit_code, last_line(result)) == (1, "1 of 1 done, 1 failed")
    for form, expected in (((), "no findings: no report of the study is analysed\n"), (("--json",), "[]\n")):
        result = run("findings", STUDY, *form)
        assert (result.exit_code, result.stdout) == (0, expected)
        assert result.stderr == "1 report failed: language_not_supported; see dicomnlp failures\n"
    assert "1 report failed" in run("findings", STUDY, "--csv").stderr


def test_reprocess_says_of_an_object_in_quarantine_that_it_stays_there(run):
    """Nothing is done, and that is no success."""
    result = run("reprocess", f"{ROOT_UID}.3.2")
    assert (result.exit_code, last_line(result)) == (1, "0 of 0 done, 0 failed")
    assert f"{ROOT_UID}.3.2: in quarantine" in result.stderr


def test_first_ctrl_c_ends_reprocess_quietly(run, tmp_path, monkeypatch):
    """While a service does the work; the message tells how to go on, and the run is left to the service."""
    database = Database.open(config.load(tmp_path / "config.toml"))
    # when the service's first line is said; from then on nothing is done
    monkeypatch.setattr(reprocessing._Watch, "say", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    handler = signal.getsignal(signal.SIGINT)
    with database.hold("dispatcher"):
        result = run("reprocess", "--all")
    database.close()
    assert (result.exit_code, last_line(result)) == (130, "0 of 1 done, 0 failed")
    assert "go on with the same command" in result.stderr
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_standstill_is_told_once_and_again_after_a_move(monkeypatch):
    """With the command that tells more."""
    now = 0.0
    monkeypatch.setattr(reprocessing.time, "monotonic", lambda: now)
    watch = reprocessing._Watch(0, 3)
    told = []
    monkeypatch.setattr(watch, "say", told.append)
    # seconds, done, lines said by then
    for seconds, done, lines in ((29, 0, 0), (31, 0, 1), (90, 0, 1), (91, 1, 1), (100, 1, 1), (122, 1, 2), (200, 3, 2)):
        now = float(seconds)
        watch.see(done, 3)
        assert len(told) == lines, seconds
    assert "dicomnlp status" in told[0]


@pytest.mark.parametrize(
    ("running", "ok", "words"),
    [(True, True, "and a service runs"), (False, False, "change web.port"), (None, False, "by another process")],
)
def test_check_says_of_a_port_in_use_what_is_known(running, ok, words):
    """Without the database nobody knows whether a service runs, and to change the port may be wrong advice."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = checking._port("web", "HTTP port", "127.0.0.1", port, running=running)
    assert (result.ok, words in result.message) == (ok, True)
    assert ("change" in result.message) is (running is False)


def test_missing_database_without_configuration_names_the_option(tmp_path, monkeypatch):
    """Defaults are in use without having been asked for; not so when the place was stated."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["findings", "1.2.3"])
    assert "no config.toml in this folder, defaults are in use; name one with --config" in str(result.exception)
    monkeypatch.setenv("DICOMNLP_DATABASE__URL", "sqlite:///other.db")
    result = CliRunner().invoke(app, ["findings", "1.2.3"])
    assert "does not exist" in str(result.exception)
    assert "config.toml" not in str(result.exception)


def test_help_flows_and_flags_name_no_type():
    """Lines of the source aren't lines of the terminal."""
    result = CliRunner().invoke(app, ["analyse", "--help"], env={"COLUMNS": "300"})
    assert "bool" not in result.stdout.lower()
    assert "these spans are judged as findings" in result.stdout
    assert err.width  # the consoles' widths are their own: help goes by the terminal's


@pytest.fixture
def analysed(run, tmp_path):
    """Two studies of two days with a report each, analysed; of one the database says the opposite of the text."""
    for number, day in ((3, "20260301"), (4, "20260405")):
        report = make_report(number, "No pneumothorax. Small left pleural effusion.")
        report.StudyDate = day
        write_report(report, tmp_path / f"{number}.dcm")
    run("import", "3.dcm", "4.dcm")
    run("reprocess", "--from", "2026-03-01", "--to", "2026-04-05")
    database = Database.open(config.load(tmp_path / "config.toml"))
    with database.write() as connection:
        c = finding.c
        opposite = sa.update(finding).where(c.concept_id == "pneumothorax", c.sop_instance_uid.endswith(".3"))
        assert connection.execute(opposite.values(assertion="present")).rowcount == 1
    database.close()
    return run


def test_days_of_the_study_narrow_what_is_processed_again(analysed):
    """Both days are included; alone they choose everything, beside another choice a part of it."""
    told = {
        ("--from", "2026-03-01", "--to", "2026-03-01"): 1,
        ("--from", "2026-03-02"): 1,
        ("--to", "2026-04-04"): 2,
        ("--to", "2026-02-28"): 1,
        ("--all",): 3,
        ("--failed", "--from", "2026-03-01"): 0,
    }
    for options, number in told.items():
        result = analysed("reprocess", *options, "--dry-run")
        assert (result.exit_code, last_line(result)) == (0, f"{number} objects would be analysed again"), options
    assert last_line(analysed("reprocess", "--from", "2026-04-05")) == "1 of 1 done, 0 failed"


def test_diff_tells_what_would_change_and_changes_nothing(analysed):
    """Finding by finding, then the sums; as JSON a line an object; a second time the same."""
    for _ in range(2):
        result = analysed("reprocess", "--from", "2026-03-01", "--diff")
        assert result.exit_code == 0
        assert "~ pneumothorax present -> pneumothorax absent: No pneumothorax." in result.stdout
        expected = "1 of 2 reports differ: 0 findings added, 0 gone, 1 changed, 3 unchanged"
        assert last_line(result) == expected
    objects = [
        json.loads(line)
        for line in analysed("reprocess", "--from", "2026-03-01", "--diff", "--json").stdout.splitlines()
        if line.startswith('{"sop_instance_uid"')
    ]
    assert [(len(o["changed"]), o["unchanged"], o["state"]) for o in objects] == [
        (1, 1, "analysed"),
        (0, 2, "analysed"),
    ]
    assert objects[0]["changed"][0]["fields"] == ["assertion"]
    failing = analysed("reprocess", f"{ROOT_UID}.3.1", "--diff")
    assert "would fail (language_not_supported)" in failing.stdout


def test_choices_that_contradict_each_other_are_refused(analysed):
    """With exit code 2, before anything is done."""
    for options in (("--all", "--diff", "--dry-run"), ("--all", "--json"), ("--dry-run",)):
        assert analysed("reprocess", *options).exit_code == 2, options
