"""Content items without identities: what each value becomes, by concept name and value type."""

import pytest

from dicomnlp.export.content import clean_items
from dicomnlp.export.deidentify import Cleaner, Identities
from dicomnlp.export.pseudonyms import Pseudonyms
from dicomnlp.model import Code, ContentItem

KEY = b"k" * 32
FINDING = Code("121071", "DCM", "Finding")
AGE = Code("121033", "DCM", "Subject Age")
VALUES = [
    # concept, value type, value, what it becomes
    (FINDING, "TEXT", "Mr. Roe has a nodule, seen 2026-11-22.", "[PATIENT] has a nodule, seen 2026-11-12."),
    (FINDING, "PNAME", "Anybody^At All", "[PERSON]"),  # whatever it is called
    (Code("121008", "DCM", "Person Observer Name"), "TEXT", "anybody", "[PERSON]"),
    (Code("121030", "DCM", "Subject ID"), "TEXT", "7", "[ID]"),
    (Code("121022", "DCM", "Accession Number"), "TEXT", "7", "[ID]"),
    (Code("121009", "DCM", "Organization"), "TEXT", "anywhere", "[PLACE]"),
    (Code("121031", "DCM", "Subject Birth Date"), "DATE", "19600101", "[BIRTH DATE]"),
    (AGE, "NUM", ["95"], ["90"]),
    (AGE, "NUM", ["45", "101.5"], ["45", "90"]),
    (AGE, "TEXT", "ninety", "[AGE]"),
    (FINDING, "NUM", ["95"], ["95"]),
    (FINDING, "DATE", "20261122", "20261112"),
    (FINDING, "DATETIME", "20261122101112", "20261112101112"),
    (FINDING, "DATE", "yesterday", "[DATE]"),  # what is no date isn't kept
    (FINDING, "TIME", "101112", "101112"),
    (FINDING, "UIDREF", "1.2.3", Pseudonyms(KEY).uid("1.2.3")),
    (FINDING, "CONTAINER", None, None),
    (
        FINDING, "IMAGE", {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "sop_instance_uid": "1.2.3"},
        {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "sop_instance_uid": Pseudonyms(KEY).uid("1.2.3")},
    ),
    (
        FINDING, "CODE", {"code": "1", "scheme": "99SITE", "meaning": "Protocol of Roe"},
        {"code": "1", "scheme": "99SITE", "meaning": "Protocol of [PATIENT]"},
    ),
    (
        FINDING, "CODE", {"code": "1", "scheme": "SCT", "meaning": "Roe"},  # a published meaning stays
        {"code": "1", "scheme": "SCT", "meaning": "Roe"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("concept", "value_type", "value", "expected"), VALUES)
def test_value_is_cleaned_by_what_it_is(concept, value_type, value, expected):
    """PS3.15 E.3.4; the tree, concept names and relationships stay."""
    cleaner = Cleaner(Identities(patient_names=("Roe^Jane",)), KEY, -10)
    item = ContentItem("1.2", "CONTAINS", value_type, concept, value)
    [cleaned] = clean_items([item], cleaner, Pseudonyms(KEY))
    assert cleaned.value == expected
    assert (cleaned.path, cleaned.relationship, cleaned.value_type, cleaned.concept) == (
        item.path, item.relationship, item.value_type, item.concept,
    )  # fmt: skip
