"""Commands of annotation: out, in, through training, and back."""

import json
import shutil

import pytest
from support.patients import Visit, come
from support.records import instance_uid

from dicomnlp import config
from dicomnlp.learn.docbin import read_docbin
from dicomnlp.learn.formats import read_gold
from dicomnlp.store.admin import upgrade
from dicomnlp.store.annotation_records import Mark, Verdict, key_of
from dicomnlp.store.annotations import adjudicate, annotate, confirm_rest, mark_done, read_reading
from dicomnlp.store.database import Database
from dicomnlp.terms import Assertion

TEXTS = (
    "FINDINGS: Left pleural effusion. No pneumothorax.",
    "FINDINGS: Possible nodule in the right upper lobe. No consolidation.",
    "FINDINGS: Cardiomegaly. No pleural effusion.",
)
REPORTS = 24


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A database with reports of twelve patients, and no annotation."""
    folder = tmp_path_factory.mktemp("annotated")
    (folder / "config.toml").write_text('[database]\nurl = "sqlite:///test.db"\n[learn]\nmodels = "models"\n')
    settings = config.load(folder / "config.toml")
    upgrade(settings)
    database = Database.open(settings)
    come(
        database,
        *(
            Visit(n, "20260105", "CHEST", text=TEXTS[n % len(TEXTS)], patient_id=f"T-{n % 12}")
            for n in range(1, REPORTS + 1)
        ),
    )
    database.close()
    return folder


@pytest.fixture(scope="module")
def folder(empty, tmp_path_factory):
    """The same, annotated by anna, two reports of it by ben too."""
    folder = tmp_path_factory.mktemp("annotated") / "own"
    shutil.copytree(empty, folder)
    database = Database.open(config.load(folder / "config.toml"))
    for n in range(1, REPORTS + 1):
        uid = instance_uid(n)
        first = read_reading(database, uid, "anna").findings[0]
        if n % 4 == 0:
            annotate(database, uid, "anna", Mark(Verdict.RELABEL, *key_of(first), assertion=Assertion.HISTORICAL))
        confirm_rest(database, uid, "anna")
        if n != REPORTS:
            mark_done(database, uid, "anna")
    for n in (4, 5):
        confirm_rest(database, instance_uid(n), "ben")
        mark_done(database, instance_uid(n), "ben")
    database.close()
    return folder


def lines(result):
    """The JSON lines that a command printed."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_what_leaves_is_what_training_and_evaluation_read(run):
    """All findings where a reader is done and none is divided, else some spans; one pseudonym a patient."""
    found = {record["id"]: record for record in lines(run("annotations", "export"))}
    assert len(found) == REPORTS
    assert "findings" in found[instance_uid(1)]
    assert "targets" in found[instance_uid(REPORTS)]
    # anna and ben are divided on one of its places
    assert len(found[instance_uid(4)]["targets"]) == len(found[instance_uid(1)]["findings"]) - 1
    assert len({record["patient"] for record in found.values()}) == 12
    assert found[instance_uid(1)]["patient"] == found[instance_uid(13)]["patient"]
    assert {f["assertion"] for f in found[instance_uid(8)]["findings"]} >= {"historical"}


def test_a_model_is_trained_on_what_leaves(run, folder, tmp_path):
    """From the annotations of the database to a registered model, in two commands, and from a DocBin as well."""
    gold = tmp_path / "gold.jsonl"
    assert run("annotations", "export", "--out", gold).exit_code == 0
    [told] = lines(run("train", gold, "own-1", "--json"))
    assert told["card"]["data"]["annotated_findings"] >= 20
    assert (folder / "models" / "own-1" / "card.json").exists()
    binary = tmp_path / "gold.spacy"
    assert run("annotations", "export", "--format", "docbin", "--out", binary).exit_code == 0
    assert read_gold(binary) == read_gold(gold)


def test_what_left_comes_back_with_who_and_when(run, empty, tmp_path):
    """Into another database that holds the reports; again, it changes nothing; a report that isn't held is told."""
    gold = tmp_path / "gold.jsonl"
    run("annotations", "export", "--out", gold)
    there = tmp_path / "there"
    shutil.copytree(empty, there)
    other = ["--config", there / "config.toml"]
    first = run(*other, "annotations", "import", gold)
    assert first.exit_code == 0, first.output
    assert "24 reports" in first.output
    assert run(*other, "annotations", "export").stdout == run("annotations", "export").stdout
    assert "0 annotations" in run(*other, "annotations", "import", gold).output
    # where they were made, with times finer than the file's, nothing is doubled either
    assert "0 annotations" in run("annotations", "import", gold).output
    binary = tmp_path / "gold.spacy"
    run("annotations", "export", "--format", "docbin", "--out", binary)
    assert "0 annotations" in run(*other, "annotations", "import", binary).output
    record = json.loads(gold.read_text().splitlines()[0])
    gold.write_text(json.dumps({**record, "id": instance_uid(99)}))
    unknown = run(*other, "annotations", "import", gold)
    assert (unknown.exit_code, "1 reports aren't held" in unknown.output) == (1, True)
    gold.write_text(json.dumps({**record, "annotations": [{"start": 0}]}))
    assert run(*other, "annotations", "import", gold).exit_code != 0


def test_annotations_of_other_tools_become_those_of_a_reader(run, empty, tmp_path):
    """A span where the pipeline finds something is about that; what it finds besides is rejected; read as a whole."""
    there = tmp_path / "there"
    shutil.copytree(empty, there)
    text = TEXTS[1]
    start = text.index("pneumothorax") if "pneumothorax" in text else text.index("nodule")
    gold = tmp_path / "gold.jsonl"
    records = [
        {"id": instance_uid(1), "text": text, "findings": [{"start": start, "end": start + 6, "assertion": "present"}]},
        {"id": instance_uid(2), "text": "another text", "findings": []},
    ]
    gold.write_text("\n".join(map(json.dumps, records)))
    result = run("--config", there / "config.toml", "annotations", "import", gold, "--reader", "carl")
    assert (result.exit_code, "have another text" in result.output) == (1, True)
    database = Database.open(config.load(there / "config.toml"))
    reading = read_reading(database, instance_uid(1), "carl")
    database.close()
    said = {a.text: (a.verdict, a.assertion) for a in reading.own}
    assert said["nodule"] == ("relabel", "present")
    assert said["consolidation"] == ("reject", None)
    assert reading.state == "done"


def test_agreement_and_queue_are_told(run):
    """As JSON and as tables."""
    [pair] = lines(run("annotations", "agreement", "--json"))
    assert (pair["first"], pair["second"], pair["reports"], pair["f1"]) == ("anna", "ben", 2, 1.0)
    assert 0 < pair["agreed"] < 1
    assert pair["kappa_low"] <= pair["kappa"] <= pair["kappa_high"]
    assert "kappa" in run("annotations", "agreement").output
    waiting = lines(run("annotations", "queue", "--reader", "anna", "--json"))
    assert [item["sop_instance_uid"] for item in waiting] == [instance_uid(REPORTS)]
    assert {w["reason"] for w in waiting[0]["why"]} >= {"begun"}
    assert "begun" in run("annotations", "queue", "--reader", "anna").output
    second = lines(run("annotations", "queue", "--reader", "ben", "--json"))
    assert instance_uid(4) not in {item["sop_instance_uid"] for item in second}
    assert second[0]["round"] == 2


def test_a_decision_settles_what_readers_are_divided_on(run, folder, tmp_path):
    """The report is then whole."""
    there = tmp_path / "there"
    shutil.copytree(folder, there)
    database = Database.open(config.load(there / "config.toml"))
    first = read_reading(database, instance_uid(4), "dora").findings[0]
    mark = Mark(Verdict.RELABEL, *key_of(first), assertion=Assertion.POSSIBLE)
    adjudicate(database, instance_uid(4), "dora", mark, is_operator=False)
    database.close()
    found = {r["id"]: r for r in lines(run("--config", there / "config.toml", "annotations", "export"))}
    assert "possible" in {f["assertion"] for f in found[instance_uid(4)]["findings"]}


def test_what_is_no_docbin_is_refused(tmp_path, run):
    """With its name, and nothing of what is in it; a DocBin isn't written to a terminal."""
    broken = tmp_path / "broken.spacy"
    broken.write_bytes(b"secret words")
    result = run("annotations", "import", broken)
    assert result.exit_code != 0
    assert "secret" not in result.output + str(result.exception)
    assert run("annotations", "export", "--format", "docbin").exit_code != 0
    assert list(read_docbin(_foreign(tmp_path))) == [
        {
            "id": "foreign:1",
            "text": "No effusion",
            "findings": [{"start": 3, "end": 11, "assertion": "present", "concept": "FINDING"}],
        }
    ]


def _foreign(folder):
    """A DocBin that another program wrote."""
    from dicomnlp.analyse.library import spacy

    doc = spacy.blank("en")("No effusion")
    doc.ents = [doc.char_span(3, 11, label="FINDING")]
    path = folder / "foreign.spacy"
    spacy.tokens.DocBin(docs=[doc]).to_disk(path)
    return path
