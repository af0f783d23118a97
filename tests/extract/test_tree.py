"""The walk over the content tree: lenient, complete, and never in circles."""

import struct

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicomnlp.extract import extract, tree


def paths(report):
    """Path -> (value type, value)."""
    return {item.path: (item.value_type, item.value) for item in report.items}


def test_items_come_in_tree_order_with_their_positions(sr, small_report):
    """The root is "1", its second child's first child "1.2.1"; nothing is left out."""
    report = sr.read(small_report)
    assert [item.path for item in report.items] == ["1", "1.1", "1.1.1", "1.1.2", "1.1.3", "1.2", "1.2.1"]
    assert paths(report)["1.1.2"] == ("CODE", {"code": "36118008", "scheme": "SCT", "meaning": "Pneumothorax"})
    assert paths(report)["1.1.3"] == ("NUM", "6")
    assert report.items[0].concept.meaning == report.title == "Diagnostic Imaging Report"
    assert report.items[4].unit.value == "mm"


@pytest.mark.parametrize(
    ("fields", "value_type", "value"),
    [
        ({"TextValue": "No effusion."}, "TEXT", "No effusion."),
        ({"PersonName": "Doe^Jane"}, "PNAME", "Doe^Jane"),
        ({"Date": "20261101"}, "DATE", "20261101"),
        ({"UID": "1.2.3"}, "UIDREF", "1.2.3"),
        ({"ContinuityOfContent": "SEPARATE"}, "CONTAINER", None),
        ({}, "", None),
    ],
)
def test_a_missing_value_type_follows_from_what_the_item_holds(sr, fields, value_type, value):
    """And is reported, where it could be inferred."""
    child = Dataset()
    child.RelationshipType = "CONTAINS"
    for keyword, content in fields.items():
        setattr(child, keyword, content)
    report = sr.read(sr.document([child]))
    assert paths(report)["1.1"] == (value_type, value)
    assert ("missing_value_type at 1.1" in report.warnings) == bool(value_type)


def test_unknown_value_types_keep_their_text_and_what_is_below(sr):
    """A value type that nobody has heard of costs neither its text nor its children."""
    below = sr.item("TEXT", sr.FINDING, "No effusion.")
    report = sr.read(sr.document([sr.item("NEWTYPE", sr.FINDING, "Nodule in the left lung.", children=[below])]))
    assert paths(report)["1.1"] == ("NEWTYPE", "Nodule in the left lung.")
    assert report.narrative.text == "Finding:\nNodule in the left lung.\nNo effusion."


def test_items_without_relationship_or_concept_are_kept(sr):
    """Only the text is needed to be narrative."""
    report = sr.read(sr.document([sr.item("TEXT", None, "No effusion.", relationship=None)]))
    assert report.narrative.text == "No effusion."
    assert report.narrative.sections == ()


def test_a_root_that_is_text_itself_is_read(sr):
    """The root need not be a container."""
    report = sr.document([])
    report.ValueType, report.TextValue = "TEXT", "No effusion."
    assert sr.read(report).narrative.text == "No effusion."


@pytest.mark.parametrize(
    ("target", "warning"),
    [
        ([1, 1], None),
        ([1], "reference_cycle at 1.2.1"),
        ([1, 2], "reference_cycle at 1.2.1"),
        ([1, 2, 1], "reference_cycle at 1.2.1"),
        ([1, 9, 9], "dangling_reference at 1.2.1"),
    ],
)
@pytest.mark.parametrize("syntax", ["EXPLICIT", "BIG"])
def test_references_are_resolved_once_and_never_followed(sr, target, warning, syntax):
    """A by-reference item is an item of its own; loops and dead ends are reported."""
    reference = Dataset()
    reference.RelationshipType = "INFERRED FROM"
    reference.ReferencedContentItemIdentifier = target
    items = [sr.item("TEXT", None, "One."), sr.item("TEXT", None, "Two.", children=[reference])]
    report = sr.read(sr.document(items), getattr(sr, syntax))
    assert paths(report)["1.2.1"] == ("", {"by_reference": ".".join(map(str, target))})
    assert report.warnings == (() if warning is None else (warning,))
    assert report.narrative.text == "One.\nTwo."


def test_codes_have_long_and_urn_values_too(sr):
    """PS3.3 8.8: CodeValue, LongCodeValue or URNCodeValue."""
    items = []
    for keyword in ("LongCodeValue", "URNCodeValue"):
        child = sr.item("TEXT", None, "text")
        entry = sr.code("x", "99X", "Meaning")
        del entry.CodeValue
        setattr(entry, keyword, f"urn:oid:{keyword}")
        child.ConceptNameCodeSequence = Sequence([entry])
        items.append(child)
    report = sr.read(sr.document(items))
    assert [i.concept.value for i in report.items[1:]] == ["urn:oid:LongCodeValue", "urn:oid:URNCodeValue"]


def test_references_to_images_name_the_instance(sr):
    """IMAGE and COMPOSITE hold what they point at; coordinates hold their shape."""
    image = sr.item("IMAGE")
    entry = Dataset()
    entry.ReferencedSOPClassUID, entry.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4"
    image.ReferencedSOPSequence = Sequence([entry])
    circle = sr.item("SCOORD", sr.FINDING)
    circle.GraphicType, circle.GraphicData = "CIRCLE", [1.0, 2.0, 3.0, 4.0]
    found = paths(sr.read(sr.document([image, circle]), sr.BIG))
    assert found["1.1"] == ("IMAGE", {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "sop_instance_uid": "1.2.3.4"})
    assert found["1.2"] == ("SCOORD", {"graphic_type": "CIRCLE", "points": 2})


def test_control_characters_reach_neither_values_nor_text(sr):
    """NUL, escape and form feed are nothing that a database or an XML document could hold."""
    report = sr.read(sr.document([sr.item("TEXT", sr.FINDING, "No\x00 eff\x07usion.\x0cNew\x1a page.")]))
    assert report.items[1].value == "No effusion.\nNew page."
    assert report.narrative.text == "Finding:\nNo effusion.\nNew page."


def test_the_number_of_items_is_limited(sr, monkeypatch):
    """Beyond the limit the walk stops with a warning, and what was read is kept."""
    monkeypatch.setattr(tree, "MAX_ITEMS", 10)
    report = sr.read(sr.document([sr.item("TEXT", sr.FINDING, "x") for _ in range(20)]))
    assert len(report.items) == 10
    assert report.warnings == ("too_many_items at 1.10",)


def test_a_content_sequence_that_is_none_is_an_ordinary_value(sr):
    """Where the dictionary says sequence and the writer put something else, the rest is read."""
    data = sr.encode(sr.document([sr.item("TEXT", sr.FINDING, "No effusion.")]), sr.IMPLICIT)
    purpose = struct.pack("<HHI", 0x0040, 0xA170, 4) + b"TEXT"
    at = data.index(struct.pack("<HH", 0x0040, 0xA730))
    report = extract(sr.stored(data[:at] + purpose + data[at:], sr.IMPLICIT))
    assert report.narrative.text == "Finding:\nNo effusion."
    assert "not_a_sequence at 0040A170" in report.warnings


def test_several_measured_values_are_read_as_far_as_they_share_a_unit(sr):
    """The standard allows one; the others aren't lost in silence."""
    size = sr.item("NUM", ("410668003", "SCT", "Length"), "1.5", unit=("cm", "UCUM", "cm"))
    for value, unit in (("2.5", "cm"), ("7", "mm")):
        more = sr.item("NUM", ("410668003", "SCT", "Length"), value, unit=(unit, "UCUM", unit))
        size.MeasuredValueSequence.append(more.MeasuredValueSequence[0])
    report = sr.read(sr.document([sr.item("CONTAINER", sr.FINDINGS, children=[size])]))
    assert (report.measurements[0].values, report.measurements[0].unit.value) == ((1.5, 2.5), "cm")
    assert report.items[2].value == ["1.5", "2.5"]
    assert report.warnings == ("value_in_another_unit at 1.1.1",)
