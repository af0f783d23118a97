"""Annotated reports of our own format, of brat, and of spaCy and its kin."""

import json

import pytest

from dicomnlp.analyse.library import spacy
from dicomnlp.errors import UsageError
from dicomnlp.learn.attributes import assertion_of
from dicomnlp.learn.formats import read_gold
from dicomnlp.model import Assertion

Doc, Span = spacy.tokens.Doc, spacy.tokens.Span

TEXT = "No effusion. Possible mass in the left lung."
EXPECTED = [("effusion", "absent"), ("mass", "possible")]


def marked(report):
    """(words, assertion) of each finding."""
    return [(report.text[f.start : f.end], f.accepted[0].value) for f in report.findings]


def write(path, *records):
    """JSON lines."""
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
    return path


def test_own_format_is_read_whole(tmp_path):
    """Every documented key arrives."""
    record = {
        "id": 5, "text": TEXT, "language": "en", "modality": "CT", "note": "x" * 100, "reader": 3,
        "findings": [
            {"start": 3, "end": 11, "assertion": "negated", "accept": ["historical"], "concept": "effusion"},
            {"start": 22, "end": 26, "assertion": "possible", "laterality": "left"},
        ],
        "targets": [{"start": 0, "end": 2, "label": "asserted"}],
        "labels": {"chestxray14": {"Mass": -1, "Edema": None}},
        "sections": [{"name": "findings", "start": 0}],
        "measurements": [{"values": [3, 4.5]}],
    }  # fmt: skip
    (report,) = read_gold(write(tmp_path / "gold.jsonl", record))
    assert (report.id, report.language) == ("5", "en")
    assert marked(report) == EXPECTED
    assert report.findings[0].accepted == (Assertion.ABSENT, Assertion.HISTORICAL)
    assert (report.findings[0].concept, report.findings[1].laterality) == ("effusion", "left")
    assert report.targets[0].accepted == (Assertion.PRESENT,)
    assert report.labels == {"chestxray14": {"Mass": "possible", "Edema": None}}
    assert report.sections == (("findings", 0),)
    assert report.measurements == (((3.0, 4.5), "mm"),)
    assert report.fields == {"language": "en", "modality": "CT"}  # long texts and numbers name no slice


@pytest.mark.parametrize("shape", ["lines", "array", "object"])
def test_lines_arrays_and_single_objects(tmp_path, shape):
    """JSON however it comes."""
    record = {"text": TEXT, "findings": []}
    path = tmp_path / "gold.json"
    if shape == "lines":
        write(path, record, record)
    else:
        path.write_text(json.dumps([record, record] if shape == "array" else record, indent=1))
    reports = read_gold(path)
    assert [r.findings for r in reports] == [()] * (1 if shape == "object" else 2)
    assert len({r.id for r in reports}) == len(reports)


BAD = {
    "span outside": ({"text": TEXT, "findings": [{"start": 3, "end": 99, "assertion": "present"}]}, "outside the text"),
    "empty span": ({"text": TEXT, "findings": [{"start": 3, "end": 3, "assertion": "present"}]}, "empty"),
    "no assertion": ({"text": TEXT, "findings": [{"start": 3, "end": 4}]}, "no 'assertion'"),
    "unknown assertion": ({"text": TEXT, "findings": [{"start": 3, "end": 4, "assertion": "maybe"}]}, "one of"),
    "unknown side": (
        {"text": TEXT, "findings": [{"start": 3, "end": 4, "assertion": "present", "laterality": "up"}]},
        "laterality is",
    ),
    "no text": ({"findings": []}, 'no "text"'),
    "labels": ({"text": TEXT, "labels": {"Edema": 7}}, "1, 0, -1"),
    "section": ({"text": TEXT, "sections": [{"name": "lungs", "start": 0}]}, "a section's name"),
    "findings of another kind": ({"text": TEXT, "findings": 4}, "annotation format"),
    "unknown record": ({"text": TEXT, "x": 1}, "neither the annotation format nor"),
    "a word": ("x", "not a JSON object"),
}  # fmt: skip


@pytest.mark.parametrize(("record", "says"), BAD.values(), ids=BAD)
def test_malformed_records_are_refused_with_their_line(tmp_path, record, says):
    """The message names file and line, and quotes nothing of the report."""
    with pytest.raises(UsageError) as raised:
        read_gold(write(tmp_path / "gold.jsonl", {"text": "", "findings": []}, record))
    assert "gold.jsonl, line 2" in str(raised.value)
    assert says in str(raised.value)
    assert "effusion" not in str(raised.value)


def test_unreadable_files_are_refused(tmp_path):
    """Broken JSON, another encoding, nothing at all."""
    for content, says in (
        (b'{"text": ', "line 1: not JSON"),
        ("\u00e9".encode("latin-1"), "UTF-8"),
        (b"", "no annotated"),
    ):
        path = tmp_path / "gold.jsonl"
        path.write_bytes(content)
        with pytest.raises(UsageError, match=says):
            read_gold(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no annotated report"):
        read_gold(tmp_path / "empty")


def brat(folder, name, text, *annotations):
    """A pair of brat files."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".txt").write_bytes(text.encode())
    path.with_suffix(".ann").write_text("\n".join(annotations) + "\n", encoding="utf-8")


def test_brat_folder(tmp_path):
    """Attributes make the assertion; sites, relations and notes are no findings; folders become a field."""
    brat(
        tmp_path, "a/one", TEXT,
        "T1\teffusion 3 11\teffusion", "A1\tNegation T1", "T2\tFinding 22 26\tmass", "A2\tCertainty T2 Uncertain",
        "A3\tLaterality T2 Left", "T3\tAnatomical_Site 34 43\tleft lung", "R1\tLocated Arg1:T2 Arg2:T3",
        "#1\tAnnotatorNotes T2\tsee prior",
    )  # fmt: skip
    brat(tmp_path, "two", "Old\r\nfracture", "T1\tFinding 0 3;5 13\tOld fracture", "M1\tTemporality T1 Past")
    one, two = read_gold(tmp_path)
    assert (one.id, two.id) == ("a/one", "two")
    assert marked(one) == EXPECTED
    assert (one.findings[0].concept, one.findings[1].laterality) == ("effusion", "left")
    assert one.fields == {"folder": "a"}
    assert marked(two) == [("Old\r\nfracture", "historical")]  # offsets count the line end as it is


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        ("T1\tFinding three 5\tx", "line 1: not a brat annotation"),
        ("T1\tFinding 3 500\tx", "line 1: a span is empty or outside"),
        ("T1", "line 1: not a brat annotation"),
        ("T1\tFinding 3 5\tx\nA1\tPolarity T1 sideways", "T1: attribute Polarity has an unknown value"),
    ],
)
def test_malformed_brat_annotations_are_refused(tmp_path, annotation, says):
    """File, line and what is wrong."""
    brat(tmp_path, "one", TEXT, annotation)
    with pytest.raises(UsageError, match=r"one\.ann") as raised:
        read_gold(tmp_path)
    assert says in str(raised.value)


def test_brat_annotation_without_its_text_is_refused(tmp_path):
    """Not passed over: a report would be missing from the figures."""
    (tmp_path / "one.ann").write_text("T1\tFinding 0 2\tNo\n")
    with pytest.raises(UsageError, match=r"one\.txt can't be read"):
        read_gold(tmp_path)


def spacy_doc():
    """A document as an annotator with spaCy and medspaCy would have it."""
    for name in ("is_negated", "is_uncertain"):
        if not Span.has_extension(name):
            Span.set_extension(name, default=False)
    doc: Doc = spacy.blank("en")(TEXT)
    effusion, mass = doc.char_span(3, 11, label="effusion"), doc.char_span(22, 26, label="mass")
    effusion._.is_negated = True
    mass._.is_uncertain = True
    doc.ents = [effusion, mass]
    return doc


def test_spacy_json_round_trip(tmp_path):
    """What ``Doc.to_json`` writes is read with its custom attributes."""
    record = spacy_doc().to_json(underscore=["is_negated", "is_uncertain"])
    (report,) = read_gold(write(tmp_path / "doc.json", record))
    assert (report.id, marked(report)) == ("doc", EXPECTED)
    assert [f.concept for f in report.findings] == ["effusion", "mass"]


def test_medspacy_consumer_round_trip(tmp_path):
    """What medspaCy's DocConsumer collects, in columns; a folder of such files."""
    from medspacy.io.doc_consumer import DocConsumer

    for name in ("section_category", "section_parent", "is_historical", "is_hypothetical", "is_family"):
        if not Span.has_extension(name):
            Span.set_extension(name, default=None if name.startswith("section") else False)
    data = DocConsumer(spacy.blank("en"), dtypes=("ents", "doc"))(spacy_doc())._.data
    write(tmp_path / "a.json", data)
    write(tmp_path / "b.json", {"text": TEXT, "ents": data["ents"]})
    reports = read_gold(tmp_path)
    assert [marked(r) for r in reports] == [EXPECTED] * 2


def test_prodigy_spans_and_training_tuples(tmp_path):
    """Attributes beside the span; tuples have none, so all is present."""
    spans = [
        {
            "start": 3,
            "end": 11,
            "label": "effusion",
            "token_start": 1,
            "token_end": 1,
            "attributes": {"Negation": True},
        },
        {"start": 22, "end": 26, "label": "mass", "certainty": "probable"},
    ]
    lines = write(tmp_path / "a.jsonl", {"text": TEXT, "spans": spans, "meta": {"modality": "CT"}})
    (report,) = read_gold(lines)
    assert (marked(report), report.fields) == (EXPECTED, {"modality": "CT"})
    (report,) = read_gold(write(tmp_path / "b.jsonl", [TEXT, {"entities": [[3, 11, "effusion"]]}]))
    assert marked(report) == [("effusion", "present")]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, "present"),
        ({"Negation": True}, "absent"),
        ({"is_negated": False}, "present"),
        ({"NEGATED": "true"}, "absent"),
        ({"Negex": "affirmed"}, "present"),
        ({"polarity": "Negative"}, "absent"),
        ({"Certainty": "Probable"}, "possible"),
        ({"certainty": "definite"}, "present"),
        ({"Temporality": "historical"}, "historical"),
        ({"Experiencer": "Family_Member"}, "family"),
        ({"subject": "patient"}, "present"),
        ({"Assertion": "associated_with_someone_else"}, "family"),
        ({"assertion-status": "conditional"}, "hypothetical"),
        ({"Colour": "blue"}, "present"),
        # of several, the one that a reader would give
        ({"is_negated": True, "is_historical": True}, "absent"),
        ({"is_uncertain": True, "is_historical": True}, "historical"),
        ({"is_family": True, "is_negated": True}, "family"),
        ({"is_hypothetical": True, "is_uncertain": True}, "hypothetical"),
    ],
)
def test_attributes_of_annotation_tools(attributes, expected):
    """As the table of docs/reference/annotation-format.md has it."""
    assert assertion_of(attributes) == expected


@pytest.mark.parametrize("attributes", [{"Negation": "sometimes"}, {"Temporality": "later"}, {"Assertion": "x"}])
def test_unknown_values_of_known_attributes_are_refused(attributes):
    """Better than to take the finding for present."""
    with pytest.raises(UsageError, match="unknown value"):
        assertion_of(attributes)
