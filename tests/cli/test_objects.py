"""extract, analyse and import: answers for every input, in order, and clear errors."""

import json
from pathlib import Path

import pytest
from support.service import ROOT_UID, make_report, write_report
from typer.testing import CliRunner

from dicomnlp import config
from dicomnlp.cli.main import app
from dicomnlp.errors import DicomnlpError
from dicomnlp.receive import importer
from dicomnlp.store.database import Database

TEXT = "FINDINGS: Small left pleural effusion.\nIMPRESSION: No pneumothorax."


@pytest.fixture
def run(tmp_path, monkeypatch):
    """One command in a folder with its own configuration; what it printed, its exit code, its error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text("")

    def invoke(*arguments, stdin=None):
        result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit | DicomnlpError):
            raise result.exception
        return result

    return invoke


def lines(result):
    """Standard output as JSON lines."""
    return [json.loads(line) for line in result.stdout.split("\n") if line]


def test_extract_answers_every_file_in_order_and_fails_if_one_did(run, tmp_path):
    """A broken file gets its error in its place; the others get theirs."""
    good = write_report(make_report(1, TEXT), tmp_path / "good.dcm")
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(good.read_bytes()[:-30])
    result = run("extract", good, cut, tmp_path / "none.dcm", good, "--json")
    assert result.exit_code == 1
    first, second, third, fourth = lines(result)
    assert first == fourth
    assert (first["study_instance_uid"], first["text"].split()[-1]) == (f"{ROOT_UID}.1.1", "pneumothorax.")
    assert second["error"]["reason_code"] == "truncated"
    assert second["study_instance_uid"] == f"{ROOT_UID}.1.1"  # what stands before the damage
    assert third["error"]["reason_code"] == "usage"


def test_extract_for_people_shows_the_text_and_where_it_belongs(run, tmp_path):
    """No JSON, no escape sequences of the report's own."""
    report = make_report(1, "Lungs are clear.\x1b[31m")
    result = run("extract", write_report(report, tmp_path / "a.dcm"))
    assert result.exit_code == 0
    assert "Lungs are clear." in result.stdout
    assert f"{ROOT_UID}.1.1" in result.stdout
    assert "\x1b[31m" not in result.stdout


def test_analyse_answers_json_lines_in_order_with_their_ids(run):
    """Ids may be numbers or words; an invalid line gets its error in its place."""
    stdin = '{"id": 7, "text": "No pneumothorax."}\n\nnot json\n{"id": "b", "text": "Pneumothorax."}\n{"id": 9}\n'
    result = run("analyse", "-", "--json", stdin=stdin)
    assert result.exit_code == 1
    first, second, third, fourth = lines(result)
    assert (first["id"], first["findings"][0]["assertion"]) == (7, "absent")
    assert "line 3" in second["error"]["message"]
    assert (third["id"], third["findings"][0]["assertion"]) == ("b", "present")
    assert (fourth["id"], fourth["error"]["reason_code"]) == (9, "invalid_input")
    assert second["error"]["reason_code"] == "invalid_input"


def test_analyse_judges_the_targets_that_are_asked_for(run):
    """Whatever the lexicon knows, and nothing else."""
    record = {"id": 1, "text": "No zorbulosis. Pneumothorax.", "targets": [{"start": 3, "end": 13}]}
    (answer,) = lines(run("analyse", "-", "--json", stdin=json.dumps(record)))
    (finding,) = answer["findings"]
    assert (finding["text"], finding["assertion"], finding["concept"]["id"]) == ("zorbulosis", "absent", "target")


@pytest.mark.parametrize("targets", [[{"start": 0, "end": 99}], [{"start": 3, "end": 3}], [{"begin": 1}], [5], "x"])
def test_targets_that_are_none_are_refused(run, targets):
    """With the line's number, and without its text."""
    result = run("analyse", "-", "--json", stdin=json.dumps({"id": 1, "text": "Zebulonqux", "targets": targets}))
    assert result.exit_code == 1
    (answer,) = lines(result)
    assert "targets" in answer["error"]["message"]
    assert "Zebulonqux" not in result.stdout


def test_analyse_reads_dicom_text_and_json_lines(run, tmp_path):
    """By the file's ending; all three give the same findings."""
    write_report(make_report(1, TEXT), tmp_path / "a.dcm")
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "j", "text": TEXT}))
    result = run("analyse", "a.dcm", "a.txt", "a.jsonl", "--json")
    assert result.exit_code == 0
    found = [[(f["concept"]["id"], f["assertion"]) for f in answer["findings"]] for answer in lines(result)]
    assert found[0] == found[1] == found[2]
    assert ("pneumothorax", "absent") in found[0]


def test_public_form_of_an_answer(run):
    """Keys of interface and finding; what later versions add doesn't matter here."""
    (answer,) = lines(run("analyse", "-", "--json", stdin='{"id": 1, "text": "A 6 mm nodule in the right lung."}'))
    assert {"id", "language", "text", "sections", "findings", "measurements", "labels", "warnings"} <= set(answer)
    (finding,) = answer["findings"]
    assert set(finding["measurements"][0]) == {
        "values",
        "unit",
        "kind",
        "temporality",
        "text",
        "start",
        "end",
        "comparator",
    }
    assert finding["measurements"][0]["values"] == [6.0]


def test_a_line_that_is_not_utf_8_fails_alone(run):
    """Of a file and of standard input alike; the lines around it are answered."""
    data = b'{"id": 1, "text": "a"}\n{"id": 2, "text": "caf\xe9"}\n{"id": 3, "text": "b\xe2\x80\xa8c"}\n'
    Path("a.jsonl").write_bytes(data)
    for answers in (lines(run("analyse", "-", "--json", stdin=data)), lines(run("analyse", "a.jsonl", "--json"))):
        assert [a["id"] for a in answers] == [1, None, 3]
        assert answers[1]["error"] == {"reason_code": "not_utf8", "message": "line 2 isn't UTF-8 text"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyse", "none.txt"], "none.txt: can't be read: No such file or directory"),
        (["extract", "none.dcm"], "none.dcm: can't be read: No such file or directory"),
        (["analyse", "bad.jsonl"], 'bad.jsonl: line 1: not a JSON object with "id" and "text"'),
        (["analyse", "latin.txt"], "latin.txt: isn't UTF-8 text"),
        (["analyse", "-"], "standard input: line 1: not JSON"),
    ],
)
def test_a_message_names_its_input_once(run, arguments, message):
    """The name, the line, what is wrong."""
    Path("bad.jsonl").write_text("[]\n")
    Path("latin.txt").write_bytes(b"caf\xe9")
    result = run(*arguments, stdin="{\n")
    assert (result.exit_code, result.stderr) == (1, message + "\n")


def test_unknown_language_is_wrong_usage(run):
    """The languages that there are stand in the message; a region or capitals are no other language."""
    record = '{"id": 1, "text": "a"}'
    result = run("analyse", "-", "--language", "xx", "--json", stdin=record)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there are packs for de, en, zh" in " ".join(result.stderr.replace("│", " ").split())
    assert run("analyse", "-", "--language", "EN-us", "--json", stdin=record).exit_code == 0


def test_import_counts_what_it_took_and_fails_if_something_was_refused(run, tmp_path):
    """Same intake as the network: duplicates change nothing, the reason of a refusal is told."""
    folder = tmp_path / "files"
    (folder / "deeper").mkdir(parents=True)
    write_report(make_report(1, TEXT), folder / "a.dcm")
    write_report(make_report(2, TEXT), folder / "deeper" / "b.dcm")
    assert run("db", "upgrade").exit_code == 0
    result = run("import", folder)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "2 files, 2 stored")
    assert "nothing analyses them until dicomnlp serve" in result.stderr
    (folder / "notes.txt").write_text("no DICOM")
    result = run("import", folder)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "3 files, 2 duplicate, 1 refused"
    assert result.stderr.count("not_dicom") == 1
    assert "nothing analyses" not in result.stderr


def test_a_file_s_name_makes_no_lines_of_its_own_on_the_terminal(run, tmp_path):
    """Names come from discs and archives of others."""
    run("db", "upgrade")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "x\x1b[2J\nstored: y").write_text("no DICOM")
    result = run("import", str(folder))
    assert result.exit_code == 1
    assert "\x1b[2J" not in result.stderr
    assert not any(line.startswith("stored") for line in result.stderr.splitlines())


def test_import_of_an_empty_folder_says_so(run, tmp_path):
    """Nothing taken is nothing done."""
    (tmp_path / "empty").mkdir()
    run("db", "upgrade")
    result = run("import", tmp_path / "empty")
    assert (result.exit_code, result.stdout) == (1, "0 files\n")


def test_import_beside_a_dispatcher_gives_no_hint_to_start_one(run, tmp_path):
    """What it stored is analysed anyway."""
    file = write_report(make_report(1, TEXT), tmp_path / "a.dcm")
    run("db", "upgrade")
    database = Database.open(config.load(tmp_path / "config.toml"))
    with database.hold("dispatcher"):
        result = run("import", file)
    database.close()
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "1 files, 1 stored")
    assert "nothing analyses" not in result.stderr


def test_import_that_is_interrupted_counts_what_it_took(run, tmp_path, monkeypatch):
    """Ctrl-C: the summary, and how to go on."""
    run("db", "upgrade")
    files = [write_report(make_report(n, TEXT), tmp_path / f"{n}.dcm") for n in (1, 2)]
    taken = importer.take_file

    def interrupted(intake, file, *arguments, **options):
        if file.name == str(files[1]):
            raise KeyboardInterrupt
        return taken(intake, file, *arguments, **options)

    monkeypatch.setattr(importer, "take_file", interrupted)
    result = run("import", *files)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (130, "1 files, 1 stored")
    assert "start it again" in result.stderr
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert run("import", *files).stdout.splitlines()[-1] == "2 files, 1 stored, 1 duplicate"
