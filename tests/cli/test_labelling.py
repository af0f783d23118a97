"""label: a CSV of reports in, a CSV of labels out, as the CheXpert labeler writes it."""

import csv
import io

import pytest
from typer.testing import CliRunner

from dicomnlp.cli.main import app
from dicomnlp.errors import DicomnlpError, UsageError

CHEXPERT = [
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Lung Opacity", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
]  # fmt: skip
REPORTS = [
    ("Heart is enlarged. No pleural effusion, no pneumothorax.",
     {"Cardiomegaly": "1", "Pleural Effusion": "0", "Pneumothorax": "0"}),
    ("Possible pneumonia, \u201cleft\u201d base.\nSecond line, with a comma.", {"Pneumonia": "-1"}),
    ("", {}),
    ("Lungs are clear.\nPacemaker.", {"No Finding": "1", "Support Devices": "1", "Consolidation": "0", "Pneumonia": "0",
                                      "Atelectasis": "0", "Edema": "0", "Lung Opacity": "0"}),
]  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    """One command in a folder with its own configuration."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text("")

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit | DicomnlpError):
            raise result.exception
        return result

    return invoke


def rows(text):
    """CSV rows."""
    return list(csv.reader(io.StringIO(text)))


def written(path, rows, **options):
    """A CSV file."""
    with path.open("w", encoding=options.pop("encoding", "utf-8"), newline="") as file:
        csv.writer(file, **options).writerows(rows)
    return path


def labels_of(row, header):
    """The labels of a row that aren't blank."""
    return {name: row[header.index(name)] for name in CHEXPERT if row[header.index(name)]}


def test_headerless_file_is_labelled_as_the_chexpert_labeler_does(run, tmp_path):
    """First column the report, "Reports" and fourteen labels out, row by row; an empty report keeps its place."""
    source = written(tmp_path / "reports.csv", [[text] for text, _ in REPORTS], quoting=csv.QUOTE_ALL)
    result = run("label", source)
    assert result.exit_code == 0
    header, *body = rows(result.stdout)
    assert header == ["Reports", *CHEXPERT]
    assert [row[0] for row in body] == [text for text, _ in REPORTS]
    assert [labels_of(row, header) for row in body] == [labels for _, labels in REPORTS]


@pytest.mark.parametrize("name", ["Report Impression", "report_impression", "Reports", "TEXT", "impression"])
def test_named_column_is_found_and_the_others_are_kept(run, tmp_path, name):
    """Case and underscores don't matter; the file bears a byte order mark and Windows line ends."""
    source = written(
        tmp_path / "in.csv",
        [["study", name, "site"], ["1", "No pneumothorax.", "A"], ["2", "Fracture.", "B"], ["3"]],
        encoding="utf-8-sig",
        lineterminator="\r\n",
    )
    out = tmp_path / "out.csv"
    result = run("label", source, "--out", out)
    assert (result.exit_code, result.stdout) == (0, "")
    header, *body = rows(out.read_text(encoding="utf-8"))
    assert header == ["study", name, "site", *CHEXPERT]
    assert [row[:3] for row in body] == [["1", "No pneumothorax.", "A"], ["2", "Fracture.", "B"], ["3", "", ""]]
    assert [labels_of(row, header) for row in body] == [{"No Finding": "1", "Pneumothorax": "0"}, {"Fracture": "1"}, {}]
    assert not list(tmp_path.glob("*.part"))


def test_impression_is_preferred_where_several_columns_would_do(run, tmp_path):
    """As the labeler's own column is named."""
    source = written(tmp_path / "in.csv", [["text", "Report Impression"], ["Fracture.", "No fracture."]])
    header, row = rows(run("label", source).stdout)
    assert row[header.index("Fracture")] == "0"


def test_other_sets(run, tmp_path):
    """--set names a label set; its labels are the columns."""
    source = written(tmp_path / "in.csv", [["No intracranial hemorrhage. Skull fracture."]])
    header, row = rows(run("label", source, "--set", "head_ct").stdout)
    values = dict(zip(header, row, strict=True))
    assert (values["ICH"], values["SDH"], values["CalvarialFracture"], values["Hydrocephalus"]) == ("0", "0", "1", "")


def test_long_reports_are_read(run, tmp_path):
    """Beyond the 131,072 characters of Python's CSV reader."""
    source = written(tmp_path / "in.csv", [["Text. " * 25_000 + "Pneumothorax."]])
    header, row = rows(run("label", source).stdout)
    assert row[header.index("Pneumothorax")] == "1"


REFUSED = {
    "empty": (b"", "is empty"),
    "blank lines": (b"\n\n", "is empty"),
    "another encoding": ("Op\u00e9r\u00e9.".encode("latin-1"), "isn't UTF-8"),
    "an open quote": (b'"Pneumothorax.\nFracture.\n', "not CSV"),
    "no column of text": (b"study_id,narrative_of_it\n1,Fracture.\n", "looks like a header"),
}


@pytest.mark.parametrize(("content", "says"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_and_leaves_no_output(run, tmp_path, content, says):
    """What is wrong, in which file; a half-written file never bears the name asked for."""
    (tmp_path / "in.csv").write_bytes(content)
    result = run("label", tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    assert isinstance(result.exception, UsageError)
    assert says in str(result.exception)
    assert "in.csv" in str(result.exception) or "header" in says
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.toml", "in.csv"]


def test_wrong_usage_is_said(run, tmp_path):
    """No such file, set or folder; the input as output."""
    source = written(tmp_path / "in.csv", [["Fracture."]])
    for arguments, says in (
        (("none.csv",), "none.csv"),
        ((source, "--set", "chexpert15"), "no label set 'chexpert15'; there are abdomen, chestxray14"),
        ((source, "--out", tmp_path / "no" / "out.csv"), "No such file"),
        ((source, "--out", source), "names the input"),
    ):
        assert says in str(run("label", *arguments).exception)
    assert source.read_text() == "Fracture.\n" or source.read_bytes() == b"Fracture.\r\n"
