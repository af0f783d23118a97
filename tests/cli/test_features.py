"""features: from a site's reports to words in its overlay."""

import json

import pytest
from support.local_words import english
from typer.testing import CliRunner

from dicomnlp.analyse import use_overlays
from dicomnlp.cli.main import app
from dicomnlp.errors import DicomnlpError, NotFoundError, UsageError

BEFORE = '[concepts]\ncardiomegaly = { terms = ["ox heart"] }\n'
"""What was accepted earlier."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site's configuration, overlays, reports, and vectors that were trained on them."""
    place = tmp_path_factory.mktemp("site")
    (place / "config.toml").write_text('[analyse]\noverlays = "overlays"\n[learn]\nmodels = "models"\n')
    (place / "overlays" / "en" / "concepts").mkdir(parents=True)
    (place / "overlays" / "en" / "concepts" / "accepted.toml").write_text(BEFORE)
    lines = [json.dumps({"id": n, "text": text}) for n, text in enumerate(english())]
    (place / "reports.jsonl").write_text("\n".join(lines))
    (place / "local.txt").write_text("FINDINGS: Patchy hazefield. XXXX is seen.")
    result = invoke(place, "features", "train", "words-1", place / "reports.jsonl", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["card"]["data"]["reports"] == 400
    return place


@pytest.fixture(autouse=True)
def packs_alone():
    """No test leaves its overlay to the next."""
    yield
    use_overlays(None)


def invoke(place, *arguments):
    """One command at the site."""
    result = CliRunner().invoke(app, ["--config", str(place / "config.toml"), *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit | DicomnlpError):
        raise result.exception
    return result


def test_show_tells_each_step(site):
    """For people and as JSON; a text that can't be read is told and fails the command, the others are shown."""
    result = invoke(site, "features", "show", site / "local.txt")
    for words in ("headings taken out: FINDINGS", "placeholders taken out: 1", "stems", "patchi hazefield"):
        assert words in result.stdout
    asked = invoke(site, "features", "show", site / "missing.txt", site / "local.txt", "--json")
    [line] = asked.stdout.splitlines()
    assert json.loads(line)["sentences"][0]["stems"] == ["patchi", "hazefield"]
    assert asked.exit_code == 1


def test_the_matrix_is_written_once(site, tmp_path):
    """As files; a folder that is there is never overwritten."""
    result = invoke(site, "features", "matrix", site / "reports.jsonl", "--out", tmp_path / "m", "--json")
    assert json.loads(result.stdout)["reports"] == 400
    assert {p.name for p in (tmp_path / "m").iterdir()} == {"matrix.npz", "features.json"}
    again = invoke(site, "features", "matrix", site / "reports.jsonl", "--out", tmp_path / "m")
    assert isinstance(again.exception, UsageError)


def test_either_files_or_the_database_are_named(site):
    """Neither, or both, is a wrong use."""
    assert isinstance(invoke(site, "features", "train", "words-2").exception, UsageError)
    both = invoke(site, "features", "train", "words-2", site / "reports.jsonl", "--from-store")
    assert isinstance(both.exception, UsageError)
    assert isinstance(invoke(site, "features", "show").exception, UsageError)


def test_vectors_are_listed_and_a_change_is_told(site, tmp_path):
    """With their state; exits with 1 once they aren't what was registered."""
    listed = invoke(site, "features", "--json")
    assert json.loads(listed.stdout)["state"] == "ready"
    words = site / "models" / "vectors" / "words-1" / "units.json"
    before = words.read_bytes()
    words.write_bytes(before + b" ")
    try:
        changed = invoke(site, "features", "--json")
        refused = invoke(site, "features", "neighbours", "consolidation")
    finally:
        words.write_bytes(before)
    assert changed.exit_code == 1
    assert json.loads(changed.stdout)["state"] == "model_changed"
    assert refused.exception.reason_code == "model_changed"


def test_a_local_word_goes_from_neighbour_to_finding(site):
    """Proposed, accepted, and read as the concept from then on; accepting it again changes nothing."""
    asked = invoke(site, "features", "neighbours", "consolidation", "--unknown", "--limit", "3", "--json")
    assert json.loads(asked.stdout)["neighbours"][0]["text"] == "hazefield"
    told = invoke(site, "features", "accept", "consolidation", "Hazefield")
    assert told.exit_code == 0, told.output
    file = site / "overlays" / "en" / "concepts" / "accepted.toml"
    written = file.read_text()
    assert 'consolidation = { terms = ["hazefield"] }' in written
    assert 'cardiomegaly = { terms = ["ox heart"] }' in written
    assert invoke(site, "features", "accept", "consolidation", "hazefield").exit_code == 0
    assert file.read_text() == written
    [line] = invoke(site, "analyse", site / "local.txt", "--json").stdout.splitlines()
    assert "consolidation" in [f["concept"]["id"] for f in json.loads(line)["findings"]]


def test_what_would_break_the_overlay_is_not_written(site):
    """A word that names something else, an unknown concept: refused, and the file stays as it is."""
    file = site / "overlays" / "en" / "concepts" / "accepted.toml"
    before = file.read_text()
    refused = invoke(site, "features", "accept", "consolidation", "pneumothorax").exception
    assert isinstance(refused, UsageError)
    assert "already names pneumothorax" in str(refused)
    assert isinstance(invoke(site, "features", "accept", "no_such", "word").exception, NotFoundError)
    assert file.read_text() == before


def test_without_a_configured_overlay_nothing_is_written(tmp_path):
    """The command says which key names the folder."""
    (tmp_path / "config.toml").write_text("")
    refused = invoke(tmp_path, "features", "accept", "consolidation", "word").exception
    assert "analyse.overlays" in str(refused)
