"""docs/reference/what-is-read.md against the SOP classes that are taken and the tests that it names."""

import re
from pathlib import Path

from dicomnlp.receive.contexts import STORAGE_SOP_CLASSES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference/what-is-read.md").read_text(encoding="utf-8")


def test_page_tells_of_every_sop_class_that_is_taken_and_of_no_other():
    """By name and UID, as the conformance statement has them."""
    rows = re.findall(r"^\| ([^|]+) \| `([\d.]+)` \|", PAGE, re.MULTILINE)
    assert len(rows) == len(STORAGE_SOP_CLASSES)
    assert {uid: name for name, uid in rows} == STORAGE_SOP_CLASSES


def test_every_test_that_the_page_names_is_there():
    """A row's proof must be one that runs."""
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 20
    for file, name in named:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert not name or f"\ndef {name}(" in source, name


def test_every_row_names_a_test():
    """None is taken on trust."""
    groups = set(re.findall(r"^\| [^|]+ \| `[\d.]+` \| ([A-Z]) \|", PAGE, re.MULTILINE))
    proofs = dict(re.findall(r"^\| ([A-Z]) \| .* \| ([^|]*) \|$", PAGE, re.MULTILINE))
    assert groups == set(proofs)
    assert all("`tests/" in proof for proof in proofs.values())
