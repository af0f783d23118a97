"""What a report changed of the one before it."""

import dataclasses

import pytest
from support.lives import Document, arrive
from support.records import make_finding

from dicomnlp.errors import NotFoundError
from dicomnlp.model import Assertion, Laterality
from dicomnlp.store.changes import changes_of_report


def finding(concept, assertion=Assertion.PRESENT, side=Laterality.RIGHT, start=16):
    """A finding that differs from others in what counts."""
    return dataclasses.replace(make_finding(concept, start=start, assertion=assertion), laterality=side)


BEFORE = (
    finding("nodule"),
    finding("effusion", Assertion.POSSIBLE),
    finding("pneumothorax"),
    finding("fracture", side=Laterality.LEFT),
    finding("mass"),
)
AFTER = (
    finding("nodule", start=40),  # the same said elsewhere, and twice, is no change
    finding("nodule", start=80),
    finding("effusion", Assertion.PRESENT, start=90),
    finding("fracture", side=Laterality.RIGHT, start=95),
    finding("mass"),
    finding("mass", Assertion.ABSENT, side=Laterality.LEFT, start=99),
    finding("cyst"),
)
PRELIMINARY = Document(1, preliminary_flag="PRELIMINARY", findings=BEFORE)
FINAL = Document(2, preliminary_flag="FINAL", findings=AFTER)


@pytest.mark.parametrize("asked", [PRELIMINARY, FINAL])
def test_preliminary_and_final_differ_by_what_they_state(database, asked):
    """Asked of either, the answer is the same: what the final changed of the preliminary."""
    arrive(database, PRELIMINARY, FINAL)
    changes = changes_of_report(database, asked.uid)
    assert (changes.earlier.sop_instance_uid, changes.later.sop_instance_uid) == (PRELIMINARY.uid, FINAL.uid)
    assert [f.finding.concept.id for f in changes.gone] == ["pneumothorax"]
    assert [(f.finding.concept.id, f.finding.assertion) for f in changes.added] == [
        ("cyst", "present"),
        ("mass", "absent"),
    ]
    assert [(a.finding.concept.id, b.finding.concept.id) for a, b in changes.changed] == [
        ("effusion", "effusion"),
        ("fracture", "fracture"),
    ]
    assert [c["fields"] for c in changes.to_json()["changed"]] == [["assertion"], ["laterality"]]
    assert changes.unchanged == 2


def test_new_version_is_compared_with_the_one_before_it(database):
    """Of the same SOP instance."""
    arrive(database, PRELIMINARY, dataclasses.replace(PRELIMINARY, data=b"corrected", findings=AFTER))
    changes = changes_of_report(database, PRELIMINARY.uid)
    assert (changes.earlier.version, changes.later.version) == (1, 2)
    assert [f.finding.concept.id for f in changes.gone] == ["pneumothorax"]


def test_report_that_took_the_place_of_none_adds_all(database):
    """There is nothing before it."""
    arrive(database, FINAL)
    document = changes_of_report(database, FINAL.uid).to_json()
    assert document["earlier"] is None
    assert document["later"] == {"sop_instance_uid": FINAL.uid, "version": 1}
    assert len(document["added"]) == 6


@pytest.mark.parametrize("uid", ["1.2.3", "no uid"])
def test_unknown_report_has_no_changes(database, uid):
    """It is told as one that is not held, and echoed only when it is a UID."""
    with pytest.raises(NotFoundError) as caught:
        changes_of_report(database, uid)
    assert "no uid" not in str(caught.value)
