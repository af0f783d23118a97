"""export on a small database without a service."""

import csv
import io
import json

import pytest
from support.service import make_report, write_report
from typer.testing import CliRunner

from dicomnlp.cli.main import app
from dicomnlp.errors import UsageError

REPORTS = [
    "FINDINGS: A 12 mm nodule in the right upper lobe. No pneumothorax. Dictated by Dr. Quetzal.",
    "FINDINGS: =Acute rib fracture. Mr. Patient was told on 01/02/2026.",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two analysed reports, each of a study of its own."""
    folder = tmp_path_factory.mktemp("exporting")
    (folder / "config.toml").write_text("[work]\nworkers = 1\n")
    (folder / "files").mkdir()
    for number, text in enumerate(REPORTS, 1):
        write_report(make_report(number, text, study=number), folder / f"files/{number}.dcm")
    for arguments in (["db", "upgrade"], ["import", str(folder / "files")], ["reprocess", "--all"]):
        result = CliRunner().invoke(app, ["--config", str(folder / "config.toml"), *arguments])
    assert "2 of 2 done, 0 failed" in result.stdout
    return folder


def test_findings_are_the_rows_of_a_table(run, folder):
    """Those that search finds, in its order; beside them the manifest."""
    out = folder / "a.csv"
    told = run("export", "--format", "csv", "--out", out, "--assertion", "present").stdout
    assert "rows in" in told
    rows = list(csv.DictReader(io.StringIO(out.read_text("utf-8"), newline="")))
    found = json.loads(run("search", "--assertion", "present", "--json").stdout)
    assert [int(r["id"]) for r in rows] == [f["id"] for f in found]
    assert {r["patient_id"] for r in rows} == {"T-1"}
    assert any(r["sentence"].startswith("'=Acute") for r in rows)
    manifest = json.loads((folder / "a.csv.manifest.json").read_text("utf-8"))
    assert manifest["filters"] == {"assertion": ["present"]}


def test_reports_labels_and_bundles_are_written(run, folder):
    """One row a report, and the manifest as JSON where that is asked for."""
    for name, arguments in (
        ("r.jsonl", ["--format", "jsonl", "--what", "reports"]),
        ("l.csv", ["--format", "csv", "--what", "labels", "--set", "chestxray14", "--excel"]),
        ("f.ndjson", ["--format", "fhir"]),
        ("p.parquet", ["--format", "parquet", "--what", "labels"]),
    ):
        told = json.loads(run("export", *arguments, "--out", folder / name, "--json").stdout)
        assert told["rows"] == 2
        assert (folder / name).stat().st_size == told["bytes"]
    assert "Nodule" in (folder / "l.csv").read_text("utf-8-sig").splitlines()[0]


def test_deidentified_export_says_what_was_done_and_what_may_remain(run, folder):
    """On the terminal and in the manifest; names, dates and identifiers are gone."""
    out = folder / "d.jsonl"
    result = run("export", "--format", "jsonl", "--what", "reports", "--deidentify", "--out", out)
    assert "replaced in texts:" in result.stderr
    assert "what may remain" in result.stderr
    text = out.read_text("utf-8")
    for word in ("Quetzal", "Mr. Patient", "01/02/2026", "T-1", "20260102", "19600101"):
        assert word not in text
    assert "12 mm nodule in the right upper lobe" in text
    manifest = json.loads((folder / "d.jsonl.manifest.json").read_text("utf-8"))
    assert manifest["deidentified"]["remains"]


def test_a_cohort_is_exported_by_its_name(run, folder):
    """With its filters, and no others beside them."""
    assert run("cohort", "save", "fractures", "--concept", "fracture").exit_code == 0
    told = json.loads(
        run("export", "--format", "csv", "--out", folder / "c.csv", "--cohort", "fractures", "--json").stdout
    )
    assert told["filters"] == {"concept": ["fracture"]}
    assert told["rows"] == 1
    refused = run("export", "--format", "csv", "--out", folder / "x.csv", "--cohort", "fractures", "--sex", "F")
    assert refused.exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--format", "xml"],
        ["--format", "fhir", "--what", "findings"],
        ["--format", "jsonl", "--excel"],
        ["--format", "csv", "--what", "labels", "--set", "nothing"],
        ["--format", "csv", "--cohort", "none"],
        ["--format", "csv", "--concept", "fractur"],
    ],
)
def test_what_can_not_be_is_refused(run, folder, arguments):
    """And no file is left."""
    result = run("export", "--out", folder / "never", *arguments)
    assert result.exit_code != 0
    assert not list(folder.glob("never*"))


def test_exports_are_in_the_trail(run, folder):
    """That one began, before anything leaves, and how it ended, with how many rows."""
    run("export", "--format", "csv", "--out", folder / "t.csv", "--text", "nodule")
    again = run("export", "--format", "csv", "--out", folder / "t.csv")
    assert isinstance(again.exception, UsageError)
    shown = run("audit", "show", "--kind", "export", "--json").stdout.splitlines()
    events = sorted(map(json.loads, shown), key=lambda e: -e["id"])[:4]
    assert [(e["action"], e["outcome"]) for e in events] == [
        ("export", "refused"),
        ("export begins", "success"),
        ("export", "success"),
        ("export begins", "success"),
    ]
    assert events[2]["count"] > 0
    assert events[2]["query"]["text"].startswith("sha256:")
    assert events[2]["query"]["deidentify"] == "false"
