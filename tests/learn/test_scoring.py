"""Which answer is right, which wrong, which neither."""

from dataclasses import replace

import pytest

from dicomnlp.analyse import analyse, load_pack
from dicomnlp.learn.evaluation import CONTEXT, decide, evaluate, summarise
from dicomnlp.learn.gold import read_record
from dicomnlp.model import Narrative

TEXT = "FINDINGS: No pleural effusion. Left lung nodule. Lungs are clear. Possible rib fracture."


def at(words, text=TEXT, **marked):
    """A finding marked at `words`."""
    start = text.index(words)
    return {"start": start, "end": start + len(words), **marked}


def scores(*records):
    """Scores by task."""
    evaluation = evaluate([read_record({"text": TEXT, **r}, str(n)) for n, r in enumerate(records)])
    return {s.task: s for s in evaluation.scores}


EFFUSION = at("pleural effusion", assertion="absent", concept="pleural_effusion")
NODULE = at("nodule", assertion="present", concept="nodule", laterality="left")
FRACTURE = at("rib fracture", assertion="possible")


def test_the_text_is_read_as_the_tables_below_assume():
    """Three findings and a statement of normality."""
    found = analyse(Narrative(TEXT), language="en").findings
    spans = {f.text: f.assertion.value for f in found if not load_pack().concepts[f.concept.id].normal}
    assert {"pleural effusion": "absent", "rib fracture": "possible"}.items() <= spans.items()


def test_all_right_is_one_everywhere():
    """The statement of normality that nobody marked isn't counted against the pipeline."""
    got = scores({"findings": [EFFUSION, NODULE, FRACTURE]})
    assert {task: s.micro.f1.value for task, s in got.items()} == dict.fromkeys(
        ("assertion", "findings", "concepts", "laterality"), 1.0
    )
    assert all(not s.mistakes for s in got.values())


@pytest.mark.parametrize(
    ("findings", "counts"),
    [
        ([EFFUSION, NODULE, FRACTURE], (3, 0, 0)),
        # a wrong assertion is a miss and a false alarm
        ([{**EFFUSION, "assertion": "present"}, NODULE, FRACTURE], (2, 1, 1)),
        # ... unless the annotators accept it
        ([{**EFFUSION, "assertion": "present", "accept": ["absent"]}, NODULE, FRACTURE], (3, 0, 0)),
        # found, not marked
        ([EFFUSION, NODULE], (2, 1, 0)),
        # marked, not found
        ([EFFUSION, NODULE, FRACTURE, at("FINDINGS", assertion="present")], (3, 0, 1)),
        # nobody cares whether it is found
        ([EFFUSION, NODULE, {**FRACTURE, "assertion": "optional"}], (2, 0, 0)),
        # a wider or narrower mark is the same finding
        ([EFFUSION, at("Left lung nodule", assertion="present"), at("fracture", assertion="possible")], (3, 0, 0)),
        # a finding answers one mark only
        ([EFFUSION, NODULE, FRACTURE, at("rib", assertion="possible")], (3, 0, 1)),
        # what is marked as normal is scored
        ([EFFUSION, NODULE, FRACTURE, at("Lungs are clear", assertion="absent")], (4, 0, 0)),
        ([], (0, 3, 0)),
    ],
)
def test_findings_of_a_whole_report(findings, counts):
    """(right, false alarms, missed)."""
    micro = scores({"findings": findings})["findings"].micro
    assert (micro.true_positives, micro.false_positives, micro.false_negatives) == counts


@pytest.mark.parametrize(
    ("concept", "right"),
    [
        ("nodule", True),
        ("lesion", True),  # the wider concept
        ("mass", False),
        ("Tumour type of another tool", None),  # no concept: not scored
    ],
)
def test_concept_is_the_one_marked_or_below_it(concept, right):
    """A more specific answer is right."""
    got = scores({"findings": [{**NODULE, "concept": concept}]})
    assert ("concepts" in got) == (right is not None)
    if right is not None:
        assert got["concepts"].micro.recall.value == (1.0 if right else 0.0)


def test_targets_are_judged_and_nothing_else_counts():
    """Findings besides the targets aren't wrong: the annotator marked some spans only."""
    got = scores({"targets": [at("pleural effusion", label="negated"), at("lung", assertion="absent")]})
    assert set(got) == {"assertion"}
    assert (got["assertion"].micro.true_positives, got["assertion"].micro.false_negatives) == (1, 1)
    assert got["assertion"].confusion == {"absent": {"absent": 1, "present": 1}}
    (mistake,) = got["assertion"].mistakes
    assert (mistake.before[-5:], mistake.text, mistake.after[:7]) == ("Left ", "lung", " nodule")
    assert (mistake.gold, mistake.got, mistake.section) == ("absent", "present", "findings")


def test_side_is_scored_where_it_is_marked():
    """Of findings that were found; a star says anything will do."""
    wrong = scores({"findings": [{**NODULE, "laterality": "right"}]})["laterality"]
    assert wrong.micro.f1.value == 0
    assert "laterality" not in scores({"findings": [{**NODULE, "laterality": "*"}]})


@pytest.mark.parametrize(
    "labels",
    [
        {"chestxray14": {"Effusion": "absent", "Nodule": "present", "Mass": None}},
        {"Effusion": 0, "Nodule": 1, "Mass": 1},
    ],
)
def test_labels_with_and_without_their_set(labels):
    """Present is what counts; the set is known by its labels."""
    score = scores({"labels": labels})["labels chestxray14"]
    missed = 1 if labels.get("Mass") else 0
    assert (score.micro.true_positives, score.micro.false_negatives) == (1, missed)


def test_possible_and_absent_labels_are_scored_where_annotators_tell_them_apart():
    """Values that the annotation never uses aren't."""
    got = scores({"labels": {"chexpert14": {"Fracture": -1, "Pleural Effusion": 0, "Edema": None}}})
    assert set(got) == {"labels chexpert14", "labels chexpert14 possible", "labels chexpert14 absent"}
    assert got["labels chexpert14 possible"].micro.recall.value == 1
    assert got["labels chexpert14 absent"].micro.recall.value == 1


def test_what_cannot_be_scored_is_said():
    """An unknown set or label is a note, not a silent nothing."""
    reports = [read_record({"text": TEXT, "labels": {"mine": {"X": 1}, "chexpert14": {"Y": 1, "Edema": 0}}}, "1")]
    notes = evaluate(reports).notes
    assert any("'mine'" in note for note in notes)
    assert any("chexpert14 has no label Y" in note for note in notes)


def test_sections_and_measurements():
    """A heading counts by name and place, a quantity by values and unit."""
    text = "INDICATION: Pain.\nFINDINGS: 6 x 4 mm stone. 3 cm cyst.\nIMPRESSION: Stone."
    marks = {
        "text": text,
        "sections": [
            {"name": "indication", "start": 0},
            {"name": "findings", "start": 19},
            {"name": "technique", "start": 40},
        ],
        "measurements": [{"values": [6, 4]}, {"values": [30], "unit": "mm"}, {"values": [9], "unit": "mm"}],
    }
    got = scores(marks)
    sections, measurements = got["sections"].micro, got["measurements"].micro
    assert (sections.true_positives, sections.false_positives, sections.false_negatives) == (2, 1, 1)
    assert (measurements.true_positives, measurements.false_positives, measurements.false_negatives) == (2, 0, 1)


def test_slices_by_section_modality_and_other_fields():
    """A field counts if it has several values; the rows of a slice add up to all."""
    other = "IMPRESSION: Pneumothorax."
    got = scores(
        {"findings": [EFFUSION, NODULE, FRACTURE], "modality": "CT", "site": "same"},
        {"text": other, "findings": [at("Pneumothorax", other, assertion="absent")], "modality": "XR", "site": "same"},
    )["findings"]
    assert set(got.slices) == {"section", "modality"}
    by = {row.name: row.rates for row in got.slices["modality"]}
    assert (by["CT"].f1.value, by["XR"].f1.value) == (1.0, 0.0)
    assert {row.name: row.support for row in got.slices["section"]} == {"findings": 3, "impression": 1}
    assert sum(row.support for row in got.slices["modality"]) == got.micro.support


def test_marked_sections_name_the_slice():
    """Where annotators marked sections, theirs count."""
    got = scores(
        {"findings": [EFFUSION, NODULE, FRACTURE], "sections": [{"name": "impression", "start": 0}]},
        {"findings": [EFFUSION, NODULE, FRACTURE]},
    )
    assert {row.name for row in got["findings"].slices["section"]} == {"impression", "findings"}


def test_answers_in_any_order_give_the_same_figures():
    """Matching doesn't depend on the order of the marks."""
    forward = scores({"findings": [EFFUSION, NODULE, FRACTURE]})["findings"]
    backward = scores({"findings": [FRACTURE, NODULE, EFFUSION]})["findings"]
    assert replace(forward, mistakes=()) == replace(backward, mistakes=())


@pytest.mark.parametrize("filler", ["word " * 100, "\u80ba" * 500])
def test_context_of_a_mistake_is_short_and_ends_with_a_whole_word(filler):
    """Up to the limit on both sides, with an ellipsis where something was cut, in any script."""
    text = f"FINDINGS: {filler} nodule {filler}"
    record = {"text": text, "language": "en", "targets": [at("nodule", text, assertion="absent")]}
    (mistake,) = scores(record)["assertion"].mistakes
    before, after = mistake.before.strip("\N{HORIZONTAL ELLIPSIS}"), mistake.after.strip("\N{HORIZONTAL ELLIPSIS}")
    assert before + mistake.text + after in text
    assert (mistake.before[0], mistake.after[-1]) == ("\N{HORIZONTAL ELLIPSIS}",) * 2
    assert CONTEXT / 2 < len(before) <= CONTEXT + 1
    assert set((before + after).split()) <= {"word", before.split()[0], after.split()[-1]}
    assert before.split()[0] in filler.split() or " " not in filler.strip()


def test_patients_are_drawn_and_not_sliced_by_and_years_are():
    """Two reports of a patient count as one draw; the field isn't a slice; `study_date` gives the year."""
    text = "No effusion."
    marked = [{"start": 3, "end": 11, "assertion": "absent"}]
    records = [
        {"id": str(n), "patient": n // 2, "study_date": f"202{n % 2}-01-02", "text": text, "language": "en",
         "targets": marked}
        for n in range(4)
    ]  # fmt: skip
    reports = [read_record(record, record["id"]) for record in records]
    decided = decide(reports)
    assert decided.place("assertion") == {0: 0, 1: 0, 2: 1, 3: 1}
    assert decided.counts("assertion", ["absent"]).shape == (2, 1, 3)
    [score] = summarise(reports, decided).scores
    assert "patient" not in score.slices
    assert {row.name: row.support for row in score.slices["year"]} == {"2020": 2, "2021": 2}
