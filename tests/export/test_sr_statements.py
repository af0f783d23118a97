"""Which findings of a report are written as statements, and which are left out."""

import pytest

from dicomnlp.export.sr_statements import statements_of
from dicomnlp.model import (
    Acuity,
    Assertion,
    Change,
    Concept,
    Finding,
    Laterality,
    Measurement,
    SectionName,
    Severity,
    Temporality,
)

STUDY = "1.2.3"
NODULE = Concept("pulmonary_nodule", "427359005", "SCT", "Pulmonary nodule")
FRACTURE = Concept("fracture", "72704001", "SCT", "Fracture")
UPPER = Concept("right_upper_lobe", "45653009", "SCT", "Upper lobe of right lung")
LOWER = Concept("right_lower_lobe", "266005", "SCT", "Lower lobe of right lung")


def finding(concept=NODULE, assertion=Assertion.PRESENT, **more):
    """A mention; those made later stand later."""
    finding.place += 10
    start = finding.place
    return Finding(concept, "nodule", start, start + 6, "A sentence.", SectionName.FINDINGS, assertion, **more)


finding.place = 0


def size(*values, kind="size", unit="mm", when=Temporality.CURRENT, comparator=None):
    """A measurement."""
    return Measurement(values, unit, kind, when, "", 0, 0, comparator)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ((6.0,), [("Length", 6.0)]),
        ((4.0, 6.0), [("Long axis", 6.0), ("Short axis", 4.0)]),  # the text needn't name the greater first
        ((4.0, 6.0, 5.0), [("Length", 4.0), ("Length", 6.0), ("Length", 5.0)]),  # which is which isn't told
    ],
)
def test_sizes_are_of_what_the_text_tells(values, names):
    """In millimetres by UCUM."""
    [statement] = statements_of([finding(measurements=(size(*values),))], "", STUDY).of_findings
    assert [(q.name.meaning, q.value) for q in statement.quantities] == names
    assert {(q.unit.value, q.unit.scheme) for q in statement.quantities} == {("mm", "UCUM")}


@pytest.mark.parametrize(
    ("kind", "unit", "code"),
    [
        ("density", "[hnsf'U]", ("112031", "DCM")),
        ("uptake", "g/ml{SUVbw}", ("126401", "DCM")),
        ("volume", "mL", ("118565006", "SCT")),
        ("velocity", "cm/s", ("velocity", "99DICOMNLP")),  # no public code says no more than that
    ],
)
def test_other_quantities_have_their_code_and_unit(kind, unit, code):
    """A public one where it is certain."""
    [statement] = statements_of([finding(measurements=(size(30.0, kind=kind, unit=unit),))], "", STUDY).of_findings
    [quantity] = statement.quantities
    assert ((quantity.name.value, quantity.name.scheme), quantity.unit.value) == (code, unit)


@pytest.mark.parametrize(
    ("measurement", "reason"),
    [
        (size(4.0, when=Temporality.PRIOR), "prior"),  # it isn't of this study
        (size(50.0, kind="stenosis", unit="%", comparator="<"), "bound"),  # a number would say more than "less than"
    ],
)
def test_a_measurement_that_would_say_something_else_is_left_out(measurement, reason):
    """The finding itself is written."""
    statements = statements_of([finding(measurements=(measurement,))], "", STUDY)
    assert [s.quantities for s in statements.of_findings] == [()]
    assert statements.left_out == {reason: 1}


@pytest.mark.parametrize("assertion", [Assertion.HYPOTHETICAL, Assertion.HISTORICAL, Assertion.FAMILY])
def test_what_is_not_of_the_patient_now_is_left_out(assertion):
    """A document of measurements is of this study."""
    assert statements_of([finding(assertion=assertion)], "", STUDY).left_out == {assertion.value: 1}


def test_what_is_of_a_fetus_or_a_specimen_is_left_out():
    """It would be read as the patient's."""
    assert statements_of([finding(subject="fetus 2")], "", STUDY).left_out == {"subject": 1}


@pytest.mark.parametrize(
    "more",
    [
        {"measurements": (size(5.0, comparator=">"),)},  # no nodule above 5 mm
        {"levels": ("L4-L5",)},  # no stenosis at L4-L5
        {"count": "multiple"},  # no multiple nodules
    ],
)
def test_a_denial_with_a_restriction_that_cannot_be_written_is_left_out(more):
    """Without it the document would deny more than the report."""
    statements = statements_of([finding(assertion=Assertion.ABSENT, **more)], "", STUDY)
    assert (statements.of_findings, statements.left_out) == ((), {"restricted": 1})


@pytest.mark.parametrize(
    ("text", "word", "written"),
    [
        ("No fracture.", "fracture", True),
        ("No acute fracture.", "fracture", False),
        ("No acute fracture.", "acute fracture", False),  # whether or not the mention has the word
        ("No dislocation or acute fracture.", "fracture", False),
        ("No acute dislocation. No fracture.", "fracture", True),  # the word is of another sentence
        ("No acute dislocation, fracture.", "fracture", True),
        ("No evidence of fracture.", "fracture", True),
        ("Fracture is not seen, no new nodule.", "Fracture", True),
        ("Keine frische Fraktur.", "Fraktur", False),
        ("Keine Fraktur.", "Fraktur", True),
        ("未见急性骨折。", "骨折", False),
        ("未见明显骨折。", "骨折", True),  # how "no" is said
    ],
)
def test_a_denial_of_some_kind_of_it_is_left_out(text, word, written):
    """No acute fracture is not: no fracture."""
    start = text.index(word)
    denied = Finding(
        FRACTURE, word, start, start + len(word), text, SectionName.FINDINGS, Assertion.ABSENT, is_negated=True
    )
    assert bool(statements_of([denied], text, STUDY).of_findings) is written


def test_what_a_concept_is_called_restricts_nothing():
    """Acute fracture as a concept of its own is denied as that."""
    text = "No significant stenosis."
    concept = Concept("significant_stenosis", None, None, "Significant stenosis")
    denied = Finding(concept, text[3:-1], 3, len(text) - 1, text, SectionName.FINDINGS, Assertion.ABSENT)
    assert len(statements_of([denied], text, STUDY).of_findings) == 1


def test_a_side_of_a_site_without_a_code_is_the_site_by_its_code():
    """The left kidney is the kidney, on the left; without the side it stays what it is."""
    left = Concept("left_kidney", None, None, "Left kidney")
    sided, plain = statements_of(
        [finding(anatomy=left, laterality=Laterality.LEFT), finding(FRACTURE, anatomy=left)], "", STUDY
    ).of_findings
    assert (sided.site.value, sided.site.scheme, sided.laterality.meaning) == ("64033007", "SCT", "Left")
    assert (plain.site.value, plain.site.scheme) == ("left_kidney", "99DICOMNLP")


SAID = [
    # the impression repeats it
    ([{}, {}], 1),
    # and says less
    ([{"anatomy": UPPER, "measurements": (size(6.0),)}, {}], 1),
    ([{}, {"anatomy": UPPER, "measurements": (size(6.0),)}], 1),
    # by a broader concept
    ([{"anatomy": UPPER}, {"concept": Concept("nodule", "27925004", "SCT", "Nodule")}], 1),
    # a narrower one says more
    ([{"concept": Concept("nodule", None, None, "Nodule"), "measurements": (size(9.0),)}, {}], 2),
    # another place, side, size, degree: another lesion, or a contradiction that isn't ours to solve
    ([{"anatomy": UPPER}, {"anatomy": LOWER}], 2),
    ([{"laterality": Laterality.LEFT}, {"laterality": Laterality.RIGHT}], 2),
    ([{"measurements": (size(6.0),)}, {"measurements": (size(9.0),)}], 2),
    ([{"severity": Severity.MILD}, {"severity": Severity.SEVERE}], 2),
    ([{}, {"assertion": Assertion.POSSIBLE}], 2),
    # each says something that the other doesn't
    ([{"severity": Severity.MILD}, {"change": Change.NEW}], 2),
    # "no fracture" says that there is no acute one, but not the other way round: both stay
    (
        [
            {"concept": FRACTURE, "assertion": Assertion.ABSENT, "acuity": Acuity.ACUTE},
            {"concept": FRACTURE, "assertion": Assertion.ABSENT},
        ],
        2,
    ),
    ([{"assertion": Assertion.ABSENT}, {"assertion": Assertion.ABSENT}], 1),
]


@pytest.mark.parametrize(("mentions", "count"), SAID)
def test_mentions_that_say_the_same_are_one_statement(mentions, count):
    """And one that says more stands for one that says less."""
    statements = statements_of([finding(**m) for m in mentions], "", STUDY).of_findings
    assert len(statements) == count


def test_a_statement_is_tracked_by_what_and_where_it_is():
    """The same in a corrected report of the study; in another study it is another."""
    first = statements_of([finding(anatomy=UPPER), finding(anatomy=LOWER)], "", STUDY).of_findings
    again = statements_of([finding(anatomy=LOWER), finding(anatomy=UPPER)], "", STUDY).of_findings
    other = statements_of([finding(anatomy=UPPER)], "", "1.2.4").of_findings
    assert {s.tracking_identifier: s.tracking_uid for s in first} == {
        s.tracking_identifier: s.tracking_uid for s in again
    }
    assert other[0].tracking_uid not in {s.tracking_uid for s in first}
    assert len({s.tracking_uid for s in first}) == 2


def test_two_of_a_kind_at_one_place_are_tracked_apart():
    """By their order in the text."""
    statements = statements_of([finding(measurements=(size(v),)) for v in (6.0, 9.0)], "", STUDY).of_findings
    assert [s.tracking_identifier for s in statements] == ["pulmonary_nodule 1", "pulmonary_nodule 2"]


def test_the_digest_changes_with_what_is_said_and_with_nothing_else():
    """So that nothing is written twice."""
    one = statements_of([finding(anatomy=UPPER)], "", STUDY)
    moved = statements_of([finding(anatomy=UPPER)], "", STUDY)
    more = statements_of([finding(anatomy=UPPER, laterality=Laterality.RIGHT)], "", STUDY)
    assert one.digest(patient="T-1") == moved.digest(patient="T-1")
    assert one.digest(patient="T-1") != one.digest(patient="T-2")
    assert one.digest(patient="T-1") != more.digest(patient="T-1")
