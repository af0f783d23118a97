"""search and cohort on a small database without a service."""

import csv
import io
import json

import pytest
from support.service import make_report, write_report
from typer.testing import CliRunner

from dicomnlp.cli import searching
from dicomnlp.cli.main import app
from dicomnlp.errors import DicomnlpError
from dicomnlp.store.search_filters import PUBLIC_NAMES

REPORTS = [
    "FINDINGS: A 12 mm nodule in the right upper lobe. No pneumothorax.",
    "EXAM: CT chest.\nFINDINGS: Acute rib fracture. =Left pleural effusion.",
    "FINDINGS: Possible hip fracture.",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three analysed reports, each of a study of its own."""
    folder = tmp_path_factory.mktemp("searching")
    (folder / "config.toml").write_text("[work]\nworkers = 1\n")
    (folder / "files").mkdir()
    for number, text in enumerate(REPORTS, 1):
        write_report(make_report(number, text, study=number), folder / f"files/{number}.dcm")
    for arguments in (["db", "upgrade"], ["import", str(folder / "files")], ["reprocess", "--all"]):
        result = CliRunner().invoke(app, ["--config", str(folder / "config.toml"), *arguments])
    assert "3 of 3 done, 0 failed" in result.stdout
    return folder


def concepts(result):
    """Concept ids of a JSON answer."""
    return sorted(f["concept"]["id"] for f in json.loads(result.stdout))


def test_search_is_a_table_for_people(run):
    """Study, concept, assertion, size and sentence."""
    shown = run("search", "--concept", "nodule").stdout
    for word in ("study", "odule", "present", "12 mm", "right", "upper lobe"):
        assert word in shown
    assert run("search", "--concept", "scoliosis").stdout == "no findings\n"


def test_concepts_are_found_with_their_descendants_and_sites_with_their_parts(run):
    """A rib fracture is a fracture; the right upper lobe is of the lung and of the chest."""
    fractures = run("search", "--concept", "fracture", "--json")
    assert len(json.loads(fractures.stdout)) == 2
    assert len(json.loads(run("search", "--concept", "fracture", "--assertion", "possible", "--json").stdout)) == 1
    for site in ("right_upper_lobe", "lung", "chest"):
        assert any("nodule" in c for c in concepts(run("search", "--anatomy", site, "--json"))), site


def test_modality_is_of_the_words_of_the_exam(run):
    """The object's own is SR."""
    found = json.loads(run("search", "--modality", "CT", "--json").stdout)
    assert {f["sentence"].split()[0] for f in found} <= {"Acute", "=Left"}
    assert len(found) == 2
    assert json.loads(run("search", "--modality", "SR", "--json").stdout) == []


def test_every_filter_has_an_option_of_its_public_name(run):
    """With hyphens for underscores, so that what is known of one interface is known of the other."""
    help_text = "".join(run("search", "--help").stdout.split())
    for name in PUBLIC_NAMES.values():
        option = "--" + name.replace("_", "-")
        assert option[:14] in help_text, option


def test_unknown_ids_are_refused_with_a_suggestion(run):
    """Of concepts, excluded ones and sites; a misspelt one would find nothing and say nothing."""
    for option, wrong, right in (
        ("--concept", "fractur", "fracture"),
        ("--without", "pneumothorax_x", "pneumothorax"),
        ("--anatomy", "right_uper_lobe", "right_upper_lobe"),
    ):
        result = run("search", option, wrong)
        assert isinstance(result.exception, DicomnlpError)
        assert f"did you mean {right}?" in str(result.exception)
        assert wrong not in str(result.exception).split()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--min-size", "5", "--max-size", "4"],
        ["--text", "***"],
        ["--from", "2026-02-01", "--to", "2026-01-01"],
        ["--from", "22.11.2026"],
        ["--assertion", "perhaps"],
        ["--json", "--csv"],
        ["--count", "--csv"],
        ["--limit", "0"],
        ["--cohort", "none"],
        ["--cohort", "none", "--sex", "F"],
    ],
)
def test_what_makes_no_sense_is_refused(run, arguments):
    """Nothing is printed as a result."""
    result = run("search", *arguments)
    assert result.exit_code != 0
    assert result.stdout == ""


def test_count_tells_findings_reports_studies_and_patients(run):
    """For people and programs."""
    assert "2 findings, 2 reports, 2 studies, 1 patients" in run("search", "--concept", "fracture", "--count").stdout
    counts = json.loads(run("search", "--concept", "fracture", "--count", "--json").stdout)
    assert counts == {"findings": 2, "reports": 2, "studies": 2, "patients": 1}


def test_csv_has_a_line_a_finding_and_runs_no_formula(run):
    """A sentence that begins as a formula gets a quote."""
    rows = list(csv.DictReader(io.StringIO(run("search", "--text", "effusion", "--csv").stdout)))
    assert len(rows) == 2
    assert {r["sentence"][:2] for r in rows} == {"Ac", "'="}


def test_answers_are_read_page_by_page_up_to_the_limit(run, monkeypatch):
    """Whatever the size of pages; a table says that there is more."""
    monkeypatch.setattr(searching, "_PAGE", 2)
    every = json.loads(run("search", "--json").stdout)
    assert len(every) == 5
    assert json.loads(run("search", "--json", "--limit", "3").stdout) == every[:3]
    assert len(run("search", "--csv", "--limit", "4").stdout.splitlines()) == 5
    assert "the first 3" in run("search", "--limit", "3").stderr
    assert run("search").stderr == ""


def test_cohorts_are_saved_used_listed_and_deleted(run):
    """Their filters are kept as given."""
    saved = run("cohort", "save", "fractures", "--concept", "fracture", "--assertion", "present")
    assert saved.exit_code == 0
    assert len(json.loads(run("search", "--cohort", "fractures", "--json").stdout)) == 1
    assert "concept fracture" in run("cohort", "list").stdout
    [listed] = json.loads(run("cohort", "list", "--json").stdout)
    assert listed["filters"] == {"concept": ["fracture"], "assertion": ["present"]}
    shown = json.loads(run("cohort", "show", "fractures", "--json").stdout)
    assert (shown["name"], shown["findings"], shown["patients"]) == ("fractures", 1, 1)
    assert "findings" in run("cohort", "show", "fractures").stdout
    # not by mistake
    assert run("cohort", "save", "fractures", "--sex", "F").exit_code != 0
    assert run("cohort", "save", "fractures", "--sex", "O", "--replace").exit_code == 0
    assert json.loads(run("search", "--cohort", "fractures", "--json").stdout) == []
    assert run("cohort", "delete", "fractures").exit_code == 0
    assert run("cohort", "delete", "fractures").exit_code != 0
    assert run("cohort", "list").stdout == "no cohorts\n"


@pytest.mark.parametrize(
    "arguments",
    [["empty"], ["", "--sex", "F"], ["x" * 101, "--sex", "F"], ["a\nb", "--sex", "F"], ["a", "--concept", "fractur"]],
)
def test_cohorts_need_a_name_and_filters_that_are_known(run, arguments):
    """Nothing is kept."""
    assert run("cohort", "save", *arguments).exit_code != 0
    assert run("cohort", "list").stdout == "no cohorts\n"


@pytest.mark.parametrize("called", ["pneumothorax", "Pneumothorax", "气胸", "  PNEUMOTHORAX "])
def test_concepts_are_named_by_id_or_by_what_they_are_called(run, called):
    """In any language, in capitals or not."""
    assert concepts(run("search", "--concept", called, "--json")) == ["pneumothorax"]


def test_sites_are_named_by_what_they_are_called(run):
    """As concepts."""
    by_id = concepts(run("search", "--anatomy", "right_upper_lobe", "--json"))
    assert by_id
    assert concepts(run("search", "--anatomy", "右肺上叶", "--json")) == by_id


def test_cohorts_keep_the_ids_of_what_was_named(run):
    """So that they mean the same when a pack has other words."""
    run("cohort", "save", "air", "--concept", "气胸")
    kept = [c["filters"] for c in json.loads(run("cohort", "list", "--json").stdout) if c["name"] == "air"]
    run("cohort", "delete", "air")
    assert kept == [{"concept": ["pneumothorax"]}]
