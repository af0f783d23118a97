"""The tables of contexts.py against the standard's dictionary, and the conformance statement against the tables."""

import re
from pathlib import Path

import pytest
from pydicom.uid import UID

from dicomnlp import implementation
from dicomnlp.model import is_uid
from dicomnlp.receive import archive_find, contexts, fetch, images
from dicomnlp.receive.reasons import Reason

STATEMENT = (Path(__file__).resolve().parents[2] / "docs/conformance.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("uid", "name"), [*contexts.STORAGE_SOP_CLASSES.items(), *contexts.TRANSFER_SYNTAXES.items()])
def test_names_are_those_of_the_dictionary(uid, name):
    """And what is retired is said to be (PS3.6 A)."""
    assert name.removesuffix(" (retired)") == UID(uid).name.partition(":")[0]
    assert name.endswith(" (retired)") == UID(uid).is_retired


def test_each_structured_report_storage_class_of_the_dictionary_is_offered():
    """None is forgotten: they share one root."""
    from pydicom._uid_dict import UID_dictionary

    known = {
        uid for uid, entry in UID_dictionary.items() if re.match(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.88\.\d+$", uid)
    }
    assert known == set(contexts.STRUCTURED_REPORT_SOP_CLASSES)


def test_each_image_storage_class_of_the_dictionary_can_be_indexed():
    """Retired ones too: archives still hold them. But for those of baggage (501) and of materials testing (601)."""
    from pydicom._uid_dict import UID_dictionary

    known = {
        uid
        for uid, (name, kind, *_) in UID_dictionary.items()
        if kind == "SOP Class"
        and re.search(r"Image Storage\b", name)
        and "Hardcopy" not in name
        and not re.match(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.[56]01\.", uid)
    }
    assert known - set(images.IMAGE_SOP_CLASSES) == set()


def test_identification_of_the_implementation_is_well_formed():
    """PS3.7 D.3.3.2."""
    assert is_uid(implementation.IMPLEMENTATION_CLASS_UID)
    assert len(implementation.IMPLEMENTATION_VERSION_NAME) <= 16


def test_conformance_statement_lists_exactly_what_is_offered():
    """Every UID of the tables, and no other."""
    offered = {contexts.VERIFICATION_SOP_CLASS, *contexts.STORAGE_SOP_CLASSES, *contexts.TRANSFER_SYNTAXES}
    offered |= {*images.IMAGE_SOP_CLASSES, *images.IMAGE_TRANSFER_SYNTAXES, contexts.STORAGE_COMMITMENT_SOP_CLASS}
    offered |= {archive_find.MODEL, *fetch.MODELS}
    own = {contexts.APPLICATION_CONTEXT_NAME, implementation.IMPLEMENTATION_CLASS_UID}
    assert set(re.findall(r"`([0-9]+(?:\.[0-9]+){2,})`", STATEMENT)) == offered | own


def test_conformance_statement_lists_each_reason_code_with_its_status():
    """As they are answered."""
    for reason in Reason:
        status, code = reason.answer
        assert f"| `{code}` | {status:04X} | {reason.meaning} |" in STATEMENT
