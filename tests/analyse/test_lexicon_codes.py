"""The English lexicon as data: well formed, free of contradictions, no code that pydicom or the short list denies."""

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydicom.sr._concepts_dict import concepts as dictionaries

import dicomnlp.analyse

ANALYSE = Path(dicomnlp.analyse.__file__).parent
CONCEPTS: dict[str, dict[str, Any]] = tomllib.loads((ANALYSE / "languages/en/concepts.toml").read_text("utf-8"))[
    "concepts"
]
ANATOMY: dict[str, dict[str, Any]] = tomllib.loads((ANALYSE / "languages/en/anatomy.toml").read_text("utf-8"))[
    "anatomy"
]
LABEL_SETS: list[dict[str, Any]] = [
    tomllib.loads(path.read_text("utf-8")) for path in sorted((ANALYSE / "labels").glob("*.toml"))
]

RADLEX = {
    "RID28493": "Atelectasis",
    "RID43255": "Consolidation",
    "RID5350": "Pneumonia",
    "RID4799": "Emphysema",
    "RID34393": "Hydronephrosis",
    "RID3383": "Appendicitis",
    "RID4650": "Fracture",
}
"""RadLex terms that DICOM's context groups lack."""
SEMANTIC_TAG = re.compile(
    r"\s*\((?:disorder|finding|morphologic abnormality|body structure|observable entity|qualifier value"
    r"|physical object|situation|procedure)\)$"
)


def meanings(scheme: str, code: str) -> set[str]:
    """What the dictionaries call the code, without regard to case and SNOMED CT's semantic tag."""
    known = {m for entries in dictionaries.get(scheme, {}).values() for c, (m, _) in entries.items() if c == code}
    if scheme == "RADLEX" and code in RADLEX:
        known.add(RADLEX[code])
    return {SEMANTIC_TAG.sub("", meaning).casefold() for meaning in known}


def folded(term: str) -> str:
    """The term as the matcher reads it: hyphens and runs of white space are one space."""
    return re.sub(r"[-\s]+", " ", term).strip()


@pytest.mark.parametrize("table", [CONCEPTS, ANATOMY], ids=["concepts", "anatomy"])
def test_every_code_is_known_under_its_meaning(table: dict[str, dict[str, Any]]) -> None:
    """A code stands with the meaning that a dictionary gives it; none is written from memory."""
    wrong = {
        identifier: (entry["scheme"], entry["code"], entry["meaning"])
        for identifier, entry in table.items()
        if "code" in entry and entry["meaning"].casefold() not in meanings(entry["scheme"], entry["code"])
    }
    assert not wrong


@pytest.mark.parametrize("table", [CONCEPTS, ANATOMY], ids=["concepts", "anatomy"])
def test_no_code_stands_for_two_entries(table: dict[str, dict[str, Any]]) -> None:
    """Two entries with one code would be one thing under two names."""
    codes = Counter((entry["scheme"], entry["code"]) for entry in table.values() if "code" in entry)
    assert [code for code, number in codes.items() if number > 1] == []


@pytest.mark.parametrize("table", [CONCEPTS, ANATOMY], ids=["concepts", "anatomy"])
def test_no_term_names_two_entries(table: dict[str, dict[str, Any]]) -> None:
    """A literal belongs to one entry only; else the answer would hang on the order of the file."""
    owners: dict[tuple[bool, str], list[str]] = {}
    for identifier, entry in table.items():
        for term in entry.get("terms", []):
            owners.setdefault((False, folded(term).casefold()), []).append(identifier)
        for term in entry.get("cased", []):
            owners.setdefault((True, folded(term)), []).append(identifier)
    assert {term: names for term, names in owners.items() if len(names) > 1} == {}


def test_no_two_concepts_share_a_meaning() -> None:
    """One name for one thing: two concepts that are called the same would be one."""
    names = Counter(entry["meaning"].casefold() for entry in CONCEPTS.values())
    assert [name for name, number in names.items() if number > 1] == []


@pytest.mark.parametrize("table", [CONCEPTS, ANATOMY], ids=["concepts", "anatomy"])
def test_every_entry_has_words(table: dict[str, dict[str, Any]]) -> None:
    """No term is empty, and what has none is somebody's parent."""
    parents = {entry.get("parent") for entry in table.values()}
    for identifier, entry in table.items():
        words = [*entry.get("terms", []), *entry.get("cased", [])]
        words += [word for pair in entry.get("compose", []) for word in (*pair["change"], *pair["of"])]
        assert all(word.strip() == word and word for word in words), identifier
        assert words or identifier in parents, identifier


@pytest.mark.parametrize("table", [CONCEPTS, ANATOMY], ids=["concepts", "anatomy"])
def test_parents_exist_and_never_lead_back(table: dict[str, dict[str, Any]]) -> None:
    """From every concept and every site the way up ends."""
    for identifier in table:
        seen: list[str] = []
        current: str | None = identifier
        while current is not None:
            assert current in table, (identifier, current)
            assert current not in seen, (identifier, seen)
            seen.append(current)
            current = table[current].get("parent")


def test_normal_statements_deny_known_findings_only() -> None:
    """What a statement of normality implies is a finding, never another normal statement or a critical one."""
    for identifier, entry in CONCEPTS.items():
        for implied in entry.get("implies", []):
            assert entry.get("normal"), identifier
            assert implied in CONCEPTS, identifier
            assert not CONCEPTS[implied].get("normal"), identifier
        if entry.get("normal"):
            assert "critical" not in entry, identifier


def test_label_sets_have_their_labels() -> None:
    """The published sets have fourteen labels; there are sets beyond the chest."""
    sizes = {labels["set"]: len(labels["labels"]) for labels in LABEL_SETS}
    assert sizes["chestxray14"] == sizes["chexpert14"] == 14
    assert {"head_ct", "abdomen"} <= set(sizes)


def test_normal_words_count_for_no_label() -> None:
    """A statement of normality is never a sign of disease."""
    for labels in LABEL_SETS:
        for label, sources in labels["labels"].items():
            concepts = [source if isinstance(source, str) else source["concept"] for source in sources]
            assert not any(CONCEPTS[i].get("normal") for i in concepts), label


def test_the_lexicon_is_as_broad_as_promised() -> None:
    """At least 1,200 findings and 600 sites over the whole body, and codes where the context groups have them."""
    assert sum("code" in entry for entry in CONCEPTS.values()) >= 150
    assert len(CONCEPTS) >= 1200
    assert len(ANATOMY) >= 600
    assert sum("code" in entry for entry in ANATOMY.values()) >= 400


def test_a_site_keeps_the_side_of_what_it_is_part_of() -> None:
    """A part of a sided site has the same side: nothing in the right lung is on the left."""
    wrong = {
        identifier: entry["parent"]
        for identifier, entry in ANATOMY.items()
        if "parent" in entry
        and {ANATOMY[entry["parent"]].get("laterality"), entry.get("laterality")} == {"left", "right"}
    }
    assert not wrong
