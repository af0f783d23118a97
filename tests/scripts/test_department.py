"""The invented department: always the same year, worded in many ways, with a ledger that holds for its reports."""

import collections
import datetime as dt
import importlib
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest

from dicomnlp.model import is_uid

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
MODULES = ("course", "kinds", "objects", "records", "scores", "wording")
LAST_DAY = dt.date(2026, 11, 22)


@pytest.fixture(scope="module")
def department():
    """Modules of scripts/department."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        return SimpleNamespace(**{name: importlib.import_module(f"department.{name}") for name in MODULES})
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def courses(department):
    """A year of 300 patients."""
    return department.course.Year(3, 300, LAST_DAY).courses()


@pytest.fixture(scope="module")
def planted(courses):
    """Its ledger."""
    return [row for course in courses for row in course.planted]


def test_a_year_is_a_function_of_seed_patients_and_last_day(department):
    """Documents, their bytes and the ledger come out the same again, and others for another seed."""
    once, again, other = (department.course.Year(seed, 40, LAST_DAY).courses() for seed in (1, 1, 2))
    assert once == again != other
    assert [department.objects.encoded(d) for d in once[0].documents] == [
        department.objects.encoded(d) for d in again[0].documents
    ]


def test_the_smallest_year_has_every_kind_twice_in_each_language(department):
    """Forty patients are enough to look for everything."""
    courses = department.course.Year(1, 40, LAST_DAY).courses()
    rows = [row for course in courses for row in course.planted if not row.near]
    by_kind = collections.Counter((row.kind, row.language) for row in rows)
    kinds = {kind.planted for kind in department.kinds.KINDS} - {"measurement_text", "outdated"}
    assert {(kind, language) for kind in kinds for language in ("en", "zh")} <= by_kind.keys()
    assert min(by_kind.values()) >= 2


@pytest.mark.parametrize("language", ["en", "zh"])
def test_stories_have_eight_wordings_and_near_misses(department, language):
    """Of every kind: pairs of what is found and what is concluded, of all its examinations together."""
    stories = department.wording.stories(language)

    def count(kind):
        total = 0
        for variant in stories[kind]:
            if "cases" in variant:
                total += len(variant["cases"]) * len(variant["technique"])
            elif "keep" in variant or "as" in variant:
                total += len(variant["say"])
            elif kind == "sex":
                total += min(len(variant["male"]), len(variant["female"]))
            elif kind == "age":
                total += len(variant["said"])
            elif "preliminary" in variant:
                total += len(variant["preliminary"]) * len(variant["find"])
            else:
                total += len(variant["find"]) * len(variant.get("say", [0]))
        return total

    own = ["follow_up", "critical", "laterality_order", "laterality_missing", "laterality_sections", "sex", "age"]
    own += ["sections", "coded", "category", "order_complete", "order_limited", "size", "preliminary", "guidance"]
    assert {kind: count(kind) for kind in (*own, "timeline") if count(kind) < 8} == {}
    pools = [stories["advice"]["firm"], stories["advice"]["near"], *stories["correction"].values()]
    assert min(map(len, [*pools, stories["communication"]["documented"]])) >= 8
    nears = ["critical", "laterality", "sex", "age", "sections", "category", "order", "size", "guidance"]
    assert all(stories[f"{kind}_near"] for kind in nears)


def test_no_place_is_left_unfilled(courses, planted):
    """Neither in a report nor in the ledger does a brace remain."""
    for course in courses:
        for document in course.documents:
            assert not any("{" in text for _, _, text in document.sections), document.sections
            assert "{" not in document.description
    assert not [row for row in planted if "{" in row.wording]


def test_objects_are_what_they_say(department, courses):
    """Unique UIDs, the patient's header, text as written, and what is measured beside it."""
    documents = [d for course in courses[:60] for d in course.documents]
    assert len({d.sop_instance_uid for d in documents}) == len(documents)
    for document in documents:
        dataset = pydicom.dcmread(io.BytesIO(department.objects.encoded(document)))
        assert is_uid(str(dataset.SOPInstanceUID))
        assert is_uid(str(dataset.StudyInstanceUID))
        assert dataset.PatientSex == document.patient.sex
        if document.is_image:
            assert "PixelData" in dataset
        elif document.route != "damaged":
            text = "".join(str(element.value) for element in dataset.iterall() if element.keyword == "TextValue")
            assert all(part.replace("\n", "\r\n") in text for _, _, part in document.sections)
            numbers = [float(e.value) for e in dataset.iterall() if e.keyword == "NumericValue"]
            assert numbers == [value for _, value in document.coded]


def test_follow_up_happens_in_its_window_and_nothing_else_could_be_it(department, courses):
    """What closes an item comes by its date; of what is overdue no study of that kind came."""
    for course in courses:
        studies = {d.study_instance_uid: d for d in course.documents}
        for row in (r for r in course.planted if r.kind == "follow_up" and not r.near):
            asked = dt.date.fromisoformat(row.facts["day"])
            later = [d for d in studies.values() if d.day > asked]
            if "closed_by" in row.facts:
                after = (studies[row.facts["closed_by"]].day - asked).days
                assert row.facts["days"][0] * 0.85 <= after <= row.facts["days"][1] * 1.06 + 3
            elif row.facts["states"] == ["overdue"]:
                [answers] = {
                    v["close"]
                    for v in department.wording.stories("en")["follow_up"]
                    if v["reason"] == row.facts["reason"]
                }
                assert not [d for d in later if d.exam == answers], row
                assert (LAST_DAY - asked).days > row.facts["days"][1] * 1.5


def test_the_ledger_comes_back_as_it_was_written(department, planted, tmp_path):
    """JSON lines, one a row."""
    department.records.write_ledger(planted, tmp_path / "ledger.jsonl")
    back = list(department.records.read_ledger(tmp_path / "ledger.jsonl"))
    assert len(back) == len(planted)
    assert back[5].wording == planted[5].wording
    assert back[5].allowed == planted[5].allowed


def test_scores_count_what_was_found_missed_and_remarked_elsewhere(department):
    """Recall over the ledger, precision over studies, near misses told apart, and what is allowed forgiven."""
    scores, records = department.scores, department.records

    def row(study, **more):
        return records.Planted("sex", study, study + ".1", "P", "en", "words", **more)

    ledger = [row("1.1"), row("1.2"), row("1.3", near=True), row("1.4", near=True, allowed=("sex",))]
    flags = [scores.Flag("sex", study) for study in ("1.1", "1.1", "1.3", "1.4", "1.9")]
    [got] = scores.score([scores.Kind("sex", "sex", "sex")], ledger, flags, reports=100)
    assert (got.planted, len(got.found), [p.study_instance_uid for p in got.missed]) == (2, 1, ["1.2"])
    assert sorted(f.study_instance_uid for f in got.false) == ["1.3", "1.9"]
    assert (got.near, got.recall, got.precision, got.elsewhere) == (1, 0.5, 1 / 3, 0.02)
    assert "| sex | 2 | 1 | 0.500 | 1/2 | 0/0 | 0.333 | 2 | 2.00% |" in scores.as_table([got])


def test_a_flag_of_its_kind_that_does_not_fit_is_no_find(department):
    """The guideline must be that of what was planted."""
    scores, records, kinds = department.scores, department.records, department.kinds
    facts = {"guideline": "adrenal", "size": 20}
    ledger = [records.Planted("guidance", "1.1", "1.1.1", "P", "en", "words", facts=facts)]
    kind = scores.Kind("guidance", "guidance", "guidance", kinds.guideline_fits)
    for name, found in (("acr_adrenal_2017", 1), ("acr_renal_2018", 0)):
        flag = scores.Flag("guidance", "1.1", facts={"guideline": name})
        [got] = scores.score([kind], ledger, [flag], reports=1)
        assert (len(got.found), got.false) == (found, [])
