"""What reports ask for and what answers it: the rules, on texts that are really read."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

from dicomnlp.analyse import analyse
from dicomnlp.courses import Course, CourseReport, Examination, Stated
from dicomnlp.model import Laterality, Narrative, Recommendation, RecommendationKind
from dicomnlp.review.exam_names import field_of, names_file, parts_of, read_name, regions_of, shows, sites_of_code
from dicomnlp.review.follow_up import items_of
from dicomnlp.review.follow_up_items import NEVER
from dicomnlp.review.follow_up_rules import follow_up_rules

OWN = Examination("1.1", "20260105", "090000", ("CT",), names=("CT CHEST",))


def report(text, language="en", study="1.1"):
    """A report as it is read."""
    read = analyse(Narrative(text), language=language)
    stated = tuple(
        Stated(f.concept, f.start, f.end, f.section, f.assertion, f.anatomy, f.laterality, f.change, f.measurements)
        for f in read.findings
    )
    return CourseReport(1, "1.9", study, read.recommendations, stated, (study,))


def owed(text, *later, own=OWN, language="en"):
    """The items of one report."""
    return items_of(Course((own, *later), (report(text, language, own.study_instance_uid),)))


def exam(date, modality, name="", **more):
    """A later examination."""
    return Examination(f"2.{date}", date, modalities=(modality,), names=(name,) if name else (), **more)


@pytest.mark.parametrize(
    ("name", "sites", "sides", "tissue"),
    [
        ("CT CHEST W/O CONTRAST", {"chest"}, set(), False),
        ("CT ABD/PELVIS W", {"abdomen", "pelvis"}, set(), False),
        ("MRI L SPINE WO", {"lumbar_spine"}, set(), False),  # the letter is of the spine
        ("MRI L KNEE", {"knee"}, {Laterality.LEFT}, False),
        ("XR KNEE RT 3 VIEWS", {"knee"}, {Laterality.RIGHT}, False),
        ("MAMMO DIAG LEFT", {"breast"}, {Laterality.LEFT}, False),
        ("US GUIDED BIOPSY LIVER", {"liver"}, set(), True),
        ("上腹部增强CT", {"abdomen"}, set(), False),
        ("颈椎MRI", {"cervical_spine"}, set(), False),
        ("右膝关节正侧位", {"knee"}, {Laterality.RIGHT}, False),
        ("CT-Thorax", {"chest"}, set(), False),
        ("MRT LWS", {"lumbar_spine"}, set(), False),
        ("Sonographie der Schilddrüse", {"thyroid"}, set(), False),
        ("", set(), set(), False),
    ],
)
def test_names_of_examinations_are_read(name, sites, sides, tissue):
    """In the languages of the packs, and as headers abbreviate."""
    read = read_name(name)
    assert (read.sites, read.sides, read.takes_tissue) == (sites, sides, tissue)


def test_defined_terms_of_body_part_examined_are_known():
    """PS3.16 Annex L, and words where it is none."""
    assert sites_of_code("CHESTABDPELVIS") == {"chest", "abdomen", "pelvis"}
    assert sites_of_code("Kidney") == {"kidney"}
    assert sites_of_code("") == frozenset()
    assert read_name("PET CT SKULL BASE TO MID THIGH").is_whole_body


@pytest.mark.parametrize(
    ("examined", "site", "modality", "expected"),
    [
        ("chest", "right_upper_lobe", "CT", "whole"),
        ("kidney", "abdomen", "US", "part"),
        ("chest", "left_breast", "CT", None),  # looked at by itself
        ("breast", "left_breast", "MG", "whole"),
        ("neck", "thyroid", "US", "whole"),
        ("chest", "thoracic_spine", "MR", None),
        ("chest", "thoracic_spine", "CT", "whole"),
        ("head", "lung", "CT", None),
    ],
)
def test_what_an_examination_shows(examined, site, modality, expected):
    """A region its parts, but what is looked at by itself."""
    assert shows(examined, site, [modality]) == expected


def test_an_organ_in_the_name_of_a_ct_stands_for_its_region():
    """A CT of the kidneys shows the adrenal glands, an ultrasound doesn't."""
    assert field_of("kidney", ["CT"]) == "abdomen"
    assert field_of("kidney", ["US"]) == "kidney"
    assert regions_of("adrenal_gland") == ("abdomen",)
    assert parts_of("no_such_site_any_more") == {"no_such_site_any_more"}


ASKED = [
    # text, category, modalities, site, side, window by day, watched
    (
        "IMPRESSION: 6 mm nodule in the right upper lobe. Follow-up CT in 6 to 12 months is recommended.",
        ("imaging", ("CT",), "right_upper_lobe", "right", "20260704", "20270105", True),
    ),
    (
        "IMPRESSION: Adrenal lesion. Recommend CT or MRI of the abdomen.",
        ("imaging", ("CT", "MR"), "abdomen", None, "20260105", None, True),
    ),
    (
        "IMPRESSION: Left breast mass. Biopsy is recommended.",
        ("tissue", (), "left_breast", "left", "20260105", None, True),
    ),
    (
        "IMPRESSION: Thyroid nodule. If symptoms persist, consider ultrasound.",
        ("imaging", ("US",), "thyroid", None, "20260105", None, False),
    ),
    (
        "IMPRESSION: Indeterminate lesion. Recommend urology referral.",
        ("visit", (), None, None, "20260105", None, False),
    ),
    # no modality: as the study, or what shows more
    (
        "IMPRESSION: Nodule of the left lung. Follow-up imaging in 3 months is recommended.",
        ("imaging", ("CT", "MR", "PT"), "left_lung", "left", "20260405", "20260405", True),
    ),
    # the procedure tells the site
    (
        "IMPRESSION: No findings in the chest. Diagnostic mammogram in 6 months is recommended.",
        ("imaging", ("MG",), "breast", None, "20260704", "20260704", True),
    ),
]


@pytest.mark.parametrize(("text", "expected"), ASKED)
def test_a_request_becomes_an_item(text, expected):
    """What, where, which side, when, and whether it is watched."""
    category, modalities, site, side, due_from, due_to, watched = expected
    [item] = owed(text)
    assert (item.category, item.modalities) == (category, modalities)
    if site is not None:
        assert site in item.sites
    assert (item.laterality.value if item.laterality else None) == side
    assert (item.due_from, item.due_to, item.overdue_on != NEVER) == (due_from, due_to, watched)


@pytest.mark.parametrize(
    "text",
    [
        "IMPRESSION: Pneumonia. Clinical correlation is recommended.",
        "IMPRESSION: Advancement of the endotracheal tube by 2 cm is recommended.",
        "IMPRESSION: No follow-up is needed.",
        "IMPRESSION: Further evaluation is recommended.",
        "IMPRESSION: Cyst. Continued follow-up is recommended.",  # when, nobody can tell
    ],
)
def test_what_leaves_nothing_to_wait_for_is_no_item(text):
    """Correlation, tubes, and follow-up without a time."""
    assert owed(text) == []


def test_what_a_study_asks_for_twice_is_one_item():
    """The findings and the impression; the time is that of the one that names it."""
    [item] = owed(
        "FINDINGS: Nodule in the right upper lobe, recommend CT chest.\nIMPRESSION: Nodule. Repeat CT in 3 months is "
        "recommended."
    )
    assert len(item.mentions) == 2
    assert item.due_to == "20260405"


def test_different_times_are_different_items():
    """Nothing that is asked for is lost by folding."""
    first, second = owed(
        "IMPRESSION: Nodule. CT chest in 3 months is recommended. CT chest in 12 months is recommended."
    )
    assert {first.due_to, second.due_to} == {"20260405", "20270105"}


ANSWERS = [
    # request, later examination, whether it answers
    ("Nodule of the right lung. CT chest in 6 months is recommended.", exam("20260705", "CT", "CT CHEST"), True),
    ("Nodule of the right lung. CT chest in 6 months is recommended.", exam("20260205", "CT", "CT CHEST"), False),
    ("Nodule of the right lung. CT chest in 6 months is recommended.", exam("20260705", "CT", "CT HEAD"), False),
    ("Nodule of the right lung. CT chest in 6 months is recommended.", exam("20260705", "CT"), False),  # of what?
    ("Nodule of the right lung. CT chest in 6 months is recommended.", exam("20260705", "PT", "PET CT"), True),
    ("Nodule of the right lung. CT chest in 6 months is recommended.", exam("20260705", "MR", "MR CHEST"), False),
    (
        "Nodule of the right lung. CT chest in 6 months is recommended.",
        exam("20260705", "CT", body_parts=("CHEST",)),
        True,
    ),
    # by what its report speaks of, where nothing else tells
    (
        "Nodule of the right lung. CT chest in 6 months is recommended.",
        exam("20260705", "CT", sites=("left_lower_lobe",)),
        True,
    ),
    ("Pneumonia. Chest radiograph in 6 weeks is recommended.", exam("20260216", "CR", "XR CHEST"), True),
    ("Pneumonia. Chest radiograph in 6 weeks is recommended.", exam("20260216", "CT", "CT CHEST"), True),
    ("Left breast mass. Ultrasound is recommended.", exam("20260106", "US", "US BREAST RIGHT"), False),
    ("Left breast mass. Ultrasound is recommended.", exam("20260106", "US", "US BREAST LEFT"), True),
    (
        "Left breast mass. Ultrasound is recommended.",
        exam("20260106", "US", "US BREAST", lateralities=("R",)),
        False,
    ),
    (
        "Left breast mass. Ultrasound is recommended.",
        exam("20260106", "US", "US BREAST", lateralities=("L", "R")),
        True,
    ),
    ("Left breast mass. Biopsy is recommended.", exam("20260110", "US", "US BREAST LEFT"), False),
    ("Left breast mass. Biopsy is recommended.", exam("20260110", "US", "US CORE BIOPSY LEFT BREAST"), True),
    ("Adrenal mass. CT or MRI of the abdomen is recommended.", exam("20260110", "MR", "MRI ABDOMEN"), True),
    ("Renal mass. Urology referral is recommended.", exam("20260110", "CT", "CT ABDOMEN"), False),
]


@pytest.mark.parametrize(("request_", "later", "answers"), ANSWERS)
def test_what_answers(request_, later, answers):
    """By modality, site, side and date; each judgement says what it compared."""
    items = owed(f"IMPRESSION: {request_}", later)
    assert [item.answer is not None for item in items] == [answers]
    for judged in items[0].judged:
        assert all(check.fits for check in judged.checks) == judged.answers


def test_the_first_that_fits_answers():
    """However many come after it."""
    [item] = owed(
        "IMPRESSION: Nodule of the lung. CT chest in 3 months is recommended.",
        exam("20260501", "CT", "CT CHEST"),
        exam("20260405", "CT", "CT CHEST"),
        exam("20260301", "US", "US NECK"),
    )
    assert item.answer.study_date == "20260405"
    assert [j.study_date for j in item.judged] == ["20260301", "20260405"]


@pytest.mark.parametrize(("time", "answers"), [("080000", False), ("090000", False), ("100000", True), ("", False)])
def test_of_the_same_day_what_is_known_to_be_later_answers(time, answers):
    """What is asked for at once is often done within the hour."""
    later = dataclasses.replace(exam("20260105", "US", "US THYROID"), study_time=time)
    [item] = owed("IMPRESSION: Thyroid nodule. Ultrasound is recommended.", later)
    assert (item.answer is not None) == answers


def test_without_a_date_nothing_is_due_and_nothing_answers():
    """Nor is it lost."""
    undated = dataclasses.replace(OWN, study_date="")
    [item] = owed(
        "IMPRESSION: Nodule. CT chest in 3 months is recommended.", exam("20260405", "CT", "CT CHEST"), own=undated
    )
    assert (item.due_from, item.due_to, item.overdue_on, item.answer) == (NEVER, None, NEVER, None)


def test_rules_judge_every_kind_and_name_sources():
    """A rule without a source is none."""
    rules = follow_up_rules()
    for kind in RecommendationKind:
        for conditional in (False, True):
            asked = Recommendation("", 0, 0, "CT", "CT", None, None, None, conditional, kind)
            assert rules.firmness_of(asked).watched == (not conditional and kind in {"recommended", "hedged"})
    told = [r.source for r in (*rules.categories, *rules.answers, *rules.unnamed, *rules.firmness)]
    assert all(":" in source or "PS3." in source for source in told)
    assert names_file().regions


TOLD = tomllib.loads(Path(__file__).with_name("follow_up_answers.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("group", "case"),
    [pytest.param(group, case, id=f"{group}-{n}") for group, cases in TOLD.items() for n, case in enumerate(cases)],
)
def test_what_is_asked_in_many_words_is_answered_by_what_shows_it(group, case):
    """Of the right region, side and modality, at the time; and by nothing else."""
    modality, name = case["after"]
    date, later, later_name = case["later"]
    own = Examination("1.1", "20260105", "090000", (modality,), names=(name,))
    items = owed(case["text"], exam(date, later, later_name), own=own, language=case["language"])
    assert any(item.answer for item in items) is (group == "answered")
