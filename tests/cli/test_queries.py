"""findings, report, status, failures, reprocess, db and check on a small database without a service."""

import csv
import dataclasses
import io
import json

import pytest
from support.records import make_record
from support.service import ROOT_UID, make_report, write_report
from typer.testing import CliRunner

from dicomnlp.cli.main import app
from dicomnlp.export.cells import cell

STUDY = f"{ROOT_UID}.1.1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two reports and a refused file, imported and analysed by `reprocess`."""
    folder = tmp_path_factory.mktemp("queries")
    (folder / "config.toml").write_text("[work]\nworkers = 1\n")
    (folder / "files").mkdir()
    write_report(make_report(1, "FINDINGS: =Left pleural effusion of 12 mm.\nNo pneumothorax."), folder / "files/a.dcm")
    write_report(make_report(2, "Kardiomegalie.", study=1), folder / "files/b.dcm")
    (folder / "files/c.dcm").write_bytes(b"noise")
    for arguments in (["db", "upgrade"], ["import", str(folder / "files")], ["reprocess", "--all"]):
        result = CliRunner().invoke(app, ["--config", str(folder / "config.toml"), *arguments])
    assert result.exit_code == 0, result.stderr
    assert "2 of 2 done, 0 failed" in result.stdout
    return folder


def test_findings_are_a_table_for_people(run):
    """Concept, assertion, side, size, section, sentence."""
    shown = run("findings", STUDY).stdout
    for word in ("Pleural effusion", "present", "left", "12 mm", "Pneumothorax", "absent"):
        assert word in shown


def test_findings_tell_of_the_images_of_the_study_on_standard_error(run, folder):
    """How many, in how many series, of what."""
    from dicomnlp import config
    from dicomnlp.model import Identity, ImageHeader
    from dicomnlp.store.database import Database
    from dicomnlp.store.intake import record_arrivals

    assert "image" not in run("findings", STUDY).stderr
    database = Database.open(config.load(folder / "config.toml"))
    for number, part in enumerate(("CHEST", "CHEST", "ABDOMEN"), 1):
        uid = f"1.2.3.{number}"
        identity = Identity(
            sop_instance_uid=uid,
            study_instance_uid=STUDY,
            series_instance_uid=f"1.2.4.{number}",
            modality="CT",
            body_part_examined=part,
        )
        record = make_record(uid, study=STUDY)
        image = ImageHeader(identity, record.sha256, 5)
        record_arrivals(database, [dataclasses.replace(record, identity=identity, image=image)])
    database.close()
    assert "3 images in 3 series: CT CHEST, CT ABDOMEN" in run("findings", STUDY).stderr
    assert json.loads(run("status", "--json").stdout)["images"] == 3


def test_findings_filter_by_assertion_and_concept(run):
    """The names of the search filters."""
    absent = json.loads(run("findings", STUDY, "--assertion", "absent", "--json").stdout)
    assert [f["concept"]["id"] for f in absent] == ["pneumothorax"]
    effusion = json.loads(run("findings", STUDY, "--concept", "pleural_effusion", "--json").stdout)
    assert [f["assertion"] for f in effusion] == ["present"]


def test_unknown_concept_is_wrong_usage_with_the_nearest_id(run):
    """A misspelt filter must not look like a study without the finding; ids of no finding here are fine."""
    result = run("findings", STUDY, "--concept", "pnumothorax", "--json")
    assert result.exit_code == 2
    assert "did you mean pneumothorax?" in " ".join(result.stderr.replace("│", " ").split())
    for known in ("target", "rib_fracture"):
        assert run("findings", STUDY, "--concept", known, "--json").stdout == "[]\n"


def test_findings_as_csv_have_one_line_each_and_a_header(run):
    """Read back by a CSV reader; sizes with their unit."""
    rows = list(csv.DictReader(io.StringIO(run("findings", STUDY, "--csv").stdout)))
    effusion = next(r for r in rows if r["concept.id"] == "pleural_effusion")
    assert (effusion["assertion"], effusion["measurements"], effusion["is_negated"]) == ("present", "12 mm", "false")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_cell_that_a_spreadsheet_would_run_is_quoted(text):
    """A report's text must not be a formula."""
    assert cell(text) == "'" + text


def test_negative_number_is_no_formula():
    """Only text is quoted."""
    assert cell(-3) == "-3"


@pytest.mark.parametrize("command", [["findings"], ["report"], ["reprocess"]])
def test_malformed_uid_is_wrong_usage_and_not_repeated(run, command):
    """Exit code 2, and no echo of what may be a name."""
    result = run(*command, "Doe^John")
    assert result.exit_code == 2
    assert "Doe" not in result.stdout + result.stderr


def test_report_shows_the_narrative_by_study_and_by_sop_instance(run):
    """Both UIDs are understood."""
    assert "Left pleural effusion" in run("report", STUDY).stdout
    assert "Kardiomegalie" in run("report", f"{ROOT_UID}.3.2").stdout
    result = run("report", f"{ROOT_UID}.9")
    assert result.exit_code == 1
    # it may be meant as either
    assert str(result.exception) == f"nothing is held under UID {ROOT_UID}.9"


def test_status_counts_by_state(run):
    """For people and as JSON."""
    assert json.loads(run("status", "--json").stdout)["objects"]["analysed"] == 2
    assert "analysed" in run("status").stdout


def test_failures_name_the_reason_of_what_was_refused(run):
    """The ledger's row of the noise."""
    assert "not_dicom" in run("failures").stdout
    (row,) = [json.loads(line) for line in run("failures", "--json").stdout.splitlines()]
    assert (row["kind"], row["reason_code"]) == ("refused", "not_dicom")
    assert run("failures", "--retry").stdout.startswith("0 failed objects")


def test_reprocess_wants_to_know_what(run):
    """No argument is no order to do everything, and two are no order at all."""
    assert run("reprocess").exit_code == 2
    assert run("reprocess", "--all", "--failed").exit_code == 2


def test_reprocess_outdated_has_nothing_to_do_after_reprocess_all(run):
    """The pipeline is the same."""
    result = run("reprocess", "--outdated")
    assert (result.exit_code, result.stdout) == (0, "0 of 0 done, 0 failed\n")


def test_backup_is_a_database_of_its_own_and_never_overwrites(run, folder):
    """It answers as the original does."""
    copy = folder / "copy.db"
    assert run("db", "backup", copy).exit_code == 0
    assert run("db", "backup", copy).exit_code == 2 or copy.exists()
    (folder / "copy.toml").write_text(f'[database]\nurl = "sqlite:///{copy}"\n')
    result = CliRunner().invoke(app, ["--config", str(folder / "copy.toml"), "findings", STUDY, "--json"])
    assert json.loads(result.stdout) == json.loads(run("findings", STUDY, "--json").stdout)


def test_check_names_what_is_right_and_what_to_mend(run, folder):
    """Configuration, packs, database, ports."""
    right = run("check")
    assert "language pack en: en-" in right.stdout
    assert "schema up to date" in right.stdout
    (folder / "wrong.toml").write_text('[analyse]\nlanguage = "xx"\n[database]\nurl = "sqlite:///nowhere.db"\n')
    wrong = CliRunner().invoke(app, ["--config", str(folder / "wrong.toml"), "check"])
    assert wrong.exit_code == 1
    assert "MEND  analyse.language" in wrong.stdout
    assert "dicomnlp db upgrade" in wrong.stdout


def test_every_command_has_help_with_an_example(run):
    """Nobody should have to read the source."""
    import typer

    def commands(group, path=()):
        for name, command in group.commands.items():
            yield from commands(command, (*path, name)) if hasattr(command, "commands") else [((*path, name), command)]

    found = list(commands(typer.main.get_command(app)))
    assert len(found) > 12
    for path, command in found:
        assert "Example: " in command.help, path
        assert run(*path, "--help").exit_code == 0


def test_features_show_what_becomes_of_a_study_and_leave_it_in_the_trail(run):
    """Each analysed report of the study, in its language; who asked for which study can be known afterwards."""
    lines = [json.loads(line) for line in run("features", "show", "--study", STUDY, "--json").stdout.splitlines()]
    english = next(line for line in lines if line["language"] == "en" and line["headings"])
    assert english["sentences"][0]["stems"] == ["left", "pleural", "effus", "mm"]
    trail = run("audit", "show", "--study", STUDY, "--json").stdout
    assert "features show" in trail


def test_features_of_all_reports_are_a_matrix(run, tmp_path):
    """One row for each report of the database in the language, named by its SOP instance."""
    told = run("features", "matrix", "--from-store", "--in-reports", "1", "--out", tmp_path / "m", "--json").stdout
    said = json.loads((tmp_path / "m" / "features.json").read_text())
    assert json.loads(told)["reports"] == len(said["reports"])
    assert all(uid.startswith(ROOT_UID) for uid in said["reports"])
    assert "pleural effus" in said["vocabulary"]
